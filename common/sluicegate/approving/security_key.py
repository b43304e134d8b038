"""Talk to a security key that is plugged in, for approvals in a terminal.

In a browser the browser does this. Here the program is its own page: the origin is
``https://`` and the relying party's id, and nobody serves it.

Source: FIDO Client to Authenticator Protocol 2.1, over USB HID.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sluicegate.approving.webauthn import WebAuthnCredential, register, registration_options
from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from fido2.client import Fido2Client

__all__ = ["DEFAULT_PARTY", "answer", "enrol", "open_key"]

DEFAULT_PARTY: Final = "approvals.sluicegate.invalid"
"""Relying party of keys that are enrolled in a terminal; a name that nobody can own (RFC 2606),
so no web page can ask for these credentials."""


def open_key(origin: str, *, say: Callable[[str], None], ask_pin: Callable[[], str]) -> Fido2Client:
    """Return the security key that is plugged in.

    Args:
        origin: what the key's answers are bound to.
        say: told what the person should do now.
        ask_pin: asks the person for the PIN of the key, without showing it.

    Raises:
        ConfigurationError: there is none, or several.
        MissingExtraError: ``fido2`` is not installed.
    """
    try:
        from fido2.client import DefaultClientDataCollector, Fido2Client, UserInteraction
        from fido2.hid import CtapHidDevice
    except ImportError as error:
        raise MissingExtraError("fido2", "webauthn", "a security key") from error

    class Terminal(UserInteraction):
        def prompt_up(self) -> None:
            say("touch the security key")

        def request_pin(self, permissions: Any, rp_id: str | None) -> str:  # noqa: ARG002
            return ask_pin()

        def request_uv(self, permissions: Any, rp_id: str | None) -> bool:  # noqa: ARG002
            return True

    try:
        devices = list(CtapHidDevice.list_devices())
    except OSError as error:
        raise ConfigurationError(
            f"cannot look for security keys: {error.strerror or type(error).__name__}"
        ) from error
    if len(devices) != 1:
        raise ConfigurationError(
            f"found {len(devices)} security keys",
            next_step="plug in exactly one; on Linux its hidraw device must be yours to read",
        )
    return Fido2Client(devices[0], DefaultClientDataCollector(origin), Terminal())


def enrol(name: str, client: Fido2Client, *, rp_id: str = DEFAULT_PARTY) -> WebAuthnCredential:
    """Make a credential for an approver on a security key.

    Raises:
        ConfigurationError: the key gave no answer.
        ClearanceRefused: its answer does not verify.
    """
    challenge = secrets.token_bytes(32)
    options = registration_options(name, rp_id=rp_id, challenge=challenge)
    response = _talk(lambda: client.make_credential(options))  # type: ignore[arg-type]
    return register(response, challenge=challenge, rp_id=rp_id, origin=f"https://{rp_id}")


def answer(client: Fido2Client, options: Mapping[str, Json]) -> dict[str, Any]:
    """Return the assertion of a security key, as :func:`verify_assertion` takes it.

    Raises:
        ConfigurationError: the key gave no answer.
    """
    return _talk(lambda: client.get_assertion(options).get_response(0))  # type: ignore[arg-type]


def _talk(call: Callable[[], Any]) -> dict[str, Any]:
    """Return what a key answers, as plain JSON."""
    from fido2.client import ClientError

    try:
        value: dict[str, Any] = json.loads(json.dumps(dict(call())))
    except (ClientError, OSError) as error:
        raise ConfigurationError(
            f"the security key gave no answer: {type(error).__name__}",
            next_step="is it enrolled, and was it touched in time?",
        ) from error
    return value
