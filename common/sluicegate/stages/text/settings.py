"""The options of the stage, and the rules that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from sluicegate.errors import ConfigurationError
from sluicegate.stages.base import Option
from sluicegate.text import DEFAULT_RULES, RULES, TextRule, kinds_of, rule
from sluicegate.text.prompts.classifier import PromptClassifier
from sluicegate.text.prompts.detector import OnnxDetector

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to look at, and what for."""

    columns: Annotated[
        tuple[str, ...], Option("columns to scan; every column with text if none is named")
    ] = ()
    rules: Annotated[tuple[str, ...], Option(f"what to look for: {', '.join(RULES)}")] = (
        DEFAULT_RULES
    )
    kinds: Annotated[
        tuple[str, ...],
        Option("narrow a rule down to some of its kinds: personal_data.email, secrets.jwt"),
    ] = ()
    domains: Annotated[
        tuple[str, ...],
        Option("for the rule urls: allowed domains with all that lies below; * for every one"),
    ] = ()
    schemes: Annotated[tuple[str, ...], Option("for the rule urls: allowed schemes")] = ("https",)

    classifier: Annotated[
        str | Path | None,
        Option("ONNX classifier of prompt injection, a second opinion", file=True),
    ] = None
    tokenizer: Annotated[
        str | Path | None, Option("tokenizer.json of the classifier", file=True)
    ] = None
    classifier_label: Annotated[int, Option("position of its class that means an attack")] = 1
    classifier_threshold: Annotated[float, Option("its score from which a text is a finding")] = 0.9

    def second_opinion(self, files: Mapping[str, bytes]) -> tuple[TextRule, ...]:
        """Return the rule that asks the classifier, if there is one.

        Args:
            files: content of the configuration files.

        Raises:
            ConfigurationError: one of the two files without the other, a threshold that is no
                probability, or files that are no classifier.
            MissingExtraError: ``onnxruntime`` or ``tokenizers`` is not installed.
        """
        if (self.classifier is None) != (self.tokenizer is None):
            raise ConfigurationError("scan-text: a classifier and its tokenizer come together")
        if self.classifier is None:
            return ()
        detector = OnnxDetector(
            files["classifier"], files["tokenizer"], label=self.classifier_label
        )
        return (PromptClassifier(detector=detector, threshold=self.classifier_threshold),)

    def build(self) -> tuple[TextRule, ...]:
        """Return the rules.

        Raises:
            ConfigurationError: a rule, kind or option is unknown, repeated, or without effect.
        """
        if not self.rules:
            raise ConfigurationError(
                "scan-text: no rule is named", next_step=f"rules: {', '.join(RULES)}"
            )
        for what, named in (("rule", self.rules), ("column", self.columns)):
            if len(set(named)) < len(named):
                raise ConfigurationError(f"scan-text: a {what} is named twice")
        if self.domains and "urls" not in self.rules:
            raise ConfigurationError(
                "scan-text: domains are for the rule urls, which is not asked",
                next_step="add urls to the rules",
            )
        chosen = self._kinds()
        return tuple(self._rule(name, chosen.get(name, ())) for name in self.rules)

    def _rule(self, name: str, kinds: tuple[str, ...]) -> TextRule:
        options: dict[str, Any] = {"kinds": kinds}
        if name == "urls":
            options |= {"domains": self.domains, "schemes": self.schemes}
        return rule(name, **options)

    def _kinds(self) -> dict[str, tuple[str, ...]]:
        chosen: dict[str, tuple[str, ...]] = {}
        for one in self.kinds:
            name, _, kind = one.partition(".")
            if name not in self.rules or kind not in kinds_of(name):
                known = [f"{rule}.{kind}" for rule in self.rules for kind in kinds_of(rule)]
                raise ConfigurationError(
                    f"scan-text: there is no kind {one!r} in the rules that are asked",
                    next_step=f"kinds: {', '.join(known)}",
                )
            chosen[name] = (*chosen.get(name, ()), kind)
        return chosen
