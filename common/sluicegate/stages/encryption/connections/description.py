"""A redacted description, as it is judged: where its secrets, URLs and options are.

What a description looks like, and that it holds no secret, is the matter of
:mod:`sluicegate.storage.orchestrators`. Nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.canonical import parse_json
from sluicegate.errors import SubjectError
from sluicegate.storage.orchestrators import DESCRIPTION, description_store
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.uri import SubjectUri

__all__ = ["SCHEMES", "Description", "Marker", "Url", "describe"]

SCHEMES: Final = ("airflow-connection", "airflow-deployment", "prefect-block")
"""Schemes of URIs that name a connection, a block, or the orchestrator's own set-up."""

_LARGEST: Final = 4 << 20
"""Bytes of a description that is read."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A secret that was taken out."""

    path: tuple[str, ...]
    where: str
    """``plain`` or ``secret store``."""
    form: str
    """By what it was recognised; see :mod:`sluicegate.storage.redaction`."""
    length: str


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that a field holds, without its credentials."""

    path: tuple[str, ...]
    scheme: str
    host: str
    port: int | None
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Description:
    """One connection, block or deployment."""

    uri: SubjectUri
    kind: str
    fields: Mapping[str, Any]
    unseen: Mapping[str, Any]
    """Why a field could not be read, by its dotted path."""

    def get(self, *path: str) -> Any:
        """Return the value at a path of names; None if there is none."""
        value: Any = self.fields
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def text(self, *path: str) -> str:
        """Return the plain text at a path; empty if there is none, or it was taken out."""
        value = self.get(*path)
        return value if isinstance(value, str) else ""

    def url(self, *path: str) -> Url | None:
        """Return the URL at a path; None if there is none."""
        return _url(path, self.get(*path))

    def markers(self) -> tuple[Marker, ...]:
        """Return every secret that was taken out, sorted by path."""
        found = (one for _, one in _walk((), self.fields) if isinstance(one, Marker))
        return tuple(sorted(found, key=lambda one: one.path))

    def urls(self) -> tuple[Url, ...]:
        """Return every URL, sorted by path."""
        found = (one for _, one in _walk((), self.fields) if isinstance(one, Url))
        return tuple(sorted(found, key=lambda one: one.path))

    def options(self, *path: str) -> dict[str, str]:
        """Return all scalars below a path by their own names, as a URL's query would say them.

        Of equal names the one that stands first in the order of paths counts.
        """
        options: dict[str, str] = {}
        for where, value in _walk(path, self.get(*path)):
            if isinstance(value, str | bool | int | float) and where:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                options.setdefault(where[-1], text)
        return options


def describe(uri: SubjectUri, snapshot: Snapshot) -> Description:
    """Read the description of a connection.

    Args:
        uri: what is asked about.
        snapshot: of the subject; read, verified, where the connection is the subject itself.

    Raises:
        SubjectError: no adapter is installed, or there is no such connection.
    """
    if uri == snapshot.uri:
        with snapshot.open(DESCRIPTION) as source:
            return _parse(uri, source.read(_LARGEST + 1))
    store = description_store(uri.scheme)
    if store is None:
        raise SubjectError(
            f"nothing installed here describes {uri.scheme}:// subjects",
            next_step="run this where the orchestrator and sluicegate's adapter are installed",
        )
    with store.open(uri, DESCRIPTION) as source:
        return _parse(uri, source.read(_LARGEST + 1))


def _parse(uri: SubjectUri, data: bytes) -> Description:
    try:
        value = parse_json(data) if len(data) <= _LARGEST else None
    except ValueError as error:
        raise SubjectError(f"the description of {uri} is no JSON") from error
    fields, unseen = ({}, {}) if not isinstance(value, dict) else _halves(value)
    if not isinstance(value, dict) or not isinstance(fields, dict) or not isinstance(unseen, dict):
        raise SubjectError(f"the description of {uri} has an unknown form")
    return Description(uri, str(value.get("kind")), fields, unseen)


def _halves(value: dict[str, Any]) -> tuple[Any, Any]:
    return value.get("fields"), value.get("unseen", {})


def _walk(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield markers, URLs and scalars below a value, with their paths, in order of names."""
    url = _url(path, value)
    if url is not None:
        yield path, url
        for inner in ("path", "userinfo", "options"):
            yield from _walk((*path, inner), value["url"].get(inner))
    elif isinstance(value, Mapping) and value.get("secret") is True and "form" in value:
        texts = (str(value.get(name)) for name in ("where", "form", "length"))
        yield path, Marker(path, *texts)
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _walk((*path, name), value[name])
    elif isinstance(value, list):
        for one in value:
            yield from _walk(path, one)
    else:
        yield path, value


def _url(path: tuple[str, ...], value: Any) -> Url | None:
    inner = value.get("url") if isinstance(value, Mapping) and len(value) == 1 else None
    if not isinstance(inner, Mapping) or not {"scheme", "userinfo", "options"} <= inner.keys():
        return None
    options = inner["options"] if isinstance(inner["options"], Mapping) else {}
    return Url(
        path=path,
        scheme=str(inner["scheme"]).lower(),
        host=str(inner.get("host") or ""),
        port=inner.get("port") if isinstance(inner.get("port"), int) else None,
        options={name: text for name, text in options.items() if isinstance(text, str)},
    )
