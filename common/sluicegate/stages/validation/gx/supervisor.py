"""The child process: imports GX once, forks a worker, and forks another when one is lost.

Importing GX takes seconds. The supervisor does it once and reads no data; each worker is a
fork of it. When a worker is lost (too much CPU time, wall time or memory, a crash of native
code), the one expectation that it was asking is lost with it, and the next worker goes on
behind it. The supervisor ends, with its worker, when its parent does.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluicegate.errors import ConfigurationError, SluicegateError
from sluicegate.stages.validation.gx.questions import Question
from sluicegate.stages.validation.gx.quiet import alone, import_gx
from sluicegate.stages.validation.gx.resolving import resolve
from sluicegate.stages.validation.gx.wire import ChildLimits, Task, encode
from sluicegate.stages.validation.gx.worker import work

__all__ = ["main"]

_PROC: Final = Path("/proc")

_LOOK_SECONDS: Final = 0.2
"""How often the worker's memory and the parent's life are looked at."""

_SLOW_AND_UNUSED: Final = "rfc3987_syntax"
"""jsonschema imports it for a format that GX does not check; its import takes two seconds."""


def main() -> None:
    """Do what the task on standard input says, and tell about it on standard output."""
    parent = os.getppid()
    out = os.dup(1)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # what a library prints must not get between the messages
        os.dup2(silence, stream)
    task = Task.from_json(sys.stdin.buffer.read())
    os.dup2(silence, 0)
    try:
        _prepare(task)
    except SluicegateError as error:
        _say(out, {"refused": type(error).__name__, "what": error.what, "next": error.next_step})
        return
    _say(out, {"ready": True})
    if task.frame is not None:
        _Supervisor(task, out, task.frame, parent).run()
    _say(out, {"done": True})


def _prepare(task: Task) -> None:
    known = _SLOW_AND_UNUSED in sys.modules
    if not known:
        sys.modules[_SLOW_AND_UNUSED] = None  # type: ignore[assignment]  # an import fails
    import_gx()
    if not known:
        del sys.modules[_SLOW_AND_UNUSED]
    with alone():
        for name in task.plugins:
            _load(name)
        for question in task.questions:
            resolve(question)


def _load(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        raise ConfigurationError(
            f"plugins: the module {name!r} cannot be imported: {type(error).__name__}",
            next_step="install it where the gate runs; a module that only a DAG file can see "
            "is not enough",
        ) from error


def _say(out: int, message: Mapping[str, Any]) -> None:
    _write(out, encode(message))


def _write(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


@dataclass(slots=True)
class _Supervisor:
    task: Task
    out: int
    frame: int
    parent: int

    @property
    def limits(self) -> ChildLimits:
        return self.task.limits

    def run(self) -> None:
        """Fork workers until every question was asked."""
        questions = list(self.task.questions)
        while questions:
            worker = _fork(self.frame, tuple(questions), self.limits)
            asked, why = self._watch(worker)
            if not why and asked == questions[-1].index:
                return
            _say(self.out, {"lost": asked, "why": why or "the process ended by itself"})
            if asked is None:
                return
            while questions.pop(0).index != asked:
                pass

    def _watch(self, worker: _Worker) -> tuple[int | None, str]:
        """Pass on what a worker says until it ends; return whom it asked last, and why."""
        deadline = time.monotonic() + self.limits.question_seconds
        kill = ""
        while True:
            ready, _, _ = select.select([worker.lines], [], [], _LOOK_SECONDS)
            if ready:
                if not (lines := worker.read()):
                    return worker.asked, worker.end(kill, self.limits)
                _write(self.out, lines)
                deadline = time.monotonic() + self.limits.question_seconds
            if os.getppid() != self.parent:
                worker.kill()
                os._exit(1)
            if not kill and (kill := self._beyond(worker, deadline)):
                worker.kill()

    def _beyond(self, worker: _Worker, deadline: float) -> str:
        if time.monotonic() > deadline:
            return f"it took more than {self.limits.question_seconds:g} seconds"
        if resident(worker.pid) > worker.resident + self.limits.memory_bytes:
            return _memory(self.limits)
        return ""


def _memory(limits: ChildLimits) -> str:
    return f"it needed more than {limits.memory_bytes >> 20} MB of memory"


@dataclass(slots=True)
class _Worker:
    pid: int
    lines: int
    resident: int
    """Bytes of memory that it had when it began."""
    asked: int | None = None
    rest: bytes = b""

    def read(self) -> bytes:
        """Return complete lines; nothing once it has ended."""
        while data := os.read(self.lines, 1 << 16):
            whole, newline, self.rest = (self.rest + data).rpartition(b"\n")
            if not newline:
                continue
            for line in whole.split(b"\n"):
                message = json.loads(line)
                self.asked = message.get("ask", self.asked)
            return whole + newline
        return b""

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self, killed: str, limits: ChildLimits) -> str:
        """Wait for its end; return why it did not finish, or nothing."""
        os.close(self.lines)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status == 0:
            return ""
        if killed:
            return killed
        if status == -signal.SIGXCPU:
            return f"it took more than {limits.question_cpu_seconds} CPU seconds"
        if status > 0:
            return _memory(limits) if status == _NO_MEMORY else "the process failed"
        return f"the process was ended by {signal.Signals(-status).name}"


_NO_MEMORY: Final = 3
"""Exit status of a worker that was refused memory."""


def _fork(frame: int, questions: tuple[Question, ...], limits: ChildLimits) -> _Worker:
    lines, say = os.pipe()
    pid = os.fork()
    if pid:
        os.close(say)
        return _Worker(pid, lines, resident(pid))
    status = 1
    try:
        os.close(lines)
        work(frame, questions, limits, lambda data: _write(say, data))
        status = 0
    except MemoryError:
        status = _NO_MEMORY
    finally:
        os._exit(status)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process takes; 0 if it is gone."""
    try:
        pages = (_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()
    except OSError:
        return 0 if _PROC.is_dir() else _asked_of_ps(pid)


def _asked_of_ps(pid: int) -> int:
    command = ["/bin/ps", "-o", "rss=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return int(said.stdout) << 10 if said.stdout.strip().isdecimal() else 0
