"""The bucket of the example ``lake`` on a simulated AWS, for tests of the example pipelines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluicegate.cli.simulator import SimulatedAws, simulate_aws
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import default_key_path

EXAMPLES = Path(__file__).parents[1] / "example_dags"
BUCKET = ["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"]
HEADER = "s3:x-amz-server-side-encryption"


def deny(action, resources, **conditions):
    """Return a statement that refuses everybody under some conditions."""
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resources,
        "Condition": conditions,
    }


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        deny("s3:*", BUCKET, Bool={"aws:SecureTransport": "false"}),
        deny("s3:*", BUCKET, NumericLessThan={"s3:TlsVersion": 1.2}),
        deny("s3:PutObject", BUCKET[1], StringNotEquals={HEADER: "aws:kms"}, Null={HEADER: False}),
        deny("s3:PutObject", BUCKET[1], Null={f"{HEADER}-customer-algorithm": False}),
    ],
}
"""Refuses plain HTTP, old TLS, and every encryption but KMS."""


def mend(aws: SimulatedAws) -> str:
    """Set the bucket ``lake`` up as a careful team would; return the ARN of its key."""
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    aws.client("kms").enable_key_rotation(KeyId=key)
    s3 = aws.client("s3")
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket="lake",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
        },
    )
    every = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(
        Bucket="lake", PublicAccessBlockConfiguration=dict.fromkeys(every, True)
    )
    s3.put_bucket_ownership_controls(
        Bucket="lake", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    for item in s3.list_objects_v2(Bucket="lake").get("Contents", ()):
        s3.delete_object(Bucket="lake", Key=item["Key"])
    s3.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_policy(Bucket="lake", Policy=json.dumps(POLICY))
    return key


@dataclass(frozen=True)
class Lake:
    """A project for the examples, and the simulated AWS that its bucket is on."""

    aws: SimulatedAws
    folder: Path

    def environment(self) -> Mapping[str, str]:
        """Return what a process needs to run the examples."""
        return {
            **os.environ,
            **self.aws.environment(),
            "SLUICEGATE_POLICY": str(self.folder / "policy.yaml"),
            "LAKE": "s3://lake/digits",
        }


@contextmanager
def lake_project(folder: Path) -> Iterator[Lake]:
    """Run a simulated AWS with an empty bucket, and lay down the project of the examples."""
    shutil.copy(EXAMPLES / "lake.policy.yaml", folder / "policy.yaml")
    new_key_pair(default_key_path(folder / ".sluicegate"), folder / "keys" / "gates.pub.pem")
    with simulate_aws(folder / "aws") as aws:
        aws.client("s3").create_bucket(Bucket="lake")
        yield Lake(aws, folder)
