"""Run any command as a training session.

The command gets a private copy of the cleared data and none of sluicegate's keys: their
variables are taken out of its environment. It is told by variables where things are:

* ``SLUICEGATE_DATA``: the verified copy, a file or a folder;
* ``SLUICEGATE_OUTPUT``: where what it makes is expected;
* ``SLUICEGATE_METRICS``: a file to which it may append metrics, one JSON object a line:
  ``{"name": "loss", "value": 0.1, "step": 3}``.

It runs as the same user. A command that wants to find the key file can; keep the key in
hardware or with another user where that matters.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from sluicegate.canonical import parse_json
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.session.training import TrainingSession
from sluicegate.storage.snapshot import store_for
from sluicegate.storage.uri import SubjectUri

__all__ = ["must_be_new", "read_metrics", "run_command"]

_PREFIX: Final = "SLUICEGATE_"
_KEPT: Final = frozenset({"SLUICEGATE_POLICY"})
"""The one variable of ours that a command may need and that opens nothing."""
_GRACE: Final = 15.0
"""Seconds that a command gets to end when it is told to."""
_MOST_METRIC_BYTES: Final = 32 << 20
_LONGEST_LINE: Final = 4096


def must_be_new(output: SubjectUri) -> None:
    """Return if nothing lies at the place of the output: it would pass as made by the session.

    Raises:
        ConfigurationError: something does.
    """
    try:
        there = next(iter(store_for(output).entries(output)), None)
    except SubjectError:
        return
    if there is not None:
        raise ConfigurationError(
            f"{output} holds something already, which would pass as made by this session",
            next_step="name a new place",
        )


def run_command(
    command: Sequence[str],
    *,
    data: Path,
    output: SubjectUri,
    metrics: Path,
    stdout: int | IO[str] | None = None,
) -> int:
    """Run a command to its end; return its exit code, negative for a signal.

    Args:
        command: program and arguments; no shell.
        data: the verified copy.
        output: where its output is expected.
        metrics: where it may write metrics.
        stdout: where its standard output goes, by default where ours goes.

    Raises:
        ConfigurationError: it cannot be started.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PREFIX) or name in _KEPT
    }
    told = {
        "SLUICEGATE_DATA": str(data),
        "SLUICEGATE_OUTPUT": str(output.local) if output.scheme == "file" else str(output),
        "SLUICEGATE_METRICS": str(metrics),
    }
    try:
        process = subprocess.Popen(list(command), env=kept | told, stdout=stdout)  # noqa: S603
    except OSError as error:
        raise ConfigurationError(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        return process.wait()
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read_metrics(session: TrainingSession, path: Path) -> int:
    """Log the metrics that a command wrote; return how many lines were not usable.

    A training that went well is not thrown away for a bad line; it is counted.
    """
    ignored = 0
    try:
        with path.open("rb") as lines:
            while lines.tell() < _MOST_METRIC_BYTES and (line := lines.readline(_LONGEST_LINE)):
                ignored += bool(line.strip()) and not _log(session, line)
            ignored += bool(lines.read(1))
    except FileNotFoundError:
        return 0
    except OSError:
        return ignored + 1
    return ignored


def _log(session: TrainingSession, line: bytes) -> bool:
    try:
        value = parse_json(line)
        if not isinstance(value, dict) or not set(value) <= {"name", "value", "step"}:
            return False
        session.log_metric(value["name"], value["value"], value.get("step"))
    except (KeyError, ValueError, ConfigurationError):
        return False
    return True
