"""Connections of an orchestrator as subjects: a description without its secrets.

The core knows no orchestrator. An adapter says by an entry point how connections of a scheme
are described; the description is redacted here, before anything else sees it, and becomes the
one file of the subject, ``description.json``. So the digest of such a subject binds protocol,
host, port, options and *which* fields hold a secret, and never a secret itself: not even a
hash, by which a weak password could be guessed.

Adapters register ``module:function`` in the entry-point group ``sluicegate.descriptions``
under the scheme. The function takes the path of the URI and returns a dictionary:

* ``kind``: ``airflow-connection`` and the like; ``name``;
* ``fields``: everything that can be read, nested as it is;
* ``secret_fields``: dotted paths of the fields that the orchestrator keeps as secrets,
  ``a.*`` for all below ``a``; their values may be left out or masked;
* ``unseen``: what could not be read, with the reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import IO, Any, Final

from sluicegate.canonical import canonical_json
from sluicegate.errors import SluicegateError, SubjectError
from sluicegate.storage.base import Entry, Store
from sluicegate.storage.redaction import redact
from sluicegate.storage.uri import SubjectUri

__all__ = ["DESCRIPTION", "GROUP", "DescriptionStore", "Reader", "description_store"]

GROUP: Final = "sluicegate.descriptions"
"""Entry points by which adapters say how connections are described."""

DESCRIPTION: Final = "description.json"
"""The one file of such a subject."""

Reader = Callable[[str], Mapping[str, Any]]
"""Describes what the path of a URI names."""


def description_store(scheme: str) -> Store | None:
    """Return the storage of a scheme that an adapter registered; None if none did.

    Raises:
        SubjectError: several adapters claim the scheme, or theirs cannot be loaded.
    """
    found = [point for point in entry_points(group=GROUP) if point.name == scheme]
    if not found:
        return None
    if len({point.value for point in found}) > 1:
        raise SubjectError(f"several installed packages describe {scheme}:// subjects")
    try:
        reader = found[0].load()
    except (ImportError, AttributeError) as error:
        raise SubjectError(
            f"the adapter for {scheme}:// subjects cannot be loaded: {type(error).__name__}",
            next_step="install the orchestrator that the scheme belongs to",
        ) from error
    return DescriptionStore(reader)


@dataclass(frozen=True, slots=True)
class DescriptionStore:
    """Read-only storage: every subject is one file, its redacted description."""

    reader: Reader

    def entries(self, subject: SubjectUri) -> Iterator[Entry]:
        """List the description; see :class:`~sluicegate.storage.base.Store`."""
        yield Entry(DESCRIPTION, len(self._describe(subject)))

    def open(self, subject: SubjectUri, path: str) -> IO[bytes]:
        """Open the description; see :class:`~sluicegate.storage.base.Store`."""
        if path != DESCRIPTION:
            raise SubjectError(f"{subject} has no file {path!a}")
        return io.BytesIO(self._describe(subject))

    def write(self, target: SubjectUri, source: IO[bytes]) -> None:
        """Refuse: descriptions are only read."""
        del source
        raise SubjectError(f"{target} is a connection of an orchestrator: nothing is written there")

    def _describe(self, subject: SubjectUri) -> bytes:
        """Return the canonical JSON of the redacted description.

        Raises:
            SubjectError: there is no such connection, or it cannot be described. The message
                of a foreign error is dropped: it may quote the connection.
        """
        try:
            described = self.reader(subject.path)
        except SluicegateError:
            raise
        except Exception as error:  # noqa: BLE001  foreign code; its text may hold a secret
            raise SubjectError(f"{subject} cannot be read: {type(error).__name__}") from None
        if not isinstance(described, Mapping) or not isinstance(described.get("kind"), str):
            raise SubjectError(f"the adapter describes {subject} in an unknown form")
        secret = tuple(str(one) for one in described.get("secret_fields") or ())
        return canonical_json(
            {
                "kind": described["kind"],
                "name": redact(described.get("name")),
                "fields": redact(described.get("fields") or {}, secret_fields=secret),
                "unseen": redact(described.get("unseen") or {}),
            }
        )
