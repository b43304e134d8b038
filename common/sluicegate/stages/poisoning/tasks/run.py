"""Run the check of a task on the columns of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

from sluicegate.errors import ConfigurationError
from sluicegate.stages.poisoning.channel import Channel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas

    from sluicegate.stages.poisoning.stage import ScanForPoisoning

__all__ = ["Outcome", "examine_task"]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a task's check said, of which rows."""

    channel: Channel
    positions: npt.NDArray[np.int64]
    """Shape (rows,): where each examined row is in the table."""
    classes: tuple[str, ...]
    """Names of the classes, by code; none for numbers."""
    unlabelled: npt.NDArray[np.int64]
    """Positions of rows that have no label, ascending."""


def examine_task(
    stage: ScanForPoisoning,
    frame: pandas.DataFrame,
    features: Callable[[Any], tuple[Any, int]],
) -> Outcome:
    """Run the check for ``stage.task``.

    Args:
        stage: the options.
        frame: the table.
        features: encodes the features of all rows.

    Raises:
        ConfigurationError: columns that do not hold what the task needs.
    """
    ignored = [name for name in ("source", "time", "reference") if getattr(stage, name)]
    if ignored:
        raise ConfigurationError(
            f"{ignored[0]} has no use for {stage.task}",
            next_step="leave it out: only labels that are classes are compared by it",
        )
    if stage.task == "regression":
        return _regression(stage, frame, features)
    if stage.task == "multi-label":
        return _multi_label(stage, frame, features)
    return _tokens(stage, frame)


def _regression(
    stage: ScanForPoisoning,
    frame: pandas.DataFrame,
    features: Callable[[Any], tuple[Any, int]],
) -> Outcome:
    import numpy as np

    from sluicegate.stages.poisoning.tasks.regression import fit_predictions, regression_issues

    y = _numbers(frame[stage.label], stage.label)
    rows, unlabelled = np.flatnonzero(np.isfinite(y)), np.flatnonzero(~np.isfinite(y))
    if stage.probabilities:
        if len(stage.probabilities) != 1:
            raise ConfigurationError(
                f"probabilities names {len(stage.probabilities)} columns",
                next_step="name the one column with out-of-sample predictions of the target",
            )
        told = _numbers(frame[stage.probabilities[0]], stage.probabilities[0])[rows]
        return Outcome(regression_issues(y[rows], told), rows, (), unlabelled)
    encoded, _ = features(None)
    x, fold, order = _folded(encoded.x[rows], stage)
    rows = rows[order]
    predictions = fit_predictions(x, y[rows], fold, stage.seed)
    return Outcome(regression_issues(y[rows], predictions), rows, (), unlabelled)


def _multi_label(
    stage: ScanForPoisoning,
    frame: pandas.DataFrame,
    features: Callable[[Any], tuple[Any, int]],
) -> Outcome:
    import numpy as np

    from sluicegate.stages.poisoning.tasks.multilabel import fit_probabilities, multilabel_issues

    given = [_names(cell, stage.label) for cell in frame[stage.label].tolist()]
    classes = tuple(sorted(stage.expected_labels)) or tuple(
        sorted({name for names in given for name in names})
    )
    code = {name: at for at, name in enumerate(classes)}
    strange = sorted({name for names in given for name in names if name not in code})
    if strange:
        raise ConfigurationError(
            f"{len(strange)} labels are not among the expected ones",
            next_step="list all labels in expected_labels",
        )
    labels = np.zeros((len(frame), len(classes)), dtype=bool)
    for row, names in enumerate(given):
        labels[row, [code[name] for name in names]] = True
    rows, none = np.arange(len(frame)), np.empty(0, dtype=np.int64)
    if stage.probabilities:
        if len(stage.probabilities) != len(classes):
            raise ConfigurationError(
                f"{len(stage.probabilities)} probability columns for {len(classes)} labels",
                next_step="name one column for each label, in sorted order",
            )
        columns = [_numbers(frame[name], name) for name in stage.probabilities]
        channel = multilabel_issues(labels, np.stack(columns, axis=1))
        return Outcome(channel, rows, classes, none)
    encoded, _ = features(None)
    x, fold, order = _folded(encoded.x, stage)
    fitted = fit_probabilities(x, labels[order], fold, stage.seed)
    return Outcome(multilabel_issues(labels[order], fitted), order, classes, none)


def _tokens(stage: ScanForPoisoning, frame: pandas.DataFrame) -> Outcome:
    import numpy as np

    from sluicegate.stages.poisoning.tasks.tokens import token_issues

    column = stage.probabilities[0]
    try:
        labels = [[index(code) for code in cell] for cell in frame[stage.label].tolist()]
        predictions = [
            np.array([list(token) for token in cell], dtype=np.float64).reshape(len(cell), -1)
            for cell in frame[column].tolist()
        ]
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{stage.label!r} and {column!r} do not hold lists of codes and of probabilities",
            next_step="give for each sentence a list of class codes, and a list with one list of "
            "probabilities for each token",
        ) from error
    none = np.empty(0, dtype=np.int64)
    return Outcome(token_issues(labels, predictions), np.arange(len(frame)), (), none)


def _folded(
    x: npt.NDArray[np.float64], stage: ScanForPoisoning
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return features in canonical order, folds that keep copies together, and the order."""
    import numpy as np

    from sluicegate.stages.poisoning.columns import Features
    from sluicegate.stages.poisoning.data import row_keys
    from sluicegate.stages.poisoning.duplicates import duplicate_groups

    plain = Features((), (), x, np.zeros((len(x), 0), dtype=bool))
    keys = row_keys(plain, stage.seed)
    order = np.argsort(keys, kind="stable")
    groups = duplicate_groups(x[order])
    _, first = np.unique(groups, return_index=True)
    rank = np.argsort(np.argsort(keys[order][first], kind="stable"), kind="stable")
    return x[order], (rank % stage.folds)[groups], order


def _numbers(column: pandas.Series[Any], name: str) -> npt.NDArray[np.float64]:
    import numpy as np
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise ConfigurationError(
            f"column {name!r} holds no numbers", next_step="name a column of numbers"
        )
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _names(cell: Any, column: str) -> tuple[str, ...]:
    """Return the labels in a cell: a list, or text with semicolons between them."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return ()
    if isinstance(cell, str):
        return tuple(part.strip() for part in cell.split(";") if part.strip())
    try:
        return tuple(str(part) for part in cell)
    except TypeError as error:
        raise ConfigurationError(
            f"column {column!r} holds neither lists nor text",
            next_step="give lists of labels, or text with semicolons between them",
        ) from error
