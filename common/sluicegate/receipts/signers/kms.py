"""Keys in AWS KMS: the private half never leaves the service.

``awskms:///ID`` names the key by its id, its ARN, an alias (``alias/gates``) or the ARN of an
alias. The region is that of the ARN; otherwise region, credentials and endpoint come from
the usual AWS configuration.

An alias is resolved once: the signer asks for the public key and then signs only with the
key that this answer names, so that whoever may move the alias does not change the key of a
process that runs. Every signature is verified with the public key before it is handed out.

It takes the permissions ``kms:GetPublicKey`` and ``kms:Sign``. Verifying takes none: the
policy lists the public key, and consumers do not ask KMS.

Sources: AWS KMS API Reference, GetPublicKey and Sign; AWS KMS Developer Guide, key states.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives import serialization

from sluicegate.errors import (
    ConfigurationError,
    KeyFileError,
    MissingExtraError,
    ReceiptError,
    SluicegateError,
)
from sluicegate.receipts.keys import PublicKey

__all__ = ["MAX_RAW_BYTES", "KmsSigner", "load", "parse_location"]

ALGORITHM: Final = "ECDSA_SHA_256"
KEY_SPEC: Final = "ECC_NIST_P256"
KEY_USAGE: Final = "SIGN_VERIFY"
MAX_RAW_BYTES: Final = 4096
"""Longest message that Sign hashes itself; of longer ones it takes the digest."""
_PREFIX: Final = "awskms:///"
_ATTEMPTS: Final = 4
"""Tries of one request in all; botocore waits between them, 20 s at most."""
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 10
"""KMS answers within tens of milliseconds. With :data:`_ATTEMPTS` this bounds one signature
to about two minutes in the worst case."""

_KEY: Final = r"(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_ALIAS: Final = r"alias/[A-Za-z0-9/_-]{1,250}"
_NAME: Final = re.compile(rf"{_KEY}|{_ALIAS}")
_ARN: Final = re.compile(
    rf"arn:aws[a-z0-9-]*:kms:(?P<region>[a-z0-9-]{{4,32}}):[0-9]{{12}}:(?:key/{_KEY}|{_ALIAS})"
)

_TRANSIENT: Final = {
    "ThrottlingException": "KMS is throttling requests",
    "LimitExceededException": "KMS is throttling requests",
    "DependencyTimeoutException": "KMS timed out",
    "KeyUnavailableException": "the key's material cannot be reached now",
    "KMSInternalException": "KMS had an internal error",
    "InternalFailure": "KMS had an internal error",
    "ServiceUnavailable": "KMS is unavailable",
    "RequestLimitExceeded": "KMS is throttling requests",
}
"""Answers after which the same request may succeed."""
_REFUSED: Final = {
    "NotFoundException": (
        "there is no such key in this region and account",
        "check id, region and account; a key of another account is named by its ARN",
    ),
    "DisabledException": ("the key is disabled", "enable it, or sign with another key"),
    "InvalidKeyUsageException": (
        f"it is not a key for {KEY_USAGE} with {ALGORITHM}",
        f"make a key with key spec {KEY_SPEC} and key usage {KEY_USAGE}",
    ),
    "UnsupportedOperationException": (
        "it is not an asymmetric key",
        f"make a key with key spec {KEY_SPEC} and key usage {KEY_USAGE}",
    ),
    "KMSInvalidStateException": (
        "its state allows no signing: it is pending deletion, or waits for its material",
        "sign with another key; `aws kms describe-key` shows the state",
    ),
    "ExpiredTokenException": ("the AWS credentials have expired", "renew them"),
    "UnrecognizedClientException": ("AWS does not know the credentials", "check them"),
    "InvalidSignatureException": (
        "AWS does not accept the credentials",
        "check them, and the clock of this machine",
    ),
}
"""Answers that only a change of configuration changes."""


def load(location: str, password: bytes | None = None) -> KmsSigner:  # noqa: ARG001
    """Return the signer of an ``awskms:///`` location; a password plays no part.

    Raises:
        KeyFileError: malformed, no such key, not a key for this, or KMS refuses.
        MissingExtraError: boto3 is not installed.
        ConfigurationError: the AWS configuration is unusable.
        SluicegateError: KMS cannot be reached now.
    """
    return KmsSigner.open(location)


def parse_location(location: str) -> tuple[str, str | None]:
    """Return ``(key id, region)`` of a location; the region is None where it does not say.

    Raises:
        KeyFileError: not ``awskms:///`` with a key id, key ARN or alias.
    """
    name = location.removeprefix(_PREFIX)
    if arn := _ARN.fullmatch(name):
        region = arn["region"]
    elif location.startswith(_PREFIX) and _NAME.fullmatch(name):
        region = None
    else:
        name, region = "", None
    if not location.startswith(_PREFIX) or not name:
        raise KeyFileError(
            "this is no key of AWS KMS: expected awskms:/// and a key id, a key ARN, alias/NAME "
            "or the ARN of an alias",
            next_step="the endpoint comes from the AWS configuration, not from the location",
        )
    if "alias/aws/" in name:
        raise KeyFileError("keys that AWS manages for its services do not sign for you")
    return name, region


@dataclass(slots=True)
class KmsSigner:
    """A key in AWS KMS. Made by :meth:`open`."""

    key_id: str
    """ARN of the key (of the key itself, also where the location names an alias)."""
    _public: PublicKey = field(repr=False)
    _connect: Callable[[], Any] = field(repr=False)
    _client: Any = field(repr=False)
    _process: int = field(default_factory=os.getpid, repr=False)

    @classmethod
    def open(cls, location: str, connect: Callable[[], Any] | None = None) -> KmsSigner:
        """Ask KMS for the public key, and check that the key is one for receipts.

        Args:
            location: see the module's text.
            connect: makes a boto3 KMS client; by default from the usual configuration.

        Raises:
            KeyFileError: malformed, no such key, not a key for this, or KMS refuses.
            MissingExtraError: boto3 is not installed.
            ConfigurationError: the AWS configuration is unusable.
            SluicegateError: KMS cannot be reached now.
        """
        name, region = parse_location(location)
        connect = connect or (lambda: _client(region))
        client = connect()
        with _Failures(name, "kms:GetPublicKey"):
            answer = client.get_public_key(KeyId=name)
        return cls(_pinned(name, answer), _public_key(name, answer), connect, client)

    @property
    def public_key(self) -> PublicKey:
        """The public half, as KMS gave it out when this was opened."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return the DER-encoded signature of ``message``, verified.

        Raises:
            KeyFileError: KMS refuses, or answers with something else than this signature.
            SluicegateError: KMS cannot be reached now.
        """
        whole = len(message) <= MAX_RAW_BYTES
        with _Failures(self.key_id, "kms:Sign"):
            answer = self._client_here().sign(
                KeyId=self.key_id,
                Message=message if whole else hashlib.sha256(message).digest(),
                MessageType="RAW" if whole else "DIGEST",
                SigningAlgorithm=ALGORITHM,
            )
        signature = bytes(answer["Signature"])
        try:
            self._public.verify(signature, message)
        except ReceiptError as error:
            raise KeyFileError(
                f"KMS answered for {self.key_id} with a signature that its public key does not "
                "verify",
                next_step="nothing was signed; find out what answers at the configured endpoint",
            ) from error
        return signature

    def _client_here(self) -> Any:
        """Return a client of this process: a fork must not share connections."""
        if self._process != os.getpid():
            self._client, self._process = self._connect(), os.getpid()
        return self._client


def _client(region: str | None) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingExtraError("boto3", "s3", "signing with AWS KMS") from error
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
    )
    try:
        # A session of its own: the default one is not safe to share between threads.
        return boto3.session.Session().client("kms", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"the AWS configuration cannot be used for KMS: {type(error).__name__}",
            next_step="set AWS_DEFAULT_REGION or name the key by its ARN; check AWS_PROFILE "
            "and AWS_ENDPOINT_URL_KMS",
        ) from error


def _pinned(name: str, answer: Any) -> str:
    """Return the id to sign with: what KMS resolved the name to, never an alias."""
    key_id = str(answer.get("KeyId", ""))
    arn = _ARN.fullmatch(key_id)
    if ":alias/" in key_id or not (arn or re.fullmatch(_KEY, key_id)):
        raise KeyFileError(f"KMS did not say which key {name} is")
    named = name.rpartition("/")[2]
    if "alias/" not in name and named != key_id.rpartition("/")[2]:
        raise KeyFileError(f"KMS answered for another key than {name}")
    return key_id


def _public_key(name: str, answer: Any) -> PublicKey:
    spec = str(answer.get("KeySpec") or answer.get("CustomerMasterKeySpec"))
    found = (spec, str(answer.get("KeyUsage")))
    if found != (KEY_SPEC, KEY_USAGE) or ALGORITHM not in answer.get("SigningAlgorithms", ()):
        raise KeyFileError(
            f"the KMS key {name} is {found[0]} for {found[1]}, expected {KEY_SPEC} for {KEY_USAGE}",
            next_step=f"make a key with key spec {KEY_SPEC} and key usage {KEY_USAGE}",
        )
    try:
        key = serialization.load_der_public_key(bytes(answer["PublicKey"]))
    except (KeyError, ValueError, TypeError) as error:
        raise KeyFileError(f"KMS gave out no public key for {name}") from error
    return PublicKey(
        key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


class _Failures:
    """Turn what botocore raises into errors that name the key and what to do."""

    def __init__(self, name: str, action: str) -> None:
        self._name = name
        self._action = action

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        if isinstance(error, ClientError):
            self._refused(error)
        if isinstance(error, NoCredentialsError):
            raise KeyFileError(
                f"no AWS credentials to use the KMS key {self._name}",
                next_step="configure them for this worker (role, AWS_PROFILE or environment)",
            ) from error
        if isinstance(error, BotoCoreError):
            raise SluicegateError(
                f"cannot reach KMS for {self._name}: {type(error).__name__}",
                next_step="check region, endpoint and network; nothing was signed",
            ) from error

    def _refused(self, error: Any) -> NoReturn:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = code.rpartition("#")[2]
        if code in ("AccessDeniedException", "AccessDenied"):
            raise KeyFileError(
                f"AWS denies {self._action} on the key {self._name}",
                next_step=f"allow {self._action} for this worker's role, in its policy or in the "
                "key's",
            ) from error
        if code in _REFUSED:
            what, next_step = _REFUSED[code]
            raise KeyFileError(f"KMS key {self._name}: {what}", next_step=next_step) from error
        if code in _TRANSIENT or status >= 500:
            what = _TRANSIENT.get(code, "KMS had an error")
            raise SluicegateError(
                f"KMS key {self._name}: {what} ({self._action})",
                next_step="nothing was signed; try again",
            ) from error
        raise KeyFileError(
            f"KMS key {self._name}: KMS answered {code} to {self._action}",
            next_step="check the key and the permissions of this worker's role",
        ) from error
