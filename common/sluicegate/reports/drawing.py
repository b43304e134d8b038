"""Where the parts of a figure go: numbers and words for the template, never markup.

The template draws with these, escapes every word and shows hidden characters. Nothing here
is marked as safe: the only generated code is the picture of an image, whose every byte is
computed from numbers.
"""

from __future__ import annotations

import base64
import math
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sluicegate.canonical import Json
from sluicegate.reports.graph_layout import place_graph

__all__ = ["WIDTH", "draw", "visible"]

WIDTH: Final = 640
"""Width of a drawing in its own units, about a pixel each."""

_LEFT: Final = 56
"""Room for the numbers of the vertical axis."""
_RIGHT: Final = 12
_PLOT: Final = 220
"""Height of the plotted area."""
_LINE: Final = 18
"""Height of a line of text."""
_LETTER: Final = 7.0
"""About the width of a letter."""

_SPARK_WIDTH: Final = 200
_SPARK_HEIGHT: Final = 36
"""A sparkline is as high as two lines of text: its shape is seen at a glance, in a table."""

_JOINERS: Final = "\u200c\u200d"
"""Without a shape of their own, but part of how Persian, Indic words and emoji are written."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that show nothing, or move what stands beside them."""


def visible(text: str, *, strict: bool = False) -> str:
    """Return text in which hidden characters are written as their code, ``⟨U+202E⟩``.

    Escaping keeps text from becoming markup; it does not keep a direction override from
    turning around the words next to it.

    Args:
        text: anything.
        strict: whether joiners, tabs and line ends count as hidden, too.
    """
    if text.isascii() and text.isprintable():
        return text
    plain = "" if strict else _JOINERS + "\t\n"
    return "".join(
        f"⟨U+{ord(letter):04X}⟩"
        if letter not in plain and unicodedata.category(letter) in _HIDDEN
        else letter
        for letter in text
    )


def draw(figures: Iterable[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    """Yield what the template needs for each figure of a stored report.

    Args:
        figures: as :meth:`sluicegate.model.Report.to_json` writes them. A figure of a kind
            that is not known here comes back as ``unknown``, with its title.
    """
    for figure in figures:
        make = _KINDS.get(figure["kind"])
        yield {
            "title": figure["title"],
            "caption": figure["caption"],
            **(make(figure) if make else {"kind": "unknown"}),
        }


def _heatmap(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    """Shade cells by the logarithm of their count, agreement and confusion apart."""
    agreement = {(i, j) for i, j in figure["agreement"]}
    counts = figure["counts"]
    cells = {(i, j): n for i, row in enumerate(counts) for j, n in enumerate(row)}
    most = {
        agree: max((n for at, n in cells.items() if (at in agreement) is agree), default=0)
        for agree in (True, False)
    }
    return {
        "kind": "heatmap",
        "row_axis": figure["row_axis"],
        "column_axis": figure["column_axis"],
        "columns": figure["columns"],
        "rows": [
            {
                "name": name,
                "cells": [
                    {
                        "count": _told(cells[i, j]),
                        "agrees": (i, j) in agreement,
                        "shade": _shade(cells[i, j], most[(i, j) in agreement]),
                    }
                    for j in range(len(figure["columns"]))
                ],
            }
            for i, name in enumerate(figure["rows"])
        ],
        "notes": _left_out(
            (figure["omitted_rows"], "rows with less confusion"),
            (figure["omitted_columns"], "columns with less confusion"),
        ),
    }


def _shade(count: float, most: float) -> int:
    """Return the strength of a cell's colour in percent: any count is seen, none is full."""
    if count <= 0:
        return 0
    return round(10 + 60 * math.log1p(count) / math.log1p(most))


def _histogram(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    edges, series, lines = figure["edges"], figure["series"], figure["thresholds"]
    most = max(count for one in series for count in one["counts"])
    upright = _Scale.heights(most, logarithmic=figure["logarithmic"])
    across = _Scale.across(
        min([*edges, *(line["at"] for line in lines)]),
        max([*edges, *(line["at"] for line in lines)]),
    )
    top = _LINE * len(lines) + 6
    base = top + _PLOT
    return {
        "kind": "histogram",
        "axis": figure["axis"],
        "width": WIDTH,
        "height": base + 2 * _LINE + 10,
        "left": _LEFT,
        "right": WIDTH - _RIGHT,
        "base": base,
        "middle": (_LEFT + WIDTH - _RIGHT) / 2,
        "logarithmic": figure["logarithmic"],
        "series": [
            {
                "name": one["name"],
                "total": _told(sum(one["counts"])),
                "path": _outline(edges, one["counts"], across, upright, base),
            }
            for one in series
        ],
        "marks_x": [
            {"at": across(value), "text": _told(value), "base": base + _LINE}
            for value in across.marks
        ],
        "marks_y": [
            {"at": round(base - upright(value), 1), "text": _told(value)} for value in upright.marks
        ],
        "thresholds": [
            _threshold(line, across(line["at"]), row, base) for row, line in enumerate(lines)
        ],
        "table": [
            {
                "bin": f"{_told(low)} to {_told(high)}",
                "counts": [_told(one["counts"][at]) for one in series],
            }
            for at, (low, high) in enumerate(pairwise(edges))
            if any(one["counts"][at] for one in series)
        ],
        "notes": [],
    }


def _threshold(line: Mapping[str, Json], x: float, row: int, base: int) -> dict[str, Json]:
    """Place a line and its name, which stands on the side with room for it."""
    text = _shortened(f"{visible(line['name'])} {_told(line['at'])}", 48)
    room = x + 6 + len(text) * _LETTER < WIDTH
    return {
        "x": x,
        "y": 6 + row * _LINE,
        "base": base,
        "text": text,
        "text_x": round(x + (6 if room else -6), 1),
        "text_y": 12 + row * _LINE,
        "anchor": "start" if room else "end",
    }


def _outline(
    edges: Sequence[float],
    counts: Sequence[float],
    across: _Scale,
    upright: _Scale,
    base: int,
) -> str:
    """Return the path around a series, where it counts anything: numbers, and M, H, V, Z."""
    parts, open_at_left = [], False
    for at, count in enumerate(counts):
        if count and not open_at_left:
            parts.append(f"M{across(edges[at])} {base}")
        if count:
            parts.append(f"V{round(base - upright(count), 1)}H{across(edges[at + 1])}")
        elif open_at_left:
            parts.append(f"V{base}Z")
        open_at_left = bool(count)
    return "".join(parts) + (f"V{base}Z" if open_at_left else "")


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places, with the values to write on the axis."""

    marks: tuple[float, ...]
    place: Callable[[float], float]

    def __call__(self, value: float) -> float:
        return round(self.place(value), 1)

    @classmethod
    def across(cls, low: float, high: float) -> _Scale:
        """Return a horizontal scale; halves are taken first, since a difference may overflow."""
        room = WIDTH - _LEFT - _RIGHT
        half = (high / 2 - low / 2) or 1.0  # halves of the smallest numbers are equal

        def place(value: float) -> float:
            return _LEFT + room * ((value / 2 - low / 2) / half)

        return cls(_steps(low, high), place)

    @classmethod
    def heights(cls, most: float, *, logarithmic: bool) -> _Scale:
        """Return a vertical scale from 0 to the greatest count."""
        if not logarithmic:
            return cls(_steps(0.0, most or 1.0), lambda count: _PLOT * count / (most or 1.0))
        top = math.log1p(max(most, 1.0))
        powers = range(math.floor(math.log10(max(most, 1.0))) + 1)
        every = math.ceil(len(powers) / 6)
        marks = (0.0, *(10.0**power for power in powers if power % every == 0))
        return cls(marks, lambda count: _PLOT * math.log1p(count) / top)


def _steps(low: float, high: float) -> tuple[float, ...]:
    """Return four to ten round values between two different ones."""
    rough = (high / 2 - low / 2) / 4
    power = math.floor(math.log10(rough)) if rough > 0 else 0
    unit = 10.0 ** max(power, -307)
    step = next((factor * unit for factor in (1, 2, 5) if factor * unit >= rough), 10 * unit)
    first = math.ceil(low / step)
    values = ((first + count) * step for count in range(12))
    return tuple(value for value in values if low <= value <= high)


def _bars(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    bars = figure["bars"]
    most = max(max(bar["observed"], bar["expected"]) for bar in bars) or 1
    return {
        "kind": "bars",
        "axis": figure["axis"],
        "bars": [
            {
                "name": bar["name"],
                "observed": _told(bar["observed"]),
                "expected": _told(bar["expected"]),
                "length": round(100 * bar["observed"] / most, 2),
                "mark": round(100 * bar["expected"] / most, 2),
                "above": bar["observed"] > bar["expected"],
            }
            for bar in bars
        ],
        "notes": _left_out((figure["omitted"], "bars that exceed what is expected by less")),
    }


def _sparklines(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    return {
        "kind": "sparklines",
        "width": _SPARK_WIDTH,
        "height": _SPARK_HEIGHT,
        "lines": [_sparkline(line) for line in figure["lines"]],
        "notes": _left_out((figure["omitted"], "columns that passed")),
    }


def _sparkline(line: Mapping[str, Json]) -> Mapping[str, Json]:
    """Scale a line's shares to its own greatest one: shapes are compared, not columns."""
    total = sum(line["observed"]) or 1
    shares = [count / total for count in line["observed"]]
    most = max([*shares, *line["expected"]]) or 1
    step = (_SPARK_WIDTH - 2) / len(shares)
    room = _SPARK_HEIGHT - 4

    def across(border: int) -> float:
        return round(1 + border * step, 1)

    def up(share: float) -> float:
        return round(_SPARK_HEIGHT - 1 - room * share / most, 1)

    return {
        "name": line["name"],
        "detail": line["detail"],
        "state": line["state"],
        "total": _told(sum(line["observed"])),
        "outside": _told(line["outside"]),
        "bars": [
            {
                "x": across(at),
                "y": up(share),
                "width": round(max(step - 1, 0.5), 1),
                "height": round(_SPARK_HEIGHT - 1 - up(share), 1),
            }
            for at, share in enumerate(shares)
        ],
        "expected": "".join(
            f"{'L' if at else 'M'}{across(at)} {up(share)}H{across(at + 1)}"
            for at, share in enumerate(line["expected"])
        ),
        "table": [
            {
                "bin": label,
                "observed": _told(count),
                "share": f"{100 * share:.2f} %",
                "expected": f"{100 * line['expected'][at]:.2f} %" if line["expected"] else "",
            }
            for at, (label, count, share) in enumerate(
                zip(line["labels"], line["observed"], shares, strict=True)
            )
        ],
    }


def _gallery(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    return {
        "kind": "gallery",
        "exhibits": [
            {
                "caption": item["caption"],
                "row": _row(item),
                **_CONTENTS[item["content"]["kind"]](item["content"]),
            }
            for item in figure["items"]
        ],
        "notes": _left_out((figure["omitted"], "items")),
    }


def _row(item: Mapping[str, Json]) -> str:
    file, ordinal = item.get("file", ""), item.get("ordinal")
    return ", ".join([*([file] if file else []), *([] if ordinal is None else [f"row {ordinal}"])])


def _image(content: Mapping[str, Json]) -> Mapping[str, Json]:
    pixels = content["pixels"]
    return {
        "kind": "image",
        "width": len(pixels[0]),
        "height": len(pixels),
        "uri": "data:image/png;base64," + base64.b64encode(_png(pixels)).decode(),
    }


def _png(pixels: Sequence[Sequence[int | Sequence[int]]]) -> bytes:
    """Return a PNG of 8 bits a level. Source: W3C, Portable Network Graphics, 2003."""
    grey = isinstance(pixels[0][0], int)
    lines = b"".join(b"\0" + b"".join(map(_levels, row)) for row in pixels)
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 0 if grey else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _levels(pixel: int | Sequence[int]) -> bytes:
    return bytes([pixel] if isinstance(pixel, int) else pixel)


def _record(content: Mapping[str, Json]) -> Mapping[str, Json]:
    return {
        "kind": "record",
        "cells": [
            {
                "name": cell["name"],
                "value": visible(_cell(cell["value"]), strict=cell["marked"]),
                "marked": cell["marked"],
            }
            for cell in content["cells"]
        ],
        "omitted": content["omitted"],
    }


def _cell(value: Json) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else _told(value)


def _passage(content: Mapping[str, Json]) -> Mapping[str, Json]:
    text, parts, done = content["text"], [], 0
    for start, stop in content["marks"]:
        parts.append({"text": text[done:start], "marked": False})
        parts.append({"text": visible(text[start:stop], strict=True), "marked": True})
        done = stop
    parts.append({"text": text[done:], "marked": False})
    return {
        "kind": "passage",
        "parts": [part for part in parts if part["text"]],
        "before": content["omitted_before"],
        "after": content["omitted_after"],
        "marks": content["omitted_marks"],
    }


def _graph(figure: Mapping[str, Json]) -> Mapping[str, Json]:
    return {**place_graph(figure), "notes": _left_out((figure["omitted"], "nodes farther away"))}


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Json]], Mapping[str, Json]]]] = {
    "heatmap": _heatmap,
    "histogram": _histogram,
    "bars": _bars,
    "sparklines": _sparklines,
    "gallery": _gallery,
    "graph": _graph,
}

_CONTENTS: Final[Mapping[str, Callable[[Mapping[str, Json]], Mapping[str, Json]]]] = {
    "image": _image,
    "record": _record,
    "passage": _passage,
}


def _left_out(*parts: tuple[int, str]) -> list[str]:
    return [f"{count:,} {what} are left out." for count, what in parts if count]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _told(value: float) -> str:
    """Return a number for people: thousands apart, four digits of a fraction."""
    if float(value).is_integer() and abs(value) < 10**9:
        return f"{int(value):,}"
    return f"{value:.4g}"
