"""Whether a finding of another tool concerns what this gate examines.

A report often covers a whole account. Its findings are sorted by the resources they name:

* about the subject: its bucket, a file of it, one of the configured ``resources``,
  ``kms_keys`` or servers. They come first;
* about something else: every resource that is named is an ARN of one particular thing, and
  none of them is ours. They are listed, marked, as information;
* not to be placed: everything in between - packages, files, account-wide settings, names
  that are no ARN, KMS keys where no ``kms_keys`` are configured, access points. They keep
  their severity.

Where nothing of ours has an ARN or a bucket (a local file and no ``resources``), nothing can
be told to be something else, and all findings keep their severity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

from sluicegate.stages.encryption.foreign.model import Reported
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.snapshot import Snapshot

__all__ = ["Concern", "Ours"]

_UNIQUE_BY_NAME: Final = ("sns", "sqs")
"""Services whose ARNs end in a name alone, without a kind of resource."""
_AZURE: Final = ("abfs", "abfss", "wasb", "wasbs")
"""Schemes of Azure that write container@account."""


class Concern(StrEnum):
    """What a finding is about, seen from this gate; in the order of the report."""

    SUBJECT = "subject"
    UNPLACED = "unplaced"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class _Arn:
    service: str
    owner: str
    """Region and account."""
    resource: str

    @classmethod
    def parse(cls, text: str) -> _Arn | None:
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn" or not parts[2]:
            return None
        return cls(parts[2], f"{parts[3]}:{parts[4]}", parts[5])

    @property
    def bucket(self) -> str:
        """The bucket, if this names one or something in one."""
        return self.resource.partition("/")[0] if (self.service, self.owner) == ("s3", ":") else ""

    def covers(self, other: _Arn) -> bool:
        """Whether ``other`` is the same thing, in whatever partition, or a part of it."""
        if self.bucket:
            return self.bucket == other.bucket
        if (self.service, self.owner) != (other.service, other.owner):
            return False
        ours, theirs = self.resource, other.resource
        return theirs == ours or (theirs.startswith(ours) and theirs[len(ours)] in "/:")


@dataclass(frozen=True, slots=True)
class Ours:
    """What this gate examines, by the names that other tools use."""

    arns: tuple[_Arn, ...]
    names: frozenset[str]
    files: frozenset[str]
    root: str
    """URI of the subject."""
    keys_known: bool
    placeable: bool
    """Whether something of ours can be compared with ARNs."""

    @classmethod
    def of(cls, settings: Settings, snapshot: Snapshot) -> Ours:
        """Collect the names."""
        named = [*settings.resources, *settings.kms_keys]
        uri = snapshot.uri
        if uri.scheme == "s3":
            named.append(f"arn:aws:s3:::{uri.path}")
        arns = tuple(arn for text in named if (arn := _Arn.parse(text)))
        hosts = (urlsplit(endpoint).hostname or "" for endpoint in settings.endpoints)
        names = {
            *named,
            *hosts,
            *(arn.bucket for arn in arns),
            *(name for text in (*named, str(uri)) for name in _store_names(text)),
        }
        return cls(
            arns=arns,
            names=frozenset(names - {""}),
            files=frozenset(file.path for file in snapshot.manifest.files),
            root=str(uri),
            keys_known=bool(settings.kms_keys),
            placeable=bool(named) or uri.scheme != "file",
        )

    def place(self, reported: Reported) -> tuple[Concern, tuple[str, ...]]:
        """Return what a result concerns, and which files of the subject it names."""
        files = tuple(sorted({file for one in reported.files if (file := self._file(one))}))
        if files or any(self._is_ours(name) for name in reported.resources):
            return Concern.SUBJECT, files
        elsewhere = self.placeable and bool(reported.resources)
        if elsewhere and all(self._is_elsewhere(name) for name in reported.resources):
            return Concern.OTHER, ()
        return Concern.UNPLACED, ()

    def _is_ours(self, name: str) -> bool:
        if name in self.names:
            return True
        if arn := _Arn.parse(name):
            return any(ours.covers(arn) for ours in self.arns)
        return any(part in self.names for part in _store_names(name))

    def _is_elsewhere(self, name: str) -> bool:
        """Return whether a name is the ARN of one particular thing; it is known not to be ours."""
        arn = _Arn.parse(name)
        if arn is None or "*" in name or "?" in name:
            return False
        if arn.service == "s3":
            return bool(arn.bucket)
        if arn.service == "kms":
            return self.keys_known and arn.resource.startswith("key/")
        kind, _, rest = arn.resource.replace(":", "/").partition("/")
        return bool(kind and rest) or (bool(kind) and arn.service in _UNIQUE_BY_NAME)

    def _file(self, name: str) -> str:
        """Return the file of the subject that a path or URI names; empty if none."""
        path = name.removeprefix(f"{self.root}/") if "://" in name else name
        for candidate in (path.removeprefix("./"), unquote(path.removeprefix("./"))):
            if candidate in self.files:
                return candidate
        return ""


def _store_names(text: str) -> Iterable[str]:
    """Yield comparable names of a store on S3, Google Cloud or Azure, as tools write them."""
    scheme, _, rest = text.partition("://")
    head = rest.partition("/")[0]
    if scheme in ("s3", "gs") and head:
        yield f"{scheme}:{head}"
    if scheme == "azure" and head:
        yield f"azure:{head.lower()}"
    lowered = text.lower()
    if scheme in _AZURE and "@" in head:
        yield f"azure:{head.lower().rpartition('@')[2].partition('.')[0]}"
    if "/storageaccounts/" in lowered:
        yield f"azure:{lowered.partition('/storageaccounts/')[2].partition('/')[0]}"
    if text.startswith("//storage.googleapis.com/") and "/buckets/" in text:
        yield f"gs:{text.partition('/buckets/')[2].partition('/')[0]}"
