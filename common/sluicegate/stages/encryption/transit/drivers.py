"""Is the session that the pipeline would use encrypted, by the database's own word?

TLS may end before the database: at a pooler, a proxy, a tunnel. The server that the client
verified is then not the one that answers, and only the database can tell. So a session is
opened with the URL's own settings and asked. That takes a log-in: the password comes from
where the database's own clients take it (``PGPASSWORD``, ``PGPASSFILE``; ``MYSQL_PWD``), and
is only sent if the URL's settings demand TLS and verify the server.
"""

from __future__ import annotations

import math
import os
import re
import selectors
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from sluicegate.stages.encryption.transit.endpoint import Endpoint
from sluicegate.stages.encryption.transit.tls import Trust
from sluicegate.stages.encryption.transit.wire import NoAnswerError, bounded

__all__ = ["DRIVERS", "Used"]


@dataclass(frozen=True, slots=True)
class Used:
    """What a database says of the session it is asked in."""

    encrypted: bool
    protocol: str
    """``TLSv1.3``; empty if not encrypted."""
    cipher: str
    demanded: bool | None = None
    """Whether the server would refuse this user without TLS, by its own settings; None where
    they do not say."""


_LIBPQ: Final = (
    "sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "require_auth",
    "passfile",
)  # fmt: skip
"""Options of a URL that libpq is handed on."""

_PYMYSQL: Final = (1, 2)
"""First version that gives up if a server suddenly offers no TLS, instead of going on."""


def _postgresql(endpoint: Endpoint, address: str, trust: Trust, seconds: float) -> Used:
    """Ask ``pg_stat_ssl`` about the own backend.

    Raises:
        NoAnswerError: no driver, no log-in, or no answer.
    """
    del trust  # libpq reads the URL's sslrootcert
    try:
        psycopg: Any = import_module("psycopg")
    except ImportError:
        raise NoAnswerError("the driver psycopg is not installed") from None
    settings = {name: endpoint.options[name] for name in _LIBPQ if name in endpoint.options}
    try:
        with closing(
            psycopg.connect(
                host=endpoint.host,
                hostaddr=address,  # otherwise PGHOSTADDR or a service could lead elsewhere
                port=endpoint.port,
                user=endpoint.user,
                dbname=endpoint.database or endpoint.user,
                connect_timeout=max(2, math.ceil(seconds)),  # libpq's least
                autocommit=True,
                **settings,
            )
        ) as connection:
            return _stat_ssl(connection.pgconn, seconds)
    except psycopg.Error as error:
        state = error.sqlstate
        raise NoAnswerError(
            f"PostgreSQL: no session ({'SQLSTATE ' + state if state else type(error).__name__}); "
            "the password is taken from PGPASSWORD or PGPASSFILE"
        ) from None


_STAT_SSL: Final = (
    b"SELECT ssl, version, cipher FROM pg_catalog.pg_stat_ssl "
    b"WHERE pid = pg_catalog.pg_backend_pid()"
)


def _stat_ssl(session: Any, seconds: float) -> Used:
    """Ask without waiting inside of libpq, which knows no end."""
    deadline = time.monotonic() + seconds
    session.send_query(_STAT_SSL)
    with selectors.DefaultSelector() as waiting:
        waiting.register(session.socket, selectors.EVENT_READ)
        while session.is_busy():
            if not waiting.select(max(deadline - time.monotonic(), 0)):
                raise NoAnswerError("PostgreSQL: no answer within the timeout")
            session.consume_input()
    result = session.get_result()
    if result is None or (result.ntuples, result.nfields) != (1, 3):
        raise NoAnswerError("PostgreSQL: pg_stat_ssl does not know this session")
    flag, version, cipher = (result.get_value(0, column) or b"" for column in range(3))
    if flag not in (b"t", b"f"):
        raise NoAnswerError("PostgreSQL: pg_stat_ssl does not know this session")
    return Used(flag == b"t", version.decode("ascii", "replace"), cipher.decode("ascii", "replace"))


def _mysql(endpoint: Endpoint, address: str, trust: Trust, seconds: float) -> Used:
    """Ask for the session's ``Ssl_version`` and ``Ssl_cipher``.

    Raises:
        NoAnswerError: no driver, no log-in, or no answer.
    """
    del address
    try:
        pymysql: Any = import_module("pymysql")
    except ImportError:
        raise NoAnswerError("the driver PyMySQL is not installed") from None
    if tuple(pymysql.VERSION[:2]) < _PYMYSQL:
        raise NoAnswerError("this version of PyMySQL may go on without TLS; 1.2 does not")
    context = trust.verifying(name=True)
    try:
        if endpoint.option("sslca"):
            context.load_verify_locations(cafile=endpoint.option("sslca"))
    except (OSError, ssl.SSLError):
        raise NoAnswerError("the file that ssl_ca names cannot be read") from None

    def ask() -> Used:
        with closing(
            pymysql.connect(
                host=endpoint.host,
                port=endpoint.port,
                user=endpoint.user,
                password=os.environ.get("MYSQL_PWD", ""),
                ssl=context,
                connect_timeout=seconds,
                read_timeout=seconds,
                write_timeout=seconds,
            )
        ) as connection:
            return _ssl_status(connection)

    try:
        return bounded(ask, 2 * seconds)
    except _GARBAGE:
        raise NoAnswerError("MySQL: the driver cannot read the server's answer") from None
    except (pymysql.Error, OSError) as error:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        raise NoAnswerError(
            f"MySQL: no session ({f'error {code}' if code else type(error).__name__}); the "
            "password is taken from MYSQL_PWD"
        ) from None


def _ssl_status(connection: Any) -> Used:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_version', 'Ssl_cipher')")
        found = {str(name).lower(): str(value) for name, value in cursor.fetchmany(2)}
        if "ssl_version" not in found:
            raise NoAnswerError("MySQL: the server does not say what the session uses")
        demanded = _demands_tls(cursor)
    version, cipher = found["ssl_version"], found.get("ssl_cipher", "")
    return Used(bool(version), version, cipher, demanded)


_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`|\"[^\"]*\"")
_REQUIRE: Final = re.compile(r"\bREQUIRE (SSL|X509|SUBJECT|ISSUER|CIPHER)\b", re.IGNORECASE)


def _demands_tls(cursor: Any) -> bool:
    """Ask for ``require_secure_transport``, and if that is off for the account's ``REQUIRE``.

    What the server says of the account also holds a hash of its password: it stays here.
    """
    cursor.execute("SHOW GLOBAL VARIABLES LIKE 'require_secure_transport'")
    row = cursor.fetchone()
    if row is not None and str(row[1]).upper() in ("ON", "1"):
        return True
    cursor.execute("SHOW CREATE USER CURRENT_USER()")
    row = cursor.fetchone()
    return row is not None and _REQUIRE.search(_QUOTED.sub("''", str(row[0]))) is not None


_GARBAGE: Final = (
    ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error,
)  # fmt: skip
"""What PyMySQL raises over answers that are not MySQL's: it does not check them first."""


DRIVERS: Final[dict[str, Callable[[Endpoint, str, Trust, float], Used]]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
}
"""Who asks, by protocol: given endpoint, resolved address, trust, and seconds for a step."""
