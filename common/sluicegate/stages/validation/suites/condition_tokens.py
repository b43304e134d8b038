"""Tokens of row conditions that are text."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from sluicegate.stages.validation.suites.model import SuiteError

__all__ = ["Tokens"]

_MAX_LENGTH: Final = 2_000
"""Longest condition, in characters: a hundred comparisons fit."""

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?(?![A-Za-z0-9_.]))
      | (?P<text>"[^"\\\n]*"|'[^'\\\n]*')
      | `(?P<quoted>[A-Za-z_][A-Za-z0-9_ .-]*)`
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign><=|>=|==|!=|<|>)
      | (?P<mark>[()\[\],.&|~-])
    )""",
    re.VERBOSE,
)

_NEXT: Final = (
    'compare columns with constants (age > 5 and country in ["CH", "DE"], name.notnull()), '
    "or write the structured form that GX 1 writes"
)


class Tokens:
    """The tokens of one condition, and what is said about them.

    Args:
        text: the condition.
        path: where it is in the file, for the message.

    Raises:
        SuiteError: too long, or it holds a character that no token begins with.
    """

    def __init__(self, text: str, path: str) -> None:
        """Split the text."""
        self._path = path
        if len(text) > _MAX_LENGTH:
            self.fail(0, f"at most {_MAX_LENGTH} characters", f"{len(text)}")
        self._tokens = self._tokenised(text)
        self._at = 0

    def _tokenised(self, text: str) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        end = len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                self.fail(start, "a column, a constant or a comparison", f"{text[start]!r}")
            tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return [*tokens, ("end", "", end)]

    @property
    def kind(self) -> str:
        """What kind of token is next; ``end`` after the last."""
        return self._tokens[self._at][0]

    @property
    def value(self) -> str:
        """The next token as it is written."""
        return self._tokens[self._at][1]

    @property
    def position(self) -> int:
        """Where the next token begins, from 0."""
        return self._tokens[self._at][2]

    def next(self) -> str:
        """Move past the next token and return it."""
        value = self.value
        self._at += 1
        return value

    def take(self, kind: str, value: str) -> bool:
        """Move past the next token if it is this one, and say whether it was."""
        if self.kind == kind and self.value == value:
            self._at += 1
            return True
        return False

    def need(self, kind: str, value: str) -> None:
        """Move past this token.

        Raises:
            SuiteError: another one is next.
        """
        if not self.take(kind, value):
            self.unexpected(f"{value!r}")

    def unexpected(self, expected: str) -> NoReturn:
        """Refuse the next token.

        Raises:
            SuiteError: always.
        """
        found = "the end" if self.kind == "end" else repr(self.value)
        self.fail(self.position, expected, found)

    def fail(self, at: int, expected: str, found: str) -> NoReturn:
        """Refuse the condition.

        Raises:
            SuiteError: always.
        """
        error = SuiteError(
            f"{self._path}, character {at + 1}, must be {expected}; found {found} in text that "
            "GX would execute as code",
            next_step=_NEXT,
        )
        error.path = self._path
        raise error
