"""Suites, data sets and runs that the tests of ``ValidateDataset`` share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sluicegate.canonical import canonical_json
from sluicegate.model import Check, Report
from sluicegate.stages.base import Context, configuration_files
from sluicegate.stages.validation import ValidateDataset
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
REGEX = "expect_column_values_to_match_regex"


def ask(kind: str, *, severity: str | None = None, id: str | None = None, **kwargs: Any) -> Any:
    """Return one expectation as GX writes it."""
    entry: dict[str, Any] = {"type": kind, "kwargs": kwargs, "meta": {}}
    if severity is not None:
        entry["severity"] = severity
    if id is not None:
        entry["id"] = id
    return entry


def compare(column: str, sign: str, parameter: Any) -> dict[str, Any]:
    """Return a structured row condition."""
    return {
        "type": "comparison",
        "column": {"name": column},
        "operator": sign,
        "parameter": parameter,
    }


def suite_json(*entries: Any, **top: Any) -> bytes:
    """Return the bytes of a suite file."""
    return json.dumps(
        {
            "name": "orders",
            "id": None,
            "expectations": list(entries),
            "meta": {"great_expectations_version": "1.24.1"},
            "notes": None,
            **top,
        }
    ).encode()


def run(
    folder: Path,
    data: Any,
    *entries: Any,
    samples: bool = False,
    plugins: tuple[str, ...] = (),
    **top: Any,
) -> Report:
    """Validate a data frame, or a file or folder that exists, against a suite."""
    if isinstance(data, dict):
        data = pd.DataFrame(data)
    if isinstance(data, pd.DataFrame):
        path = folder / "data.parquet"
        data.to_parquet(path)
        data = path
    suite = folder.parent / f"{folder.name}.suite.json"
    suite.write_bytes(suite_json(*entries, **top))
    stage = ValidateDataset(suite=suite, plugins=plugins)
    context = Context(files=configuration_files(stage), samples=samples)
    return stage.run(take_snapshot(SubjectUri.parse(str(data))), context)


def checks(report: Report) -> list[Check]:
    """Return the checks of the expectations, without the one on column names."""
    return [check for check in report.checks if check.id != "validation.unique_column_names"]


def only(report: Report) -> Check:
    """Return the check of the only expectation."""
    (check,) = checks(report)
    return check


def rows_of(check: Check) -> list[tuple[str, int]]:
    """Return the rows that a check's findings name."""
    return [(row.file, row.ordinal) for finding in check.findings for row in finding.rows]


def text_of(report: Report) -> str:
    """Return the whole report as canonical JSON."""
    return canonical_json(report.to_json()).decode()


def outcomes(report: Report) -> Sequence[str]:
    """Return the outcomes of the expectations, in suite order."""
    return [check.outcome.value for check in checks(report)]
