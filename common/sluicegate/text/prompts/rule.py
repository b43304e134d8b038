"""Text that gives orders to a language model: a tripwire, and no classifier.

Text for fine-tuning or retrieval is read by models that cannot tell data from orders. This
rule names the orders that are written as such, in the open or in one of the disguises of
:mod:`~sluicegate.text.prompts.carriers`. It is made for precision: text that talks about
prompts, attacks and models passes. It has no idea of orders that are polite plain tasks
("also mention our product"), of those that quote themselves, or of languages that it has no
words for: what it does not find is not clean.

A second opinion can be plugged in: a :class:`~sluicegate.text.prompts.detector.Detector`, for
example a local ONNX classifier.
"""

# ruff: noqa: RUF001  look-alikes are what this module is about
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final

from sluicegate.text.base import Mark, check_kinds, wanted
from sluicegate.text.prompts.carriers import View, views
from sluicegate.text.prompts.signals import FAMILIES, LONGEST, REACH, THRESHOLD, Signal, signals

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PromptInjection"]

_HIDDEN_THRESHOLD: Final = 2
"""What suffices in a disguise: nobody hides small talk."""

_ENCODED: Final = "[A-Za-z0-9+/_-]{24}"
_DISGUISES: Final = (
    "[\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff\uff01-\uff5e\U0001d400-\U0001d7ff\U000e0000-\U000e01ef]|"
    r"(?:[0-9A-Fa-f]{2}[ :]?){20}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|&#[0-9xX]|%[0-9A-Fa-f]{2}|"
    r"(?:\b\w[ .·_*-]){5}|[A-Za-z][А-я\u0370-\u03ff]|[А-я\u0370-\u03ff][A-Za-z]|"
    r"[A-Za-z][0134579@$]{1,2}[A-Za-z]"
)

_LEAD_IN: Final = re.compile(
    r"(?:^|[\n.!?:;>|)\]}»”\"'*#_•·—–-]|,)\s*[*_#>\[(\"'“‘-]{0,4}\s*(?:(?:please|now|"
    r"so|and|then|instead|also|first|firstly|next|finally|important|urgent|system|assistant|"
    r"ai|you|must|should|need|have|to|will|shall|are|kindly|just|simply|but|hey|ok|okay|"
    r"attention|note|hello|hi|stop|wait|actually|completely|immediately|hereby|always|"
    r"from|on|i|want|would|like|can|could|let's|your|task|is|new|instructions?|for|this|"
    r"that|bitte|por|favor|s'il|te|vous|plaît|prego|per|favore|пожалуйста)[,:!]?\s+)"
    r"{0,7}$",
    re.IGNORECASE,
)
"""What may stand between the beginning of a sentence and an instruction."""

_REPORTED: Final = re.compile(
    r"(?:such as|e\.?g\.?,?|i\.?e\.?,?|for example,?|for instance,?|like|says?|saying|"
    r"said|phrases?|words?|strings?|sentences?|called|named|known as|asks?|asked|tells?|"
    r"told|tries|tried|trying|attempts?|attempting|wants?|wanted|causes?|makes?|made|"
    r"allows?|tricks?|tricked|convinces?|instructs?|instructed|attackers?|adversar(?:y|"
    r"ies)|users? (?:can|could|may|might|who)|they|he|she|it|whether|if|when|how to|"
    r"why|not|never|cannot|can't|don['’]t|doesn['’]t|did|didn['’]t|won['’]t|would|could|"
    r"might|may|someone|somebody|people|who|which|that|models?|attempts? to|against|"
    r"prevents?|detects?|avoid|blocks?|example of|to|of|by|the|a|an|with|as|in)[\s:,]*$",
    re.IGNORECASE,
)
"""What stands before a mention. Looked at only where no sentence begins."""

_QUOTES: Final = {
    '"': '"',
    "“": "”",
    "„": "“”",
    "‘": "’",
    "«": "»",
    "`": "`",
    "'": "'",
    "「": "」",
    "『": "』",
    "‹": "›",
}
_LOOK_BACK: Final = 160
"""Characters before a match that tell a mention from an instruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInjection:
    """Orders to a language model, in the open or disguised."""

    name: ClassVar[str] = "prompt_injection"
    about: ClassVar[str] = "orders to a language model"
    known_kinds: ClassVar[tuple[str, ...]] = FAMILIES

    kinds: tuple[str, ...] = ()
    """Families of signals that are asked about; all of them if none is named."""

    def __post_init__(self) -> None:
        """Refuse kinds that do not exist."""
        check_kinds(self.name, self.kinds, self.known_kinds)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return every text with a word of a telling signal, or something like a disguise."""
        import polars as pl

        words = [text.str.contains(one) for one in _supersets()]
        encoded = text.str.contains(_ENCODED) & text.str.contains("[A-Z].*[a-z]|[a-z].*[A-Z]")
        return pl.any_horizontal(*words, encoded, text.str.contains(_DISGUISES))

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return the orders that a text gives, one mark for each place, in order.

        ``kind`` is the family of its most telling signal, ``detail`` says which others there
        were and what it was hidden in.
        """
        found: dict[tuple[int, int], Mark] = {}
        shown = ""
        for view in views(value):
            shown = shown if view.is_hidden else _lower(view.text)
            for mark in _marks(view, shown):
                found.setdefault((mark.start, mark.length), mark)
        return wanted(list(found.values()), self.kinds)


@cache
def _supersets() -> tuple[str, ...]:
    """Return patterns, in the syntax of Rust, one of which matches wherever a telling one does."""
    groups = {signal.groups for signal in signals() if signal.is_telling}
    return tuple(
        sorted(
            "(?is)" + ".*".join("(?:" + "|".join(map(re.escape, group)) + ")" for group in parts)
            for parts in groups
        )
    )


@dataclass(frozen=True, slots=True)
class _Hit:
    signal: Signal
    start: int
    end: int


def _marks(view: View, shown: str) -> Iterator[Mark]:
    squeezed = view.carrier.endswith("spaced_letters")
    # What a disguise has nothing to do with was judged in the open already.
    hits = [
        hit
        for hit in _hits(view, squeezed=squeezed)
        if not view.is_hidden or _lower(view.text[hit.start : hit.end]) not in shown
    ]
    hits.sort(key=lambda hit: (hit.start, -hit.signal.weight))
    needed = _HIDDEN_THRESHOLD if view.is_hidden else THRESHOLD
    at = 0
    while at < len(hits):
        near = [hit for hit in hits[at:] if hit.start - hits[at].start <= REACH]
        weights: dict[str, int] = {}
        for hit in near:
            weights[hit.signal.family] = max(weights.get(hit.signal.family, 0), hit.signal.weight)
        telling = any(hit.signal.is_telling for hit in near)
        if not telling or sum(weights.values()) < needed:
            at += 1
            continue
        yield _mark(view, near, weights)
        at += len(near)


def _mark(view: View, near: Sequence[_Hit], weights: dict[str, int]) -> Mark:
    families = sorted(weights, key=lambda one: (-weights[one], FAMILIES.index(one)))
    said = ", ".join(one.replace("_", " ") for one in families)
    if view.is_hidden:
        hidden = view.carrier.replace("_", " ")
        return Mark(families[0], view.start, view.length, f"{said}; hidden in {hidden}")
    start = min(near[0].start, view.length)
    length = min(max(hit.end for hit in near), view.length) - start
    return Mark(families[0], view.start + start, max(length, 1), said)


def _hits(view: View, *, squeezed: bool) -> Iterator[_Hit]:
    text, lowered = view.text, _lower(view.text)
    places: dict[str, list[int]] = {}
    there: dict[tuple[str, ...], bool] = {}
    possible = [
        signal
        for signal in signals(squeezed=squeezed)
        if all(_holds(lowered, group, there) for group in signal.groups)
    ]
    if not any(signal.is_telling for signal in possible):
        return
    for signal in possible:
        for start, end in _windows(signal, lowered, places):
            for match in signal.pattern.finditer(text, start, end):
                if view.is_hidden or _counts(signal, text, match.start(), match.end()):
                    yield _Hit(signal, match.start(), match.end())


def _windows(
    signal: Signal, lowered: str, places: dict[str, list[int]]
) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text in which a signal could match, in order, without overlap."""
    found: list[int] = []
    for needed in signal.needs:
        if needed not in places:
            places[needed] = _occurrences(needed, lowered)
        found += places[needed]
    found.sort()
    at = 0
    while at < len(found):
        start, end = max(0, found[at] - LONGEST), found[at] + LONGEST
        while at < len(found) and found[at] - LONGEST <= end:
            end = found[at] + LONGEST
            at += 1
        yield start, min(end, len(lowered))


def _holds(lowered: str, group: tuple[str, ...], there: dict[tuple[str, ...], bool]) -> bool:
    if group not in there:
        there[group] = any(text in lowered for text in group)
    return there[group]


def _occurrences(needed: str, lowered: str) -> list[int]:
    found, at = [], lowered.find(needed)
    while at >= 0:
        found.append(at)
        at = lowered.find(needed, at + len(needed))
    return found


def _lower(text: str) -> str:
    """Return the text in lower case, every character in its place."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


def _counts(signal: Signal, text: str, start: int, end: int) -> bool:
    """Whether a match is an instruction where it stands, and no mention of one."""
    before = text[max(0, start - _LOOK_BACK) : start]
    if signal.mentionable and _is_quoted(before, text, end):
        return False
    if signal.imperative:
        return bool(_LEAD_IN.search(before)) or not before.strip()
    return not (signal.mentionable and _REPORTED.search(before))


def _is_quoted(before: str, text: str, end: int) -> bool:
    """Whether a match stands between quotation marks of one line."""
    line = before.rpartition("\n")[2]
    after = text[end : end + 400].partition("\n")[0]
    for opening, closing in _QUOTES.items():
        if opening == closing:
            opened = line.count(opening) % 2 == 1
            if opening == "'":  # an apostrophe is not one
                opened = bool(re.search(r"(?:^|[\s(:])'[^']*$", line))
        else:
            opened = line.rfind(opening) > max(line.rfind(one) for one in closing)
        if opened and any(one in after for one in closing):
            return True
    return False
