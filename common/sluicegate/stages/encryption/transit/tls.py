"""Handshakes with Python's own TLS library, as the pipeline's clients make them.

``Session`` tells what a connection agreed on; ``Refusal`` what OpenSSL had against it. The
certificates of both chains are kept: those that the server presents, and those that OpenSSL
built its trust on.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.transit.wire import ClosedError, Link, NoAnswerError, Route

__all__ = ["NOT_TLS", "Refusal", "Session", "Trust", "lenient", "looking", "pinned", "shake"]

NOT_TLS: Final = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "PACKET_LENGTH_TOO_LONG",
        "UNEXPECTED_MESSAGE",
        "RECORD_LAYER_FAILURE",
        "BAD_PACKET_LENGTH",
        "TOO_MANY_WARN_ALERTS",
    }
)
"""OpenSSL's reasons for an answer that is no TLS at all."""

_PASSING: Final = frozenset({"TLSV1_ALERT_INTERNAL_ERROR", "TLSV1_ALERT_USER_CANCELLED"})
"""Alerts that may be gone at the next try (RFC 8446, section 6.2): they decide nothing."""

_DER: Final = 2
"""``_ssl.ENCODING_DER``."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a handshake agreed on."""

    protocol: str
    """``TLSv1.3``."""
    cipher: str
    presented: tuple[bytes, ...]
    """The server's certificates as it sent them, its own first; DER."""
    verified: tuple[bytes, ...]
    """The chain that was verified, from the server's to the trusted one; empty if nothing
    was verified; DER."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a handshake came to no session."""

    reason: str
    """OpenSSL's name of the reason."""
    code: int = 0
    """OpenSSL's code of what is wrong with the certificate (``X509_V_ERR_...``); 0 if that
    was not the reason."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Which certificates are trusted: those of a bundle, or else the system's."""

    bundle: str | None = None
    """PEM text."""

    def __post_init__(self) -> None:
        try:
            self._anchored(_context())
        except (ssl.SSLError, ValueError):
            raise ConfigurationError(
                "ca_bundle: it holds no certificate that can be read", next_step="PEM is expected"
            ) from None

    def verifying(self, *, name: bool, old: bool = False) -> ssl.SSLContext:
        """Return a context that verifies the chain.

        Args:
            name: also compare the host's name.
            old: agree to old versions and weak keys, which are other questions.
        """
        context = self._anchored(lenient() if old else _context())
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = name
        return context

    def _anchored(self, context: ssl.SSLContext) -> ssl.SSLContext:
        if self.bundle is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cadata=self.bundle)
        return context


def looking() -> ssl.SSLContext:
    """Return a context that demands TLS 1.2 and verifies nothing: to look, not to trust."""
    return _context()


def lenient() -> ssl.SSLContext:
    """Return a context that agrees to whatever the local OpenSSL can do: to look further."""
    context = _context()
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.options |= _LEGACY_SERVER_CONNECT
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context


def pinned(certificate: bytes) -> ssl.SSLContext:
    """Return a context that trusts one certificate (DER), of any kind, and compares names."""
    context = lenient()
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    return context


_LEGACY_SERVER_CONNECT: Final = 0x4
"""``SSL_OP_LEGACY_SERVER_CONNECT``: servers without RFC 5746 can be looked at, too."""

_NO_CHECK_TIME: Final = 0x200000
"""``X509_V_FLAG_NO_CHECK_TIME``: an expired certificate still has a name to compare."""


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def shake(
    route: Route,
    prepare: Callable[[Link], None],
    context: ssl.SSLContext,
    *,
    alpn: str = "",
    unfinished: bool = False,
) -> Session | Refusal:
    """Connect, make the connection ready for TLS, and shake hands.

    Args:
        route: the way to the server; its host is sent as SNI and compared if the context
            compares names.
        prepare: speaks what the protocol wants before TLS begins.
        context: what to accept.
        alpn: protocol to name (RFC 7301); none if empty.
        unfinished: it also counts as a session if the server ends the handshake after its
            certificates have been accepted: it wants one of the client.

    Raises:
        NoAnswerError: nothing could be learnt.
    """
    if alpn:
        context.set_alpn_protocols([alpn])
    with route.open() as link:
        prepare(link)
        link.arm()
        with _wrapped(context, link, route.host) as secured:
            refusal = _handshake(secured)
            if refusal is None or (unfinished and not refusal.code):
                session = _session(secured)
                if refusal is None or session.presented:
                    return session
            return refusal


_CLOSED: Final = "the server closed the connection during the handshake"


def _wrapped(context: ssl.SSLContext, link: Link, host: str) -> ssl.SSLSocket:
    """Return the connection, ready to shake hands.

    Raises:
        ClosedError: the server is gone already.
    """
    try:
        return context.wrap_socket(link.raw, server_hostname=host, do_handshake_on_connect=False)
    except OSError:
        raise ClosedError(_CLOSED) from None


def _handshake(secured: ssl.SSLSocket) -> Refusal | None:
    """Shake hands; return what came between, None if nothing did.

    Raises:
        NoAnswerError: nothing could be learnt.
    """
    try:
        secured.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return Refusal("CERTIFICATE_VERIFY_FAILED", error.verify_code)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        raise ClosedError(_CLOSED) from None
    except ssl.SSLError as error:
        reason = error.reason or "UNKNOWN"
        if reason == "UNEXPECTED_EOF_WHILE_READING":
            raise ClosedError(_CLOSED) from None
        if reason in _PASSING:
            raise NoAnswerError(f"the server broke the handshake off ({reason})") from None
        return Refusal(reason)
    except TimeoutError:
        raise NoAnswerError("the handshake did not end within the timeout") from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise ClosedError(_CLOSED) from None
        raise NoAnswerError(f"the handshake broke off: {type(error).__name__}") from None
    return None


def _session(secured: ssl.SSLSocket) -> Session:
    cipher = secured.cipher()
    verified = secured.context.verify_mode == ssl.CERT_REQUIRED
    return Session(
        protocol=secured.version() or (cipher[1] if cipher else ""),
        cipher=cipher[0] if cipher else "",
        presented=_chain(secured, "get_unverified_chain"),
        verified=_chain(secured, "get_verified_chain") if verified else (),
    )


def _chain(secured: ssl.SSLSocket, method: str) -> tuple[bytes, ...]:
    """Return a chain as DER: by the method of Python 3.13, or the one it was made from."""
    public: Any = getattr(secured, method, None)
    if public is not None:
        return tuple(public())
    inner: Any = secured._sslobj  # type: ignore[attr-defined]  # noqa: SLF001  see above
    return tuple(one.public_bytes(_DER) for one in getattr(inner, method)() or ())
