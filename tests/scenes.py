"""A small project to test on: a key, a policy, real data, and a real stage that is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd

from sluicegate.clearance import Cleared, open_cleared
from sluicegate.errors import StageError
from sluicegate.gate import GateOutcome, run_gate
from sluicegate.model import Check, Finding, Report, Severity
from sluicegate.receipts.keys import FileSigner, new_key_pair
from sluicegate.signing import default_key_path
from sluicegate.stages.base import Context, Option
from sluicegate.stages.registry import BUILT_IN
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import read_table

NAME = "flag-negatives"
TOTAL = "count-rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagNegatives:
    """Flag rows with a negative number; refuse data with a forbidden one."""

    name: ClassVar[str] = NAME
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = True

    column: Annotated[str, Option("column to look at")] = "value"
    forbidden: Annotated[int, Option("value that blocks everything")] = -999

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        table = read_table(snapshot)
        if self.column not in table.frame:
            raise StageError(f"no column {self.column}")
        values = table.frame[self.column]
        checks = []
        if values.isna().any():
            checks.append(Check.unknown("toy.sign", "missing values", severity=Severity.WARNING))
        elif (values < 0).any():
            rows = table.row_ids(values.index[values < 0])
            finding = Finding(message="negative", rows=rows)
            checks.append(Check.failed("toy.sign", [finding], severity=Severity.WARNING))
        else:
            checks.append(Check.passed("toy.sign", severity=Severity.WARNING))
        if (values == self.forbidden).any():
            checks.append(Check.failed("toy.forbidden", [Finding(message="forbidden")]))
        else:
            checks.append(Check.passed("toy.forbidden"))
        return Report(checks=tuple(checks), metrics={"rows": len(values)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRows:
    """Ask for at least so many rows: an answer that removing rows can change."""

    name: ClassVar[str] = TOTAL
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False

    at_least: Annotated[int, Option("fewest rows that will do")] = 1

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        rows = len(read_table(snapshot).frame)
        if rows < self.at_least:
            finding = Finding(message=f"expected at least {self.at_least} rows, found {rows}")
            return Report(checks=(Check.failed("toy.rows", [finding]),), metrics={"rows": rows})
        return Report(checks=(Check.passed("toy.rows"),), metrics={"rows": rows})


BUILT_IN[NAME] = "tests.scenes:FlagNegatives"  # type: ignore[index]
BUILT_IN[TOTAL] = "tests.scenes:CountRows"  # type: ignore[index]

POLICY = """\
version: 1
purposes:
  train:
    max_age: 7d
    stages:
      - flag-negatives
      - count-rows: {at_least: 3}
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: [flag-negatives, count-rows, quarantine]
"""


@dataclass
class Scene:
    """A project folder."""

    folder: Path
    stages: tuple[FlagNegatives | CountRows, ...] = field(
        default=(FlagNegatives(), CountRows(at_least=3))
    )

    def __post_init__(self) -> None:
        self.signer = new_key_pair(
            default_key_path(self.evidence), self.folder / "keys/gates.pub.pem"
        )
        self.write_policy(POLICY)

    @property
    def evidence(self) -> Path:
        return self.folder / ".sluicegate"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data.parquet"

    def write_policy(self, text: str) -> None:
        self.policy.write_text(text)

    def write_data(self, values: list[float], name: str = "data.parquet") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"value": values}).to_parquet(path, index=False)
        return path

    def other_key(self, name: str) -> FileSigner:
        return new_key_pair(self.folder / f"{name}.key.pem", self.folder / f"keys/{name}.pub.pem")

    def run(self, subject, *, signer: FileSigner | None = None) -> GateOutcome:
        """Pass a subject through all gates; return the last outcome."""
        for stage in self.stages:
            outcome = run_gate(stage, subject, self.policy, signer=signer or self.signer)
            subject = outcome.clear_or_raise()
        return outcome

    def open(self, subject, **options) -> Cleared:
        return open_cleared(subject, purpose="train", policy=self.policy, **options)
