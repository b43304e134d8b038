"""What a stage is: a frozen dataclass that examines a snapshot and reports.

A stage is pure examination. It knows no orchestrator, decides nothing, signs nothing and
writes nothing; policy and the gate do that with its report. Its fields are its whole
configuration: their digest is part of every receipt, so a consumer can tell which
questions were asked.

Writing one::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class CountRows:
        \"\"\"Refuse data sets that are too small.\"\"\"

        name: ClassVar[str] = "count-rows"
        version: ClassVar[str] = "1"
        hereditary: ClassVar[bool] = False

        at_least: Annotated[int, Option("fewest rows that will do")]

        def run(self, snapshot: Snapshot, context: Context) -> Report: ...
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Report
from sluicegate.receipts.records import Records
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import Snapshot

__all__ = [
    "Context",
    "Field",
    "Option",
    "RowScores",
    "Stage",
    "configuration",
    "configuration_files",
    "configuration_paths",
    "stage_fields",
]


@dataclass(frozen=True, slots=True)
class Option:
    """What a stage's field means; goes into ``Annotated[...]``.

    The same text is the CLI's help and the policy's documentation.
    """

    help: str
    """One phrase, lower case, no full stop."""
    file: bool = False
    """The value is the path of a configuration file. Receipts bind the file's content and
    never its path; a stage reads it through :meth:`Context.file`."""


RowScores = Callable[[Mapping[str, Sequence[Any]]], None]
"""Told what a stage thinks of single rows: columns of equal length by name. ``row`` (position
in the data set, over all files), ``file`` and ``ordinal`` (position in that file),
``channel``, ``score`` (higher is worse), ``p_value`` (NaN where not known), ``flagged``,
``evidence`` (JSON text). Scores are not part of the report: it would grow with the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run gives to a stage besides the snapshot."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content of the stage's configuration files by field name, read once by the gate; of a
    field with many files as ``name[0]``, ``name[1]`` …"""
    samples: bool = False
    """Whether the policy allows data values in reports."""
    progress: Progress = no_progress
    """To be told ``(what, done, total)`` during long work."""
    row_scores: RowScores | None = None
    """To be told scores of single rows, by stages that declare ``scores_rows = True``;
    ``None`` where nobody asks."""

    records: Callable[[], Records] | None = None
    """Reads the ledger and returns what the policy's keys signed; ``None`` where there is no
    ledger to ask. Called by the few stages that look at provenance."""

    def file(self, name: str) -> bytes:
        """Return the content of the configuration file of field ``name``."""
        return self.files[name]


@runtime_checkable
class Stage(Protocol):
    """Examines one kind of risk. Implementations are frozen dataclasses."""

    name: ClassVar[str]
    """Kebab-case verb phrase; stable: policies and receipts use it."""
    version: ClassVar[str]
    """Raised whenever the same input could get another report."""

    @property
    def hereditary(self) -> bool:
        """Whether a data set without this risk has no subset of rows or files with it.

        Then a receipt for a data set also speaks for what remains after rows are set aside.
        A class variable will do where it does not depend on the configuration.
        """
        ...

    # A stage may also declare `check_ids: ClassVar[tuple[str, ...]]`, the ids of its checks
    # (`*` for any text): then a misspelt id in a policy's rules is an error, not a silence;
    # and `scores_rows: ClassVar[bool] = True` if it tells `Context.row_scores` about rows.

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Examine the snapshot.

        Raises:
            StageError: the examination could not be carried out.
            SubjectError: the subject cannot be read as what it claims to be.
            ConfigurationError: the stage's fields do not fit this subject.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One configuration field of a stage, for the CLI and the policy loader."""

    name: str
    """Python name, with underscores."""
    kind: type
    """``str``, ``int``, ``float`` or ``bool``; for ``many``, of each element."""
    many: bool
    """A tuple of values."""
    optional: bool
    """``None`` is allowed."""
    required: bool
    """There is no default."""
    default: Any
    help: str
    file: bool
    secret: bool
    """Kept out of ``repr`` (``field(repr=False)``), and so out of reports and receipts."""


def stage_fields(stage: type[Stage] | Stage) -> tuple[Field, ...]:
    """Return the configuration fields of a stage, in order of definition.

    Raises:
        TypeError: a field's annotation is outside of what stages may use.
    """
    return _fields_of(stage if isinstance(stage, type) else type(stage))


@cache
def _fields_of(kind: type[Any]) -> tuple[Field, ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple(
        _describe(item, hints[item.name]) for item in dataclasses.fields(kind) if item.init
    )


def _describe(item: dataclasses.Field[Any], hint: Any) -> Field:
    option = Option("")
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        option = next((note for note in notes if isinstance(note, Option)), option)
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not types.NoneType]
        optional = len(inner) < len(typing.get_args(hint))
        inner = [part for part in inner if part is not Path] or inner
        hint = inner[0]
    many = typing.get_origin(hint) is tuple
    if many:
        hint = typing.get_args(hint)[0]
    if hint is Path:
        hint = str
    if hint not in (str, int, float, bool):
        raise TypeError(
            f"field {item.name}: a stage's fields are text, numbers, booleans or tuples of those"
        )
    required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    return Field(
        name=item.name,
        kind=hint,
        many=many,
        optional=optional,
        required=required,
        default=None if required else _default(item),
        help=option.help,
        file=option.file,
        secret=not item.repr,
    )


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def configuration_files(stage: Stage) -> dict[str, bytes]:
    """Read the configuration files that a stage's fields name; keys as in :class:`Context`.

    Raises:
        ConfigurationError: a file is missing or unreadable.
    """
    return {
        key: _read(stage, key.partition("[")[0], path)
        for key, path in configuration_paths(stage).items()
    }


def configuration_paths(stage: Stage) -> dict[str, str]:
    """Return where a stage's configuration files lie; keys as in :class:`Context`."""
    return {
        key: str(path)
        for described in stage_fields(stage)
        if described.file
        for key, path in _paths(described, getattr(stage, described.name))
    }


def _paths(described: Field, value: Any) -> list[tuple[str, Any]]:
    """Return the paths of a field, by the keys that their contents are kept under."""
    if described.many:
        return [(f"{described.name}[{index}]", path) for index, path in enumerate(value)]
    return [] if value is None else [(described.name, value)]


def _read(stage: Stage, name: str, path: Any) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{stage.name}: cannot read {name} {str(path)!r}: {error.strerror}",
            next_step="paths in a policy are relative to the policy file, others to the "
            "working directory",
        ) from error


def configuration(stage: Stage, files: Mapping[str, bytes]) -> dict[str, Json]:
    """Return a stage's whole configuration as JSON: the same for the same questions.

    Args:
        stage: the stage.
        files: content of its configuration files, from :func:`configuration_files`; their
            digests stand in for their paths.
    """
    values: dict[str, Json] = {}
    for described in stage_fields(stage):
        value = getattr(stage, described.name)
        if described.secret and value is not None:
            value = "redacted"  # a credential is no part of the question
        elif described.file and value is not None:
            digests: list[Json] = [
                {"sha256": Digest.of(files[key]).hex} for key, _ in _paths(described, value)
            ]
            value = digests if described.many else digests[0]
        elif described.many:
            value = list(value)
        values[described.name] = value
    return {"stage": stage.name, "version": stage.version, "fields": values}
