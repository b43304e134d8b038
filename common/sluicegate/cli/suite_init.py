"""``sluicegate suite init``: a first suite, learned from data that is trusted."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from sluicegate.canonical import Json
from sluicegate.cli.options import add_endpoint, use_endpoint
from sluicegate.cli.terminal import PASSED, Progress, emit, visible
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity

__all__ = ["add_init"]

_DESCRIPTION = """\
Learn a first suite from data that you trust: columns and types, missing values, keys, ranges,
categories, shapes and lengths of texts, times, distributions, shares of labels.

A few planted rows do not widen a bound, and each expectation says what was seen, what was
left out and why. Read that before you approve the file: it is a proposal.
"""
_EPILOG = """\
examples:
  sluicegate suite init trusted.parquet --out suite.json --label digit
  sluicegate suite init s3://lake/2026-01 s3://lake/2026-02 --out suite.yaml --yaml --key id
  sluicegate suite init trusted.csv --out suite.json --plain     Great Expectations' own types only

Several references tell how much clean data differs from day to day: give them if you can.
"""


def add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action to ``sluicegate suite``."""
    parser = commands.add_parser(
        "init",
        help="learn a first suite from trusted data",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "references", metavar="DATA", nargs="+", help="paths or URIs of trusted data"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="suite to write")
    parser.add_argument("--name", help="name of the suite (default: the name of the file)")
    parser.add_argument("--label", default="", metavar="COLUMN", help="the column to predict")
    parser.add_argument(
        "--key",
        default=[],
        action="extend",
        nargs="+",
        metavar="COLUMN",
        help="columns that together tell rows apart",
    )
    parser.add_argument(
        "--severity",
        choices=[one.value for one in Severity],
        help="of every expectation (default: what suits each)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="only types of Great Expectations itself"
    )
    parser.add_argument(
        "--yaml", action="store_true", help="write YAML, with the reasons as comments"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    add_endpoint(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from sluicegate.stages.validation.learning import learn_suite, suite_json, suite_yaml
    from sluicegate.storage.local import write_atomically
    from sluicegate.storage.snapshot import take_snapshot
    from sluicegate.storage.uri import SubjectUri

    if os.path.lexists(args.out) and not args.force:
        raise ConfigurationError(
            f"{args.out} exists", next_step="choose another name, or say --force"
        )
    use_endpoint(args)
    progress = Progress()
    try:
        snapshots = [take_snapshot(SubjectUri.parse(one)) for one in args.references]
        suite = learn_suite(snapshots, _wishes(args), progress=progress)
    finally:
        progress.clear()
    write_atomically(args.out, suite_yaml(suite) if args.yaml else suite_json(suite))
    _show(args, suite)
    return PASSED


def _wishes(args: argparse.Namespace) -> Any:
    from sluicegate.stages.validation.learning import Wishes

    return Wishes(
        name=args.name or args.out.name.partition(".")[0] or "learned",
        label=args.label,
        keys=tuple(args.key),
        severity=Severity(args.severity) if args.severity else None,
        plain=args.plain,
    )


def _show(args: argparse.Namespace, suite: dict[str, Json]) -> None:
    entries = suite["expectations"]
    if args.json:
        emit(
            {
                "suite": str(args.out),
                "rows": suite["meta"]["sluicegate"]["rows"],
                "expectations": len(entries),
            }
        )
        return
    for entry in entries:
        about = entry["kwargs"].get("column") or ",".join(entry["kwargs"].get("column_list", ()))
        if len(about) > 40:
            about = about[:39] + "…"
        print(visible(f"{entry['severity']:<9} {about or 'table':<24} {entry['type']}"))
    print(f"{len(entries)} expectations -> {args.out}")
    print("next: read the reasons in it, then `sluicegate suite check`, then approve or sign it")
