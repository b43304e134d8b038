"""A vault in an S3 bucket, with versions and Object Lock.

An object is created only if there is none of its name (``If-None-Match``), with its retention
in the same request. A bucket with Object Lock keeps every version: what is written over an
object later, or a delete marker, hides it and does not remove it.

Nothing rests on the server keeping these promises. What is read is hashed by the reader,
and retention is read back.

Source: Amazon S3 API reference (PutObject, GetObject, PutObjectRetention, conditional writes).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from sluicegate.canonical import Digest
from sluicegate.errors import MissingExtraError, SubjectChangedError, SubjectError
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault_base import COMPLIANCE, GOVERNANCE, Fetched, Lock

__all__ = ["BucketShelf"]

_CHUNK: Final = 1 << 20
_SECONDS: Final = 20
"""Wait for one answer or the next bytes; botocore asks up to five times."""
_WHOLE_BYTES: Final = 256 << 20
"""Larger objects are sent in parts; S3 takes up to 5 GiB at once, and a broken connection
should not cost that much."""
_PART_BYTES: Final = 64 << 20
_MAX_PARTS: Final = 9_000
"""S3 takes 10,000 parts; larger objects get larger parts."""
_MAX_VERSIONS: Final = 10_000
"""Who may write could otherwise hide the right version behind any number of wrong ones."""
_TRIES: Final = 5
"""How often a conditional write is tried that S3 could not decide (409)."""


class BucketShelf:
    """Objects below a prefix; see :class:`~sluicegate.storage.vault_base.Shelf`."""

    threads = 16

    def __init__(self, uri: SubjectUri, client: Any = None) -> None:
        """Use ``client`` (a boto3 S3 client), or one made from the usual configuration."""
        self._uri = uri
        self._bucket, _, self._prefix = uri.path.partition("/")
        self._client = client or _make_client(uri)

    def can_lock(self) -> bool:
        """Ask whether the bucket has Object Lock; see ``Shelf``."""
        from botocore.exceptions import ClientError

        with _failures(self._uri):
            try:
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if _code(error) == "ObjectLockConfigurationNotFoundError":
                    return False
                raise
        return bool(answer["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled")

    def exists(self, name: str) -> bool:
        """Ask for the object's head; see ``Shelf``."""
        from botocore.exceptions import ClientError

        with _failures(self._uri):
            try:
                self._client.head_object(**self._place(name))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return True

    def create(
        self, name: str, source: IO[bytes], *, size: int, digest: Digest, lock: Lock | None
    ) -> bool:
        """Upload an object if there is none, locked in the same request; see ``Shelf``."""
        place = self._place(name)
        held = (
            {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": lock.until} if lock else {}
        )
        if size > _WHOLE_BYTES:
            return self._create_in_parts(name, source, size, digest, held)
        checksum = base64.b64encode(bytes.fromhex(digest.hex)).decode()

        def put() -> None:
            source.seek(0)
            self._client.put_object(
                **place,
                **held,
                Body=source,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
            )

        return self._if_free(put)

    def _create_in_parts(
        self,
        name: str,
        source: IO[bytes],
        size: int,
        digest: Digest,
        held: dict[str, Any],
    ) -> bool:
        if self.exists(name):
            return False
        place = self._place(name)
        length = max(_PART_BYTES, -(-size // _MAX_PARTS))
        with _failures(self._uri):
            upload = self._client.create_multipart_upload(
                **place, **held, ChecksumAlgorithm="SHA256"
            )["UploadId"]
        done, hasher = False, hashlib.sha256()
        try:
            parts = list(self._send_parts(place, upload, source, length, hasher))
            if hasher.hexdigest() != digest.hex:
                raise SubjectChangedError(
                    f"what was to be stored as {place['Key']} has other bytes: expected {digest}, "
                    f"found sha256:{hasher.hexdigest()}",
                    next_step="find out who writes to the subject; run the gate again",
                )

            def complete() -> None:
                self._client.complete_multipart_upload(
                    **place, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                )

            done = self._if_free(complete)
        finally:
            if not done:
                with _failures(self._uri):
                    self._client.abort_multipart_upload(**place, UploadId=upload)
        return done

    def _send_parts(
        self, place: dict[str, str], upload: str, source: IO[bytes], length: int, hasher: Any
    ) -> Iterator[dict[str, Any]]:
        source.seek(0)
        number = 0
        while data := source.read(length):
            number += 1
            hasher.update(data)
            with _failures(self._uri):
                sent = self._client.upload_part(
                    **place,
                    UploadId=upload,
                    PartNumber=number,
                    Body=data,
                    ChecksumAlgorithm="SHA256",
                )
            part = {"PartNumber": number, "ETag": sent["ETag"]}
            if "ChecksumSHA256" in sent:
                part["ChecksumSHA256"] = sent["ChecksumSHA256"]
            yield part

    def _if_free(self, write: Any) -> bool:
        """Write on a condition; return whether it held."""
        from botocore.exceptions import ClientError

        with _failures(self._uri):
            for attempt in range(_TRIES):
                try:
                    write()
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status == 412:
                        return False
                    if status != 409 or attempt == _TRIES - 1:
                        raise
                else:
                    return True
        return False

    @contextmanager
    def fetch(self, name: str, version: str | None = None) -> Iterator[Fetched | None]:
        """Open an object or one version of it; see ``Shelf``."""
        which = {} if version is None else {"VersionId": version}
        answer = self._get(self._place(name), which)
        if answer is None:
            yield None
            return
        body = answer["Body"]
        try:
            yield Fetched(
                chunks=self._chunks(body),
                version=answer.get("VersionId", ""),
                lock=_lock_of(answer),
            )
        finally:
            body.close()

    def versions(self, name: str) -> list[str]:
        """List all versions of one object, newest first; see ``Shelf``."""
        key = self._place(name)["Key"]
        found: list[tuple[bool, Any, str]] = []
        with _failures(self._uri):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._bucket, Prefix=key):
                listed = page.get("Versions", ())
                found += [
                    (item["IsLatest"], item["LastModified"], item["VersionId"])
                    for item in listed
                    if item["Key"] == key
                ]
                if any(item["Key"] != key for item in listed):
                    break  # keys are listed in order, and this one comes before longer ones
                if len(found) > _MAX_VERSIONS:
                    raise SubjectError(
                        f"{name} of the vault {self._uri} has more than {_MAX_VERSIONS} versions",
                        next_step="find out who keeps writing over it; bring the right version "
                        "to the top by its id",
                    )
        return [version for *_, version in sorted(found, reverse=True)]

    def extend(self, name: str, version: str, lock: Lock) -> Lock | None:
        """Lock a version for longer and read the retention back; see ``Shelf``."""
        which = self._place(name) | ({"VersionId": version} if version else {})
        retention = {"Mode": lock.mode, "RetainUntilDate": lock.until}
        with _failures(self._uri):
            self._client.put_object_retention(**which, Retention=retention)
            answer = self._client.head_object(**which)
        return _lock_of(answer)

    def read_small(self, name: str, limit: int) -> tuple[bytes, str] | None:
        """Read a short object; its entity tag is the tag. See ``Shelf``."""
        answer = self._get(self._place(name), {})
        if answer is None:
            return None
        with _failures(self._uri):
            try:
                data = answer["Body"].read(limit + 1)
            finally:
                answer["Body"].close()
        if len(data) > limit:
            raise SubjectError(f"{name} of {self._uri} has more than {limit} bytes")
        return data, answer["ETag"]

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Replace an object by ``If-Match``, or create it; see ``Shelf``."""
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        place = self._place(name)
        return self._if_free(lambda: self._client.put_object(**place, Body=data, **condition))

    def sweep(self) -> None:
        """Do nothing: uploads that were not completed are a lifecycle rule's work."""

    def _get(self, place: dict[str, str], which: dict[str, str]) -> Any:
        from botocore.exceptions import ClientError

        with _failures(self._uri):
            try:
                return self._client.get_object(**place, **which)
            except ClientError as error:
                if _code(error) in ("NoSuchKey", "NoSuchVersion"):
                    return None
                raise

    def _chunks(self, body: Any) -> Iterator[bytes]:
        with _failures(self._uri):
            while chunk := body.read(_CHUNK):
                yield chunk

    def _place(self, name: str) -> dict[str, str]:
        key = f"{self._prefix}/{name}" if self._prefix else name
        return {"Bucket": self._bucket, "Key": key}


def _make_client(uri: SubjectUri) -> Any:
    try:
        import boto3
    except ImportError as error:
        raise MissingExtraError("boto3", "s3", "a vault on S3") from error
    from botocore.config import Config

    config = Config(
        connect_timeout=_SECONDS,
        read_timeout=_SECONDS,
        max_pool_connections=BucketShelf.threads,
        # What is read is compared with a digest that the vault does not choose.
        response_checksum_validation="when_required",
    )
    try:
        with _failures(uri):
            return boto3.client("s3", config=config)
    except ValueError as error:
        raise SubjectError(f"cannot reach {uri}: the configured endpoint is not a URL") from error


def _lock_of(answer: Any) -> Lock | None:
    """Read the retention in the answer to a GET or HEAD.

    S3 leaves it out for who may not know it (``s3:GetObjectRetention``): then it counts as
    not locked.
    """
    mode, until = answer.get("ObjectLockMode"), answer.get("ObjectLockRetainUntilDate")
    known = mode in (COMPLIANCE, GOVERNANCE) and until
    return Lock(mode=mode, until=until) if known else None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def _failures(uri: SubjectUri) -> Iterator[None]:
    """Turn what botocore raises into a SubjectError that names the vault."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise SubjectError(
            f"no AWS credentials for the vault {uri}",
            next_step="configure them for this worker (role, AWS_PROFILE or environment)",
        ) from error
    except ClientError as error:
        raise SubjectError(
            f"the vault {uri}: S3 refused {error.operation_name} with {_code(error)}",
            next_step="check the bucket and what this worker's role may do there",
        ) from error
    except (BotoCoreError, Boto3Error) as error:
        raise SubjectError(
            f"cannot reach the vault {uri}: {type(error).__name__}",
            next_step="check region, endpoint and network",
        ) from error
