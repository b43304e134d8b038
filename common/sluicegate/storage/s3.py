"""Subjects on Amazon S3 and S3-compatible stores, through boto3.

Region, credentials, profile and endpoint come from the usual AWS configuration
(``AWS_PROFILE``, ``AWS_ENDPOINT_URL_S3``, instance roles …). Without credentials this
fails: it never falls back to anonymous requests.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final, cast

from sluicegate.errors import MissingExtraError, SubjectChangedError, SubjectError
from sluicegate.storage.base import Entry
from sluicegate.storage.records import Place
from sluicegate.storage.s3_checksums import place_of
from sluicegate.storage.uri import SubjectUri, check_member_path

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["S3Store"]


_SECONDS: Final = 20
"""Wait for one answer or the next bytes; botocore asks up to five times."""


class S3Store:
    """Objects below a prefix, or one object."""

    def __init__(self, client: Any = None) -> None:
        """Use ``client`` (a boto3 S3 client), or one made from the usual configuration."""
        self._given = client

    def entries(self, subject: SubjectUri) -> Iterator[Entry]:
        """List one object, or all objects below ``key/``; see :class:`Store`."""
        client, (bucket, key) = self._client(subject), _split(subject)
        if key:
            size = _size_of_object(client, subject, bucket, key)
            if size is not None:
                _must_be_alone(client, subject, bucket, key)
                yield Entry(check_member_path(subject.name, where=str(subject)), size)
                return
        prefix = f"{key}/" if key else ""
        found = False
        with _Failures(subject):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for page in pages:
                for item in page.get("Contents", ()):
                    found = True
                    path = item["Key"][len(prefix) :]
                    if item["Size"] == 0 and (not path or path.endswith("/")):
                        continue  # the console's "folder" markers
                    yield Entry(check_member_path(path, where=str(subject)), item["Size"])
        if not found:
            raise SubjectError(
                f"{subject} does not exist: no object of that key, none below it",
                next_step="check bucket and key, and that the role may list the bucket",
            )

    def open(self, subject: SubjectUri, path: str) -> IO[bytes]:
        """Open one object as a stream; see :class:`Store`."""
        return self.get(subject, path)[0]

    def open_version(self, subject: SubjectUri, path: str, version_id: str) -> IO[bytes]:
        """Open one version of an object; see :class:`VersionedStore`."""
        return self.get(subject, path, version_id=version_id)[0]

    def get(
        self, subject: SubjectUri, path: str, *, version_id: str = ""
    ) -> tuple[IO[bytes], Place]:
        """Open one object, and tell what S3 says of it; botocore verifies whole checksums.

        Raises:
            SubjectError: see :class:`Store`.
        """
        more = {"VersionId": version_id} if version_id else {}
        client, bucket, key = self._target(subject, path)
        with _Failures(subject):
            answer = client.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **more)
        body = cast("IO[bytes]", io.BufferedReader(_Body(answer["Body"], subject)))
        return body, place_of(answer)

    def head(self, subject: SubjectUri, path: str, *, part: int = 0) -> tuple[int, Place]:
        """Return length and place of one object, or the length of one of its parts.

        Raises:
            SubjectError: see :class:`Store`.
        """
        more = {"PartNumber": part} if part else {}
        client, bucket, key = self._target(subject, path)
        with _Failures(subject):
            answer = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **more)
        return int(answer["ContentLength"]), place_of(answer)

    def _target(self, subject: SubjectUri, path: str) -> tuple[Any, str, str]:
        client, (bucket, key) = self._client(subject), _split(subject)
        single = path == subject.name and key
        if single and _size_of_object(client, subject, bucket, key) is not None:
            return client, bucket, key
        return client, bucket, f"{key}/{path}" if key else path

    def write(self, target: SubjectUri, source: IO[bytes]) -> None:
        """Upload one object; S3 shows it whole or not at all. See :class:`Store`."""
        bucket, key = _split(target)
        with _Failures(target):
            self._client(target).upload_fileobj(source, bucket, key)

    def _client(self, subject: SubjectUri) -> Any:
        if self._given is None:
            try:
                import boto3
            except ImportError as error:
                raise MissingExtraError("boto3", "s3", "an s3:// subject") from error
            try:
                from botocore.config import Config

                with _Failures(subject):
                    # A server that is silent must not hold a gate for botocore's minutes.
                    config = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS)
                    self._given = boto3.client("s3", config=config)
            except ValueError as error:
                raise SubjectError(
                    f"cannot reach {subject}: the configured endpoint is not a URL"
                ) from error
        return self._given


class _Body(io.RawIOBase):
    """The stream of an object, whose failures name the subject."""

    def __init__(self, body: Any, subject: SubjectUri) -> None:
        self._body = body
        self._subject = subject

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read some bytes; 0 only at the end of the whole object."""
        view = memoryview(buffer).cast("B")
        with _Failures(self._subject):
            chunk = self._body.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            self._body.close()
        super().close()


def _split(subject: SubjectUri) -> tuple[str, str]:
    bucket, _, key = subject.path.partition("/")
    return bucket, key


def _must_be_alone(client: Any, subject: SubjectUri, bucket: str, key: str) -> None:
    """Refuse an object that has the name of a folder: whoever put it there would hide the rest.

    Where listing is not allowed, there is no telling.
    """
    from botocore.exceptions import ClientError

    with _Failures(subject):
        try:
            below = client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/", MaxKeys=2)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
                return
            raise
    if any(item["Key"] != f"{key}/" or item["Size"] for item in below.get("Contents", ())):
        raise SubjectError(
            f"{subject} is an object, and there are objects below {subject}/ as well",
            next_step="remove or rename the one that does not belong; who may write one object "
            "must not be able to hide the others",
        )


def _size_of_object(client: Any, subject: SubjectUri, bucket: str, key: str) -> int | None:
    """Return the size of the object of exactly this key, None if there is none."""
    from botocore.exceptions import ClientError

    with _Failures(subject):
        try:
            return int(client.head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ClientError as error:
            # A HEAD answer has no body, so the error code is only the status. 403 may mean
            # a missing key where listing is not allowed: the listing that follows decides.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
                return None
            raise


class _Failures:
    """Turn what botocore raises into a SubjectError that names the subject."""

    def __init__(self, subject: SubjectUri) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            FlexibleChecksumError,
            NoCredentialsError,
        )

        if isinstance(error, NoCredentialsError):
            raise SubjectError(
                f"no AWS credentials for {self._subject}",
                next_step="configure them for this worker (role, AWS_PROFILE or environment); "
                "anonymous access is never tried",
            ) from error
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "unknown")
            raise SubjectError(
                f"cannot read {self._subject}: S3 answered {code}",
                next_step="check the bucket, the key and the permissions of this worker's role",
            ) from error
        if isinstance(error, FlexibleChecksumError):
            raise SubjectChangedError(
                f"{self._subject} holds an object whose bytes contradict its own checksum",
                next_step="find out who wrote it, and upload it again",
            ) from error
        if isinstance(error, BotoCoreError | Boto3Error):
            raise SubjectError(
                f"cannot reach {self._subject}: {type(error).__name__}",
                next_step="check region, endpoint and network",
            ) from error
