"""What ``scan-for-poisoning`` finds, beside cleanlab's defaults, on the same poisoned tables.

For each table: how many of the poisoned rows were flagged, how many clean rows were flagged
wrongly, whether a trigger's columns were named exactly, and CPU seconds. cleanlab gets what
its documentation starts with: cross-validated logistic regression, default filter.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sluicegate.model import Report
from sluicegate.stages.base import Context
from sluicegate.stages.poisoning import ScanForPoisoning
from tests.core.poisoning_attacks import (
    BIG_PATCH,
    PATCH,
    Poisoned,
    bundled,
    digits,
    flip_labels,
    flip_pair,
    mixtures,
    plant_trigger,
    save,
)

CORNER = ("f0", "f1")


def cases() -> Iterator[tuple[str, Poisoned, tuple[str, ...]]]:
    """Yield a name, a poisoned table, and the columns of its trigger."""
    tables = {
        "digits": digits(),
        "breast cancer": bundled("breast_cancer"),
        "wine": bundled("wine"),
        "iris": bundled("iris"),
        "4 overlapping classes": mixtures(),
        "2 overlapping classes": mixtures(classes=2),
    }
    for name, frame in tables.items():
        yield f"{name}, clean", Poisoned(frame, frozenset()), ()
        for seed in (11, 12):
            yield f"{name}, 5 % flipped, seed {seed}", flip_labels(frame, 0.05, seed=seed), ()
        yield f"{name}, 1s labelled 0", flip_pair(frame, 1, 0, len(frame) // 25, seed=11), ()
        columns = PATCH if name == "digits" else CORNER
        for count in (10, 18, 40):
            value = 16.0 if name == "digits" else float(frame[columns[0]].max())
            planted = plant_trigger(frame, columns, value, 0, count, seed=11)
            yield f"{name}, trigger in {count} rows", planted, columns
    nine = plant_trigger(tables["digits"], BIG_PATCH, 16.0, 0, 40, seed=11)
    yield "digits, 3x3 trigger in 40 rows", nine, BIG_PATCH


def flagged(report: Report) -> set[int]:
    """Return the rows that any check flagged."""
    return {
        row.ordinal for check in report.checks for found in check.findings for row in found.rows
    }


def named(report: Report, columns: tuple[str, ...]) -> str:
    """Return whether exactly the trigger's columns are named."""
    found = {row["feature"] for row in report.tables.get("triggers", ())}
    if not columns:
        return "none" if not found else f"{len(found)} wrong"
    return "exactly" if found == set(columns) else f"{len(found & set(columns))}/{len(columns)}"


def with_cleanlab(table: Poisoned) -> set[int]:
    """Return what cleanlab's default filter flags."""
    from cleanlab.filter import find_label_issues

    x, y = table.frame.drop(columns="label").to_numpy(), table.frame["label"].to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    probabilities = cross_val_predict(model, x, y, cv=5, method="predict_proba")
    return set(np.flatnonzero(find_label_issues(y, probabilities, n_jobs=1)).tolist())


def rates(table: Poisoned, rows: set[int]) -> str:
    """Return found and wrongly flagged shares."""
    found = f"{table.recall(rows):6.1%}" if table.rows else "     -"
    return f"{found} {table.false_alarms(rows):7.2%}"


def main() -> int:
    """Measure and print."""
    warnings.simplefilter("ignore")
    stage = ScanForPoisoning(label="label")
    print(f"{'':<40} {'sluicegate':>14} {'':>9} {'cleanlab':>14}")
    print(f"{'':<40} {'found   wrong':>14} {'trigger':>9} {'found   wrong':>14} {'CPU s':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, table, columns) in enumerate(cases()):
            snapshot = save(table.frame, Path(folder) / f"{number}.parquet")
            started = time.process_time()
            report = stage.run(snapshot, Context())
            seconds = time.process_time() - started
            print(
                f"{name:<40} {rates(table, flagged(report))} {named(report, columns):>9} "
                f"{rates(table, with_cleanlab(table))} {seconds:6.1f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
