"""Asking the child about a part of a file, and saying what its answer means."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import IO, Any, Final

from sluicegate.stages.files.child.nursery import Answer
from sluicegate.stages.files.examination import (
    Examination,
    ExceededError,
    MalformedError,
    Place,
    UnreadableError,
)
from sluicegate.stages.files.views import View

__all__ = ["decode", "inflate", "read_markup"]

_EXTRAS: Final = {"pyarrow": "tables", "Pillow": "images"}
"""The extra that brings a library."""

_TOO_MUCH: Final = {
    "columns": ("files.structure", "columns"),
    "row_groups": ("files.structure", "row groups or batches"),
    "pixels": ("files.expansion", "pixels"),
    "nesting": ("files.nesting", "elements inside each other"),
    "line": ("files.lines", "bytes in one tag or text"),
}
"""The check that fails and the words for it, by what was exceeded."""


def decode(
    view: View, task: str, place: Place, found: Examination, *, kind: str = ""
) -> Mapping[str, Any]:
    """Let the child decode a table or a picture; return what it learnt.

    Raises:
        MalformedError: the reader cannot read it, or crashed on it.
        UnreadableError: nobody can tell.
        ExceededError: it is larger than is allowed.
    """
    limits, room = found.limits, found.room_to_decode()
    with view.descriptor() as file:
        answer = found.nursery.ask(
            task,
            file,
            seconds=found.seconds(),
            kind=kind,
            allowed=room,
            columns=limits.columns,
            row_groups=limits.row_groups,
            pixels=limits.pixels,
        )
    facts = _facts(answer, task, place, found, room)
    found.decoded += int(facts["expanded"])
    return facts


def inflate(view: View, kind: str, sink: IO[bytes], place: Place, found: Examination) -> None:
    """Let the child inflate a stream that the standard library cannot, into a real file.

    Raises:
        MalformedError: the stream is broken.
        UnreadableError: nobody can tell.
        ExceededError: it expands further than is allowed.
    """
    room = found.room()
    with view.descriptor() as file:
        answer = found.nursery.ask(
            "inflate", file, sink.fileno(), seconds=found.seconds(), kind=kind, allowed=room
        )
    found.spend(int(_facts(answer, kind, place, found, room)["expanded"]))


def read_markup(view: View, place: Place, found: Examination) -> Mapping[str, Any]:
    """Let the child walk XML; return its root and what in it is active.

    Raises:
        MalformedError: it is no XML.
        UnreadableError: nobody can tell.
        ExceededError: it declares entities, or is nested too deep.
    """
    with view.descriptor() as file:
        answer = found.nursery.ask(
            "xml", file, seconds=found.seconds(), line=found.limits.line_bytes
        )
    return _facts(answer, "xml", place, found, 0)


def _facts(
    answer: Answer, task: str, place: Place, found: Examination, room: int
) -> Mapping[str, Any]:
    """Return what was learnt, or raise what kept it from being learnt."""
    facts = answer.get("facts")
    if isinstance(facts, Mapping):
        return facts
    if "exceeded" in answer:
        raise _exceeded(answer, task, place, found, room)
    if "entities" in answer:
        message = place.says("XML that declares entities; they were not expanded")
        raise ExceededError("files.expansion", message)
    if "broken" in answer:
        raise MalformedError(str(answer["broken"]))
    if "malformed" in answer:
        raise MalformedError(f"the reader of {task} refuses it ({answer['malformed']})")
    if "missing" in answer:
        library = str(answer["missing"])
        extra = _EXTRAS.get(library, "tables")
        raise UnreadableError(f'reading it needs {library}: pip install "sluicegate[{extra}]"')
    if "unreadable" in answer:
        raise UnreadableError(str(answer["unreadable"]))
    if "late" in answer or answer.get("crashed") in (signal.SIGXCPU, signal.SIGKILL):
        raise UnreadableError(f"the reader of {task} did not come to an end in time")
    if (number := int(answer.get("crashed", 0))) > 0:
        raise MalformedError(f"the reader of {task} crashed on it ({_signal(number)})")
    raise UnreadableError(f"the process that reads {task} ended without an answer")


def _exceeded(
    answer: Answer, task: str, place: Place, found: Examination, room: int
) -> ExceededError:
    what, counted = str(answer["exceeded"]), int(answer.get("counted", 0))
    if what == "memory":
        allowed = found.limits.memory_bytes
        message = f"reading a piece of it as {task} takes more than {allowed} bytes of memory"
        return ExceededError("files.expansion", place.says(message), allowed=allowed)
    if what == "expansion":
        message = f"{found.size} bytes expand to more than {room}: counted {counted} and stopped"
        return ExceededError(
            "files.expansion", place.says(message), counted=counted, allowed=room, size=found.size
        )
    check, words = _TOO_MUCH[what]
    return ExceededError(check, place.says(f"{counted} {words}, more than allowed"))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
