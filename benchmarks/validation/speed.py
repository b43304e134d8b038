"""The one-scan engine beside Great Expectations on pandas: CPU time and memory.

Twelve expectations (columns, rows, not null, unique, two between, in set, distinct in set,
regex, lengths, mean, standard deviation) on ten columns of zstd Parquet with some planted bad
cells. Each side runs in a process of its own, in turn. Ours takes the snapshot (every byte is
hashed), makes the verified copy, which hashes again, scans, and looks for the failing rows;
theirs is ``pandas.read_parquet`` and one ``validate`` with the rows (``COMPLETE``). Both must
come to the same verdicts and the same unexpected counts.

Printed for each size: CPU seconds with and without imports, peak memory above what the process
has after its imports (``VmHWM``), and the ratios. Targets: CPU at least 5 times better at 1M
rows and 4 times at 10M, without imports; peak memory at most a fifth at 10M, and flat beyond.

    python benchmarks/validation/speed.py --rows 1000000 10000000 [--scan-only 20000000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SUITE: dict[str, Any] = {
    "name": "speed",
    "expectations": [
        {
            "type": "expect_table_columns_to_match_set",
            "kwargs": {
                "column_set": [
                    "id",
                    "age",
                    "score",
                    "label",
                    "code",
                    "email",
                    "amount",
                    "flag",
                    "ts",
                    "country",
                ]
            },
        },
        {
            "type": "expect_table_row_count_to_be_between",
            "kwargs": {"min_value": 1, "max_value": 10**9},
        },
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "email"}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "age", "min_value": 0, "max_value": 120},
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "score", "min_value": -100.0, "max_value": 200.0},
        },
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "label", "value_set": ["cat", "dog", "bird"]},
        },
        {
            "type": "expect_column_distinct_values_to_be_in_set",
            "kwargs": {"column": "country", "value_set": ["de", "fr", "it", "es", "us"]},
        },
        {
            "type": "expect_column_values_to_match_regex",
            "kwargs": {"column": "email", "regex": r"^[a-z0-9]+@[a-z]+\.com$"},
        },
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "code", "min_value": 2, "max_value": 8},
        },
        {
            "type": "expect_column_mean_to_be_between",
            "kwargs": {"column": "score", "min_value": 45, "max_value": 55},
        },
        {
            "type": "expect_column_stdev_to_be_between",
            "kwargs": {"column": "amount", "min_value": 1, "max_value": 100},
        },
    ],
    "meta": {},
}

STEP = 1_000_000


def write(path: Path, rows: int) -> None:
    """Write the data: a bad cell of each kind in each million rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    writer: Any = None
    for start in range(0, rows, STEP):
        count = min(STEP, rows - start)
        ids = np.arange(start, start + count)
        ids[-1] = ids[0]
        ages = rng.integers(0, 100, count)
        ages[7] = -5
        labels = rng.choice(np.array(["cat", "dog", "bird"]), count).astype(object)
        labels[11] = "cow"
        emails = np.char.add("user", rng.integers(0, 10**9, count).astype(str))
        emails = np.char.add(emails, "@example.com").astype(object)
        emails[13], emails[17] = "nobody", None
        table = pa.table(
            {
                "id": ids,
                "age": ages,
                "score": rng.normal(50, 10, count),
                "label": labels,
                "code": np.char.add("c", rng.integers(10_000, 99_999, count).astype(str)),
                "email": emails,
                "amount": rng.lognormal(3, 1, count),
                "flag": rng.random(count) < 0.5,
                "ts": pa.array(
                    1_700_000_000_000_000 + rng.integers(0, 10**13, count), pa.timestamp("us")
                ),
                "country": rng.choice(np.array(["de", "fr", "it", "es", "us"]), count),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=STEP)
    writer.close()


def memory(field: str) -> int:
    """Return a figure of this process in MB: ``VmRSS`` now, or ``VmHWM``, its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))


def by_scan(path: str) -> dict[str, Any]:
    """Answer the suite with the one-scan engine."""
    import numpy  # noqa: F401  imported here, so that imports and work can be told apart
    import polars  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    from sluicegate.stages.validation.scan.columns import scan_columns
    from sluicegate.stages.validation.scan.plan import plan
    from sluicegate.stages.validation.scan.run import run
    from sluicegate.stages.validation.suites.parse import parse_suite
    from sluicegate.storage.batches import BatchReader
    from sluicegate.storage.snapshot import take_snapshot
    from sluicegate.storage.uri import SubjectUri

    before, began = memory("VmRSS"), time.process_time()
    suite = parse_suite(json.dumps(SUITE).encode())
    with BatchReader(take_snapshot(SubjectUri.parse(path))) as reader:
        outcome = run(reader, plan(suite, scan_columns(reader)))
    took = time.process_time() - began
    return {
        "cpu": took,
        "peak": memory("VmHWM") - before,
        "left": dict(outcome.left),
        "answers": [[one.success, one.unexpected] for _, one in sorted(outcome.answers.items())],
    }


def by_gx(path: str) -> dict[str, Any]:
    """Answer the suite with Great Expectations, as its documentation shows."""
    import logging

    logging.getLogger("great_expectations._docs_decorators").setLevel(logging.WARNING)
    import great_expectations as gx
    import pandas as pd
    import pyarrow.parquet  # noqa: F401
    from great_expectations.data_context.types.base import ProgressBarsConfig

    before, began = memory("VmRSS"), time.process_time()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("w").get_batch(
        {"dataframe": pd.read_parquet(path)}
    )
    suite = gx.ExpectationSuite(name="speed")
    for one in SUITE["expectations"]:
        kind = "".join(part.capitalize() for part in one["type"].split("_"))
        suite.add_expectation(getattr(gx.expectations, kind)(**one["kwargs"]))
    result = batch.validate(suite, result_format="COMPLETE")
    took = time.process_time() - began
    found = {
        (one.expectation_config.type, one.expectation_config.kwargs.get("column")): one
        for one in result.results
    }
    given = [found[one["type"], one["kwargs"].get("column")] for one in SUITE["expectations"]]
    return {
        "cpu": took,
        "peak": memory("VmHWM") - before,
        "answers": [[bool(one.success), one.result.get("unexpected_count")] for one in given],
    }


def child(side: str, path: Path) -> dict[str, Any]:
    """Run one side in a process of its own; add the CPU time of the whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--path", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**result, "whole": used}


def show(name: str, found: dict[str, Any]) -> None:
    """Print the figures of one side."""
    print(
        f"  {name:5} CPU {found['cpu']:7.2f} s, with imports {found['whole']:7.2f} s, "
        f"peak above imports {found['peak']:5} MB"
    )


def compare(rows: int, folder: Path, runs: int) -> None:
    """Run both sides in turn and print their ratios."""
    path = folder / f"{rows}.parquet"
    write(path, rows)
    print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB of Parquet")
    ours, theirs = {}, {}
    for _ in range(runs):
        ours, theirs = _better(ours, child("scan", path)), _better(theirs, child("gx", path))
    show("scan", ours)
    show("GX", theirs)
    print(
        f"  GX / scan: CPU {theirs['cpu'] / ours['cpu']:.1f}, "
        f"with imports {theirs['whole'] / ours['whole']:.1f}, "
        f"memory {theirs['peak'] / ours['peak']:.1f}"
    )
    same = [
        (mine, yours)
        for mine, yours in zip(ours["answers"], theirs["answers"], strict=True)
        if mine[0] != yours[0] or (None not in (mine[1], yours[1]) and mine[1] != yours[1])
    ]
    print(f"  verdicts and counts: {same or 'the same'}; left: {ours['left']}")
    path.unlink()


def _better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return other if not one or other["cpu"] < one["cpu"] else one


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--scan-only", type=int, nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=1, help="of each side; the best counts")
    parser.add_argument("--side", choices=["scan", "gx"])
    parser.add_argument("--path")
    given = parser.parse_args()
    if given.side:
        print(json.dumps((by_scan if given.side == "scan" else by_gx)(given.path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for rows in given.rows:
            compare(rows, Path(folder), given.runs)
        for rows in given.scan_only:
            path = Path(folder) / f"{rows}.parquet"
            write(path, rows)
            print(f"{rows:,} rows")
            show("scan", child("scan", path))
            path.unlink()


if __name__ == "__main__":
    main()
