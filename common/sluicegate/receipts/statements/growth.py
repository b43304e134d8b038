"""That a data set only grew: all files of the version before are there, unchanged, and some more.

The files stand in a tree in the order in which they arrived, so that RFC 6962 consistency
proofs say "this is that one and more": anybody who kept the two statements can check it without
the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ReceiptError
from sluicegate.merkle import roots_from_consistency
from sluicegate.model import RunIdentity
from sluicegate.receipts.statements.frame import (
    Subject,
    frame,
    read_count,
    read_digest,
    read_run,
    read_text,
    read_texts,
    read_time,
    write_time,
)

__all__ = ["GROWTH", "GROWTH_TYPE", "GrowthStatement", "Tree"]

GROWTH: Final = "growth"
"""The word that a policy's ``stages`` list uses for the right to say that a data set grew."""
GROWTH_TYPE: Final = "pkg:pypi/sluicegate#growth-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A Merkle tree by size and root."""

    size: int
    root: Digest

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"size": self.size, "root": self.root.hex}

    @classmethod
    def from_json(cls, value: Json) -> Tree:
        """Read the JSON form, or raise KeyError, TypeError or ValueError."""
        return cls(size=read_count(value["size"]), root=Digest(value["root"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthStatement:
    """A version of a data set, and that it extends the one before."""

    subject: Subject
    dataset: str
    """Name of the data set, the same for all of its versions."""
    version: int
    """1 for the first; one more with each."""
    tree: Tree
    """Over the records of all files, in the order in which they arrived."""
    before: Tree | None
    """The tree of the version before; None for the first."""
    previous: Digest | None
    """Digest of the receipt of the version before; None for the first."""
    proof: tuple[bytes, ...]
    """Consistency proof from the tree before to this one; empty for the first."""
    issued: datetime
    run: RunIdentity
    invocation: str = ""
    """Different for each version, so that a copy of a receipt is known as one."""
    stage: str = GROWTH

    def check(self) -> None:
        """Return if the proof shows that the tree before is a prefix of this one.

        Raises:
            ReceiptError: it does not.
        """
        before = self.before
        if before is None:
            return
        if before.size == self.tree.size:
            good = before.root == self.tree.root and not self.proof
        else:
            roots = _roots(before, self.tree, self.proof)
            good = roots == (bytes.fromhex(before.root.hex), bytes.fromhex(self.tree.root.hex))
        if not good:
            raise ReceiptError(
                f"version {self.version} of {self.dataset} does not extend the one before: its "
                "proof leads to another tree"
            )

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "dataset": self.dataset,
            "version": self.version,
            "tree": self.tree.to_json(),
            "before": self.before.to_json() if self.before else None,
            "previous": {"digest": {"sha256": self.previous.hex}} if self.previous else None,
            "consistencyProof": [node.hex() for node in self.proof],
            "issuedAt": write_time(self.issued),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        return frame(self.subject, GROWTH_TYPE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> GrowthStatement:
        """Read the predicate of a verified statement, proof included.

        Raises:
            ReceiptError: members are missing, contradict each other, or the proof is wrong.
        """
        try:
            before, previous = predicate["before"], predicate["previous"]
            statement = cls(
                subject=subject,
                dataset=read_text(predicate["dataset"]),
                version=read_count(predicate["version"]),
                tree=Tree.from_json(predicate["tree"]),
                before=None if before is None else Tree.from_json(before),
                previous=None if previous is None else read_digest(previous),
                proof=tuple(map(_node, read_texts(predicate["consistencyProof"]))),
                issued=read_time(predicate["issuedAt"]),
                invocation=read_text(predicate["invocationId"]),
                run=read_run(predicate["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no growth of the expected shape") from error
        first = statement.version == 1
        if statement.version < 1 or {first} != {
            statement.before is None,
            statement.previous is None,
        }:
            raise ReceiptError("the growth contradicts itself: version 1 alone has none before it")
        statement.check()
        return statement


def _node(text: str) -> bytes:
    return bytes.fromhex(Digest(text).hex)


def _roots(before: Tree, after: Tree, proof: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    try:
        root = bytes.fromhex(before.root.hex)
        return roots_from_consistency(before.size, after.size, root, proof)
    except ValueError as error:
        raise ReceiptError(f"the consistency proof does not fit: {error}") from error
