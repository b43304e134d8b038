"""Servers as users name them: URLs without credentials.

Only what the URL names is ever connected to. So a URL whose options lead elsewhere
(``?host=``), or that names several servers, is refused instead of being half believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.transit.parameters import normal, security_protocol

__all__ = ["Endpoint", "Mode", "parse_endpoint"]


class Mode(StrEnum):
    """When TLS begins."""

    PLAIN = "plain text"
    """Never: the URL asks for plain text."""
    TLS = "TLS"
    """With the first byte."""
    STARTTLS = "STARTTLS"
    """After a request in plain text."""


_MODES: Final = {
    "https": (Mode.TLS, 443),
    "http": (Mode.PLAIN, 80),
    "postgresql": (Mode.STARTTLS, 5432),
    "mysql": (Mode.STARTTLS, 3306),
    "rediss": (Mode.TLS, 6379),
    "redis": (Mode.PLAIN, 6379),
    "kafka": (Mode.PLAIN, 9092),
    "smtps": (Mode.TLS, 465),
    "smtp": (Mode.STARTTLS, 25),
    "amqps": (Mode.TLS, 5671),
    "amqp": (Mode.PLAIN, 5672),
    "mongodb": (Mode.PLAIN, 27017),
}
"""Mode and default port by protocol, where the options say nothing else."""

_WITHOUT_USER: Final = ("http", "https")
"""Schemes whose user part often is a token and never needed here."""

_SECRETS: Final = re.compile(r"passw|pwd|passphrase|secret|token|apikey|accesskey|credential|jaas")
"""Options that hold a credential, by their names without separators."""

_ELSEWHERE: Final = frozenset({"host", "hostaddr", "port", "service", "servicefile", "unixsocket"})
"""Options by which a client would connect to something else than the URL's host."""

_HOST: Final = re.compile(
    r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?"
)
_ADDRESS: Final = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*(%[a-z0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server, and how the pipeline would talk to it."""

    scheme: str
    """As written, in lower case: ``postgresql+psycopg2``."""
    protocol: str
    """``postgresql``: what is spoken."""
    driver: str
    host: str
    """Name in ASCII, or address without brackets."""
    port: int
    user: str
    """Empty if the URL names none."""
    database: str
    """What stands behind the first ``/``; empty if nothing does."""
    options: Mapping[str, str]
    """As written."""
    mode: Mode

    @property
    def target(self) -> str:
        """What checks are about: ``scheme://host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def option(self, name: str) -> str:
        """Return an option by its name without separators; empty if it is not given."""
        return normal(self.scheme, self.options)[2].get(name, "")


def parse_endpoint(url: str) -> Endpoint:
    """Read one URL of the setting ``endpoints``.

    Args:
        url: ``scheme://[user@]host[:port][/database][?options]``.

    Raises:
        ConfigurationError: unusable, unknown scheme, or it holds a credential. The message
            never repeats anything but scheme and host.
    """
    parts, port = _split(url)
    scheme = parts.scheme.lower()
    if parts.password is not None:
        raise _refused(scheme, "it holds a password; leave it out, the client's environment has it")
    user = parts.username or ""
    if user and (scheme in _WITHOUT_USER or "%3a" in user.lower()):
        raise _refused(scheme, "what stands before the host may be a credential; leave it out")
    host = _host(scheme, parts)
    options = _options(scheme, parts.query)
    protocol, driver, plain = normal(scheme, options)
    if protocol not in _MODES:
        raise ConfigurationError(
            f"endpoints: the scheme {scheme!r} is not supported",
            next_step=f"supported are {', '.join(sorted(_MODES))}, each also with +DRIVER",
        )
    mode, usual = _MODES[protocol]
    if protocol == "kafka" and security_protocol(driver, plain) in ("SSL", "SASL_SSL"):
        mode, usual = Mode.TLS, 9093
    if protocol == "mongodb" and plain.get("tls", plain.get("ssl", "")).lower() in ("true", "1"):
        mode = Mode.TLS
    if protocol == "postgresql" and plain.get("sslnegotiation") == "direct":
        mode = Mode.TLS
    user = unquote(parts.username or "")
    database = unquote(parts.path.lstrip("/").split("/")[0])
    if not (user + database).isprintable():
        raise _refused(scheme, "user or database holds a control character")
    return Endpoint(
        scheme=scheme,
        protocol=protocol,
        driver=driver,
        host=host,
        port=port or usual,
        user=user,
        database=database,
        options=options,
        mode=mode,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Split a URL; refuse what no client would read in the same way."""
    if any(char <= " " or char == "\x7f" or char == "\\" for char in url):
        raise ConfigurationError("endpoints: a URL holds white space, a backslash or controls")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("endpoints: a URL cannot be read: host or port") from None
    if not parts.scheme or not parts.netloc:
        raise ConfigurationError("endpoints: a URL reads scheme://host:port")
    if parts.fragment:
        raise _refused(parts.scheme, "it has a #fragment, which no server is told")
    if port == 0:
        raise _refused(parts.scheme, "port 0 is no port")
    return parts, port


def _host(scheme: str, parts: SplitResult) -> str:
    """Return the one host that a URL names."""
    host = parts.hostname or ""
    if "," in parts.netloc:
        raise _refused(scheme, "it names several servers; give each its own URL")
    if ":" in host and _ADDRESS.fullmatch(host):
        return host
    try:
        name = host.encode("idna").decode("ascii").lower() if host else ""
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise _refused(scheme, "it names no host")
    return name


def _options(scheme: str, query: str) -> dict[str, str]:
    """Return the options of a URL; none of them twice, a credential or another host."""
    options: dict[str, str] = {}
    seen = set()
    for name, value in parse_qsl(query, keep_blank_values=True):
        short = re.sub(r"[-_.]", "", name.lower())
        if _SECRETS.search(short) and short not in ("passfile", "tokenfile"):
            raise _refused(scheme, "an option holds a credential; the client's environment has it")
        if short in _ELSEWHERE and scheme not in ("http", "https"):
            raise _refused(scheme, f"its option {short} leads to another server; name it as host")
        if short in seen:
            raise _refused(scheme, "an option is given twice")
        seen.add(short)
        options[name] = value
    return options


def _refused(scheme: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"endpoints: a {scheme.lower()}:// URL is refused: {why}")
