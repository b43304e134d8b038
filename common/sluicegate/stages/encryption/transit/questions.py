"""The questions about servers: what is asked, what it takes, how to mend it."""

from __future__ import annotations

from typing import Final

from sluicegate.model import Severity
from sluicegate.stages.encryption.question import Controls, Kind, Question

__all__ = [
    "CERTIFICATE", "CLIENT_SETTINGS", "EXPIRY", "HANDSHAKE", "HOST_NAME", "KEY", "OLD_VERSIONS",
    "PLAIN_TEXT", "QUESTIONS", "SESSION", "STARTTLS", "WEAK_CIPHERS",
]  # fmt: skip

_TRANSIT: Final = Controls(nist=("SC-8", "SC-8(1)"), csf=("PR.DS-02",))
_CRYPTOGRAPHY: Final = Controls(nist=("SC-8(1)", "SC-13"), csf=("PR.DS-02",))

HANDSHAKE: Final = Question(
    id="encryption.tls_handshake",
    asks="Does the server agree on TLS 1.2 or 1.3?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("TLS handshake",),
    remedy="nginx: ssl_protocols TLSv1.2 TLSv1.3; PostgreSQL: ssl = on and "
    "ssl_min_protocol_version = 'TLSv1.2'; AWS load balancer: aws_lb_listener ssl_policy = "
    '"ELBSecurityPolicy-TLS13-1-2-2021-06"; in the URL: https://, rediss://, amqps://, '
    "security_protocol=SASL_SSL",
    controls=_TRANSIT,
)

CERTIFICATE: Final = Question(
    id="encryption.tls_certificate",
    asks="Is the server's chain of certificates complete, valid now and trusted?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("TLS handshake with verification",),
    remedy="install the full chain (leaf, then intermediates) of a valid certificate: certbot "
    "renew, and nginx: ssl_certificate fullchain.pem; for a private authority name its "
    "certificate in the setting ca_bundle",
    controls=_TRANSIT,
)

HOST_NAME: Final = Question(
    id="encryption.tls_host_name",
    asks="Is the certificate one for this host?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("TLS handshake with verification",),
    remedy="name the host as the certificate does, or have a certificate issued with it among the "
    "subject alternative names: openssl req -addext subjectAltName=DNS:HOST",
    controls=_TRANSIT,
)

EXPIRY: Final = Question(
    id="encryption.tls_expiry",
    asks="Are the certificates valid for the days that certificate_days demands?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.WARNING,
    calls=("TLS handshake",),
    remedy="renew in time and without hands: certbot renew in a timer; Terraform: "
    "aws_acm_certificate with DNS validation",
    controls=Controls(csf=("PR.DS-02",)),
)

OLD_VERSIONS: Final = Question(
    id="encryption.tls_old_versions",
    asks="Does the server refuse SSL 3, TLS 1.0 and TLS 1.1?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.WARNING,
    calls=("TLS ClientHello",),
    remedy="nginx: ssl_protocols TLSv1.2 TLSv1.3; PostgreSQL: ssl_min_protocol_version = "
    "'TLSv1.2'; MySQL: tls_version=TLSv1.2,TLSv1.3; Kafka: ssl.enabled.protocols=TLSv1.3,TLSv1.2; "
    'Redis: tls-protocols "TLSv1.2 TLSv1.3"',
    controls=_CRYPTOGRAPHY,
)

WEAK_CIPHERS: Final = Question(
    id="encryption.tls_weak_ciphers",
    asks="Does the server refuse ciphers without encryption or certificate, and broken ones?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.WARNING,
    calls=("TLS ClientHello",),
    remedy="nginx: ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20; OpenSSL: CipherString = "
    "DEFAULT@SECLEVEL=2; openssl dhparam -out dh.pem 2048 where DHE is used",
    controls=_CRYPTOGRAPHY,
)

KEY: Final = Question(
    id="encryption.tls_key",
    asks="Are the keys and signatures of the certificates strong enough?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.WARNING,
    calls=("TLS handshake",),
    remedy="have a certificate issued for a new key: openssl req -new -newkey rsa:3072 -sha256, or "
    "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
    controls=_CRYPTOGRAPHY,
)

PLAIN_TEXT: Final = Question(
    id="encryption.tls_plain_text",
    asks="Does the server refuse to serve in plain text on this port?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("greeting in plain text", "SHOW GLOBAL VARIABLES"),
    remedy="PostgreSQL: hostssl instead of host in pg_hba.conf, or rds.force_ssl = 1; MySQL: "
    "require_secure_transport = ON; Redis: port 0 beside tls-port; Kafka: no PLAINTEXT listener; "
    "Postfix: smtpd_tls_security_level = encrypt; HTTP: close port 80",
    controls=_TRANSIT,
)

STARTTLS: Final = Question(
    id="encryption.tls_starttls",
    asks="Does the change from plain text to TLS work, and can nobody on the way prevent it?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("STARTTLS", "SSLRequest"),
    remedy="let the client insist: sslmode=verify-full with sslrootcert (PostgreSQL), "
    "ssl-mode=VERIFY_IDENTITY (MySQL), starttls=required (SMTP; or smtps:// on port 465)",
    controls=_TRANSIT,
)

CLIENT_SETTINGS: Final = Question(
    id="encryption.tls_client_settings",
    asks="Does the client, as the URL configures it, demand TLS and verify the server?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    remedy="https://, rediss://, amqps:// without verify=false; sslmode=verify-full with "
    "sslrootcert; ssl-mode=VERIFY_IDENTITY; security_protocol=SASL_SSL; tls=true",
    controls=_TRANSIT,
)

SESSION: Final = Question(
    id="encryption.tls_session",
    asks="Is the session encrypted as far as the database, by the database's own word?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("pg_stat_ssl", "SHOW SESSION STATUS"),
    remedy="let TLS reach the database: pgbouncer: server_tls_sslmode = verify-full; PostgreSQL: "
    "ssl = on; or pass TLS through the proxy instead of ending it there",
    controls=_TRANSIT,
)

QUESTIONS: Final = (
    HANDSHAKE, CERTIFICATE, HOST_NAME, EXPIRY, OLD_VERSIONS, WEAK_CIPHERS, KEY, PLAIN_TEXT,
    STARTTLS, CLIENT_SETTINGS, SESSION,
)  # fmt: skip
"""All questions of this room, in the order of the report."""
