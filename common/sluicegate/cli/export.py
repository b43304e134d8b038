"""``sluicegate export``: a stored report in the formats of other tools."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import Json
from sluicegate.cli.terminal import PASSED, read_json
from sluicegate.errors import ConfigurationError, SluicegateError
from sluicegate.reports.ocsf import ocsf_events
from sluicegate.reports.sarif import sarif_log

__all__ = ["add_export"]

_MAX_BYTES: Final = 256 << 20
"""Largest report that is read: as large as a gate stores one."""


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write a stored report as SARIF or OCSF",
        description="Write a stored report in a format that other tools read. Evidence and data "
        "values stay in the report; long lists are cut, and the output says so.",
    )
    parser.add_argument(
        "report", metavar="REPORT.json", help="a file of the evidence folder: reports/*.json"
    )
    parser.add_argument("--format", required=True, choices=("sarif", "ocsf"), help="what to write")
    parser.add_argument("--out", help="file to write (default: standard output)")
    parser.add_argument(
        "--time",
        help="when the gate ran, as in ISO 8601, for OCSF (default: when the report was written)",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    path = Path(args.report)
    document = read_json(path, what="the report", limit=_MAX_BYTES)
    value: Json
    if args.format == "sarif":
        value = sarif_log(document)
    else:
        value = ocsf_events(document, time=_time(args.time, path))
    text = json.dumps(value, indent=2, ensure_ascii=True) + "\n"
    if args.out is None:
        print(text, end="")
        return PASSED
    try:
        Path(args.out).write_text(text, encoding="ascii")
    except OSError as error:
        raise SluicegateError(f"cannot write {args.out}: {error.strerror}") from error
    return PASSED


def _time(text: str | None, path: Path) -> datetime:
    """Return the given time, else the one at which the gate wrote the report."""
    if text is None:
        return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            "--time is no time", next_step="write it as in 2030-01-31T12:00:00Z"
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)
