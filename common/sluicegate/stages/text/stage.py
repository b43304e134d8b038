"""The stage: rules and snapshot in, report out, in one pass over the rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sluicegate.errors import ConfigurationError, MissingExtraError, SubjectError
from sluicegate.model import Report
from sluicegate.stages.base import Context
from sluicegate.stages.text.cells import Texts, holds_text, texts_of
from sluicegate.stages.text.rendering import render
from sluicegate.stages.text.settings import Settings
from sluicegate.stages.text.tally import Judge, Tally
from sluicegate.storage.batches import Batch, read_batches
from sluicegate.storage.snapshot import Snapshot
from sluicegate.text import RULES, Mark, TextRule
from sluicegate.text.prompts.classifier import PromptClassifier

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ScanText"]

_NOT_QUOTED = ("secrets", "personal_data")
"""Rules whose findings are not quoted, whatever the policy allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanText(Settings):
    """Look for hidden characters, lookalikes, formulas, markup and secrets in texts.

    Every text of the named columns is looked at, also in lists and structs. Each rule asks
    each column one question.
    """

    name: ClassVar[str] = "scan-text"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = True
    check_ids: ClassVar[tuple[str, ...]] = tuple(
        f"text.{name}" for name in (*RULES, PromptClassifier.name)
    )

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Ask every question; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            ConfigurationError: the options make no sense; a column is not text, or none is.
            SubjectError: the snapshot is not a table, has no rows, or not such a column.
            MissingExtraError: polars, pyarrow or python-stdnum is missing and needed.
        """
        rules = (*self.build(), *self.second_opinion(context.files))
        scan = _Scan(rules, self.columns, samples=context.samples)
        with closing(_batches(snapshot, self.columns)) as batches:
            for batch in batches:
                scan.add(batch)
                context.progress("scanning text", scan.rows, 0)
        return scan.report(snapshot)


def _batches(snapshot: Snapshot, columns: tuple[str, ...]) -> Generator[Batch, None, None]:
    try:
        import polars  # noqa: F401  asked for before the data is read
    except ImportError as error:
        raise MissingExtraError("polars", "text", "scanning text") from error
    yield from read_batches(snapshot, columns=columns or None)


class _Scan:
    """One pass: what was seen so far."""

    def __init__(
        self, rules: tuple[TextRule, ...], columns: tuple[str, ...], *, samples: bool
    ) -> None:
        self.rows = 0
        self._named = columns
        self._judges = tuple(Judge(rule) for rule in rules)
        self._samples = samples
        self._tallies: dict[str, tuple[Tally, ...]] = {}
        for name in columns:
            self._tallies_of(name)

    def add(self, batch: Batch) -> None:
        """Take in one batch."""
        self.rows += batch.data.num_rows
        parts = [
            (name, texts)
            for at, name in enumerate(batch.data.schema.names)
            if self._is_text(name, batch.data.schema.field(at).type)
            for texts in texts_of(batch.data.column(at))
        ]
        for name in dict.fromkeys(name for name, _ in parts):
            self._tallies_of(name)
        for group in _by_length(parts):
            for (name, texts), suspects in zip(group, self._suspects(group), strict=True):
                self._judge(batch, name, texts, suspects)

    def report(self, snapshot: Snapshot) -> Report:
        """Return what was seen."""
        if not self.rows:
            raise SubjectError(f"{snapshot.uri} has no rows")
        if not self._tallies:
            raise ConfigurationError(
                f"{snapshot.uri} has no column with text", next_step="leave this stage out for it"
            )
        groups = self._tallies
        if not self._named:  # a column without any text was not asked about: unless none has any
            groups = {
                name: tallies for name, tallies in groups.items() if tallies[0].examined
            } or groups
        return render([one for group in groups.values() for one in group], self.rows, list(groups))

    def _is_text(self, name: str, kind: object) -> bool:
        import pyarrow as pa

        if holds_text(kind):
            return True
        if name in self._named and not pa.types.is_null(kind):
            raise ConfigurationError(
                f"column {name!r} is not text but {kind}",
                next_step="name columns that hold text, or none for all of them",
            )
        return False

    def _tallies_of(self, name: str) -> tuple[Tally, ...]:
        if name not in self._tallies:
            self._tallies[name] = tuple(
                Tally(
                    rule=judge.rule,
                    column=name,
                    samples=self._samples and judge.rule.name not in _NOT_QUOTED,
                )
                for judge in self._judges
            )
        return self._tallies[name]

    def _suspects(self, group: Sequence[tuple[str, Texts]]) -> list[list[pl.Series]]:
        """Return, for each part and rule, which texts must be judged: in one select."""
        import polars as pl

        frame = pl.DataFrame({str(at): texts.values for at, (_, texts) in enumerate(group)})
        found = frame.select(
            judge.rule.suspects(pl.col(str(at))).alias(f"{at} {number}")
            for at in range(len(group))
            for number, judge in enumerate(self._judges)
        )
        return [
            [found[f"{at} {number}"] for number in range(len(self._judges))]
            for at in range(len(group))
        ]

    def _judge(self, batch: Batch, name: str, texts: Texts, suspects: list[pl.Series]) -> None:
        examined = int((texts.values.str.len_bytes() > 0).sum())
        for tally, judge, chosen in zip(self._tallies[name], self._judges, suspects, strict=True):
            tally.examined += examined
            places = chosen.fill_null(value=False).arg_true()
            if len(places):
                tally.add(batch.path, batch.ordinal, _marked(texts, places, judge))


def _marked(
    texts: Texts, places: pl.Series, judge: Judge
) -> Iterator[tuple[int, str, tuple[Mark, ...]]]:
    """Yield row, text and marks of the suspects that something is wrong with."""
    for place, text in zip(places.to_list(), texts.values.gather(places).to_list(), strict=True):
        if marks := judge.marks(text):
            yield texts.row(place), text, marks


def _by_length(parts: list[tuple[str, Texts]]) -> Iterator[list[tuple[str, Texts]]]:
    """Yield parts that fit into one frame: all plain columns of a batch, then each nested one."""
    plain = [part for part in parts if part[1].rows is None]
    if plain:
        yield plain
    for part in parts:
        if part[1].rows is not None:
            yield [part]
