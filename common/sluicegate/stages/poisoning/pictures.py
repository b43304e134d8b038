"""Figures of the scan: what people look at first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.figures import (
    MAX_PIXELS,
    Bar,
    Bars,
    Exhibit,
    Gallery,
    Heatmap,
    Histogram,
    Image,
    Passage,
    Record,
    Series,
    Threshold,
)
from sluicegate.stages.poisoning.channel import Channel
from sluicegate.stages.poisoning.columns import texts_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.stage import ScanForPoisoning
    from sluicegate.storage.tables import Table

__all__ = ["gallery", "joint_heatmap", "score_histogram", "source_bars"]

BINS: Final = 40
"""Bins of a histogram of scores."""

SHOWN: Final = 24
"""Worst rows in a gallery: two screens."""

CELLS: Final = 30
"""Cells of a row that is no image and no text."""


def joint_heatmap(
    p: npt.NDArray[np.float64], y: npt.NDArray[np.int64], classes: Sequence[str]
) -> Heatmap:
    """Draw the confident joint: how many rows of each label are confidently of each class.

    Source: Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068, section 3.1.
    """
    from sluicegate.stages.poisoning.confident.learning import ConfidentJoint, Thresholds
    from sluicegate.stages.poisoning.confident.probabilities import array_shards
    from sluicegate.stages.poisoning.detector import examine

    normal = p / p.sum(axis=1, keepdims=True)
    shards = array_shards(y, normal)
    joint = examine(ConfidentJoint(examine(Thresholds(len(classes)), shards)), shards)
    return Heatmap(
        title="Confident joint",
        caption="Rows by given label and by the class that they confidently belong to. "
        "Beside the diagonal, labels are probably wrong.",
        row_axis="given label",
        column_axis="confident class",
        rows=tuple(classes),
        columns=tuple(classes),
        counts=tuple(
            tuple(float(count) for count in joint.row(label)) for label in range(len(classes))
        ),
    )


def score_histogram(channel: Channel) -> Histogram | None:
    """Draw a channel's scores, flagged rows apart; nothing if all scores are equal."""
    import numpy as np

    known = np.isfinite(channel.scores)
    scores = channel.scores[known]
    if not len(scores) or scores.min() == scores.max():
        return None
    flagged = channel.flagged[known]
    edges = np.linspace(scores.min(), scores.max(), BINS + 1)
    if not (np.diff(edges) > 0).all():
        return None
    series = [
        Series(name=name, counts=tuple(np.histogram(scores[rows], edges)[0].astype(float).tolist()))
        for name, rows in (("not flagged", ~flagged), ("flagged", flagged))
    ]
    lowest = (
        [Threshold(name="lowest flagged", at=float(scores[flagged].min()))] if flagged.any() else []
    )
    return Histogram(
        title=f"Scores of {channel.id}",
        axis="score, higher is worse",
        edges=tuple(edges.tolist()),
        series=tuple(series),
        thresholds=tuple(lowest),
    )


def source_bars(
    codes: npt.NDArray[np.int64],
    names: Sequence[str],
    errors: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
) -> Bars:
    """Draw contradicted labels of each source, beside how many the models expected."""
    import numpy as np

    known = codes >= 0
    seen = np.bincount(codes[known], errors[known], len(names))
    foreseen = np.bincount(codes[known], expected[known], len(names))
    return Bars(
        title="Contradicted labels by source",
        axis="rows",
        bars=tuple(
            Bar(
                name=name or "(empty)",
                observed=float(seen[at]),
                expected=round(float(foreseen[at]), 3),
            )
            for at, name in enumerate(names)
        ),
    )


def gallery(
    channel: Channel, positions: npt.NDArray[np.int64], table: Table, stage: ScanForPoisoning
) -> Gallery:
    """Show the worst flagged rows. Quotes data: only where the policy allows samples."""
    import numpy as np

    flagged = np.flatnonzero(channel.flagged)
    worst = flagged[np.argsort(-channel.scores[flagged], kind="stable")][:SHOWN]
    return Gallery(
        title=f"Worst rows of {channel.id}",
        caption=f"{len(worst)} of {len(flagged)} flagged rows, by score.",
        items=tuple(_exhibit(channel, int(row), positions, table, stage) for row in worst),
    )


def _exhibit(
    channel: Channel,
    row: int,
    positions: npt.NDArray[np.int64],
    table: Table,
    stage: ScanForPoisoning,
) -> Exhibit:
    position = int(positions[row])
    # As objects: a row of numbers of several types would turn into floats.
    cells = table.frame.iloc[[position]].astype(object).iloc[0]
    found = table.row_ids([position])[0]
    group = next(group for group in channel.groups if row in group.rows)
    return Exhibit(
        content=_image(cells, stage)
        or _passage(cells, stage, group.samples)
        or _record(cells, group.evidence.get("features")),
        caption=f"label {cells[stage.label]}, score {channel.scores[row]:.3g}: {group.message}",
        file=found.file,
        ordinal=found.ordinal,
    )


def _image(cells: Any, stage: ScanForPoisoning) -> Image | None:
    """Return a row as an image, if its features are one; grey levels are stretched."""
    import numpy as np

    if not stage.image or max(stage.image) > MAX_PIXELS:
        return None
    taken = {stage.label}.union(*stage.roles().values()) - set(stage.features)
    names = stage.features or [name for name in cells.index if name not in taken]
    height, width = stage.image
    if len(names) != height * width:
        return None
    try:
        values = cells[list(names)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        return None
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    span = values.max() - values.min()
    levels = np.zeros(len(values)) if span == 0 else (values - values.min()) * (255 / span)
    grid = np.round(levels).astype(int).reshape(height, width)
    return Image(pixels=tuple(tuple(int(level) for level in line) for line in grid))


def _passage(cells: Any, stage: ScanForPoisoning, samples: Any) -> Passage | None:
    """Return a row's text with the trigger marked, if there is text."""
    if not stage.text:
        return None
    text = "\n".join(texts_of(cells[list(stage.text)]))
    trigger = samples.get("ngram")
    if not isinstance(trigger, str) or not trigger.strip():
        return Passage(text=text)
    pattern = r"\W+".join(re.escape(word) for word in trigger.split())
    marks = tuple(found.span() for found in re.finditer(pattern, text, re.IGNORECASE))
    return Passage(text=text, marks=marks)


def _record(cells: Any, features: Any) -> Record:
    import math

    marked = set(features) if isinstance(features, list | tuple) else set()
    names = sorted(cells.index, key=lambda name: name not in marked)[:CELLS]
    values = []
    for name in names:
        value = cells[name]
        value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        plain = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        values.append((str(name), value if plain else str(value)))
    return Record(
        cells=tuple(values),
        marked=frozenset(at for at, name in enumerate(names) if name in marked),
    )
