"""``sluicegate suite diff``: what a change of a suite makes weaker."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluicegate.cli.terminal import NOT_CLEARED, PASSED, emit, visible
from sluicegate.errors import ConfigurationError
from sluicegate.storage.local import open_plain

if TYPE_CHECKING:
    from sluicegate.stages.validation.comparing import Change
    from sluicegate.stages.validation.suites.model import Suite

__all__ = ["add_diff"]

_MOST_BYTES: Final = 16 << 20
"""Far more than any suite that people review."""

_DESCRIPTION = """\
Compare two suites by what they demand: which expectations are gone, which bounds are wider,
which shares, severities and thresholds let more pass. Order, ids and notes do not matter.
"""
_EPILOG = """\
exit codes:
  0  the new suite is nowhere weaker
  1  it is weaker, or may be: a pattern or a baseline changed, which no program can judge
  2  could not conclude: one of the files is no suite
"""


def add_diff(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action to ``sluicegate suite``."""
    parser = commands.add_parser(
        "diff",
        help="say what a change of a suite makes weaker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="suite that was agreed on")
    parser.add_argument("new", type=Path, metavar="NEW", help="suite that is proposed")
    parser.add_argument("--json", action="store_true", help="print the changes as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from sluicegate.stages.validation.comparing import Effect, compare_suites

    changes = compare_suites(_read(args.old), _read(args.new))
    weaker = any(change.effect is not Effect.STRONGER for change in changes)
    if args.json:
        emit({"weaker": weaker, "changes": [change.to_json() for change in changes]})
    else:
        _show(changes, weaker=weaker)
    return NOT_CLEARED if weaker else PASSED


def _read(path: Path) -> Suite:
    """Read a suite file strictly.

    Raises:
        ConfigurationError: it cannot be read, or is no suite.
    """
    from sluicegate.stages.validation.suites.parse import parse_suite

    try:
        with open_plain(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the suite {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"the suite {path} is larger than {_MOST_BYTES:,} bytes")
    return parse_suite(content, name=path.name, sql=True)


def _show(changes: Sequence[Change], *, weaker: bool) -> None:
    for change in changes:
        print(visible(f"{change.effect.value:<9} {change.sentence}"))
    if not changes:
        print("both suites demand the same")
    elif weaker:
        print("the new suite is weaker, or may be: somebody should agree to that")
    else:
        print("the new suite is nowhere weaker")
