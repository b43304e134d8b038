"""A chain as a graph that reports draw."""

from __future__ import annotations

from sluicegate.canonical import Digest
from sluicegate.figures import Arrow, Graph, Node
from sluicegate.receipts.lineage.model import Chain, Link
from sluicegate.receipts.statement import Subject

__all__ = ["graph_of"]


def graph_of(chain: Chain, *, title: str = "Lineage") -> Graph:
    """Return what was made from what, the subject first; names and digests, never data."""
    blamed = {problem.subject for problem in chain.problems}
    known = [_node(link, faulty=digest in blamed) for digest, link in chain.links.items()]
    nodes = known + [_stranger(subject) for subject in chain.unmade.values()]
    ids = {node.id for node in nodes}
    arrows = {
        (edge.source, edge.product): Arrow(
            start=edge.source.hex, end=edge.product.hex, sound=edge.sound
        )
        for edge in chain.edges
        if {edge.source.hex, edge.product.hex} <= ids
    }
    start = _position(nodes, chain.subject.digest)
    return Graph(
        title=title,
        caption=f"What {_label(chain.subject)} was made from, as signed statements say. "
        "Arrows lead from what went in to what came out.",
        nodes=(nodes[start], *nodes[:start], *nodes[start + 1 :]),
        arrows=tuple(arrows.values()),
    )


def _position(nodes: list[Node], digest: Digest) -> int:
    return next((at for at, node in enumerate(nodes) if node.id == digest.hex), 0)


def _node(link: Link, *, faulty: bool) -> Node:
    state = "faulty" if faulty else "source" if link.is_source else "sound"
    return Node(
        id=link.subject.digest.hex,
        label=_label(link.subject),
        detail=f"{link.activity}, entry {link.record.index}, {link.record.key}",
        state=state,
    )


def _stranger(subject: Subject) -> Node:
    return Node(
        id=subject.digest.hex,
        label=_label(subject),
        detail="no statement that counts",
        state="faulty",
    )


def _label(subject: Subject) -> str:
    return f"{subject.name or subject.uri or 'subject'} {subject.digest.short}"
