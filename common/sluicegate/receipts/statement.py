"""What a receipt says: an in-toto statement about one subject.

Two kinds, both with existing predicates, so that other people's tools read them:

* a **verdict** (in-toto test result): stage S, configured like this, judged by that policy,
  came to this verdict about this subject;
* a **derivation** (SLSA provenance): this subject is that one without the rows or files
  that a verdict set aside.

Sources: in-toto Statement v1, in-toto test-result v0.1, SLSA provenance v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json, parse_json
from sluicegate.errors import ReceiptError
from sluicegate.model import Outcome, Report, RunIdentity, Verdict
from sluicegate.storage.snapshot import Snapshot

__all__ = [
    "DERIVATION",
    "DerivationStatement",
    "Statement",
    "Subject",
    "VerdictStatement",
    "WaiverUse",
    "parse_statement",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
SLSA_PROVENANCE: Final = "https://slsa.dev/provenance/v1"
DERIVATION: Final = "quarantine"
"""The word that a policy's ``stages`` list uses for the right to sign derivations."""
_BUILD_TYPE: Final = "pkg:pypi/sluicegate#quarantine-v1"
_BUILDER: Final = "pkg:pypi/sluicegate#gate"
_RESULTS: Final = {
    Verdict.ALLOW: "PASSED",
    Verdict.WARN: "WARNED",
    Verdict.QUARANTINE: "FAILED",
    Verdict.INCONCLUSIVE: "FAILED",  # the predicate knows no "unknown"
    Verdict.BLOCK: "FAILED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The subject of a statement, by digest; the URI says only where it was."""

    name: str
    uri: str
    digest: Digest
    """Merkle root of the manifest: binds names, sizes and bytes."""
    sha256: Digest
    """Of the file, or for a folder of its manifest: what other tools compare."""
    dir_hash: str
    """``dirHash1`` over all files, 64 hexadecimal digits."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Subject:
        """Describe a snapshot."""
        manifest = snapshot.manifest
        single = snapshot.is_single_file
        return cls(
            name=snapshot.uri.name or str(snapshot.uri),
            uri=str(snapshot.uri),
            digest=manifest.digest,
            sha256=manifest.files[0].sha256 if single else Digest.of(manifest.ndjson()),
            dir_hash=manifest.dir_hash(),
        )

    def to_json(self) -> dict[str, Json]:
        """Return the in-toto resource descriptor."""
        return {
            "name": self.name,
            "uri": self.uri,
            "digest": {
                "sha256": self.sha256.hex,
                "dirHash1": self.dir_hash,
                "merkleRoot": self.digest.hex,
            },
        }

    @classmethod
    def from_json(cls, value: Json) -> Subject:
        """Read a resource descriptor of a statement that was verified.

        Raises:
            ReceiptError: fields are missing or digests are not digests.
        """
        try:
            digests = value["digest"]
            return cls(
                name=_text(value["name"]),
                uri=_text(value["uri"]),
                digest=Digest(digests["merkleRoot"]),
                sha256=Digest(digests["sha256"]),
                dir_hash=Digest(digests["dirHash1"]).hex,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ReceiptError("the receipt does not identify its subject") from error


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
            "issuedAt": _write_time(self.issued),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        if by_outcome[Outcome.UNKNOWN]:
            annotations["unknownTests"] = by_outcome[Outcome.UNKNOWN]
        if self.waivers:
            annotations["waivers"] = [waiver.to_json() for waiver in self.waivers]
        return {
            "_type": STATEMENT_TYPE,
            "subject": [self.subject.to_json()],
            "predicateType": TEST_RESULT,
            "predicate": {
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
            },
        }

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
            checks = dict.fromkeys(_texts(predicate["passedTests"]), Outcome.PASSED)
            checks |= dict.fromkeys(_texts(predicate["failedTests"]), Outcome.FAILED)
            checks |= dict.fromkeys(_texts(notes.get("unknownTests", [])), Outcome.UNKNOWN)
            if verdict is Verdict.ALLOW and set(checks.values()) != {Outcome.PASSED}:
                raise ReceiptError("the receipt contradicts itself: allowed, and not all passed")
            return cls(
                subject=subject,
                stage=_text(notes["stage"]),
                configuration=Digest(stage["digest"]["sha256"]),
                policy=Digest(policy["digest"]["sha256"]),
                report=Digest(report["digest"]["sha256"]),
                verdict=verdict,
                checks=checks,
                warned=tuple(_texts(predicate["warnedTests"])),
                invocation=_text(notes["invocationId"]),
                waivers=tuple(_waiver(item) for item in notes.get("waivers", [])),
                issued=_read_time(notes["issuedAt"]),
                run=_run(notes["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no verdict of the expected shape") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivationStatement:
    """A subject is another one without what a verdict set aside."""

    subject: Subject
    """What remains."""
    parent: Subject
    """What it was taken from."""
    verdict_receipt: Digest
    """The receipt of the quarantine verdict."""
    set_aside: Subject
    """What was taken out."""
    rows: int
    """How many rows were taken out."""
    files: int
    """How many whole files were taken out."""
    issued: datetime
    run: RunIdentity

    invocation: str = ""
    """Different for each run of a gate, so that a copy of a receipt is known as one."""
    stage: str = DERIVATION

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [self.subject.to_json()],
            "predicateType": SLSA_PROVENANCE,
            "predicate": {
                "buildDefinition": {
                    "buildType": _BUILD_TYPE,
                    "externalParameters": {"rows": self.rows, "files": self.files},
                    "internalParameters": {"run": self.run.to_json()},
                    "resolvedDependencies": [
                        self.parent.to_json(),
                        {"name": "verdict", "digest": {"sha256": self.verdict_receipt.hex}},
                    ],
                },
                "runDetails": {
                    "builder": {"id": _BUILDER},
                    "metadata": {
                        "invocationId": self.invocation,
                        "finishedOn": _write_time(self.issued),
                    },
                    "byproducts": [self.set_aside.to_json()],
                },
            },
        }

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> DerivationStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing, or another kind of build.
        """
        try:
            definition, details = predicate["buildDefinition"], predicate["runDetails"]
            if definition["buildType"] != _BUILD_TYPE:
                raise ReceiptError("the receipt is provenance of another kind of build")
            parent, verdict = definition["resolvedDependencies"]
            (set_aside,) = details["byproducts"]
            parameters = definition["externalParameters"]
            return cls(
                subject=subject,
                parent=Subject.from_json(parent),
                verdict_receipt=Digest(verdict["digest"]["sha256"]),
                set_aside=Subject.from_json(set_aside),
                rows=_count(parameters["rows"]),
                files=_count(parameters["files"]),
                issued=_read_time(details["metadata"]["finishedOn"]),
                invocation=_text(details["metadata"]["invocationId"]),
                run=_run(definition["internalParameters"]["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no derivation of the expected shape") from error


Statement = VerdictStatement | DerivationStatement


def write_statement(statement: Statement) -> bytes:
    """Return the payload to sign: canonical JSON."""
    return canonical_json(statement.to_json())


def parse_statement(payload: bytes) -> Statement:
    """Read the payload of a bundle **whose signature was verified**.

    Raises:
        ReceiptError: not an in-toto statement of a kind that sluicegate writes.
    """
    try:
        value = parse_json(payload)
    except ValueError as error:
        raise ReceiptError(f"the receipt's statement is {error}") from error
    if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
        raise ReceiptError("the receipt's payload is not an in-toto statement v1")
    subjects = value.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise ReceiptError("a receipt is about exactly one subject")
    subject = Subject.from_json(subjects[0])
    kind, predicate = value.get("predicateType"), value.get("predicate")
    if kind == TEST_RESULT:
        return VerdictStatement.from_json(subject, predicate)
    if kind == SLSA_PROVENANCE:
        return DerivationStatement.from_json(subject, predicate)
    raise ReceiptError(f"the receipt's predicate {kind!r} is not one that sluicegate reads")


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _texts(value: Json) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return [_text(item) for item in value]


def _count(value: Json) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("expected a number from 0")
    return value


def _write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_time(text: Json) -> datetime:
    return datetime.strptime(_text(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _waiver(value: Json) -> WaiverUse:
    return WaiverUse(
        check=_text(value["check"]),
        owner=_text(value["owner"]),
        expires=date.fromisoformat(_text(value["expires"])),
    )


def _run(value: Json) -> RunIdentity:
    labels = {_text(key): _text(text) for key, text in value.items() if key != "orchestrator"}
    return RunIdentity(orchestrator=_text(value["orchestrator"]), labels=labels)
