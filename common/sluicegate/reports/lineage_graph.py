"""A lineage graph for people and for other tools: text, DOT, Mermaid, JSON, one HTML page.

Names of subjects are chosen by whoever wrote the data. So every form escapes them in its own
way, and hidden characters are shown as their code. The page asks no server for anything, runs
no script and says so in a content security policy.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from sluicegate.canonical import Json
from sluicegate.figures import Graph, Node
from sluicegate.reports.drawing import draw, visible
from sluicegate.reports.templating import template

__all__ = ["to_dot", "to_html", "to_json", "to_mermaid", "to_text"]

_MARKS: Final = {"sound": "✓", "source": "●", "faulty": "✗", "unknown": "?"}
_DOT_COLOURS: Final = {
    "sound": "#5b6675",
    "source": "#0b6fb8",
    "faulty": "#b3202c",
    "unknown": "#5a4a9c",
}
_MERMAID_UNSAFE: Final = re.compile(r"[^\w .,:/+=@~-]")
"""What is written as a character code: quotes, brackets, and all that Mermaid, Markdown or
HTML could read as more than text."""


def to_text(graph: Graph) -> str:
    """Return one paragraph for each node: what it is, and what went into it."""
    nodes = {node.id: node for node in graph.nodes}
    inputs: dict[str, list[str]] = defaultdict(list)
    for arrow in graph.arrows:
        mark = "" if arrow.sound else "  ✗ broken"
        inputs[arrow.end].append(f"    from {_line(nodes[arrow.start].label)}{mark}")
    lines = []
    for node in graph.nodes:
        lines.append(f"{_MARKS[node.state]} {_line(node.label)}  ({_line(node.detail)})")
        lines += inputs[node.id]
    return "\n".join(lines) + "\n"


def to_dot(graph: Graph) -> str:
    r"""Return the graph for Graphviz.

    Source: Graphviz, the DOT language: in a quoted string only the quote and, before it, the
    backslash are special; labels also read ``\n`` and the like as escapes.
    """
    names = {node.id: f"n{at}" for at, node in enumerate(graph.nodes)}
    lines = ["digraph lineage {", '  rankdir="TB"; node [shape="box", fontname="sans-serif"];']
    for node in graph.nodes:
        style = ', style="dashed"' if node.state == "unknown" else ""
        label = f"{_MARKS[node.state]} {_dot(node.label)}\\n{_dot(node.detail)}"
        colour = _DOT_COLOURS[node.state]
        lines.append(f'  {names[node.id]} [label="{label}", color="{colour}"{style}];')
    for arrow in graph.arrows:
        style = "" if arrow.sound else f' [style="dashed", color="{_DOT_COLOURS["faulty"]}"]'
        lines.append(f"  {names[arrow.start]} -> {names[arrow.end]}{style};")
    return "\n".join([*lines, "}", ""])


def to_mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart, as Markdown renderers draw it."""
    names = {node.id: f"n{at}" for at, node in enumerate(graph.nodes)}
    lines = ["flowchart TB"]
    for node in graph.nodes:
        label = f"{_MARKS[node.state]} {_mermaid(node.label)}<br/>{_mermaid(node.detail)}"
        lines.append(f'  {names[node.id]}["{label}"]:::{node.state}')
    for arrow in graph.arrows:
        link = "-->" if arrow.sound else "-. broken .->"
        lines.append(f"  {names[arrow.start]} {link} {names[arrow.end]}")
    lines += [f"  classDef {state} stroke:{colour}" for state, colour in _DOT_COLOURS.items()]
    return "\n".join(lines) + "\n"


def to_json(graph: Graph) -> dict[str, Json]:
    """Return the whole graph, with the Merkle roots as ids of the nodes."""
    return {
        "title": graph.title,
        "nodes": [_node(node) for node in graph.nodes],
        "arrows": [
            {"start": arrow.start, "end": arrow.end, "sound": arrow.sound} for arrow in graph.arrows
        ],
    }


def to_html(graph: Graph, *, problems: Sequence[str]) -> str:
    """Return one page that needs nothing else.

    Args:
        graph: what to draw; of large ones what is worst and nearest.
        problems: what is wrong, a sentence each.
    """
    (figure,) = draw([graph.to_json()])
    return template("lineage.html.j2").render(figure=figure, problems=problems, title=graph.title)


def _node(node: Node) -> dict[str, Json]:
    return {"id": node.id, "label": node.label, "detail": node.detail, "state": node.state}


def _line(text: str) -> str:
    return visible(text, strict=True)


def _dot(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(text: str) -> str:
    return _MERMAID_UNSAFE.sub(lambda match: f"#{ord(match[0])};", _line(text))
