"""The chain of heads of a model, as the ledger tells it. No input, no output.

Heads are taken in the order of the ledger. A head counts if its epoch is the next one and it
names the receipt of the head before. The ledger's order decides a race: of two heads that
name the same predecessor, the first one logged counts, and the other is *superseded*; it
says nothing, whoever signed it, and nothing may be built on it. Anything else breaks the
chain: an epoch that was left out, a head built on a superseded or unknown one, the name of a
version given to another model. Then no head counts any more, until the key that signed the
offending head is revoked at its place in the ledger: there is no telling which side is meant.

The key of an older head may have expired since; the newest head must be beyond objection.
A head with an objection is a link of the chain, so that the epochs can be counted, and no
more: it says neither what serves nor what the name of a version means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluicegate.canonical import Digest
from sluicegate.errors import ClearanceRefused
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import HeadStatement

__all__ = ["Head", "History", "read_history"]

_REVOKE = "find out who signed it; revoke that key at this entry of the ledger (`revoked_at`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head where it stands in the ledger."""

    record: Record
    says: HeadStatement

    @property
    def digest(self) -> Digest:
        """SHA-256 of the receipt's bytes: what the next head links to."""
        return self.record.digest

    def __str__(self) -> str:
        says = self.says
        return f"epoch {says.epoch} ({says.version}, ledger entry {self.record.index})"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All heads of one model that count, oldest first, and those that lost a race."""

    model: str
    heads: tuple[Head, ...]
    superseded: tuple[Head, ...] = ()

    @property
    def newest(self) -> Head | None:
        """The head that counts now."""
        return self.heads[-1] if self.heads else None

    @property
    def counting(self) -> Head | None:
        """The newest head that nothing speaks against."""
        return next((head for head in reversed(self.heads) if not head.record.objection), None)

    @property
    def epoch(self) -> int:
        """Epoch of the newest head, 0 without one."""
        return len(self.heads)

    def serving(self) -> Head:
        """Return the newest head, if nothing speaks against it.

        Raises:
            ClearanceRefused: there is none, or its key has expired, or it is from the future.
        """
        if self.newest is None:
            raise ClearanceRefused(
                f"no version of {self.model} was ever promoted, as far as this ledger tells",
                next_step=f"back a version up, then `sluicegate backup … --model {self.model} "
                "--promote`; if there was a head, the ledger is not the one it was",
            )
        if self.newest.record.objection:
            raise ClearanceRefused(
                f"the newest head of {self.model}, {self.newest}, does not count (any more): "
                f"{self.newest.record.objection}",
                next_step="promote the version again with a current key",
            )
        return self.newest

    def version(self, name: str) -> Head | None:
        """Return the newest head for a version that nothing speaks against, if any."""
        named = (head for head in reversed(self.heads) if head.says.version == name)
        return next((head for head in named if not head.record.objection), None)

    def before(self) -> Head:
        """Return the head that a roll-back without a target goes back to.

        The version that served before the one that serves now was last promoted: so rolling
        back twice goes further back, and not forward again.

        Raises:
            ClearanceRefused: there is none.
        """
        newest = self.serving()
        digest = newest.says.subject.digest
        at = max(
            (
                head.says.epoch
                for head in self.heads
                if head.says.action == "promote" and head.says.subject.digest == digest
            ),
            default=0,
        )
        for head in reversed(self.heads[: max(at - 1, 0)]):
            if head.says.subject.digest != digest:
                return head
        raise ClearanceRefused(
            f"{self.model} has no version before {newest.says.version} to go back to",
            next_step="name the version to serve",
        )

    def epoch_at(self, epoch: int) -> Head | None:
        """Return the head of an epoch, from 1, whatever speaks against it."""
        return self.heads[epoch - 1] if 1 <= epoch <= len(self.heads) else None


def read_history(records: Iterable[Record], model: str) -> History:
    """Return the heads of a model that count.

    Args:
        records: what the policy's keys signed, in the order of the ledger.
        model: name of the model.

    Raises:
        ClearanceRefused: the chain is broken or forked; names the heads and their entries.
    """
    chain: list[Head] = []
    superseded: list[Head] = []
    meaning: dict[str, Head] = {}
    for record in records:
        says = record.statement
        if not isinstance(says, HeadStatement) or says.model != model:
            continue
        head = Head(record=record, says=says)
        if _follows(head, chain):
            _check_meaning(head, meaning)
            chain.append(head)
        elif says.epoch <= len(chain) and _follows(head, chain[: says.epoch - 1]):
            superseded.append(head)
        else:
            raise _broken(head, chain, superseded)
    return History(model=model, heads=tuple(chain), superseded=tuple(superseded))


def _follows(head: Head, chain: list[Head]) -> bool:
    before = chain[-1].digest if chain else None
    return head.says.epoch == len(chain) + 1 and head.says.previous == before


def _check_meaning(head: Head, meaning: dict[str, Head]) -> None:
    """Refuse a name of a version that stood for another model before."""
    if head.record.objection:
        return  # it claims no name, and takes none away
    first = meaning.setdefault(head.says.version, head)
    if first.says.subject.digest != head.says.subject.digest:
        raise ClearanceRefused(
            f"the version {head.says.version} of {head.says.model} means two models: "
            f"{first.says.subject.digest.short} in {first}, "
            f"{head.says.subject.digest.short} in {head}",
            next_step=_REVOKE,
        )


def _broken(head: Head, chain: list[Head], superseded: list[Head]) -> ClearanceRefused:
    says = head.says
    rivals = [one for one in (*chain, *superseded) if one.says.epoch == says.epoch]
    if rivals:
        what = f"two heads of epoch {says.epoch}: {rivals[0]} and {head}, after different ones"
    elif says.epoch > len(chain) + 1:
        what = f"{head} comes after epoch {len(chain)}: heads are missing"
    else:
        after = next((one for one in superseded if one.digest == says.previous), None)
        ground = f"which is superseded: {after}" if after else "which is none that counts"
        what = f"{head} is built on a head {ground}"
    return ClearanceRefused(f"the heads of {says.model} are forked: {what}", next_step=_REVOKE)
