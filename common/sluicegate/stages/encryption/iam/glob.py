"""Patterns of policies, and the parts into which several of them cut all texts.

A condition such as ``StringNotLike`` is about all texts that a caller could send. Texts that
match the same patterns are the same to the policy, so one example of each part is enough:
:func:`cells` walks all patterns at once, character by character, and returns an example of
every combination of matches that any text has. Exact, and shortest examples first.

Only ``*`` and ``?`` are wild in policies; ``[`` is a bracket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

__all__ = ["Cells", "Glob", "cells", "escaped", "literal"]

_LIMIT: Final = 20_000
"""Combined states that are walked before stopping; a real policy has some hundreds."""
_DIGITS: Final = frozenset("0123456789")
_ORDINARY: Final = "zqxjkvwyuobcdefghilmnprsta0123456789_ZQXJKVWYUOBCDEFGHILMNPRSTA"
"""Characters to make examples of, rarely used ones first."""
_WRITTEN: Final = {"\ue000": "*", "\ue001": "?"}


def escaped(text: str) -> str:
    """Return text that stands for itself in a pattern: no character of it is wild.

    Only :class:`Glob` and :func:`literal` can read it.
    """
    return text.replace("*", "\ue000").replace("?", "\ue001")


@dataclass(frozen=True, slots=True)
class Cells:
    """Examples of the parts into which patterns cut texts."""

    examples: Mapping[int, str]
    """By combination: bit ``i`` says whether the example matches the pattern at ``i``."""
    complete: bool
    """Whether these are all parts that have a text; else there were too many to look at."""


@dataclass(frozen=True, slots=True)
class _Any:
    """Any character of some."""

    only: frozenset[str] | None = None
    barred: str = ""

    def takes(self, char: str) -> bool:
        return char in self.only if self.only is not None else char not in self.barred


@dataclass(frozen=True, slots=True)
class _Star:
    """Any number of characters."""

    barred: str = ""

    def takes(self, char: str) -> bool:
        return char not in self.barred


_Token = str | _Any | _Star


@dataclass(frozen=True, slots=True)
class Glob:
    """One pattern."""

    tokens: tuple[_Token, ...]
    fold: bool = False
    """Whether upper and lower case are the same."""
    last: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "last", len(self.tokens))

    @classmethod
    def of(cls, text: str, *, fold: bool = False) -> Glob:
        """Read a pattern: ``*`` is any text, ``?`` any character."""
        return cls(tuple(_collapse(_wild(char, fold=fold) for char in text)), fold)

    @classmethod
    def arn(cls, text: str) -> Glob:
        """Read a pattern of ``ArnLike``: wildcards stay within a part between colons.

        The last part is the resource, which may hold colons itself.
        """
        parts = text.split(":", 5)
        tokens: list[_Token] = []
        for index, part in enumerate(parts):
            tokens += [":"] if index else []
            tokens += [_wild(char, barred=":" if index < 5 else "") for char in part]
        return cls(tuple(_collapse(tokens)))

    @classmethod
    def account(cls, before: str, after: str) -> Glob:
        """Return the pattern of twelve digits between two patterns."""
        middle: tuple[_Token, ...] = (_Any(only=_DIGITS),) * 12
        return cls((*cls.of(before).tokens, *middle, *cls.of(after).tokens))

    def matches(self, text: str) -> bool:
        """Return whether a whole text matches."""
        state = self.start()
        for char in text:
            state = self.step(state, char)
            if not state:
                return False
        return self.accepts(state)

    # The patterns are walked as automata: a state is a set of positions, as bits.

    def start(self) -> int:
        """Return the state before the first character."""
        return self._close(1)

    def step(self, state: int, char: str) -> int:
        """Return the state after one more character."""
        after, position = 0, 0
        if self.fold:
            char = char.lower()
        rest = state
        while rest:
            if rest & 1 and position < self.last:
                token = self.tokens[position]
                if isinstance(token, _Star):
                    after |= (1 << position) if token.takes(char) else 0
                elif token == char or (isinstance(token, _Any) and token.takes(char)):
                    after |= 1 << (position + 1)
            rest >>= 1
            position += 1
        return self._close(after)

    def accepts(self, state: int) -> bool:
        """Return whether a state is that of a text which matches."""
        return bool(state >> self.last & 1)

    def offers(self, state: int) -> tuple[set[str], bool, bool]:
        """Return which characters a state tells apart: literals, digits as such, colons."""
        literals: set[str] = set()
        digits = colons = False
        for position, token in enumerate(self.tokens):
            if not state >> position & 1:
                continue
            if isinstance(token, str):
                literals.add(token)
                if self.fold:
                    literals.add(token.upper())
            elif isinstance(token, _Any) and token.only is not None:
                digits = True
            else:
                colons = colons or bool(token.barred)
        return literals, digits, colons

    def _close(self, state: int) -> int:
        """Skip stars that match nothing; forget what a later plain star includes."""
        for position, token in enumerate(self.tokens):
            if state >> position & 1 and isinstance(token, _Star):
                state |= 1 << (position + 1)
                if not token.barred:
                    state &= -1 << position
        return state


def literal(text: str, *, fold: bool = False) -> Glob:
    """Return the pattern that exactly one text matches (or its other cases)."""
    text = "".join(_WRITTEN.get(char, char) for char in text)
    return Glob(tuple(text.lower() if fold else text), fold)


def cells(patterns: Iterable[Glob], within: Glob | None = None) -> Cells:
    """Return an example of each combination of matches that texts have, as short as possible.

    Args:
        patterns: the patterns.
        within: only texts that match this one count.
    """
    return _cells(tuple(patterns), within or Glob.of("*"))


_Live = tuple[tuple[int, int], ...]
"""Patterns that a text can still match, by index, each with its state."""


@lru_cache(maxsize=64)
def _cells(patterns: tuple[Glob, ...], within: Glob) -> Cells:
    walks = [_Walk(one) for one in (*patterns, within)]
    fresh, last = _fresh_character((*patterns, within)), len(patterns)
    first: _Live = tuple((index, one.glob.start()) for index, one in enumerate(walks))
    reached: dict[_Live, str] = {first: ""}
    queue, found = deque([first]), dict[int, str]()
    while queue:
        live = queue.popleft()
        text = reached[live]
        matched = [index for index, state in live if walks[index].glob.accepts(state)]
        if matched and matched[-1] == last:
            found.setdefault(sum(1 << index for index in matched[:-1]), text)
        for char in _next_characters(walks, live, fresh):
            after = tuple(
                [
                    (index, state)
                    for index, before in live
                    if (state := walks[index].step(before, char))
                ]
            )
            if after and after[-1][0] == last and after not in reached:
                if len(reached) >= _LIMIT:
                    return Cells(found, complete=False)
                reached[after] = text + char
                queue.append(after)
    return Cells(found, complete=True)


class _Walk:
    """A pattern whose steps are remembered: the same ones come up again and again."""

    def __init__(self, glob: Glob) -> None:
        self.glob = glob
        self._steps: dict[tuple[int, str], int] = {}
        self._offers: dict[int, tuple[set[str], bool, bool]] = {}

    def step(self, state: int, char: str) -> int:
        found = self._steps.get((state, char))
        if found is None:
            found = self._steps[state, char] = self.glob.step(state, char)
        return found

    def offers(self, state: int) -> tuple[set[str], bool, bool]:
        found = self._offers.get(state)
        if found is None:
            found = self._offers[state] = self.glob.offers(state)
        return found


def _next_characters(walks: Sequence[_Walk], live: _Live, fresh: str) -> list[str]:
    literals: set[str] = set()
    digits = colons = False
    for index, state in live:
        more, digit, colon = walks[index].offers(state)
        literals |= more
        digits, colons = digits or digit, colons or colon
    chars = [fresh]
    if digits:
        chars.append(next((one for one in sorted(_DIGITS) if one not in literals), "0"))
    if colons:
        chars.append(":")
    # Lower case first: it makes the better examples.
    return list(dict.fromkeys((*chars, *sorted(literals, key=lambda one: (one.isupper(), one)))))


def _fresh_character(every: Iterable[Glob]) -> str:
    """Return a character that no pattern names, in any case of it."""
    used: set[str] = {
        form
        for one in every
        for token in one.tokens
        if isinstance(token, str)
        for form in (token, token.lower(), token.upper())
    }
    beyond = [chr(code) for code in range(0x4E00, 0x4E00 + len(used) + 1)]
    tried: list[str] = [*_ORDINARY, *beyond]
    return next(char for char in tried if char not in used)


def _wild(char: str, *, fold: bool = False, barred: str = "") -> _Token:
    if char == "*":
        return _Star(barred)
    if char == "?":
        return _Any(barred=barred)
    char = _WRITTEN.get(char, char)
    return char.lower() if fold else char


def _collapse(tokens: Iterable[_Token]) -> list[_Token]:
    """Make one star of several in a row."""
    kept: list[_Token] = []
    for token in tokens:
        if isinstance(token, _Star) and kept and kept[-1] == token:
            continue
        kept.append(token)
    return kept
