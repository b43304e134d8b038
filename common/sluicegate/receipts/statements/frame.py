"""What all statements share: the in-toto frame, the subject, and careful readers.

Source: in-toto Statement v1, ResourceDescriptor v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ReceiptError
from sluicegate.model import RunIdentity
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import Snapshot

__all__ = [
    "STATEMENT_TYPE",
    "Subject",
    "frame",
    "read_count",
    "read_digest",
    "read_run",
    "read_text",
    "read_texts",
    "read_time",
    "write_time",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The subject of a statement, by digest; the URI says only where it was."""

    name: str
    uri: str
    digest: Digest
    """Merkle root of the manifest: binds names, sizes and bytes."""
    sha256: Digest
    """Of the file, or for a folder of its manifest: what other tools compare."""
    dir_hash: str
    """``dirHash1`` over all files, 64 hexadecimal digits."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Subject:
        """Describe a snapshot."""
        manifest = snapshot.manifest
        single = snapshot.is_single_file
        return cls(
            name=snapshot.uri.name or str(snapshot.uri),
            uri=str(snapshot.uri),
            digest=manifest.digest,
            sha256=manifest.files[0].sha256 if single else manifest.ndjson_digest,
            dir_hash=manifest.dir_hash(),
        )

    @classmethod
    def of_document(cls, name: str, content: bytes, *, uri: str = "") -> Subject:
        """Describe a document that is not a file of a subject: a policy, a key, a decision.

        It has the digests that a folder with this one file would have.
        """
        manifest = Manifest.of(
            [FileRecord(path=name, size=len(content), sha256=Digest.of(content))]
        )
        return cls(
            name=name,
            uri=uri,
            digest=manifest.digest,
            sha256=Digest.of(content),
            dir_hash=manifest.dir_hash(),
        )

    def to_json(self) -> dict[str, Json]:
        """Return the in-toto resource descriptor."""
        return {
            "name": self.name,
            "uri": self.uri,
            "digest": {
                "sha256": self.sha256.hex,
                "dirHash1": self.dir_hash,
                "merkleRoot": self.digest.hex,
            },
        }

    @classmethod
    def from_json(cls, value: Json) -> Subject:
        """Read a resource descriptor of a statement that was verified.

        Raises:
            ReceiptError: fields are missing or digests are not digests.
        """
        try:
            digests = value["digest"]
            return cls(
                name=read_text(value["name"]),
                uri=read_text(value["uri"]),
                digest=Digest(digests["merkleRoot"]),
                sha256=Digest(digests["sha256"]),
                dir_hash=Digest(digests["dirHash1"]).hex,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ReceiptError("the receipt does not identify its subject") from error


def frame(subject: Subject, kind: str, predicate: Mapping[str, Json]) -> dict[str, Json]:
    """Return a whole statement about one subject."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [subject.to_json()],
        "predicateType": kind,
        "predicate": dict(predicate),
    }


def read_text(value: Json) -> str:
    """Return text, or raise TypeError."""
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def read_texts(value: Json) -> list[str]:
    """Return a list of texts, or raise TypeError."""
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return [read_text(item) for item in value]


def read_count(value: Json) -> int:
    """Return a whole number from 0, or raise TypeError."""
    if type(value) is not int or value < 0:
        raise TypeError("expected a number from 0")
    return value


def read_digest(value: Json) -> Digest:
    """Return the SHA-256 of a resource descriptor, or raise."""
    return Digest(value["digest"]["sha256"])


def write_time(moment: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: Json) -> datetime:
    """Read what :func:`write_time` wrote, or raise."""
    return datetime.strptime(read_text(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def read_run(value: Json) -> RunIdentity:
    """Read a run identity, or raise."""
    labels = {
        read_text(key): read_text(text) for key, text in value.items() if key != "orchestrator"
    }
    return RunIdentity(orchestrator=read_text(value["orchestrator"]), labels=labels)
