"""Who may reach a bucket: everyone, other accounts, and whose it is.

"Public" is decided from everything that has a say, not from one setting:

* A bucket policy opens the bucket if an anonymous request gets through it, or if AWS calls
  it public. ``RestrictPublicBuckets`` of the bucket or of its account takes that back.
* An access list opens it by a grant to all users or to all AWS users.
  ``IgnorePublicAcls`` takes that back, and so does switching access lists off.
* ``BlockPublicPolicy`` and ``BlockPublicAcls`` only refuse future changes: what is there
  stays in force, so they decide nothing here.

A grant to everybody that is narrowed to values of the policy, a VPC endpoint, an address
range or an organisation, is not public by AWS's published rules, nor here.

Not seen: access lists of single objects, access points, and what identity policies allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.iam import Answer, Exposure, outside_access
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question
from sluicegate.stages.encryption.s3.subject import Bucket

__all__ = ["ANSWERS"]

_GROUPS: Final = {
    "http://acs.amazonaws.com/groups/global/AllUsers": "everyone",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": "everyone with an AWS account",
}
"""Groups that stand for the public. Source: Amazon S3 User Guide, "Access control list (ACL)
overview"; the third group, log delivery, is a service."""
_LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"

_PUBLIC_BLOCK: Final = Permission("s3:GetBucketPublicAccessBlock", "bucket")
_ACCOUNT_BLOCK: Final = Permission("s3:GetAccountPublicAccessBlock", "account")
_ACL: Final = Permission("s3:GetBucketAcl", "bucket")
_OWNERSHIP: Final = Permission("s3:GetBucketOwnershipControls", "bucket")
_POLICY: Final = Permission("s3:GetBucketPolicy", "bucket")
_STATUS: Final = Permission("s3:GetBucketPolicyStatus", "bucket")

_EVERY_CALL: Final = (
    "s3.get_bucket_policy",
    "s3.get_bucket_policy_status",
    "s3.get_bucket_acl",
    "s3.get_bucket_ownership_controls",
    "s3.get_public_access_block",
    "s3control.get_public_access_block",
    "sts.get_caller_identity",
)
_EVERY_PERMISSION: Final = (_POLICY, _STATUS, _ACL, _OWNERSHIP, _PUBLIC_BLOCK, _ACCOUNT_BLOCK)
"""What it takes to know everything that has a say in who is let in."""

_ALL_BLOCKS: Final = (
    "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
)

_PUBLIC: Final = Question(
    id="encryption.s3_bucket_public",
    asks="Is the bucket closed to the public?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=_EVERY_CALL,
    permissions=_EVERY_PERMISSION,
    remedy="aws s3api put-public-access-block --bucket BUCKET "
    f"--public-access-block-configuration {_ALL_BLOCKS}",
    controls=Controls(fsbp=("S3.2", "S3.3"), csf=("PR.DS-01", "PR.AA-05")),
    simulator="moto enforces neither Block Public Access nor disabled access lists.",
)
_BLOCK: Final = Question(
    id="encryption.s3_bucket_public_access_block",
    asks="Does the bucket itself block public access, whatever its account does?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_public_access_block",),
    permissions=(_PUBLIC_BLOCK,),
    remedy="aws s3api put-public-access-block --bucket BUCKET "
    f"--public-access-block-configuration {_ALL_BLOCKS}",
    controls=Controls(fsbp=("S3.8",), cis=("2.1.4",), csf=("PR.AA-05",)),
)
_BLOCK_ACCOUNT: Final = Question(
    id="encryption.s3_account_public_access_block",
    asks="Does the account block public access to all of its buckets?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3control.get_public_access_block", "sts.get_caller_identity"),
    permissions=(_ACCOUNT_BLOCK,),
    remedy="aws s3control put-public-access-block --account-id ACCOUNT "
    f"--public-access-block-configuration {_ALL_BLOCKS}",
    controls=Controls(fsbp=("S3.1",), cis=("2.1.4",), csf=("PR.AA-05",)),
)
_OTHERS: Final = Question(
    id="encryption.s3_bucket_other_accounts",
    asks="Is the bucket closed to other accounts?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=_EVERY_CALL,
    permissions=_EVERY_PERMISSION,
    remedy="Name your own accounts as principals, or demand your organisation: "
    '"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-…"}}; switch access lists off: '
    "aws s3api put-bucket-ownership-controls --bucket BUCKET --ownership-controls "
    "'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'",
    controls=Controls(csf=("PR.AA-05",)),
    simulator="moto does not disable access lists.",
)
_ENFORCED: Final = Question(
    id="encryption.s3_bucket_ownership",
    asks="Does the bucket's owner own every object, with access lists (ACLs) switched off?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_bucket_ownership_controls",),
    permissions=(_OWNERSHIP,),
    remedy="aws s3api put-bucket-ownership-controls --bucket BUCKET --ownership-controls "
    "'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'",
    controls=Controls(fsbp=("S3.12",), csf=("PR.AA-05",)),
)
_OWNER: Final = Question(
    id="encryption.s3_bucket_owner",
    asks="Does the expected account own the bucket?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=("s3.head_bucket",),
    permissions=(Permission("s3:ListBucket", "bucket"),),
    remedy="Find out who owns the bucket; name another bucket, or the right account as owner",
    controls=Controls(csf=("PR.AA-05",)),
    simulator="moto does not enforce ExpectedBucketOwner: every account is accepted.",
)


# ------------------------------------------------------------------ the public


def _public(bucket: Bucket) -> Check:
    return _combine(_PUBLIC, bucket, _public_by_policy(bucket), _public_by_list(bucket))


def _combine(question: Question, bucket: Bucket, *found: Finding | Unknown | None) -> Check:
    """Return one answer from several ways in: one open way is enough, one doubt too."""
    findings = [one for one in found if isinstance(one, Finding)]
    if findings:
        return question.failed(findings, bucket.name)
    doubt = _doubt(*found)
    return question.unknown(doubt.reason, bucket.name) if doubt else question.passed(bucket.name)


def _doubt(*answers: object) -> Unknown | None:
    """Return what is not known of several answers, as one; None if all are."""
    reasons = dict.fromkeys(one.reason for one in answers if isinstance(one, Unknown))
    return Unknown("; ".join(reasons)) if reasons else None


def _public_by_policy(bucket: Bucket) -> Finding | Unknown | None:
    opens = _policy_opens(bucket)
    if opens is None:
        return None
    restricted = bucket.blocked("RestrictPublicBuckets")
    if restricted is True:
        return None
    # Open, and perhaps restricted: a guess either way would be worse than saying so.
    return _doubt(opens, restricted) or opens


def _policy_opens(bucket: Bucket) -> Finding | Unknown | None:
    """Return whether the bucket policy would let the public in, taken alone."""
    called, policy = bucket.called_public(), bucket.policy()
    answer = policy if isinstance(policy, Unknown) else _evaluate(bucket, anonymous_only=True)
    request = _request(answer)
    if called is True or request is not None:
        return Finding(
            message="expected the bucket to be closed to the public, found that its policy opens "
            "it, and that nothing restricts public policies",
            evidence={
                "called_public_by_aws": called if isinstance(called, bool) else None,
                "request": request,
            },
        )
    if called is False:
        return None  # the search may have doubts; AWS has none
    if isinstance(answer, Unknown):
        return _doubt(answer, called)
    return None if answer.exposure is Exposure.REFUSED else Unknown(answer.reason)


def _public_by_list(bucket: Bucket) -> Finding | Unknown | None:
    grants = _grants(bucket)
    if isinstance(grants, Unknown):
        opened: list[str] = []
    else:
        opened = sorted(
            f"{_GROUPS[uri]}: {grant.get('Permission', '')}"
            for grant in grants
            if (uri := grant.get("Grantee", {}).get("URI", "")) in _GROUPS
        )
        if not opened:
            return None
    counts = bucket.lists_count()
    if counts is False:
        return None
    ignored = bucket.blocked("IgnorePublicAcls")
    if ignored is True:
        return None
    return _doubt(grants, counts, ignored) or Finding(
        message="expected the bucket to be closed to the public, found grants to "
        f"{'; '.join(opened)} in its access list",
        evidence={"grants": list(opened)},
    )


def _evaluate(bucket: Bucket, *, anonymous_only: bool = False) -> Answer | Unknown:
    """Return whether the policy lets outsiders do anything to the bucket or its objects."""
    policy = bucket.policy()
    if isinstance(policy, Unknown):
        return policy
    owner = bucket.account()
    if isinstance(owner, Unknown) and not anonymous_only:
        return owner
    answers = [
        outside_access(
            policy,
            resource=f"arn:{bucket.partition()}:s3:::{bucket.name}{below}",
            actions=("s3:*",),
            owner=None if isinstance(owner, Unknown) else owner,
            now=bucket.now,
            anonymous_only=anonymous_only,
            partition=bucket.partition(),
        )
        for below in ("", "/*")
    ]
    # One way in is enough, and one doubt before two closed doors.
    order = (Exposure.OPEN, Exposure.UNKNOWN, Exposure.REFUSED)
    return min(answers, key=lambda answer: order.index(answer.exposure))


def _request(answer: Answer | Unknown) -> Mapping[str, Any] | None:
    """Return the request that gets through, if one does."""
    if isinstance(answer, Unknown) or answer.exposure is not Exposure.OPEN:
        return None
    return dict(answer.counterexample or {})


# ------------------------------------------------------------- other accounts


def _others(bucket: Bucket) -> Check:
    return _combine(_OTHERS, bucket, _others_by_policy(bucket), _others_by_list(bucket))


def _others_by_policy(bucket: Bucket) -> Finding | Unknown | None:
    answer = _evaluate(bucket)
    if isinstance(answer, Unknown):
        return answer
    request = _request(answer)
    if request is None:
        return None if answer.exposure is Exposure.REFUSED else Unknown(answer.reason)
    if bucket.called_public() is True and bucket.blocked("RestrictPublicBuckets") is True:
        return None  # a public policy that is restricted lets in its own account alone
    return Finding(
        message="expected the bucket to be closed to other accounts, found a request of one that "
        "its policy lets through",
        evidence={"request": request},
    )


def _others_by_list(bucket: Bucket) -> Finding | Unknown | None:
    grants = _grants(bucket)
    others: list[str] = []
    if not isinstance(grants, Unknown):
        answer = bucket.ask("get_bucket_acl", "s3:GetBucketAcl")
        owner = answer.get("Owner", {}).get("ID") if isinstance(answer, Mapping) else None
        others = sorted(
            f"{grant.get('Permission', '')} to {grantee.get('Type', 'a grantee')} {who}"
            for grant in grants
            if (grantee := grant.get("Grantee", {}))
            and (who := grantee.get("ID") or grantee.get("URI") or "not named")
            and who not in (owner, _LOG_DELIVERY)
            and who not in _GROUPS
        )
        if not others:
            return None
    counts = bucket.lists_count()
    if counts is False:
        return None
    return _doubt(grants, counts) or Finding(
        message="expected the bucket to be closed to other accounts, found grants to "
        f"{len(others)} others in its access list",
        evidence={"grants": list(others)},
    )


def _grants(bucket: Bucket) -> tuple[Mapping[str, Any], ...] | Unknown:
    answer = bucket.ask("get_bucket_acl", "s3:GetBucketAcl")
    if isinstance(answer, Unknown):
        return answer
    if answer is None or not answer.get("Owner", {}).get("ID"):
        return Unknown("s3.get_bucket_acl: the answer names no owner")
    return tuple(answer.get("Grants", ()))


# ---------------------------------------------------------------- one setting


def _block(bucket: Bucket) -> Check:
    return _all_on(_BLOCK, bucket.blocks(), bucket.name)


def _block_account(bucket: Bucket) -> Check:
    account = bucket.account()
    target = bucket.name if isinstance(account, Unknown) else account
    return _all_on(_BLOCK_ACCOUNT, bucket.account_blocks(), target)


def _all_on(question: Question, blocks: Mapping[str, bool] | Unknown, target: str) -> Check:
    if isinstance(blocks, Unknown):
        return question.unknown(blocks.reason, target)
    off = sorted(name for name, value in blocks.items() if not value)
    if not off:
        return question.passed(target)
    message = f"expected all of Block Public Access to be on, found off: {', '.join(off)}"
    return question.failed([Finding(message=message, evidence=dict(blocks))], target)


def _enforced(bucket: Bucket) -> Check:
    ownership = bucket.ownership()
    if isinstance(ownership, Unknown):
        return _ENFORCED.unknown(ownership.reason, bucket.name)
    if ownership == "BucketOwnerEnforced":
        return _ENFORCED.passed(bucket.name)
    message = f"expected object ownership BucketOwnerEnforced, found {ownership or 'none'}"
    finding = Finding(message=message, evidence={"ownership": ownership})
    return _ENFORCED.failed([finding], bucket.name)


def _owner(bucket: Bucket) -> Check | None:
    """Ask with the owner demanded; if that is refused, whether it was for that reason."""
    expected = bucket.settings.owner
    if expected is None:
        return None
    answer = bucket.ask("head_bucket", "s3:ListBucket")
    if not isinstance(answer, Unknown):
        return _OWNER.passed(bucket.name)
    if "access denied" in answer.reason:
        anybody = bucket.calls.once(
            "s3.head_bucket",
            "s3:ListBucket",
            lambda: bucket.calls.aws.client("s3").head_bucket(Bucket=bucket.name),
            about="of any owner",
        )
        if isinstance(anybody, Mapping):
            message = f"expected account {expected} to own the bucket, found that it does not"
            return _OWNER.failed([Finding(message=message)], bucket.name)
    return _OWNER.unknown(answer.reason, bucket.name)


ANSWERS: Final[tuple[tuple[Question, Callable[[Bucket], Check | None]], ...]] = (
    (_PUBLIC, _public),
    (_BLOCK, _block),
    (_BLOCK_ACCOUNT, _block_account),
    (_OTHERS, _others),
    (_ENFORCED, _enforced),
    (_OWNER, _owner),
)
"""Each question with who answers it; None where it does not apply."""
