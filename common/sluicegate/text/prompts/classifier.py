"""A classifier's opinion as a rule about texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sluicegate.errors import ConfigurationError
from sluicegate.text.base import Mark
from sluicegate.text.prompts.detector import Detector

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PromptClassifier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptClassifier:
    """Texts that a classifier takes for orders to a language model.

    Raises:
        ConfigurationError: the threshold is no probability above 0.
    """

    name: ClassVar[str] = "prompt_classifier"
    about: ClassVar[str] = "texts that a classifier takes for orders to a language model"
    known_kinds: ClassVar[tuple[str, ...]] = ("classified", "unscored")

    detector: Detector
    threshold: float
    """The score, 0 to 1, from which a text is a finding."""

    def __post_init__(self) -> None:
        """Refuse a threshold that flags all or nothing."""
        if not 0 < self.threshold <= 1:
            raise ConfigurationError(
                f"the threshold of a classifier is above 0 and at most 1, not {self.threshold}"
            )

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return every text: only the classifier can tell."""
        return text.str.contains(r"\S")

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return one mark for a text that scores too high, or has no score."""
        (score,) = self.detector.score([value])
        if math.isnan(score):
            return (Mark("unscored", 0, len(value), "longer than the classifier reads"),)
        if score < self.threshold:
            return ()
        return (Mark("classified", 0, len(value), f"score {score:.2f}"),)
