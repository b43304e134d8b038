"""How deep JSON is nested, and what of it is no JSON, found without building anything.

Readers that recurse crash on deep nesting; the ones written in C take the process with them.
So texts are cut out, and what remains is brackets, numbers and words, which is walked in one
pass with a stack of single bytes.

Source: RFC 8259.
"""

from __future__ import annotations

import re
from typing import Final

from sluicegate.stages.files.examination import ExceededError, MalformedError

__all__ = ["Brackets"]

_TEXT: Final = re.compile(rb'"[^"\\\0]*+(?:\\[^\0][^"\\\0]*+)*+["\0]')
"""A text, or the beginning of one: two NULs at the end of a block stop it, of which it takes
one. A pattern that could fail there would be tried anew at each quote before."""
_REST_OF_TEXT: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_FOREIGN: Final = re.compile(rb"[^\s\[\]{},:0-9+\-.eEtrufalsnNIiy]")
"""What stands outside of texts in no JSON; ``NaN`` and ``Infinity`` are let through, as common
writers write them."""
_CLOSES: Final = {ord("]"): ord("["), ord("}"): ord("{")}
_KEEP: Final = b"[]{}\n"
_DROP: Final = bytes(set(range(256)) - set(_KEEP))


class Brackets:
    """Walks JSON block by block.

    Attributes:
        values: values at the top that were closed.
        lines: whether each of them is alone on its line.
        deepest: how deep it went.
    """

    def __init__(self, *, deepest: int) -> None:
        """Begin.

        Args:
            deepest: nesting that is allowed.
        """
        self._allowed = deepest
        self._stack = bytearray()
        self._inside = False
        self._carry = b""
        self._fresh = True
        self._at = 0
        self.values = 0
        self.lines = True
        self.deepest = 0

    def feed(self, data: bytes) -> None:
        """Walk the next block.

        Raises:
            ExceededError: it is nested deeper than is allowed.
            MalformedError: it is no JSON.
        """
        if b"\0" in data:
            raise MalformedError("JSON with a NUL")
        data = self._carry + data
        odd = len(data) - len(data.rstrip(b"\\"))
        self._carry = b"\\" if odd % 2 else b""
        data = data[: len(data) - len(self._carry)]
        start = 0
        if self._inside:
            end = _REST_OF_TEXT.match(data)
            if end is None:
                return
            start, self._inside = end.end(), False
        rest = _TEXT.sub(b"", data[start:] + b"\0\0")
        self._inside = not rest.endswith(b"\0\0")
        rest = rest[: -1 if self._inside else -2]
        if bad := _FOREIGN.search(rest):
            raise MalformedError(f"JSON with a byte {bad[0][0]:#04x} outside of texts")
        self._walk(rest.translate(None, _DROP))

    def _walk(self, marks: bytes) -> None:
        stack, allowed = self._stack, self._allowed
        for mark in marks:
            if mark in b"[{":
                if not stack and not self._fresh:
                    self.lines = False
                stack.append(mark)
                if len(stack) > self.deepest:
                    self.deepest = len(stack)
                    if len(stack) > allowed:
                        raise ExceededError(
                            "files.nesting",
                            f"JSON nested deeper than {allowed}: stopped there",
                            allowed=allowed,
                        )
            elif mark == 10:
                self._fresh = not stack
                self.lines = self.lines and not stack
            else:
                if not stack or stack.pop() != _CLOSES[mark]:
                    raise MalformedError("JSON with brackets that do not match")
                if not stack:
                    self.values += 1
                    self._fresh = False

    def close(self) -> None:
        """End.

        Raises:
            MalformedError: a bracket or a text is still open.
        """
        if self._stack or self._inside or self._carry:
            raise MalformedError("JSON that ends too early")
