"""Figures of a report: data that a rendering draws, never markup.

A figure holds what was counted; :mod:`sluicegate.reports` turns it into a picture. So the
stored report stays readable for tools, and nothing an attacker names or writes can become
part of a page's code.

A figure may be given more than fits a page. Its JSON form is bounded: it keeps what is
worst, says how much it left out, and cuts long text.

Which figures may appear follows the policy on samples. :class:`Heatmap`, :class:`Histogram`,
:class:`Sparklines` and :class:`Bars` hold counts, and names of classes, checks and sources. A
:class:`Gallery` quotes the data itself: a stage adds one only where ``Context.samples`` is
true. So it does with :class:`Bars` whose names are values of a column that is not known to
hold sources.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, SupportsIndex, cast

from sluicegate.canonical import Json

__all__ = [
    "Arrow",
    "Bar",
    "Bars",
    "Exhibit",
    "Figure",
    "Gallery",
    "Graph",
    "Heatmap",
    "Histogram",
    "Image",
    "Node",
    "Passage",
    "Record",
    "Series",
    "Sparkline",
    "Sparklines",
    "Threshold",
]

MAX_NAME: Final = 120
"""Longest name in characters: a line of text."""

MAX_TEXT: Final = 2000
"""Longest passage or caption in characters: a page."""

LEAD: Final = 200
"""How much of a passage that is cut is shown before its first mark, in characters."""

MAX_SIDE: Final = 50
"""Most rows and most columns of a heatmap: more cells could not be read."""

MAX_BINS: Final = 200
"""Most bins of a histogram: narrower ones would be thinner than a line."""

MAX_SERIES: Final = 6
"""Most series of a histogram: more cannot be told apart where they overlap."""

MAX_THRESHOLDS: Final = 10
"""Most thresholds of a histogram, likewise."""

MAX_BARS: Final = 50
"""Most bars: a page."""

MAX_LINES: Final = 60
"""Most sparklines: as many columns as a person compares."""

MAX_POINTS: Final = 100
"""Most bins of a sparkline: narrower ones would be thinner than a line."""

MAX_EXHIBITS: Final = 60
"""Most items of a gallery: as many as a person looks at."""

MAX_PIXELS: Final = 64
"""Longest side of an image in pixels: larger ones belong into files, not into reports."""

MAX_CELLS: Final = 100
"""Most cells of a record that are shown; marked ones come first."""

MAX_NODES: Final = 60
"""Most nodes of a graph: more could not be followed with a finger."""

MAX_MARKS: Final = 200
"""Most marked ranges of a passage."""

_LARGEST: Final = 2**53
"""Integers beyond this have no canonical JSON form."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")

Pixel = int | tuple[int, int, int]
"""A grey level, or red, green and blue; each 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """Counts by row and column, such as the confident joint of given and likely labels.

    Cells whose row and column have the same name are agreement; all others are confusion.

    Raises:
        ValueError: ``counts`` does not have the shape of ``rows`` and ``columns``, or holds
            something other than finite numbers from 0.
    """

    kind: ClassVar[str] = "heatmap"

    title: str
    caption: str = ""
    row_axis: str
    """What a row is, for example ``given label``."""
    column_axis: str
    """What a column is, for example ``likely label``."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]
    """One tuple for each row, with one number for each column."""

    def __post_init__(self) -> None:
        _titled(self.title)
        if not self.rows or not self.columns:
            raise ValueError("a heatmap has at least one row and one column")
        if len(self.counts) != len(self.rows) or any(
            len(row) != len(self.columns) for row in self.counts
        ):
            raise ValueError("the counts of a heatmap have one row and column for each name")
        for row in self.counts:
            _check_counts(row)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, cut to the rows and columns with most confusion."""
        rows, columns = self._shown()
        return {
            **_head(self.kind, self.title, self.caption),
            "row_axis": _name(self.row_axis),
            "column_axis": _name(self.column_axis),
            "rows": [_name(self.rows[at]) for at in rows],
            "columns": [_name(self.columns[at]) for at in columns],
            "counts": [[_number(self.counts[i][j]) for j in columns] for i in rows],
            "agreement": [
                [i, j]
                for i, row in enumerate(rows)
                for j, column in enumerate(columns)
                if self.rows[row] == self.columns[column]
            ],
            "omitted_rows": len(self.rows) - len(rows),
            "omitted_columns": len(self.columns) - len(columns),
        }

    def _shown(self) -> tuple[list[int], list[int]]:
        """Return the indices of shown rows and columns; the same ones if names are the same."""
        by_row = [0.0] * len(self.rows)
        by_column = [0.0] * len(self.columns)
        for i, row in enumerate(self.counts):
            for j, count in enumerate(row):
                if self.rows[i] != self.columns[j]:
                    by_row[i] += count
                    by_column[j] += count
        if self.rows == self.columns:
            both = [sum(pair) for pair in zip(by_row, by_column, strict=True)]
            return _worst(both, MAX_SIDE), _worst(both, MAX_SIDE)
        return _worst(by_row, MAX_SIDE), _worst(by_column, MAX_SIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of a histogram."""

    name: str
    counts: tuple[float, ...]
    """One for each bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A vertical line in a histogram."""

    name: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often which values occur: the scores of a channel, and where it cuts.

    Raises:
        ValueError: edges that do not ascend or are not finite; no, too many or repeated
            series; counts that are not one for each bin, or not finite numbers from 0.
    """

    kind: ClassVar[str] = "histogram"

    title: str
    caption: str = ""
    axis: str
    """What is counted, for example ``log margin``."""
    edges: tuple[float, ...]
    """Borders of the bins, ascending: one more than there are bins."""
    series: tuple[Series, ...]
    thresholds: tuple[Threshold, ...] = ()
    logarithmic: bool = True
    """Whether heights are logarithms of counts, so that single rows can be seen."""

    def __post_init__(self) -> None:
        _titled(self.title)
        bins = len(self.edges) - 1
        if not 1 <= bins <= MAX_BINS:
            raise ValueError(f"a histogram has 1 to {MAX_BINS} bins, not {bins}")
        if not all(map(math.isfinite, self.edges)) or any(
            right <= left for left, right in pairwise(self.edges)
        ):
            raise ValueError("the edges of a histogram are finite and ascend")
        if not 1 <= len(self.series) <= MAX_SERIES:
            raise ValueError(f"a histogram has 1 to {MAX_SERIES} series, not {len(self.series)}")
        if len({one.name for one in self.series}) < len(self.series):
            raise ValueError("two series of a histogram have the same name")
        for one in self.series:
            if len(one.counts) != bins:
                raise ValueError("a series of a histogram has one count for each bin")
            _check_counts(one.counts)
        if len(self.thresholds) > MAX_THRESHOLDS:
            raise ValueError(f"a histogram has at most {MAX_THRESHOLDS} thresholds")
        if not all(math.isfinite(line.at) for line in self.thresholds):
            raise ValueError("the thresholds of a histogram are finite")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            **_head(self.kind, self.title, self.caption),
            "axis": _name(self.axis),
            "edges": [_number(edge) for edge in self.edges],
            "series": [
                {"name": _name(one.name), "counts": [_number(count) for count in one.counts]}
                for one in self.series
            ],
            "thresholds": [
                {"name": _name(line.name), "at": _number(line.at)} for line in self.thresholds
            ],
            "logarithmic": bool(self.logarithmic),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: what was counted, and what was to be expected."""

    name: str
    observed: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Observed and expected counts by name, such as suspect rows of each source.

    Raises:
        ValueError: no bars, or something other than finite numbers from 0.
    """

    kind: ClassVar[str] = "bars"

    title: str
    caption: str = ""
    axis: str
    """What has a name, for example ``source``."""
    bars: tuple[Bar, ...]

    def __post_init__(self) -> None:
        _titled(self.title)
        if not self.bars:
            raise ValueError("there are no bars")
        _check_counts(value for bar in self.bars for value in (bar.observed, bar.expected))

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, cut to the bars that exceed what was expected most."""
        shown = _worst([bar.observed - bar.expected for bar in self.bars], MAX_BARS)
        return {
            **_head(self.kind, self.title, self.caption),
            "axis": _name(self.axis),
            "bars": [
                {
                    "name": _name(self.bars[at].name),
                    "observed": _number(self.bars[at].observed),
                    "expected": _number(self.bars[at].expected),
                }
                for at in shown
            ],
            "omitted": len(self.bars) - len(shown),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline:
    """One column at a glance: what was counted in each bin, and what was to be expected.

    Raises:
        ValueError: no bins, or too many; not one label and one expected share for each;
            or something other than finite numbers from 0.
    """

    name: str
    """The column."""
    detail: str = ""
    """What it was held against."""
    observed: tuple[float, ...]
    """Counts, one for each bin."""
    expected: tuple[float, ...] = ()
    """Shares of a baseline, one for each bin; none where only a range is known."""
    labels: tuple[str, ...]
    """What each bin is. No data value that the reader does not know already."""
    outside: float = 0
    """How many values are in none of the bins."""
    state: str = "passed"
    """``passed``, ``failed`` or ``unknown``."""

    def __post_init__(self) -> None:
        bins = len(self.observed)
        if not 1 <= bins <= MAX_POINTS:
            raise ValueError(f"a sparkline has 1 to {MAX_POINTS} bins, not {bins}")
        if len(self.labels) != bins or len(self.expected) not in (0, bins):
            raise ValueError("a sparkline has one label and one expected share for each bin")
        if self.state not in _LINE_STATES:
            raise ValueError(f"a sparkline is one of {', '.join(_LINE_STATES)}")
        _check_counts((*self.observed, *self.expected, self.outside))

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "name": _name(self.name),
            "detail": _name(self.detail),
            "observed": [_number(one) for one in self.observed],
            "expected": [_number(one) for one in self.expected],
            "labels": [_name(one) for one in self.labels],
            "outside": _number(self.outside),
            "state": self.state,
        }


_LINE_STATES: Final = ("passed", "failed", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparklines:
    """Small distributions, one below the other: many columns on one page.

    Raises:
        ValueError: there are no lines.
    """

    kind: ClassVar[str] = "sparklines"

    title: str
    caption: str = ""
    lines: tuple[Sparkline, ...]

    def __post_init__(self) -> None:
        _titled(self.title)
        if not self.lines:
            raise ValueError("there are no sparklines")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, cut to lines that did not pass and those that come first."""
        shown = _worst([float(line.state != "passed") for line in self.lines], MAX_LINES)
        return {
            **_head(self.kind, self.title, self.caption),
            "lines": [self.lines[at].to_json() for at in shown],
            "omitted": len(self.lines) - len(shown),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A small picture.

    Raises:
        ValueError: not a rectangle of 1 to :data:`MAX_PIXELS` pixels a side, grey and
            coloured pixels mixed, or a level that is not an integer from 0 to 255.
    """

    kind: ClassVar[str] = "image"

    pixels: tuple[tuple[Pixel, ...], ...]
    """Rows from the top, each from the left: all grey levels, or all (red, green, blue)."""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.pixels}
        if len(widths) != 1 or not 1 <= min(widths) <= MAX_PIXELS:
            raise ValueError(f"an image is a rectangle of 1 to {MAX_PIXELS} pixels a side")
        if len(self.pixels) > MAX_PIXELS:
            raise ValueError(f"an image is a rectangle of 1 to {MAX_PIXELS} pixels a side")
        depths = {_depth(pixel) for row in self.pixels for pixel in row}
        if depths not in ({1}, {3}):
            raise ValueError("the pixels of an image are all grey levels or all three levels")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "pixels": [
                [list(map(int, p)) if isinstance(p, Sequence) else int(p) for p in row]
                for row in self.pixels
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row of a table, some of its cells marked.

    Raises:
        ValueError: no cells, or a mark that is on none of them.
    """

    kind: ClassVar[str] = "record"

    cells: tuple[tuple[str, Json], ...]
    """Column names and scalars."""
    marked: frozenset[int] = frozenset()
    """Indices into :attr:`cells`."""

    def __post_init__(self) -> None:
        if not self.cells:
            raise ValueError("a record has cells")
        if not all(0 <= at < len(self.cells) for at in self.marked):
            raise ValueError("a record marks cells that it does not have")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; of too many cells, marked ones are kept first."""
        shown = _worst([float(at in self.marked) for at in range(len(self.cells))], MAX_CELLS)
        return {
            "kind": self.kind,
            "cells": [
                {
                    "name": _name(self.cells[at][0]),
                    "value": _scalar(self.cells[at][1]),
                    "marked": at in self.marked,
                }
                for at in shown
            ],
            "omitted": len(self.cells) - len(shown),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text, some of its ranges marked.

    Raises:
        ValueError: marks that are empty, overlap, do not ascend, or are outside of the text.
    """

    kind: ClassVar[str] = "passage"

    text: str
    marks: tuple[tuple[int, int], ...] = ()
    """First character of each range, and the one after its last; counted in code points."""

    def __post_init__(self) -> None:
        end = 0
        for start, stop in self.marks:
            if not end <= start < stop <= len(self.text):
                raise ValueError("the marks of a passage ascend, and lie inside of its text")
            end = stop

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; a long text is cut around its first mark."""
        first, last = 0, len(self.text)
        if last > MAX_TEXT:
            begin = self.marks[0][0] - LEAD if self.marks else 0
            first = max(0, min(begin, last - MAX_TEXT))
            last = first + MAX_TEXT
        inside = [
            [max(start, first) - first, min(stop, last) - first]
            for start, stop in self.marks
            if start < last and stop > first
        ]
        return {
            "kind": self.kind,
            "text": _clean(self.text[first:last]),
            "marks": inside[:MAX_MARKS],
            "omitted_before": first,
            "omitted_after": len(self.text) - last,
            "omitted_marks": len(self.marks) - len(inside[:MAX_MARKS]),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One item of a gallery: a piece of data, and where it is.

    Raises:
        ValueError: the position is negative.
    """

    content: Image | Record | Passage
    caption: str = ""
    file: str = ""
    """Path of the file inside the subject; empty if the item is no row."""
    ordinal: int | None = None
    """Position of the row in that file, from 0."""

    def __post_init__(self) -> None:
        if self.ordinal is not None and not 0 <= self.ordinal < _LARGEST:
            raise ValueError("a row's position is a number from 0")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        value: dict[str, Json] = {
            "caption": _clean(_cut(self.caption, MAX_TEXT)),
            "content": self.content.to_json(),
        }
        if self.file:
            value["file"] = _name(self.file)
        if self.ordinal is not None:
            value["ordinal"] = _number(self.ordinal)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pieces of the data to look at, worst first. Only where the policy allows samples.

    Raises:
        ValueError: there are no items.
    """

    kind: ClassVar[str] = "gallery"

    title: str
    caption: str = ""
    items: tuple[Exhibit, ...]

    def __post_init__(self) -> None:
        _titled(self.title)
        if not self.items:
            raise ValueError("a gallery has items")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, cut to the first items."""
        shown = self.items[:MAX_EXHIBITS]
        return {
            **_head(self.kind, self.title, self.caption),
            "items": [item.to_json() for item in shown],
            "omitted": len(self.items) - len(shown),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A thing in a graph."""

    id: str
    """What arrows call it."""
    label: str
    detail: str = ""
    """A second, smaller line."""
    state: str = "sound"
    """``sound``, ``source`` (where the graph begins), ``faulty`` or ``unknown``."""

    def __post_init__(self) -> None:
        if self.state not in _STATES:
            raise ValueError(f"a node is one of {', '.join(_STATES)}")


_STATES: Final = ("sound", "source", "faulty", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """That one thing went into another."""

    start: str
    """Id of a node."""
    end: str
    sound: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What was made from what.

    Raises:
        ValueError: there are no nodes, two have one id, or an arrow leads to none.
    """

    kind: ClassVar[str] = "graph"

    title: str
    caption: str = ""
    nodes: tuple[Node, ...]
    """The ones to show first come first."""
    arrows: tuple[Arrow, ...]

    def __post_init__(self) -> None:
        _titled(self.title)
        ids = {node.id for node in self.nodes}
        if not ids or len(ids) != len(self.nodes):
            raise ValueError("a graph has nodes, each with an id of its own")
        if any(not {arrow.start, arrow.end} <= ids for arrow in self.arrows):
            raise ValueError("an arrow of a graph leads from node to node")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, cut to faulty nodes and those that come first."""
        weights = [float(node.state == "faulty") for node in self.nodes]
        kept = [self.nodes[at] for at in _worst(weights, MAX_NODES)]
        places = {node.id: at for at, node in enumerate(kept)}
        return {
            **_head(self.kind, self.title, self.caption),
            "nodes": [
                {
                    "label": _name(node.label),
                    "detail": _name(node.detail),
                    "state": node.state,
                }
                for node in kept
            ],
            "arrows": [
                [places[arrow.start], places[arrow.end], arrow.sound]
                for arrow in self.arrows
                if arrow.start in places and arrow.end in places
            ],
            "omitted": len(self.nodes) - len(kept),
        }


Figure = Heatmap | Histogram | Bars | Sparklines | Gallery | Graph
"""Anything that a report can show beside its findings and tables."""


def _titled(title: str) -> None:
    if not title:
        raise ValueError("a figure has a title")


def _head(kind: str, title: str, caption: str) -> dict[str, Json]:
    return {"kind": kind, "title": _name(title), "caption": _clean(_cut(caption, MAX_TEXT))}


def _check_counts(values: Iterable[float]) -> None:
    for value in values:
        if isinstance(value, bool) or not (0 <= value < _LARGEST):  # NaN compares as false
            raise ValueError("a count is a finite number from 0")


def _worst(weights: Sequence[float], most: int) -> list[int]:
    """Return the indices of the greatest weights in their given order, first ones on ties."""
    ranked = sorted(range(len(weights)), key=lambda at: -weights[at])
    return sorted(ranked[:most])


def _depth(pixel: Pixel) -> int:
    """Return 1 for a grey level, 3 for a colour, 0 for anything else."""
    levels = list(pixel) if isinstance(pixel, Sequence) else [pixel]
    try:
        fits = all(0 <= operator.index(level) <= 255 for level in levels)
    except TypeError:
        return 0
    return len(levels) if fits else 0


def _number(value: float) -> int | float:
    """Return a plain number: integers of any library as ``int``."""
    if hasattr(value, "__index__"):
        return int(operator.index(cast("SupportsIndex", value)))
    return float(value)


def _scalar(value: Json) -> Json:
    """Return a cell's value with a canonical JSON form, as text where it has none."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _clean(_cut(value, MAX_TEXT))
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return f"an integer of {value.bit_length()} bits"  # str() refuses the longest ones
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return _clean(_cut(str(value), MAX_TEXT))


def _name(text: str) -> str:
    return _clean(_cut(text, MAX_NAME))


def _cut(text: str, most: int) -> str:
    text = text[: most + 1]
    return text if len(text) <= most else text[: most - 1] + "…"


def _clean(text: str) -> str:
    """Replace lone surrogates, which no encoding of Unicode can write, one for one."""
    return _SURROGATES.sub("\ufffd", text)
