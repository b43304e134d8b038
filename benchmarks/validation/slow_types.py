"""Expectation types that are slow in Great Expectations, against the scan, in CPU seconds.

Run from the root of the repository::

    python -m benchmarks.validation.slow_types

Each question is asked of the same Parquet file twice on both sides, once with few rows and once
with many: what the difference comes to for a row is what large data costs; the whole also
holds what does not grow (GX sets up a context, the scan hashes the file). All texts differ from
each other, so nothing is gained by judging equal texts once. Reading the file is part of the
scan, and not counted for Great Expectations.
"""

from __future__ import annotations

import datetime as dt
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluicegate.stages.validation.gx.engine import GxEngine
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.storage.formats.base import Limits
from sluicegate.storage.formats.parquet import Parquet
from tests.core.claim_cases import as_parquet, parsed, scanned

FEW = 1_000
DAY = dt.datetime(2024, 1, 1)  # noqa: DTZ001  naive, as the column
SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 0},
        "name": {"type": "string", "maxLength": 20},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "name"],
}

Column = Callable[[int], list[Any]]


def times(rows: int) -> list[Any]:
    """Return different times."""
    return [DAY + dt.timedelta(seconds=37 * at) for at in range(rows)]


def stamps(rows: int) -> list[Any]:
    """Return different times as text."""
    return [f"{one:%Y-%m-%d %H:%M:%S}" for one in times(rows)]


def documents(rows: int) -> list[Any]:
    """Return different JSON objects."""
    return [f'{{"id": {at}, "name": "n{at}", "tags": ["a", "b{at}"]}}' for at in range(rows)]


def numbers(rows: int) -> list[Any]:
    """Return different numbers."""
    return list(range(rows))


def others(rows: int) -> list[Any]:
    """Return numbers that differ from those of the same row."""
    return [at + rows for at in range(rows)]


BOUNDS = {"min_value": "2023-01-01T00:00:00", "max_value": "2100-01-01T00:00:00"}
CASES: list[tuple[str, dict[str, Column], dict[str, Any], int, int]] = [
    ("values_to_be_between", {"x": times}, {"column": "x", **BOUNDS}, 100_000, 20),
    ("values_to_match_strftime_format", {"x": stamps},
     {"column": "x", "strftime_format": "%Y-%m-%d %H:%M:%S"}, 100_000, 20),
    ("values_to_match_json_schema", {"x": documents},
     {"column": "x", "json_schema": SCHEMA}, 6_000, 20),
    ("values_to_be_json_parseable", {"x": documents}, {"column": "x"}, 100_000, 2),
    ("values_to_be_dateutil_parseable", {"x": stamps}, {"column": "x"}, 30_000, 40),
    ("select_column_values_to_be_unique_within_record", {"x": numbers, "z": others},
     {"column_list": ["x", "z"]}, 40_000, 50),
]  # fmt: skip
"""Type, columns, arguments, rows for Great Expectations, times as many for the scan."""


def expectation(kind: str, kwargs: dict[str, Any]) -> Expectation:
    """Return one expectation."""
    prefix = "expect_" if kind.startswith("select") else "expect_column_"
    (one,) = parsed([{"type": prefix + kind, "kwargs": kwargs, "meta": {}}])
    return one


def table(columns: dict[str, Column], rows: int) -> pa.Table:
    """Return a table."""
    return pa.table({name: values(rows) for name, values in columns.items()})


def by_gx(one: Expectation, data: bytes) -> float:
    """Return the CPU seconds of Great Expectations."""
    frame = Parquet().read(io.BytesIO(data), name="x.parquet", limits=Limits())
    engine = GxEngine(Suite(name="slow", expectations=(one,)))
    start = time.process_time()
    answer = engine.answer(frame, [one])[one.index]
    taken = time.process_time() - start
    assert answer.success is True, answer
    return taken


def by_scan(one: Expectation, data: bytes, folder: Path) -> float:
    """Return the CPU seconds of the scan."""
    start = time.process_time()
    outcome = scanned(folder, data, [one], batch_rows=1 << 16)
    taken = time.process_time() - start
    assert outcome.answers[one.index].success is True, outcome
    return taken


def main() -> None:
    """Measure and print."""
    print(f"{'type':50} {'GX us/row':>10} {'scan us/row':>11} {'ratio':>7}  whole, same rows")
    for kind, columns, kwargs, rows, more in CASES:
        one = expectation(kind, kwargs)
        few, many = as_parquet(table(columns, FEW)), as_parquet(table(columns, rows))
        large = as_parquet(table(columns, rows * more))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            by_scan(one, few, folder)  # imports
            scan_few, scan_many = (by_scan(one, data, folder) for data in (few, many))
            scan_large = by_scan(one, large, folder)
        by_gx(one, few)
        gx_few, gx_many = by_gx(one, few), by_gx(one, many)
        gx_row = (gx_many - gx_few) / (rows - FEW) * 1e6
        scan_row = max(scan_large - scan_few, 1e-9) / (rows * more - FEW) * 1e6
        print(f"{kind:50} {gx_row:10.2f} {scan_row:11.3f} {gx_row / scan_row:7.0f}"
              f"  {gx_many:.2f} s / {scan_many:.3f} s = {gx_many / scan_many:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
