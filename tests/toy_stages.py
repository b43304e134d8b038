"""Two small real stages, so that tests of the adapters need no heavy library.

They read CSV files from verified bytes like any stage. Two hooks let tests look inside:
every run appends its stage's name to the file that ``TOY_EXECUTIONS`` names, and a file
``faults`` beside the subject holds how many runs are still to fail.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, ClassVar

from sluicegate.errors import StageError
from sluicegate.model import Check, Finding, Report, RowId, Severity
from sluicegate.stages.base import Context, Option
from sluicegate.storage.snapshot import Snapshot

__all__ = ["POISON", "CountRows", "FlagNegatives", "read_values"]

POISON = -999
"""The value that blocks a data set."""


def read_values(source: IO[bytes], column: str = "value") -> list[int]:
    """Return one column of a CSV file as numbers."""
    with io.TextIOWrapper(source, encoding="utf-8", newline="") as text:
        return [int(row[column]) for row in csv.DictReader(text)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagNegatives:
    """Set rows with a negative value aside; refuse a data set that holds the poison."""

    name: ClassVar[str] = "flag-negatives"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = True

    column: Annotated[str, Option("column to look at")] = "value"
    below: Annotated[int, Option("smallest value that is good")] = 0
    token: Annotated[str | None, Option("as a stage with a credential would have")] = field(
        default=None, repr=False
    )

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        _begin(self.name, snapshot)
        rows, poisoned, negative = 0, [], []
        for file in snapshot.manifest.files:
            for ordinal, value in enumerate(read_values(snapshot.open(file.path), self.column)):
                rows += 1
                if value == POISON:
                    poisoned.append(RowId(file.path, ordinal))
                elif value < self.below:
                    negative.append(RowId(file.path, ordinal))
        return Report(
            checks=(
                _check("toy.poison", Severity.CRITICAL, poisoned),
                _check("toy.negatives", Severity.WARNING, negative),
            ),
            metrics={"rows": rows},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRows:
    """Refuse data sets that are too small."""

    name: ClassVar[str] = "count-rows"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False

    at_least: Annotated[int, Option("fewest rows that will do")]

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        _begin(self.name, snapshot)
        rows = sum(len(read_values(snapshot.open(one.path))) for one in snapshot.manifest.files)
        if rows >= self.at_least:
            return Report(checks=(Check.passed("toy.enough"),), metrics={"rows": rows})
        few = Finding(message=f"expected at least {self.at_least} rows, found {rows}")
        return Report(checks=(Check.failed("toy.enough", [few]),), metrics={"rows": rows})


def _check(id: str, severity: Severity, rows: list[RowId]) -> Check:
    if not rows:
        return Check.passed(id, severity=severity)
    finding = Finding(message=f"{len(rows)} rows", rows=tuple(rows))
    return Check.failed(id, [finding], severity=severity)


def _begin(stage: str, snapshot: Snapshot) -> None:
    if log := os.environ.get("TOY_EXECUTIONS"):
        with Path(log).open("a") as executions:
            executions.write(f"{stage} {snapshot.uri.path}\n")
    faults = snapshot.uri.local.parent / "faults"
    left = int(faults.read_text()) if faults.exists() else 0
    if left:
        faults.write_text(str(left - 1))
        raise StageError(f"{stage}: the tool broke", next_step="try again")
