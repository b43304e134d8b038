"""What commands print: progress and errors for people, JSON for programs."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Final

from sluicegate.canonical import Json, parse_json
from sluicegate.errors import Decision, SluicegateError
from sluicegate.storage.local import open_plain

__all__ = [
    "COULD_NOT_CONCLUDE",
    "NOT_CLEARED",
    "PASSED",
    "Progress",
    "emit",
    "read_json",
    "report_failure",
    "survive_any_text",
    "visible",
]

PASSED: Final = 0
NOT_CLEARED: Final = 1
COULD_NOT_CONCLUDE: Final = 2

_REDRAW_SECONDS: Final = 0.1
_WIDTH: Final = 28


class Progress:
    """A bar on standard error, only where a person watches."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._visible = False

    def __call__(self, what: str, done: int, total: int) -> None:
        """Redraw at most ten times a second."""
        now = time.monotonic()
        finished = bool(total) and done >= total
        if not sys.stderr.isatty() or (now - self._drawn < _REDRAW_SECONDS and not finished):
            return
        self._drawn, self._visible = now, True
        filled = int(_WIDTH * done / total) if total else 0
        share = f" {done / total:4.0%}" if total else ""
        bar = "█" * filled + "·" * (_WIDTH - filled)
        sys.stderr.write(f"\r\x1b[K{what:<16} {bar}{share}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._visible:
            sys.stderr.write("\r\x1b[K")
            self._visible = False


def survive_any_text() -> None:
    """Make standard output and error escape what they cannot encode, in place of failing.

    Names of files and what strangers write need be no valid Unicode.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def visible(text: str) -> str:
    """Return text with escapes for what would steer a terminal or turn the direction of text."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def emit(value: Json) -> None:
    """Print JSON on standard output; in ASCII where that cannot show everything."""
    whole = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=2, ensure_ascii=not whole))


def read_json(path: Path, *, what: str, limit: int) -> Json:
    """Read a JSON document that a user names.

    Args:
        path: the file.
        what: what it is, for messages.
        limit: most bytes that are read.

    Raises:
        SluicegateError: missing, no plain file, too large, or not JSON.
    """
    try:
        with open_plain(path) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SluicegateError(f"cannot read {what} {path}: {error.strerror}") from error
    if len(content) > limit:
        raise SluicegateError(f"{what} {path} is larger than {limit:,} bytes")
    try:
        return parse_json(content)
    except ValueError as error:
        raise SluicegateError(f"{what} {path} is damaged: {error}") from error


def report_failure(error: Decision | SluicegateError, *, as_json: bool) -> int:
    """Say what went wrong and what to do; return the exit code."""
    decided = isinstance(error, Decision)
    outcome = "refused" if decided else "could not conclude"
    if as_json:
        emit(
            {
                "outcome": outcome,
                "error": type(error).__name__,
                "message": error.what,
                "next": error.next_step,
            }
        )
    print(f"sluicegate: {outcome}: {visible(str(error))}", file=sys.stderr)
    return NOT_CLEARED if decided else COULD_NOT_CONCLUDE
