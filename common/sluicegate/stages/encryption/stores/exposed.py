"""Whether the policy of a store lets everybody in."""

from __future__ import annotations

import json

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Finding
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.stores.base import Judgement, Store

__all__ = ["judge_policy", "with_resource"]


def judge_policy(
    store: Store, policy: str | None, actions: tuple[str, ...], *resources: str
) -> Judgement:
    """Judge a resource policy by evaluating it; no policy lets nobody in.

    Args:
        store: whose policy it is.
        policy: its JSON text.
        actions: what nobody but named accounts may do; ``*`` is wild.
        resources: ARNs on which they matter; by default the store's own.
    """
    from sluicegate.stages.encryption.iam import Exposure, outside_access, parse_policy

    if not policy:
        return ()
    try:
        document = parse_policy(policy)
    except ConfigurationError as error:
        return Unknown(f"the resource policy cannot be read: {error.what}")
    unknown: Unknown | None = None
    for resource in resources or (store.arn.text,):
        answer = outside_access(
            document,
            resource=resource,
            actions=actions,
            owner=store.arn.account,
            now=store.scope.now,
            anonymous_only=True,
        )
        if answer.exposure is Exposure.OPEN:
            request: dict[str, Json] = dict(answer.counterexample or {})
            message = "expected a resource policy for named accounts, found one that lets all in"
            return (Finding(message=message, evidence={"succeeds": request}),)
        if answer.exposure is not Exposure.REFUSED:
            unknown = Unknown(answer.reason)
    return unknown or ()


def with_resource(policy: str | None, resource: str) -> str | None:
    """Return a policy whose statements say what they are about.

    Policies of ECR name no resource: they are about the repository that has them. The
    grammar of IAM wants one.
    """
    try:
        document = json.loads(policy or "null")
    except json.JSONDecodeError:
        return policy
    if not isinstance(document, dict):
        return policy
    statements = document.get("Statement")
    for statement in statements if isinstance(statements, list) else [statements]:
        if isinstance(statement, dict) and "NotResource" not in statement:
            statement.setdefault("Resource", resource)
    return json.dumps(document)
