"""Answers: each question about each server, as checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.model import Check, Finding, Outcome
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.transit import certificates
from sluicegate.stages.encryption.transit.drivers import DRIVERS
from sluicegate.stages.encryption.transit.endpoint import Endpoint, Mode, parse_endpoint
from sluicegate.stages.encryption.transit.parameters import strippable, weaknesses
from sluicegate.stages.encryption.transit.plain import Plain
from sluicegate.stages.encryption.transit.questions import (
    CERTIFICATE,
    CLIENT_SETTINGS,
    EXPIRY,
    HANDSHAKE,
    HOST_NAME,
    KEY,
    OLD_VERSIONS,
    PLAIN_TEXT,
    QUESTIONS,
    SESSION,
    STARTTLS,
    WEAK_CIPHERS,
)
from sluicegate.stages.encryption.transit.server import Server
from sluicegate.stages.encryption.transit.starttls import NotOfferedError
from sluicegate.stages.encryption.transit.tls import NOT_TLS, Refusal, Session, Trust
from sluicegate.stages.encryption.transit.wire import NoAnswerError

__all__ = ["endpoints", "examine"]

_AT_ONCE: Final = 8
"""Servers that are looked at at the same time; most of the time is spent waiting."""

Row = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A server, and what the answers depend on besides."""

    server: Server
    now: datetime
    days: int


def endpoints(urls: Iterable[str]) -> tuple[Endpoint, ...]:
    """Return the servers that URLs name, in their order and each URL once.

    Raises:
        ConfigurationError: a URL is unusable.
    """
    return tuple(parse_endpoint(url) for url in dict.fromkeys(urls))


def examine(scope: Scope) -> Iterable[Check]:
    """Answer all wanted questions about all named servers.

    Raises:
        ConfigurationError: a URL or the bundle of certificates is unusable.
    """
    named = endpoints(scope.settings.endpoints)
    trust = _trust(scope)
    wanted = [question for question in QUESTIONS if scope.wants(question)]

    def one(endpoint: Endpoint) -> tuple[list[Check], Row]:
        server = Server(endpoint, trust, scope.settings.timeout)
        asked = _Asked(server=server, now=scope.now, days=scope.settings.certificate_days)
        checks = [_answer(question, asked) for question in wanted if _applies(question, endpoint)]
        return checks, _row(server)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sluicegate-transit") as pool:
        results = list(pool.map(one, named))
    scope.metrics["endpoints"] = len(named)
    scope.tables.setdefault("endpoints", []).extend(row for _, row in results)
    return _merged([check for checks, _ in results for check in checks])


def _trust(scope: Scope) -> Trust:
    if scope.settings.ca_bundle is None:
        return Trust()
    try:
        return Trust(scope.context.file("ca_bundle").decode("ascii"))
    except UnicodeDecodeError:
        raise ConfigurationError("ca_bundle: it is not PEM text") from None


def _applies(question: Question, endpoint: Endpoint) -> bool:
    """Return whether a question makes sense for a server."""
    if question is STARTTLS:
        return endpoint.mode is Mode.STARTTLS
    if question is SESSION:
        return endpoint.protocol in DRIVERS and bool(endpoint.user)
    if endpoint.mode is Mode.PLAIN:
        return question in (HANDSHAKE, PLAIN_TEXT, CLIENT_SETTINGS)
    return True


def _answer(question: Question, asked: _Asked) -> Check:
    target = asked.server.endpoint.target
    try:
        findings = _ANSWERS[question.id](asked)
    except NoAnswerError as error:
        return question.unknown(f"{' or '.join(question.calls)}: {error}", target)
    return question.failed(findings, target) if findings else question.passed(target)


def _handshake(asked: _Asked) -> list[Finding]:
    endpoint = asked.server.endpoint
    expected = "expected TLS 1.2 or 1.3, found:"
    if endpoint.mode is Mode.PLAIN:
        return [Finding(message=f"{expected} by this URL the client talks without TLS")]
    try:
        found = asked.server.session()
    except NotOfferedError as error:
        return [Finding(message=f"{expected} {error}")]
    if isinstance(found, Session):
        return []
    if found.reason in NOT_TLS:
        return [Finding(message=f"{expected} the server's answer is no TLS")]
    try:
        other = asked.server.seen()
    except NoAnswerError:
        return [
            Finding(
                message=f"{expected} the server refuses the handshake",
                evidence={"reason": found.reason},
            )
        ]
    return [
        Finding(
            message=f"{expected} the server agrees only on {other.protocol} with {other.cipher}",
            evidence={
                "reason": found.reason,
                "protocol": other.protocol,
                "cipher": other.cipher,
            },
        )
    ]


def _certificate(asked: _Asked) -> list[Finding]:
    found = asked.server.verified()
    if isinstance(found, Session):
        if not found.verified:
            message = "expected a certificate, found that the server presents none"
            return [Finding(message=message)]
        return _parsed(lambda: certificates.dates(found.verified, asked.now))
    if not found.code:
        raise NoAnswerError(f"the handshake with verification fails ({found.reason})")
    return [certificates.trust(found.code, asked.server.seen().presented)]


def _host_name(asked: _Asked) -> list[Finding]:
    if asked.server.names_host():
        return []
    return [
        Finding(
            message="expected a certificate for this host, found one for other names",
            evidence={"host": asked.server.endpoint.host},
        )
    ]


def _expiry(asked: _Asked) -> list[Finding]:
    chain = _judged_chain(asked.server)
    return _parsed(lambda: certificates.expiry(chain, asked.now, asked.days))


def _judged_chain(server: Server) -> Sequence[bytes]:
    """Return the chain whose dates count: the verified one, or the server's own certificate."""
    found = server.verified()
    if isinstance(found, Session) and found.verified:
        return found.verified
    presented = server.seen().presented[:1]
    if not presented:
        raise NoAnswerError("the server presents no certificate")
    return presented


def _old_versions(asked: _Asked) -> list[Finding]:
    return [
        Finding(
            message=f"expected TLS 1.2 or better only, found that the server also takes {version}",
            evidence={"protocol": version},
        )
        for version in asked.server.old_versions()
    ]


def _weak_ciphers(asked: _Asked) -> list[Finding]:
    return [
        Finding(
            message=f"expected good ciphers only, found that the server also takes ones {kind}",
            evidence={"ciphers": kind},
        )
        for kind in asked.server.weak_ciphers()
    ]


def _key(asked: _Asked) -> list[Finding]:
    presented = asked.server.seen().presented
    if not presented:
        raise NoAnswerError("the server presents no certificate")
    return _parsed(lambda: certificates.keys(presented))


def _plain_text(asked: _Asked) -> list[Finding]:
    reply = asked.server.plain()
    if reply.plain is Plain.REFUSED:
        return []
    return [Finding(message=f"expected that plain text is refused, found: {reply.words}")]


def _starttls(asked: _Asked) -> list[Finding]:
    endpoint, findings = asked.server.endpoint, []
    sentence = strippable(endpoint.scheme, endpoint.options)
    if sentence:
        findings.append(Finding(message=f"expected a client that insists on TLS, found {sentence}"))
    try:
        found = asked.server.session()
    except NotOfferedError as error:
        return [Finding(message=f"expected a change to TLS, found: {error}"), *findings]
    except NoAnswerError:
        if findings:
            return findings
        raise
    if isinstance(found, Refusal):
        findings.append(
            Finding(
                message="expected a change to TLS, found: it is offered, and then fails",
                evidence={"reason": found.reason},
            )
        )
    return findings


def _client_settings(asked: _Asked) -> list[Finding]:
    endpoint = asked.server.endpoint
    return [
        Finding(message=f"expected a client that demands and verifies TLS, found: {sentence}")
        for sentence in weaknesses(endpoint.scheme, endpoint.host, endpoint.options)
    ]


def _session(asked: _Asked) -> list[Finding]:
    used = asked.server.used()
    if used.encrypted:
        return []
    return [
        Finding(
            message="expected a session that is encrypted as far as the database, found that the "
            "database gets plain text: TLS ends before it",
        )
    ]


_ANSWERS: Final[dict[str, Callable[[_Asked], list[Finding]]]] = {
    HANDSHAKE.id: _handshake,
    CERTIFICATE.id: _certificate,
    HOST_NAME.id: _host_name,
    EXPIRY.id: _expiry,
    OLD_VERSIONS.id: _old_versions,
    WEAK_CIPHERS.id: _weak_ciphers,
    KEY.id: _key,
    PLAIN_TEXT.id: _plain_text,
    STARTTLS.id: _starttls,
    CLIENT_SETTINGS.id: _client_settings,
    SESSION.id: _session,
}
"""What is wrong, by question; empty if nothing is. Each may raise NoAnswerError."""


def _parsed(judge: Callable[[], list[Finding]]) -> list[Finding]:
    """Judge certificates, some of which may be too odd to be read."""
    try:
        return judge()
    except ValueError:
        raise NoAnswerError("a certificate of the server cannot be read") from None


def _row(server: Server) -> Row:
    """Return what a server agreed on, for the report's table; None where that is not known."""
    row: dict[str, str | int | float | bool | None] = {
        "endpoint": server.endpoint.target,
        "protocol": None,
        "cipher": None,
        "certificate_ends": None,
    }
    if server.endpoint.mode is Mode.PLAIN:
        return row
    try:
        found = server.seen()
        row |= {"protocol": found.protocol, "cipher": found.cipher}
        row["certificate_ends"] = certificates.not_after(found.presented[:1])
    except (NoAnswerError, ValueError):
        return row
    return row


def _merged(checks: Sequence[Check]) -> list[Check]:
    """Join answers to one question about one server, where several URLs name it: the worst."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.id, check.target), []).append(check)
    return [_worst(group) for group in groups.values()]


def _worst(group: Sequence[Check]) -> Check:
    first = group[0]
    findings = {one.message: one for check in group for one in check.findings}
    if findings:
        return Check.failed(
            first.id, list(findings.values()), severity=first.severity, target=first.target
        )
    return next((check for check in group if check.outcome is Outcome.UNKNOWN), first)
