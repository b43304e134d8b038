"""Sigstore keyless: signatures by people and workflows, without a key that anybody keeps.

The signer proves who it is to a certificate authority, which certifies a key that lives for
minutes; a public log shows when it signed. So a bundle is verified by *identity* and
*issuer*: an address or a workflow, and who vouches for it.

Receipts are not signed this way: a receipt names a key that the policy lists, and a policy
revokes a key at an entry of our ledger; neither holds for a certificate of ten minutes. What
this is for:

* **external data**: a publisher's bundle over a list of hashes is verified with
  :func:`verify_keyless` before the data is admitted;
* **publishing**: :func:`sign_keyless` signs a statement, such as a list of hashes of a model,
  with the identity of the workflow that runs it.

Verifying needs no network: the trust root is a file, or the copy of the public instance's
that the library carries (which is as old as the library: what was rotated in since is
refused). Signing needs the authority and the log, and has not been run against the public
instance in our tests, only against one of their own.

Sources: Sigstore bundle format 0.3; Sigstore client specification 1.0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Digest, parse_json
from sluicegate.errors import ConfigurationError, MissingExtraError, ReceiptError, SluicegateError
from sluicegate.receipts.bundle import PAYLOAD_TYPE

if TYPE_CHECKING:
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.sign import SigningContext

__all__ = ["Identity", "sign_keyless", "verify_keyless", "verify_keyless_file"]

MAX_BUNDLE_BYTES: Final = 16 << 20
"""Largest bundle that is read: a list of a hundred thousand hashes, in base64."""
_EXTRA: Final = ("sigstore", "sigstore", "a keyless signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed, and who says so. Both are compared exactly.

    Raises:
        ConfigurationError: one of them is empty.
    """

    name: str
    """E-mail address, or URI of a workflow, as the certificate has it."""
    issuer: str
    """URL of the identity provider. Without it, any provider could vouch for the name."""

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.issuer.strip():
            raise ConfigurationError("a keyless signer has a name and an issuer")

    def __str__(self) -> str:
        return f"{self.name} ({self.issuer})"


def verify_keyless(
    bundle: bytes, trusted: Iterable[Identity], *, root: Path | None = None
) -> tuple[bytes, Identity]:
    """Return the in-toto statement that a bundle carries, and which trusted identity signed it.

    The caller still owes: whether the statement is about the right subject.

    Args:
        bundle: a Sigstore bundle over a DSSE envelope.
        trusted: who may have signed; one of them must have.
        root: a trusted root in Sigstore's JSON; by default the public instance's, as the
            library carries it.

    Raises:
        ReceiptError: malformed, or signed by nobody that is trusted.
        ConfigurationError: nobody is trusted, or the trusted root cannot be read.
        MissingExtraError: sigstore is not installed.
    """
    verifier, parsed = _verifier(_root(root)), _parse(bundle)
    identity, (kind, payload) = _first(trusted, lambda policy: verifier.verify_dsse(parsed, policy))
    if kind != PAYLOAD_TYPE:
        raise ReceiptError(f"the bundle's payload is not {PAYLOAD_TYPE}")
    return bytes(payload), identity


def verify_keyless_file(
    bundle: bytes, digest: Digest, trusted: Iterable[Identity], *, root: Path | None = None
) -> Identity:
    """Return which trusted identity signed a file, by the file's SHA-256.

    Args:
        bundle: a Sigstore bundle over a message signature.
        digest: SHA-256 of the file, computed from the bytes that are used.
        trusted: who may have signed; one of them must have.
        root: as for :func:`verify_keyless`.

    Raises:
        ReceiptError: malformed, over another file, or signed by nobody that is trusted.
        ConfigurationError: nobody is trusted, or the trusted root cannot be read.
        MissingExtraError: sigstore is not installed.
    """
    verifier, parsed = _verifier(_root(root)), _parse(bundle)
    from sigstore.hashes import Hashed
    from sigstore_models.common.v1 import HashAlgorithm

    hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest.hex))
    identity, _ = _first(trusted, lambda policy: verifier.verify_artifact(hashed, parsed, policy))
    return identity


def sign_keyless(
    payload: bytes, *, token: str | None = None, context: SigningContext | None = None
) -> bytes:
    """Sign an in-toto statement with this process's identity; return the bundle.

    Args:
        payload: the statement.
        token: an OpenID Connect token for Sigstore; by default that of the workflow that
            runs this (GitHub, GitLab, Google Cloud, Buildkite), as the library finds it.
        context: authority, log and root to use; by default those of the public instance.

    Raises:
        ConfigurationError: no identity, or an unusable one.
        ReceiptError: the payload is no in-toto statement.
        SluicegateError: authority or log did not answer as they should; nothing was signed.
        MissingExtraError: sigstore is not installed.
    """
    try:
        from sigstore.dsse import Statement
        from sigstore.errors import Error
        from sigstore.sign import SigningContext
    except ImportError as error:
        raise MissingExtraError(*_EXTRA) from error
    identity = _token(token)
    try:
        statement = Statement(payload)
    except (Error, ValueError) as error:
        raise ReceiptError("only in-toto statements are signed keyless") from error
    try:
        context = context or SigningContext.from_trust_config(_public_instance(offline=False))
        with context.signer(identity) as signer:
            bundle = signer.sign_dsse(statement)
    except Exception as error:  # network, authority, log: each with exceptions of its own
        raise SluicegateError(
            f"no keyless signature: {type(error).__name__}",
            next_step="authority and log must be reachable, and know the identity's issuer; "
            "nothing was signed",
        ) from error
    return bundle.to_json().encode("utf-8")


def _token(given: str | None) -> Any:
    from sigstore.oidc import IdentityError, IdentityToken, detect_credential

    try:
        raw = given or detect_credential()
        if raw is None:
            raise ConfigurationError(
                "this process has no identity to sign with",
                next_step="run it in a workflow with an identity token, or pass one",
            )
        return IdentityToken(raw)
    except IdentityError:
        # Neither the token nor what it says is shown.
        raise ConfigurationError(
            "the identity token cannot be used: malformed, expired, or for another audience"
        ) from None


def _first(trusted: Iterable[Identity], verify: Callable[[Any], Any]) -> tuple[Identity, Any]:
    """Return the first identity under which a bundle verifies, and what that returned."""
    refusal: ReceiptError | None = None
    for identity in trusted:
        try:
            return identity, _under(identity, verify)
        except ReceiptError as error:
            refusal = error
    raise refusal or ConfigurationError("nobody is trusted to have signed this")


def _under(identity: Identity, verify: Callable[[Any], Any]) -> Any:
    from sigstore.verify import policy

    try:
        return verify(policy.Identity(identity=identity.name, issuer=identity.issuer))
    except Exception as error:  # a foreign parser on foreign bytes: whatever it raises is a no
        raise ReceiptError(
            f"the bundle is not by an identity that is trusted: {type(error).__name__}",
            next_step="compare name and issuer with the publisher's documentation, and the "
            "bundle with the one that was published",
        ) from error


def _parse(bundle: bytes) -> Bundle:
    try:
        from sigstore.models import Bundle
    except ImportError as error:
        raise MissingExtraError(*_EXTRA) from error
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise ReceiptError(f"a bundle has at most {MAX_BUNDLE_BYTES:,} bytes")
    try:
        parse_json(bundle)  # what has a key twice means different things to different readers
        return Bundle.from_json(bundle)
    except Exception as error:  # a foreign parser on foreign bytes
        raise ReceiptError(
            f"this is not a keyless Sigstore bundle: {type(error).__name__}"
        ) from error


def _verifier(root: TrustedRoot) -> Any:
    from sigstore.errors import Error
    from sigstore.verify import Verifier

    try:
        return Verifier(trusted_root=root)
    except (Error, ValueError) as error:
        raise ConfigurationError("the trusted root names no authority or no log") from error


def _root(path: Path | None) -> TrustedRoot:
    try:
        from sigstore.models import TrustedRoot
    except ImportError as error:
        raise MissingExtraError(*_EXTRA) from error
    if path is None:
        return _public_instance(offline=True).trusted_root  # type: ignore[no-any-return]
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise ConfigurationError(f"{path} is larger than any trusted root")
    try:
        return TrustedRoot.from_file(str(path))
    except Exception as error:  # unreadable, no JSON, or not of this shape
        raise ConfigurationError(
            f"cannot read the trusted root {path}: {type(error).__name__}"
        ) from error


def _public_instance(*, offline: bool) -> Any:
    from sigstore.models import ClientTrustConfig

    try:
        return ClientTrustConfig.production(offline=offline)
    except Exception as error:  # network, or the library's cache
        raise SluicegateError(
            f"no trust root of the public Sigstore instance: {type(error).__name__}",
            next_step="name a file with a trusted root",
        ) from error
