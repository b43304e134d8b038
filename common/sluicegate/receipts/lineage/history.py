"""The statements of a ledger by what they are about, read once for one walk.

What an untrusted entry claims is kept apart, and only to explain why something is missing:
it was not verified, and nothing is decided by it.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.canonical import Digest, parse_json
from sluicegate.errors import LedgerError, ReceiptError
from sluicegate.model import Verdict
from sluicegate.receipts.lineage.model import Origin
from sluicegate.receipts.records import Record, Records, Rejected
from sluicegate.receipts.statement import (
    DerivationStatement,
    EventStatement,
    HeadStatement,
    ProductionStatement,
    Statement,
    Subject,
    VerdictStatement,
    parse_statement,
)

__all__ = ["HELD", "RELEASED", "SEEN", "History", "Maker", "Said", "Seen"]

SEEN: Final = "data.seen"
"""Kind of the event that bytes were there; starts a quarantine delay."""
HELD: Final = "data.held"
"""Kind of the event that a subject must not be used until it is released."""
RELEASED: Final = "data.released"
"""Kind of the event that takes a hold back."""
_MAX_CLAIMS: Final = 1000
"""How many untrusted entries are looked into: anybody who may append can write them."""


@dataclass(frozen=True, slots=True)
class Maker:
    """A statement that says how a subject was made."""

    record: Record
    subject: Subject
    inputs: tuple[Subject, ...]
    activity: str
    origin: Origin

    @property
    def input_digests(self) -> frozenset[Digest]:
        """What it says the subject was made from."""
        return frozenset(item.digest for item in self.inputs)


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict, where it was logged."""

    record: Record
    verdict: VerdictStatement

    def same_question(self, other: Said) -> bool:
        """Return whether the same stage, configured alike, judged in both."""
        mine, theirs = self.verdict, other.verdict
        return (mine.stage, mine.configuration) == (theirs.stage, theirs.configuration)


@dataclass(frozen=True, slots=True)
class Seen:
    """When bytes were first logged."""

    entry: int
    moment: datetime
    """Not before anything that was logged earlier: a statement may bear any date."""


class History:
    """Statements by subject, by receipt, by place."""

    def __init__(self, records: Records) -> None:
        """Read all records once.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        self.makers: dict[Digest, list[Maker]] = defaultdict(list)
        self.by_uri: dict[str, list[Maker]] = defaultdict(list)
        self.by_other_digest: dict[str, list[Maker]] = defaultdict(list)
        self.verdicts: dict[Digest, list[Said]] = defaultdict(list)
        self.heads: dict[str, list[Record]] = defaultdict(list)
        self.models: dict[Digest, set[str]] = defaultdict(set)
        self.holds: dict[Digest, list[Record]] = defaultdict(list)
        self.receipts: dict[Digest, Record] = {}
        self.first_seen: dict[Digest, Seen] = {}
        self.rejected: dict[Digest, Rejected] = {}
        self.earlier: dict[Digest, Record] = {}
        self._records = records
        self._latest: datetime | None = None
        self._claims: dict[Digest, Rejected] | None = None
        heard: set[Digest] = set()
        for record in records:
            if record.payload not in heard:
                heard.add(record.payload)
                self._hear(record)
        for item in records.rejected:
            self.rejected.setdefault(item.digest, item)
            if item.earlier is not None:
                self.earlier.setdefault(item.digest, item.earlier)

    def _hear(self, record: Record) -> None:
        self.receipts[record.digest] = record
        self._note_time(record)
        statement = record.statement
        if isinstance(statement, ProductionStatement):
            made = Maker(
                record,
                statement.subject,
                statement.made_from,
                statement.activity,
                Origin.PRODUCTION,
            )
            self._note_maker(made)
        elif isinstance(statement, DerivationStatement):
            parent = (statement.parent,)
            self._note_maker(
                Maker(record, statement.subject, parent, statement.stage, Origin.DERIVATION)
            )
        elif isinstance(statement, VerdictStatement):
            self.verdicts[statement.subject.digest].append(Said(record, statement))
        elif isinstance(statement, HeadStatement):
            self.heads[statement.model].append(record)
            self.models[statement.subject.digest].add(statement.model)
        elif isinstance(statement, EventStatement) and statement.kind in (HELD, RELEASED):
            self.holds[statement.subject.digest].append(record)

    def _note_maker(self, maker: Maker) -> None:
        self.makers[maker.subject.digest].append(maker)
        self.by_uri[maker.subject.uri].append(maker)
        self.by_other_digest[maker.subject.sha256.hex].append(maker)
        self.by_other_digest[maker.subject.dir_hash].append(maker)

    def _note_time(self, record: Record) -> None:
        if record.objection:
            return
        issued = record.statement.issued
        self._latest = issued if self._latest is None else max(self._latest, issued)
        self.first_seen.setdefault(
            record.statement.subject.digest, Seen(record.index, self._latest)
        )

    def on_hold(self, digest: Digest) -> Record | None:
        """Return the event that holds a subject back, if it was not released since.

        A hold counts whoever's key has expired since; a release does not.
        """
        held = None
        for record in self.holds.get(digest, ()):
            kind = record.statement.kind if isinstance(record.statement, EventStatement) else ""
            if kind == HELD:
                held = record
            elif not record.objection:
                held = None
        return held

    def taken_back(self, said: Said) -> Said | None:
        """Return the newer verdict that takes back one that cleared, if there is one.

        Of the verdicts of the same stage, configured alike, about the same subject, the newest
        word counts. A "no" counts whatever has become of its key since; a "yes" does not.
        """
        newest = said
        for other in self.verdicts.get(said.verdict.subject.digest, ()):
            later = other.record.index > newest.record.index
            speaks = not (other.verdict.verdict.clears and other.record.objection)
            if later and speaks and said.same_question(other):
                newest = other
        return None if newest.verdict.verdict.clears else newest

    def against_admission(self, said: Said) -> Said | None:
        """Return the verdict that takes back an admission, if there is one.

        Every purpose of the policy has a say in it: for each configuration of the stage that one
        of them asks for, the newest word counts, and it takes the admission back if it is a
        block, or was said later and does not clear.
        """
        newest: dict[Digest, Said] = {}
        for other in self.verdicts.get(said.verdict.subject.digest, ()):
            speaks = not (other.verdict.verdict.clears and other.record.objection)
            if speaks and other.record.required and other.verdict.stage == said.verdict.stage:
                newest[other.verdict.configuration] = other
        for other in newest.values():
            later = other.record.index > said.record.index
            verdict = other.verdict.verdict
            if verdict is Verdict.BLOCK or (later and not verdict.clears):
                return other
        return None

    def blocking(self, digest: Digest) -> Said | None:
        """Return a verdict that blocks a subject and was not followed by a better one.

        Only what a purpose of the policy asks counts here: somebody's own options (a version
        name that is taken, say) are no word about the data.
        """
        for said in self.verdicts.get(digest, ()):
            if said.record.required and said.verdict.verdict is Verdict.BLOCK:
                newest = self.taken_back(said)
                if newest and newest.verdict.verdict is Verdict.BLOCK:
                    return newest
        return None

    def spoken_by(self, receipt: Digest) -> Said | None:
        """Return the verdict that a receipt holds, if it holds one."""
        record = self.receipts.get(receipt)
        if record is None or not isinstance(record.statement, VerdictStatement):
            return None
        return Said(record, record.statement)

    def rested_on(self, receipt: Digest) -> Record | None:
        """Return what a receipt says that an earlier step may have rested on.

        A verdict under rules that have changed since is still evidence of what was done; it
        speaks for nothing else. What the policy rejects for any other reason is not.
        """
        return self.receipts.get(receipt) or self.earlier.get(receipt)

    def claim(self, digest: Digest) -> Rejected | None:
        """Return an untrusted entry that claims to say how a subject was made, if any."""
        if self._claims is None:
            self._claims = {}
            for rejected, statement in self._untrusted():
                self._claims.setdefault(statement.subject.digest, rejected)
        return self._claims.get(digest)

    def _untrusted(self) -> Iterator[tuple[Rejected, Statement]]:
        rejected: Sequence[Rejected] = self._records.rejected
        for item in rejected[-_MAX_CLAIMS:]:
            try:
                statement = _unverified(self._records.bundle(item.index))
            except (LedgerError, ReceiptError):
                continue  # it explains nothing
            if isinstance(statement, ProductionStatement | DerivationStatement):
                yield item, statement


def _unverified(bundle: bytes) -> Statement:
    """Read what a bundle claims, without believing it.

    Raises:
        ReceiptError: it claims nothing that can be read.
    """
    try:
        return parse_statement(
            base64.b64decode(parse_json(bundle)["dsseEnvelope"]["payload"], validate=True)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ReceiptError("the entry is no receipt") from error
