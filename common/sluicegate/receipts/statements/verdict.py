"""A stage's verdict about a subject, as an in-toto test result.

Source: in-toto test-result v0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ReceiptError
from sluicegate.model import Outcome, Report, RunIdentity, Verdict
from sluicegate.receipts.statements.frame import (
    Subject,
    frame,
    read_run,
    read_text,
    read_texts,
    read_time,
    write_time,
)

__all__ = ["TEST_RESULT", "VerdictStatement", "WaiverUse"]

TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
_RESULTS: Final = {
    Verdict.ALLOW: "PASSED",
    Verdict.WARN: "WARNED",
    Verdict.QUARANTINE: "FAILED",
    Verdict.INCONCLUSIVE: "FAILED",  # the predicate knows no "unknown"
    Verdict.BLOCK: "FAILED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverUse:
    """A waiver that changed a verdict, so that consumers can tell when it ran out."""

    check: str
    owner: str
    expires: date
    """The waiver holds through that day (UTC)."""

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"check": self.check, "owner": self.owner, "expires": self.expires.isoformat()}

    @classmethod
    def from_json(cls, value: Json) -> WaiverUse:
        """Read the JSON form, or raise KeyError, TypeError or ValueError."""
        return cls(
            check=read_text(value["check"]),
            owner=read_text(value["owner"]),
            expires=date.fromisoformat(read_text(value["expires"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictStatement:
    """A stage's verdict about a subject."""

    subject: Subject
    stage: str
    configuration: Digest
    """Digest of the stage's whole configuration, its version included."""
    policy: Digest
    """Digest of the policy's rules that the verdict came from."""
    report: Digest
    """Digest of the stored report."""
    verdict: Verdict
    checks: Mapping[str, Outcome]
    """Worst outcome by check id."""
    waivers: tuple[WaiverUse, ...]
    issued: datetime
    run: RunIdentity
    warned: tuple[str, ...] = ()
    """Ids of the checks that failed and were let pass with a warning, sorted."""
    invocation: str = ""
    """Different for each run of a gate, so that a copy of a receipt is known as one."""

    @property
    def unreserved(self) -> bool:
        """Whether nothing that was wrong stays in the subject, or in its remainder.

        A warning stays: rows that a rule tolerates can be a larger share of the remainder.
        """
        return not self.warned and self.verdict is not Verdict.WARN

    @staticmethod
    def worst_outcomes(report: Report) -> dict[str, Outcome]:
        """Return the worst outcome of each check id in a report."""
        order = [Outcome.PASSED, Outcome.UNKNOWN, Outcome.FAILED]
        worst: dict[str, Outcome] = {}
        for check in report.checks:
            before = worst.get(check.id, Outcome.PASSED)
            worst[check.id] = max(before, check.outcome, key=order.index)
        return worst

    def to_json(self) -> dict[str, Json]:
        """Return the statement.

        Everything of ours is in ``annotations``, where the predicate's schema allows free
        members: strict parsers of the predicate accept it.
        """
        by_outcome: dict[Outcome, list[str]] = {outcome: [] for outcome in Outcome}
        for check, outcome in sorted(self.checks.items()):
            by_outcome[outcome].append(check)
        annotations: dict[str, Json] = {
            "stage": self.stage,
            "verdict": self.verdict.value,
            "issuedAt": write_time(self.issued),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        if by_outcome[Outcome.UNKNOWN]:
            annotations["unknownTests"] = by_outcome[Outcome.UNKNOWN]
        if self.waivers:
            annotations["waivers"] = [waiver.to_json() for waiver in self.waivers]
        predicate: dict[str, Json] = {
            "result": _RESULTS[self.verdict],
            "configuration": [
                {
                    "name": "stage",
                    "digest": {"sha256": self.configuration.hex},
                    "annotations": annotations,
                },
                {"name": "policy", "digest": {"sha256": self.policy.hex}},
                {"name": "report", "digest": {"sha256": self.report.hex}},
            ],
            "passedTests": by_outcome[Outcome.PASSED],
            "warnedTests": list(self.warned),
            "failedTests": by_outcome[Outcome.FAILED],
        }
        return frame(self.subject, TEST_RESULT, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> VerdictStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing or contradict each other.
        """
        try:
            stage, policy, report = predicate["configuration"]
            names = (stage["name"], policy["name"], report["name"])
            if names != ("stage", "policy", "report"):
                raise ValueError("unexpected configuration")
            notes = stage["annotations"]
            verdict = Verdict(notes["verdict"])
            if predicate["result"] != _RESULTS[verdict]:
                raise ReceiptError(
                    f"the receipt contradicts itself: {predicate['result']!r} and {verdict.value!r}"
                )
            checks = dict.fromkeys(read_texts(predicate["passedTests"]), Outcome.PASSED)
            checks |= dict.fromkeys(read_texts(predicate["failedTests"]), Outcome.FAILED)
            checks |= dict.fromkeys(read_texts(notes.get("unknownTests", [])), Outcome.UNKNOWN)
            if verdict is Verdict.ALLOW and set(checks.values()) != {Outcome.PASSED}:
                raise ReceiptError("the receipt contradicts itself: allowed, and not all passed")
            return cls(
                subject=subject,
                stage=read_text(notes["stage"]),
                configuration=Digest(stage["digest"]["sha256"]),
                policy=Digest(policy["digest"]["sha256"]),
                report=Digest(report["digest"]["sha256"]),
                verdict=verdict,
                checks=checks,
                warned=tuple(read_texts(predicate["warnedTests"])),
                invocation=read_text(notes["invocationId"]),
                waivers=tuple(WaiverUse.from_json(item) for item in notes.get("waivers", [])),
                issued=read_time(notes["issuedAt"]),
                run=read_run(notes["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no verdict of the expected shape") from error
