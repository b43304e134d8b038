"""Objects in an S3 bucket: conditional writes, checksums, Object Lock.

Region, credentials and endpoint come from the usual AWS configuration. Stores differ in what
they enforce, so what a ledger rests on is checked here:

* that the store honours ``If-None-Match`` and ``If-Match`` at all: asked once, before the
  first write, with the object ``probe``;
* that what was created last is what lies there: batches and full tiles are read back;
* under Object Lock, that they are locked until then, and that they were never deleted and
  have one version: a batch that is written anew would be another history.

Locked are batches, full tiles and full bundles. The checkpoint and partial tiles are
replaced or removed; they follow from the batches.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sluicegate.errors import ConfigurationError, LedgerError, MissingExtraError
from sluicegate.ledger.link_objects import MAX_OBJECT_BYTES
from sluicegate.ledger.signatures import CHECKPOINT, WITNESSED
from sluicegate.storage.uri import SubjectUri

__all__ = ["S3Objects"]

_SECONDS: Final = 20
"""Wait for one answer; botocore asks up to five times."""
_CONNECTIONS: Final = 16
"""Above the files that are written at the same time."""
_DELETED_AT_ONCE: Final = 1000
"""What DeleteObjects takes."""
_LOST: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
"""Somebody else was first, or is at it (409, which the S3 reference says to retry)."""
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_PROBE: Final = "probe"
_NO_TAG: Final = '"00000000000000000000000000000000"'
"""An ETag that no object has."""
_MODES: Final = ("COMPLIANCE", "GOVERNANCE")
_ROUNDING: Final = timedelta(seconds=2)
"""Stores keep the date of a lock in whole seconds, or milliseconds."""


class S3Objects:
    """Objects below ``s3://bucket/prefix``."""

    def __init__(
        self,
        location: SubjectUri,
        *,
        object_lock: str | None = None,
        retain_days: int = 0,
        client: Any = None,
    ) -> None:
        """Use a prefix of a bucket.

        Args:
            location: ``s3://bucket/prefix``.
            object_lock: ``COMPLIANCE`` or ``GOVERNANCE`` locks what must never change; the
                bucket must have been made with Object Lock.
            retain_days: how long, in days.
            client: a boto3 S3 client, or None for one from the usual configuration.

        Raises:
            ConfigurationError: not such a location, an unknown mode, or a lock without days.
        """
        bucket, _, key = location.path.partition("/")
        if location.scheme != "s3" or not bucket:
            raise ConfigurationError(f"{location} is not s3://bucket/prefix")
        if object_lock not in (None, *_MODES):
            raise ConfigurationError(f"Object Lock has the modes {' and '.join(_MODES)}")
        if (object_lock is None) != (retain_days <= 0):
            raise ConfigurationError("Object Lock takes a mode and a number of days, both or none")
        self._location = location
        self._bucket = bucket
        self._prefix = f"{key}/" if key else ""
        self._mode = object_lock
        self._retain = timedelta(days=retain_days)
        self._client_kept = client
        self._conditional = False

    @property
    def where(self) -> str:
        """The location."""
        return str(self._location)

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return content and ETag; see :class:`Objects`."""
        answer = self._ask("read", _MISSING, "get_object", Key=self._key(name))
        if answer is None:
            return None
        with _Failures("read", self.where):
            content = answer["Body"].read(MAX_OBJECT_BYTES + 1)
        if len(content) > MAX_OBJECT_BYTES or len(content) != answer["ContentLength"]:
            raise LedgerError(f"{name} of {self.where} is too large, or was cut off while read")
        return content, str(answer["ETag"])

    def create(self, name: str, data: bytes) -> bool:
        """Put an object that is not there; see :class:`Objects`."""
        self._must_be_conditional()
        lasting = _is_lasting(name)
        if lasting and self._mode:
            self._must_not_be_deleted(name)
        until = datetime.now(UTC) + self._retain
        lock = {"ObjectLockMode": self._mode, "ObjectLockRetainUntilDate": until}
        if not self._put(name, data, IfNoneMatch="*", **(lock if lasting and self._mode else {})):
            return False
        if lasting:
            self._read_back(name, data, until)
        return True

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Put an object over the one that was read; see :class:`Objects`."""
        self._must_be_conditional()
        return self._put(name, data, **({"IfMatch": tag} if tag else {"IfNoneMatch": "*"}))

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin like this; see :class:`Objects`."""
        with _Failures("list", self.where):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(prefix)):
                for item in page.get("Contents", ()):
                    yield item["Key"][len(self._prefix) :]

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects; one that may not be deleted stays, which costs space only."""
        keys = [{"Key": self._key(name)} for name in names]
        for at in range(0, len(keys), _DELETED_AT_ONCE):
            some = {"Objects": keys[at : at + _DELETED_AT_ONCE], "Quiet": True}
            self._ask("tidy", frozenset({"AccessDenied", "403"}), "delete_objects", Delete=some)

    @property
    def _client(self) -> Any:
        if self._client_kept is None:
            try:
                import boto3
                from botocore.config import Config
            except ImportError as error:
                raise MissingExtraError("boto3", "s3", "a ledger on s3://") from error
            with _Failures("reach", self.where):
                self._client_kept = boto3.client(
                    "s3",
                    config=Config(
                        connect_timeout=_SECONDS,
                        read_timeout=_SECONDS,
                        max_pool_connections=_CONNECTIONS,
                    ),
                )
        return self._client_kept

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _ask(self, what: str, expected: frozenset[str], call: str, **parameters: Any) -> Any:
        """Call the client; None if it answers with one of the expected error codes."""
        from botocore.exceptions import ClientError

        with _Failures(what, self.where):
            try:
                return getattr(self._client, call)(Bucket=self._bucket, **parameters)
            except ClientError as error:
                if _code(error) in expected:
                    return None
                raise

    def _put(self, name: str, data: bytes, **conditions: Any) -> bool:
        # 404 answers an If-Match where there is no object any more.
        expected = _LOST | _MISSING if "IfMatch" in conditions else _LOST
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        answer = self._ask(
            "write to",
            expected,
            "put_object",
            Key=self._key(name),
            Body=data,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
            **conditions,
        )
        if answer is not None and answer.get("ChecksumSHA256", checksum) != checksum:
            raise LedgerError(f"{self.where} answers with another checksum for {name}")
        return answer is not None

    def _must_be_conditional(self) -> None:
        """Refuse a store that writes although the condition does not hold."""
        if self._conditional:
            return
        content = b"This store was asked whether it honours conditional writes.\n"
        if self._put(_PROBE, content, IfNoneMatch="*"):
            self._conditional = not self._put(_PROBE, content, IfNoneMatch="*")
        else:
            self._conditional = True
        self._conditional &= not self._put(_PROBE, content, IfMatch=_NO_TAG)
        if not self._conditional:
            raise ConfigurationError(
                f"the store of {self.where} ignores conditional writes (If-None-Match, If-Match)",
                next_step="two writers would overwrite each other: use a store that honours "
                "them, or a ledger in a folder",
            )

    def _read_back(self, name: str, data: bytes, until: datetime) -> None:
        answer = self._ask("read", frozenset(), "get_object", Key=self._key(name))
        with _Failures("read", self.where):
            content = answer["Body"].read(len(data) + 1)
        if content != data:
            raise LedgerError(
                f"{name} of {self.where} is not what was written a moment ago",
                next_step="the store damaged it, or ignores conditions; nothing was acknowledged",
            )
        if self._mode is None:
            return
        kept = answer.get("ObjectLockRetainUntilDate")
        if answer.get("ObjectLockMode") != self._mode or not kept or kept < until - _ROUNDING:
            raise LedgerError(
                f"{name} of {self.where} is not locked as asked: {self._mode} until {until:%F}",
                next_step="make the bucket with Object Lock, and allow s3:PutObjectRetention",
            )
        self._must_be_the_first_version(name)

    def _must_not_be_deleted(self, name: str) -> None:
        """Refuse to write where only a deletion makes room; that would be another history."""
        _, deleted = self._versions(name)
        if deleted:
            raise self._rewritten(name)

    def _must_be_the_first_version(self, name: str) -> None:
        """Look again after writing, because it may have been deleted in between."""
        versions, deleted = self._versions(name)
        if versions != 1 or deleted:
            raise self._rewritten(name)

    def _versions(self, name: str) -> tuple[int, int]:
        """Return how many versions and delete markers an object has; a thousand is enough."""
        key = self._key(name)
        with _Failures("list the versions of", self.where):
            found = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
        kinds = (found.get("Versions", ()), found.get("DeleteMarkers", ()))
        versions, deleted = (sum(item["Key"] == key for item in kind) for kind in kinds)
        return versions, deleted

    def _rewritten(self, name: str) -> LedgerError:
        return LedgerError(
            f"{name} of {self.where} was deleted, and would be written a second time",
            next_step="the versions that the bucket keeps are the evidence: remove the delete "
            "markers to restore the oldest ones; nothing was acknowledged",
        )


def _is_lasting(name: str) -> bool:
    """Say whether an object, once it is there, never changes and is never removed."""
    return name not in (CHECKPOINT, WITNESSED, _PROBE) and ".p/" not in name


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


class _Failures:
    """Turn what botocore raises into an error that names the place and the next step."""

    def __init__(self, what: str, where: str) -> None:
        self._what = what
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        if isinstance(error, NoCredentialsError):
            raise LedgerError(
                f"no AWS credentials for the ledger {self._where}",
                next_step="configure them for this worker (role, AWS_PROFILE or environment)",
            ) from error
        if isinstance(error, ClientError):
            code = _code(error)
            raise LedgerError(
                f"cannot {self._what} the ledger {self._where}: S3 answered {code}",
                next_step=_STEPS.get(code, "check the bucket and the permissions of this role"),
            ) from error
        if isinstance(error, BotoCoreError | ValueError | OSError):
            raise LedgerError(
                f"cannot {self._what} the ledger {self._where}: {type(error).__name__}",
                next_step="check region, endpoint and network; what was not answered may have "
                "been written, and counts as not acknowledged",
            ) from error


_STEPS: Final = {
    "AccessDenied": "allow s3:GetObject and s3:ListBucket (without it a missing object looks "
    "forbidden), to writers s3:PutObject, and with Object Lock s3:PutObjectRetention and "
    "s3:ListBucketVersions",
    "NoSuchBucket": "make the bucket, or correct the ledger's location in the policy",
    "InvalidRequest": "make the bucket with Object Lock, or do not ask for it",
    "InvalidBucketState": "make the bucket with Object Lock, or do not ask for it",
}
