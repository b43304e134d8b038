"""What is asked of single objects on S3."""

from __future__ import annotations

from typing import Final

from sluicegate.model import Severity
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question

__all__ = [
    "BUCKET_KEY",
    "CHECKSUM",
    "INCOMPLETE_UPLOADS",
    "KEY",
    "LOCK",
    "MODE",
    "OLD_VERSIONS",
    "PUBLIC_READ",
    "QUESTIONS",
    "SAMPLE",
    "VERSION",
]

_HEAD: Final = ("s3.head_object", "s3.get_object (first byte, where HEAD answers 400)")
_REPORT: Final = ("s3.list_objects_v2 and s3.get_object (with an inventory)",)
_GET: Final = Permission("s3:GetObject", "objects")
_INVENTORY: Final = (
    Permission("s3:GetObject", "inventory"),
    Permission("s3:ListBucket", "listing"),
)
_RECRYPT: Final = (
    "aws s3 cp s3://BUCKET/PREFIX s3://BUCKET/PREFIX --recursive --sse aws:kms "
    "--sse-kms-key-id KEY_ARN; a new default encryption does not touch objects that are there"
)

MODE: Final = Question(
    id="encryption.s3_object_mode",
    asks="Is each object stored in a wanted mode of server-side encryption?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=_HEAD + _REPORT,
    permissions=(_GET, *_INVENTORY),
    remedy=_RECRYPT,
    controls=Controls(nist=("SC-28(1)",), csf=("PR.DS-01",)),
    simulator="SSE-C: objects under a customer's key can be read without it",
)
KEY: Final = Question(
    id="encryption.s3_object_key",
    asks="Is each object that is encrypted under a KMS key under one of the wanted keys?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=(*_HEAD, "kms.describe_key (for aliases)"),
    permissions=(_GET, Permission("kms:DescribeKey", "key")),
    remedy=_RECRYPT,
    controls=Controls(nist=("SC-12", "SC-28(1)"), csf=("PR.DS-01",)),
    simulator="the key of an object stored with aws:kms:dsse is lost",
)
SAMPLE: Final = Question(
    id="encryption.s3_object_sample",
    asks="Does the sample rule out the given share of objects in other modes or under other keys?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=_HEAD,
    permissions=(_GET,),
    remedy=_RECRYPT,
    controls=Controls(nist=("SC-28(1)",), csf=("PR.DS-01",)),
)
BUCKET_KEY: Final = Question(
    id="encryption.s3_object_bucket_key",
    asks="Do objects under SSE-KMS use a bucket key, which spares calls to KMS?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=_HEAD,
    permissions=(_GET,),
    remedy="aws s3api put-bucket-encryption with BucketKeyEnabled=true, then copy the objects "
    "onto themselves with --bucket-key-enabled",
)
VERSION: Final = Question(
    id="encryption.s3_object_version",
    asks="Has each object a version id, so that rewriting it without encryption leaves a trace?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=_HEAD,
    permissions=(_GET,),
    remedy="aws s3api put-bucket-versioning --bucket BUCKET "
    "--versioning-configuration Status=Enabled, then write the objects again",
    controls=Controls(fsbp=("S3.14",), nist=("CP-9",)),
)
CHECKSUM: Final = Question(
    id="encryption.s3_object_checksum",
    asks="Does S3 keep the SHA-256 of each whole object, and is it that of the bytes examined?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.head_object (ChecksumMode=ENABLED)",),
    permissions=(_GET, Permission("kms:Decrypt", "key")),
    remedy="upload with aws s3 cp --checksum-algorithm SHA256 in one part "
    "(aws s3api put-object --checksum-algorithm SHA256)",
    simulator="a wrong checksum is accepted at upload",
)
LOCK: Final = Question(
    id="encryption.s3_object_lock",
    asks="Is each object locked against deletion and change of its version?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.head_object", "s3.get_object_retention"),
    permissions=(
        _GET,
        Permission("s3:GetObjectRetention", "objects"),
        Permission("s3:GetObjectLegalHold", "objects"),
    ),
    remedy="aws s3api put-object-retention --bucket BUCKET --key KEY "
    "--retention Mode=COMPLIANCE,RetainUntilDate=DATE",
    controls=Controls(fsbp=("S3.15",), nist=("CP-9",)),
)
OLD_VERSIONS: Final = Question(
    id="encryption.s3_old_versions",
    asks="Are old versions below the prefix stored in a wanted mode, too?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=("s3.list_object_versions", "s3.head_object (VersionId)"),
    permissions=(
        Permission("s3:ListBucketVersions", "bucket"),
        Permission("s3:GetObjectVersion", "objects"),
    ),
    remedy="aws s3api delete-object --bucket BUCKET --key KEY --version-id ID for each, or a "
    "lifecycle rule with NoncurrentVersionExpiration",
    controls=Controls(nist=("SC-28(1)",), csf=("PR.DS-01",)),
)
INCOMPLETE_UPLOADS: Final = Question(
    id="encryption.s3_incomplete_uploads",
    asks="Is the prefix free of uploads that were begun more than seven days ago and not ended?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.list_multipart_uploads",),
    permissions=(Permission("s3:ListBucketMultipartUploads", "bucket"),),
    remedy="a lifecycle rule with AbortIncompleteMultipartUpload DaysAfterInitiation=7",
    simulator="every upload was begun in 2010",
)
PUBLIC_READ: Final = Question(
    id="encryption.s3_public_read",
    asks="Is a request without credentials for one of the objects refused?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=("s3.get_object (first byte, without credentials)",),
    remedy="aws s3api put-public-access-block --bucket BUCKET "
    "--public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,"
    "BlockPublicPolicy=true,RestrictPublicBuckets=true",
    controls=Controls(fsbp=("S3.2",)),
    simulator="requests without credentials are accepted unless IAM is switched on",
)
QUESTIONS: Final = (
    MODE,
    KEY,
    SAMPLE,
    BUCKET_KEY,
    VERSION,
    CHECKSUM,
    LOCK,
    OLD_VERSIONS,
    INCOMPLETE_UPLOADS,
    PUBLIC_READ,
)
