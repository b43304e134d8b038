"""What a policy says, as typed values. Built by :mod:`sluicegate.policy.load`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ClearanceRefused, ConfigurationError, PolicyError
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.model import Severity, Verdict
from sluicegate.policy.reader import near_miss
from sluicegate.receipts.keys import PublicKey
from sluicegate.receipts.statement import PRIVILEGED
from sluicegate.stages.base import (
    Stage,
    configuration,
    configuration_files,
    configuration_paths,
)
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.records import FileRecord
from sluicegate.storage.uri import SubjectUri

__all__ = [
    "Approvals",
    "CheckRule",
    "ConfigurationFile",
    "Policy",
    "Purpose",
    "Requirement",
    "RowLimit",
    "StageRules",
    "TrustedKey",
    "Waiver",
]

DEFAULT_ACTIONS: Final[Mapping[Severity, Verdict]] = {
    Severity.CRITICAL: Verdict.BLOCK,
    Severity.WARNING: Verdict.QUARANTINE,
    Severity.INFO: Verdict.WARN,
}
"""What a failed check means unless the policy says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimit:
    """A number of rows (or of whole files), absolute and relative; the smaller one counts.

    Poison is counted and not only rated: a fixed number of poisoned documents, about 250,
    was enough for language models of every size that was tried.

    Source: Souly et al. 2025, "Poisoning attacks on LLMs require a near-constant number of
    poison samples", arXiv 2510.07192.
    """

    rows: int | None = None
    """At most this many rows."""
    share: float | None = None
    """At most this share of all rows, 0 to 1."""

    def holds(self, count: int, total: int) -> bool:
        """Return whether ``count`` of ``total`` rows are within the limit.

        A share of an unknown total (0) is never within a limit.
        """
        if self.rows is not None and count > self.rows:
            return False
        # The margin is for shares such as 29 %, which no binary fraction equals.
        return self.share is None or (total > 0 and count <= self.share * total + 1e-9)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, part of the policy's digest."""
        return {"rows": self.rows, "share": self.share}

    def __str__(self) -> str:
        parts = [] if self.rows is None else [f"{self.rows}"]
        parts += [] if self.share is None else [f"{self.share:.2%} of them"]
        return " or ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule:
    """What one check's failure means."""

    action: Verdict
    tolerate: RowLimit | None = None
    """So few rows are only a warning."""

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, part of the policy's digest."""
        tolerate = self.tolerate.to_json() if self.tolerate else None
        return {"failed": self.action.value, "tolerate": tolerate}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRules:
    """How the reports of one stage are judged."""

    actions: Mapping[Severity, Verdict] = field(default_factory=lambda: dict(DEFAULT_ACTIONS))
    """What a failed check means, by its severity."""
    checks: Mapping[str, CheckRule] = field(default_factory=dict)
    """Exceptions by check id."""
    quarantine_at_most: RowLimit = RowLimit(share=0.25)
    """More than this set aside blocks: too much is wrong to trust the remainder. The
    default is our own judgement."""

    def rule(self, check_id: str, severity: Severity) -> CheckRule:
        """Return the rule for a failed check."""
        return self.checks.get(check_id) or CheckRule(action=self.actions[severity])

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, part of the policy's digest."""
        return {
            "actions": {severity.value: action.value for severity, action in self.actions.items()},
            "checks": {name: rule.to_json() for name, rule in self.checks.items()},
            "quarantine_at_most": self.quarantine_at_most.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Somebody answers for a failed or unknown check, until a date."""

    check: str
    """Check id."""
    subject: str
    """URI, in which ``*`` stands for any text."""
    owner: str
    """Who answers for it."""
    reason: str
    expires: date
    """Last day on which it holds (UTC)."""

    def covers(self, check_id: str, uri: str) -> bool:
        """Return whether the waiver is about this check of this subject."""
        return check_id == self.check and _matches(self.subject, uri)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, part of the policy's digest."""
        return {
            "check": self.check,
            "subject": self.subject,
            "owner": self.owner,
            "reason": self.reason,
            "expires": self.expires.isoformat(),
        }


def _matches(pattern: str, uri: str) -> bool:
    """Return whether a URI fits a pattern in which ``*`` stands for any text."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, uri, re.DOTALL) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key, and what receipts signed with it may say."""

    name: str
    key: PublicKey
    stages: tuple[str, ...]
    """Stage names, words such as ``quarantine`` or ``production``, or ``*`` for everything but
    what takes a person: approvals and heads must be named."""
    not_before: datetime | None = None
    not_after: datetime | None = None
    subjects: tuple[str, ...] = ("*",)
    """URIs that it may speak about, in which ``*`` stands for any text."""
    revoked_at: int | None = None
    """Ledger index from which on nothing that it signed counts; what was logged before does."""
    approvers: tuple[str, ...] = ()
    """Whose approvals it may sign; must be given with the word ``approval``."""

    def check(self, stage: str, *, issued: datetime, now: datetime) -> None:
        """Return if this key may sign for ``stage``, now and when the receipt was issued.

        Raises:
            ClearanceRefused: it may not, or not any more, or not yet.
        """
        self.check_stage(stage)
        self.check_time(issued=issued, now=now)

    def may_sign(self, stage: str) -> bool:
        """Return whether this key is trusted for ``stage``."""
        return stage in self.stages or ("*" in self.stages and stage not in PRIVILEGED)

    def check_place(self, *, uri: str | None, index: int) -> None:
        """Return if this key may speak about a subject, at this place of the ledger.

        Args:
            uri: where the subject lies; None for what lies nowhere, such as an event.
            index: place of the receipt in the ledger; -1 before it has one.

        Raises:
            ClearanceRefused: it is trusted for other subjects, or was revoked before.
        """
        if self.revoked_at is not None and index >= self.revoked_at:
            raise ClearanceRefused(
                f"key {self.name!r} was revoked at ledger entry {self.revoked_at}, and this is "
                f"entry {index}",
                next_step="run the gates again with a current key",
            )
        if uri is not None and not any(_matches(pattern, uri) for pattern in self.subjects):
            raise ClearanceRefused(
                f"key {self.name!r} is not trusted for {uri}, only for {', '.join(self.subjects)}",
                next_step="sign with the right key, or widen `subjects` of the key in the policy",
            )

    def check_stage(self, stage: str) -> None:
        """Return if this key is trusted for ``stage``.

        Raises:
            ClearanceRefused: it is not.
        """
        if not self.may_sign(stage):
            raise ClearanceRefused(
                f"key {self.name!r} is not trusted for {stage}, only for {', '.join(self.stages)}",
                next_step="sign with the right key, or list the stage under `keys` in the policy",
            )

    def check_time(self, *, issued: datetime, now: datetime) -> None:
        """Return if this key is valid now, and was when the receipt was issued.

        A key that has expired proves nothing any more: whoever got hold of it can write any
        date into a receipt.

        Raises:
            ClearanceRefused: not any more, or not yet.
        """
        for moment, when in ((issued, "when the receipt was issued"), (now, "now")):
            if self.not_before and moment < self.not_before:
                raise ClearanceRefused(f"key {self.name!r} is not valid yet {when}")
            if self.not_after and moment > self.not_after:
                raise ClearanceRefused(
                    f"key {self.name!r} expired on {self.not_after:%Y-%m-%d}: not valid {when}",
                    next_step="run the gates again with a current key",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A stage that a purpose needs, exactly as configured here."""

    stage: Stage
    configuration: Digest
    """Digest of the stage's whole configuration, contents of its files included."""
    files: tuple[ConfigurationFile, ...] = ()
    """The files that the configuration is read from."""

    @classmethod
    def of(cls, stage: Stage) -> Requirement:
        """Read the stage's configuration files and digest everything."""
        contents = configuration_files(stage)
        return cls(
            stage=stage,
            configuration=Digest.of_json(configuration(stage, contents)),
            files=tuple(
                ConfigurationFile.of(path, contents[key])
                for key, path in configuration_paths(stage).items()
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFile:
    """A file that a stage is configured by, as a subject that receipts can speak for."""

    uri: str
    """Where it lies, resolved."""
    digest: Digest
    """Merkle root of the manifest of this one file."""

    @classmethod
    def of(cls, path: str, content: bytes) -> ConfigurationFile:
        """Return the subject that the file at ``path`` is, with these bytes."""
        uri = SubjectUri.parse(path).resolved()
        record = FileRecord(path=uri.name, size=len(content), sha256=Digest.of(content))
        return cls(uri=str(uri), digest=Manifest.of([record]).digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """That people must agree before a subject is used.

    Raises:
        ConfigurationError: nobody is named, or more are asked for than are named.
    """

    by: tuple[str, ...]
    """Who may approve."""
    count: int = 1
    """How many different ones of them must."""
    max_age: timedelta | None = None
    """How long an approval lasts at most, whatever it says itself."""
    second_factor: bool = True
    """Whether each must have been confirmed by a second factor."""

    def __post_init__(self) -> None:
        if len(set(self.by)) != len(self.by) or not 1 <= self.count <= len(self.by):
            raise ConfigurationError(
                f"{self.count} approvals are asked of {len(set(self.by))} named approvers"
            )

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, part of the policy's digest."""
        return {
            "by": list(self.by),
            "count": self.count,
            "max_age_seconds": int(self.max_age.total_seconds()) if self.max_age else None,
            "second_factor": self.second_factor,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What somebody wants to do with a subject, and which receipts that takes."""

    name: str
    requirements: tuple[Requirement, ...]
    """In the order in which ``secure`` runs them. Never empty."""
    max_age: timedelta | None = None
    """Older receipts do not count."""
    signatures: int = 1
    """How many different keys must have signed a verdict that clears, for each stage."""
    approvals: Approvals | None = None
    """Whether people must agree as well."""
    configuration: str | None = None
    """The purpose for which the files that configure the stages must be cleared themselves;
    None where whoever may edit them is trusted."""

    def __post_init__(self) -> None:
        if not self.requirements:
            raise ConfigurationError(f"the purpose {self.name!r} needs no stage: that is no gate")
        if self.signatures < 1:
            raise ConfigurationError(f"the purpose {self.name!r} needs at least one signature")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, part of the policy's digest."""
        value: dict[str, Json] = {
            "stages": [[need.stage.name, need.configuration.hex] for need in self.requirements],
            "max_age_seconds": int(self.max_age.total_seconds()) if self.max_age else None,
        }
        # What is not asked for is left out: policies from before keep their digest.
        if self.signatures > 1:
            value["signatures"] = self.signatures
        if self.approvals:
            value["approvals"] = self.approvals.to_json()
        if self.configuration is not None:
            value["configuration"] = self.configuration
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy."""

    source: str
    """Where it came from, for messages."""
    evidence: Path
    """Folder of the ledger, receipts and reports."""
    quarantine: SubjectUri
    """Where remainders and what was set aside go."""
    purposes: Mapping[str, Purpose] = field(default_factory=dict)
    rules: Mapping[str, StageRules] = field(default_factory=dict)
    """By stage name; a stage without rules gets the defaults."""
    waivers: tuple[Waiver, ...] = ()
    keys: tuple[TrustedKey, ...] = ()
    samples: bool = False
    """Whether reports may show data values."""
    ledger: LedgerSettings | None = None
    """Where the ledger is and what must be true of it; see :attr:`ledger_settings`."""
    hash_cache: Path | None = None
    """Folder where gates remember digests of files that did not change; None for nowhere."""
    rehash: float = 0.01
    """Share of the remembered files that a gate reads all the same, 0 to 1."""

    @property
    def ledger_settings(self) -> LedgerSettings:
        """What the policy says of the ledger; by default it lies unsigned among the evidence."""
        return self.ledger or LedgerSettings(location=SubjectUri.parse(self.evidence / "ledger"))

    @property
    def digest(self) -> Digest:
        """Digest of everything that decides: purposes, rules and waivers.

        Comments, formatting and places do not count. Keys do not either: who may change the
        trusted keys can forge every receipt, so binding them would prove nothing, and a
        rotation would void all receipts.
        """
        return Digest.of_json(self.deciding())

    def deciding(self) -> dict[str, Json]:
        """Return everything that decides, as JSON: what :attr:`digest` is the digest of."""
        stages = {need.stage.name for item in self.purposes.values() for need in item.requirements}
        stages |= set(self.rules)
        return {
            "purposes": {name: need.to_json() for name, need in self.purposes.items()},
            # Defaults count as if they were written out: a release may change them.
            "rules": {name: self.rules_for(name).to_json() for name in sorted(stages)},
            "waivers": [waiver.to_json() for waiver in self.waivers],
        }

    def purpose(self, name: str) -> Purpose:
        """Return a purpose.

        Raises:
            PolicyError: the policy does not know it.
        """
        if name not in self.purposes:
            raise PolicyError(
                f"{self.source} has no purpose {name!r}{near_miss(name, self.purposes)}",
                next_step=f"purposes: {', '.join(self.purposes) or 'none'}",
            )
        return self.purposes[name]

    def rules_for(self, stage: str) -> StageRules:
        """Return the rules for a stage's reports."""
        return self.rules.get(stage) or StageRules()

    def key(self, key_id: str) -> TrustedKey:
        """Return a trusted key by its id.

        Raises:
            ClearanceRefused: the policy does not trust it.
        """
        for trusted in self.keys:
            if trusted.key.id == key_id:
                return trusted
        raise ClearanceRefused(
            f"a receipt is signed by key {key_id[:12]}, which {self.source} does not trust",
            next_step="if the key is yours, list its public half under `keys` in the policy",
        )

    def find_stage(self, name: str, configuration: Digest) -> Stage | None:
        """Return the stage that some purpose needs in exactly this configuration, if any."""
        for purpose in self.purposes.values():
            for need in purpose.requirements:
                if need.stage.name == name and need.configuration == configuration:
                    return need.stage
        return None
