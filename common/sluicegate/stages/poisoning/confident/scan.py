"""Scan labels against ready-made probabilities: flags, scores and suggestions by row.

Two rules: ``adaptive``, the default, described in ``rule``; and ``confident-learning``, the
rows that cleanlab's default filter returns, exactly and in bounded memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.poisoning.confident.arithmetic import TINY, bins_of
from sluicegate.stages.poisoning.confident.files import Samples
from sluicegate.stages.poisoning.confident.learning import (
    ClassThresholds,
    ConfidentJoint,
    Thresholds,
)
from sluicegate.stages.poisoning.confident.probabilities import Batch, array_shards
from sluicegate.stages.poisoning.confident.pruning import prune
from sluicegate.stages.poisoning.confident.rule import Cut, Margins
from sluicegate.stages.poisoning.detector import Shard, examine
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.local import write_atomically

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["RULES", "LabelScan", "Scored", "find_label_issues", "scan_labels", "score"]

RULES: Final = ("adaptive", "confident-learning")


@dataclass(frozen=True, slots=True)
class LabelScan:
    """What a scan found, in numbers."""

    rows: int
    classes: int
    flagged: int
    rule: str
    cut: Cut | None
    """Where the adaptive rule cut; ``None`` for another rule."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores of consecutive rows."""

    score: npt.NDArray[np.float64]
    """Shape (rows,): ln of how many times likelier the best other class is than the label;
    positive where another class is likelier. Within ±20.8."""
    suggested: npt.NDArray[np.int64]
    """Shape (rows,): the likeliest class; the label itself where none is likelier."""
    bins: npt.NDArray[np.int64]
    """Shape (rows,): the bin of the margin, or -1 where no class is likelier."""


def score(batch: Batch) -> Scored:
    """Score each row of a batch by its log-margin."""
    import numpy as np

    at = np.arange(len(batch.y))
    others = batch.p.copy()
    others[at, batch.y] = -1
    rival = others.argmax(axis=1)
    best = np.maximum(batch.p[at, rival].astype(np.float64), TINY)
    own = np.maximum(batch.p[at, batch.y].astype(np.float64), TINY)
    lost = own < best
    bins = np.full(len(batch.y), -1, dtype=np.int64)
    bins[lost] = bins_of(best[lost] / own[lost])
    return Scored(np.log(best) - np.log(own), np.where(lost, rival, batch.y), bins)


def find_label_issues(
    labels: npt.NDArray[Any],
    pred_probs: npt.NDArray[Any],
    *,
    rule: str = "adaptive",
    shards: int = 1,
    executor: Executor | None = None,
    folder: Path | None = None,
) -> npt.NDArray[np.bool_]:
    """Return which labels are probably wrong.

    Args:
        labels: shape (rows,): class codes.
        pred_probs: shape (rows, classes): out-of-sample probabilities; read in batches and
            never copied whole, so a mapped file will do.
        rule: one of :data:`RULES`.
        shards: how many pieces to scan, for an executor.
        executor: where to scan; ``None`` for here.
        folder: for candidates that are too many for memory (``confident-learning`` only), on a
            file system that all workers of the executor share; ``None`` for a temporary one.

    Returns:
        Shape (rows,).

    Raises:
        SubjectError: shapes do not fit, or probabilities are none.
        ConfigurationError: there is no such rule.
    """
    import numpy as np

    pieces = array_shards(labels, pred_probs, shards=shards)
    classes = pred_probs.shape[1]
    _check_rule(rule)
    thresholds = examine(Thresholds(classes), pieces, executor=executor)
    thresholds.require_sound()
    mask = np.zeros(len(labels), dtype=bool)
    if rule == "confident-learning":
        with tempfile.TemporaryDirectory(prefix="sluicegate-", dir=folder) as place:
            mask[_confident(thresholds, pieces, Path(place), executor, no_progress)] = True
        return mask
    cut = examine(Margins(), pieces, executor=executor) if classes > 1 else None
    if cut is not None:
        for piece in pieces:
            for batch in piece.batches():
                scored = score(batch)
                mask[batch.start : batch.start + len(batch.y)] = scored.bins >= cut.bin
    return mask


def scan_labels(
    samples: Samples,
    out: Path,
    *,
    rule: str = "adaptive",
    shards: int = 1,
    executor: Executor | None = None,
    progress: Progress = no_progress,
) -> LabelScan:
    """Scan labels in files, and write one line for each row.

    The output is Parquet: ``row`` (int64, from 0), ``flagged`` (bool), ``score`` (float64,
    the log-margin: higher is worse), ``suggested_label`` (int64). It appears under its name
    only when it is complete. Several models are averaged.

    Args:
        samples: labels and probabilities.
        out: the file to write.
        rule: one of :data:`RULES`.
        shards: how many pieces to scan, for an executor.
        executor: where to scan; ``None`` for here.
        progress: told about each shard and each batch written.

    Raises:
        SubjectError: files that cannot be read, labels that are no class, or probabilities
            that are none.
        ConfigurationError: there is no such rule.
    """
    import numpy as np

    _check_rule(rule)
    for at in range(len(samples.models)):
        alone = samples.of_model(at).shards(shards)
        thresholds = examine(
            Thresholds(samples.classes), alone, executor=executor, progress=progress, what="reading"
        )
        thresholds.require_sound()
    pieces = samples.shards(shards)
    flagged = np.empty(0, dtype=np.int64)
    cut = None
    if rule == "confident-learning":
        if len(samples.models) > 1:
            thresholds = examine(Thresholds(samples.classes), pieces, executor=executor)
        with tempfile.TemporaryDirectory(prefix="sluicegate-") as folder:
            flagged = _confident(thresholds, pieces, Path(folder), executor, progress)
    else:
        cut = examine(Margins(), pieces, executor=executor, progress=progress, what="comparing")
    count = _write(samples, out, flagged, cut, progress)
    return LabelScan(samples.rows, samples.classes, count, rule, cut)


def _check_rule(rule: str) -> None:
    if rule not in RULES:
        raise ConfigurationError(
            f"there is no rule {rule!r}", next_step=f"use one of {', '.join(RULES)}"
        )


def _confident(
    thresholds: ClassThresholds,
    pieces: Sequence[Shard[Batch]],
    folder: Path,
    executor: Executor | None,
    progress: Progress,
) -> npt.NDArray[np.int64]:
    joint = examine(
        ConfidentJoint(thresholds, folder),
        pieces,
        executor=executor,
        progress=progress,
        what="comparing",
    )
    return prune(joint, pieces, executor=executor, progress=progress)


def _write(
    samples: Samples,
    out: Path,
    flagged: npt.NDArray[np.int64],
    cut: Cut | None,
    progress: Progress,
) -> int:
    """Write one line for each row; return how many are flagged."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("row", pa.int64()),
            ("flagged", pa.bool_()),
            ("score", pa.float64()),
            ("suggested_label", pa.int64()),
        ]
    )
    count = 0
    with tempfile.TemporaryFile(prefix="sluicegate-") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as to:
            for batch in samples.shards()[0].batches():
                scored = score(batch)
                stop = batch.start + len(batch.y)
                rows = np.arange(batch.start, stop)
                if cut is not None:
                    mask = scored.bins >= cut.bin
                else:
                    mask = _mask(flagged, batch.start, stop)
                count += int(mask.sum())
                columns = [rows, mask, scored.score, scored.suggested]
                to.write_batch(pa.record_batch([pa.array(c) for c in columns], schema=schema))
                progress("writing", stop, samples.rows)
        file.seek(0)
        write_atomically(out, file)
    return count


def _mask(rows: npt.NDArray[np.int64], start: int, stop: int) -> npt.NDArray[np.bool_]:
    """Return which of the rows from ``start`` to ``stop`` are listed; the list ascends."""
    import numpy as np

    mask = np.zeros(stop - start, dtype=bool)
    first, last = np.searchsorted(rows, [start, stop])
    mask[rows[first:last] - start] = True
    return mask
