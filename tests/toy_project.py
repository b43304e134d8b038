"""A folder as ``sluicegate init`` leaves it, for the stages of :mod:`tests.toy_stages`."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sluicegate.clearance import Cleared
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import default_key_path
from tests import toy_stages
from tests.toy_stages import POISON, read_values

__all__ = ["BUILT_IN", "CLEAN", "NEGATIVE", "POISONED", "Project", "new_project", "values_of"]

CLEAN = (1, 2, 3, 4, 5, 6, 7, 8)
NEGATIVE = (1, 2, -3, 4, 5, 6, 7, -8)
POISONED = (1, 2, 3, POISON, 5, 6, 7, 8)
BUILT_IN = {
    "flag-negatives": "tests.toy_stages:FlagNegatives",
    "count-rows": "tests.toy_stages:CountRows",
}
"""What a test process adds to the registry of stages."""

_POLICY = """\
version: 1
evidence: evidence
purposes:
  train:
    max_age: 1d
    stages:
      - count-rows: {at_least: 3}
      - flag-negatives
  score:
    stages: [flag-negatives]
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: [count-rows, flag-negatives, quarantine]
"""
_ENTRY_POINTS = """\
[sluicegate.stages]
flag-negatives = toy_stages:FlagNegatives
count-rows = toy_stages:CountRows
"""


@dataclass(frozen=True)
class Project:
    """Policy, keys, evidence and data in one folder."""

    folder: Path

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    @property
    def key(self) -> Path:
        return default_key_path(self.folder / "evidence")

    @property
    def executions_log(self) -> Path:
        return self.folder / "executions"

    @property
    def distribution(self) -> Path:
        """A folder for ``PYTHONPATH``: the toy stages as a distribution that is installed."""
        folder = self.folder / "distribution"
        metadata = folder / "toy_stages-0.dist-info"
        if not metadata.exists():
            metadata.mkdir(parents=True)
            (metadata / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: toy-stages\nVersion: 0\n"
            )
            (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)
            shutil.copy(toy_stages.__file__, folder / "toy_stages.py")
        return folder

    def executions(self) -> Counter[str]:
        """Return how often each stage ran."""
        if not self.executions_log.exists():
            return Counter()
        lines = self.executions_log.read_text().splitlines()
        return Counter(line.partition(" ")[0] for line in lines)

    def data(
        self, name: str, values: tuple[int, ...] = CLEAN, *, faults: int | None = None
    ) -> Path:
        """Write a data set; the first ``faults`` runs on it will fail."""
        path = self.folder / "data" / name / "rows.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in ("value", *values)))
        if faults is not None:
            (path.parent / "faults").write_text(str(faults))
        return path


def new_project(folder: Path) -> Project:
    """Set up a folder with a policy and keys."""
    project = Project(folder)
    folder.mkdir(parents=True, exist_ok=True)
    project.policy.write_text(_POLICY)
    new_key_pair(project.key, folder / "keys" / "gates.pub.pem")
    return project


def values_of(dataset: Cleared) -> tuple[int, ...]:
    """Return what a consumer would train on."""
    return tuple(read_values(dataset.open()))
