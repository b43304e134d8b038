"""What a client's own options promise: would it talk in plain text, or to anybody?

A server that offers good TLS does not help a client that goes on without it. So the options
of a URL are judged by what the client libraries make of them: a missing option means the
library's default, and a value that no library knows is no promise.

Defaults are those of today's releases: redis-py before version 6, for one, did not compare the
host name unless it was told to. Only options are read here; nothing is looked up, opened or
connected to. Environment variables and files in home folders that some clients also read are
not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["is_known", "normal", "security_protocol", "strippable", "weaknesses"]

_FALSE: Final = frozenset({"0", "false", "no", "off", "n", "f", "none", "disable", "disabled"})
"""Texts that configuration parsers of common libraries read as "no"."""

_TRUE: Final = frozenset({"1", "true", "yes", "on", "y", "t", "enable", "enabled"})
"""Texts that configuration parsers of common libraries read as "yes"."""

_MUST_NOT_BE_FALSE: Final = {
    "verify": "the certificate is not verified",
    "verifyssl": "the certificate is not verified",
    "verifycert": "the certificate is not verified",
    "verifycerts": "the certificate is not verified",
    "verifycertificate": "the certificate is not verified",
    "sslverify": "the certificate is not verified",
    "sslverifycert": "the certificate is not verified",
    "sslverification": "the certificate is not verified",
    "sslcertverify": "the certificate is not verified",
    "tlsverify": "the certificate is not verified",
    "enablesslcertificateverification": "the certificate is not verified",
    "checkhostname": "the host name is not compared with the certificate",
    "sslcheckhostname": "the host name is not compared with the certificate",
    "sslasserthostname": "the host name is not compared with the certificate",
    "asserthostname": "the host name is not compared with the certificate",
    "sslverifyidentity": "the host name is not compared with the certificate",
    "verifyhostname": "the host name is not compared with the certificate",
    "sslendpointidentificationalgorithm": "the host name is not compared with the certificate",
    "usessl": "TLS is switched off",
    "usetls": "TLS is switched off",
    "encrypt": "TLS is switched off",
    "secure": "TLS is switched off",
}
"""Options, written without separators, that make a client careless when they are off."""

_MUST_NOT_BE_TRUE: Final = {
    "insecure": "the certificate is not verified",
    "insecureskipverify": "the certificate is not verified",
    "skipverify": "the certificate is not verified",
    "tlsskipverify": "the certificate is not verified",
    "tlsinsecure": "the certificate is not verified",
    "noverifyssl": "the certificate is not verified",
    "allowselfsigned": "the certificate is not verified",
    "trustservercertificate": "the certificate is not verified",
    "tlsallowinvalidcertificates": "the certificate is not verified",
    "sslallowinvalidcertificates": "the certificate is not verified",
    "tlsallowinvalidhostnames": "the host name is not compared with the certificate",
    "sslallowinvalidhostnames": "the host name is not compared with the certificate",
    "ssldisabled": "TLS is switched off",
    "disablessl": "TLS is switched off",
    "disabletls": "TLS is switched off",
}
"""Options, written without separators, that make a client careless when they are on."""

_NO_REQUIREMENT: Final = frozenset({"none", "certnone", "ssl.certnone", "0", "verifynone", "never"})
"""Values of ``ssl_cert_reqs`` and its kin by which any certificate will do. ``optional`` is
not among them: in a client Python's ``CERT_OPTIONAL`` means the same as ``CERT_REQUIRED``."""

_OLD_TLS: Final = frozenset({"sslv3", "tlsv1", "tlsv1.0", "tlsv1.1", "tlsv1_0", "tlsv1_1"})
"""Lowest versions below TLS 1.2 (RFC 8996 retires them)."""

_BY_TLS_ONLY: Final = frozenset(
    {
        "https", "rediss", "amqps", "smtps", "ftps", "ldaps", "mongodb+srv", "wss", "grpcs",
        "s3", "aws", "gs", "gcs", "wasb", "wasbs", "adls", "azure", "abfs", "abfss",
        "snowflake", "databricks", "bigquery", "slack",
    }
)  # fmt: skip
"""Schemes whose clients speak nothing but TLS, and verify unless they are told not to."""

_PLAIN_ONLY: Final = {
    "http": "https", "redis": "rediss", "amqp": "amqps", "ftp": "ftps", "ldap": "ldaps",
    "ws": "wss", "grpc": "grpcs", "telnet": "ssh", "mqtt": "mqtts", "memcached": "",
    "zookeeper": "", "statsd": "",
}  # fmt: skip
"""Schemes whose clients speak plain text, with the scheme to use instead, where there is one."""

_BY_SSH: Final = frozenset({"ssh", "sftp", "scp"})
"""Schemes that are encrypted without TLS."""

_LOCAL: Final = frozenset({"sqlite", "duckdb", "file"})
"""Schemes that do not leave the machine."""

_ALIASES: Final = {
    "postgres": "postgresql", "redshift": "postgresql", "cockroachdb": "postgresql",
    "mariadb": "mysql", "mongo": "mongodb", "email": "smtp", "elasticsearch": "http",
}  # fmt: skip
"""Other names that URLs and orchestrators have for the same protocol."""


def normal(scheme: str, options: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """Return protocol, driver and options in the one form that this package compares.

    Args:
        scheme: as in a URL: ``postgresql+psycopg2``.
        options: the URL's query; names in any spelling (``ssl-mode``, ``sslMode``).

    Returns:
        Protocol and driver in lower case (``postgresql``, ``psycopg2``; no driver is ``""``),
        and options by lower-case names without ``-``, ``_`` and ``.``.
    """
    lower = scheme.strip().lower().replace("_", "-")
    protocol, _, driver = lower.partition("+")
    if lower == "mongodb+srv":
        protocol, driver = lower, ""
    plain = {
        name.lower().replace("-", "").replace("_", "").replace(".", ""): value.strip()
        for name, value in options.items()
    }
    return _ALIASES.get(protocol, protocol), driver, plain


def is_known(scheme: str) -> bool:
    """Return whether :func:`weaknesses` knows how clients of this scheme use TLS."""
    protocol, _, _ = normal(scheme, {})
    return (
        protocol in _BY_TLS_ONLY
        or protocol in _PLAIN_ONLY
        or protocol in _BY_SSH
        or protocol in _LOCAL
        or protocol in _JUDGES
    )


def weaknesses(scheme: str, host: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Say why a client with these options would talk in plain text, or to anybody.

    Args:
        scheme: as in a URL: ``postgresql+psycopg2``, ``rediss``.
        host: as in the URL. Empty or beginning with ``/`` is a socket of this machine, which
            no network carries; ``localhost`` is treated like any host.
        options: the URL's query, or the options of a connection; names in any spelling.

    Returns:
        Sentences, none of which repeats a value that is no keyword. Empty if TLS is demanded
        and the server's certificate and name are verified. A scheme that nothing is known of
        (see :func:`is_known`) gets one sentence that says so.
    """
    protocol, driver, plain = normal(scheme, options)
    if protocol in _BY_SSH | _LOCAL or _is_local_socket(protocol, host):
        return ()
    if protocol in _PLAIN_ONLY:
        instead = _PLAIN_ONLY[protocol]
        hint = f"; {instead}:// is encrypted" if instead else ""
        return (f"{protocol}:// is plain text, readable and changeable on its way{hint}",)
    if protocol in _JUDGES:
        own = _JUDGES[protocol](driver, plain)
    elif protocol in _BY_TLS_ONLY:
        own = ()
    else:
        return ("nothing is known of how clients of this scheme use TLS",)
    return tuple(dict.fromkeys((*own, *_careless(plain))))


def strippable(scheme: str, options: Mapping[str, str]) -> str:
    """Say why a client would go on without TLS if somebody on the way removed the offer.

    Args:
        scheme: of a protocol that begins in plain text: ``postgresql``, ``mysql``, ``smtp``.
        options: the URL's query; names in any spelling.

    Returns:
        A sentence; empty if the client insists on TLS.
    """
    protocol, driver, plain = normal(scheme, options)
    found = _JUDGES[protocol](driver, plain) if protocol in _JUDGES else ()
    return next((one for one in found if one not in _INSISTING), "")


def security_protocol(driver: str, options: Mapping[str, str]) -> str:
    """Return Kafka's ``security.protocol`` in upper case; by default ``PLAINTEXT``.

    Args:
        driver: what stands behind the ``+`` of the scheme: ``ssl``, ``sasl_ssl``.
        options: in the form of :func:`normal`.
    """
    named = options.get("securityprotocol") or driver.replace("-", "_") or "PLAINTEXT"
    return named.upper()


def _is_local_socket(protocol: str, host: str) -> bool:
    """Return whether a database is reached through a socket file."""
    return protocol in ("postgresql", "mysql") and (
        not host or host.startswith(("/", "%2f", "%2F"))
    )


def _careless(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what general options take away, whatever the protocol."""
    found = []
    for name, value in sorted(options.items()):
        text = value.lower()
        if name in _MUST_NOT_BE_FALSE and (text in _FALSE or text in _NO_REQUIREMENT or not text):
            found.append(f"by the option {name} {_MUST_NOT_BE_FALSE[name]}")
        if name == "verify" and text.replace("_", "") == "verifynone":
            found.append("by the option verify the certificate is not verified")
        if name in _MUST_NOT_BE_TRUE and text in _TRUE:
            found.append(f"by the option {name} {_MUST_NOT_BE_TRUE[name]}")
        if name in ("sslcertreqs", "certreqs", "verifymode", "sslverifymode") and (
            text.replace("_", "") in _NO_REQUIREMENT
        ):
            found.append(f"by the option {name} the certificate is not verified")
        if name in ("sslminprotocolversion", "tlsversion", "sslversion") and text in _OLD_TLS:
            found.append(f"the option {name} allows versions below TLS 1.2")
    return tuple(found)


_POSTGRESQL: Final = {
    "disable": "sslmode=disable: the client talks in plain text",
    "allow": "sslmode=allow: the client begins in plain text",
    "prefer": "sslmode=prefer: the client goes on in plain text if anybody on the way says that "
    "the server has no TLS",
    "require": "sslmode=require: the client encrypts, but to anybody; without a root certificate "
    "nothing is verified",
    "verify-ca": "sslmode=verify-ca: any host with a certificate of this authority will do; the "
    "host name is not compared",
}
"""Modes of libpq (PostgreSQL documentation, "Protection Provided in Different Modes")."""


def _postgresql(driver: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Judge the options of libpq, and ``ssl`` of drivers that call it so."""
    del driver
    mode = options.get("sslmode", "").lower()
    other = options.get("ssl", "").lower()
    if not mode and other in _TRUE:
        return ("ssl=true: drivers differ in what it verifies; sslmode=verify-full says it",)
    mode = mode or ("disable" if other in _FALSE else other)
    if not mode:
        return (f"no sslmode is given, which means prefer. {_POSTGRESQL['prefer']}",)
    if mode == "verify-full":
        return ()
    if mode == "require" and options.get("sslrootcert"):
        return (_ROOTED,)
    return (_POSTGRESQL.get(mode, "sslmode has a value that clients do not know"),)


_MYSQL: Final = {
    "disabled": "ssl-mode=DISABLED: the client talks in plain text",
    "preferred": "ssl-mode=PREFERRED: the client goes on in plain text if anybody on the way says "
    "that the server has no TLS",
    "required": "ssl-mode=REQUIRED: the client encrypts, but to anybody; nothing is verified",
    "verifyca": "ssl-mode=VERIFY_CA: any host with a certificate of this authority will do; the "
    "host name is not compared",
}
"""Modes of MySQL's clients (MySQL Reference Manual, "Command Options for Encrypted
Connections"), written without separators."""


def _mysql(driver: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Judge ``ssl-mode``, and the options that SQLAlchemy hands to drivers without it."""
    mode = options.get("sslmode", "").lower().replace("_", "").replace("-", "")
    if mode == "verifyidentity":
        return ()
    if mode:
        return (_MYSQL.get(mode, "ssl-mode has a value that clients do not know"),)
    if driver in ("pymysql", "aiomysql", "asyncmy"):
        if options.get("sslca") or options.get("sslcapath"):
            return ()  # the drivers verify chain and name as soon as they have a root
        return ("no ssl_ca is given: the driver verifies nothing, and may use no TLS at all",)
    verified = all(
        options.get(name, "").lower() in _TRUE for name in ("sslverifycert", "sslverifyidentity")
    )
    if verified:
        return ()
    if driver == "mysqlconnector":
        return ("ssl_verify_cert and ssl_verify_identity are not both on: anybody will do",)
    return (f"no ssl-mode is given, which means PREFERRED. {_MYSQL['preferred']}",)


def _kafka(driver: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Judge ``security.protocol``."""
    protocol = security_protocol(driver, options)
    if protocol in ("SSL", "SASL_SSL"):
        return ()
    if protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
        return (f"security.protocol={protocol}: the client talks in plain text",)
    return ("security.protocol has a value that clients do not know",)


def _mongodb(driver: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Judge ``tls`` and its older name ``ssl``."""
    del driver
    asked = options.get("tls", options.get("ssl", "")).lower()
    return () if asked in _TRUE else ("tls is not on: the client talks in plain text",)


_STRIPPED: Final = (
    "STARTTLS is not demanded (starttls=required): the client may go on in plain text if anybody "
    "on the way removes the offer"
)
"""What a client of SMTP risks that takes STARTTLS only where it is offered (RFC 3207, 6)."""


def _smtp(driver: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Judge whether STARTTLS is demanded; no standard names an option for it."""
    del driver
    asked = options.get("starttls", "").lower()
    if asked in _TRUE or asked in ("required", "require", "always"):
        return ()
    return (_STRIPPED,)


def _mssql(driver: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Judge ``Encrypt``; drivers before 2022 do not encrypt by default."""
    del driver
    asked = options.get("encrypt", "").lower()
    if asked in _TRUE or asked in ("strict", "mandatory"):
        return ()
    return ("encrypt is not on: the client may talk in plain text",)


_ROOTED: Final = "sslmode=require with a root certificate: the host name is not compared"

_INSISTING: Final = frozenset(
    {
        _ROOTED,
        _POSTGRESQL["require"],
        _POSTGRESQL["verify-ca"],
        _MYSQL["required"],
        _MYSQL["verifyca"],
    }
)
"""What is wrong with clients that encrypt at least, if to anybody."""

_Judge = Callable[[str, Mapping[str, str]], tuple[str, ...]]

_JUDGES: Final[dict[str, _Judge]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "kafka": _kafka,
    "mongodb": _mongodb,
    "smtp": _smtp,
    "mssql": _mssql,
}
"""Protocols whose options decide, by protocol."""
