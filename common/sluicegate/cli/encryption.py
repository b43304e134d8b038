"""``sluicegate encryption`` and ``sluicegate iam-policy``: policies, read and written."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import Json
from sluicegate.cli.gate import policy_or_default
from sluicegate.cli.options import add_stage_options, stage_from
from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, NOT_CLEARED, PASSED, emit
from sluicegate.errors import ConfigurationError
from sluicegate.policy.load import default_policy
from sluicegate.stages.registry import stage_type
from sluicegate.storage.uri import SubjectUri

__all__ = ["add_encryption", "add_iam_policy"]

_STAGE: Final = "check-encryption"
_QUESTIONS: Final = ("plain_http", "below_tls12", "unencrypted_put")
_EPILOG: Final = """\
Looks for a request that the policy lets through: any principal, action, resource and context.
The request that was found is the evidence. A principal of the bucket's own account is taken to
be allowed whatever the policy does not deny.

exit codes:
  0  every asked request is refused
  1  one gets through
  2  could not tell, or the policy cannot be read
"""


def add_encryption(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group of commands."""
    group = commands.add_parser(
        "encryption", help="evaluate a bucket policy", description="Questions about encryption."
    ).add_subparsers(dest="question", metavar="COMMAND", required=True)
    parser = group.add_parser(
        "evaluate-policy",
        help="find requests that a bucket policy lets through",
        description="Does this bucket policy refuse plain HTTP, TLS below 1.2, and writes that "
        "are not encrypted?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="POLICY", help="the policy, JSON; - for standard input")
    parser.add_argument("--bucket", required=True, help="name of the bucket it is attached to")
    parser.add_argument("--owner", help="account that owns the bucket, twelve digits")
    parser.add_argument(
        "--partition", default="aws", choices=("aws", "aws-cn", "aws-us-gov"), help="default: aws"
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=("SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C"),
        default=["SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C"],
        help="encryption that is wanted for new objects (default: any)",
    )
    parser.add_argument(
        "--kms-keys", nargs="+", default=[], metavar="ARN", help="keys that are wanted"
    )
    parser.add_argument(
        "--default-mode",
        choices=("SSE-S3", "SSE-KMS", "DSSE-KMS"),
        help="the bucket's default encryption, if known: what a write without header gets",
    )
    parser.add_argument("--default-key", metavar="ARN", help="key of the default encryption")
    parser.add_argument(
        "--ask",
        nargs="+",
        choices=_QUESTIONS,
        default=list(_QUESTIONS),
        help="what decides the exit code (default: all three)",
    )
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")
    parser.set_defaults(run=_evaluate)


def add_iam_policy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that prints what permissions the checks take."""
    parser = commands.add_parser(
        "iam-policy",
        help="print the least-privilege IAM policy that check-encryption needs",
        description="Print the IAM policy that a gate with check-encryption needs in this "
        "configuration, and nothing more. Makes no call.",
    )
    parser.add_argument("subject", metavar="SUBJECT", help="path or URI that would be examined")
    parser.add_argument("--policy", help="policy file, with --purpose")
    add_stage_options(parser, stage_type(_STAGE))
    parser.set_defaults(run=_print_iam_policy)


def _evaluate(args: argparse.Namespace) -> int:
    from sluicegate.stages.encryption.iam import Exposure, bucket_exposure, parse_policy

    if "/" in args.bucket or ":" in args.bucket:
        raise ConfigurationError(
            "--bucket is the bare name of the bucket", next_step="lake, not s3://lake or its ARN"
        )
    answers = bucket_exposure(
        parse_policy(_read(args.file)),
        bucket=args.bucket,
        now=datetime.now(UTC),
        owner=args.owner,
        partition=args.partition,
        modes=tuple(args.modes),
        kms_keys=tuple(args.kms_keys),
        default_mode=args.default_mode,
        default_key=args.default_key,
    )
    by_question = {question: getattr(answers, question) for question in _QUESTIONS}
    requests: dict[str, Json] = {
        question: answer.counterexample
        for question, answer in by_question.items()
        if answer.counterexample is not None
    }
    if args.json:
        first = next(iter(requests), None)
        emit(
            {
                **{question: answer.exposure.value for question, answer in by_question.items()},
                "counterexample": requests[first] if first else None,
                "counterexamples": requests,
                "reasons": {
                    question: answer.reason
                    for question, answer in by_question.items()
                    if answer.reason
                },
            }
        )
    else:
        for question, answer in by_question.items():
            print(f"{question.replace('_', ' ')}: {answer.exposure.value}")
            if answer.counterexample is not None:
                for name, value in answer.counterexample.items():
                    print(f"  {name}: {value}")
            elif answer.reason:
                print(f"  {answer.reason}")
    asked = {by_question[question].exposure for question in args.ask}
    if Exposure.OPEN in asked:
        return NOT_CLEARED
    return COULD_NOT_CONCLUDE if Exposure.UNKNOWN in asked else PASSED


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {name}: {error.strerror}") from error


def _print_iam_policy(args: argparse.Namespace) -> int:
    from sluicegate.stages.encryption.permissions import least_privilege
    from sluicegate.stages.encryption.settings import Settings

    policy = policy_or_default(args.policy) if args.purpose else default_policy(Path.cwd())
    stage = stage_from(args, _STAGE, policy)
    assert isinstance(stage, Settings)  # noqa: S101  the name says so
    emit(least_privilege(stage, SubjectUri.parse(args.subject)))
    return PASSED
