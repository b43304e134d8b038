"""S3 Inventory: a report of all objects of a bucket, read instead of asking for each.

A report is a folder with ``manifest.json``, its MD5 in ``manifest.checksum`` (written last),
and data files in Parquet or gzipped CSV, described in the Amazon S3 User Guide ("Amazon S3
Inventory"). It is a day or a week old and says nothing of KMS keys. So each object is
compared with what S3 lists now: where size, ETag and date of the last change are equal, the
object is the one that was reported. MD5 shows damage, not forgery: who may write into the
bucket of the reports can say anything.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Protocol

from sluicegate.errors import SubjectError
from sluicegate.stages.encryption.aws import Aws, Unknown, ask
from sluicegate.storage.uri import SubjectUri

__all__ = ["DataFile", "Report", "Source", "open_report", "source_of", "verified"]

_MANIFEST: Final = "manifest.json"
_CHECKSUM: Final = "manifest.checksum"
_MOST_MANIFEST: Final = 16 << 20
"""Bytes of a manifest; one data file takes about 200."""
_MOST_FILES: Final = 100_000
_OLDEST: Final = timedelta(days=8)
"""A weekly report and the day that it takes to arrive."""
_AHEAD: Final = timedelta(hours=1)
"""How far the clocks of S3 and of this worker may differ."""
_CHUNK: Final = 1 << 20
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_FORMATS: Final = ("Parquet", "CSV")


class Source(Protocol):
    """Where the files of a report lie."""

    def manifest(self, name: str) -> IO[bytes] | Unknown:
        """Open ``manifest.json`` or ``manifest.checksum``."""
        ...

    def data(self, key: str) -> IO[bytes] | Unknown:
        """Open a data file by its key in the bucket of the reports."""
        ...


@dataclass(frozen=True, slots=True)
class DataFile:
    """One data file of a report."""

    key: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the manifest of a report says."""

    bucket: str
    """Name of the bucket that is described."""
    created: datetime
    """When S3 began to write it."""
    kind: str
    """``Parquet`` or ``CSV``."""
    columns: tuple[str, ...]
    """Of the data files, in order, in lower case without ``_``: ``encryptionstatus``."""
    files: tuple[DataFile, ...]


def open_report(source: Source, *, bucket: str, now: datetime) -> Report | Unknown:
    """Read and check the manifest of a report.

    Args:
        source: where it lies.
        bucket: name of the bucket that it must describe.
        now: the moment at which it must not be older than eight days.

    Returns:
        The report, or why it says nothing.
    """
    raw, told = _small(source, _MANIFEST), _small(source, _CHECKSUM)
    if isinstance(raw, Unknown):
        return raw
    if isinstance(told, Unknown):
        return Unknown(f"{told.reason}: S3 writes it last, so the report is not complete")
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() != told.decode("latin-1").strip():
        return Unknown(f"the inventory's {_MANIFEST} is damaged: its MD5 is not in {_CHECKSUM}")
    try:
        report = _parse(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return Unknown(f"the inventory's {_MANIFEST} is not one of S3 Inventory")
    if isinstance(report, Unknown):
        return report
    if report.bucket != bucket:
        return Unknown(f"the inventory describes the bucket {report.bucket}, not {bucket}")
    if now - report.created > _OLDEST:
        day = report.created.date().isoformat()
        return Unknown(f"the inventory is of {day}, more than {_OLDEST.days} days old")
    if report.created - now > _AHEAD:
        return Unknown("the inventory claims to be from the future")
    return report


def source_of(where: str, aws: Aws) -> Source:
    """Return the source of a report that lies in a local folder or on S3.

    Raises:
        SubjectError: ``where`` is neither.
    """
    uri = SubjectUri.parse(where)
    if uri.name == _MANIFEST:
        uri = SubjectUri(uri.scheme, uri.path.removesuffix(_MANIFEST).rstrip("/") or "/")
    if uri.scheme == "file":
        return _Local(uri.local)
    if uri.scheme == "s3":
        bucket, _, folder = uri.path.partition("/")
        return _Remote(aws, bucket, folder)
    raise SubjectError(
        f"an inventory lies in a local folder or on S3, not at {uri.scheme}://",
        next_step="name the folder with its manifest.json, local or as s3://BUCKET/FOLDER",
    )


@contextmanager
def verified(source: Source, file: DataFile) -> Iterator[IO[bytes] | Unknown]:
    """Copy a data file aside while its MD5 is computed, and hand out the copy if it is right."""
    with tempfile.TemporaryFile() as copy:
        name = file.key.rpartition("/")[2]
        opened = source.data(file.key)
        if isinstance(opened, Unknown):
            yield opened
            return
        hasher, size = hashlib.md5(usedforsecurity=False), 0
        with opened:
            try:
                while size <= file.size and (chunk := opened.read(_CHUNK)):
                    size += len(chunk)
                    hasher.update(chunk)
                    copy.write(chunk)
            except OSError as error:
                yield Unknown(f"reading the inventory's {name} failed: {type(error).__name__}")
                return
        if size != file.size or hasher.hexdigest() != file.md5:
            yield Unknown(f"the inventory's {name} is not the file that its manifest lists")
            return
        copy.seek(0)
        yield copy


def _small(source: Source, name: str) -> bytes | Unknown:
    opened = source.manifest(name)
    if isinstance(opened, Unknown):
        return opened
    with opened:
        try:
            content = opened.read(_MOST_MANIFEST + 1)
        except OSError as error:
            return Unknown(f"reading the inventory's {name} failed: {type(error).__name__}")
    if len(content) > _MOST_MANIFEST:
        return Unknown(f"the inventory's {name} is larger than {_MOST_MANIFEST} bytes")
    return content


def _parse(value: Any) -> Report | Unknown:
    kind = value["fileFormat"]
    if kind not in _FORMATS:
        return Unknown(
            f"the inventory is in {str(kind)[:20]!a}; only Parquet and CSV are read, so choose "
            "one of them in its configuration"
        )
    files = tuple(
        DataFile(str(one["key"]), int(one["size"]), str(one["MD5checksum"]).lower())
        for one in value["files"]
    )
    if len(files) > _MOST_FILES or any(f.size < 0 or not _MD5.fullmatch(f.md5) for f in files):
        return Unknown("the inventory's manifest lists files in a way that cannot be right")
    schema = str(value["fileSchema"])
    if kind == "Parquet":
        # message s3.inventory { required binary key (STRING); optional int64 size; … }
        names = re.findall(r"(?:required|optional)\s+\w+\s+(\w+)", schema)
    else:
        names = [name.strip() for name in schema.split(",")]
    return Report(
        bucket=str(value["sourceBucket"]).rpartition(":")[2],
        created=datetime.fromtimestamp(int(value["creationTimestamp"]) / 1000, UTC),
        kind=kind,
        columns=tuple(name.lower().replace("_", "") for name in names),
        files=files,
    )


@dataclass(frozen=True, slots=True)
class _Local:
    """A copy of a report in a folder of this machine."""

    folder: Path

    def manifest(self, name: str) -> IO[bytes] | Unknown:
        """Open a file of the folder."""
        return _open(self.folder / name)

    def data(self, key: str) -> IO[bytes] | Unknown:
        """Open a data file beside the manifest, in ``data``, or in ``../data`` as S3 has it."""
        name = key.rpartition("/")[2]
        if name in ("", ".", "..") or "\\" in name or "\0" in name:
            return Unknown("the inventory's manifest lists a file without a name")
        places = (self.folder, self.folder / "data", self.folder.parent / "data")
        found = next((place / name for place in places if (place / name).is_file()), None)
        return _open(found or self.folder / name)


@dataclass(frozen=True, slots=True)
class _Remote:
    """A report where S3 wrote it."""

    aws: Aws
    bucket: str
    folder: str

    def manifest(self, name: str) -> IO[bytes] | Unknown:
        """Open an object of the folder."""
        return self.data(f"{self.folder}/{name}" if self.folder else name)

    def data(self, key: str) -> IO[bytes] | Unknown:
        """Open an object of the bucket by its whole key."""

        def call() -> IO[bytes]:
            body: IO[bytes] = self.aws.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"]
            return body

        answer = ask("s3.get_object", call)
        name = key.rpartition("/")[2]
        if isinstance(answer, Unknown):
            needs = "; it takes s3:GetObject" if "denied" in answer.reason else ""
            return Unknown(f"the inventory's {name}: {answer.reason}{needs}")
        return answer or Unknown(f"the inventory's {name}: no answer")


def _open(path: Path) -> IO[bytes] | Unknown:
    try:
        return path.open("rb")
    except OSError as error:
        return Unknown(f"the inventory's {path.name} cannot be opened: {type(error).__name__}")
