"""The stage: walk the chain, ask the publisher, answer step by step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from sluicegate.errors import LedgerError
from sluicegate.model import Report
from sluicegate.receipts.lineage import History, trace
from sluicegate.receipts.statement import Subject
from sluicegate.stages.base import Context
from sluicegate.stages.provenance.publisher import CHECK, ask_publisher
from sluicegate.stages.provenance.rendering import render, render_unread
from sluicegate.stages.provenance.settings import Settings
from sluicegate.stages.provenance.steps import CHECKS, Walked, answer
from sluicegate.storage.snapshot import Snapshot

__all__ = ["VerifyProvenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyProvenance(Settings):
    """Walk from a subject back to its sources, along signed statements.

    Whatever went into a link must be, digest for digest, what an earlier trusted statement
    made or admitted. Data from outside is admitted on the word of a publisher (``published``)
    or from a place or by a key that ``sources`` names, after ``quarantine_delay``.

    The delay defends against data that was poisoned for a moment: whoever maintains it gets
    the time to notice before it is used.

    Source: Carlini et al. 2023, "Poisoning Web-Scale Training Datasets is Practical",
    arXiv 2302.10149 (split-view and front-running poisoning).
    """

    name: ClassVar[str] = "verify-provenance"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False
    # A remainder has a link more than what it was taken from, and must be walked from itself.
    check_ids: ClassVar[tuple[str, ...]] = (*CHECKS, CHECK)

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Answer every step; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            ConfigurationError: the options make no sense, or no sense together.
        """
        self.check()
        vouched = ask_publisher(self, snapshot, context)
        if context.records is None:
            return render_unread("there is no ledger to ask", vouched)
        try:
            history = History(context.records())
        except LedgerError as error:
            return render_unread(f"the ledger cannot be relied on: {error.what}", vouched)
        chain = trace(
            Subject.of(snapshot), history, admitting=self.admitting(), max_depth=self.max_depth
        )
        walked = Walked(
            chain=chain,
            history=history,
            settings=self,
            vouched=vouched,
            uri=str(snapshot.uri),
            now=datetime.now(UTC),
        )
        return render(answer(walked), walked)
