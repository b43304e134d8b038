"""Options of stages on the command line: the fields of a stage are its flags."""

from __future__ import annotations

import argparse
import os
from typing import Any, Final
from urllib.parse import urlsplit

from sluicegate.errors import ConfigurationError
from sluicegate.policy.model import Policy
from sluicegate.stages.base import Field, Stage, stage_fields
from sluicegate.stages.registry import build_stage, stage_type

__all__ = ["add_endpoint", "add_stage_options", "stage_from", "use_endpoint"]

_ENDPOINT: Final = "AWS_ENDPOINT_URL"
"""What every AWS client of this process reads; see the AWS SDKs' reference."""


def add_stage_options(parser: argparse.ArgumentParser, kind: type[Stage]) -> None:
    """Add the fields of a stage as flags, and ``--purpose``, which takes them from a policy."""
    parser.add_argument(
        "--purpose", help="take the stage's options from this purpose of the policy"
    )
    group = parser.add_argument_group("options of the stage")
    for field in stage_fields(kind):
        _add_field(group, field)


def _add_field(group: argparse._ArgumentGroup, field: Field) -> None:
    flag = f"--{field.name.replace('_', '-')}"
    plain = field.required or field.default in (None, "", ())
    note = "" if plain else f" (default {_words(field.default)})"
    text = (field.help + note).replace("%", "%%")  # argparse formats what it prints
    if field.kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    extra: dict[str, Any] = {"action": "extend", "nargs": "+"} if field.many else {}
    group.add_argument(
        flag,
        type=field.kind,
        default=None,
        metavar=field.kind.__name__.upper(),
        help=text,
        **extra,
    )


def _words(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def stage_from(args: argparse.Namespace, name: str, policy: Policy) -> Stage:
    """Build a stage from flags, or from the policy's purpose.

    Raises:
        ConfigurationError: the options make no stage, or purpose and options are both given.
    """
    given = {
        field.name: getattr(args, field.name)
        for field in stage_fields(stage_type(name))
        if getattr(args, field.name) is not None
    }
    if args.purpose is None:
        return build_stage(name, given)
    if given:
        raise ConfigurationError("give --purpose or the stage's own options, not both")
    for need in policy.purpose(args.purpose).requirements:
        if need.stage.name == name:
            return need.stage
    raise ConfigurationError(f"the purpose {args.purpose!r} does not need {name}")


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    """Add the flag that points AWS clients at another endpoint."""
    parser.add_argument(
        "--endpoint-url",
        metavar="URL",
        help=f"endpoint of an S3-compatible store or a simulator (sets {_ENDPOINT})",
    )


def use_endpoint(args: argparse.Namespace) -> None:
    """Let every AWS client of this process use the endpoint that a flag names.

    Raises:
        ConfigurationError: it is not a URL, or carries credentials.
    """
    if args.endpoint_url is None:
        return
    parts = urlsplit(args.endpoint_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(
            "--endpoint-url is a URL such as http://127.0.0.1:9000, without credentials"
        )
    for name in [key for key in os.environ if key.startswith(f"{_ENDPOINT}_")]:
        del os.environ[name]  # one for a single service would win over this
    os.environ[_ENDPOINT] = args.endpoint_url
