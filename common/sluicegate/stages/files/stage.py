"""The stage: every file of a subject, before any parser gets to see it."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Final

from sluicegate.errors import ConfigurationError
from sluicegate.model import Report
from sluicegate.stages.base import Context, Option
from sluicegate.stages.files.checks import CHECKS
from sluicegate.stages.files.child.nursery import Nursery
from sluicegate.stages.files.examination import Examination, ExceededError, MalformedError
from sluicegate.stages.files.formats.plain import glance
from sluicegate.stages.files.inspector import inspect_file, kind_of
from sluicegate.stages.files.kinds import DEFAULT_TYPES, chosen_types, claimed_kind
from sluicegate.stages.files.limits import BLOCK, Limits
from sluicegate.stages.files.rendering import Examined, render
from sluicegate.stages.files.views import whole
from sluicegate.storage.records import FileRecord
from sluicegate.storage.snapshot import SPOOL_BYTES, Snapshot

__all__ = ["InspectFiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectFiles:
    """Look at what files really are, before any parser touches their bytes.

    Types are told by content and compared with names and with a list. Archives and streams
    are inflated and counted, tables and pictures are decoded by a process with limits, and no
    header is believed. What is encrypted, or cannot be read, is unknown and never passed.

    A file that reaches a limit is not examined further: to accept such files raise the limit,
    as a policy that waives the check would accept whatever comes after it unseen.
    """

    name: ClassVar[str] = "inspect-files"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False
    # What remains after a quarantine is written anew, by a writer of its own.
    check_ids: ClassVar[tuple[str, ...]] = tuple(CHECKS)

    types: Annotated[tuple[str, ...], Option("types and groups of types that files may be of")] = (
        DEFAULT_TYPES
    )
    max_files: Annotated[int, Option("most files in the subject")] = 100_000
    max_file_bytes: Annotated[int, Option("largest file, in bytes")] = 64 << 30
    max_total_bytes: Annotated[int, Option("most bytes of all files")] = 1 << 40
    max_expanded_bytes: Annotated[
        int, Option("most bytes that one file may expand or decode to, whatever its size")
    ] = 1 << 40
    max_ratio: Annotated[
        int, Option("how many times its size a stream or archive may expand to, above 64 MiB")
    ] = 200
    max_decoded_ratio: Annotated[
        int, Option("how many times its size a table or picture may decode to, above 1 GiB")
    ] = 1000
    max_entries: Annotated[int, Option("most members of the archives in one file")] = 100_000
    max_depth: Annotated[int, Option("most containers inside each other (tar.gz has two)")] = 3
    nested_archives: Annotated[bool, Option("allow archives inside archives")] = False
    max_line_bytes: Annotated[int, Option("longest line or record of a text, in bytes")] = 16 << 20
    max_json_depth: Annotated[int, Option("deepest nesting of JSON")] = 100
    max_columns: Annotated[int, Option("most columns of a table")] = 10_000
    max_row_groups: Annotated[int, Option("most row groups, batches or stripes")] = 100_000
    max_pixels: Annotated[int, Option("most pixels of one picture")] = 100_000_000
    max_memory_bytes: Annotated[
        int, Option("memory that decoding a piece of a file may take, in bytes")
    ] = 512 << 20
    max_seconds: Annotated[float, Option("longest time for one file, in seconds")] = 600.0

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Examine every file; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            ConfigurationError: a limit is not above zero, or a type is unknown.
            SubjectChangedError: the bytes are not those of the snapshot.
            SubjectError: a file cannot be read.
        """
        limits = self._limits()
        manifest = snapshot.manifest
        general: dict[str, str] = {}
        if manifest.size > limits.total_bytes:
            general["files.total_size"] = (
                f"{manifest.size} bytes in all, more than {limits.total_bytes}"
            )
        if len(manifest) > limits.files:
            general["files.count"] = f"{len(manifest)} files, more than {limits.files}"
            return render((), general, unasked="no file was opened, as there are too many")
        examined = []
        with Nursery(memory=limits.memory_bytes) as nursery:
            for done, record in enumerate(manifest.files):
                context.progress("inspecting files", done, len(manifest))
                found = Examination(size=record.size, limits=limits, nursery=nursery)
                _examine(snapshot, record, found)
                examined.append(Examined.of(record.path, found))
        return render(examined, general)

    def _limits(self) -> Limits:
        for described in fields(self):
            value = getattr(self, described.name)
            if described.name.startswith("max_") and not value > 0:
                raise ConfigurationError(
                    f"inspect-files: {described.name} is above zero, not {value}"
                )
        return Limits(
            types=chosen_types(self.types),
            file_bytes=self.max_file_bytes,
            files=self.max_files,
            total_bytes=self.max_total_bytes,
            expanded_bytes=self.max_expanded_bytes,
            ratio=self.max_ratio,
            decoded_ratio=self.max_decoded_ratio,
            entries=self.max_entries,
            depth=self.max_depth,
            nested_archives=self.nested_archives,
            line_bytes=self.max_line_bytes,
            json_depth=self.max_json_depth,
            columns=self.max_columns,
            row_groups=self.max_row_groups,
            pixels=self.max_pixels,
            memory_bytes=self.max_memory_bytes,
            seconds=self.max_seconds,
        )


_GLANCE: Final = SPOOL_BYTES
"""Files above this size are first looked at where they lie: copying them takes seconds."""


def _examine(snapshot: Snapshot, record: FileRecord, found: Examination) -> None:
    if record.size > found.limits.file_bytes:
        found.complete, found.kind = False, "not examined"
        found.fail(
            "files.size",
            f"{record.size} bytes, more than {found.limits.file_bytes}",
            size=record.size,
            allowed=found.limits.file_bytes,
        )
        return
    if record.size > _GLANCE and _refused_at_a_glance(snapshot, record.path, found):
        return
    with snapshot.open(record.path) as file:
        inspect_file(whole(file), record.path, found)


def _refused_at_a_glance(snapshot: Snapshot, path: str, found: Examination) -> bool:
    """Refuse a large text whose beginning is reason enough, without copying all of it.

    These bytes are not compared with the snapshot. That can only refuse a subject somebody is
    writing to, and never pass one: what is not refused is read anew, and verified.
    """
    with snapshot.store.open(snapshot.uri, path) as source:
        head = source.read(found.limits.line_bytes + BLOCK)
    view = whole(io.BytesIO(head))
    kind = kind_of(view, claimed_kind(path))
    try:
        glance(view, kind, found)
    except ExceededError as error:
        found.complete, found.kind = False, kind
        found.fail(error.check, str(error), **error.evidence)
        return True
    except MalformedError:
        pass  # what is wrong with it is said when all of it is read
    return False
