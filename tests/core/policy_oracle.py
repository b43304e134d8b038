"""Who gets in? A second, naive opinion on one request against one bucket policy.

``succeeds`` follows the IAM documentation in its own order, without any cleverness: match the
principal, the action, the resource and each line of the condition; a Deny wins; who belongs
to the account of the bucket needs no Allow here. :mod:`tests.core.policy_grid` makes the
requests.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Context = Mapping[str, tuple[str, ...]]
"""Values by key in lower case; a key that is not in it is absent from the request."""


@dataclass(frozen=True, slots=True)
class Request:
    principal: str
    """``anonymous``, an ARN, a service name, or a canonical user id (64 hexadecimal digits)."""
    action: str
    resource: str
    context: Context


def listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


STAR, MARK = "\ue000", "\ue001"
"""Stand for a literal ``*`` and ``?`` in a pattern."""


def protect(value: str) -> str:
    return value.replace("*", STAR).replace("?", MARK)


def plain(pattern: str) -> str:
    return pattern.replace(STAR, "*").replace(MARK, "?")


@lru_cache(maxsize=100_000)
def wild(pattern: str, *, case: bool = True) -> re.Pattern[str]:
    signs = {"*": ".*", "?": ".", STAR: r"\*", MARK: r"\?"}
    expression = "".join(signs.get(char, re.escape(char)) for char in pattern)
    return re.compile(expression, re.DOTALL | (0 if case else re.IGNORECASE))


class UnresolvedError(Exception):
    """A policy variable has no value in this request."""


def expand(pattern: str, context: Context, version: str) -> str:
    """Replace policy variables; before version 2012-10-17 they are ordinary text."""
    if version != "2012-10-17" or "${" not in pattern:
        return pattern

    def one(found: re.Match[str]) -> str:
        body = found[1]
        if body in ("*", "?", "$"):
            return protect(body)
        parts = re.fullmatch(r"\s*([^,]+?)\s*(?:,\s*'(.*)'\s*)?", body, re.DOTALL)
        if parts is None:
            return found[0]
        values = context.get(parts[1].lower(), ())
        if len(values) == 1:
            return protect(values[0])
        if parts[2] is None:
            raise UnresolvedError(body)
        return protect(parts[2])

    return re.sub(r"\$\{([^}]*)\}", one, pattern)


@lru_cache(maxsize=100_000)
def arn_like(pattern: str, given: str) -> bool:
    """Each of the six parts by itself; the last one may hold colons."""
    wanted, parts = pattern.split(":", 5), given.split(":", 5)
    return len(wanted) == len(parts) == 6 and all(
        wild(a).fullmatch(b) for a, b in zip(wanted, parts, strict=True)
    )


def number(value: str) -> float | None:
    return float(value) if re.fullmatch(r"-?\d+(\.\d+)?", value) else None


def moment(value: str) -> datetime | None:
    if re.fullmatch(r"\d{9,}", value):
        return datetime.fromtimestamp(int(value), UTC)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def both(read: Callable[[str], Any], test: Callable[[Any, Any], bool]) -> Any:
    def compare(value: str, given: str) -> bool:
        a, b = read(plain(value)), read(given)
        return a is not None and b is not None and test(b, a)

    return compare


def in_network(value: str, given: str) -> bool:
    try:
        return ipaddress.ip_address(given) in ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False


OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "stringequals": (lambda v, g: plain(v) == g, False),
    "stringnotequals": (lambda v, g: plain(v) == g, True),
    "stringequalsignorecase": (lambda v, g: plain(v).lower() == g.lower(), False),
    "stringnotequalsignorecase": (lambda v, g: plain(v).lower() == g.lower(), True),
    "stringlike": (lambda v, g: wild(v).fullmatch(g) is not None, False),
    "stringnotlike": (lambda v, g: wild(v).fullmatch(g) is not None, True),
    "bool": (lambda v, g: v.lower() == g.lower(), False),
    "binaryequals": (lambda v, g: plain(v) == g, False),
    "ipaddress": (in_network, False),
    "notipaddress": (in_network, True),
    "arnequals": (arn_like, False),
    "arnlike": (arn_like, False),
    "arnnotequals": (arn_like, True),
    "arnnotlike": (arn_like, True),
}
"""How one value of the policy is compared with one of the request; true: then negated."""
for _kind, _read in (("numeric", number), ("date", moment)):
    OPERATORS[f"{_kind}equals"] = (both(_read, lambda g, v: g == v), False)
    OPERATORS[f"{_kind}notequals"] = (both(_read, lambda g, v: g == v), True)
    OPERATORS[f"{_kind}lessthan"] = (both(_read, lambda g, v: g < v), False)
    OPERATORS[f"{_kind}lessthanequals"] = (both(_read, lambda g, v: g <= v), False)
    OPERATORS[f"{_kind}greaterthan"] = (both(_read, lambda g, v: g > v), False)
    OPERATORS[f"{_kind}greaterthanequals"] = (both(_read, lambda g, v: g >= v), False)


def holds(operator: str, key: str, values: Any, context: Context, version: str) -> bool:
    """Return whether one line of a condition holds on a request."""
    found = []
    for value in map(text, listed(values)):
        try:
            found.append(expand(value, context, version))
        except UnresolvedError:
            continue
    return decide(operator.lower(), tuple(found), context.get(key.lower(), ()))


@lru_cache(maxsize=100_000)
def decide(name: str, values: tuple[str, ...], given: tuple[str, ...]) -> bool:
    if name == "null":
        return any(value.lower() == ("false" if given else "true") for value in values)
    qualifier, _, name = name.rpartition(":")
    if_exists, name = name.endswith("ifexists"), name.removesuffix("ifexists")
    compare, negated = OPERATORS[name]
    if not given:
        if if_exists or qualifier == "forallvalues":
            return True
        return negated and qualifier != "foranyvalue"
    hits = [any(compare(value, item) for value in values) != negated for item in given]
    return all(hits) if qualifier == "forallvalues" or (negated and not qualifier) else any(hits)


def account_of(principal: str) -> str | None:
    parts = principal.split(":")
    return parts[4] if len(parts) > 4 and re.fullmatch(r"\d{12}", parts[4]) else None


def role_of(principal: str) -> str:
    """Return the ARN of a session's role; of others their own."""
    found = re.fullmatch(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/.+", principal)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else principal


def account_entry(entry: str) -> str | None:
    found = re.fullmatch(r"(?:arn:[^:]+:iam::)?(\d{12})(?::root)?", entry)
    return found[1] if found else None


def is_arn(principal: str) -> bool:
    return principal.startswith("arn:")


def is_service(principal: str) -> bool:
    return re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?", principal) is not None


def is_canonical(principal: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", principal) is not None


def named(block: Any, principal: str, *, whole_accounts: bool) -> bool:
    """Return whether a principal element names someone."""
    if block == "*":
        return True
    for kind, entries in block.items():
        for entry in map(text, listed(entries)):
            account = account_entry(entry) if kind == "AWS" else None
            if kind == "AWS" and entry == "*":
                return True
            if account and whole_accounts and account_of(principal) == account:
                return True
            if account and principal.endswith(f":iam::{account}:root"):
                return True
            if kind == "AWS" and entry in (principal, role_of(principal)):
                return True
            if kind == "Service" and is_service(principal) and entry in ("*", principal):
                return True
            if kind == "Federated" and entry == principal:
                return True
            if kind == "CanonicalUser" and principal == entry:
                return True
    return False


def names_principal(statement: Any, principal: str, *, wide: bool) -> bool:
    if "NotPrincipal" in statement:
        # An account in NotPrincipal spares its root user; in the wide reading all of it.
        return not named(statement["NotPrincipal"], principal, whole_accounts=wide)
    return named(statement["Principal"], principal, whole_accounts=True)


@lru_cache(maxsize=100_000)
def covers(patterns: tuple[str, ...], action: str) -> bool:
    return any(wild(pattern, case=False).fullmatch(action) for pattern in patterns)


def names_action(statement: Any, action: str) -> bool:
    patterns = listed(statement.get("Action", statement.get("NotAction")))
    return covers(tuple(patterns), action) == ("Action" in statement)


def names_resource(statement: Any, resource: str, context: Context, version: str) -> bool:
    hit = False
    for pattern in listed(statement.get("Resource", statement.get("NotResource"))):
        try:
            whole = expand(pattern, context, version)
        except UnresolvedError:
            continue
        hit = hit or whole == "*" or arn_like(whole, resource)
    return hit == ("Resource" in statement)


def conditions(statement: Any) -> Iterator[tuple[str, str, Any]]:
    for operator, lines in (statement.get("Condition") or {}).items():
        for key, values in lines.items():
            yield operator, key, values


def resolved(statement: Any, context: Context, version: str) -> bool:
    """Return whether each policy variable of a statement has a value."""
    patterns = listed(statement.get("Resource", statement.get("NotResource")))
    values = [value for _, _, values in conditions(statement) for value in listed(values)]
    try:
        for one in map(text, (*patterns, *values)):
            expand(one, context, version)
    except UnresolvedError:
        return False
    return True


def applies(statement: Any, request: Request, version: str, *, wide: bool = False) -> bool:
    return (
        names_principal(statement, request.principal, wide=wide)
        and names_action(statement, request.action)
        and names_resource(statement, request.resource, request.context, version)
        and all(holds(*line, request.context, version) for line in conditions(statement))
        and (not wide or resolved(statement, request.context, version))
    )


def succeeds(policy: Any, request: Request, owner: str | None, *, wide: bool = False) -> bool:
    """Return whether a request gets through, given the most generous identity policy.

    Args:
        policy: the bucket policy as parsed JSON; None if there is none.
        request: what is asked.
        owner: account of the bucket; None: it may be anyone's.
        wide: the other reading of what the documentation leaves open: an account in
            NotPrincipal spares all of it, and a variable without a value voids a statement.
    """
    version = (policy or {}).get("Version", "2008-10-17")
    effects = {
        statement["Effect"]
        for statement in listed((policy or {}).get("Statement"))
        if applies(statement, request, version, wide=wide)
    }
    if "Deny" in effects:
        return False
    account = account_of(request.principal)
    if owner is None:  # A canonical user is an account too.
        return "Allow" in effects or account is not None or is_canonical(request.principal)
    return "Allow" in effects or account == owner
