"""The walk: from a subject back to its sources, one look at each link, without recursion."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.model import Outcome
from sluicegate.receipts.lineage.checks import (
    check_admission,
    check_clearances,
    check_edge,
    check_fork,
    check_heads,
    check_hold,
    check_verdict,
    find_cycles,
)
from sluicegate.receipts.lineage.explain import absence, contradiction, objection, same
from sluicegate.receipts.lineage.history import History, Maker, Said
from sluicegate.receipts.lineage.model import Chain, Edge, Link, Origin, Problem
from sluicegate.receipts.statement import (
    DerivationStatement,
    ProductionStatement,
    Subject,
)

__all__ = ["trace"]

_MAX_LINKS: Final = 100_000
"""Most links of one walk: more do not fit a report, and a forger could log any number."""
_MAX_PROBLEMS: Final = 1000
"""Most problems of one walk, likewise."""


def trace(
    subject: Subject, history: History, *, admitting: Mapping[str, str], max_depth: int
) -> Chain:
    """Walk from a subject back to its sources.

    Args:
        subject: where to start.
        history: the statements to walk along.
        admitting: the stages whose clearing verdict admits data from outside, by name, and
            the check that must have passed for that; empty where the verdict is enough. Only
            verdicts that the policy asks for in exactly their configuration admit.
        max_depth: most links on the way to a source; beyond it the walk stops, and says so.
    """
    walk = _Walk(history, admitting, max_depth)
    return walk.from_(subject)


class _Walk:
    """One walk, breadth first."""

    def __init__(self, history: History, admitting: Mapping[str, str], max_depth: int) -> None:
        self._history = history
        self._admitting = admitting
        self._max_depth = max_depth
        self._links: dict[Digest, Link] = {}
        self._unmade: dict[Digest, Subject] = {}
        self._edges: list[Edge] = []
        self._problems: list[Problem] = []
        self._cut = ""

    def from_(self, subject: Subject) -> Chain:
        """Return the chain of a subject."""
        waiting: deque[tuple[Subject, Link | None]] = deque([(subject, None)])
        while waiting and not self._cut:
            item, product = waiting.popleft()
            known = item.digest in self._links or item.digest in self._unmade
            before = len(self._problems)
            link = self._links.get(item.digest) if known else self._resolve(item, product)
            if link is None:
                self._unmade.setdefault(item.digest, item)
            else:
                self._links.setdefault(item.digest, link)
                self._problems += check_edge(self._history, link, item, product)
                if not known:
                    waiting.extend((source, link) for source in link.inputs)
                    self._bound(link)
            if not known:
                self._problems += check_hold(self._history, item)
            if product is not None:
                sound = link is not None and len(self._problems) == before
                self._edges.append(Edge(product.subject.digest, item.digest, sound))
        self._problems += find_cycles(self._links, subject.digest)
        return Chain(
            subject=subject,
            links=self._links,
            unmade=self._unmade,
            edges=tuple(self._edges),
            problems=tuple(self._problems),
            cut=self._cut,
        )

    def _bound(self, link: Link) -> None:
        if link.inputs and link.level >= self._max_depth:
            self._cut = f"the chain is longer than {self._max_depth} links"
        elif len(self._links) + len(self._unmade) >= _MAX_LINKS:
            self._cut = f"the chain has more than {_MAX_LINKS} links"
        elif len(self._problems) >= _MAX_PROBLEMS:
            self._cut = f"more than {_MAX_PROBLEMS} things are wrong with the chain"

    # Which statement says how a subject came to be

    def _resolve(self, subject: Subject, product: Link | None) -> Link | None:
        """Return the link that made a subject, or say why there is none."""
        level = product.level + 1 if product else 0
        makers = self._history.makers.get(subject.digest, [])
        alike = [maker for maker in makers if same(maker.subject, subject)]
        sound = [maker for maker in alike if not maker.record.objection]
        admitted = self._admissions(subject)
        speaking = [said for said in admitted if not said.record.objection]
        if sound and not (speaking and _only_imported(sound, since=speaking[0])):
            self._problems += check_fork(subject, sound)
            return self._made(sound[0], level)
        if speaking:
            return self._admitted(speaking[0], level)
        if makers and not alike:
            first = makers[0]
            self._problems.append(contradiction(subject, first.subject, first.record, product))
        elif alike or admitted:
            objected = alike[0].record if alike else admitted[0].record
            self._problems.append(objection(subject, objected))
        else:
            self._problems.append(absence(self._history, subject, product))
        return None

    def _admissions(self, subject: Subject) -> list[Said]:
        """Return the verdicts that admit a subject from outside, oldest first."""
        return [
            said
            for said in self._history.verdicts.get(subject.digest, ())
            if self._admits(said) and same(said.verdict.subject, subject)
        ]

    def _admits(self, said: Said) -> bool:
        verdict = said.verdict
        check = self._admitting.get(verdict.stage)
        # Whoever runs a stage with options of their own asks a question of their own.
        if check is None or not verdict.verdict.clears or not said.record.required:
            return False
        return not check or verdict.checks.get(check) is Outcome.PASSED

    def _made(self, maker: Maker, level: int) -> Link:
        link = Link(
            subject=maker.subject,
            origin=maker.origin,
            activity=maker.activity,
            inputs=tuple(dict.fromkeys(maker.inputs)),
            record=maker.record,
            level=level,
        )
        self._problems += check_heads(self._history, link.subject)
        statement = maker.record.statement
        if isinstance(statement, DerivationStatement):
            self._problems += check_verdict(self._history, link, statement)
        elif isinstance(statement, ProductionStatement):
            self._problems += check_clearances(self._history, link, statement)
        return link

    def _admitted(self, said: Said, level: int) -> Link:
        link = Link(
            subject=said.verdict.subject,
            origin=Origin.ADMISSION,
            activity=said.verdict.stage,
            inputs=(),
            record=said.record,
            level=level,
        )
        self._problems += check_heads(self._history, link.subject)
        self._problems += check_admission(self._history, said)
        return link


def _only_imported(makers: list[Maker], *, since: Said) -> bool:
    """Return whether statements say no more than a verdict did before: it came from outside."""
    return all(not maker.inputs and maker.record.index > since.record.index for maker in makers)
