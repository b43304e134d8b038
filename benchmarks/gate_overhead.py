"""What a gate costs besides its stage, and how fast a subject is hashed.

Prints the median time of a gate around a stage that does nothing, on one local file of
10 MB (target: below 50 ms), and the CPU time of taking a snapshot of a 256 MB file against
``hashlib.file_digest`` on the same file, in turn, as a ratio of speeds (target: 0.95).
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sluicegate.gate import run_gate
from sluicegate.model import Check, Report
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import default_key_path
from sluicegate.stages.base import Context
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri

RUNS = 31
PAIRS = 15
POLICY = """\
version: 1
keys:
  - {name: gates, file: gates.pub.pem, stages: ["*"]}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Examine nothing."""

    name: ClassVar[str] = "nothing"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = True

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Report one passed check."""
        del snapshot, context
        return Report(checks=(Check.passed("bench.nothing"),))


def gate_milliseconds(folder: Path) -> list[float]:
    """Return the time of each gate on a new 10 MB file, policy loading included."""
    (folder / "policy.yaml").write_text(POLICY)
    new_key_pair(default_key_path(folder / ".sluicegate"), folder / "gates.pub.pem")
    times = []
    for number in range(RUNS + 1):
        subject = folder / f"data-{number}.bin"
        subject.write_bytes(number.to_bytes(8, "big") * (10_000_000 // 8))
        started = time.perf_counter()
        run_gate(Nothing(), subject, folder / "policy.yaml")
        times.append((time.perf_counter() - started) * 1000)
        subject.unlink()
    return times[1:]  # the first one imports what a worker imports once


def hashing_ratio(folder: Path) -> list[float]:
    """Return, pair by pair, the speed of a snapshot relative to ``file_digest``."""
    path = folder / "large.bin"
    path.write_bytes(bytes(range(256)) * (1 << 20))
    subject = SubjectUri.parse(path)
    ratios = []
    for _ in range(PAIRS):
        started = time.process_time()
        with path.open("rb") as source:
            hashlib.file_digest(source, "sha256")
        plain = time.process_time() - started
        started = time.process_time()
        take_snapshot(subject)
        ratios.append(plain / (time.process_time() - started))
    return ratios


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        gates = gate_milliseconds(Path(name))
        ratios = hashing_ratio(Path(name))
    print(
        f"gate around a stage that does nothing, 10 MB file, {RUNS} runs: "
        f"median {statistics.median(gates):.1f} ms, max {max(gates):.1f} ms"
    )
    print(
        f"snapshot against hashlib.file_digest, 256 MB, CPU time, {PAIRS} pairs: "
        f"median speed ratio {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
