"""Every error sluicegate raises, and the one decision that is not an error.

Three outcomes are never mixed:

* a gate passed: a value is returned;
* a gate, or a consumer's verification, decided **against** the subject:
  :class:`GateBlocked` and :class:`ClearanceRefused`, which repeating cannot change;
* nothing could be decided: every :class:`SluicegateError`, which may be retried and
  stops the pipeline all the same.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ClearanceRefused",
    "ConfigurationError",
    "Decision",
    "GateBlocked",
    "KeyFileError",
    "LedgerError",
    "MissingExtraError",
    "PolicyError",
    "ReceiptError",
    "SluicegateError",
    "StageError",
    "SubjectChangedError",
    "SubjectError",
]


def _rebuild(kind: type[_Explained], what: str, state: dict[str, Any]) -> _Explained:
    error = kind.__new__(kind)
    Exception.__init__(error, what)
    error.__dict__.update(state)
    return error


class _Explained(Exception):  # noqa: N818  base of errors and decisions alike
    """A message, and the next step for whoever reads it.

    Subclasses may take further arguments: unlike plain exceptions they survive pickling
    with all their attributes, which process pools and distributed executors rely on.
    """

    def __init__(self, what: str, *, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what}\n  next: {self.next_step}" if self.next_step else self.what

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.what, self.__dict__)


class SluicegateError(_Explained):
    """Nothing could be decided. Stops the pipeline; a retry may help."""


class ConfigurationError(SluicegateError):
    """What the user configured (a stage, an option, an environment variable) is unusable."""


class PolicyError(ConfigurationError):
    """A policy file is unusable: unreadable, unknown key, wrong type, contradiction."""


class MissingExtraError(ConfigurationError):
    """An optional library is needed for this and is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {library}, which is not installed",
            next_step=f'pip install "sluicegate[{extra}]"',
        )


class KeyFileError(ConfigurationError):
    """A key file is missing, unreadable, of the wrong kind, or its password is wrong."""


class SubjectError(SluicegateError):
    """A subject cannot be opened or read: missing, empty, corrupt, not what it claims."""


class SubjectChangedError(SubjectError):
    """The bytes read are not the bytes of the snapshot."""


class StageError(SluicegateError):
    """A stage ran and could not conclude."""


class ReceiptError(SluicegateError):
    """A receipt or bundle is malformed, or its signature does not verify."""


class LedgerError(SluicegateError):
    """The ledger is damaged, or does not hold what it should."""


class Decision(_Explained):
    """A gate or a consumer said no. Never retried: the same bytes get the same answer."""


class GateBlocked(Decision):
    """Policy blocked a subject.

    Attributes:
        stage: name of the stage whose report was judged.
        subject: URI of the subject.
        reasons: one sentence for each reason, worst first.
        receipt: path of the signed receipt that records the decision.
        report: path of the HTML report.
    """

    def __init__(
        self,
        what: str,
        *,
        stage: str,
        subject: str,
        reasons: tuple[str, ...],
        receipt: str,
        report: str,
        next_step: str = "",
    ) -> None:
        super().__init__(what, next_step=next_step)
        self.stage = stage
        self.subject = subject
        self.reasons = reasons
        self.receipt = receipt
        self.report = report


class ClearanceRefused(Decision):
    """A consumer's verification failed: the subject may not be used for this purpose."""
