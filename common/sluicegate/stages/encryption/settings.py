"""What users configure: the fields of the stage, apart from what it does with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.base import Option

__all__ = ["MODES", "Settings"]

MODES: Final = ("SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C")
"""What server-side encryption of S3 is called."""

_KEY: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:(key|alias)/[\w/-]+")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_LARGEST_SHARE: Final = 0.1
"""A sample that cannot rule out one bad object in ten says nothing worth a pass."""


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
        Option("share of bad objects to rule out at 99 %, e.g. 0.001: asks only so many objects"),
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
        for item in fields(self):
            _check_type(item.name, getattr(self, item.name), str(item.type))
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
        if self.sample is not None and not 0 < self.sample <= _LARGEST_SHARE:
            raise _wrong("sample", f"a share of at most {_LARGEST_SHARE}, as 0.001", self.sample)
        if self.certificate_days < 0:
            raise _wrong("certificate_days", "0 or more", self.certificate_days)
        if not 0 < self.timeout <= 60:
            raise _wrong("timeout", "more than 0 and at most 60 seconds", self.timeout)


def _check_type(name: str, value: object, annotation: str) -> None:
    """See that a field holds what it is declared as; a text is no tuple of letters."""
    if "tuple[" in annotation:
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            raise _wrong(name, "a tuple of texts", value)
    elif "bool" in annotation:
        if not isinstance(value, bool):
            raise _wrong(name, "true or false", value)
    elif "int," in annotation or "float" in annotation:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (value is None and "None" in annotation):
            raise _wrong(name, "a number", value)
    elif value is not None and not isinstance(value, str | Path):
        raise _wrong(name, "text", value)


def _wrong(field: str, expected: str, found: object) -> ConfigurationError:
    return ConfigurationError(f"check-encryption: {field}: expected {expected}, found {found!r}")
