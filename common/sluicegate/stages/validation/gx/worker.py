"""Asks GX, one question after the other, in a process that can be lost.

The worker is a fork of the supervisor, which has imported GX already. It reads the rows,
gives up what it does not need, and asks. Each question may take a share of CPU time of its
own; the kernel ends the worker when it takes more.

What it gives up is a guard against accidents and against data that reaches a dangerous
function through a library: it opens no connection, starts no process, writes no file, and
unpickles nothing. It is no sandbox: a plug-in is the user's own code and can do what its
user can.
"""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.answers import GX, MOST_ROWS, Answer
from sluicegate.stages.validation.gx.engine import pandas_batches, put
from sluicegate.stages.validation.gx.frames import read_frame
from sluicegate.stages.validation.gx.questions import Question
from sluicegate.stages.validation.gx.quiet import alone
from sluicegate.stages.validation.gx.wire import ChildLimits, encode, encode_answer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["address_space", "work"]

_REFUSED: Final = (
    "ctypes.dlopen",
    "os.chmod",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.link",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.spawn",
    "os.startfile",
    "os.symlink",
    "os.system",
    "os.truncate",
    "pickle.find_class",
    "pty.spawn",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.sendmsg",
    "socket.sendto",
    "subprocess.Popen",
    "urllib.Request",
)
"""Audit events that no expectation needs. Source: Python's table of audit events."""

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


def work(
    frame: int, questions: tuple[Question, ...], limits: ChildLimits, say: Callable[[bytes], None]
) -> None:
    """Answer questions about the rows.

    Args:
        frame: descriptor of the rows.
        questions: what to ask, in order.
        limits: what this process may take.
        say: takes each line for the supervisor.
    """
    _limit_memory(limits.memory_bytes)
    _limit_cpu(limits.question_cpu_seconds)
    os.lseek(frame, 0, os.SEEK_SET)  # an earlier worker has read it: they share the offset
    with os.fdopen(frame, "rb", closefd=False) as source:
        frame, masks = read_frame(source)
    with alone():
        batches = _Batches(frame, masks, pandas_batches())
        _give_up()
        for question in questions:
            _limit_cpu(limits.question_cpu_seconds)
            say(encode({"ask": question.index}))
            say(encode_answer(question.index, _ask(batches, question)))


@dataclass(slots=True)
class _Batches:
    """Batches of the rows that masks select, one at a time: GX hashes all rows of each."""

    frame: pd.DataFrame
    masks: Sequence[NDArray[np.bool_]]
    definition: Any
    mask: int | None = None
    batch: Any = None
    rows: int = 0

    def of(self, mask: int | None) -> Any:
        if self.batch is None or mask != self.mask:
            self.batch = None  # before the next one takes its own memory
            # The index keeps the positions in the whole table, which name the rows.
            rows = self.frame if mask is None else self.frame.loc[self.masks[mask]]
            self.mask, self.rows = mask, len(rows)
            self.batch = self.definition.get_batch({"dataframe": rows})
        return self.batch


def _ask(batches: _Batches, question: Question) -> Answer:
    try:
        batch = batches.of(question.mask)
        return put(batch, question, batches.rows, most_rows=MOST_ROWS)
    except Exception as error:  # noqa: BLE001  GX raises anything, and quotes cells
        return Answer.unknown(f"Great Expectations failed with {type(error).__name__}", engine=GX)


def address_space() -> int:
    """Return the bytes of address space that this process takes; 0 where nobody can tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        return int(pages) * resource.getpagesize()
    except OSError:
        return 0


def _limit_memory(more: int) -> None:
    if now := address_space():
        _lower(resource.RLIMIT_AS, now + more)
    _lower(resource.RLIMIT_CORE, 0)  # a core file would hold the data
    _lower(resource.RLIMIT_FSIZE, 0)


def _limit_cpu(seconds: int) -> None:
    _lower(resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds)


def _lower(what: int, value: int) -> None:
    """Set a soft limit; a system that does not know it has the supervisor's limits."""
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (value, hard))


def _give_up() -> None:
    """Refuse, from now on, what no expectation needs. It cannot be taken back."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and _writes(arguments)
        if writes or event in _REFUSED:
            raise PermissionError(f"{event} is refused while expectations are asked")

    sys.addaudithook(refuse)


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, _, flags = arguments
    return path != os.devnull and isinstance(flags, int) and bool(flags & _WRITES)
