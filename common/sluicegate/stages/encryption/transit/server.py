"""One server: each thing is learnt once, when a question first needs it.

What was learnt is a value, or the :class:`NoAnswerError` that says why not; it is raised
again for every further question, without asking again.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from sluicegate.stages.encryption.transit.certificates import HOST_CODES
from sluicegate.stages.encryption.transit.drivers import DRIVERS, Used
from sluicegate.stages.encryption.transit.endpoint import Endpoint, Mode
from sluicegate.stages.encryption.transit.hello import (
    DHE_CIPHERS,
    MODERN_CIPHERS,
    OLD_CIPHERS,
    VERSIONS,
    WEAK_CIPHERS,
    Accepted,
    Refused,
    greet,
)
from sluicegate.stages.encryption.transit.parameters import weaknesses
from sluicegate.stages.encryption.transit.plain import Plain, Reply, speak
from sluicegate.stages.encryption.transit.questions import CLIENT_SETTINGS
from sluicegate.stages.encryption.transit.starttls import NotOfferedError, before_tls
from sluicegate.stages.encryption.transit.tls import (
    NOT_TLS,
    Refusal,
    Session,
    Trust,
    lenient,
    looking,
    pinned,
    shake,
)
from sluicegate.stages.encryption.transit.wire import ClosedError, NoAnswerError, Route

__all__ = ["Server"]

DHE_BITS: Final = 2048
"""Smallest Diffie-Hellman group with 112 bits of security (NIST SP 800-56A Rev. 3)."""

_TLS12: Final = 0x0303


class Server:
    """What one server does, looked at from outside."""

    def __init__(self, endpoint: Endpoint, trust: Trust, timeout: float) -> None:
        self.endpoint = endpoint
        self.trust = trust
        self.route = Route(endpoint.host, endpoint.port, timeout)
        self._prepare = before_tls(endpoint)
        direct = endpoint.protocol == "postgresql" and endpoint.mode is Mode.TLS
        self._alpn = "postgresql" if direct else ""
        self._unfinished = False
        """The server wants a certificate of the client: no handshake will come to its end."""

    @cached_property
    def _base(self) -> Session | Refusal | NotOfferedError | NoAnswerError:
        try:
            found = self._shake(looking())
            if isinstance(found, Refusal) and found.reason not in NOT_TLS:
                answer = self._greet(_TLS12, MODERN_CIPHERS)
                if isinstance(answer, Accepted) and answer.wants_certificate:
                    self._unfinished = True
                    return self._shake(looking())
            return found
        except (NotOfferedError, NoAnswerError) as error:
            return error

    def _shake(self, context: ssl.SSLContext) -> Session | Refusal:
        return shake(
            self.route, self._prepare, context, alpn=self._alpn, unfinished=self._unfinished
        )

    def session(self) -> Session | Refusal:
        """Return what a client of today agrees on with the server, without verification.

        Raises:
            NotOfferedError: the server has no TLS.
            NoAnswerError: nothing could be learnt.
        """
        if isinstance(self._base, (NotOfferedError, NoAnswerError)):
            raise self._base
        return self._base

    def seen(self) -> Session:
        """Return a session with the server, of whatever quality, to read certificates from.

        Raises:
            NoAnswerError: there is none.
        """
        if isinstance(self._seen, NoAnswerError):
            raise self._seen
        return self._seen

    @cached_property
    def _seen(self) -> Session | NoAnswerError:
        try:
            found = self.session()
            if isinstance(found, Refusal):
                found = self._shake(lenient())
        except NotOfferedError as error:
            return NoAnswerError(f"no TLS: {error}")
        except NoAnswerError as error:
            return error
        if isinstance(found, Refusal):
            return NoAnswerError(f"no TLS handshake ({found.reason})")
        return found

    def verified(self) -> Session | Refusal:
        """Return a session whose chain of certificates is trusted, or why there is none.

        Raises:
            NoAnswerError: nothing could be learnt.
        """
        if isinstance(self._verified, NoAnswerError):
            raise self._verified
        return self._verified

    @cached_property
    def _verified(self) -> Session | Refusal | NoAnswerError:
        try:
            self.seen()
            context = self.trust.verifying(name=False, old=isinstance(self._base, Refusal))
            return self._shake(context)
        except NotOfferedError as error:
            return NoAnswerError(str(error))
        except NoAnswerError as error:
            return error

    def names_host(self) -> bool:
        """Return whether the certificate is one for the host, whoever issued it.

        Raises:
            NoAnswerError: nothing could be learnt.
        """
        presented = self.seen().presented
        if not presented:
            raise NoAnswerError("the server presents no certificate")
        try:
            answer = self._shake(pinned(presented[0]))
        except NotOfferedError as error:
            raise NoAnswerError(str(error)) from None
        if isinstance(answer, Session):
            return True
        if answer.code in HOST_CODES:
            return False
        raise NoAnswerError(f"the name cannot be compared ({answer.reason}, {answer.code})")

    def _must_speak_tls(self) -> None:
        """See that there is TLS to be asked about, if only of a kind that nobody should use.

        Raises:
            NoAnswerError: there is not.
        """
        try:
            found = self.session()
        except NotOfferedError as error:
            raise NoAnswerError(f"no TLS: {error}") from None
        if isinstance(found, Refusal) and found.reason in NOT_TLS:
            raise NoAnswerError("no TLS: the answer is none")

    def old_versions(self) -> list[str]:
        """Return the versions below TLS 1.2 that the server agrees to.

        Raises:
            NoAnswerError: nothing could be learnt.
        """
        self._must_speak_tls()
        found = set()
        for version in VERSIONS:
            answer = self._offer(version, OLD_CIPHERS)
            if isinstance(answer, Accepted) and answer.version in VERSIONS:
                found.add(answer.version)
        return [VERSIONS[version] for version in sorted(found)]

    def weak_ciphers(self) -> list[str]:
        """Return what kinds of broken ciphers the server agrees to, in words.

        Raises:
            NoAnswerError: nothing could be learnt.
        """
        self._must_speak_tls()
        everything = [one for family in WEAK_CIPHERS.values() for one in family]
        found = []
        if isinstance(self._offer(_TLS12, everything), Accepted):
            for family, ciphers in WEAK_CIPHERS.items():
                if isinstance(self._offer(_TLS12, ciphers), Accepted):
                    found.append(family)
        group = self._offer(_TLS12, DHE_CIPHERS)
        if isinstance(group, Accepted) and 0 < group.group_bits < DHE_BITS:
            found.append(f"with a Diffie-Hellman group of {group.group_bits} bits")
        return found

    def plain(self) -> Reply:
        """Return how the server takes plain text.

        Raises:
            NoAnswerError: nothing could be learnt.
        """
        try:
            reply = speak(self.endpoint, self.route)
        except NoAnswerError as error:
            reply = self._plain_by_its_word(error)
        if reply.plain is not Plain.CLOSED:
            return reply
        try:
            self._must_speak_tls()
        except NoAnswerError:
            raise NoAnswerError(f"{reply.words}, and no TLS could be seen either") from None
        return Reply(Plain.REFUSED, reply.words)

    def _plain_by_its_word(self, tried: NoAnswerError) -> Reply:
        """Return what a database says of plain text, where trying does not tell.

        Raises:
            NoAnswerError: it does not say either; then what came of trying.
        """
        try:
            asked = self.endpoint.protocol == "mysql" and self.endpoint.user
            demanded = self.used().demanded if asked else None
        except NoAnswerError:
            demanded = None
        if demanded is None:
            raise tried
        words = "require_secure_transport and the account's REQUIRE are off"
        return Reply(Plain.REFUSED, "") if demanded else Reply(Plain.SERVED, words)

    def used(self) -> Used:
        """Return what the database says of a session with the URL's own settings.

        Raises:
            NoAnswerError: it is not asked, or does not say.
        """
        if isinstance(self._used, NoAnswerError):
            raise self._used
        return self._used

    @cached_property
    def _used(self) -> Used | NoAnswerError:
        endpoint = self.endpoint
        if weaknesses(endpoint.scheme, endpoint.host, endpoint.options):
            return NoAnswerError(
                "no log-in is tried: by the URL's settings anybody could take the password; see "
                f"{CLIENT_SETTINGS.id}"
            )
        try:
            self._must_speak_tls()
            with self.route.open() as link:
                address = str(link.raw.getpeername()[0])
            return DRIVERS[endpoint.protocol](endpoint, address, self.trust, self.route.timeout)
        except NoAnswerError as error:
            return error

    def _offer(self, version: int, ciphers: Sequence[int]) -> Accepted | Refused:
        """Greet the server; believe that it hung up for the greeting if it takes a good one."""
        answer = self._greet(version, ciphers)
        if answer != Refused("closed"):
            return answer
        control = self._greet(_TLS12, MODERN_CIPHERS, modern=True)
        if not isinstance(control, Accepted):
            raise NoAnswerError("the server hangs up on good greetings too")
        return self._greet(version, ciphers)  # once more: it was not a mishap

    def _greet(
        self, version: int, ciphers: Sequence[int], *, modern: bool = False
    ) -> Accepted | Refused:
        try:
            with self.route.open() as link:
                self._prepare(link)
                return greet(link, self.endpoint.host, version, ciphers, modern=modern)
        except ClosedError:
            return Refused("closed")
        except NotOfferedError as error:
            raise NoAnswerError(str(error)) from None
