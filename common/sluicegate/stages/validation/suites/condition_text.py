"""Row conditions that are text: a small grammar of what people's suites hold.

GX hands such a text to ``DataFrame.query``, which is a Python interpreter with access to
modules and methods. This grammar knows columns, constants and comparisons, and nothing is
ever evaluated::

    condition  := conjunction { ("or" | "|") conjunction }
    conjunction:= negation { ("and" | "&") negation }
    negation   := "not" negation | "~" group | primary
    primary    := group | operand { sign operand }
                | column ["not"] "in" list | column "." nullity "(" ")"
    column     := name | "`" name "`" | 'col("' name '")'
    nullity    := "isnull" | "isna" | "notnull" | "notna"

``&`` and ``|`` bind as loosely as ``and`` and ``or``, as in ``DataFrame.query``, and ``~``
takes a group or a question about nullity. A chain such as ``0 < age <= 9`` is two
comparisons. The rows are those that pandas selects: NaN differs from everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sluicegate.stages.validation.suites.condition_tokens import Tokens
from sluicegate.stages.validation.suites.conditions import (
    Comparison,
    Condition,
    Every,
    Negated,
    Nullity,
    Some,
)

__all__ = ["parse_text"]

_MAX_DEPTH: Final = 20
"""Deepest nesting of parentheses and "not": far from the limit of Python's stack."""

_MAX_COMPARISONS: Final = 100
"""As many as GX allows in its structured form."""

_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NULLITY: Final = {"isnull": True, "isna": True, "notnull": False, "notna": False}
_RESERVED: Final = frozenset({"and", "or", "not", "in", "is", "None", "True", "False", "if",
                              "else", "lambda", "for", "col", "date", "true", "false"})  # fmt: skip
_GX: Final = ("great_expectations", "great_expectations__experimental__")
_SPARK: Final = "spark"

_MAX_DIGITS: Final = 18
"""Integers below 10**18 are exact in 64 bits."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .:-]*")
"""What ``col("…")`` and ``date("…")`` may hold."""

_Constant = str | int | float | bool


@dataclass(frozen=True, slots=True)
class _Name:
    """A column that was named."""

    name: str
    dsl: bool
    """Written ``col("name")``."""


def parse_text(text: str, path: str, parser: str | None = None) -> Condition:
    """Read a condition that is text.

    Args:
        text: the condition.
        path: where it is in the file, for the message.
        parser: the dialect that the suite names: pandas, spark, great_expectations or none.

    Raises:
        ConfigurationError: anything outside of the grammar, with its position, or something
            that the dialect would read in another way.
    """
    return _Parser(text, path, parser).parse()


class _Parser(Tokens):
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str, path: str, parser: str | None) -> None:
        super().__init__(text, path)
        self._dialect = parser
        self._depth = 0
        self._compared = 0

    def parse(self) -> Condition:
        condition = self._any()
        if self.kind != "end":
            self.unexpected('"and", "or" or the end')
        if self._dialect in _GX and not isinstance(condition, Comparison | Nullity):
            # GX reads the first comparison in this dialect, and ignores what follows.
            self.fail(0, "one comparison, as the dialect of GX has it", "several")
        return condition

    def _any(self) -> Condition:
        parts = [self._all()]
        while self.take("word", "or") or self.take("mark", "|"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._negation()]
        while self.take("word", "and") or self.take("mark", "&"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _negation(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self.fail(self.position, f"nested at most {_MAX_DEPTH} deep", "deeper nesting")
        if self.take("word", "not"):
            self._alike_elsewhere("not")
            condition: Condition = Negated(self._negation())
        elif self.take("mark", "~"):
            self._alike_elsewhere("~")
            condition = Negated(self._inverted())
        else:
            condition = self._primary()
        self._depth -= 1
        return condition

    def _inverted(self) -> Condition:
        """Read what ``~`` may stand before: it binds closer than a comparison does."""
        if self.kind == "mark" and self.value == "(":
            return self._primary()
        start = self.position
        condition = self._primary()
        if not isinstance(condition, Nullity):
            self.fail(start, "in parentheses after ~", "a comparison without them")
        return condition

    def _primary(self) -> Condition:
        if self.take("mark", "("):
            condition = self._any()
            self.need("mark", ")")
            return condition
        start = self.position
        left = self._operand()
        if isinstance(left, _Name):
            if self.take("mark", "."):
                return self._nullity(left)
            negative = self.take("word", "not")
            if negative:
                self._alike_elsewhere("not in")
            if negative or (self.kind == "word" and self.value == "in"):
                self.need("word", "in")
                self._count()
                return Comparison(left.name, "NOT_IN" if negative else "IN", self._members())
        return self._chain(left, start)

    def _chain(self, left: _Name | _Constant, start: int) -> Condition:
        found: list[Condition] = []
        while self.kind == "sign":
            sign = self.next()
            right = self._operand()
            found.append(self._comparison(left, sign, right, start))
            left = right
        if not found:
            self.unexpected("a comparison (==, !=, <, <=, >, >=, in)")
        return found[0] if len(found) == 1 else Every(tuple(found))

    def _comparison(
        self, left: _Name | _Constant, sign: str, right: _Name | _Constant, start: int
    ) -> Condition:
        self._count()
        if sign == "!=":
            self._alike_elsewhere("!=")
        if isinstance(left, _Name) and not isinstance(right, _Name):
            return Comparison(left.name, sign, right)
        if isinstance(right, _Name) and not isinstance(left, _Name):
            return Comparison(right.name, _FLIPPED[sign], left)
        return self.fail(start, "a column compared with a constant", "no such comparison")

    def _nullity(self, column: _Name) -> Condition:
        start = self.position
        word = self.next() if self.kind == "word" else self.unexpected("isnull() or notnull()")
        # GX reads its own form of a column with the word in any case.
        known = word.lower() if column.dsl else word
        if known not in _NULLITY:
            self.fail(start, "isnull() or notnull()", "another method")
        self.need("mark", "(")
        self.need("mark", ")")
        self._count()
        return Nullity(column.name, _NULLITY[known])

    def _members(self) -> tuple[str | int | float, ...]:
        close = {"[": "]", "(": ")"}.get(self.value) if self.kind == "mark" else None
        if close is None:
            self.unexpected("a list in brackets")
        start = self.position
        self.next()
        members: list[_Constant] = []
        while not (members and self.take("mark", close)):
            if members:
                self.need("mark", ",")
                if self.take("mark", close):
                    break
            value = self._operand()
            if isinstance(value, _Name | bool):
                self.fail(start, "a list of texts, or of numbers", "something else in it")
            members.append(value)
        texts = [isinstance(one, str) for one in members]
        if any(texts) and not all(texts):
            # pandas would compare numbers with their text.
            self.fail(start, "a list of texts, or of numbers", "both")
        return tuple(members)

    def _operand(self) -> _Name | _Constant:
        kind, value = self.kind, self.value
        if kind == "text":
            return self.next()[1:-1]
        if kind == "number" or (kind == "mark" and value == "-"):
            return self._number()
        if kind == "quoted":
            return _Name(self.next(), dsl=False)
        if kind == "word":
            return self._word()
        return self.unexpected("a column or a constant")

    def _word(self) -> _Name | _Constant:
        start, word = self.position, self.next()
        if word in ("True", "False"):
            return word == "True"
        call = self.kind == "mark" and self.value == "("
        if call and word == "col" and self._dialect != "pandas":
            return _Name(self._called(start), dsl=True)
        if call and word == "date" and self._dialect in _GX:
            return self._called(start)
        if call or word in _RESERVED:
            self.fail(start, "a column or a constant", "something else")
        if self._dialect in _GX:
            self.fail(start, 'a column written col("name")', "a bare word")
        return _Name(word, dsl=False)

    def _called(self, start: int) -> str:
        """Read the text in the parentheses of ``col("…")`` or ``date("…")``."""
        self.need("mark", "(")
        if self.kind != "text":
            self.unexpected("a text in quotes")
        name = self.next()[1:-1]
        self.need("mark", ")")
        if not _PLAIN.fullmatch(name):
            self.fail(start, "a plain name (letters, digits, space, . _ : -)", "another")
        return name

    def _number(self) -> int | float:
        start = self.position
        negative = self.take("mark", "-")
        if self.kind != "number":
            self.unexpected("a number")
        digits = self.next()
        plain = digits.isdigit()
        if plain and (len(digits) > _MAX_DIGITS or (digits[0] == "0" and digits.strip("0"))):
            self.fail(start, "a decimal number of at most 18 digits", "another number")
        value = int(digits) if plain else float(digits)
        if value in (float("inf"), float("-inf")):
            self.fail(start, "a finite number", "one beyond the range of floats")
        return -value if negative else value

    def _count(self) -> None:
        self._compared += 1
        if self._compared > _MAX_COMPARISONS:
            self.fail(self.position, f"at most {_MAX_COMPARISONS} comparisons", "more")

    def _alike_elsewhere(self, word: str) -> None:
        """Refuse what Spark and pandas answer differently where a value is missing."""
        if self._dialect == _SPARK:
            self.fail(
                self.position,
                "free of negations in the dialect of Spark, which drops missing values where "
                "pandas keeps them",
                word,
            )
