"""Which bytes a version's name means, before it ever served: its back-up receipt says.

The verdict of ``back-up-model`` names the model's digests; the report that it binds holds the
stage's configuration, with the names of model and version and the vault. Without that link
anybody who can write to the vault could lay another cleared model under the version's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.errors import ClearanceRefused
from sluicegate.evidence import Evidence
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import Subject, VerdictStatement
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import version_name

__all__ = ["Backup", "find_backup"]

STAGE: Final = "back-up-model"
_MAX_REPORT_BYTES: Final = 16 << 20
"""Reports of this stage name at most some dozens of objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A version that was backed up, by the receipt that says so."""

    subject: Subject
    """As the gate saw it: its digests count, its place does not."""
    vault: SubjectUri


def find_backup(records: Iterable[Record], evidence: Evidence, model: str, version: str) -> Backup:
    """Return the backup of a version that trusted receipts vouch for.

    Raises:
        ClearanceRefused: none does, the newest word is not good, or two models have the name.
    """
    found = [
        (record, verdict, fields)
        for record, verdict, fields in _backups(records, evidence)
        if fields.get("model") == model and _named(fields, verdict) == version
    ]
    good = [item for item in found if item[1].verdict.clears and not item[0].objection]
    if not good:
        why = f": ledger entry {found[-1][0].index} is not good" if found else ""
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
    _, verdict, fields = good[-1]
    last = [item for item in found if item[1].subject.digest == verdict.subject.digest][-1]
    if last[0].index != good[-1][0].index:
        raise ClearanceRefused(
            f"the newest word on the backup of {model} {version} is {last[1].verdict.value} "
            f"(ledger entry {last[0].index})",
            next_step="mend the backup, then run back-up-model again",
        )
    return Backup(subject=verdict.subject, vault=SubjectUri.parse(fields["vault"]))


def _named(fields: dict[str, Json], verdict: VerdictStatement) -> str:
    return fields.get("model_version") or version_name(verdict.subject.digest)


def _backups(
    records: Iterable[Record], evidence: Evidence
) -> Iterator[tuple[Record, VerdictStatement, dict[str, Json]]]:
    for record in records:
        says = record.statement
        if isinstance(says, VerdictStatement) and says.stage == STAGE:
            fields = _configuration(says, evidence)
            if fields is not None:
                yield record, says, fields


def _configuration(verdict: VerdictStatement, evidence: Evidence) -> dict[str, Json] | None:
    """Return the stage's fields from the report; None unless receipt and report agree."""
    try:
        with evidence.report_path(verdict.report).open("rb") as file:
            content = file.read(_MAX_REPORT_BYTES + 1)
    except OSError:
        return None
    if len(content) > _MAX_REPORT_BYTES or Digest.of(content) != verdict.report:
        return None
    document = parse_json(content)
    fields = document["configuration"]
    configured = {"stage": document["stage"], "version": document["version"], "fields": fields}
    return fields if Digest.of_json(configured) == verdict.configuration else None
