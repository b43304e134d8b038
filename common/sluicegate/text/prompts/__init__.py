"""Orders to language models in text that is data."""

from __future__ import annotations

from sluicegate.text.prompts.rule import PromptInjection

__all__ = ["PromptInjection"]
