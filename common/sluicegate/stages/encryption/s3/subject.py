"""What can be asked about one bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.iam import PolicyDocument, parse_policy
from sluicegate.stages.encryption.s3.calls import Answered, Calls, Reply
from sluicegate.stages.encryption.s3.default import Default, ask_default, defaults_in
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings

__all__ = ["BLOCKS", "Bucket", "bucket_of"]

BLOCKS: Final = (
    "BlockPublicAcls",
    "BlockPublicPolicy",
    "IgnorePublicAcls",
    "RestrictPublicBuckets",
)
"""The four settings of Block Public Access. Source: Amazon S3 User Guide, "Blocking public
access to your Amazon S3 storage"."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket, asked lazily."""

    name: str
    settings: Settings
    now: datetime
    """When policies are judged."""
    calls: Calls

    def ask(self, method: str, action: str) -> Answered:
        """Call a method of the S3 client that takes nothing but the bucket.

        The owner is demanded with every call if it is configured, so that a bucket which
        somebody else created under that name cannot answer.
        """

        def call() -> Reply:
            client = self.calls.aws.client("s3")
            answer: Reply = getattr(client, method)(Bucket=self.name, **self.expected_owner)
            return answer

        return self.calls.once(f"s3.{method}", action, call)

    @property
    def expected_owner(self) -> Mapping[str, str]:
        """The argument that demands an owner, if one is configured."""
        owner = self.settings.owner
        return {"ExpectedBucketOwner": owner} if owner else {}

    def partition(self) -> str:
        """``aws``, ``aws-cn`` or ``aws-us-gov``, by the configured region."""
        answer = self.calls.once(
            "partition", "", lambda: {"name": self.calls.aws.client("s3").meta.partition}
        )
        return str(answer["name"]) if isinstance(answer, Mapping) else "aws"

    def account(self) -> str | Unknown:
        """Return the account that is taken for the owner: as configured, or the caller's.

        S3 tells a bucket's policy to identities of the owner's account alone, so that a
        caller who could read it belongs to that account. Source: Amazon S3 API,
        GetBucketPolicy.
        """
        if self.settings.owner:
            return self.settings.owner
        answer = self.calls.once(
            "sts.get_caller_identity",
            "",
            lambda: self.calls.aws.client("sts").get_caller_identity(),
        )
        if isinstance(answer, Mapping) and answer.get("Account"):
            return str(answer["Account"])
        reason = answer.reason if isinstance(answer, Unknown) else "it named no account"
        return Unknown(f"the owner of the bucket is not known: {reason}")

    def defaults(self) -> tuple[Default, ...] | Unknown | None:
        """Return the rules of the default encryption; None if there is none."""
        answer = self.ask_encryption()
        return defaults_in(answer) if isinstance(answer, Mapping) else answer

    def ask_encryption(self) -> Answered:
        """Ask for the default encryption."""
        return ask_default(self.calls, self.name, self.expected_owner)

    def policy(self) -> PolicyDocument | Unknown | None:
        """Return the bucket policy; None if there is none."""
        answer = self.ask("get_bucket_policy", "s3:GetBucketPolicy")
        if not isinstance(answer, Mapping):
            return answer
        try:
            return parse_policy(str(answer.get("Policy", "")))
        except ConfigurationError as error:
            return Unknown(f"the bucket policy cannot be judged: {error.what}")

    def called_public(self) -> bool | Unknown:
        """Return whether AWS calls the bucket policy public."""
        answer = self.ask("get_bucket_policy_status", "s3:GetBucketPolicyStatus")
        if isinstance(answer, Unknown):
            return answer
        if answer is None:
            return False
        verdict = answer.get("PolicyStatus", {}).get("IsPublic")
        if not isinstance(verdict, bool):
            return Unknown("s3.get_bucket_policy_status: the answer does not say")
        return verdict

    def blocks(self) -> Mapping[str, bool] | Unknown:
        """Return the bucket's own Block Public Access; all off if there is none."""
        return _blocks(self.ask("get_public_access_block", "s3:GetBucketPublicAccessBlock"))

    def account_blocks(self) -> Mapping[str, bool] | Unknown:
        """Return the account's Block Public Access; all off if there is none."""
        account = self.account()
        if isinstance(account, Unknown):
            return account
        return _blocks(
            self.calls.once(
                "s3control.get_public_access_block",
                "s3:GetAccountPublicAccessBlock",
                lambda: self.calls.aws.client("s3control").get_public_access_block(
                    AccountId=account
                ),
            )
        )

    def blocked(self, setting: str) -> bool | Unknown:
        """Return whether one setting is in force, by the bucket or by its account.

        What an account blocks only counts if the bucket is shown to be its own.
        """
        own = self.blocks()
        if isinstance(own, Mapping) and own[setting]:
            return True
        everywhere = self.account_blocks()
        proof = own if self.settings.owner else self.policy()
        if isinstance(everywhere, Mapping) and everywhere[setting]:
            return proof if isinstance(proof, Unknown) else True
        return next((one for one in (own, everywhere) if isinstance(one, Unknown)), False)

    def ownership(self) -> str | Unknown | None:
        """Return who owns new objects: ``BucketOwnerEnforced`` switches access lists off."""
        answer = self.ask("get_bucket_ownership_controls", "s3:GetBucketOwnershipControls")
        if not isinstance(answer, Mapping):
            return answer
        rules = answer.get("OwnershipControls", {}).get("Rules", ())
        return str(rules[0].get("ObjectOwnership", "")) if rules else None

    def lists_count(self) -> bool | Unknown:
        """Return whether access lists (ACLs) have any effect."""
        ownership = self.ownership()
        if isinstance(ownership, Unknown):
            return ownership
        return ownership != "BucketOwnerEnforced"


def bucket_of(scope: Scope) -> Bucket:
    """Return the bucket of an S3 subject."""
    settings = scope.settings
    doubt = f", or account {settings.owner} does not own the bucket" if settings.owner else ""
    name = scope.snapshot.uri.path.partition("/")[0]
    return Bucket(name, settings, scope.now, Calls(scope.aws, doubt=doubt))


def _blocks(answer: Answered) -> Mapping[str, bool] | Unknown:
    if isinstance(answer, Unknown):
        return answer
    found = (answer or {}).get("PublicAccessBlockConfiguration", {})
    return {name: found.get(name) is True for name in BLOCKS}
