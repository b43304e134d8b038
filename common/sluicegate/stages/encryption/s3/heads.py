"""HEAD requests for objects: how is each one stored?

Only HEAD and GET tell how an object is encrypted; a listing does not. boto3 spends most of
its time around a HEAD and not on it, so requests are made here from a template: boto3
builds and signs one HEAD for a key that is never sent, with its own rules for endpoints,
addressing, regions and headers. Every further request puts its key into that URL, is signed
like it, and sent through the connections, certificates and proxies of the same client.
Credentials are taken from the client for each request, so they are renewed.

Where the template is not plain Signature Version 4 (S3 Express sessions, multi-region access
points, signers or stubs of others), boto3 itself is asked.
"""

from __future__ import annotations

import random
import re
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from sluicegate.stages.encryption.aws import Aws, Unknown, ask
from sluicegate.stages.encryption.s3.head import Head, Miss, read_headers
from sluicegate.stages.encryption.s3.signature import Identity, Signer

__all__ = ["Bucket", "Heads"]

_CALL: Final = "s3.head_object"
_RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may pass: time-outs, throttling (S3's SlowDown is a 503), faults."""
_TRIES: Final = 10
"""Requests for one object in all: with the waits below about twenty seconds of throttling.
If one request in three is throttled, one object in 60,000 stays unknown."""
_SILENT_TRIES: Final = 3
"""Requests for one object that get no answer at all; each may take a whole time-out."""
_FIRST_WAIT: Final = 0.2
"""Seconds before the second try; doubled each time, and spread by half."""
_LONGEST_WAIT: Final = 5.0
"""Seconds between two tries at most."""
_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z0-9]{1,16}){1,4}")
"""Region codes: ``eu-west-1``, ``us-gov-east-1``; what else a server may send is ignored."""
_CUSTOMER_KEY: Final = "stored using a form of server side encryption"
"""What S3 says, with InvalidRequest, when SSE-C data is asked for without its key."""
_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/\d{8}/([^/,]+)/s3/aws4_request,")
_PER_REQUEST: Final = frozenset(
    {
        "authorization",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
    }
)
"""Headers that belong to one request; all others are repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Which bucket is asked, and on what terms."""

    name: str
    owner: str | None = None
    """Account that must own it (``x-amz-expected-bucket-owner``); S3 refuses otherwise."""
    requester_pays: bool = False
    """Agree to pay for the requests, which such a bucket demands."""

    def arguments(self) -> dict[str, str]:
        """Return the arguments of boto3 that say so."""
        given = {"Bucket": self.name}
        if self.owner:
            given["ExpectedBucketOwner"] = self.owner
        if self.requester_pays:
            given["RequestPayer"] = "requester"
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """A HEAD request with a hole where the key belongs."""

    origin: str
    """URL up to the path."""
    path: str
    """Path up to the key."""
    region: str
    """Region that requests are signed for."""
    signer: Signer
    credentials: Any
    """botocore's RequestSigner: knows the credentials and renews them."""
    session: Any
    """botocore's HTTP session: connections, certificates, proxies, time-outs."""


@dataclass(slots=True)
class Heads:
    """Asks for objects of one bucket; may be shared by threads."""

    aws: Aws
    bucket: Bucket
    lean: bool = True
    """Build requests from a template where that is possible; False: always ask boto3."""
    region: str | None = None
    """Region that was found to hold the bucket; None for the configured one."""
    _redirected: bool = False
    _templates: dict[tuple[str | None, bool], _Template | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, key: str, version: str | None = None, *, checksum: bool = False) -> Head | Miss:
        """Ask how one object is stored.

        Args:
            key: the object's whole key.
            version: its version id; by default the current version.
            checksum: ask for its checksums, too. For objects under a KMS key this takes
                ``kms:Decrypt``; where it is refused, the rest is asked without.

        Returns:
            The answer; :class:`Miss` for everything that is not a clear one.
        """
        answer = self._ask(key, version, checksum=checksum)
        if checksum and isinstance(answer, Miss) and answer.denied:
            answer = self._ask(key, version, checksum=False)
            return replace(answer, checksum_denied=True) if isinstance(answer, Head) else answer
        return answer

    def _ask(self, key: str, version: str | None, *, checksum: bool) -> Head | Miss:
        template = self._template(checksum=checksum)
        if template is None:
            return self._by_boto3(key, version, checksum=checksum)
        status, silent = 0, 0
        headers: Mapping[str, str] = {}
        for attempt in range(_TRIES):
            if attempt:
                _wait(attempt)
            answer = _send(template, key, version)
            if isinstance(answer, Unknown):
                silent += 1
                if silent >= _SILENT_TRIES:
                    return Miss(answer.reason, dead=True)
                continue
            status, headers = answer
            if status in (301, 302, 307, 400) and self._follow(headers, template):
                moved = self._template(checksum=checksum)
                if moved is None:
                    return self._by_boto3(key, version, checksum=checksum)
                answer = _send(moved, key, version)
                if isinstance(answer, Unknown):
                    return Miss(answer.reason, dead=True)
                template = moved
                status, headers = answer
            if status not in _RETRIED:
                break
        return self._sort(status, headers, key, version)

    def _sort(
        self, status: int, headers: Mapping[str, str], key: str, version: str | None
    ) -> Head | Miss:
        if status == 200:
            return read_headers(headers)
        if status == 400:
            return self._customer_key(key, version)
        return _miss(status, self.bucket, version)

    def _by_boto3(self, key: str, version: str | None, *, checksum: bool) -> Head | Miss:
        from botocore.exceptions import ClientError

        arguments = self.bucket.arguments() | {"Key": key}
        if version is not None:
            arguments["VersionId"] = version
        if checksum:
            arguments["ChecksumMode"] = "ENABLED"
        refused: list[int] = []

        def call() -> Any:
            try:
                return self.aws.client("s3", self.region).head_object(**arguments)
            except ClientError as error:
                refused.append(int(error.response["ResponseMetadata"]["HTTPStatusCode"]))
                raise

        answer = ask(_CALL, call)
        if refused:
            return self._sort(refused[0], {}, key, version)
        if answer is None or isinstance(answer, Unknown):
            return Miss(answer.reason if answer else f"{_CALL}: no answer", dead=True)
        return read_headers(answer["ResponseMetadata"].get("HTTPHeaders", {}))

    def _customer_key(self, key: str, version: str | None) -> Head | Miss:
        """Tell an object under a customer's key from every other bad request.

        A HEAD answer has no body, and an expired token gives the same status. A GET of the
        first byte is refused with the same status and says why.
        """
        from botocore.exceptions import ClientError

        arguments = self.bucket.arguments() | {"Key": key, "Range": "bytes=0-0"}
        if version is not None:
            arguments["VersionId"] = version
        said: list[tuple[str, str]] = []

        def call() -> Any:
            try:
                return self.aws.client("s3", self.region).get_object(**arguments)
            except ClientError as error:
                told = error.response.get("Error", {})
                said.append((str(told.get("Code", "")), str(told.get("Message", ""))))
                raise

        answer = ask("s3.get_object", call)
        if said and said[0][0] == "InvalidRequest" and _CUSTOMER_KEY in said[0][1].lower():
            return Head(mode="SSE-C")
        if isinstance(answer, Unknown):
            return Miss(f"{_CALL}: the service answered 400; {answer.reason}")
        if answer is not None:
            answer["Body"].close()
        return Miss(f"{_CALL}: the service answered 400 and did not say why")

    def _follow(self, headers: Mapping[str, str], template: _Template) -> bool:
        """Turn to the region that the bucket lies in; once for all objects.

        Returns:
            Whether requests now go to another region than the template's.
        """
        told = headers.get("x-amz-bucket-region", "")
        with self._lock:
            if told == template.region or not _REGION.fullmatch(told):
                return False
            if not self._redirected:
                self.region, self._redirected = told, True
            return self.region == told

    def _template(self, *, checksum: bool) -> _Template | None:
        if not self.lean:
            return None
        with self._lock:
            wanted = (self.region, checksum)
            if wanted not in self._templates:
                self._templates[wanted] = self._capture(*wanted)
            return self._templates[wanted]

    def _capture(self, region: str | None, checksum: bool) -> _Template | None:  # noqa: FBT001
        """Let boto3 build and sign a HEAD that is never sent."""
        marker = f"sluicegate-{uuid.uuid4().hex}"
        caught = _Caught(marker)
        arguments = self.bucket.arguments() | {"Key": marker}
        if checksum:
            arguments["ChecksumMode"] = "ENABLED"

        def call() -> Any:
            client = self.aws.client("s3", region)
            events = client.meta.events
            events.register_first("before-sign.s3.HeadObject", caught.sign, unique_id=marker)
            events.register_first("before-send.s3.HeadObject", caught.send, unique_id=f"{marker}-2")
            try:
                client.head_object(**arguments)
            finally:
                events.unregister("before-sign.s3.HeadObject", unique_id=marker)
                events.unregister("before-send.s3.HeadObject", unique_id=f"{marker}-2")
            return client

        client = ask(_CALL, call)
        if client is None or isinstance(client, Unknown):
            return None
        session = getattr(getattr(client, "_endpoint", None), "http_session", None)
        return caught.template(session)


@dataclass(slots=True)
class _Caught:
    """What boto3 was about to send."""

    marker: str
    signer: Any = None
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def sign(self, request: Any, request_signer: Any, **_: object) -> None:
        """Keep the signer of the request with the marker."""
        if self.marker in request.url:
            self.signer = request_signer

    def send(self, request: Any, **_: object) -> Any:
        """Keep the request with the marker and answer it here; it is not sent."""
        from botocore.awsrequest import AWSResponse

        if self.marker not in request.url:
            return None
        self.url = request.url
        for name, value in request.headers.items():
            self.headers[name] = value.decode("latin-1") if isinstance(value, bytes) else value
        return AWSResponse(request.url, 200, {}, _Nothing())

    def template(self, session: Any) -> _Template | None:
        """Return the template, None if the request is not one that can be repeated."""
        before, found, after = self.url.partition(self.marker)
        scheme, _, rest = before.partition("://")
        host, slash, path = rest.partition("/")
        signed = next((v for n, v in self.headers.items() if n.lower() == "authorization"), "")
        scope = _SCOPE.match(signed)
        express = any(name.lower() == "x-amz-s3session-token" for name in self.headers)
        plain = found and slash and not after and not express
        if not plain or scope is None or self.signer is None or session is None:
            return None
        kept = {n: v for n, v in self.headers.items() if n.lower() not in _PER_REQUEST}
        return _Template(
            origin=f"{scheme}://{host}",
            path=f"/{path}",
            region=scope.group(1),
            signer=Signer(_host_header(before), scope.group(1), kept),
            credentials=self.signer,
            session=session,
        )


class _Nothing:
    """An empty body."""

    def stream(self, *_: object, **__: object) -> tuple[bytes, ...]:
        """Return no chunks."""
        return ()


def _host_header(url: str) -> str:
    """Return what HTTP clients send as ``Host``: no port if it is the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)):
        return host
    return f"{host}:{parts.port}"


def _send(
    template: _Template, key: str, version: str | None
) -> tuple[int, Mapping[str, str]] | Unknown:
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.exceptions import NoCredentialsError

    path = template.path + quote(key, safe="/~")
    query = "" if version is None else f"versionId={quote(version, safe='')}"
    url = f"{template.origin}{path}?{query}" if query else f"{template.origin}{path}"

    def call() -> tuple[int, Mapping[str, str]]:
        auth = template.credentials.get_auth_instance("s3", template.region, "s3v4")
        if auth.credentials is None:
            raise NoCredentialsError
        now = auth.credentials
        identity = Identity(now.access_key, now.secret_key, now.token)
        headers = template.signer.sign("HEAD", path, query, identity)
        answer = template.session.send(
            AWSPreparedRequest("HEAD", url, headers, None, stream_output=False)
        )
        return answer.status_code, {n.lower(): v for n, v in answer.raw.headers.items()}

    answer = ask(_CALL, call)
    return Unknown(f"{_CALL}: no answer") if answer is None else answer


def _miss(status: int, bucket: Bucket, version: str | None) -> Miss:
    if status in (401, 403):
        action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
        owner = f", and that account {bucket.owner} owns the bucket" if bucket.owner else ""
        return Miss(f"{_CALL}: access denied ({status}); it takes {action}{owner}", denied=True)
    if status == 404:
        return Miss(f"{_CALL}: the object or its bucket is not there any more (404)")
    if status in _RETRIED:
        return Miss(f"{_CALL}: the service did not answer in time ({status})", dead=True)
    return Miss(f"{_CALL}: the service answered {status}")


def _wait(attempt: int) -> None:
    spread = 0.5 + random.random() / 2  # noqa: S311  spreads load, guards nothing
    time.sleep(min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT) * spread)
