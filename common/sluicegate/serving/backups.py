"""Which bytes a version's name means, before it ever served: its back-up receipt says.

The verdict of ``back-up-model`` names the model's digests; the report that it binds holds the
stage's configuration, with the names of model and version and the vault. Without that link
anybody who can write to the vault could lay another cleared model under the version's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.errors import ClearanceRefused
from sluicegate.evidence import Evidence
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import Subject, VerdictStatement
from sluicegate.storage.local import open_plain
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import version_name

__all__ = ["Backup", "find_backup", "good_backups"]

STAGE: Final = "back-up-model"
_MAX_REPORT_BYTES: Final = 16 << 20
"""Reports of this stage name at most some dozens of objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A version that was backed up, by the receipt that says so."""

    subject: Subject
    """As the gate saw it: its digests count, its place does not."""
    vault: SubjectUri


@dataclass(frozen=True, slots=True)
class _Known:
    """What is told about the backups of a version, oldest first."""

    found: list[tuple[Record, VerdictStatement, dict[str, Json]]]
    """Verdicts about it, for and against."""
    lost: list[tuple[Record, VerdictStatement]]
    """Verdicts that could be about it: nobody can tell without their reports."""

    @property
    def good(self) -> list[tuple[Record, VerdictStatement, dict[str, Json]]]:
        return [item for item in self.found if _speaks(item[0], item[1])]


def good_backups(
    records: Iterable[Record], evidence: Evidence, model: str, version: str
) -> list[tuple[int, Subject]]:
    """Return what trusted receipts say was backed up as a version, by ledger entry."""
    known = _known(records, evidence, model, version)
    return [(record.index, verdict.subject) for record, verdict, _ in known.good]


def find_backup(records: Iterable[Record], evidence: Evidence, model: str, version: str) -> Backup:
    """Return the backup of a version that trusted receipts vouch for.

    Raises:
        ClearanceRefused: none does, the newest word is not good, two models have the name, or
            a report is missing or was edited, so that nobody can tell.
    """
    known = _known(records, evidence, model, version)
    good = known.good
    if not good:
        _refuse_lost(evidence, model, version, known.lost)
        why = f": ledger entry {known.found[-1][0].index} is not good" if known.found else ""
        raise ClearanceRefused(
            f"no trusted receipt says that {model} {version} was backed up{why}",
            next_step=f"run `sluicegate backup SUBJECT --vault … --model {model}` under this "
            "policy, with the evidence folder at hand",
        )
    if len({verdict.subject.digest for _, verdict, _ in good}) > 1:
        entries = ", ".join(str(record.index) for record, _, _ in good)
        raise ClearanceRefused(
            f"{model} {version} was backed up as different models: ledger entries {entries}",
            next_step="back the one that is meant up under another name",
        )
    newest, verdict, fields = good[-1]
    digest = verdict.subject.digest
    _refuse_lost(evidence, model, version, _weighty(known.lost, newest.index, digest))
    last, says, _ = [item for item in known.found if item[1].subject.digest == digest][-1]
    if last.index != newest.index:
        raise ClearanceRefused(
            f"the newest word on the backup of {model} {version} is {says.verdict.value} "
            f"(ledger entry {last.index})",
            next_step="mend the backup, then run back-up-model again",
        )
    return Backup(subject=verdict.subject, vault=SubjectUri.parse(fields["vault"]))


def _speaks(record: Record, verdict: VerdictStatement) -> bool:
    return verdict.verdict.clears and not record.objection


def _weighty(
    lost: list[tuple[Record, VerdictStatement]], newest: int, digest: Digest
) -> list[tuple[Record, VerdictStatement]]:
    """Return the verdicts that could give the name to another model, or be a later word."""
    return [
        (record, verdict)
        for record, verdict in lost
        if (record.index > newest if verdict.subject.digest == digest else _speaks(record, verdict))
    ]


def _refuse_lost(
    evidence: Evidence, model: str, version: str, lost: list[tuple[Record, VerdictStatement]]
) -> None:
    if lost:
        record, verdict = lost[-1]
        raise ClearanceRefused(
            f"cannot tell whether ledger entry {record.index}, a verdict of {STAGE} "
            f"({verdict.verdict.value}), is about {model} {version}: its report "
            f"{evidence.report_path(verdict.report)} is missing or was edited",
            next_step="restore that file from a copy, or run the same backup again, which "
            "writes a report of the same settings; find out who removed it",
        )


def _known(records: Iterable[Record], evidence: Evidence, model: str, version: str) -> _Known:
    verdicts = [
        (record, record.statement)
        for record in records
        if isinstance(record.statement, VerdictStatement) and record.statement.stage == STAGE
    ]
    # The digest of the configuration binds the fields: one report tells them for all its runs.
    settings: dict[Digest, dict[str, Json]] = {}
    for _, verdict in verdicts:
        if verdict.configuration not in settings:
            fields = _configuration(verdict, evidence)
            if fields is not None:
                settings[verdict.configuration] = fields
    known = _Known([], [])
    for record, verdict in verdicts:
        fields = settings.get(verdict.configuration)
        if fields is None:
            known.lost.append((record, verdict))
        elif fields.get("model") == model and _named(fields, verdict) == version:
            known.found.append((record, verdict, fields))
    return known


def _named(fields: dict[str, Json], verdict: VerdictStatement) -> str:
    return fields.get("model_version") or version_name(verdict.subject.digest)


def _configuration(verdict: VerdictStatement, evidence: Evidence) -> dict[str, Json] | None:
    """Return the stage's fields from the report; None unless receipt and report agree."""
    try:
        with open_plain(evidence.report_path(verdict.report)) as file:
            content = file.read(_MAX_REPORT_BYTES + 1)
    except OSError:
        return None
    if len(content) > _MAX_REPORT_BYTES or Digest.of(content) != verdict.report:
        return None
    document = parse_json(content)
    fields = document["configuration"]
    configured = {"stage": document["stage"], "version": document["version"], "fields": fields}
    return fields if Digest.of_json(configured) == verdict.configuration else None
