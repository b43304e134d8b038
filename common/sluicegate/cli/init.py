"""``sluicegate init``: a key, a policy and a place for evidence."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
from pathlib import Path
from typing import Final

from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ConfigurationError
from sluicegate.ledger.keys import new_note_key
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import default_key_path, default_ledger_key_path, key_password
from sluicegate.storage.local import write_atomically

__all__ = ["add_init", "make_key"]

_POLICY: Final = """\
# What has to be true of data before it is used, and who may say so.
# Keep this file in git: changing it voids the receipts made under the old rules.
version: 1

# Ledger, receipts and reports. Every gate and every consumer must reach this folder.
evidence: .sluicegate

# Whoever can write there cannot rewrite history without this key. Let consumers also remember
# the newest checkpoint they saw, in a file of their own, and an older state is seen as well.
ledger:
  key: keys/ledger.vkey
  # remember: /var/lib/trainer/ledger.checkpoint

purposes:
  train:
    max_age: 7d
    stages:
      - scan-for-poisoning: {{label: {label}}}
{suite}
rules:
  scan-for-poisoning:
    # More than this flagged, and the rest is not trusted either.
    quarantine_at_most: {{share: 25%}}

# Somebody may answer for a failed check, until a date:
# waivers:
#   - check: validation.expect_column_mean_to_be_between
#     subject: "s3://lake/legacy/*"
#     owner: data-platform@example.org
#     reason: drift is known; the data is resampled in May
#     expires: 2030-05-31

keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
"""
_SUITE: Final = "      - validate-dataset: {{suite: {suite}}}\n"
_NO_SUITE: Final = "      # - validate-dataset: {suite: suite.json}\n"


def add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "init",
        help="make a key, a policy and a place for evidence",
        description="Set up a folder: policy.yaml, a key pair and the evidence folder. Nothing "
        "that exists is overwritten.",
    )
    parser.add_argument("folder", nargs="?", default=".", help="where (default: here)")
    parser.add_argument("--label", default="label", help="label column of the data to train on")
    parser.add_argument("--suite", help="Great Expectations suite, relative to the folder")
    parser.add_argument("--json", action="store_true", help="print the paths as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    folder = Path(args.folder).resolve()
    policy = folder / "policy.yaml"
    if os.path.lexists(policy):
        raise ConfigurationError(f"{policy} exists", next_step="nothing was changed")
    if args.suite and not (folder / args.suite).is_file():
        raise ConfigurationError(
            f"there is no suite {folder / args.suite}", next_step="nothing was changed"
        )
    if default_key_path(folder / ".sluicegate").exists():
        raise ConfigurationError(
            f"{default_key_path(folder / '.sluicegate')} exists: a gate ran here before there was "
            "a policy, and made a key and a ledger that no policy trusts",
            next_step=f"move {folder / '.sluicegate'} away, and run init again",
        )
    public = folder / "keys" / "gates.pub.pem"
    private = make_key(folder / ".sluicegate", public)
    suite = _SUITE.format(suite=_quote(args.suite)) if args.suite else _NO_SUITE
    ledger = make_ledger_key(folder / ".sluicegate", folder / "keys" / "ledger.vkey", folder)
    content = _POLICY.format(label=_quote(args.label), suite=suite)
    write_atomically(policy, content.encode())
    load_policy(policy)
    if args.json:
        emit(
            {
                "policy": str(policy),
                "private_key": str(private),
                "public_key": str(public),
                "ledger_key": str(ledger),
            }
        )
    else:
        print(f"policy       {policy}")
        print(f"public key   {public}")
        print(f"private key  {private}  (only the gates may read it)")
        print(f"ledger key   {ledger}  (signs checkpoints; only the gates may read it)")
        print(f"next: edit {policy.name}, then `sluicegate secure SUBJECT --purpose train`")
    return PASSED


def make_key(evidence: Path, public: Path) -> Path:
    """Make a signing key in an evidence folder that git ignores; return the private file.

    Raises:
        KeyFileError: there is one already.
    """
    private = default_key_path(evidence)
    new_key_pair(private, public, password=key_password())
    write_atomically(evidence / ".gitignore", b"*\n")
    return private


def make_ledger_key(evidence: Path, public: Path, project: Path) -> Path:
    """Make the key of a project's ledger; return the private file.

    Raises:
        KeyFileError: there is one already.
    """
    private = default_ledger_key_path(evidence)
    words = re.sub(r"[^A-Za-z0-9.-]+", "-", project.name).strip("-") or "project"
    origin = f"{words}.sluicegate.local/{secrets.token_hex(4)}"
    new_note_key(private, public, name=origin, password=key_password())
    return private


def _quote(text: str) -> str:
    """Write text as a YAML double-quoted scalar."""
    return json.dumps(text, ensure_ascii=False)
