"""Google Cloud Storage: buckets and their objects, through Google's own client.

Credentials, project and endpoint come from the client's usual configuration. With
``STORAGE_EMULATOR_HOST`` the client sends no credentials: that is how emulators are asked.

Google encrypts every object; with whose key is what can differ. Whether Cloud Storage
refuses plain HTTP is a constraint of the organisation (``storage.secureHttpTransport``):
its XML interface speaks HTTP without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from sluicegate.errors import MissingExtraError
from sluicegate.model import Finding
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.refusals import refusal
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.stores.base import Asks, Judgement, wrong
from sluicegate.stages.encryption.stores.names import GcsName, of_subject
from sluicegate.stages.encryption.stores.objects import Listing, read_pages

__all__ = ["judges_of"]

T = TypeVar("T")

_ORG_POLICY: Final = "https://orgpolicy.googleapis.com"
"""The Organization Policy API, version 2."""
_HTTPS_ONLY: Final = "storage.secureHttpTransport"
"""Constraint under which Cloud Storage refuses plain HTTP."""
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_RETRY_SECONDS: Final = 20.0
"""Time for one call with its repetitions; Google's default is two minutes."""
_EVERYBODY: Final = frozenset({"allUsers", "allAuthenticatedUsers"})
"""Members that are everybody; the second takes any Google account, so it is no limit."""
_FIELDS: Final = "items(name,kmsKeyName,customerEncryption/encryptionAlgorithm),nextPageToken"


@dataclass(slots=True)
class _Bucket:
    """One bucket during one run; what was answered is kept."""

    scope: Scope
    name: GcsName
    _client: Any = field(default=None, repr=False)
    _described: Any = field(default=None, repr=False)

    def ask(self, call: str, permission: str, make: Callable[[Any], T]) -> T | Unknown:
        """Make one call with the client, and sort its answer."""
        api, auth = _library("google.api_core.exceptions"), _library("google.auth.exceptions")
        network = _library("requests.exceptions").RequestException
        try:
            return make(self.client())
        except api.GoogleAPICallError as error:
            return refusal(call, int(error.code or 0), takes=permission)
        except auth.DefaultCredentialsError:
            return Unknown(f"{call}: no Google credentials; anonymous access is never tried")
        except api.RetryError as error:
            return refusal(call, int(getattr(error.cause, "code", None) or 503), takes=permission)
        except (auth.GoogleAuthError, network) as error:
            return Unknown(f"{call}: {type(error).__name__}")

    def client(self) -> Any:
        """Return Google's client, made from the usual configuration."""
        if self._client is None:
            self._client = _library("google.cloud.storage").Client()
        return self._client

    def bounds(self) -> dict[str, Any]:
        """Return how long one call may take."""
        retry = _library("google.cloud.storage.retry").DEFAULT_RETRY
        return {"timeout": self.scope.settings.timeout, "retry": retry.with_timeout(_RETRY_SECONDS)}

    def described(self) -> Any:
        """Return the bucket as Google describes it, or :class:`Unknown`; asked once."""
        if self._described is None:
            self._described = self.ask(
                "storage.buckets.get",
                "storage.buckets.get",
                lambda client: client.get_bucket(self.name.bucket, **self.bounds()),
            )
        return self._described

    @property
    def is_plain(self) -> bool:
        """Whether the client is configured to speak plain HTTP."""
        return urlsplit(str(self.client().api_endpoint)).scheme == "http"


def judges_of(scope: Scope, name: GcsName) -> Mapping[Asks, Callable[[], Judgement]]:
    """Return who answers which question about one bucket; nothing is asked before they are.

    Raises:
        MissingExtraError: the client is not installed.
    """
    _library("google.cloud.storage")
    bucket = _Bucket(scope, name)
    judges: dict[Asks, Callable[[_Bucket, Any], Judgement]] = {
        Asks.AT_REST: lambda _bucket, _described: (),
        Asks.KEY_MANAGER: _key,
        Asks.TLS: _tls,
        Asks.PUBLIC: _public,
        Asks.VERSIONED: _versioned,
    }
    return {
        **{asks: _on_description(bucket, judge) for asks, judge in judges.items()},
        Asks.OBJECT_MODE: lambda: _objects(bucket),
    }


def _on_description(
    bucket: _Bucket, judge: Callable[[_Bucket, Any], Judgement]
) -> Callable[[], Judgement]:
    def answer() -> Judgement:
        described = bucket.described()
        return described if isinstance(described, Unknown) else judge(bucket, described)

    return answer


def _key(_: _Bucket, described: Any) -> Judgement:
    if described.default_kms_key_name:
        return ()
    return wrong("expected a default key that the customer manages, found Google's own")


def _tls(bucket: _Bucket, described: Any) -> Judgement:
    if bucket.is_plain:
        return wrong("expected that plain HTTP is refused, found that the bucket answered it")
    number = described.project_number
    if not number:
        return Unknown("storage.buckets.get: the answer holds no project number")
    policy = bucket.ask(
        "orgpolicy.policies.getEffectivePolicy",
        "orgpolicy.policy.get",
        lambda _: _effective(int(number), bucket.scope.settings.timeout),
    )
    if isinstance(policy, Unknown):
        return policy
    rules = policy.get("spec", {}).get("rules") or ()
    if any(rule.get("condition") for rule in rules):
        return Unknown(f"{_HTTPS_ONLY} holds under a condition, which is not evaluated")
    if any(rule.get("enforce") is True for rule in rules):
        return ()
    return wrong(f"expected the constraint {_HTTPS_ONLY} to be enforced, found that it is not")


def _effective(project: int, timeout: float) -> Mapping[str, Any]:
    """Ask which organisation policy holds for a project.

    Reference: Organization Policy API v2, ``projects.policies.getEffectivePolicy``.
    """
    credentials, _ = _library("google.auth").default(scopes=[_SCOPE])
    session = _library("google.auth.transport.requests").AuthorizedSession(credentials)
    answer = session.get(
        f"{_ORG_POLICY}/v2/projects/{project}/policies/{_HTTPS_ONLY}:getEffectivePolicy",
        timeout=timeout,
        allow_redirects=False,
    )
    if answer.status_code != 200:
        raise _library("google.api_core.exceptions").from_http_response(answer)
    policy: Mapping[str, Any] = answer.json()
    return policy


def _public(bucket: _Bucket, described: Any) -> Judgement:
    settings = described.iam_configuration
    if settings.public_access_prevention == "enforced":
        return ()
    policy = bucket.ask(
        "storage.buckets.getIamPolicy",
        "storage.buckets.getIamPolicy",
        lambda _: described.get_iam_policy(requested_policy_version=3, **bucket.bounds()),
    )
    if isinstance(policy, Unknown):
        return policy
    findings: list[Finding] = []
    for role, member in sorted(
        {
            (str(binding["role"]), str(member))
            for binding in policy.bindings
            for member in set(binding.get("members") or ()) & _EVERYBODY
        }
    ):
        message = f"expected named members only, found that {member} has {role}"
        findings += wrong(message, role=role, member=member)
    if findings:
        return tuple(findings)
    if settings.uniform_bucket_level_access_enabled is not True:
        return Unknown("objects may have access lists of their own, which are not read")
    return ()


def _versioned(_: _Bucket, described: Any) -> Judgement:
    soft = described.soft_delete_policy
    kept = soft is not None and int(soft.retention_duration_seconds or 0) > 0
    if described.versioning_enabled or described.retention_period or kept:
        return ()
    return wrong("expected versioning, retention or soft delete, found none")


def _objects(bucket: _Bucket) -> Judgement:
    name, subject = bucket.name, of_subject(bucket.scope.snapshot.uri)
    inside = isinstance(subject, GcsName) and subject.bucket == name.bucket
    prefix = subject.prefix if inside and subject is not None else None
    listing = Listing(name.prefix, bucket.scope.snapshot, prefix)

    call = "storage.objects.list"

    def read(client: Any) -> Unknown | None:
        blobs = client.list_blobs(
            name.bucket,
            prefix=name.prefix or None,
            page_size=1000,
            fields=_FIELDS,
            **bucket.bounds(),
        )
        return read_pages(
            call, blobs.pages, lambda blob: listing.add(blob.name, _fault(bucket.scope, blob))
        )

    return listing.judge(bucket.ask(call, call, read))


def _fault(scope: Scope, blob: Any) -> str | None:
    """Return what is wrong with the encryption of one object.

    The modes are named as at S3: SSE-S3 is the provider's key, SSE-KMS one of Cloud KMS,
    SSE-C one that the client holds.
    """
    modes = scope.settings.modes
    mode = "SSE-KMS" if blob.kms_key_name else "SSE-S3"
    if blob._properties.get("customerEncryption"):  # noqa: SLF001  the library has no reader
        mode = "SSE-C"
    return None if mode in modes else f"expected one of {', '.join(modes)}, found {mode}"


def _library(module: str) -> Any:
    """Import a module of Google's client."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError("google-cloud-storage", "gcs", "checking a gs:// store") from error
