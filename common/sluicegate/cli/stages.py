"""``sluicegate stages``: which stages there are, and what each can be told."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ConfigurationError
from sluicegate.stages.base import stage_fields
from sluicegate.stages.registry import stage_names, stage_type

__all__ = ["add_stages"]


def add_stages(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "stages",
        help="list the stages and their options",
        description="List the stages that are installed, with their options.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    described: list[dict[str, Any]] = []
    for name in stage_names():
        try:
            kind = stage_type(name)
        except ConfigurationError as error:
            print(f"sluicegate: {error.what}", file=sys.stderr)
            continue
        described.append(
            {
                "name": name,
                "version": kind.version,
                "summary": (kind.__doc__ or "").strip().partition("\n")[0],
                "options": {
                    field.name: f"{field.help}{' (required)' if field.required else ''}"
                    for field in stage_fields(kind)
                },
            }
        )
    if args.json:
        emit(described)
        return PASSED
    for stage in described:
        print(f"{stage['name']}: {stage['summary']}")
        for option, text in stage["options"].items():
            print(f"    {option:<20} {text}")
    return PASSED
