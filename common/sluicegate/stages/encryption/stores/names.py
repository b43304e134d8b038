"""Names of stores: ARNs, ``gs://BUCKET[/PREFIX]``, ``azure://ACCOUNT/CONTAINER[/PREFIX]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.storage.uri import SubjectUri

__all__ = ["Arn", "AzureName", "GcsName", "of_subject", "parse_arn", "parse_azure", "parse_gcs"]

_ARN: Final = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]+):"
    r"(?P<account>[0-9]{12}):(?P<resource>[\x21-\x7e]+)"
)
"""An ARN with region and account, which all stores here have; printable ASCII, no spaces."""
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""Bucket names of Google Cloud Storage: 3 to 63 characters, up to 222 with dots."""
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
"""Names of Azure storage accounts."""
_CONTAINER: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}|\$root|\$web|\$logs")
"""Names of Azure containers: 3 to 63 characters, single hyphens inside."""
_AZURE_HOST: Final = re.compile(r"([a-z0-9]{3,24})\.(?:dfs|blob)\.core\.windows\.net")


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN of something that lies in one region of one account."""

    text: str
    partition: str
    service: str
    region: str
    account: str
    resource: str
    """Everything behind the account: ``db:features``, ``table/events``."""

    def beside(self, service: str, resource: str) -> str:
        """Return the ARN of something else in the same region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class GcsName:
    """A bucket of Google Cloud Storage, and which of its objects matter."""

    bucket: str
    prefix: str
    """An object's name, or what stands before the ``/`` in names; empty for all."""

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class AzureName:
    """A container of Azure Blob Storage, and which of its blobs matter."""

    account: str
    container: str
    prefix: str
    """As in :class:`GcsName`."""

    def __str__(self) -> str:
        return f"azure://{self.account}/{self.container}/{self.prefix}".rstrip("/")


def parse_arn(text: str) -> Arn:
    """Read an ARN.

    Raises:
        ConfigurationError: not an ARN with region and account; or S3, which is no store here.
    """
    if re.match(r"arn:[^:]*:s3:", text):
        raise ConfigurationError(
            f"{text!a} is an S3 bucket, which is examined where it is the subject",
            next_step="give s3://BUCKET/PREFIX as the subject, and take it out of 'resources'",
        )
    match = _ARN.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"{text!a} is not the ARN of a store in one region of one account",
            next_step="write it like arn:aws:rds:eu-west-1:123456789012:db:features",
        )
    return Arn(text, *match.group("partition", "service", "region", "account", "resource"))


def parse_gcs(text: str) -> GcsName:
    """Read ``gs://BUCKET[/PREFIX]``.

    Raises:
        ConfigurationError: no bucket of Google Cloud Storage is called that.
    """
    bucket, _, prefix = text.removeprefix("gs://").partition("/")
    if not _BUCKET.fullmatch(bucket) or not _plain(prefix):
        raise ConfigurationError(
            f"{text!a} does not name a bucket", next_step="write gs://BUCKET or gs://BUCKET/PREFIX"
        )
    return GcsName(bucket, prefix.strip("/"))


def parse_azure(text: str) -> AzureName:
    """Read ``azure://ACCOUNT/CONTAINER[/PREFIX]``.

    Raises:
        ConfigurationError: account or container cannot be called that.
    """
    account, _, rest = text.removeprefix("azure://").partition("/")
    container, _, prefix = rest.partition("/")
    good = _ACCOUNT.fullmatch(account) and _CONTAINER.fullmatch(container) and _plain(prefix)
    if not good:
        raise ConfigurationError(
            "an azure:// store has no valid account and container",
            next_step="write azure://ACCOUNT/CONTAINER or azure://ACCOUNT/CONTAINER/PREFIX",
        )
    return AzureName(account, container, prefix.strip("/"))


def of_subject(uri: SubjectUri) -> GcsName | AzureName | None:
    """Return the store in which a subject lies, if it is one of Google or Azure by name."""
    if uri.scheme in ("gs", "gcs"):
        return parse_gcs(f"gs://{uri.path}")
    if uri.scheme in ("abfs", "abfss", "wasb", "wasbs") and "@" in uri.path:
        place, _, prefix = uri.path.partition("/")
        container, _, host = place.partition("@")
        match = _AZURE_HOST.fullmatch(host)
        if match:
            return parse_azure(f"azure://{match.group(1)}/{container}/{prefix}")
    return None


def _plain(prefix: str) -> bool:
    """Return whether a prefix is free of queries, fragments and control characters."""
    return not any(char in "?#" or ord(char) < 32 or ord(char) == 127 for char in prefix)
