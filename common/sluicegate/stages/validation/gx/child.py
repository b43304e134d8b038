"""Great Expectations in a child process with limits: what it does to itself stays there.

An expectation that GX answers may run for years (a pattern that backtracks, which the data
alone can bring about), take all memory, or crash in native code. In a child it is one
expectation without an answer: *unknown*, with the reason, and the others are answered by a
fresh worker. Nothing that happens there is ever a pass.

Rows go to the child as Arrow through an unlinked file, questions as JSON, answers come back
as lines of JSON. The child sees none of this process's environment but a few names: secrets
of the gate are not there. See :mod:`~sluicegate.stages.validation.gx.worker` for what it may
not do, and for why it is no sandbox.

Memory is limited by address space where the kernel knows that (Linux), and by looking at the
resident size five times a second everywhere.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError, MissingExtraError, StageError
from sluicegate.stages.validation.answers import GX, Answer
from sluicegate.stages.validation.gx.frames import write_frame
from sluicegate.stages.validation.gx.questions import Question
from sluicegate.stages.validation.gx.wire import MOST_LINE, ChildLimits, Task, decode_answer
from sluicegate.stages.validation.suites.conditions import Condition
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["ChildLimits", "GxChild"]

_KEPT: Final = (
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "TMPDIR",
    "TZ",
)
"""Names of the environment that the child sees. All others may hold a secret."""

_SINGLE: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
}
"""One thread where a library would start many: a fork keeps only one, and each reserves
address space that it does not use."""

_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from sluicegate.stages.validation.gx.supervisor import main; main()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GxChild:
    """Asks GX in a child process.

    Args:
        plugins: modules that register expectations; they are imported in the child only.
        limits: what the child may take.
    """

    plugins: tuple[str, ...] = ()
    limits: ChildLimits = field(default_factory=ChildLimits)

    def check(self, expectations: Sequence[Expectation]) -> None:
        """Return if GX knows and takes every one of them; no data is needed.

        Raises:
            ConfigurationError: a type or an argument that GX does not know or take, or a
                plug-in that cannot be imported.
            MissingExtraError: GX is not installed.
            StageError: the child did not say.
        """
        for _ in self._run([Question.of(one) for one in expectations], None):
            pass

    def answer(
        self,
        frame: pd.DataFrame,
        expectations: Sequence[Expectation],
        *,
        selected: Mapping[Condition, NDArray[np.bool_]] | None = None,
    ) -> dict[int, Answer]:
        """Ask expectations about these rows, all of them in one process.

        Args:
            frame: the rows; index labels are positions in the whole table.
            expectations: what to ask.
            selected: what each row condition selects, as one boolean a row. An expectation
                with a condition needs an entry here.

        Returns:
            One answer for each expectation, by its index in the suite.

        Raises:
            ConfigurationError: as :meth:`check`.
            MissingExtraError: GX is not installed.
            ValueError: nobody said what a row condition selects.
            StageError: the child could not be started, or broke the protocol before the first
                question.
        """
        if not expectations:
            return {}
        questions, masks = _questions(expectations, selected or {})
        answers: dict[int, Answer] = {one.index: _UNASKED for one in questions}
        why = "the process of Great Expectations ended early"
        with tempfile.TemporaryFile() as rows:
            write_frame(frame, rows, masks)
            rows.flush()
            for message in self._run(questions, rows):
                index = message.get("answer", message.get("lost"))
                if type(index) is int and answers.get(index) is _UNASKED:
                    answers[index] = _said(message)
                elif index is None:  # nobody in particular: nobody else will be asked
                    why = str(message.get("why") or message.get("stopped") or why)[:200]
        return {
            index: _lost(f"not asked: {why}") if answer is _UNASKED else answer
            for index, answer in answers.items()
        }

    def _run(
        self, questions: Sequence[Question], rows: IO[bytes] | None
    ) -> Iterator[dict[str, Any]]:
        """Yield what the child says, after it is ready."""
        task = Task(
            questions=tuple(questions),
            plugins=self.plugins,
            limits=self.limits,
            frame=None if rows is None else rows.fileno(),
        )
        with _started(task) as process:
            messages = _messages(process, self.limits)
            first = next(messages, {})
            if "refused" in first:
                raise _refusal(first)
            if "ready" not in first:
                raise StageError(
                    "the process of Great Expectations did not start: "
                    f"{first.get('stopped', 'it ended before it was ready')}",
                    next_step="run `python -c 'import great_expectations'` where the gate runs",
                )
            yield from messages


def _questions(
    expectations: Sequence[Expectation], selected: Mapping[Condition, NDArray[np.bool_]]
) -> tuple[list[Question], list[NDArray[np.bool_]]]:
    """Return the questions, those about the same rows in a row, and a mask for such rows."""
    groups: dict[Condition | None, list[Expectation]] = {None: []}
    for one in expectations:
        if one.condition is not None and one.condition not in selected:
            raise ValueError(f"{one.where}: what its row condition selects is not known")
        groups.setdefault(one.condition, []).append(one)
    conditions = [condition for condition in groups if condition is not None]
    numbers = {None: None} | {condition: at for at, condition in enumerate(conditions)}
    questions = [
        Question.of(one, mask=numbers[condition])
        for condition, asked in groups.items()
        for one in asked
    ]
    return questions, [selected[condition] for condition in conditions]


def _lost(why: str) -> Answer:
    return Answer.unknown(f"Great Expectations could not tell: {why}", engine=GX)


_UNASKED: Final = _lost("not asked")


def _said(message: Mapping[str, Any]) -> Answer:
    if "lost" in message:
        return _lost(str(message.get("why"))[:200])
    try:
        return decode_answer(message)
    except ValueError:
        return _lost("its answer is malformed")


def _refusal(message: Mapping[str, Any]) -> ConfigurationError:
    if message["refused"] == MissingExtraError.__name__:
        return MissingExtraError("great_expectations", "gx", "validate-dataset")
    return ConfigurationError(str(message["what"]), next_step=str(message["next"]))


@contextmanager
def _started(task: Task) -> Iterator[subprocess.Popen[bytes]]:
    """Start the child; end it, and all that it started, at the end."""
    if not sys.executable:
        raise StageError("this process does not know its Python interpreter")
    path = json.dumps([os.path.abspath(entry) for entry in sys.path])
    with tempfile.TemporaryFile() as said:
        said.write(task.to_json())
        said.seek(0)
        process = subprocess.Popen(  # noqa: S603  this interpreter, with arguments of our own
            [sys.executable, "-I", "-B", "-c", _BOOT, path],
            stdin=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=() if task.frame is None else (task.frame,),
            env={name: os.environ[name] for name in _KEPT if name in os.environ} | _SINGLE,
            cwd="/",
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _messages(process: subprocess.Popen[bytes], limits: ChildLimits) -> Iterator[dict[str, Any]]:
    """Yield each message until the child is done; last of all, if it was stopped, why."""
    began = time.monotonic()
    end, what = began + limits.start_seconds, f"{limits.start_seconds:g} seconds to start"
    lines = _Lines(process)
    while True:
        try:
            line = lines.next(end)
        except TimeoutError:
            yield {"stopped": f"it took more than {what}"}
            return
        message = _parsed(line)
        if message is None:
            yield {"stopped": "it sent what is no message" if line else "it ended early"}
            return
        if "done" in message:
            return
        end, what = began + limits.total_seconds, f"{limits.total_seconds:g} seconds in all"
        yield message


@dataclass(slots=True)
class _Lines:
    """Lines of a process, each with a deadline and a greatest length."""

    process: subprocess.Popen[bytes]
    rest: bytes = b""

    def next(self, end: float) -> bytes:
        """Return the next line; nothing at the end.

        Raises:
            TimeoutError: it has not come by then.
        """
        pipe = self.process.stdout
        assert pipe is not None  # noqa: S101  it was started with one
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self.rest and len(self.rest) <= MOST_LINE:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError
                data = os.read(pipe.fileno(), 1 << 16)
                if not data:
                    return b""
                self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line[:MOST_LINE]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
