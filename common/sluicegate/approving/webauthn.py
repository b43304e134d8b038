"""WebAuthn: a security key or a passkey signs what is approved.

The challenge is the SHA-256 of the question's canonical JSON (:attr:`ApprovalRequest.question`),
so an assertion is good for one action on one subject in one run, asked once. The signature,
the origin, the relying party and the presence of a person are verified by the ``fido2``
library; here are the sign counter and what is kept. Attestation, which says who made the key,
is not asked for.

Of signatures, ES256 and EdDSA are taken; every security key has one of them.

Source: W3C Web Authentication Level 2, 7.1 and 7.2.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json, canonical_json, sha256_hex
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    MissingExtraError,
    SluicegateError,
)

if TYPE_CHECKING:
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestedCredentialData, PublicKeyCredentialParameters

__all__ = [
    "Assertion",
    "WebAuthnCredential",
    "assertion_options",
    "challenge_of",
    "register",
    "registration_options",
    "verify_assertion",
]

_ALGORITHMS: Final = (-7, -8)
"""COSE: ES256 and EdDSA."""
_MOST_BYTES: Final = 64 << 10
"""Size of a response; real ones have one or two kilobytes."""
_BASE64: Final = (
    "clientDataJSON",
    "attestationObject",
    "authenticatorData",
    "signature",
    "userHandle",
)
"""Members of ``response`` that are Base64url text. Source: WebAuthn level 3, section 5.1."""
_MALFORMED: Final = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What the library raises for responses that are malformed or do not verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAuthnCredential:
    """The public half of a credential, as it was registered."""

    data: bytes
    """Attested credential data: authenticator model, credential id, COSE public key."""
    rp_id: str
    """Relying party id: the domain that the credential is for."""
    origin: str
    """Origin of the page, or of the program, that may use it."""
    verified: bool
    """Whether the person was verified (PIN, finger) at registration; then always asked for."""
    sign_count: int = 0
    """Highest counter seen; stays 0 for authenticators without one."""

    @property
    def id(self) -> str:
        """A short name of this credential: 16 hexadecimal digits."""
        return sha256_hex(self.data)[:16]

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "data": base64.b64encode(self.data).decode(),
            "rpId": self.rp_id,
            "origin": self.origin,
            "verified": self.verified,
            "signCount": self.sign_count,
        }

    @classmethod
    def from_json(cls, value: Json) -> WebAuthnCredential:
        """Read the JSON form, or raise KeyError, TypeError or ValueError."""
        return cls(
            data=base64.b64decode(value["data"], validate=True),
            rp_id=str(value["rpId"]),
            origin=str(value["origin"]),
            verified=bool(value["verified"]),
            sign_count=int(value["signCount"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """An assertion that verified."""

    credential: WebAuthnCredential
    """With its counter moved on."""
    document: bytes
    """What anybody needs to verify it again, as canonical JSON."""


def registration_options(name: str, *, rp_id: str, challenge: bytes) -> dict[str, Json]:
    """Return what a browser's ``navigator.credentials.create`` takes, as JSON.

    Args:
        name: of the approver.
        rp_id: domain that the credential is for.
        challenge: 16 random bytes or more, not used before.

    Raises:
        MissingExtraError: ``fido2`` is not installed.
    """
    server, library = _server(rp_id), _library()
    user = library.PublicKeyCredentialUserEntity(
        id=sha256_hex(name.encode())[:32].encode(), name=name, display_name=name
    )
    preferred = library.UserVerificationRequirement.PREFERRED
    options, _ = server.register_begin(user, user_verification=preferred, challenge=challenge)
    return dict(dict(options)["publicKey"])


def register(
    response: Mapping[str, Any], *, challenge: bytes, rp_id: str, origin: str
) -> WebAuthnCredential:
    """Verify the answer to :func:`registration_options`; return the credential.

    Args:
        response: ``RegistrationResponseJSON`` of the browser.
        challenge: the one that was given out.
        rp_id: as given out.
        origin: exactly the one of the page.

    Raises:
        ClearanceRefused: malformed, for another challenge or origin, or with an algorithm
            that is not taken.
        MissingExtraError: ``fido2`` is not installed.
    """
    server = _server(rp_id, origin)
    _check_shape(response)
    try:
        _check_attestation(response)
        found = server.register_complete(_state(challenge, verified=False), response)
        credential: AttestedCredentialData | None = found.credential_data
        if credential is None or credential.public_key[3] not in _ALGORITHMS:
            raise ValueError("an algorithm that is not taken")
        return WebAuthnCredential(
            data=bytes(credential),
            rp_id=rp_id,
            origin=origin,
            verified=found.is_user_verified(),
            sign_count=found.counter,
        )
    except _MALFORMED as error:
        raise ClearanceRefused(f"the security key was not registered: {_why(error)}") from error


def challenge_of(question: Json) -> bytes:
    """Return the challenge that stands for a question: the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(question)).digest()


def assertion_options(
    credentials: Sequence[WebAuthnCredential], *, question: Json
) -> dict[str, Json]:
    """Return what a browser's ``navigator.credentials.get`` takes, as JSON.

    Args:
        credentials: of the approver, all for one relying party.
        question: what is asked; see :func:`challenge_of`.

    Raises:
        ConfigurationError: there are none, or they are for several relying parties.
        MissingExtraError: ``fido2`` is not installed.
    """
    parties = {credential.rp_id for credential in credentials}
    if len(parties) != 1:
        raise ConfigurationError("expected the credentials of one relying party")
    known = [_library().AttestedCredentialData(item.data) for item in credentials]
    options, _ = _server(parties.pop()).authenticate_begin(
        known,
        user_verification=_library().UserVerificationRequirement.PREFERRED,
        challenge=challenge_of(question),
    )
    return dict(dict(options)["publicKey"])


def verify_assertion(
    response: Mapping[str, Any], credentials: Sequence[WebAuthnCredential], *, question: Json
) -> Assertion:
    """Verify the answer to :func:`assertion_options`.

    That the question was not answered before is for the caller to see to.

    Args:
        response: ``AuthenticationResponseJSON`` of the browser.
        credentials: of the approver.
        question: what was asked; see :func:`challenge_of`.

    Raises:
        ClearanceRefused: malformed, by another credential, for another challenge or origin, not
            signed by it, or with a counter that did not grow, as that of a copied key.
        MissingExtraError: ``fido2`` is not installed.
    """
    library = _library()
    _check_shape(response)
    try:
        answer = library.AuthenticationResponse.from_dict(response)
        credential, data = _find(answer.raw_id, credentials)
        _server(credential.rp_id, credential.origin).authenticate_complete(
            _state(challenge_of(question), verified=credential.verified), [data], answer
        )
        if answer.response.client_data.cross_origin is not False:
            raise ValueError("it was made inside a page of somebody else")
        count = answer.response.authenticator_data.counter
    except _MALFORMED as error:
        raise ClearanceRefused(f"the assertion was not accepted: {_why(error)}") from error
    if (count or credential.sign_count) and count <= credential.sign_count:
        raise ClearanceRefused(
            "the counter of the security key did not grow: the assertion is an old one, or the "
            "key was copied",
            next_step="if the approver has done nothing unusual, enrol a new security key",
        )
    moved = replace(credential, sign_count=count)
    return Assertion(credential=moved, document=_document(moved, answer, question))


def _find(
    raw_id: bytes, credentials: Sequence[WebAuthnCredential]
) -> tuple[WebAuthnCredential, AttestedCredentialData]:
    for credential in credentials:
        data: AttestedCredentialData = _library().AttestedCredentialData(credential.data)
        if data.credential_id == raw_id:
            return credential, data
    raise ValueError("it is by no security key of this approver")


def _document(credential: WebAuthnCredential, answer: Any, question: Json) -> bytes:
    """Return what anybody needs to verify the assertion again."""

    def text(value: bytes) -> str:
        return base64.b64encode(bytes(value)).decode()

    return canonical_json(
        {
            "kind": "sluicegate-assertion/v1",
            "credential": text(credential.data),
            "rpId": credential.rp_id,
            "origin": credential.origin,
            "question": question,
            "clientDataJSON": text(answer.response.client_data),
            "authenticatorData": text(answer.response.authenticator_data),
            "signature": text(answer.response.signature),
        }
    )


def _check_shape(response: Mapping[str, Any]) -> None:
    """Refuse what is no plain JSON of a sensible size, before anything parses it.

    The library makes bytes of whatever stands where Base64url text should: of a number, that
    many zeros. Ten digits are enough to take all memory.
    """
    if not isinstance(response, dict) or not _is_small(response):
        raise ClearanceRefused("the answer of the security key is no JSON object, or too large")
    inner = response.get("response")
    inner = inner if isinstance(inner, dict) else {}
    texts = [response.get("id"), response.get("rawId"), *(inner.get(name) for name in _BASE64)]
    if not all(isinstance(text, str | None) for text in texts):
        raise ClearanceRefused(
            "the answer of the security key is malformed: a number, a list or an object stands "
            "where there should be Base64url text",
            next_step="pass on exactly what the browser returned",
        )


def _is_small(response: Mapping[str, Any]) -> bool:
    try:
        return len(canonical_json(response)) <= _MOST_BYTES
    except SluicegateError:  # not JSON, or a number that JSON does not carry exactly
        return False


def _check_attestation(response: Mapping[str, Any]) -> None:
    """Refuse an attestation object whose data is no byte string, for the same reason.

    Raises:
        TypeError: it is none; or whatever the library raises for a malformed one.
    """
    from fido2 import cbor
    from fido2.utils import websafe_decode

    attestation: Any = cbor.decode(websafe_decode(response["response"]["attestationObject"]))
    if not isinstance(attestation["authData"], bytes):
        raise TypeError("its authenticator data is no byte string")


def _why(error: BaseException) -> str:
    """Name what is wrong; only messages of ValueErrors are known to hold no data."""
    return str(error) if type(error) is ValueError else "it is malformed"


def _state(challenge: bytes, *, verified: bool) -> dict[str, Json]:
    """Return what the library keeps between asking and answering."""
    from fido2.utils import websafe_encode

    asked = "required" if verified else "preferred"
    return {"challenge": websafe_encode(challenge), "user_verification": asked}


def _library() -> Any:
    try:
        from fido2 import webauthn
    except ImportError as error:
        raise MissingExtraError("fido2", "webauthn", "approval with a security key") from error
    return webauthn


def _server(rp_id: str, origin: str | None = None) -> Fido2Server:
    library = _library()
    from fido2.server import Fido2Server

    party = library.PublicKeyCredentialRpEntity(id=rp_id, name="sluicegate")
    server = Fido2Server(party, verify_origin=lambda found: found == origin)
    server.allowed_algorithms = [_parameters(number) for number in _ALGORITHMS]
    return server


def _parameters(algorithm: int) -> PublicKeyCredentialParameters:
    library = _library()
    found: PublicKeyCredentialParameters = library.PublicKeyCredentialParameters(
        type="public-key", alg=algorithm
    )
    return found
