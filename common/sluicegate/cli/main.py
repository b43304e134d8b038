"""The ``sluicegate`` command: options to calls, errors to exit codes."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, report_failure, survive_any_text
from sluicegate.errors import ConfigurationError, Decision, SluicegateError

__all__ = ["main"]

_DESCRIPTION = """\
Security gates for ML pipelines.

A gate examines a dataset or model, judges the report by policy and leaves a signed
receipt. Whoever uses the data verifies the receipts against the bytes that lie there.
"""
_EPILOG = """\
start here:
  sluicegate init --label digit          a key, a policy.yaml, a place for evidence
  sluicegate secure data.parquet --purpose train
  sluicegate verify data.parquet --purpose train

exit codes:
  0  passed      1  blocked or refused      2  could not conclude (never a pass)
"""

_COMMANDS: Final[Mapping[str, str]] = {
    "init": "sluicegate.cli.init:add_init",
    "secure": "sluicegate.cli.gate:add_secure",
    "gate": "sluicegate.cli.gate:add_gate",
    "verify": "sluicegate.cli.verify:add_verify",
    "report": "sluicegate.cli.ledger:add_report",
    "export": "sluicegate.cli.export:add_export",
    "ledger": "sluicegate.cli.ledger:add_ledger",
    "witness": "sluicegate.cli.witness:add_witness",
    "keys": "sluicegate.cli.keys:add_keys",
    "provenance": "sluicegate.cli.provenance:add_provenance",
    "oms": "sluicegate.cli.oms:add_oms",
    "session": "sluicegate.cli.session:add_session",
    "dataset": "sluicegate.cli.dataset:add_dataset",
    "disclose": "sluicegate.cli.disclose:add_disclose",
    "approvers": "sluicegate.cli.approvers:add_approvers",
    "approve": "sluicegate.cli.approve:add_approve",
    "approvals": "sluicegate.cli.approve:add_approvals",
    "backup": "sluicegate.cli.backup:add_backup",
    "promote": "sluicegate.cli.rollback:add_promote",
    "rollback": "sluicegate.cli.rollback:add_rollback",
    "restore": "sluicegate.cli.rollback:add_restore",
    "heads": "sluicegate.cli.rollback:add_heads",
    "suite": "sluicegate.cli.suite:add_suite",
    "stages": "sluicegate.cli.stages:add_stages",
    "scan-labels": "sluicegate.cli.labels:add_scan_labels",
    "encryption": "sluicegate.cli.encryption:add_encryption",
    "iam-policy": "sluicegate.cli.encryption:add_iam_policy",
    "demo": "sluicegate.cli.demo:add_demo",
}
"""Commands, and what adds them: each is loaded only when it is called, or listed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Whatever goes wrong, the code is never 0, and never 1 unless something was decided.
    """
    survive_any_text()
    args = argparse.Namespace(json=False)
    try:
        args = _parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
    except ConfigurationError as error:
        return report_failure(error, as_json=False)
    try:
        return int(args.run(args))
    except SystemExit:
        print("sluicegate: could not conclude: something ended the process", file=sys.stderr)
        return COULD_NOT_CONCLUDE
    except (Decision, SluicegateError) as error:
        return report_failure(error, as_json=getattr(args, "json", False))
    except KeyboardInterrupt:
        print("sluicegate: interrupted; nothing was decided", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return COULD_NOT_CONCLUDE
    except Exception:  # noqa: BLE001  Python's own exit code, 1, would say "blocked"
        traceback.print_exc()
        print(
            "sluicegate: could not conclude: an error in sluicegate itself; please report it",
            file=sys.stderr,
        )
        return COULD_NOT_CONCLUDE


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser with the command that is called, or with all of them."""
    parser = argparse.ArgumentParser(
        prog="sluicegate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("sluicegate"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in [argv[0]] if argv[:1] and argv[0] in _COMMANDS else _COMMANDS:
        module, _, add = _COMMANDS[name].partition(":")
        getattr(import_module(module), add)(commands)
    return parser
