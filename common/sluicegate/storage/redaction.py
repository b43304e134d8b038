"""Take every secret out of a description, and keep what can be judged without it.

A value that is or may be a secret becomes a marker: that there is one, where it is kept, by
what it was recognised, and a coarse class of its length. A URL or a connection string becomes
its parts. When in doubt a value is taken out: what is lost by that is a name in a report, what
is lost otherwise is a password.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from sluicegate.canonical import Json
from sluicegate.errors import SubjectError

__all__ = [
    "BY_NAME",
    "CONNECTION_STRING",
    "HEADER",
    "STORED",
    "TOKENS",
    "URL",
    "is_secret",
    "redact",
]

STORED: Final = "secret field"
"""Form of a value that the orchestrator itself keeps as a secret."""
BY_NAME: Final = "name of the field"
"""Form of a value whose field is called like a secret."""
URL: Final = "credentials in a URL"
CONNECTION_STRING: Final = "connection string"
HEADER: Final = "authorization header"
_RANDOM: Final = "random text"
_INSIDE: Final = "place inside of a secret"
_OBSCURE: Final = "value of an unknown kind"

_PATTERNS: Final = {
    "private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
    "AWS access key id": r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "GitHub token": r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,}",
    "Slack token": r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,}",
    "Slack webhook": r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{10,}",
    "Google API key": r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}",
    "Hugging Face token": r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}",
    "Databricks token": r"(?<![A-Za-z0-9])dapi[0-9a-f]{32}",
    "JSON Web Token": r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*",
}
"""Formats that their issuers document, searched anywhere in a text."""
TOKENS: Final = frozenset(_PATTERNS)
"""Forms of values that are secrets by their look, wherever they stand."""
_TOKENS: Final = {form: re.compile(pattern) for form, pattern in _PATTERNS.items()}

_WORDS: Final = frozenset(
    {"password", "passwd", "passphrase", "pwd", "pass", "secret", "secrets", "token", "apikey"}
    | {"credential", "credentials", "authorization", "authkey", "accesskey", "secretkey", "sas"}
    | {"sslpassword", "userpassword", "dbpassword", "accountkey", "sharedaccesskey", "pat"}
    | {"sig", "signature"}
)
"""Words of a field's name that say that its value is a secret."""
_KEYS: Final = frozenset(
    {"api", "access", "account", "shared", "private", "secret", "signing", "encryption"}
    | {"fernet", "master", "auth", "storage", "primary"}
)
"""Words that make the word ``key`` behind them one of those."""
_REFERENCES: Final = frozenset(
    {"path", "file", "filename", "url", "uri", "name", "id", "arn", "env", "type", "class"}
    | {"method", "ttl", "expiry", "expires", "backend", "provider", "version", "field", "length"}
)
"""Last words of a name that only refers to a secret: ``token_url``, ``secret_name``."""

_HEADER: Final = re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}")
_LOOSE: Final = re.compile(
    r"(?i)(?:password|passwd|pwd|secret|token|accountkey|sharedaccesskey|api_?key|sig)\s*[=:]\s*\S"
)
_SEMICOLONS: Final = re.compile(r"[\w .-]+=[^;]*(?:;[\w .-]+=[^;]*)*;?")
_SPACES: Final = re.compile(r"\s*(?:\w+\s*=\s*(?:'(?:\\.|[^'\\])*'|[^\s']+)(?:\s+|$)){2,}")
_SPACED: Final = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|[^\s']+)")
_URL: Final = re.compile(r"(?:jdbc:)?[A-Za-z][A-Za-z0-9+.-]*://")
_PIECES: Final = re.compile(r"[\s/.:@,=&;?#()\[\]{}\"'|<>]+")

_LONGEST: Final = 1 << 15
"""Characters of a text that is looked into; longer ones are taken out."""
_SETTINGS: Final = 4096
"""Characters of a connection string that is taken apart."""
_NAME: Final = 256
"""Characters of a field's name; longer ones are no names."""
_DEEPEST: Final = 8
_MOST: Final = 10_000
"""Values in one description."""
_BITS: Final = 3.3
"""Shannon entropy, in bits a character, from which a long piece of text with letters and
digits counts as random. English words have about 3, hexadecimal digits up to 4."""
_PIECE: Final = 20
"""Characters of a piece from which on its entropy means anything."""
_EXACT: Final = 2**53


class _Budget:
    """Counts the values of one description."""

    def __init__(self) -> None:
        self.left = _MOST

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise SubjectError(f"a connection's description holds more than {_MOST} values")


def redact(value: Any, *, secret_fields: tuple[str, ...] = ()) -> Json:
    """Return a description as JSON without its secrets.

    Args:
        value: what an adapter read: scalars, lists, mappings.
        secret_fields: dotted paths of fields that are secrets whatever they look like.

    Raises:
        SubjectError: it holds too many values.
    """
    return _redact(value, (), secret_fields, BY_NAME, _Budget())


def is_secret(name: str) -> bool:
    """Return whether a field of this name holds a secret, rather than refers to one."""
    parts = _words(name)
    if len(parts) > 1 and parts[-1] in _REFERENCES:
        return False
    pairs = pairwise(parts)
    return any(part in _WORDS for part in parts) or any(
        before in _KEYS and after == "key" for before, after in pairs
    )


def _words(name: str) -> list[str]:
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name[:_NAME]).lower()
    return [part for part in re.split(r"[^a-z0-9]+", text) if part]


def _refers(name: str) -> bool:
    return bool(words := _words(name)) and words[-1] in _REFERENCES


def _redact(
    value: Any, path: tuple[str, ...], fields: tuple[str, ...], form: str, budget: _Budget
) -> Json:
    budget.take()
    if value is None or isinstance(value, bool):
        return value
    if _listed(path, fields):
        return _marker(value, STORED, where="secret store")
    if len(path) > _DEEPEST:
        return _marker(value, _OBSCURE)
    if isinstance(value, Mapping):
        return {
            _key(str(name)): _redact(inner, (*path, str(name)), fields, form, budget)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_redact(one, path, fields, form, budget) for one in items]
    if path and is_secret(path[-1]) and value != "":
        return _named(value, path, fields, form, budget)
    if any(is_secret(name) for name in path[:-1]) and not _refers(path[-1]) and value != "":
        return _marker(value, _token(value) or _INSIDE if isinstance(value, str) else _INSIDE)
    if isinstance(value, int | float):
        return value if math.isfinite(value) and abs(value) < _EXACT else _marker(value, _OBSCURE)
    return _text(value, path, fields, budget) if isinstance(value, str) else {"object": True}


def _named(
    value: Any, path: tuple[str, ...], fields: tuple[str, ...], form: str, budget: _Budget
) -> Json:
    """Take out a value by the name of its field; say so more exactly where its look tells."""
    if isinstance(value, str):
        inner = _json(value)
        if inner is not None:
            return _redact(inner, path, fields, form, budget)
        return _marker(value, _token(value) or form)
    return _marker(value, form)


def _listed(path: tuple[str, ...], fields: tuple[str, ...]) -> bool:
    names = {".".join(path[:length]) for length in range(1, len(path) + 1)}
    return any(field.removesuffix(".*") in names for field in fields)


def _marker(value: Any, form: str, *, where: str = "plain") -> Json:
    length = len(value) if isinstance(value, str | bytes) else 1
    masked = isinstance(value, str) and bool(value) and set(value) == {"*"}
    size = "empty" if not length else "up to 64 characters" if length <= 64 else "longer"
    return {"secret": True, "where": where, "form": form, "length": "masked" if masked else size}


def _key(name: str) -> str:
    return "(taken out)" if len(name) > _NAME or _token(name) or _random(name) else name


def _text(text: str, path: tuple[str, ...], fields: tuple[str, ...], budget: _Budget) -> Json:
    if len(text) > _LONGEST:
        return _marker(text, _token(text) or _RANDOM)
    inner = _json(text)
    if inner is not None:
        return _redact(inner, path, fields, BY_NAME, budget)
    form = _token(text)
    if form is not None:
        return _marker(text, form)
    stripped = text.strip()
    if _URL.match(stripped):
        return _url(stripped, path, fields, budget)
    pairs = _pairs(stripped)
    if pairs is not None and _LOOSE.search(text):
        return {"settings": _redact(pairs, path, fields, CONNECTION_STRING, budget)}
    if _HEADER.search(text):
        return _marker(text, HEADER)
    if _LOOSE.search(text):
        return _marker(text, CONNECTION_STRING)
    if _random(text) and not (path and path[-1] == "host" and "." in text):
        return _marker(text, _RANDOM)
    return text.encode("utf-8", "replace").decode()


def _json(text: str) -> Any:
    """Return the object or list that a text holds as JSON; None if it is no such text."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > _LONGEST:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _token(text: str) -> str | None:
    start = text[:_LONGEST]
    return next((form for form, pattern in _TOKENS.items() if pattern.search(start)), None)


def _random(text: str) -> bool:
    """Return whether a text holds a long piece that no person would type."""
    pieces = [*_PIECES.split(text), text if len(text) >= 32 and not {".", ":"} & set(text) else ""]
    return any(_dense(piece) for piece in pieces if len(piece) >= _PIECE)


def _dense(piece: str) -> bool:
    if " " in piece or not (re.search(r"[0-9]", piece) and re.search(r"[A-Za-z]", piece)):
        return False
    counts = Counter(piece).values()
    return -sum(n / len(piece) * math.log2(n / len(piece)) for n in counts) >= _BITS


def _pairs(text: str) -> dict[str, str] | None:
    """Return the settings of a connection string (ODBC, ADO, libpq); None if it is none."""
    if len(text) > _SETTINGS:
        return None
    if ";" in text and _SEMICOLONS.fullmatch(text):
        halves = (part.partition("=") for part in text.split(";") if part.strip())
        return {name.strip(): value.strip() for name, _, value in halves}
    if _SPACES.fullmatch(text):
        return {name: value.strip("'") for name, value in _SPACED.findall(text)}
    return None


def _url(text: str, path: tuple[str, ...], fields: tuple[str, ...], budget: _Budget) -> Json:
    """Take a URL apart; its user and password are never kept."""
    text, _, settings = text.removeprefix("jdbc:").partition(";")
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return _marker(text, URL)
    options |= _pairs(f"{settings};") or {} if settings else {}
    user, at, host = parts.netloc.rpartition("@")
    return {
        "url": {
            "scheme": parts.scheme,
            "host": host if "," in host else _host(parts),
            "port": None if "," in host else _port(parts),
            "path": _text(parts.path, (), fields, budget),
            "options": _redact(options, path, fields, URL, budget),
            "userinfo": _marker(user, URL) if at and user else None,
            "fragment": bool(parts.fragment),
        }
    }


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return host if re.fullmatch(r"[A-Za-z0-9._:%-]*", host) else "(not a host name)"


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None
