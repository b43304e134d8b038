"""The process itself: takes one question after another from a socket, and answers.

Started as ``python -I -m sluicegate.stages.files.child.loop N``, where N is the descriptor of
its end of the socket. A question is a line of JSON with open files attached; so is an answer,
without files. Limits are set anew for each question, on top of what the process already
uses: the soft ones, as a process may not raise the hard ones again.

It is not a sandbox: bytes that take over a parser run with the rights of the user. It keeps
crashes, endless loops and greed away from the process that decides.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any, Final

from sluicegate.stages.files.child.readers import TASKS, Refused, warm

__all__ = ["main"]

LONGEST_QUESTION: Final = 1 << 16
"""Bytes of a question: a task's name and a dozen numbers."""

MOST_FILES: Final = 2
"""Open files that come with a question: one to read, one to write."""

OPEN_FILES: Final = 64
"""Descriptors that the process may have open."""


def main() -> None:
    """Answer questions until the other side hangs up."""
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES)):
        resource.setrlimit(kind, (most, most))
    with socket.socket(fileno=int(sys.argv[1])) as line:
        while True:
            data, files, _, _ = socket.recv_fds(line, LONGEST_QUESTION, MOST_FILES)
            if not data:
                return
            answer = json.dumps(_answer(json.loads(data), files))
            _unlimited()
            line.sendall(answer.encode() + b"\n")


def _answer(question: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Do what is asked, and make whatever goes wrong an answer."""
    try:
        warm(question["task"])
        _limit(question)
        return {"facts": TASKS[question["task"]](question, *files)}
    except Refused as refusal:
        return refusal.answer
    except MemoryError:
        return {"exceeded": "memory"}
    except Exception as error:  # noqa: BLE001  whatever a reader raises is its word on the bytes
        if "Memory" in type(error).__name__ or "realloc" in str(error) or "malloc" in str(error):
            return {"exceeded": "memory"}
        return {"malformed": type(error).__name__}
    finally:
        for file in files:
            os.close(file)


def _limit(question: dict[str, Any]) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(usage.ru_utime + usage.ru_stime + question["seconds"]) + 1
    _soft(resource.RLIMIT_CPU, seconds)
    _soft(resource.RLIMIT_AS, _address_space() + question["memory"])
    _soft(resource.RLIMIT_FSIZE, question.get("allowed", 0) + (1 << 20))


def _unlimited() -> None:
    """Lift the limit on memory: the answer itself must not fail for want of it."""
    _soft(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def _soft(kind: int, most: int) -> None:
    resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _address_space() -> int:
    """Return bytes of address space in use; a generous guess where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 1 << 30
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
