"""What users configure: the fields of the stage, apart from what it does with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.base import Option

__all__ = ["MODES", "Settings"]

MODES: Final = ("SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C")
"""What server-side encryption of S3 is called."""

_KEY: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:(key|alias)/[\w/-]+")
_ACCOUNT: Final = re.compile(r"\d{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fields of :class:`~sluicegate.stages.encryption.stage.CheckEncryption`."""

    checks: Annotated[
        tuple[str, ...], Option("ids of the checks to make; * and ? stand for any text")
    ] = ("*",)
    skip: Annotated[tuple[str, ...], Option("ids of checks not to make, in the same form")] = ()

    modes: Annotated[
        tuple[str, ...],
        Option("modes of server-side encryption that will do, of SSE-S3 SSE-KMS DSSE-KMS SSE-C"),
    ] = ("SSE-S3", "SSE-KMS", "DSSE-KMS")
    kms_keys: Annotated[
        tuple[str, ...], Option("full ARNs of the KMS keys that will do; empty for any")
    ] = ()
    owner: Annotated[str | None, Option("account that must own the buckets, twelve digits")] = None
    sample: Annotated[
        float | None,
        Option("ask only so many objects that this share of bad ones is ruled out at 99 %"),
    ] = None
    inventory: Annotated[
        str | None, Option("folder or URI of an S3 Inventory report, asked instead of the objects")
    ] = None

    resources: Annotated[
        tuple[str, ...], Option("other stores: ARNs, gs://BUCKET, azure://ACCOUNT/CONTAINER")
    ] = ()
    endpoints: Annotated[
        tuple[str, ...], Option("servers that the pipeline talks to, as URLs without credentials")
    ] = ()
    connections: Annotated[
        tuple[str, ...],
        Option("connections of the orchestrator: airflow-connection://ID, prefect-block://T/N"),
    ] = ()
    ca_bundle: Annotated[
        str | Path | None, Option("certificates to trust instead of the system's, PEM", file=True)
    ] = None
    certificate_days: Annotated[int, Option("days for which a certificate must still be valid")] = (
        14
    )
    timeout: Annotated[float, Option("seconds to wait for one answer of a server")] = 5.0

    client_side: Annotated[
        bool, Option("the files themselves must be encrypted, whatever their store does")
    ] = False
    reports: Annotated[
        tuple[str, ...],
        Option(
            "reports of other tools to take findings from: Prowler, ASFF, SARIF, Trivy, Grype",
            file=True,
        ),
    ] = ()

    def __post_init__(self) -> None:
        for mode in self.modes:
            if mode not in MODES:
                raise _wrong("modes", f"one of {', '.join(MODES)}", mode)
        if not self.modes:
            raise _wrong("modes", f"at least one of {', '.join(MODES)}", "none")
        for key in self.kms_keys:
            if not _KEY.fullmatch(key):
                raise _wrong("kms_keys", "the full ARN of a key or an alias", key)
        if self.owner is not None and not _ACCOUNT.fullmatch(self.owner):
            raise _wrong("owner", "an account number of twelve digits", self.owner)
        if self.sample is not None and not 0 < self.sample < 1:
            raise _wrong("sample", "a share between 0 and 1, as 0.001", self.sample)
        if self.certificate_days < 0:
            raise _wrong("certificate_days", "0 or more", self.certificate_days)
        if not 0 < self.timeout <= 60:
            raise _wrong("timeout", "more than 0 and at most 60 seconds", self.timeout)


def _wrong(field: str, expected: str, found: object) -> ConfigurationError:
    return ConfigurationError(f"check-encryption: {field}: expected {expected}, found {found!r}")
