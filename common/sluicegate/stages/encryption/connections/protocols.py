"""Which protocol a connection speaks, and with which options, whatever it calls them.

An orchestrator's connection names its protocol in its own way: a type, a scheme in a field
that is meant for something else, a switch among the extra options. Here this becomes a scheme,
a host and options as in a URL. Sources: the connection guides of Airflow's providers (HTTP,
SMTP, Redis, SSH, MongoDB, PostgreSQL) and Prefect's SQLAlchemy block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from sluicegate.stages.encryption.connections.description import Description, Url

__all__ = ["Spoken", "is_loopback", "of_url", "spoken"]

_SCHEMES: Final = {
    "google_cloud_platform": "gs",
    "gcpbigquery": "bigquery",
    "azure_data_lake": "azure",
    "azure_blob": "wasb",
    "fs": "file",
    "package_index": "https",
    "gcpssh": "ssh",
}
"""Connection types of Airflow that are called otherwise than a scheme."""

_NO_URL: Final = frozenset({"file", "sqlite"})
_YES: Final = frozenset({"true", "1", "yes", "on", "t", "y"})


@dataclass(frozen=True, slots=True)
class Spoken:
    """A protocol that a connection speaks with some host."""

    scheme: str
    host: str
    options: dict[str, str] = field(default_factory=dict)
    path: str = ""
    """The field that says so; empty for the connection as a whole."""


def spoken(described: Description) -> Iterator[Spoken]:
    """Return what a connection speaks, as a whole and in each URL that it holds."""
    whole = _connection(described) if described.kind == "airflow-connection" else None
    if whole is not None:
        yield whole
    if described.kind == "prefect-block":
        yield from _drivers(described)
    for url in described.urls():
        if whole is not None and url.path == ("host",):
            continue
        if described.kind != "airflow-connection" and url.path[0] in ("database", "api", "core"):
            continue  # the orchestrator's own parts have questions of their own
        if url.path[0] == "celery" and not _uses_celery(described):
            continue  # a default that nothing connects to
        if url.scheme not in _NO_URL:
            nearby = described.options(*url.path[:-1]) if len(url.path) > 1 else {}
            near = {**nearby, **described.options("extra"), **url.options}
            yield Spoken(url.scheme, url.host, near, ".".join(url.path))


def _uses_celery(described: Description) -> bool:
    """Return whether Airflow's executor talks to Celery; where it is not told, it may."""
    executor = described.text("core", "executor")
    return not executor or "celery" in executor.lower() or "." in executor


def _connection(described: Description) -> Spoken:
    """Return what an Airflow connection speaks; no scheme if it has no type."""
    kind = described.text("conn_type").lower().replace("-", "_")
    options = described.options("extra")
    url = described.url("host")
    host = url.host if url is not None else described.text("host")
    if url is not None and kind not in ("postgres", "mysql", "mssql"):
        return Spoken(url.scheme, host, {**options, **url.options})
    scheme, options = _scheme(kind, described, options)
    return Spoken(scheme, host, options)


def _scheme(
    kind: str, described: Description, options: dict[str, str]
) -> tuple[str, dict[str, str]]:
    if kind == "http":
        return described.text("schema").lower() or "http", options
    if kind == "elasticsearch":
        return described.text("schema").lower() or "http", options
    if kind == "redis" and options.get("ssl", "").lower() in _YES:
        return "rediss", options
    if kind == "mongo" and options.get("srv", "").lower() in _YES:
        return "mongodb+srv", options
    if kind == "smtp":
        return _smtp(options)
    if kind == "ftp" and described.get("port") == 990:
        return "ftps", options
    return _SCHEMES.get(kind, kind.replace("_", "-")), options


def _smtp(options: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Airflow speaks TLS from the start, else asks for STARTTLS and fails without it."""
    without_ssl = options.pop("disable_ssl", "").lower() in _YES
    without_tls = options.pop("disable_tls", "").lower() in _YES
    if not without_ssl:
        return "smtps", options
    return "smtp", options if without_tls else {**options, "starttls": "required"}


def _drivers(described: Description) -> Iterator[Spoken]:
    """Find driver and host side by side, as blocks of databases have them."""
    block = described.get("block")
    inner = sorted(block) if isinstance(block, Mapping) else []
    for place in (("block",), *(("block", name) for name in inner)):
        driver, host = described.text(*place, "driver"), described.text(*place, "host")
        if driver and host:
            options = described.options(*place, "query") | described.options(*place, "connect_args")
            yield Spoken(driver.lower(), host, options, ".".join(place))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: what is said to it crosses no network."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if not re.fullmatch(r"[0-9a-f.:]+", name):
        return False
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def of_url(url: Url) -> Spoken:
    """Return what a URL speaks."""
    return Spoken(url.scheme, url.host, dict(url.options), ".".join(url.path))
