"""Starting, asking and ending the process with limits.

One process answers for many files: starting it and importing a reader takes longer than most
questions. After a crash, or when it does not answer in time, the next question gets a new
one. The process gets no environment but a few fixed words, and of files only those it is
asked about.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Answer", "Nursery"]

LONGEST_ANSWER: Final = 1 << 16
"""Bytes of an answer: some numbers. More is a process that does not do what it should."""

_MODULE: Final = "sluicegate.stages.files.child.loop"

_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
"""One thread, and memory that is given back: limits on address space count both."""

Answer = Mapping[str, Any]
"""Exactly one of: ``facts``; ``exceeded`` with what and perhaps ``counted``; ``broken`` with a
sentence; ``malformed`` with the class of an error; ``unreadable``; ``missing`` with a library;
``entities``; ``crashed`` with the number of a signal; ``late``."""


class Nursery:
    """Keeps at most one process; use as a context manager."""

    def __init__(self, *, memory: int) -> None:
        """Prepare; nothing is started.

        Args:
            memory: bytes that answering one question may take, besides the libraries.
        """
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, task: str, *files: int, seconds: float, **numbers: Any) -> Answer:
        """Ask one question, with open files; wait for at most ``seconds`` of wall time."""
        line = self._line or self._start()
        question = {"task": task, "seconds": seconds, "memory": self._memory, **numbers}
        try:
            line.settimeout(max(0.1, seconds))
            socket.send_fds(line, [json.dumps(question).encode()], files)
            return self._listen(line, time.monotonic() + seconds)
        except TimeoutError:
            self.close()
            return {"late": True}
        except OSError:
            return self._gone()

    def _listen(self, line: socket.socket, deadline: float) -> Answer:
        data = bytearray()
        while not data.endswith(b"\n"):
            line.settimeout(max(0.01, deadline - time.monotonic()))
            piece = line.recv(LONGEST_ANSWER)
            if not piece:
                return self._gone()
            data += piece
            if len(data) > LONGEST_ANSWER:
                self.close()
                return {"malformed": "an answer without end"}
        answer = json.loads(data)
        if not isinstance(answer, dict):
            self.close()
            return {"malformed": "an answer of another form"}
        return answer

    def _gone(self) -> Answer:
        """Say how the process ended."""
        process = self._process
        code = 0
        if process is not None:
            try:
                code = process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                code = 0
        self.close()
        return {"crashed": -code}

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-I", "-m", _MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd=os.path.sep,
            )
        self._line = ours
        return ours

    def close(self) -> None:
        """End the process, if there is one."""
        line, self._line = self._line, None
        process, self._process = self._process, None
        if line is not None:
            line.close()
        if process is not None:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        """The number of the process; ``None`` if there is none."""
        return self._process.pid if self._process is not None else None
