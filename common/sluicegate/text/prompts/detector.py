"""A second opinion on text: classifiers that run here, without any service.

A classifier finds what rules cannot put into words, and flags innocent text that looks like
its training attacks; so it stands beside the rule, with a threshold of its own, and its
findings are told apart. Nothing is downloaded: the model and its tokenizer are files that the
policy names, and receipts bind their bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

from sluicegate.errors import ConfigurationError, MissingExtraError

__all__ = ["Detector", "OnnxDetector"]

_OVERLAP: Final = 64
"""Tokens that two neighbouring windows of a long text share."""
_MOST_WINDOWS: Final = 64
"""Windows of one text that are looked at; a text that is longer has no score."""
_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
"""What classifiers of the BERT family take, in the names that exporters give."""


class Detector(Protocol):
    """Says how much texts look like orders to a language model."""

    def score(self, texts: Sequence[str]) -> Sequence[float]:
        """Return a score from 0 (none) to 1 (certain) for each text; NaN where it cannot tell.

        Args:
            texts: none of them empty.
        """
        ...


class OnnxDetector:
    """A sequence classifier in ONNX with a tokenizer in the format of Hugging Face.

    Args:
        model: content of the ``.onnx`` file; weights in files beside it are not read.
        tokenizer: content of ``tokenizer.json``.
        label: position of the class that means an attack, in the model's output; a model with
            one output gives the probability of an attack itself, as a logit.
        tokens: longest input of the model; longer texts are looked at in windows, and the
            worst one counts.

    Raises:
        ConfigurationError: not such files, inputs that are not known, or no such class.
        MissingExtraError: ``onnxruntime`` or ``tokenizers`` is not installed.
    """

    def __init__(
        self, model: bytes, tokenizer: bytes, *, label: int = 1, tokens: int = 512
    ) -> None:
        try:
            import onnxruntime
            import tokenizers
        except ImportError as error:
            raise MissingExtraError(
                str(error.name), "onnx", "a classifier of prompt injection"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sums in one order: the same score every time
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            json.loads(tokenizer)
            self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer.decode("utf-8"))
        except Exception as error:  # both libraries raise what they like
            raise ConfigurationError(
                f"the classifier cannot be loaded: {type(error).__name__}",
                next_step="name an .onnx file with its weights inside, and its tokenizer.json",
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=tokens, stride=min(_OVERLAP, tokens // 4))
        self._inputs = [one.name for one in self._session.get_inputs()]
        if unknown := sorted(set(self._inputs) - set(_INPUTS)):
            raise ConfigurationError(
                f"the classifier takes {', '.join(unknown)}, which a text does not give",
                next_step=f"export it with the inputs {', '.join(_INPUTS)}",
            )
        self._label = label
        self.score(["a"])  # a label that is not there is found now, and not in the data

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the probability of an attack for each text; see :class:`Detector`."""
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> float:
        first = self._tokenizer.encode(text)
        windows = [first, *first.overflowing]
        if len(windows) > _MOST_WINDOWS:
            return math.nan
        return max(self._probability(window) for window in windows)

    def _probability(self, window: Any) -> float:
        import numpy as np

        columns = {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
        }
        feed = {name: np.array([columns[name]], dtype=np.int64) for name in self._inputs}
        logits = np.asarray(self._session.run(None, feed)[0], dtype=np.float64).reshape(-1)
        if len(logits) == 1:
            return float(1 / (1 + math.exp(-max(min(logits[0], 500.0), -500.0))))
        if not 0 <= self._label < len(logits):
            raise ConfigurationError(
                f"the classifier has {len(logits)} classes, and no class {self._label}",
                next_step="say which position means an attack, from 0",
            )
        shifted = np.exp(logits - logits.max())
        return float(shifted[self._label] / shifted.sum())
