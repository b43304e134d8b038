"""Where the nodes and arrows of a graph go: rows from the sources down to the product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sluicegate.canonical import Json

__all__ = ["place_graph"]

_BOX_WIDTH: Final = 248
_BOX_HEIGHT: Final = 44
_GAP_X: Final = 20
_GAP_Y: Final = 40
_MARGIN: Final = 8
_LETTERS: Final = 32
"""How many letters fit into a box."""
_MARKS: Final = {"sound": "✓", "source": "●", "faulty": "✗", "unknown": "?"}


def place_graph(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return boxes and lines for a stored graph figure; numbers and words, never markup."""
    nodes, arrows = figure["nodes"], figure["arrows"]
    rows = _rows(len(nodes), arrows)
    widest = max(len(row) for row in rows)
    width = 2 * _MARGIN + widest * (_BOX_WIDTH + _GAP_X) - _GAP_X
    at: dict[int, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        start = (width - len(row) * (_BOX_WIDTH + _GAP_X) + _GAP_X) / 2
        for place, node in enumerate(row):
            x, y = start + place * (_BOX_WIDTH + _GAP_X), number * (_BOX_HEIGHT + _GAP_Y)
            at[node] = (round(x, 1), _MARGIN + y)
    height = 2 * _MARGIN + len(rows) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    return {
        "kind": "graph",
        "width": round(width, 1),
        "height": height,
        "box_width": _BOX_WIDTH,
        "box_height": _BOX_HEIGHT,
        "boxes": [_box(node, *at[index]) for index, node in enumerate(nodes)],
        "lines": [_line(at[start], at[end], sound=sound) for start, end, sound in arrows],
        "listed": [
            {
                "label": nodes[end]["label"],
                "source": nodes[start]["label"],
                "sound": sound,
            }
            for start, end, sound in arrows
        ],
    }


def _rows(count: int, arrows: Sequence[Sequence[Json]]) -> list[list[int]]:
    """Return the nodes by row: each below everything that went into it, cycles aside."""
    sources: dict[int, list[int]] = defaultdict(list)
    for start, end, _ in arrows:
        sources[end].append(start)
    row = [0] * count
    for _ in range(count):  # as often as the longest way is long; a cycle does not settle
        moved = False
        for node in range(count):
            lowest = max((row[one] + 1 for one in sources[node] if one != node), default=0)
            if row[node] < lowest < count:
                row[node], moved = lowest, True
        if not moved:
            break
    rows: dict[int, list[int]] = defaultdict(list)
    for node in range(count):
        rows[row[node]].append(node)
    return [rows[number] for number in sorted(rows)]


def _box(node: Mapping[str, Json], x: float, y: float) -> dict[str, Json]:
    return {
        "x": x,
        "y": y,
        "label": f"{_MARKS[node['state']]} {_short(node['label'])}",
        "detail": _short(node["detail"]),
        "full": f"{node['label']}: {node['detail']}",
        "state": node["state"],
        "text_x": round(x + _BOX_WIDTH / 2, 1),
        "label_y": y + 18,
        "detail_y": y + 34,
    }


def _short(text: str) -> str:
    """Cut text in its middle: the end of a name holds its digest."""
    if len(text) <= _LETTERS:
        return text
    half = (_LETTERS - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _line(start: tuple[float, float], end: tuple[float, float], *, sound: bool) -> dict[str, Json]:
    x1, y1 = start[0] + _BOX_WIDTH / 2, start[1] + _BOX_HEIGHT
    x2, y2 = end[0] + _BOX_WIDTH / 2, end[1]
    middle = round((y1 + y2) / 2, 1)
    return {
        "path": f"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}",
        "head": f"M{x2 - 4} {y2 - 7}L{x2} {y2}L{x2 + 4} {y2 - 7}Z",
        "sound": sound,
    }
