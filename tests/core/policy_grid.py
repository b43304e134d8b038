"""Every request that a bucket policy could tell from others, to find one that gets through.

A grid is made from the policy: its values, neighbours of them, values that it does not know,
and absent keys. Points that no line of the policy can tell apart are tried once.

The documentation leaves some requests open: may a key be absent, may an action exist
tomorrow? So there are two grids. The *strict* one holds only requests that AWS could see
today; one that succeeds is a hole. The *lenient* one holds more, in every doubtful reading;
if none succeeds the policy is sound. What lies between is debatable, and judges nobody.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tests.core.policy_oracle import (
    Context,
    Request,
    account_of,
    conditions,
    holds,
    is_arn,
    is_canonical,
    listed,
    moment,
    names_action,
    names_principal,
    names_resource,
    number,
    role_of,
    succeeds,
    text,
)

_OBJECT_ACTIONS = """AbortMultipartUpload DeleteObject DeleteObjectTagging DeleteObjectVersion
DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold
GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl
GetObjectVersionAttributes GetObjectVersionTagging GetObjectVersionTorrent
ListMultipartUploadParts PutObject PutObjectAcl PutObjectLegalHold PutObjectRetention
PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging RestoreObject"""
OBJECT_ACTIONS = _OBJECT_ACTIONS.split()
_PERMISSIONS_ONLY = """BypassGovernanceRetention GetObjectVersionForReplication
InitiateReplication ObjectOwnerOverrideToBucketOwner ReplicateDelete ReplicateObject
ReplicateTags UpdateObjectEncryption"""
PERMISSIONS_ONLY = _PERMISSIONS_ONLY.split()
"""Asked beside another action, or by S3 itself: only in the lenient grid."""
_BUCKET_ACTIONS = """DeleteBucket DeleteBucketPolicy DeleteBucketWebsite
GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAcl GetBucketCORS
GetBucketLocation GetBucketLogging GetBucketNotification GetBucketObjectLockConfiguration
GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock
GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite
GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration
GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration ListBucket
ListBucketMultipartUploads ListBucketVersions ListTagsForResource PutAccelerateConfiguration
PutAnalyticsConfiguration PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy
PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging PutBucketVersioning
PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration
PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
PutReplicationConfiguration TagResource UntagResource"""
BUCKET_ACTIONS = _BUCKET_ACTIONS.split()

SSE = "s3:x-amz-server-side-encryption"
SSE_C = "s3:x-amz-server-side-encryption-customer-algorithm"
SSE_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"


class Ask(StrEnum):
    PLAIN_HTTP = "plain_http"
    BELOW_TLS12 = "below_tls12"
    UNENCRYPTED_PUT = "unencrypted_put"


class Label(StrEnum):
    HOLE = "hole"
    SOUND = "sound"
    DEBATABLE = "debatable"


SECURE, TLS = "aws:securetransport", "s3:tlsversion"
TRANSPORTS: dict[Ask, list[dict[str, tuple[str, ...]]]] = {
    Ask.PLAIN_HTTP: [{SECURE: ("false",)}],
    Ask.BELOW_TLS12: [{SECURE: ("true",), TLS: (old,)} for old in ("1.0", "1.1")],
    Ask.UNENCRYPTED_PUT: [{SECURE: ("true",), TLS: (v,)} for v in ("1.3", "1.2", "1.1", "1.0")]
    + [{SECURE: ("false",)}],
}
FRESH = "999988887777"
"""An account that no policy names."""
TRUTHS = {"aws:multifactorauthpresent", "aws:viaawsservice", "aws:principalisawsservice"}
ADDRESSES = {"aws:sourceip", "aws:vpcsourceip"}
NUMBERS = {"aws:multifactorauthage", "s3:max-keys", "s3:signatureage"}
ACCOUNTS = {"aws:principalaccount", "aws:sourceaccount", "aws:resourceaccount"} | {
    "s3:resourceaccount"
}
CLOCKS = {"aws:currenttime", "aws:epochtime"}
WHO = {"aws:principalarn", "aws:principalaccount", "aws:principaltype"} | {
    "aws:principalisawsservice",
    "aws:principalservicename",
}
"""Follow from the principal."""
SIGNED = ("aws:principal", "aws:user", "aws:multifactor", "aws:tokenissue", "aws:sourceid")
"""How the keys start that only a signed request has."""
ALWAYS = {"aws:viaawsservice", "aws:requestedregion", "aws:resourceaccount"} | {
    "s3:resourceaccount"
}
SEVERAL = {"aws:tagkeys", "aws:principalorgpaths", "s3:requestobjecttagkeys"}
ENUMS = {
    SSE: ("AES256", "aws:kms", "aws:kms:dsse"),
    SSE_C: ("AES256",),
    "s3:authtype": ("REST-HEADER", "REST-QUERY-STRING", "POST"),
    "s3:signatureversion": ("AWS", "AWS4-HMAC-SHA256"),
    "s3:objectcreationoperation": ("true",),
}
HEADERS = {SSE, SSE_C, SSE_KEY}
_LISTING = {"s3:ListBucket", "s3:ListBucketVersions"}
ONLY_WITH = {key: {"s3:PutObject"} for key in (*HEADERS, "s3:x-amz-storage-class")} | {
    "s3:max-keys": _LISTING,
    "s3:prefix": _LISTING,
    "s3:x-amz-acl": {f"s3:Put{what}Acl" for what in ("Bucket", "Object", "ObjectVersion")}
    | {"s3:PutObject"},
    "s3:existingobjecttag/team": {f"s3:{deed}Object" for deed in ("Get", "Delete")},
    "aws:tagkeys": {"s3:TagResource", "s3:UntagResource"},
}
"""Actions whose requests can hold a key, for the keys that the random policies use; fewer
than there are will do."""


KMS_MODES = {"aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}


@dataclass(frozen=True, slots=True)
class Puts:
    """What is wanted of new objects, and what the bucket does by itself."""

    modes: tuple[str, ...] = ("SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C")
    keys: tuple[str, ...] = ()
    default_mode: str | None = None
    default_key: str | None = None

    def offended(self, context: Context) -> bool:
        """Return whether S3 would store an object otherwise than is wanted."""
        header = context.get(SSE, ("",))[0]
        mode, key = self.default_mode, self.default_key
        if SSE_C in context:
            mode = "SSE-C"
        elif header == "AES256":
            mode = "SSE-S3"
        elif header:
            mode, key = KMS_MODES.get(header), context.get(SSE_KEY, ("aws/s3",))[0]
        wrong_key = self.keys and mode in KMS_MODES.values() and key not in self.keys
        return mode not in self.modes or bool(wrong_key)

    def uploads(self, keys: set[str]) -> list[dict[str, tuple[str, ...]]]:
        """Return headers that offend: nothing that S3 itself would reject."""
        found: list[dict[str, tuple[str, ...]]] = [{}, {SSE_C: ("AES256",)}, {SSE: ("AES256",)}]
        for header in KMS_MODES:
            found.append({SSE: (header,)})
            found += [{SSE: (header,), SSE_KEY: (key,)} for key in sorted(keys)]
        return [one for one in found if self.offended(one)]


def statements_of(policy: Any) -> list[Any]:
    return listed((policy or {}).get("Statement"))


def instances(pattern: str) -> list[str]:
    """Return texts that a pattern matches."""
    return [
        re.sub(r"\$\{[^}]*\}", "x", pattern).replace("*", star).replace("?", "q")
        for star in ("x", "", "x/y")
    ]


def around(value: str) -> set[str]:
    """Return a value of a policy, what it matches, and its neighbours."""
    points = {value, *instances(value), value + "x", value[:-1], value.swapcase()}
    if (size := number(value)) is not None:
        points |= {f"{size + step:g}" for step in (-1, -0.1, 0, 0.1, 1)}
    if (at := moment(value)) is not None:
        points |= {(at + timedelta(seconds=step)).isoformat() for step in (-1, 0, 1)}
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return points - {""}
    first, last = network.network_address, network.broadcast_address
    inside = {str(first), str(last)}
    outside = {str(last + 1)} if int(last) + 1 < 2**network.max_prefixlen else set()
    return (points | inside | outside) - {""}


def valid(key: str, value: str, *, strict: bool) -> bool:
    """Return whether a key could hold this value; strictly: in a request of today."""
    if key in TRUTHS:
        return value in ("true", "false")
    if key in ADDRESSES:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            return False
    if key in NUMBERS:
        return value.isdigit()
    if key.endswith(":tokenissuetime"):
        return moment(value) is not None
    if strict and key in ENUMS:
        return value in ENUMS[key]
    return not (strict and key in ACCOUNTS) or re.fullmatch(r"\d{12}", value) is not None


class Grid:
    """Requests made from one policy, for one question."""

    def __init__(
        self,
        policy: Any,
        ask: Ask,
        bucket: str,
        owner: str | None,
        now: datetime,
        *,
        strict: bool,
        puts: Puts,
    ) -> None:
        self.policy, self.ask, self.bucket, self.owner = policy, ask, bucket, owner
        self.now, self.strict, self.puts = now, strict, puts
        self.version = (policy or {}).get("Version", "2008-10-17")
        self.statements = statements_of(policy)
        self.lines: dict[str, list[tuple[str, str, Any]]] = {}
        for statement in self.statements:
            for line in conditions(statement):
                self.lines.setdefault(line[1].lower(), []).append(line)
        self.variables = {
            found.split(",")[0].strip().lower()
            for found in re.findall(r"\$\{([^}]*)\}", repr(policy))
        } - {"*", "?", "$"}
        for key in self.variables:
            self.lines.setdefault(key, [])

    def requests(self) -> Iterator[tuple[Request, Any]]:
        """Return the requests of the grid, each with the part of the policy that names it."""
        people, deeds, things = self.principals(), self.deeds(), {}
        for kind in {kind for _, kind in deeds}:
            things[kind] = self.resources(kind)
        for who, (action, kind) in itertools.product(people, deeds):
            for resource in things[kind]:
                yield from self.contexts(who, action, resource)

    def contexts(self, who: str, action: str, resource: str) -> Iterator[tuple[Request, Any]]:
        near = [
            statement
            for statement in self.statements
            if names_principal(statement, who, wide=not self.strict)
            and names_action(statement, action)
            and ("${" in repr(statement) or names_resource(statement, resource, {}, self.version))
        ]
        keys = {key.lower() for statement in near for _, key, _ in conditions(statement)}
        if any("${" in repr(statement) for statement in near):
            keys |= self.variables
        fixed = {SECURE, TLS} | CLOCKS | (HEADERS if self.ask is Ask.UNENCRYPTED_PUT else set())
        free = sorted(keys - fixed)
        pools = [self.pool(key, who, action) for key in free]
        times = self.times() if keys & CLOCKS else [self.now]
        for transport, at, headers in itertools.product(
            TRANSPORTS[self.ask], times, self.headers()
        ):
            for point in itertools.product(*pools):
                context = {k: v for k, v in zip(free, point, strict=True) if v is not None}
                context |= transport | headers
                context["aws:currenttime"] = (at.isoformat().replace("+00:00", "Z"),)
                context["aws:epochtime"] = (str(int(at.timestamp())),)
                request = Request(who, action, resource, context)
                if not self.strict or coherent(request, self.owner):
                    yield request, {"Version": self.version, "Statement": near}

    def principals(self) -> list[str]:
        people = {"anonymous"}
        accounts = {*re.findall(r"\b\d{12}\b", repr(self.policy)), FRESH}
        if self.owner:
            accounts.add(self.owner)
        arns = {f"arn:aws:iam::{account}:root" for account in accounts}
        for account in accounts:
            arns |= {f"arn:aws:iam::{account}:user/x", f"arn:aws:iam::{account}:role/x"}
        for statement in self.statements:
            block = statement.get("Principal", statement.get("NotPrincipal"))
            for kind, entries in block.items() if isinstance(block, dict) else ():
                for entry in map(text, listed(entries)):
                    if kind == "AWS" and is_arn(entry):
                        arns.add(entry)
                    if kind == "Service" and entry != "*":
                        people.add(entry)
                    if kind == "CanonicalUser" and not self.strict:  # Of which account?
                        people.add(entry)
        for _, _, values in self.lines.get("aws:principalarn", ()):
            for value in map(text, listed(values)):
                arns |= {one for one in around(value) if one.count(":") >= 5}
                full = re.sub(r"^(arn:[^:]*:iam::)[^:]*[*?][^:]*:", rf"\g<1>{FRESH}:", value)
                arns |= {one for one in around(full) if one.count(":") >= 5}
        for arn in arns:
            found = re.fullmatch(r"arn:aws:iam::(\d{12}|cloudfront):(user|role)/(.+)", arn)
            if found and found[2] == "role":
                name = found[3].rsplit("/", 1)[-1]
                people.add(f"arn:aws:sts::{found[1]}:assumed-role/{name}/s")
            elif found or (account_of(arn) and not re.search(r"[*?]|:role/", arn)):
                people.add(arn)
        if not self.strict:
            people.add("fresh.amazonaws.com")
        return self.apart(
            sorted(people, key=lambda who: (is_arn(who), who)),
            lambda who: (
                is_arn(who),
                account_of(who) == self.owner,
                who == "anonymous",
                tuple(names_principal(s, who, wide=not self.strict) for s in self.statements),
                tuple(
                    self.told(key, value)
                    for key in sorted(WHO & self.lines.keys())
                    for value in [derived(who).get(key)]
                ),
            ),
        )

    def deeds(self) -> list[tuple[str, str]]:
        """Return actions, each with what it is done to."""
        if self.ask is Ask.UNENCRYPTED_PUT:
            return [("s3:PutObject", "object")]
        pairs = [(f"s3:{name}", "object") for name in OBJECT_ACTIONS]
        pairs += [(f"s3:{name}", "bucket") for name in BUCKET_ACTIONS]
        if not self.strict:
            invented = {f"s3:{name}" for name in (*PERMISSIONS_ONLY, "Zzz")}
            for statement in self.statements:
                for pattern in listed(statement.get("Action", statement.get("NotAction"))):
                    found = [one for one in instances(pattern) if one.lower().startswith("s3:")]
                    invented |= {*found, *(one + "x" for one in found)}
            pairs += [(name, kind) for name in sorted(invented) for kind in ("object", "bucket")]
        return self.apart(
            pairs,
            lambda pair: (
                pair[1],
                tuple(pair[0] in ONLY_WITH.get(key, ()) for key in sorted(self.lines)),
                tuple(names_action(statement, pair[0]) for statement in self.statements),
            ),
        )

    def resources(self, kind: str) -> list[str]:
        whole = f"arn:aws:s3:::{self.bucket}"
        if kind == "bucket":
            return [whole]
        names = {f"{whole}/fresh", f"{whole}/x", f"{whole}/x/y.z"}
        patterns = [
            pattern
            for statement in self.statements
            for pattern in listed(statement.get("Resource", statement.get("NotResource")))
        ]
        tails = {"x", ""}
        for pattern in patterns:
            tails |= {part for part in re.split(r"[*?]", pattern.partition("/")[2]) if part}
        for pattern in patterns:
            for tail in tails:
                one = re.sub(r"\$\{[^}]*\}", "x", pattern).replace("?", "q")
                names |= {one.replace("*", tail), one.replace("*", tail) + "x"}
                names |= {f"{whole}/{one.partition('/')[2].replace('*', tail)}"}
        objects = sorted(one for one in names if one.startswith(f"{whole}/") and one[-1] != "/")
        return self.apart(
            objects,
            lambda one: tuple(
                one if "${" in repr(s) else names_resource(s, one, {}, self.version)
                for s in self.statements
            ),
        )

    def pool(self, key: str, who: str, action: str) -> list[tuple[str, ...] | None]:
        """Return what a key may hold in such a request; None for absent."""
        if self.strict and key in WHO:
            return [derived(who).get(key)]
        if self.strict and action not in ONLY_WITH.get(key, {action}):
            return [None]
        if self.strict and not is_arn(who) and key.startswith(SIGNED):
            return [None]
        points = {"fresh", "true", "false", "198.51.100.77", "2001:db8:77::1", "77", FRESH}
        points |= {"2026-01-01T00:00:00Z", *ENUMS.get(key, ()), "x"}
        for _, _, values in self.lines[key]:
            for value in map(text, listed(values)):
                points |= around(value)
        if self.opaque(key):  # Every value counts by itself, so take few.
            points = {"x", "fresh", *ENUMS.get(key, ())}
            for _, _, values in self.lines[key]:
                points |= {one for value in map(text, listed(values)) for one in instances(value)}
        if self.owner and key.endswith(":resourceaccount") and self.strict:
            points = {self.owner}
        single = sorted(one for one in points if valid(key, one, strict=self.strict))
        found: list[tuple[str, ...] | None] = [(one,) for one in single]
        if key in SEVERAL or (not self.strict and any(":" in line[0] for line in self.lines[key])):
            own = self.apart(found, lambda value: self.told(key, value))
            found += [a + b for a in own for b in own if a and b and a < b]
            found += [tuple(one for part in own if part for one in part)]
        if not self.strict:
            found.append(derived(who).get(key))
        if not (self.strict and key in ALWAYS):
            found.insert(0, None)
        return self.apart(found, lambda value: self.told(key, value))

    def headers(self) -> list[dict[str, tuple[str, ...]]]:
        if self.ask is not Ask.UNENCRYPTED_PUT:
            return [{}]
        keys = {f"arn:aws:kms:eu-west-1:{FRESH}:key/fresh", *self.puts.keys}
        for _, _, values in self.lines.get(SSE_KEY, ()):
            for value in map(text, listed(values)):
                keys |= around(value)
        return self.puts.uploads(keys)

    def times(self) -> list[datetime]:
        found = {self.now}
        for key in CLOCKS:
            for _, _, values in self.lines.get(key, ()):
                for at in filter(None, (moment(text(value)) for value in listed(values))):
                    found |= {at + timedelta(seconds=step) for step in (-1, 0, 1)}
        return sorted(at for at in found if at >= self.now)

    def told(self, key: str, value: tuple[str, ...] | None) -> Any:
        """Return what the policy can see of one value: how each line that uses it comes out."""
        if self.opaque(key):
            return value
        context = {} if value is None else {key: value}
        return tuple(holds(*line, context, self.version) for line in self.lines[key])

    def opaque(self, key: str) -> bool:
        """Return whether a variable makes what the policy sees depend on other keys too."""
        return key in self.variables or any("${" in repr(line) for line in self.lines[key])

    def apart(self, points: list[Any], told: Callable[[Any], Any]) -> list[Any]:
        """Keep one of those points that the policy cannot tell apart."""
        kept: dict[Any, Any] = {}
        for point in points:
            kept.setdefault(told(point), point)
        return list(kept.values())


def derived(who: str) -> dict[str, tuple[str, ...]]:
    """Return the keys that follow from the principal."""
    account = account_of(who)
    if is_arn(who):
        session = ":assumed-role/" in who or ":role/" in who
        kind = "AssumedRole" if session else "Account" if who.endswith(":root") else "User"
        found = {"aws:principalarn": (role_of(who),), "aws:principaltype": (kind,)}
        found["aws:principalisawsservice"] = ("false",)
        return found | ({"aws:principalaccount": (account,)} if account else {})
    if who == "anonymous":
        return {"aws:principaltype": ("Anonymous",), "aws:principalisawsservice": ("false",)}
    if is_canonical(who):
        return {"aws:principalisawsservice": ("false",)}
    return {"aws:principalisawsservice": ("true",), "aws:principalservicename": (who,)}


def coherent(request: Request, owner: str | None) -> bool:
    """Return whether keys that depend on each other agree."""
    context = request.context
    private = "aws:sourcevpce" in context or "aws:sourcevpc" in context
    if private and "aws:sourceip" in context:
        return False
    if "aws:multifactorauthage" in context and context.get("aws:multifactorauthpresent") == (
        "false",
    ):
        return False
    if SSE_C in context and (SSE in context or SSE_KEY in context):
        return False
    if SSE_KEY in context and context.get(SSE, ("",))[0] not in ("aws:kms", "aws:kms:dsse"):
        return False
    claimed = context.get("aws:resourceaccount", context.get("s3:resourceaccount"))
    return claimed is None or owner is None or claimed == (owner,)


def find(
    policy: Any,
    ask: Ask,
    *,
    bucket: str,
    owner: str | None,
    now: datetime,
    strict: bool,
    puts: Puts = Puts(),
) -> Request | None:
    """Return a request of the grid that succeeds, if there is one."""
    grid = Grid(policy, ask, bucket, owner, now, strict=strict, puts=puts)
    for request, near in grid.requests():
        if succeeds(near, request, owner, wide=not strict):
            return request
    return None


def read_request(counterexample: Any) -> Request:
    """Read the JSON form of a request."""
    given = {key.lower(): value for key, value in counterexample["context"].items()}
    context = {key: tuple(map(text, listed(value))) for key, value in given.items()}
    parts = (counterexample[name] for name in ("principal", "action", "resource"))
    return Request(*parts, context)


def replays(
    policy: Any, ask: Ask, request: Request, *, bucket: str, owner: str | None, now: datetime
) -> str:
    """Say why a request that is said to get through does not; empty if it does."""
    context = {key: value for key, value in request.context.items() if key in (SECURE, TLS)}
    transports = [dict(one) for one in TRANSPORTS[ask]]
    if ask is Ask.UNENCRYPTED_PUT:  # Any transport will do, also one that is not given.
        transports += [{SECURE: ("true",)}, {}]
    if context not in transports:
        return f"transport {context}"
    if not re.fullmatch(rf"arn:aws:s3:::{bucket}(/.+)?", request.resource, re.DOTALL):
        return f"resource {request.resource}"
    if ask is Ask.UNENCRYPTED_PUT and request.action.lower() != "s3:putobject":
        return f"action {request.action}"
    if not request.action.lower().startswith("s3:"):
        return f"action {request.action}"
    times = [moment(value) for key in CLOCKS for value in request.context.get(key, ())]
    if any(at is None or at < now for at in times):
        return f"of another time: {times}"
    told = WHO if is_arn(request.principal) else set()
    given = {key: request.context[key] for key in told & request.context.keys()}
    claimed = {key: value for key, value in derived(request.principal).items() if key in given}
    if given != claimed:
        return f"{request.principal} has not {given}"
    if is_canonical(request.principal):
        owner = None  # It may be the owner's own id: a policy does not say.
    # Either reading of what NotPrincipal spares will do.
    if any(succeeds(policy, request, owner, wide=wide) for wide in (False, True)):
        return ""
    return "denied"


def label(
    policy: Any, ask: Ask, *, bucket: str, owner: str | None, now: datetime, puts: Puts = Puts()
) -> Label:
    """Say whether a policy leaves a hole."""
    given: Any = {"bucket": bucket, "owner": owner, "now": now, "puts": puts}
    if find(policy, ask, strict=False, **given) is None:
        return Label.SOUND  # The lenient grid holds the strict one.
    hole = find(policy, ask, strict=True, **given)
    return Label.DEBATABLE if hole is None else Label.HOLE
