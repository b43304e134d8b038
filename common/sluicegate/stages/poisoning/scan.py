"""One run over one table: which channels can be asked, and in which order.

Channels get the rows in canonical order (:mod:`.data`), so that neither the order of rows
nor the files they lie in change what is found.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.figures import Figure
from sluicegate.model import Check, Report, Severity
from sluicegate.stages.base import Context
from sluicegate.storage.formats import Limits, format_of
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import pandas

    from sluicegate.stages.poisoning.channel import Channel
    from sluicegate.stages.poisoning.data import Dataset
    from sluicegate.stages.poisoning.labels import LabelProblems, Labels
    from sluicegate.stages.poisoning.stage import ScanForPoisoning

__all__ = ["scan_table"]

LABEL_SHARE: Final = 0.5
"""Share of the budget for wrong labels, by far the most frequent poison."""

OUTLIER_SHARE: Final = 0.3
"""Share for foreign rows. What remains is for the channels that flag by significance over
the whole table, and hardly ever flag an honest row."""


def scan_table(
    stage: ScanForPoisoning, snapshot: Snapshot, table: Table, context: Context
) -> Report:
    """Run all channels that the table and the options allow.

    Raises:
        SubjectError: the table has two columns of one name.
        ConfigurationError: columns that do not exist or cannot be examined.
    """
    scan = _Scan(stage, table, context)
    scan.split_view(snapshot)
    if stage.task == "classification":
        scan.classification()
    else:
        scan.other_task()
    return scan.report()


class _Scan:
    """One run over one table."""

    def __init__(self, stage: ScanForPoisoning, table: Table, context: Context) -> None:
        from sluicegate.stages.poisoning.columns import require_columns

        self._stage = stage
        self._table = table
        self._context = context
        self._checks: list[Check] = []
        self._metrics: dict[str, float | int] = {"rows": len(table.frame)}
        self._tables: dict[str, tuple[Mapping[str, Json], ...]] = {}
        self._figures: list[Figure] = []
        table.frame.columns = table.frame.columns.map(str)
        require_columns(table.frame, [stage.label], "label")
        for role, columns in stage.roles().items():
            require_columns(table.frame, columns, role)

    def report(self) -> Report:
        """Return everything that was found."""
        return Report(
            checks=tuple(self._checks),
            metrics=self._metrics,
            tables=self._tables,
            figures=tuple(self._figures),
        )

    # -- the whole table -----------------------------------------------------------------

    def split_view(self, snapshot: Snapshot) -> None:
        """Compare files and cells with published hashes, where there are any."""
        import numpy as np

        from sluicegate.stages.poisoning.split_view import (
            changed_cells,
            changed_files,
            read_published,
        )

        if self._stage.published is not None:
            published = read_published(self._context.file("published"))
            self._checks.append(changed_files(snapshot.manifest, published))
        if self._stage.content:
            frame = self._table.frame
            channel = changed_cells(
                frame[self._stage.content].tolist(), frame[self._stage.content_sha256].tolist()
            )
            self._say(channel, np.arange(len(frame)), ())

    # -- classes -------------------------------------------------------------------------

    def classification(self) -> None:
        """Run the channels for labels that are classes."""
        from sluicegate.stages.poisoning.data import without
        from sluicegate.stages.poisoning.labels import label_problems, read_labels
        from sluicegate.stages.poisoning.results import label_check

        stage = self._stage
        labels = read_labels(self._table.frame[stage.label], stage.label)
        problems = label_problems(labels, stage.expected_labels)
        if stage.expected_labels or problems:
            self._checks.append(label_check(self._table, problems))
        ready = self._ready_made(labels)
        data, trusted = self._arrange(labels, problems)
        p = self._labels(data, labels, ready, trusted)
        flooded = self._points(data, trusted)
        self._triggers(without(data, flooded))
        self._texts(data.positions, data.y, data.classes)
        self._embeddings(data)
        self._sources(data, p)

    def _arrange(
        self, labels: Labels, problems: LabelProblems
    ) -> tuple[Dataset, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None]:
        """Return the rows to examine, and the trusted ones with their class codes."""
        import numpy as np

        from sluicegate.stages.poisoning.columns import Features
        from sluicegate.stages.poisoning.data import arrange
        from sluicegate.stages.poisoning.labels import read_labels

        rows = len(self._table.frame)
        reference = self._reference()
        features, mined = self._features(reference)
        here = Features(
            features.names, features.constant, features.x[:rows], features.missing[:rows]
        )
        usable = np.ones(rows, dtype=bool)
        usable[problems.missing] = False
        usable[problems.unexpected] = False
        data = arrange(
            here,
            labels,
            usable,
            folds=self._stage.folds,
            seed=self._stage.seed,
            mined=mined,
        )
        self._metrics |= {
            "rows_examined": len(data.y),
            "features": len(features.names),
            "features_constant": len(features.constant),
            "classes": len(labels.classes),
            "classes_examined": len(data.classes),
        }
        if reference is None:
            return data, None
        theirs = read_labels(reference[self._stage.label], self._stage.label)
        code = {name: at for at, name in enumerate(data.classes)}
        known = [code.get(name, -1) for name in theirs.classes]
        y = np.array([*known, -1], dtype=np.int64)[theirs.codes]
        x = features.x[rows:][y >= 0]
        self._metrics["reference_rows"] = len(x)
        return data, (x, y[y >= 0])

    def _reference(self) -> pandas.DataFrame | None:
        """Read the trusted rows.

        Raises:
            ConfigurationError: they are not a table, or lack a column.
        """
        from sluicegate.stages.poisoning.columns import require_columns

        if self._stage.reference is None:
            return None
        name = str(self._stage.reference)
        form = format_of(name)
        if form is None:
            raise ConfigurationError(
                f"reference: {name!r} is not a tabular file",
                next_step="give a Parquet, CSV, TSV or JSON Lines file",
            )
        try:
            content = io.BytesIO(self._context.file("reference"))
            frame = form.read(content, name=name, limits=Limits())
        except SubjectError as error:
            raise ConfigurationError(f"reference: {error.what}") from error
        frame.columns = frame.columns.map(str)
        require_columns(frame, [self._stage.label, *self._numeric()], "reference")
        require_columns(frame, [*self._stage.text, *self._stage.embeddings], "reference")
        return frame

    def _numeric(self) -> list[str]:
        """Return the columns that may hold a trigger."""
        if self._stage.features:
            return list(self._stage.features)
        taken = {self._stage.label}.union(*self._stage.roles().values())
        return [name for name in self._table.frame.columns if name not in taken]

    def _features(self, reference: pandas.DataFrame | None) -> tuple[Any, int]:
        """Encode the features of all rows, then of the trusted ones.

        Returns:
            The features: those that may hold a trigger, then embeddings, then what
            summarises text; and how many there are of the first kind.
        """
        import numpy as np
        import pandas as pd

        from sluicegate.stages.poisoning.columns import Features, read_features
        from sluicegate.stages.poisoning.text.features import text_features

        frame = self._table.frame
        if reference is not None:
            shared = [name for name in frame.columns if name in reference.columns]
            frame = pd.concat([frame[shared], reference[shared]], ignore_index=True)
        own = read_features(frame, self._numeric())
        given = read_features(frame, list(self._stage.embeddings))
        parts, names = [own.x, given.x], [*own.names, *given.names]
        if self._stage.text:
            points = text_features(self._documents(frame), seed=self._stage.seed)
            parts.append(points)
            names += [f"text topic {at + 1}" for at in range(points.shape[1])]
        x = np.hstack(parts)
        missing = np.zeros(x.shape, dtype=bool)
        missing[:, : own.x.shape[1]] = own.missing
        constant = own.constant + given.constant
        return Features(tuple(names), constant, x, missing), own.x.shape[1]

    def _documents(self, frame: pandas.DataFrame) -> list[str]:
        """Return the text of each row; what is missing is empty."""
        from sluicegate.stages.poisoning.columns import texts_of

        columns = [texts_of(frame[name]) for name in self._stage.text]
        return ["\n".join(cells) for cells in zip(*columns, strict=True)]

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

    def _labels(
        self,
        data: Dataset,
        labels: Labels,
        ready: npt.NDArray[np.float64] | None,
        trusted: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None,
    ) -> npt.NDArray[np.float64] | None:
        """Run the label channel; return the predictions that it judged by, if it could."""
        from sluicegate.stages.poisoning.crossfit import consensus, log_margin
        from sluicegate.stages.poisoning.issues import (
            LABEL_ISSUES,
            label_issues,
            probability_fault,
        )
        from sluicegate.stages.poisoning.pictures import joint_heatmap
        from sluicegate.stages.poisoning.results import issue_table, small_check

        if data.small:
            self._checks.append(small_check(LABEL_ISSUES, data.small, self._stage.folds))
        obstacle = _obstacle(data, least=0 if ready is not None else 1)
        fault = probability_fault(ready) if ready is not None else ""
        if obstacle or fault:
            self._unknown(LABEL_ISSUES, fault or obstacle)
            return None
        first = calibration = None
        if ready is not None:
            names = labels.ordered(self._stage.expected_labels) or labels.classes
            p = ready[:, [names.index(name) for name in data.classes]][data.positions]
        else:
            others = trusted[0] if trusted else None
            fitted = consensus(
                data, seed=self._stage.seed, progress=self._context.progress, others=others
            )
            p, first = fitted.second, fitted.first
            calibration = log_margin(fitted.others, trusted[1]) if trusted else None
        channel = label_issues(
            p,
            data.y,
            data.classes,
            budget=LABEL_SHARE * self._stage.budget,
            first=first,
            reference=calibration,
        )
        self._tables["label_issues"] = issue_table(channel)
        self._figures.append(joint_heatmap(p, data.y, data.classes))
        self._say(channel, data.positions, data.classes, count="label_issue")
        return p

    def _triggers(self, data: Dataset) -> None:
        from sluicegate.stages.poisoning.results import (
            TRIGGER_ITEMS,
            trigger_channel,
            trigger_table,
        )
        from sluicegate.stages.poisoning.triggers import mine

        if not data.mined and (self._stage.text or self._stage.embeddings):
            return
        obstacle = _obstacle(data, least=2)
        if obstacle:
            self._unknown(TRIGGER_ITEMS, obstacle)
            return
        mining = mine(data, seed=self._stage.seed, progress=self._context.progress)
        self._tables["triggers"] = trigger_table(
            self._table, data, mining, samples=self._context.samples
        )
        channel = trigger_channel(self._table, data, mining)
        self._say(channel, data.positions, data.classes, count="trigger")

    def _points(
        self,
        data: Dataset,
        trusted: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None,
    ) -> npt.NDArray[np.int64]:
        """Look for floods and for rows that are like no class.

        Returns:
            The rows of floods: copies share all their values, and would all seem triggers.
        """
        import numpy as np

        from sluicegate.stages.poisoning.duplicates import duplicates
        from sluicegate.stages.poisoning.outliers import outliers

        flooded = np.empty(0, dtype=np.int64)
        if not len(data.y) or not data.x.shape[1]:
            return flooded
        if data.mined or self._stage.embeddings:
            channel = duplicates(data.x, data.y, classes=data.classes, copies=data.copies)
            self._say(channel, data.positions, data.classes)
            flooded = np.flatnonzero(np.isfinite(channel.p_values))
        channel = outliers(
            data,
            groups=data.group,
            seed=self._stage.seed,
            budget=OUTLIER_SHARE * self._stage.budget,
            reference=trusted,
        )
        self._say(channel, data.positions, data.classes)
        return flooded

    # -- text, embeddings, sources -------------------------------------------------------

    def _texts(
        self,
        positions: npt.NDArray[np.int64],
        y: npt.NDArray[np.int64] | None,
        classes: tuple[str, ...],
    ) -> None:
        import numpy as np

        from sluicegate.stages.poisoning.text.hidden import hidden_characters
        from sluicegate.stages.poisoning.text.neighbours import near_duplicates
        from sluicegate.stages.poisoning.text.ngrams import mine_texts
        from sluicegate.stages.poisoning.text.surprisal import surprisal

        if not self._stage.text:
            return
        frame, seed = self._table.frame, self._stage.seed
        every, whole = np.arange(len(frame)), self._documents(frame)
        self._say(hidden_characters(whole), every, classes)  # whatever the label
        self._say(surprisal(whole, seed=seed), every, classes)
        if not len(positions):
            return
        documents = [whole[position] for position in positions.tolist()]
        known = np.zeros(len(documents), dtype=np.int64) if y is None else y
        self._say(near_duplicates(documents, known, seed=seed), positions, classes)
        if y is not None:
            self._say(mine_texts(documents, y, max(len(classes), 1), seed), positions, classes)

    def _embeddings(self, data: Dataset) -> None:
        from sluicegate.stages.poisoning.representations import (
            activation_clustering,
            spectral_signatures,
        )

        if not self._stage.embeddings or not len(data.y):
            return
        at = [data.features.index(name) for name in self._stage.embeddings if name in data.features]
        points = data.x[:, at]
        for look in (spectral_signatures, activation_clustering):
            channel = look(points, data.y, classes=data.classes, seed=self._stage.seed)
            self._say(channel, data.positions, data.classes)

    def _sources(self, data: Dataset, p: npt.NDArray[np.float64] | None) -> None:
        import numpy as np
        import pandas as pd

        from sluicegate.stages.poisoning.columns import times_of
        from sluicegate.stages.poisoning.pictures import source_bars
        from sluicegate.stages.poisoning.sources import SOURCES, source_shift

        stage = self._stage
        if not stage.source and not stage.time:
            return
        if p is None:
            self._unknown(SOURCES, "labels could not be judged, and so no source can be")
            return
        rows = self._table.frame.iloc[data.positions]
        codes = np.full(len(rows), -1, dtype=np.int64)
        names: list[str] = []
        if stage.source:
            column = rows[stage.source]
            known = column.notna().to_numpy()
            found, values = pd.factorize(column[known].map(str), sort=True)
            codes[known], names = found, [str(value) for value in values]
        times = times_of(rows[stage.time], stage.time) if stage.time else None
        errors = (p.argmax(axis=1) != data.y).astype(np.float64)
        expected = 1.0 - p.max(axis=1) / p.sum(axis=1)
        channel = source_shift(
            errors,
            expected,
            data.y,
            codes,
            names,
            classes=data.classes,
            times=times,
            seed=stage.seed,
        )
        if names:
            self._figures.append(source_bars(codes, names, errors, expected))
        self._say(channel, data.positions, data.classes)

    # -- other tasks ---------------------------------------------------------------------

    def other_task(self) -> None:
        """Run the channels for labels that are no single class."""
        from sluicegate.stages.poisoning.results import unlabelled_check
        from sluicegate.stages.poisoning.tasks.run import examine_task

        outcome = examine_task(self._stage, self._table.frame, self._features)
        if len(outcome.unlabelled):
            self._checks.append(unlabelled_check(self._table, outcome.unlabelled))
        self._metrics["rows_examined"] = len(outcome.positions)
        self._say(outcome.channel, outcome.positions, outcome.classes)
        self._texts(outcome.positions, None, ())

    # -- saying --------------------------------------------------------------------------

    def _say(
        self,
        channel: Channel,
        positions: npt.NDArray[np.int64],
        classes: tuple[str, ...],
        *,
        count: str = "",
    ) -> None:
        """Report what a channel found, and tell the scores of its rows to whoever asked."""
        from sluicegate.stages.poisoning.pictures import gallery, score_histogram
        from sluicegate.stages.poisoning.results import channel_checks, row_scores

        samples = self._context.samples
        self._checks += channel_checks(
            self._table, channel, positions, classes=classes, samples=samples
        )
        area = channel.id.partition(".")[2]
        flagged = int(channel.flagged.sum())
        self._metrics |= (
            channel.metrics
            if count
            else {f"{area}_{name}": value for name, value in channel.metrics.items()}
        )
        name = count or area
        self._metrics[f"{name}_rows"] = flagged
        if len(positions):
            self._metrics[f"{name}_share"] = round(flagged / len(positions), 6)
        picture = score_histogram(channel)
        if picture is not None:
            self._figures.append(picture)
        if samples and flagged:
            self._figures.append(gallery(channel, positions, self._table, self._stage))
        if self._context.row_scores is not None:
            self._context.row_scores(
                row_scores(self._table, channel, positions, classes=classes, samples=samples)
            )

    def _unknown(self, check: str, reason: str) -> None:
        self._checks.append(Check.unknown(check, reason, severity=Severity.WARNING))


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
