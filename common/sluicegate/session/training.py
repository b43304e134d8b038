"""Record a training session: cleared data in, a signed statement of what came out.

::

    with training_session("policy.yaml", inputs=[clearance], parameters={"depth": 6}) as session:
        model = fit(session.data.read_frame(), on_step=session.callback())
        model.save("model.onnx")
        session.output("model.onnx")

At the start every input is verified as any consumer would (:func:`open_cleared`). At the end
each output's snapshot is taken; parameters, metrics, code, environment, inputs and outputs go
into one canonical JSON document among the reports; and a production statement for each output
binds output, inputs, the receipts they rested on and that document. A session that fails leaves
the event ``session.failed``.

What it proves: the holder of the key says that this came out of a session that was given those
inputs. It does not prove that nothing else went in: the session runs in the process of the
training code, which could read other files, or sign something else with the same key. Where
that matters, run the training with ``sluicegate session run``, which keeps the key to itself.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from sluicegate.canonical import Digest, Json
from sluicegate.clearance import Cleared, PolicySource, SubjectSource, open_cleared
from sluicegate.errors import ClearanceRefused, ConfigurationError, SluicegateError
from sluicegate.evidence import ReceiptRef
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import Signer
from sluicegate.session.code import describe_code
from sluicegate.session.environment import describe_environment
from sluicegate.session.log import MetricLog, describe_parameters
from sluicegate.session.recorder import Recorder
from sluicegate.signing import load_signer
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

__all__ = ["TrainingSession", "training_session"]

_MOST_SUBJECTS: Final = 16
"""Inputs, and outputs: a statement names all inputs, and must fit a receipt."""


def training_session(
    policy: PolicySource = None,
    *,
    inputs: Sequence[SubjectSource | Cleared],
    activity: str = "train",
    purpose: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    run: RunIdentity | None = None,
    for_run: str | None = None,
    signer: Signer | None = None,
    code: str | os.PathLike[str] = ".",
    progress: Progress = no_progress,
) -> TrainingSession:
    """Return a session, to be used in a ``with`` statement.

    Args:
        policy: the policy or its file.
        inputs: what goes in: clearances, paths, URIs, or what was opened with one for the same
            purpose. At least one.
        activity: what is done, for the receipt: ``train``, ``transform`` …
        purpose: what the inputs must be cleared for, as the policy names it; by default the
            activity.
        parameters: of the training; secrets are taken out before anything is stored.
        run: which run this is, for the receipt.
        for_run: which run this is, where approvals are bound to one.
        signer: holds the key; by default the one of :func:`load_signer`.
        code: a folder of the working tree whose commit is recorded.
        progress: told how many bytes are hashed.
    """
    return TrainingSession(
        policy=policy,
        sources=tuple(inputs),
        activity=activity,
        purpose=purpose or activity,
        parameters=dict(parameters or {}),
        run=run or RunIdentity(orchestrator="cli"),
        for_run=for_run,
        signer=signer,
        code=Path(code),
        progress=progress,
    )


class TrainingSession:
    """One session; made by :func:`training_session`."""

    def __init__(
        self,
        *,
        policy: PolicySource,
        sources: tuple[SubjectSource | Cleared, ...],
        activity: str,
        purpose: str,
        parameters: dict[str, Any],
        run: RunIdentity,
        for_run: str | None,
        signer: Signer | None,
        code: Path,
        progress: Progress,
    ) -> None:
        if not 1 <= len(sources) <= _MOST_SUBJECTS:
            raise ConfigurationError(
                f"a session has 1 to {_MOST_SUBJECTS} inputs, not {len(sources)}",
                next_step="name what the training reads; combine many files into one folder",
            )
        if not 1 <= len(activity) <= 100 or not activity.isprintable():
            raise ConfigurationError("an activity is a word, of at most 100 characters")
        self.activity = activity
        self.purpose = purpose
        self.invocation = secrets.token_hex(8)
        """Names this session, in its record and its receipts."""
        self.inputs: tuple[Cleared, ...] = ()
        """The verified inputs, once the session is entered."""
        self.receipts: tuple[ReceiptRef, ...] = ()
        """The receipts for the outputs, once the session is over."""
        self.record: Digest | None = None
        """Digest of the session's record, once the session is over."""
        self._policy_source, self._sources = policy, sources
        self._parameters, self._metrics = parameters, MetricLog()
        self._run, self._for_run = run, for_run
        self._signer, self._code, self._progress = signer, code, progress
        self._outputs: list[SubjectUri] = []
        self._open = self._entered = False

    def __enter__(self) -> TrainingSession:
        """Verify the inputs, and that what comes out can be signed.

        Raises:
            ClearanceRefused: an input may not be used.
            ConfigurationError: the key is not trusted for production.
            SluicegateError: something cannot be read.
        """
        if self._entered:
            raise ConfigurationError("a session is used once; make another one")
        self._entered = True
        self._policy: Policy = load_policy(self._policy_source)
        self._recorder = Recorder.open(
            self._policy,
            self._signer or load_signer(self._policy),
            activity=self.activity,
            purpose=self.purpose,
            run=self._run,
            invocation=self.invocation,
        )
        # Before the work: what cannot be recorded should not be found out after it.
        self._described = {
            "parameters": describe_parameters(self._parameters),
            "code": describe_code(self._code),
            "environment": describe_environment(),
        }
        self.inputs = tuple(map(self._verify, self._sources))
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Sign what came out, or log that the session failed.

        Raises:
            ConfigurationError: there is no output, or it is one of the inputs.
            SluicegateError: an output cannot be read, or nothing can be logged.
        """
        self._open = False
        if kind is not None:
            self._fail(kind, error)
            return
        try:
            self._finish()
        except BaseException as failure:
            self._fail(type(failure), failure)
            raise

    @property
    def data(self) -> Cleared:
        """The input, where there is exactly one.

        Raises:
            ConfigurationError: there are several, or the session was not entered.
        """
        if len(self.inputs) != 1:
            raise ConfigurationError(f"the session has {len(self.inputs)} inputs: see .inputs")
        return self.inputs[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that were declared."""
        return tuple(map(str, self._outputs))

    def log_metric(self, name: str, value: Any, step: int | None = None) -> None:
        """Log one value of a metric; NaN and the infinities are kept as text.

        Raises:
            ConfigurationError: not a number, a bad name or step, or the session is over.
        """
        self._check_open()
        self._metrics.add(name, value, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log several metrics; see :meth:`log_metric`."""
        for name, value in metrics.items():
            self.log_metric(name, value, step)

    def log_parameter(self, name: str, value: Any) -> None:
        """Log a parameter that was not known at the start; secrets are taken out.

        Raises:
            ConfigurationError: too large, or the session is over.
        """
        self._check_open()
        parameters = {**self._parameters, name: value}
        self._described["parameters"] = describe_parameters(parameters)
        self._parameters = parameters

    def output(self, subject: str | os.PathLike[str] | SubjectUri) -> None:
        """Declare what was made: a file, a folder or a URI; read when the session is over.

        Raises:
            SubjectError: a malformed path or URI.
            ConfigurationError: too many, or the session is over.
        """
        self._check_open()
        uri = subject if isinstance(subject, SubjectUri) else SubjectUri.parse(subject)
        if uri not in self._outputs:
            if len(self._outputs) >= _MOST_SUBJECTS:
                raise ConfigurationError(f"a session has at most {_MOST_SUBJECTS} outputs")
            self._outputs.append(uri)

    def callback(self) -> Callable[[int, Mapping[str, Any]], None]:
        """Return a function of step and metrics, for training loops that take one."""

        def on_step(step: int, metrics: Mapping[str, Any]) -> None:
            self.log_metrics(metrics, step)

        return on_step

    def _check_open(self) -> None:
        if not self._open:
            raise ConfigurationError("the session is not open", next_step="use it inside `with`")

    def _verify(self, source: SubjectSource | Cleared) -> Cleared:
        if not isinstance(source, Cleared):
            return open_cleared(
                source,
                purpose=self.purpose,
                policy=self._policy,
                run=self._for_run,
                progress=self._progress,
            )
        if source.purpose != self.purpose:
            raise ClearanceRefused(
                f"{source.uri} was opened for {source.purpose!r}, and this is {self.purpose!r}",
                next_step="open it for the purpose of the session, or hand in the clearance",
            )
        return source

    def _finish(self) -> None:
        if not self._outputs:
            raise ConfigurationError(
                "the session declared no output, so there is nothing to sign",
                next_step="call session.output(...) before the session ends",
            )
        made = [take_snapshot(uri, progress=self._progress) for uri in self._outputs]
        given = {item.digest for item in self.inputs}
        for snapshot in made:
            if snapshot.digest in given:
                raise ConfigurationError(
                    f"{snapshot.uri} holds exactly the bytes of an input: nothing was made"
                )
        self.record, self.receipts = self._recorder.finish(self._contents(), self.inputs, made)

    def _fail(self, kind: type[BaseException], error: BaseException | None) -> None:
        """Log that the session failed; what goes wrong there must not hide the error itself."""
        try:
            self.record = self._recorder.fail(self._contents(), self.inputs, kind.__name__)
        except (SluicegateError, OSError) as failure:
            if error is not None:
                error.add_note(f"sluicegate could not log that the session failed: {failure}")

    def _contents(self) -> dict[str, Json]:
        return {**self._described, "metrics": self._metrics.to_json()}
