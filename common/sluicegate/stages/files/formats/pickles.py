"""Pickles: which callables their opcodes name, read without running any of them.

A pickle is a program. Only one that names nothing but builds plain values is harmless, and
that is all that can pass here, where ``types`` allows pickles at all. Everything that names a
callable fails: telling good callables from bad ones is what scanners of pickles get wrong.

Sources: Python, ``pickletools``; Slaviero 2011, "Sour Pickles"; CWE-502.
"""

from __future__ import annotations

import pickletools
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sluicegate.stages.files.examination import (
    Examination,
    MalformedError,
    Place,
    UnreadableError,
    shown,
)
from sluicegate.stages.files.views import View

__all__ = ["is_old_pickle", "walk_pickle"]

MOST_OPCODES: Final = 5_000_000
"""Opcodes read of one pickle, about two seconds: a list of a million numbers has so many."""

LONGEST_NAME: Final = 512
"""Bytes of a text that may be part of a callable's name."""

LONGEST_LINE: Final = 1 << 16
"""Bytes of an argument that ends with a line."""

MOST_NAMES: Final = 20
"""Callables that a finding names."""

_OPCODES: Final = {opcode.code: opcode for opcode in pickletools.opcodes}
"""Every opcode of every protocol, by its character."""

_CALLING: Final = frozenset({"INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
"""Opcodes that call what was imported."""

OLD_OPCODES: Final = 10_000
"""Opcodes read to tell an old pickle. Nothing else is so many of them: a line feed is none."""

_OLD_HEADS: Final = b"(c]}d)lIFSVNGKMJLX"
"""First opcodes of pickles of protocols 0 and 1, which have no signature."""

_RUNNING: Final = frozenset(
    {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
    | {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
)
"""Opcodes that import, call, or hand over to the program that loads."""

_TEXTS: Final = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE8"}
)


@dataclass(slots=True)
class _Program:
    """What was seen of one pickle."""

    names: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    first: bytes = b""
    """Module and name of the first callable that is named in place, on a line each."""
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=2))
    end: int = 0

    def note(self, name: str, argument: bytes) -> None:
        if name in _TEXTS:
            self.texts.append(argument.decode("utf-8", "replace"))
        if name not in _RUNNING:
            return
        self.running.add(name)
        if name in ("GLOBAL", "INST"):
            self.first = self.first or argument
            self._named(argument.decode("utf-8", "replace").replace("\n", ".").rstrip("."))
        elif name == "STACK_GLOBAL":
            self._named(".".join(self.texts))

    def _named(self, name: str) -> None:
        short = shown(name)
        if short not in self.names and len(self.names) < MOST_NAMES:
            self.names.append(short)


class _Reader:
    """Reads opcodes and steps over their arguments without holding them."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._block, self._at = b"", 0
        self._start = 0

    @property
    def place(self) -> int:
        return self._start + self._at

    def take(self, count: int) -> bytes:
        if count > self._view.size - self.place:
            raise MalformedError("a pickle that ends too early")
        if self._at + count > len(self._block):
            self._start, self._at = self.place, 0
            self._block = self._view.at(self._start, max(count, 1 << 16))
        self._at += count
        return self._block[self._at - count : self._at]

    def skip(self, count: int) -> bytes:
        """Step over an argument; return it if it is short enough for a name."""
        if count <= LONGEST_NAME:
            return self.take(count)
        if count > self._view.size - self.place:
            raise MalformedError("a pickle that ends too early")
        self._start, self._at, self._block = self.place + count, 0, b""
        return b""

    def line(self) -> bytes:
        found = bytearray()
        while (byte := self.take(1)) != b"\n":
            found += byte
            if len(found) > LONGEST_LINE:
                raise MalformedError("a pickle with a line that does not end")
        return bytes(found)


def _argument(reader: _Reader, opcode: pickletools.OpcodeInfo) -> bytes:
    kind = opcode.arg
    if kind is None:
        return b""
    if kind.n >= 0:
        return reader.take(kind.n)
    if kind.n == pickletools.UP_TO_NEWLINE:
        lines = 2 if opcode.name in ("GLOBAL", "INST") else 1
        return b"\n".join(reader.line() for _ in range(lines))
    width, signed = {
        pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
        pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
        pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
        pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
    }[kind.n]
    count = int.from_bytes(reader.take(width), "little", signed=signed)
    if count < 0:
        raise MalformedError("a pickle with a length below zero")
    return reader.skip(count)


def _read(view: View, found: Examination | None, most: int) -> _Program:
    """Read opcodes up to STOP.

    Raises:
        MalformedError: something that is no opcode, or no STOP.
        UnreadableError: there are too many opcodes.
    """
    reader, program = _Reader(view), _Program()
    for count in range(most):
        byte = reader.take(1)
        opcode = _OPCODES.get(byte.decode("latin-1"))
        if opcode is None:
            raise MalformedError(f"no pickle: byte {reader.place - 1} is no opcode")
        program.note(opcode.name, _argument(reader, opcode))
        if opcode.name == "STOP":
            program.end = reader.place
            return program
        if found is not None and not count & 0xFFFF:
            found.tick()
    raise UnreadableError(f"a pickle of more than {most} opcodes")


def is_old_pickle(view: View, *, text: bool) -> bool:
    """Whether bytes without a signature are a pickle that names a callable.

    Text may be a pickle by chance: ``cost`` and two lines with numbers are the import of ``12``
    from ``ost``. No such name can be imported, so the first one decides.

    Args:
        view: the bytes.
        text: whether the file is called a text or a table of text, which nobody unpickles.
            It has to call something then.
    """
    head = view.at(0, 1)
    if not head or head not in _OLD_HEADS:
        return False
    try:
        program = _read(view, None, OLD_OPCODES)
    except MalformedError:
        return False
    except UnreadableError:
        return not text
    if program.end <= 2 or not _importable(program.first):
        return False
    return bool(program.running & _CALLING if text else program.running)


def _importable(named: bytes) -> bool:
    """Whether module and name could be imported; none in place means it is on the stack."""
    lines = named.decode("utf-8", "replace").split("\n")
    return not named or all(part.isidentifier() for line in lines for part in line.split("."))


def walk_pickle(view: View, place: Place, found: Examination) -> None:
    """List what a pickle would import or call; arrays that joblib mixes in come after that.

    Raises:
        MalformedError: it is no pickle from beginning to end.
        UnreadableError: it is too long.
    """
    try:
        program = _read(view, found, MOST_OPCODES)
    except MalformedError:
        # joblib puts raw arrays between opcodes; what was named before is enough to refuse.
        head = _named_before_the_break(view)
        if not head.running:
            raise
        program = head
    if program.running:
        names = ", ".join(program.names) or "none by name"
        found.fail(
            "files.executable_content",
            place.says(f"a pickle that runs code when it is loaded; it names {names}"),
            opcodes=sorted(program.running),
            names=list(program.names),
        )
    elif program.end != view.size:
        walk_rest = view.size - program.end
        message = place.says(f"{walk_rest} bytes behind the end of the pickle")
        found.fail("files.polyglot", message, bytes=walk_rest)


def _named_before_the_break(view: View) -> _Program:
    reader, program = _Reader(view), _Program()
    try:
        for _ in range(MOST_OPCODES):
            opcode = _OPCODES.get(reader.take(1).decode("latin-1"))
            if opcode is None or opcode.name == "STOP":
                break
            program.note(opcode.name, _argument(reader, opcode))
    except MalformedError:
        pass
    return program
