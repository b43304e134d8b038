"""What looking at files costs: CPU of InspectFiles beside that of reading them with pyarrow.

Run: ``.venv/bin/python benchmarks/validation/files.py [MEGABYTES]``. Prints, for honest files
of a size, CPU seconds and megabytes a second of the stage (parent and child, without the
snapshot's hashing) and of a reader, and the ratio.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from sluicegate.stages.base import Context
from sluicegate.stages.files import InspectFiles
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri


def cpu() -> float:
    """Return CPU seconds of this process and of its ended children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def table(rows: int) -> pa.Table:
    """Return a table of numbers, words and sentences."""
    random = np.random.default_rng(7)
    return pa.table({
        "id": np.arange(rows),
        "x": random.normal(size=rows),
        "word": np.array(["alpha", "beta", "gamma"])[random.integers(0, 3, rows)],
        "note": [f'row {i}, "quoted"' for i in range(rows)],
    })  # fmt: skip


def files(megabytes: int) -> dict[str, bytes]:
    """Return honest files, each of about that size once it is expanded."""
    data = table(megabytes * 18_000)
    as_csv, as_parquet = io.BytesIO(), io.BytesIO()
    arrow_csv.write_csv(data, as_csv)
    parquet.write_table(data, as_parquet, compression="zstd")
    lines = "".join(json.dumps(row) + "\n" for row in data.slice(0, megabytes * 10_000).to_pylist())
    return {
        "a.csv": as_csv.getvalue(),
        "a.csv.gz": gzip.compress(as_csv.getvalue(), 6),
        "a.parquet": as_parquet.getvalue(),
        "a.jsonl": lines.encode(),
    }


def read(name: str, data: bytes) -> int:
    """Read a file as a pipeline would; return its rows."""
    source = io.BytesIO(gzip.decompress(data) if name.endswith(".gz") else data)
    if "parquet" in name:
        return int(parquet.read_table(source, use_threads=False).num_rows)
    if "json" in name:
        return sum(json.loads(line) is not None for line in source)
    options = arrow_csv.ReadOptions(use_threads=False)
    return int(arrow_csv.read_csv(source, read_options=options).num_rows)


def timed(act: Callable[[], object]) -> float:
    """Return the CPU seconds that something takes, the best of two."""
    taken = []
    for _ in range(2):
        before = cpu()
        act()
        taken.append(cpu() - before)
    return min(taken)


def main() -> None:
    """Measure and print."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(f"{'file':<12}{'MB':>8}{'stage s':>10}{'MB/s':>8}{'reader s':>10}{'ratio':>8}")
    for name, data in files(megabytes).items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            snapshot = take_snapshot(SubjectUri.parse(str(path)))
            report = InspectFiles().run(snapshot, Context())
            assert all(check.outcome == "passed" for check in report.checks)
            size = max(len(data), int(report.metrics["expanded_bytes"])) / 1e6
            stage = timed(lambda s=snapshot: InspectFiles().run(s, Context()))  # type: ignore[misc]
        reader = timed(lambda n=name, d=data: read(n, d))  # type: ignore[misc]
        print(
            f"{name:<12}{size:>8.1f}{stage:>10.2f}{size / stage:>8.0f}{reader:>10.2f}"
            f"{stage / reader:>8.1f}"
        )


if __name__ == "__main__":
    main()
