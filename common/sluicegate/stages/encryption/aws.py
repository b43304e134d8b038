"""How AWS is asked, and what its refusals mean.

Three answers are never mixed: a value; "that is not configured", which AWS says with an
error; and "cannot tell", which is every refusal, every API that the endpoint does not have,
every timeout. The last one carries a reason for people.

Region, credentials, profile and endpoint come from the usual AWS configuration, as for
subjects on S3. Requests are retried by botocore; they end after a bounded time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sluicegate.errors import ConfigurationError, MissingExtraError
from sluicegate.stages.encryption.refusals import Unknown, refusal

__all__ = ["NOT_CONFIGURED", "Aws", "Unknown", "ask"]

T = TypeVar("T")

NOT_CONFIGURED: Final = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "OwnershipControlsNotFoundError",
        "ObjectLockConfigurationNotFoundError",
        "NoSuchObjectLockConfiguration",
        "ReplicationConfigurationNotFoundError",
        "NoSuchConfiguration",
        "NoSuchLifecycleConfiguration",
        "NoSuchTagSet",
    }
)
"""Error codes that are answers: the setting is not there."""

_DENIED: Final = ("AccessDenied", "AccessDeniedException")
"""Error codes of a refusal for want of permission."""

_MISSING_API: Final = frozenset(
    {
        "NotImplemented",
        "NotImplementedError",
        "MethodNotAllowed",
        "UnknownOperation",
        "UnknownOperationException",
        "InvalidAction",
        "UnsupportedOperation",
        "UnsupportedOperationException",
    }
)
"""Error codes of endpoints that do not know the call: S3-compatible stores, simulators."""


def ask(what: str, call: Callable[[], T]) -> T | Unknown | None:
    """Make one call and sort its answer.

    Args:
        what: the call in the words of the API, e.g. ``s3.get_bucket_policy``.
        call: makes it with boto3.

    Returns:
        The value; None if AWS said that it is not configured; :class:`Unknown` for the rest.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return call()
    except ClientError as error:
        return _sort(what, error.response)
    except NoCredentialsError:
        return Unknown(f"{what}: no AWS credentials; anonymous access is never tried")
    except BotoCoreError as error:
        return Unknown(f"{what}: {type(error).__name__}")


def _sort(what: str, response: Any) -> Unknown | None:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in NOT_CONFIGURED:
        return None
    if code in _DENIED:
        status = 403  # some services deny with a 400
    elif code in _MISSING_API:
        status = 501
    elif "Throttl" in code or code == "SlowDown":
        status = 429
    elif status in (404, 410):
        return Unknown(f"{what}: the service answered {code or status}")
    return refusal(what, status, code)


@dataclass(slots=True)
class Aws:
    """Clients of AWS services, made when they are first used; may be shared by threads."""

    connections: int = 64
    """Connections kept open for each client."""
    attempts: int = 4
    """Tries of one request in all, with botocore's exponential back-off of at most 20 s."""
    seconds: float = 20.0
    """Wait for one answer; longer than any answer to a metadata call takes."""
    _clients: dict[tuple[str, str | None], Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the boto3 client of a service.

        Args:
            service: boto3's name of it: ``s3``, ``kms``, ``s3control``.
            region: by default the configured one.

        Raises:
            MissingExtraError: boto3 is not installed.
            ConfigurationError: the configured endpoint is not a URL.
            botocore.exceptions.BotoCoreError: no region or an unusable configuration; call
                this inside of :func:`ask`.
        """
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise MissingExtraError("boto3", "s3", "checking encryption on AWS") from error
        with self._lock:
            if (service, region) not in self._clients:
                config = Config(
                    retries={"mode": "standard", "total_max_attempts": self.attempts},
                    connect_timeout=self.seconds,
                    read_timeout=self.seconds,
                    max_pool_connections=self.connections,
                )
                try:
                    made = boto3.client(service, region_name=region, config=config)
                except ValueError as error:
                    raise ConfigurationError(
                        f"cannot ask {service}: the configured endpoint is not a URL",
                        next_step="see AWS_ENDPOINT_URL and the AWS configuration file",
                    ) from error
                self._clients[service, region] = made
            return self._clients[service, region]
