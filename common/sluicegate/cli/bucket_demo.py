"""The part of the demo about storage: a bucket as it is found, mended, and undermined.

AWS is simulated on this machine (moto); the gates, the policy evaluation and the receipts
are those that run anywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sluicegate.cli.pipelines import Pipeline
from sluicegate.cli.simulator import SimulatedAws, simulate_aws

__all__ = ["BucketPipeline"]

_BUCKET: Final = "lake"
_PREFIX: Final = "digits"
_EVERYTHING: Final = [f"arn:aws:s3:::{_BUCKET}", f"arn:aws:s3:::{_BUCKET}/*"]
_CLI: Final = "import sys; from sluicegate.cli.main import main; sys.exit(main())"
_HEADER: Final = "s3:x-amz-server-side-encryption"


class BucketPipeline(Pipeline):
    """The bucket of the example ``lake``, on a simulated AWS."""

    name = "Storage"
    attacked = "three"
    rules = "lake.policy.yaml"

    def run(self) -> None:
        """Run everything while the simulation runs."""
        with simulate_aws(self.folder / "aws") as self._aws:
            super().run()

    def environment(self) -> dict[str, str]:
        """Return what points the commands at the simulation."""
        return {**super().environment(), **self._aws.environment()}

    def arrive(self) -> None:
        """Upload the delivery; it may not be trained on from where it arrived."""
        self.say(f"\n{self.name}: digits arrive in a bucket of a simulated AWS")
        self._s3.create_bucket(Bucket=_BUCKET)
        self._upload("receive")
        code, failed = self._gate("found")
        self.judge("Train from the bucket as it was found.", _few(failed) if code == 1 else "")

    def pipelines(self) -> None:
        """Mend the bucket as the report says; then it may be trained on."""
        self._mend()
        self._upload("receive again")
        code, failed = self._gate("mended")
        if code:
            self.fail(f"{self.name}: the mended bucket was not cleared: {_few(failed)}")
        else:
            self.say("  cleared   after key, default, policy, versions and objects were mended")

    def attacks(self) -> None:
        """Undermine the mended bucket in three ways that leave its settings alone, or nearly."""
        body = self._s3.get_object(Bucket=_BUCKET, Key=f"{_PREFIX}/part-0.parquet")["Body"].read()
        with self._without_policy():
            self._s3.put_object(
                Bucket=_BUCKET,
                Key=f"{_PREFIX}/part-0.parquet",
                Body=body,
                ServerSideEncryption="AES256",
            )
        self._expect_refusal("Write the same bytes again under another key.", "rewritten")
        self._upload("receive once more")
        exception = {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/legacy-*"}}
        self._put_policy(_policy(exception))
        self._expect_refusal("Except some roles from the ban on plain HTTP.", "excepted")
        self._put_policy(_policy({}))
        self._kms.schedule_key_deletion(KeyId=self._key, PendingWindowInDays=7)
        self._expect_refusal("Schedule the key for deletion.", "deleted")

    @property
    def _s3(self) -> Any:
        return self._aws.client("s3")

    @property
    def _kms(self) -> Any:
        return self._aws.client("kms")

    _aws: SimulatedAws
    _key: str

    def _upload(self, log: str) -> None:
        self.command(log.replace(" ", "-"), [sys.executable, "-c", "import lake; lake.receive()"])

    def _gate(self, log: str) -> tuple[int, list[Mapping[str, Any]]]:
        """Run the gate; return its exit code and the checks that failed."""
        words = ["gate", "check-encryption", f"s3://{_BUCKET}/{_PREFIX}"]
        code, output = self.command(
            log,
            [sys.executable, "-c", _CLI, *words, "--purpose", "train", "--json"],
            check=False,
        )
        report, _ = json.JSONDecoder().raw_decode(output, output.index("{"))
        checks = report.get("checks", [])
        return code, [check for check in checks if check["outcome"] != "passed"]

    def _expect_refusal(self, attack: str, log: str) -> None:
        code, failed = self._gate(log)
        self.judge(attack, _few(failed) if code == 1 else "")

    def _mend(self) -> None:
        """Do what the remedies in the report say."""
        key = self._kms.create_key()["KeyMetadata"]
        self._key = key["KeyId"]
        self._kms.enable_key_rotation(KeyId=self._key)
        self._s3.put_bucket_encryption(
            Bucket=_BUCKET,
            ServerSideEncryptionConfiguration={
                "Rules": [
                    {
                        "ApplyServerSideEncryptionByDefault": {
                            "SSEAlgorithm": "aws:kms",
                            "KMSMasterKeyID": key["Arn"],
                        },
                        "BucketKeyEnabled": True,
                        "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
                    }
                ]
            },
        )
        self._s3.put_public_access_block(
            Bucket=_BUCKET,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
        self._s3.put_bucket_ownership_controls(
            Bucket=_BUCKET,
            OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        )
        found = self._s3.list_objects_v2(Bucket=_BUCKET)["Contents"]
        for item in found:
            self._s3.delete_object(Bucket=_BUCKET, Key=item["Key"])
        self._s3.put_bucket_versioning(
            Bucket=_BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
        self._put_policy(_policy({}))

    def _put_policy(self, policy: Mapping[str, Any]) -> None:
        self._s3.put_bucket_policy(Bucket=_BUCKET, Policy=json.dumps(policy))

    @contextmanager
    def _without_policy(self) -> Iterator[None]:
        """Take the bucket policy away for a moment, as its owner can."""
        self._s3.delete_bucket_policy(Bucket=_BUCKET)
        try:
            yield
        finally:
            self._put_policy(_policy({}))


def _policy(exception: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bucket policy: no plain HTTP, no old TLS, no other encryption."""

    def deny(action: str, resource: list[str], **conditions: Any) -> dict[str, Any]:
        return {
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": resource,
            "Condition": conditions,
        }

    objects = _EVERYTHING[1:]
    return {
        "Version": "2012-10-17",
        "Statement": [
            deny("s3:*", _EVERYTHING, Bool={"aws:SecureTransport": "false"}, **exception),
            deny("s3:*", _EVERYTHING, NumericLessThan={"s3:TlsVersion": "1.2"}),
            deny(
                "s3:PutObject",
                objects,
                StringNotEquals={_HEADER: "aws:kms"},
                Null={_HEADER: "false"},
            ),
            deny("s3:PutObject", objects, Null={f"{_HEADER}-customer-algorithm": "false"}),
        ],
    }


def _few(checks: list[Mapping[str, Any]]) -> str:
    """Return the worst reasons, in one line."""
    order = ("critical", "warning", "info")
    ranked = sorted(checks, key=lambda check: order.index(check["severity"]))
    named = [check["id"].removeprefix("encryption.") for check in ranked]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return ", ".join(named[:3]) + more
