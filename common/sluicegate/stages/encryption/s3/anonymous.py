"""Ask for one byte of one object without credentials.

This is the only request of the project that is made without credentials: it goes to the
same endpoint, for an object that the user named as subject, and reads one byte at most.
"""

from __future__ import annotations

from typing import Any, Final

from sluicegate.model import Check, Finding
from sluicegate.stages.encryption.aws import Aws, ask
from sluicegate.stages.encryption.s3.object_questions import PUBLIC_READ

__all__ = ["public_read"]

_CALL: Final = "s3.get_object without credentials"
_REFUSED: Final = (401, 403)
_READABLE: Final = (200, 206, 416)
"""416: an empty object has no first byte; S3 says so only to those who may read it."""


def public_read(aws: Aws, bucket: str, key: str, path: str) -> Check:
    """Answer whether everybody may read an object.

    Only this object: an access control list may open another one.
    """
    from botocore.exceptions import ClientError

    target, statuses = f"s3://{bucket}/{key}", []

    def call() -> Any:
        try:
            got = _client(aws).get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
        except ClientError as error:
            statuses.append(int(error.response["ResponseMetadata"]["HTTPStatusCode"]))
            raise
        got["Body"].close()
        statuses.append(int(got["ResponseMetadata"]["HTTPStatusCode"]))
        return got

    answer = ask(_CALL, call)
    status = statuses[-1] if statuses else 0
    if status in _REFUSED:
        return PUBLIC_READ.passed(target)
    if status in _READABLE:
        finding = Finding(
            message=f"everybody can read {target}: a request without credentials was answered "
            f"with {status}, expected 403",
            files=(path,),
            evidence={"status": status},
        )
        return PUBLIC_READ.failed([finding], target)
    reason = getattr(answer, "reason", f"{_CALL}: the service answered {status}")
    return PUBLIC_READ.unknown(reason, target)


def _client(aws: Aws) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        signature_version=UNSIGNED,
        retries={"mode": "standard", "total_max_attempts": aws.attempts},
        connect_timeout=aws.seconds,
        read_timeout=aws.seconds,
    )
    return boto3.client("s3", config=config)
