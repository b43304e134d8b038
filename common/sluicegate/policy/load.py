"""Read a policy file: YAML to typed values, or an error with file, line and key."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from sluicegate.errors import ConfigurationError, PolicyError, SluicegateError, SubjectError
from sluicegate.ledger.note import NoteVerifier
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.model import Severity, Verdict
from sluicegate.policy.model import (
    DEFAULT_ACTIONS,
    Approvals,
    CheckRule,
    Policy,
    Purpose,
    Requirement,
    RowLimit,
    StageRules,
    TrustedKey,
    Waiver,
)
from sluicegate.policy.reader import Node, near_miss, read_yaml
from sluicegate.receipts.keys import PublicKey
from sluicegate.receipts.statement import APPROVAL, WORDS
from sluicegate.stages.registry import build_stage, stage_names, stage_type
from sluicegate.storage.local import open_plain
from sluicegate.storage.uri import SubjectUri

__all__ = ["POLICY_VARIABLE", "default_policy", "find_policy", "load_policy"]

POLICY_VARIABLE: Final = "SLUICEGATE_POLICY"
"""Environment variable that names the policy file."""
_VERSION: Final = 1
_KEYS: Final = {
    "version",
    "evidence",
    "hashing",
    "keys",
    "ledger",
    "purposes",
    "quarantine",
    "rules",
    "samples",
    "waivers",
}
_LOCKS: Final = ("COMPLIANCE", "GOVERNANCE")
_SHARING: Final = ("locks", "links")
_MAX_VKEY_BYTES: Final = 4096
_ACTIONS: Final = (Verdict.WARN.value, Verdict.QUARANTINE.value, Verdict.BLOCK.value)


def find_policy(given: str | os.PathLike[str] | None) -> Path:
    """Return the policy file to use.

    The one given, else the one that ``SLUICEGATE_POLICY`` names, else ``policy.yaml`` in the
    working directory.

    Raises:
        PolicyError: there is none.
    """
    named = given or os.environ.get(POLICY_VARIABLE)
    if named:
        return Path(named)
    here = Path("policy.yaml")
    if here.exists():
        return here
    raise PolicyError(
        "no policy: none was given, and there is no policy.yaml in the working directory",
        next_step=f"pass policy=…, set {POLICY_VARIABLE}, or run `sluicegate init`",
    )


def default_policy(folder: Path) -> Policy:
    """Return the rules that apply where there is no policy: defaults, no purposes, no keys.

    Good for looking at data by hand. Nothing can be cleared for a purpose under it.
    """
    evidence = folder / ".sluicegate"
    return Policy(
        source="the built-in rules",
        evidence=evidence,
        quarantine=SubjectUri.parse(evidence / "quarantine"),
    )


def load_policy(policy: Policy | str | os.PathLike[str] | None = None) -> Policy:
    """Read a policy file; relative paths in it start from its own folder.

    Args:
        policy: a file, an already loaded policy, or None for the one that
            :func:`find_policy` finds.

    Raises:
        PolicyError: unreadable or wrong; says file, line and key.
    """
    if isinstance(policy, Policy):
        return policy
    path = find_policy(policy).resolve()
    root = read_yaml(path)
    keys = root.mapping(_KEYS)
    version = root.required(keys, "version")
    if version.integer() != _VERSION:
        version.fail(f"this sluicegate reads policies of version {_VERSION}")
    base = path.parent
    evidence = _evidence(keys["evidence"], base) if "evidence" in keys else base / ".sluicegate"
    hashing = keys["hashing"].mapping({"cache", "rehash"}) if "hashing" in keys else {}
    return Policy(
        source=str(path),
        evidence=evidence,
        quarantine=(
            _place(keys["quarantine"], base)
            if "quarantine" in keys
            else SubjectUri.parse(evidence / "quarantine")
        ),
        purposes=_purposes(keys["purposes"], base) if "purposes" in keys else {},
        rules=_rules(keys["rules"]) if "rules" in keys else {},
        waivers=tuple(map(_waiver, keys["waivers"].items())) if "waivers" in keys else (),
        keys=_keys(keys["keys"], base) if "keys" in keys else (),
        samples=keys["samples"].boolean() if "samples" in keys else False,
        ledger=_ledger(keys["ledger"], base, evidence) if "ledger" in keys else None,
        hash_cache=base / hashing["cache"].text() if "cache" in hashing else None,
        **({"rehash": hashing["rehash"].share()} if "rehash" in hashing else {}),
    )


def _evidence(node: Node, base: Path) -> Path:
    uri = _place(node, base)
    if uri.scheme != "file":
        node.fail(
            f"the evidence folder is a local or mounted folder, not {uri.scheme}://",
            "mount shared storage on every worker, and name the folder here",
        )
    return uri.local


def _ledger(node: Node, base: Path, evidence: Path) -> LedgerSettings:
    keys = node.mapping(
        {
            "location",
            "key",
            "witnesses",
            "witnessed_by",
            "witnessed_within",
            "remember",
            "sharing",
            "object_lock",
            "retain",
        }
    )
    witnesses = keys["witnesses"].items() if "witnesses" in keys else ()
    known = tuple(_vkey(item, base) for item in witnesses)
    try:
        return LedgerSettings(
            location=(
                _place(keys["location"], base)
                if "location" in keys
                else SubjectUri.parse(evidence / "ledger")
            ),
            key=_vkey(keys["key"], base) if "key" in keys else None,
            witnesses=known,
            witnessed_by=keys["witnessed_by"].integer() if "witnessed_by" in keys else len(known),
            witnessed_within=(
                keys["witnessed_within"].duration() if "witnessed_within" in keys else None
            ),
            remember=base / keys["remember"].text() if "remember" in keys else None,
            links="sharing" in keys and keys["sharing"].choice(_SHARING) == "links",
            object_lock=keys["object_lock"].choice(_LOCKS) if "object_lock" in keys else None,
            retain_days=keys["retain"].duration().days if "retain" in keys else 0,
        )
    except PolicyError:
        raise
    except ConfigurationError as error:
        node.fail(error.what, error.next_step)


def _vkey(node: Node, base: Path) -> NoteVerifier:
    path = base / node.text()
    try:
        with open_plain(path) as file:
            return NoteVerifier.parse(file.read(_MAX_VKEY_BYTES).decode())
    except (OSError, UnicodeDecodeError) as error:
        node.fail(f"cannot read the key {path}: {type(error).__name__}")
    except ConfigurationError as error:
        node.fail(error.what, error.next_step)


def _place(node: Node, base: Path) -> SubjectUri:
    text = node.text()
    try:
        return SubjectUri.parse(text if "://" in text else base / text)
    except SubjectError as error:
        node.fail(error.what, error.next_step)


def _purposes(node: Node, base: Path) -> dict[str, Purpose]:
    nodes = node.mapping()
    purposes = {name: _purpose(name, value, base) for name, value in nodes.items()}
    for name, purpose in purposes.items():
        if (asked := purpose.configuration) is None:
            continue
        place = nodes[name].mapping()["configuration"]
        if asked not in purposes:
            place.fail(
                f"there is no purpose {asked!r}{near_miss(asked, purposes)}",
                f"purposes: {', '.join(purposes)}",
            )
        if purposes[asked].configuration is not None:
            place.fail(
                f"the purpose {asked!r} asks for cleared configuration itself",
                "let the chain end: the stages that clear configuration are configured here",
            )
    return purposes


def _purpose(name: str, node: Node, base: Path) -> Purpose:
    keys = node.mapping({"stages", "max_age", "signatures", "approvals", "configuration"})
    stages = list(node.required(keys, "stages").items())
    if not stages:
        keys["stages"].fail("a purpose needs at least one stage", "an empty list is no gate")
    return Purpose(
        name=name,
        requirements=tuple(_requirement(item, base) for item in stages),
        max_age=keys["max_age"].duration() if "max_age" in keys else None,
        signatures=_from_one(keys["signatures"]) if "signatures" in keys else 1,
        approvals=_approvals(keys["approvals"]) if "approvals" in keys else None,
        configuration=keys["configuration"].text() if "configuration" in keys else None,
    )


def _from_one(node: Node) -> int:
    if (number := node.integer()) < 1:
        node.fail("expected a number from 1")
    return number


def _approvals(node: Node) -> Approvals:
    keys = node.mapping({"by", "count", "max_age", "second_factor"})
    try:
        return Approvals(
            by=tuple(item.text() for item in node.required(keys, "by").items()),
            count=_from_one(keys["count"]) if "count" in keys else 1,
            max_age=keys["max_age"].duration() if "max_age" in keys else None,
            second_factor=keys["second_factor"].boolean() if "second_factor" in keys else True,
        )
    except PolicyError:
        raise
    except ConfigurationError as error:
        node.fail(error.what, error.next_step)


def _requirement(node: Node, base: Path) -> Requirement:
    """Read ``stage-name`` or ``stage-name: {option: value}``."""
    try:
        name, options = node.text(), None
    except PolicyError:
        entries = node.mapping()
        if len(entries) != 1:
            node.fail("expected a stage, written as its name or as `name: {option: value}`")
        ((name, options),) = entries.items()
    if name not in stage_names():
        node.fail(
            f"there is no stage {name!r}{near_miss(name, stage_names())}",
            f"stages: {', '.join(stage_names())}",
        )
    values = {key: value.plain() for key, value in options.mapping().items()} if options else {}
    try:
        return Requirement.of(build_stage(name, values, base=base))
    except SluicegateError as error:
        raise PolicyError(
            f"{node.where}: {node.key}: {error.what}", next_step=error.next_step
        ) from error


def _rules(node: Node) -> dict[str, StageRules]:
    return {name: _stage_rules(name, value) for name, value in node.mapping(stage_names()).items()}


def _stage_rules(stage: str, node: Node) -> StageRules:
    keys = node.mapping({"critical", "warning", "info", "checks", "quarantine_at_most"})
    actions = dict(DEFAULT_ACTIONS)
    for severity in Severity:
        if severity.value in keys:
            actions[severity] = Verdict(keys[severity.value].choice(_ACTIONS))
    checks = keys["checks"].mapping() if "checks" in keys else {}
    limit = (
        {"quarantine_at_most": _limit(keys["quarantine_at_most"])}
        if ("quarantine_at_most" in keys)
        else {}
    )
    return StageRules(
        actions=actions,
        checks={name: _check_rule(stage, name, rule) for name, rule in checks.items()},
        **limit,
    )


def _check_rule(stage: str, check: str, node: Node) -> CheckRule:
    known = getattr(stage_type(stage), "check_ids", ("*",))
    if not any(fnmatchcase(check, pattern) for pattern in known):
        node.fail(
            f"{stage} has no check {check!r}{near_miss(check, known)}",
            f"checks: {', '.join(known)}",
        )
    keys = node.mapping({"failed", "tolerate"})
    return CheckRule(
        action=Verdict(node.required(keys, "failed").choice(_ACTIONS)),
        tolerate=_limit(keys["tolerate"]) if "tolerate" in keys else None,
    )


def _limit(node: Node) -> RowLimit:
    keys = node.mapping({"rows", "share"})
    if not keys:
        node.fail("expected rows, share or both")
    return RowLimit(
        rows=keys["rows"].integer() if "rows" in keys else None,
        share=keys["share"].share() if "share" in keys else None,
    )


def _waiver(node: Node) -> Waiver:
    names = {"check", "subject", "owner", "reason", "expires"}
    keys = node.mapping(names)
    for name in sorted(names):
        node.required(keys, name)
    return Waiver(
        check=keys["check"].text(),
        subject=keys["subject"].text(),
        owner=keys["owner"].text(),
        reason=keys["reason"].text(),
        expires=keys["expires"].date(),
    )


def _keys(node: Node, base: Path) -> tuple[TrustedKey, ...]:
    found: list[TrustedKey] = []
    for item in node.items():
        trusted = _key(item, base)
        if any(trusted.key.id == other.key.id for other in found):
            item.fail("this key is listed twice; one entry says all it may sign")
        found.append(trusted)
    return tuple(found)


def _key(node: Node, base: Path) -> TrustedKey:
    keys = node.mapping(
        {
            "name",
            "file",
            "stages",
            "not_before",
            "not_after",
            "subjects",
            "revoked_at",
            "approvers",
        }
    )
    known = {*stage_names(), *WORDS, "*"}
    stages = [item.choice(sorted(known)) for item in node.required(keys, "stages").items()]
    if not stages:
        keys["stages"].fail("a key that may sign nothing should not be listed")
    approvers = [item.text() for item in keys["approvers"].items()] if "approvers" in keys else []
    if (APPROVAL in stages) != bool(approvers):
        node.fail(
            f"the word {APPROVAL!r} under `stages` and the names under `approvers` go together",
            "say whose approvals this key may sign",
        )
    subjects = [item.text() for item in keys["subjects"].items()] if "subjects" in keys else ["*"]
    if not subjects:
        keys["subjects"].fail("a key that may speak about no subject should not be listed")
    file = node.required(keys, "file")
    try:
        key = PublicKey.load(base / file.text())
    except ConfigurationError as error:
        file.fail(error.what, error.next_step)
    return TrustedKey(
        name=node.required(keys, "name").text(),
        key=key,
        stages=tuple(stages),
        not_before=keys["not_before"].start_of_date() if "not_before" in keys else None,
        not_after=keys["not_after"].end_of_date() if "not_after" in keys else None,
        subjects=tuple(subjects),
        revoked_at=_index(keys["revoked_at"]) if "revoked_at" in keys else None,
        approvers=tuple(approvers),
    )


def _index(node: Node) -> int:
    if (number := node.integer()) < 0:
        node.fail("expected the index of a ledger entry, from 0")
    return number
