"""The stage: read the table, run the channels, report."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, ClassVar

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError, MissingExtraError
from sluicegate.model import Check, Report, Severity
from sluicegate.stages.base import Context, Option
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import Table, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset
    from sluicegate.stages.poisoning.labels import LabelProblems, Labels

__all__ = ["ScanForPoisoning"]

_TEXTS = ("features", "exclude", "expected_labels", "probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanForPoisoning:
    """Find rows with wrong labels and rows with a backdoor's trigger in a labelled table.

    Asks up to three questions:

    * ``poisoning.labels_expected`` (critical): every row has a label, and with
      ``expected_labels`` the classes are exactly those. Asked if there are expected labels,
      or if labels are missing.
    * ``poisoning.label_issues`` (warning): labels agree with out-of-sample predictions.
    * ``poisoning.trigger_items`` (warning): no value, range or gap in a column decides the
      label against everything else in the row.

    Rows without an acceptable label are reported and not examined further. Classes with
    fewer different rows than folds are not examined, and the answer about them is unknown.

    The stage is hereditary: poison is a property of rows, and removing rows adds none. With
    ``expected_labels`` it is not: removing rows can empty a class.

    Not seen: clean-label attacks, triggers that blend into many columns, a trigger in data
    whose other columns say nothing about the label, and poison that holds most of a class.

    Raises:
        ConfigurationError: fields contradict each other, or are out of range.
    """

    name: ClassVar[str] = "scan-for-poisoning"
    version: ClassVar[str] = "1"
    check_ids: ClassVar[tuple[str, ...]] = (
        "poisoning.labels_expected",
        "poisoning.label_issues",
        "poisoning.trigger_items",
    )

    label: Annotated[str, Option("column with the label of each row")]
    features: Annotated[
        tuple[str, ...], Option("columns to examine; empty for all but the label")
    ] = ()
    exclude: Annotated[tuple[str, ...], Option("columns not to examine")] = ()
    folds: Annotated[int, Option("folds of cross-validation, at least 2")] = 5
    seed: Annotated[int, Option("seed of folds, models and simulation")] = 0
    expected_labels: Annotated[
        tuple[str, ...], Option("labels there must be, and no others; empty for any")
    ] = ()
    probabilities: Annotated[
        tuple[str, ...],
        Option(
            "columns with out-of-sample class probabilities, in order of sorted labels; "
            "empty to fit models"
        ),
    ] = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name in _TEXTS:
                _check_names(item.name, getattr(self, item.name))
        if not self.label:
            raise ConfigurationError("label is empty", next_step="name the label column")
        if self.folds < 2:
            raise ConfigurationError(
                f"folds is {self.folds}", next_step="use at least 2, by default 5"
            )
        if self.seed < 0:
            raise ConfigurationError(f"seed is {self.seed}", next_step="use 0 or more")
        self._check_roles()

    def _check_roles(self) -> None:
        for option in ("features", "exclude", "probabilities"):
            if self.label in getattr(self, option):
                raise ConfigurationError(
                    f"{option} names the label column {self.label!r}",
                    next_step=f"take it out of {option}: the label is never a feature",
                )
        both = set(self.features) & {*self.exclude, *self.probabilities}
        if both:
            raise ConfigurationError(
                f"features names columns that are no features: {', '.join(sorted(both))}",
                next_step="a column is listed in features, exclude or probabilities, once",
            )
        if len(self.probabilities) == 1:
            raise ConfigurationError(
                "probabilities names one column", next_step="name one column for each class"
            )
        expected = len(self.expected_labels)
        if self.probabilities and expected and len(self.probabilities) != expected:
            raise ConfigurationError(
                f"{len(self.probabilities)} probability columns for {expected} expected labels",
                next_step="name one column for each expected label, in sorted order",
            )

    @property
    def hereditary(self) -> bool:
        """Whether a verdict on a data set speaks for its subsets; see the class."""
        return not self.expected_labels

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Scan all rows of the snapshot.

        Raises:
            SubjectError: the subject is not a table with distinct column names.
            ConfigurationError: columns that do not exist or cannot be examined.
            MissingExtraError: cleanlab or scikit-learn is not installed.
        """
        try:
            import cleanlab.filter  # noqa: F401
            import sklearn.discriminant_analysis  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                error.name or "cleanlab", "poisoning", "scanning for poisoning"
            ) from error
        from sluicegate.stages.poisoning.crossfit import reproducible

        table = read_table(snapshot)
        with reproducible():
            return _Scan(self, table, context).report()


class _Scan:
    """One run over one table."""

    def __init__(self, stage: ScanForPoisoning, table: Table, context: Context) -> None:
        self._stage = stage
        self._table = table
        self._context = context
        self._checks: list[Check] = []
        self._metrics: dict[str, float | int] = {"rows": len(table.frame)}
        self._tables: dict[str, tuple[Mapping[str, Json], ...]] = {}

    def report(self) -> Report:
        """Run all channels."""
        from sluicegate.stages.poisoning.labels import label_problems
        from sluicegate.stages.poisoning.results import label_check

        labels = self._read_labels()
        problems = label_problems(labels, self._stage.expected_labels)
        if self._stage.expected_labels or problems:
            self._checks.append(label_check(self._table, problems))
        probabilities = self._ready_made(labels)
        data = self._arrange(labels, problems)
        self._scan_labels(data, labels, probabilities)
        self._scan_triggers(data)
        return Report(checks=tuple(self._checks), metrics=self._metrics, tables=self._tables)

    def _read_labels(self) -> Labels:
        from sluicegate.stages.poisoning.columns import require_columns
        from sluicegate.stages.poisoning.labels import read_labels

        frame, stage = self._table.frame, self._stage
        frame.columns = frame.columns.map(str)
        require_columns(frame, [stage.label], "label")
        for option in ("features", "exclude", "probabilities"):
            require_columns(frame, getattr(stage, option), option)
        return read_labels(frame[stage.label], stage.label)

    def _arrange(self, labels: Labels, problems: LabelProblems) -> Dataset:
        import numpy as np

        from sluicegate.stages.poisoning.columns import read_features
        from sluicegate.stages.poisoning.data import arrange

        stage, frame = self._stage, self._table.frame
        left_out = {stage.label, *stage.exclude, *stage.probabilities}
        names = stage.features or [name for name in frame.columns if name not in left_out]
        features = read_features(frame, list(names))
        usable = np.ones(len(frame), dtype=bool)
        usable[problems.missing] = False
        usable[problems.unexpected] = False
        data = arrange(features, labels, usable, folds=stage.folds, seed=stage.seed)
        self._metrics |= {
            "rows_examined": len(data.y),
            "features": len(features.names),
            "features_constant": len(features.constant),
            "classes": len(labels.classes),
            "classes_examined": len(data.classes),
        }
        return data

    def _ready_made(self, labels: Labels) -> npt.NDArray[np.float64] | None:
        """Return the ready-made probabilities of all rows, one column for each class."""
        import numpy as np
        import pandas as pd

        names = list(self._stage.probabilities)
        if not names:
            return None
        classes = self._stage.expected_labels or labels.classes
        if len(classes) != len(names):
            raise ConfigurationError(
                f"{len(names)} probability columns for {len(classes)} classes",
                next_step="name one column for each label, in sorted order; with classes that "
                "may be absent, list all in expected_labels",
            )
        columns = self._table.frame[names]
        if not all(pd.api.types.is_numeric_dtype(kind) for kind in columns.dtypes):
            raise ConfigurationError(
                "probability columns hold values that are not numbers",
                next_step="name columns of numbers between 0 and 1",
            )
        return np.asarray(columns.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)

    def _scan_labels(
        self, data: Dataset, labels: Labels, ready: npt.NDArray[np.float64] | None
    ) -> None:
        from sluicegate.stages.poisoning.crossfit import consensus
        from sluicegate.stages.poisoning.issues import find_label_issues, probability_fault
        from sluicegate.stages.poisoning.results import (
            LABEL_ISSUES,
            fault_reason,
            issue_check,
            issue_table,
            small_check,
        )

        if data.small:
            self._checks.append(small_check(data.small, self._stage.folds))
        obstacle = _obstacle(data, least=0 if ready is not None else 1)
        fault = probability_fault(ready) if ready is not None else None
        if fault is not None:
            obstacle = fault_reason(fault, len(self._table.frame))
        if obstacle:
            self._unknown(LABEL_ISSUES, obstacle)
            return
        if ready is not None:
            names = labels.ordered(self._stage.expected_labels) or labels.classes
            chosen = ready[:, [names.index(name) for name in data.classes]][data.positions]
        else:
            chosen = consensus(data, seed=self._stage.seed, progress=self._context.progress)
        issues = find_label_issues(chosen, data.y)
        self._checks.append(issue_check(self._table, data, issues))
        self._tables["label_issues"] = issue_table(data, issues)
        self._metrics["accuracy"] = round(issues.accuracy, 6)
        self._count("label_issue", len(issues.rows), len(data.y))

    def _scan_triggers(self, data: Dataset) -> None:
        from sluicegate.stages.poisoning.results import (
            TRIGGER_ITEMS,
            trigger_checks,
            trigger_table,
        )
        from sluicegate.stages.poisoning.triggers import mine

        obstacle = _obstacle(data, least=2)
        if obstacle:
            self._unknown(TRIGGER_ITEMS, obstacle)
            return
        samples = self._context.samples
        mining = mine(data, seed=self._stage.seed, progress=self._context.progress)
        self._checks += trigger_checks(self._table, data, mining, samples=samples)
        self._tables["triggers"] = trigger_table(self._table, data, mining, samples=samples)
        rows = {int(row) for trigger in mining.triggers for row in trigger.rows}
        self._count("trigger", len(rows), len(data.y))
        self._metrics |= {
            "triggers": len(mining.triggers),
            "trigger_candidates_unconfirmed": mining.unconfirmed,
            "items_examined": mining.items,
            "z_min": round(mining.z_min, 6),
        }

    def _unknown(self, check: str, reason: str) -> None:
        self._checks.append(Check.unknown(check, reason, severity=Severity.WARNING))

    def _count(self, what: str, rows: int, total: int) -> None:
        self._metrics[f"{what}_rows"] = rows
        self._metrics[f"{what}_share"] = round(rows / total, 6)


def _check_names(option: str, names: object) -> None:
    """Refuse a bare string, which would be read letter by letter, and repeated names."""
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"{option} is not a tuple of text", next_step=f'write {option}=("a", "b")'
        )
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{option} names something twice", next_step="name it once")


def _obstacle(data: Dataset, *, least: int) -> str:
    """Return why a channel cannot work, or nothing.

    Args:
        data: the rows.
        least: how many varying columns the channel needs.
    """
    if len(data.classes) < 2:
        return (
            f"{len(data.classes)} classes have enough rows to be examined: labels can only be "
            "judged where there are at least 2"
        )
    if len(data.features) < least:
        return (
            f"{len(data.features)} feature columns vary, and this needs {least}: "
            "nothing in the rows could confirm or contradict a label"
        )
    return ""
