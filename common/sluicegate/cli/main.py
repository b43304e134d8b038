"""The ``sluicegate`` command: options to calls, errors to exit codes."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

from sluicegate.cli.approve import add_approvals, add_approve
from sluicegate.cli.approvers import add_approvers
from sluicegate.cli.backup import add_backup
from sluicegate.cli.dataset import add_dataset
from sluicegate.cli.demo import add_demo
from sluicegate.cli.disclose import add_disclose
from sluicegate.cli.encryption import add_encryption, add_iam_policy
from sluicegate.cli.export import add_export
from sluicegate.cli.gate import add_gate, add_secure
from sluicegate.cli.init import add_init
from sluicegate.cli.keys import add_keys
from sluicegate.cli.labels import add_scan_labels
from sluicegate.cli.ledger import add_ledger, add_report
from sluicegate.cli.oms import add_oms
from sluicegate.cli.provenance import add_provenance
from sluicegate.cli.rollback import add_heads, add_promote, add_restore, add_rollback
from sluicegate.cli.session import add_session
from sluicegate.cli.stages import add_stages
from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, report_failure
from sluicegate.cli.verify import add_verify
from sluicegate.cli.witness import add_witness
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Whatever goes wrong, the code is never 0, and never 1 unless something was decided.
    """
    args = argparse.Namespace(json=False)
    try:
        args = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluicegate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("sluicegate"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        add_init,
        add_secure,
        add_gate,
        add_verify,
        add_report,
        add_export,
        add_ledger,
        add_witness,
        add_keys,
        add_provenance,
        add_oms,
        add_session,
        add_dataset,
        add_disclose,
        add_approvers,
        add_approve,
        add_approvals,
        add_backup,
        add_promote,
        add_rollback,
        add_restore,
        add_heads,
        add_stages,
        add_scan_labels,
        add_encryption,
        add_iam_policy,
        add_demo,
    ):
        add(commands)
    return parser
