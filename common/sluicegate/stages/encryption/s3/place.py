"""Where the subject lies, in the words of S3 and of IAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.errors import SubjectChangedError
from sluicegate.stages.encryption.s3.head import Head
from sluicegate.stages.encryption.s3.heads import Bucket
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.manifest import FileRecord
from sluicegate.storage.uri import SubjectUri

__all__ = ["Place", "place_of", "resources"]


@dataclass(frozen=True, slots=True)
class Place:
    """A subject on S3."""

    bucket: Bucket
    key: str
    """Key of the object, or of the folder without its last slash; empty for the whole bucket."""
    single: bool
    """Whether it may be a single object: it has one file of its own name. So has a folder that
    holds an object of the folder's name, and nothing else."""
    target: str
    """The subject's URI."""

    def keys_of(self, path: str) -> tuple[str, ...]:
        """Return the keys that a file of the snapshot may have, the likeliest first."""
        below = f"{self.key}/{path}" if self.key else path
        return (self.key, below) if self.single else (below,)

    @property
    def prefix(self) -> str:
        """What all keys begin with; of a folder with its slash."""
        return f"{self.key}/" if self.key and not self.single else self.key

    def must_be(self, file: FileRecord, head: Head) -> None:
        """Compare an object with the file of the snapshot.

        Raises:
            SubjectChangedError: their sizes or checksums differ.
        """
        if head.size is not None and head.size != file.size:
            differs = f"expected {file.size} bytes, S3 says {head.size}"
        elif head.sha256 is not None and head.sha256 != file.sha256.hex:
            differs = f"expected {file.sha256}, S3 keeps the SHA-256 {head.sha256}"
        else:
            return
        raise SubjectChangedError(
            f"{file.path} of {self.target} changed after its snapshot was taken: {differs}",
            next_step="find out who writes to the subject; run the gates again",
        )


def place_of(scope: Scope) -> Place:
    """Return the place of a run's subject, which must be on S3."""
    uri = scope.snapshot.uri
    bucket, _, key = uri.path.partition("/")
    return Place(
        Bucket(name=bucket, owner=scope.settings.owner),
        key,
        bool(key) and scope.snapshot.is_single_file,
        str(uri),
    )


def resources(settings: Settings, uri: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    """Return the ARNs that questions about objects would ask about; none if not on S3.

    ``listing`` and ``inventory`` are empty unless an inventory is configured, and the latter
    also if it lies in a local folder.
    """
    if uri.scheme != "s3":
        return {}
    bucket, _, key = uri.path.partition("/")
    arn, literal = f"arn:aws:s3:::{bucket}", _literal(key)
    objects = (f"{arn}/{literal}", f"{arn}/{literal}/*") if key else (f"{arn}/*",)
    inventory: tuple[str, ...] = ()
    if settings.inventory is not None and settings.inventory.startswith("s3://"):
        place, _, folder = SubjectUri.parse(settings.inventory).path.partition("/")
        # Data files lie beside the folder of the manifest, in "data".
        above = folder.removesuffix("/manifest.json").rpartition("/")[0]
        below = f"{_literal(above)}/*" if above else "*"
        inventory = (f"arn:aws:s3:::{place}/{below}",)
    return {
        "bucket": (arn,),
        "objects": objects,
        "key": settings.kms_keys or ("*",),
        "inventory": inventory,
        "listing": (arn,) if settings.inventory is not None else (),
    }


def _literal(key: str) -> str:
    """Return a key as IAM reads it literally: its wildcards and variables escaped."""
    return "".join("${" + char + "}" if char in "*?$" else char for char in key)
