"""Are the files themselves encrypted, and the volume that they lie on?

Three questions. Files are judged by structure alone, without keys: see ``envelopes`` and
``parquet``. Volumes are judged by what the system tells: see ``volumes``. Every file that may
be Parquet is read once more, verified, to find modular encryption; all files are only where
``client_side`` asks for it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.connections.description import SCHEMES
from sluicegate.stages.encryption.files import parquet, volumes
from sluicegate.stages.encryption.files.devices import Answer, Told
from sluicegate.stages.encryption.files.envelopes import KNOWN, identify
from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    UndecidedError,
)
from sluicegate.stages.encryption.question import Controls, Kind, Question
from sluicegate.stages.encryption.scope import Area, Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS", "SYSTEM", "examine"]

CLIENT_SIDE: Final = Question(
    id="encryption.file_client_side",
    asks="Is every file of the subject encrypted by itself, whatever its store does?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    remedy="encrypt before storing, e.g. age -r RECIPIENT -o FILE.age FILE; Parquet by "
    "pyarrow.parquet.encryption.EncryptionConfiguration(uniform_encryption=True)",
    controls=Controls(nist=("SC-28(1)",)),
)
COLUMNS: Final = Question(
    id="encryption.file_parquet_columns",
    asks="Are all columns encrypted in Parquet files that use modular encryption?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    remedy="name every column in column_keys of pyarrow's EncryptionConfiguration, or set "
    "uniform_encryption=True",
    controls=Controls(nist=("SC-28(1)",)),
)
VOLUME: Final = Question(
    id="encryption.volume",
    asks="Is the local volume that the subject lies on encrypted?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=("/proc/self/mountinfo", "/sys/dev/block", "zfs get encryption"),
    remedy="cryptsetup luksFormat --type luks2 DEVICE; for Amazon EBS aws_ebs_volume "
    "encrypted = true, checked on AWS; NFS with sec=krb5p or xprtsec=tls",
    controls=Controls(nist=("SC-28(1)",)),
)
QUESTIONS: Final = (CLIENT_SIDE, COLUMNS, VOLUME)

SYSTEM: Final = volumes.System()
"""This machine."""

_SUFFIXES: Final = (".parquet", ".pq", ".parq")
_NAMED: Final = 100
"""Columns and files that a message or reason names at most."""


@dataclass(slots=True)
class _Seen:
    """What the files turned out to be."""

    groups: dict[Envelope, list[str]] = field(default_factory=lambda: defaultdict(list))
    modular: dict[str, parquet.Layout] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    """Files named like Parquet that could not be followed within bounds."""


def resources(settings: Settings, subject: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    """Return what this room asks about: the files of the subject; nothing on AWS."""
    del settings
    # The description of a connection is no data.
    return {} if subject.scheme in SCHEMES else {"files": (str(subject),)}


def examine(scope: Scope, system: volumes.System | None = None) -> Iterator[Check]:
    """Answer the wanted questions.

    Raises:
        SubjectError: a file of the subject cannot be read.
        SubjectChangedError: its bytes are not those of the snapshot.
    """
    every = scope.settings.client_side and scope.wants(CLIENT_SIDE)
    columns = scope.wants(COLUMNS)
    if every or columns:
        seen = _look(scope, every=every)
        if every:
            yield _client_side(seen)
        if columns and (seen.modular or seen.unread):
            yield _columns(seen)
        _count(scope, seen)
    if scope.snapshot.uri.scheme == "file" and scope.wants(VOLUME):
        yield from _volumes(scope, SYSTEM if system is None else system)


def _look(scope: Scope, *, every: bool) -> _Seen:
    """Read every file that a question needs once, verified."""
    seen = _Seen()
    files = scope.snapshot.manifest.files
    for done, record in enumerate(files):
        scope.context.progress("looking for encrypted files", done, len(files))
        if not every and not record.path.lower().endswith(_SUFFIXES):
            continue
        with scope.snapshot.open(record.path) as source:
            layout = _layout(source.read(4), source, record.path, seen)
            if layout is not None and layout.modular:
                seen.modular[record.path] = layout
            if every:
                seen.groups[identify(source, layout)].append(record.path)
    return seen


def _layout(head: bytes, source: IO[bytes], path: str, seen: _Seen) -> parquet.Layout | None:
    if head not in (parquet.CLEAR_FOOTER, parquet.ENCRYPTED_FOOTER):
        return None
    try:
        return parquet.read_layout(source)
    except UndecidedError:
        seen.unread.append(path)
    except MalformedError:
        if head == parquet.ENCRYPTED_FOOTER:
            seen.unread.append(path)
    return None


def _client_side(seen: _Seen) -> Check:
    bad = {Standing.CLEAR, Standing.BROKEN, Standing.WEAK}
    groups = sorted(seen.groups.items(), key=lambda item: (item[0].standing, item[0].note))
    failed = [_finding(one, files) for one, files in groups if one.standing in bad]
    untold = [(one, files) for one, files in groups if one.standing is Standing.UNTOLD]
    if failed:
        return CLIENT_SIDE.failed([*failed, *(_finding(one, files) for one, files in untold)])
    if untold:
        reasons = [f"{_some(files)}: {one.note}" for one, files in untold]
        return CLIENT_SIDE.unknown("; ".join(reasons))
    if not any(one.kind != "empty" for one, _ in groups):
        return CLIENT_SIDE.unknown("every file is empty: nothing shows how files are encrypted")
    return CLIENT_SIDE.passed()


def _finding(one: Envelope, files: list[str]) -> Finding:
    states = {Standing.WEAK: "weakly encrypted", Standing.UNTOLD: "not shown to be encrypted"}
    state = states.get(one.standing, "not encrypted")
    return Finding(
        message=f"expected encrypted files ({KNOWN}); {len(files)} "
        f"{'is' if len(files) == 1 else 'are'} {state}: {one.note}",
        files=tuple(sorted(files)),
        evidence={"format": one.kind, "standing": one.standing.value},
    )


def _columns(seen: _Seen) -> Check:
    groups: dict[tuple[tuple[str, ...], tuple[str, ...], bool], list[str]] = defaultdict(list)
    doubts: dict[str, list[str]] = defaultdict(list)
    for path, layout in seen.modular.items():
        if layout.clear or layout.leaking or layout.hidden:
            groups[layout.clear, layout.leaking, layout.hidden].append(path)
        elif layout.doubt:
            doubts[layout.doubt].append(path)
    if groups:
        return COLUMNS.failed([_readable(key, groups[key]) for key in sorted(groups)])
    if seen.unread:
        doubts["Parquet whose structure could not be read"] = seen.unread
    if doubts:
        reasons = [f"{_some(files)}: {doubt}" for doubt, files in sorted(doubts.items())]
        return COLUMNS.unknown("; ".join(reasons))
    return COLUMNS.passed()


def _readable(key: tuple[tuple[str, ...], tuple[str, ...], bool], files: list[str]) -> Finding:
    clear, leaking, hidden = key
    parts = []
    if clear:
        parts.append(f"{len(clear)} are stored in clear: {_some(clear)}")
    if leaking:
        parts.append(f"{len(leaking)} have their range in the plain footer: {_some(leaking)}")
    if hidden:
        parts.append("some are stored in clear; their names are hidden in the encrypted footer")
    return Finding(
        message=f"expected every column to be encrypted; {'; '.join(parts)}",
        files=tuple(sorted(files)),
        evidence={
            "clear": list(clear[:_NAMED]),
            "statistics": list(leaking[:_NAMED]),
            "footer": "encrypted" if hidden else "plain",
        },
    )


def _some(names: tuple[str, ...] | list[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return ", ".join(repr(name) for name in ordered[:5]) + more


def _count(scope: Scope, seen: _Seen) -> None:
    """Note how many files there are of each kind, and what stays readable of encrypted ones."""
    kinds = Counter[str]()
    rows = scope.tables.setdefault("encrypted files", []) if seen.groups else []
    for one in sorted(seen.groups, key=lambda one: (one.kind, one.standing, one.note)):
        files = len(seen.groups[one])
        kinds[one.kind] += files
        rows.append(
            {"format": one.kind, "standing": one.standing.value, "files": files, "note": one.note}
        )
    if not seen.groups and seen.modular:
        kinds["parquet-modular"] = len(seen.modular)
    for kind, count in sorted(kinds.items()):
        scope.metrics[f"files_{kind.replace('-', '_')}"] = count


def _volumes(scope: Scope, system: volumes.System) -> Iterator[Check]:
    if system.platform != "linux":
        ask = {"darwin": "fdesetup status", "win32": "manage-bde -status"}.get(system.platform)
        hint = f"; ask '{ask}'" if ask else ""
        yield VOLUME.unknown(f"volumes are examined on Linux only{hint}")
        return
    root = os.path.realpath(scope.snapshot.uri.local)
    single = scope.snapshot.is_single_file
    files = [] if single else [record.path for record in scope.snapshot.manifest.files]
    mounts = volumes.mounts_of(root, files, volumes.read_mounts(system))
    if not mounts:
        yield VOLUME.unknown("/proc/self/mountinfo names no mount for the subject")
    paths = [f"{root.rstrip('/')}/{file}" for file in files] or [root]
    for mount in mounts:
        answer = volumes.volume(mount, system, paths=paths)
        yield _volume(answer, mount)


def _volume(answer: Answer, mount: volumes.Mount) -> Check:
    if answer.told is Told.ENCRYPTED:
        return VOLUME.passed(mount.point)
    if answer.told is Told.CLEAR:
        found = Finding(
            message=f"expected an encrypted volume; {answer.reason}",
            evidence={"mount": mount.point, "filesystem": mount.kind},
        )
        return VOLUME.failed([found], mount.point)
    return VOLUME.unknown(f"{mount.kind}: {answer.reason}", mount.point)


AREA: Final = Area(name="files", questions=QUESTIONS, resources=resources, examine=examine)
