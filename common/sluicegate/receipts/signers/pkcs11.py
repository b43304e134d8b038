"""Keys on PKCS #11 tokens: hardware security modules, smart cards, network HSMs.

The token signs; this module hashes, converts and verifies. It asks for plain ECDSA over a
SHA-256 that is computed here, which every token with elliptic curves offers, and turns the
token's ``r || s`` into the DER that receipts carry. Each signature is verified with the
public key before it is handed out.

A session lasts for one signature: nothing stays logged in, and a token that was pulled and
put back works again. A wrong PIN is tried once; a token that says that one more failure
would lock it is left alone.

Limits: a call into the vendor's module cannot be bounded in time from here. The module is
code that runs in this process: name only one that you trust.

Sources: PKCS #11 v2.40, sections 5 (general) and 2.3 (elliptic curves); RFC 7512.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sluicegate.errors import KeyFileError, MissingExtraError, ReceiptError, SluicegateError
from sluicegate.receipts.keys import PublicKey
from sluicegate.receipts.signers.pkcs11_uri import KeyLocation, parse_location, read_pin

__all__ = ["Pkcs11Signer", "load"]

_P256: Final = bytes.fromhex("06082a8648ce3d030107")
"""CKA_EC_PARAMS of P-256: the DER of its object identifier (SEC 2, RFC 5480)."""
_HALF: Final = 32
"""Bytes of each of r and s on P-256."""
_LOCK: Final = threading.RLock()
"""Modules are initialised without locks of their own, and log in a whole process at a time."""
_initialised_by: Final[dict[str, int]] = {}
"""Process that initialised each module; a fork must do so again (PKCS #11, C_Initialize)."""


def load(location: str, password: bytes | None = None) -> Pkcs11Signer:
    """Return the signer of a ``pkcs11:`` URI.

    Args:
        location: see :func:`~sluicegate.receipts.signers.pkcs11_uri.parse_location`.
        password: the PIN, unless the URI names a ``pin-source``.

    Raises:
        KeyFileError: malformed, no such token or key, not a P-256 key, or the PIN is wrong.
        MissingExtraError: python-pkcs11 is not installed.
        SluicegateError: the token does not answer; a retry may help.
    """
    where = parse_location(location)
    pin = read_pin(where, password)
    with _session(where, pin) as session:
        _private_key(session, where)
        public = _public_key(session, where)
    return Pkcs11Signer(where=where, public_key=public, _pin=pin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Signer:
    """A P-256 key on a token. Made by :func:`load`."""

    where: KeyLocation
    public_key: PublicKey
    """The public half, as the token holds it."""
    _pin: str | None = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the DER-encoded signature of ``message``, verified.

        Raises:
            KeyFileError: the token refuses, or its signature is not by the public key.
            SluicegateError: the token does not answer.
        """
        from pkcs11 import Attribute, Mechanism

        digest = hashlib.sha256(message).digest()
        with _session(self.where, self._pin) as session:
            key = _private_key(session, self.where)
            # Some keys, of cards above all, want the PIN again for each signature.
            again = self._pin if _flag(key, Attribute.ALWAYS_AUTHENTICATE) else None
            raw = bytes(key.sign(digest, mechanism=Mechanism.ECDSA, pin=again))
        signature = _to_der(raw, self.where)
        try:
            self.public_key.verify(signature, message)
        except ReceiptError as error:
            raise KeyFileError(
                f"the signature by {self.where} is not one of its public key",
                next_step="nothing was signed; the token's public object may belong to another "
                "private key",
            ) from error
        return signature


def _to_der(raw: bytes, where: KeyLocation) -> bytes:
    """Turn ``r || s`` into the DER that receipts carry."""
    if len(raw) != 2 * _HALF:
        raise KeyFileError(f"{where} answered with {len(raw)} bytes, expected {2 * _HALF}")
    r, s = (int.from_bytes(part, "big") for part in (raw[:_HALF], raw[_HALF:]))
    return utils.encode_dss_signature(r, s)


@contextmanager
def _session(where: KeyLocation, pin: str | None) -> Iterator[Any]:
    """Open a session on the one token that fits; log in, and out at the end."""
    with _LOCK, _failures(where):
        module = _module(where.module)
        token = _token(module, where)
        _check_pin(token, where, pin)
        session = token.open(user_pin=pin)
        try:
            yield session
        finally:
            session.close()


def _module(path: str) -> Any:
    try:
        import pkcs11
    except ImportError as error:
        raise MissingExtraError("python-pkcs11", "pkcs11", "signing with a token") from error
    module = pkcs11.lib(path)
    if _initialised_by.setdefault(path, os.getpid()) != os.getpid():
        module.reinitialize()
        _initialised_by[path] = os.getpid()
    return module


def _token(module: Any, where: KeyLocation) -> Any:
    wanted = {
        "label": where.token,
        "serial": where.serial.encode() if where.serial is not None else None,
        "manufacturer_id": where.manufacturer,
        "model": where.model,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    found = [
        token
        for token in module.get_tokens()
        if all(getattr(token, name) == value for name, value in wanted.items())
    ]
    if len(found) != 1:
        raise KeyFileError(
            f"{len(found)} tokens fit {where}, expected exactly one",
            next_step="check that it is plugged in; name it by its serial number, too",
        )
    return found[0]


def _check_pin(token: Any, where: KeyLocation, pin: str | None) -> None:
    from pkcs11 import TokenFlag

    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise KeyFileError(f"the token of {where} is locked", next_step="unlock it")
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise KeyFileError(
            f"one more wrong PIN would lock the token of {where}; it was left alone",
            next_step="log in once by hand with the right PIN, which resets the counter",
        )
    if pin is None and token.flags & TokenFlag.LOGIN_REQUIRED:
        raise KeyFileError(
            f"the token of {where} wants a PIN",
            next_step="add pin-source=FILE to the URI, or set SLUICEGATE_KEY_PASSWORD_FILE",
        )


def _private_key(session: Any, where: KeyLocation) -> Any:
    from pkcs11 import Attribute, KeyType, ObjectClass

    key = _only(session, ObjectClass.PRIVATE_KEY, "private", label=where.label, id=where.id)
    if key.key_type != KeyType.EC or not key[Attribute.SIGN]:
        raise KeyFileError(f"{where} is not an elliptic-curve key that may sign")
    return key


def _public_key(session: Any, where: KeyLocation) -> PublicKey:
    from pkcs11 import Attribute, ObjectClass

    key = _only(session, ObjectClass.PUBLIC_KEY, "public", label=where.label, id=where.id)
    if bytes(key[Attribute.EC_PARAMS]) != _P256:
        raise KeyFileError(f"{where} is not on the curve P-256, which receipts are signed with")
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), _point(bytes(key[Attribute.EC_POINT]))
        )
    except ValueError as error:
        raise KeyFileError(f"the public point of {where} is not on P-256") from error
    return PublicKey(
        point.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _point(value: bytes) -> bytes:
    """Return an uncompressed point; most tokens wrap it in an OCTET STRING, as they should."""
    return value[2:] if value[:2] == b"\x04\x41" and len(value) == 67 else value


def _only(session: Any, kind: Any, word: str, *, label: str | None, id: bytes | None) -> Any:
    from pkcs11 import Attribute

    wanted = {Attribute.CLASS: kind, Attribute.LABEL: label, Attribute.ID: id}
    template = {name: value for name, value in wanted.items() if value is not None}
    found = list(session.get_objects(template))
    if len(found) != 1:
        raise KeyFileError(
            f"the token holds {len(found)} {word} keys of this name, expected exactly one",
            next_step="name the key by its id, too; the public key must be on the token as well",
        )
    return found[0]


def _flag(key: Any, attribute: Any) -> bool:
    """Return a boolean attribute; tokens that do not know it have it off."""
    from pkcs11.exceptions import AttributeTypeInvalid

    try:
        return bool(key[attribute])
    except (AttributeTypeInvalid, KeyError):
        return False


@contextmanager
def _failures(where: KeyLocation) -> Iterator[None]:
    """Turn what python-pkcs11 raises into errors that name the key and what to do."""
    try:
        yield
    except SluicegateError:
        raise
    except Exception as error:
        # The library's exceptions can be named only once it is known to be there.
        from pkcs11 import exceptions as known

        what, next_step = f"{where} cannot be used", "check the module's path and the token"
        if isinstance(error, known.PinIncorrect | known.PinInvalid | known.PinLenRange):
            next_step = "check the PIN; it was tried once"
            raise KeyFileError(f"{what}: the PIN is wrong", next_step=next_step) from None
        if isinstance(error, known.PinLocked):
            raise KeyFileError(f"{what}: the token is locked") from None
        if isinstance(error, known.DeviceError | known.DeviceRemoved | known.TokenNotPresent):
            raise SluicegateError(
                f"{what}: {type(error).__name__}", next_step="nothing was signed; try again"
            ) from error
        if isinstance(error, known.PKCS11Error | OSError | RuntimeError):
            raise KeyFileError(f"{what}: {type(error).__name__}", next_step=next_step) from error
        raise
