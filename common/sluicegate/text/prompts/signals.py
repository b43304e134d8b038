r"""What instructions to a language model look like, family by family: ``signals.toml``.

Each signal is a pattern with a weight. A place in a text is a finding where the weights of
different families within a short distance reach :data:`THRESHOLD`, one of them at least being
telling by itself (2 or more). Words of the trade ("system prompt", "ignore", "role",
"instructions") have no weight: text about prompts uses them on every line.

Two things tell talk from attack, and both are about position. An instruction stands where a
sentence begins, perhaps after "please" or "now you must"; a mention stands in quotation marks,
after "such as" or "they told it to", or goes on with "is a well-known attack". A mention
counts for nothing, so an attacker who quotes himself is not seen: precision was chosen.

In the patterns ``~`` stands for what may part two words, and ``«old»`` and its kind for the
lists in the same file. All repeats are bounded, so that matching is linear.

Sources: OWASP Top 10 for LLM Applications 2025, LLM01; Perez and Ribeiro 2022,
arXiv:2211.09527; Greshake et al. 2023, arXiv:2302.12173.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from sluicegate.text.prompts.literals import most_telling, required_texts

__all__ = ["FAMILIES", "LONGEST", "REACH", "THRESHOLD", "Signal", "signals"]

THRESHOLD: Final = 3
"""Sum of weights that makes a finding."""
REACH: Final = 400
"""How far apart, in characters, signals may be that count together: a paragraph."""
LONGEST: Final = 600
"""No match is longer, in characters: so far from a text that it needs, a signal is sought."""

FAMILIES: Final = (
    "override",
    "role_tokens",
    "new_role",
    "prompt_leak",
    "exfiltration",
    "addressed_to_model",
    "false_boundary",
    "tool_use",
    "secrecy",
    "answer_control",
    "no_limits",
    "new_task",
)
"""Families of signals, in the order in which they are reported."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One pattern, and how telling it is."""

    family: str
    weight: int
    pattern: re.Pattern[str]
    imperative: bool
    """Counts only where an instruction could begin."""
    mentionable: bool
    """Does not count inside quotation marks and in reported speech."""
    groups: tuple[tuple[str, ...], ...]
    """What every match contains; see :func:`~sluicegate.text.prompts.literals.required_texts`."""
    needs: tuple[str, ...]
    """The group of them that is looked for first, because that is cheap."""

    @property
    def is_telling(self) -> bool:
        """Whether it can begin a finding; the others only add to one."""
        return self.weight > 1


_GAP: Final = r"(?:[\s,;*\"'-]{1,6})"
_NO_GAP: Final = r"(?:\W{0,6})"
_WORDY: Final = re.compile(r"(?:\(\?:|\(|«)*[a-z]")
_LIST: Final = re.compile("«([a-z]+)»")


@cache
def signals(*, squeezed: bool = False) -> tuple[Signal, ...]:
    """Return all signals, the most telling first.

    Args:
        squeezed: for text whose words are not parted: of letters that stood apart.
    """
    made = []
    source = tomllib.loads(files(__package__).joinpath("signals.toml").read_text("utf-8"))
    words = {name: _joined(text) for name, text in source["words"].items()}
    for entry in source["signals"]:
        pattern = _compile(_joined(entry["pattern"]), words, _NO_GAP if squeezed else _GAP)
        groups = required_texts(pattern)
        made.append(
            Signal(
                family=entry["family"],
                weight=entry["weight"],
                pattern=pattern,
                imperative="i" in entry["flags"] and not squeezed,
                mentionable="m" in entry["flags"],
                groups=groups,
                needs=most_telling(groups),
            )
        )
    return tuple(sorted(made, key=lambda one: -one.weight))


def _joined(text: str) -> str:
    return "".join(line.strip() for line in text.splitlines())


def _compile(source: str, words: Mapping[str, str], gap: str) -> re.Pattern[str]:
    start = r"(?<!\w)" if _WORDY.match(source) else ""
    while "«" in source:
        source = _LIST.sub(lambda match: words[match[1]], source)
    return re.compile(start + source.replace("~", gap), re.IGNORECASE)
