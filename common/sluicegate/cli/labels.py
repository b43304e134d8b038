"""``sluicegate scan-labels``: flag wrong labels, given the predictions of your own models."""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from sluicegate.cli.terminal import PASSED, Progress, emit
from sluicegate.errors import ConfigurationError, MissingExtraError, SubjectError

__all__ = ["add_scan_labels"]

_DESCRIPTION = """\
Flag samples whose label is probably wrong, given out-of-sample predicted probabilities.

Nothing is judged and no receipt is left: this is the poisoning scan's label channel, for
predictions that you already have. Files are read in pieces, so they may be larger than
memory.
"""
_EPILOG = """\
files:
  labels.npy                     an array (numpy.save); labels are 0 ... classes-1
  data.parquet:label             a column of a Parquet file
  data.parquet:p0,p1,p2          columns, one for each class, in order of the labels

output, one line for each sample (Parquet):
  row, flagged, score (log-margin, higher is worse), suggested_label

rules:
  adaptive             finds out what kind of noise there is, and cuts where the expected F1
                       is greatest
  confident-learning   exactly the rows of cleanlab's default filter
"""


def add_scan_labels(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "scan-labels",
        help="flag wrong labels, given predicted probabilities",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--labels", required=True, metavar="FILE", help="given labels")
    parser.add_argument(
        "--pred-probs",
        required=True,
        action="append",
        metavar="FILE",
        help="out-of-sample probabilities of one model; several models are averaged",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="Parquet to write")
    parser.add_argument(
        "--rule", choices=("adaptive", "confident-learning"), default="adaptive", help="see below"
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="scan on N processors (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.processes < 1:
        raise ConfigurationError(f"--processes is {args.processes}", next_step="use 1 or more")
    try:
        import numpy  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "numpy", "poisoning", "scanning labels") from error
    from sluicegate.stages.poisoning.confident.files import open_samples
    from sluicegate.stages.poisoning.confident.scan import scan_labels

    progress = Progress()
    pool = ProcessPoolExecutor(args.processes) if args.processes > 1 else nullcontext()
    with tempfile.TemporaryDirectory(prefix="sluicegate-") as folder, pool as executor:
        samples = open_samples(args.labels, args.pred_probs, Path(folder))
        try:
            found = scan_labels(
                samples,
                args.out,
                rule=args.rule,
                shards=4 * args.processes if executor else 1,
                executor=executor,
                progress=progress,
            )
        except OSError as error:
            raise SubjectError(
                f"cannot write {args.out}: {error.strerror}",
                next_step="check the folder and the free space",
            ) from error
        finally:
            progress.clear()
    if args.json:
        cut = found.cut
        emit(
            {
                "rows": found.rows,
                "classes": found.classes,
                "flagged": found.flagged,
                "rule": found.rule,
                "out": str(args.out),
                **(
                    {
                        "cut_ratio": cut.ratio,
                        "disagreement": round(cut.rate, 6),
                        "disagreement_where_sure": round(cut.floor, 6),
                        "human_noise": round(cut.human, 6),
                    }
                    if cut
                    else {}
                ),
            }
        )
        return PASSED
    share = found.flagged / found.rows
    print(f"{found.flagged} of {found.rows} labels flagged ({share:.2%}) -> {args.out}")
    if found.cut is not None and found.flagged:
        print(f"  flagged where another class is {found.cut.ratio:.3g} times as likely or more")
    return PASSED
