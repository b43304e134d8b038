"""What the Airflow adapter adds to the parsing of a DAG file.

Airflow imports every DAG file again and again, so an operator must be cheap to import. Each
round starts two fresh processes, in alternating order: one imports what every DAG file
imports anyway, the other also the adapter, and builds two stages. CPU seconds of the
process itself are compared, not wall time.

A busy machine disturbs even those. So the second process also reads its clock between the
two: the ratio within one process is the steadier one, and the one that decides.

    python benchmarks/import_cost.py [--rounds 9] [--at-most 1.05]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from statistics import median

MARK = "print('cpu', time.process_time())\n"
BASE = "import time\nimport airflow.sdk\n" + MARK
GATES = """
import sluicegate_airflow.operators
from sluicegate.stages.poisoning import ScanForPoisoning
from sluicegate.stages.validation import ValidateDataset

ScanForPoisoning(label="digit")
ValidateDataset(suite="suite.json")
"""
CONSUMERS = """
import sluicegate_airflow.groups
import sluicegate_airflow.decorators
"""


def cpu_seconds(code: str, home: str) -> list[float]:
    """Run ``code`` in a fresh interpreter; return the CPU seconds at each of its marks."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line[4:]) for line in result.stdout.splitlines() if line.startswith("cpu ")]


def main() -> int:
    """Measure, print, and fail if the adapter costs too much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--at-most", type=float, default=1.05)
    args = parser.parse_args()
    with_adapter = BASE + GATES + MARK + CONSUMERS + MARK
    across, within, consumers, extra = [], [], [], []
    with tempfile.TemporaryDirectory() as home:
        cpu_seconds(with_adapter, home)  # bytecode and disk caches
        for number in range(args.rounds):
            if number % 2:
                (alone,) = cpu_seconds(BASE, home)
            before, gates, both = cpu_seconds(with_adapter, home)
            if not number % 2:
                (alone,) = cpu_seconds(BASE, home)
            across.append(gates / alone)
            within.append(gates / before)
            consumers.append(both / before)
            extra.append(gates - before)
    print(f"{args.rounds} rounds; medians, fastest to slowest")
    for what, values in (
        ("ratio, separate processes", across),
        ("ratio, within one process", within),
        ("  and secure, @task.cleared", consumers),
        ("CPU s that gates add", extra),
    ):
        print(f"{what:<28} {median(values):.3f}  ({min(values):.3f} to {max(values):.3f})")
    return 0 if median(within) <= args.at_most else 1


if __name__ == "__main__":
    raise SystemExit(main())
