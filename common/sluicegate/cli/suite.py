"""``sluicegate suite``: make, check, read and compare suites of expectations."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.cli.suite_diff import add_diff
from sluicegate.cli.suite_init import add_init
from sluicegate.cli.terminal import NOT_CLEARED, PASSED, emit, visible
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.documents import MAX_BYTES
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.stages.validation.suites.parse import Examined, examine_suite
from sluicegate.stages.validation.suites.types import security_types
from sluicegate.stages.validation.suites.words import explain, unknown_when
from sluicegate.storage.local import open_plain

__all__ = ["add_suite"]

_EPILOG: Final = """\
exit codes:
  0  the suite can be asked completely
  1  it is refused; every reason is listed
  2  the file could not be read
"""
_CLAIMS: Final = "sluicegate.stages.validation.scan.claims"
"""Where the one-scan engine says which types it answers."""


def add_suite(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its sub-commands."""
    parser = commands.add_parser(
        "suite",
        help="make, check, explain and compare suites of expectations",
        description="Suites of expectations: Great Expectations JSON or YAML, or a data "
        "contract of the Open Data Contract Standard.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_init(actions)
    _add(actions, "check", "list everything that is wrong with a suite", _check)
    _add(actions, "explain", "say in plain English what a suite asks", _explain)
    add_diff(actions)


def _add(actions: Any, name: str, summary: str, run: Any) -> None:
    parser = actions.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", metavar="SUITE", type=Path, help="suite file or data contract")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--sql", action="store_true", help="allow SQL in the suite, as a policy may"
    )
    parser.add_argument(
        "--table", default="", help="which schema object of a data contract the data is"
    )
    parser.set_defaults(run=run)


def _check(args: argparse.Namespace) -> int:
    examined = _examined(args)
    suite = examined.suite
    if args.json:
        emit(_checked_json(examined))
    elif suite is None:
        _print_problems(args.suite, examined)
    else:
        _print_checked(args.suite, suite)
    return NOT_CLEARED if suite is None else PASSED


def _explain(args: argparse.Namespace) -> int:
    examined = _examined(args)
    suite = examined.suite
    if suite is None:
        if args.json:
            emit(_checked_json(examined))
        else:
            _print_problems(args.suite, examined)
        return NOT_CLEARED
    if args.json:
        emit({"name": suite.name, "expectations": [_explained(one) for one in suite.expectations],
              **_unasked(suite)})  # fmt: skip
        return PASSED
    print(visible(f"{suite.name}: {_number(len(suite.expectations), 'expectation')}"))
    for one in suite.expectations:
        print(visible(f"{one.index:4}. {explain(one)}"))
        print(visible(f"      unknown if {unknown_when(one)}"))
    _print_unasked(suite)
    return PASSED


def _examined(args: argparse.Namespace) -> Examined:
    """Read and examine the file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        with open_plain(args.suite) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the suite {args.suite}: {error.strerror}",
            next_step="give the path of a suite file",
        ) from error
    return examine_suite(data, name=args.suite.name, sql=args.sql, table=args.table)


def _print_problems(path: Path, examined: Examined) -> None:
    print(visible(f"{path}: {_number(len(examined.problems), 'problem')}"))
    for problem in examined.problems:
        print(visible(f"  {problem.what}"))
        print(visible(f"    next: {problem.next_step}"))


def _print_checked(path: Path, suite: Suite) -> None:
    engines = Counter(_engine(one, _claimed()) for one in suite.expectations)
    counts = ", ".join(f"{count} by {engine}" for engine, count in sorted(engines.items()))
    asked = _number(len(suite.expectations), "expectation")
    print(visible(f"{path}: {asked}, judged {counts}"))
    for one in suite.expectations:
        engine = _engine(one, _claimed())
        if engine != "scan":
            print(visible(f"  left to {engine}: {one.where}"))
    _print_unasked(suite)


def _print_unasked(suite: Suite) -> None:
    for rule in suite.unasked:
        said = "not checked" if rule.severity is Severity.INFO else "unknown in every run"
        print(visible(f"  {said} ({rule.severity.value}): {rule.what}, at {rule.path}"))


def _checked_json(examined: Examined) -> Mapping[str, Json]:
    suite = examined.suite
    claimed = _claimed() if suite else ()
    return {
        "outcome": "refused" if suite is None else "passed",
        "problems": [{"message": one.what, "next": one.next_step} for one in examined.problems],
        "expectations": []
        if suite is None
        else [
            {"index": one.index, "id": one.id, "type": one.type, "engine": _engine(one, claimed)}
            for one in suite.expectations
        ],
        **_unasked(suite),
    }


def _explained(one: Expectation) -> Mapping[str, Json]:
    return {
        "index": one.index,
        "id": one.id,
        "type": one.type,
        "severity": one.severity.value,
        "asks": explain(one),
        "unknown_if": unknown_when(one),
    }


def _unasked(suite: Suite | None) -> dict[str, Json]:
    """Return the rules that leave every run with something unknown, and those that do not."""
    listed: dict[str, list[Json]] = {"unasked": [], "not_checked": []}
    for one in suite.unasked if suite else ():
        key = "not_checked" if one.severity is Severity.INFO else "unasked"
        listed[key].append({"path": one.path, "what": one.what, "severity": one.severity.value})
    return {**listed}


def _engine(one: Expectation, claimed: Collection[str]) -> str:
    """Return who would judge it, as far as its type tells before there is data."""
    return "gx" if one.sql or one.type not in claimed else "scan"


def _claimed() -> Collection[str]:
    """Return the types that the one-scan engine answers."""
    claims = import_module(_CLAIMS).CLAIMS if find_spec(_CLAIMS) else {}
    return {*claims, *security_types()}


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
