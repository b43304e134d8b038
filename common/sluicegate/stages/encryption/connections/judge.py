"""What is wrong with a connection, from its description alone.

Whether clients of a protocol insist on TLS and verify is known to
:mod:`sluicegate.stages.encryption.transit.parameters`; secrets were recognised when they were
taken out. What stays on this machine (loopback, sockets, files) needs no TLS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sluicegate.model import Check, Finding
from sluicegate.stages.encryption.connections.description import Description, Marker, Url
from sluicegate.stages.encryption.connections.protocols import (
    Spoken,
    is_loopback,
    of_url,
    spoken,
)
from sluicegate.stages.encryption.connections.questions import (
    AIRFLOW_API,
    AIRFLOW_METADATA,
    CREDENTIALS,
    FERNET,
    PREFECT_API,
    PREFECT_DATABASE,
    SCHEME,
    SECRETS,
    VERIFICATION,
)
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.transit.parameters import is_known, strippable, weaknesses
from sluicegate.storage.redaction import BY_NAME, CONNECTION_STRING, HEADER, TOKENS, URL

__all__ = ["judge", "questions_of"]

_PLAIN: Final = frozenset(
    {"http", "redis", "amqp", "ftp", "ldap", "ws", "grpc", "telnet", "mqtt", "memcached"}
    | {"zookeeper", "statsd", "tcp", "udp", "smb1", "tftp", "rsync", "git"}
)
"""Schemes that are plain text whatever their options say."""
_LOCAL: Final = frozenset({"sqlite", "duckdb", "file"})
_SSH: Final = frozenset({"ssh", "sftp", "scp"})
_NO: Final = frozenset({"false", "0", "no", "off", "n", "f"})


def questions_of(scheme: str) -> tuple[Question, ...]:
    """Return the questions that are asked of a URI with this scheme."""
    common = (SCHEME, VERIFICATION, SECRETS)
    if scheme == "airflow-connection":
        return (*common, CREDENTIALS)
    if scheme == "airflow-deployment":
        return (*common, FERNET, AIRFLOW_METADATA, AIRFLOW_API)
    return (*common, CREDENTIALS, PREFECT_API, PREFECT_DATABASE)


def judge(described: Description) -> Iterator[Check]:
    """Answer every question that applies to one connection, block or deployment."""
    target = str(described.uri)
    for one in spoken(described):
        where = f"{target} {one.path}".strip()
        yield _scheme(one, where)
        if one.scheme not in _PLAIN:
            yield _verification(one, where)
    yield from _careless_block(described, target)
    yield from _held(described, target)
    if described.kind == "airflow-deployment":
        yield _fernet(described, target)
        yield _metadata(described, target)
        yield _api(described, target)
    if described.kind == "prefect-block":
        yield _prefect_api(described, target)
        yield _prefect_database(described, target)


def _stays(one: Spoken) -> bool:
    """Return whether nothing of it crosses a network."""
    return one.scheme in _LOCAL or is_loopback(one.host) or one.host.startswith("/")


def _nameless(one: Spoken) -> bool:
    """Return whether the client alone decides where it connects to: a socket, or ``PGHOST``."""
    database = one.scheme.partition("+")[0]
    return not one.host and database in ("postgres", "postgresql", "mysql", "mariadb")


_NAMELESS: Final = (
    "no host is named: a socket of this machine, or what the client's environment says"
)


def _scheme(one: Spoken, target: str) -> Check:
    if _stays(one):
        return SCHEME.passed(target)
    if one.scheme in _PLAIN:
        message = f"expected an encrypted protocol; {one.scheme} is plain text"
        return SCHEME.failed([_finding(message, one)], target)
    if _nameless(one):
        return SCHEME.unknown(_NAMELESS, target)
    if not is_known(one.scheme):
        reason = "nothing is known of how clients of this type of connection use TLS"
        return SCHEME.unknown(reason, target)
    if downgrade := strippable(one.scheme, one.options):
        message = f"expected TLS to be demanded; {downgrade}"
        return SCHEME.failed([_finding(message, one)], target)
    return SCHEME.passed(target)


def _verification(one: Spoken, target: str) -> Check:
    if _stays(one):
        return VERIFICATION.passed(target)
    if _nameless(one):
        return VERIFICATION.unknown(_NAMELESS, target)
    known = is_known(one.scheme)
    found = weaknesses(one.scheme if known else "https", one.host, one.options)
    # Where TLS itself is not demanded, nobody is verified either.
    wrong = list(found)
    if one.scheme in _SSH:
        wrong += _ssh(one.options)
    if wrong:
        findings = [_finding(f"expected the server to be verified; {text}", one) for text in wrong]
        return VERIFICATION.failed(findings, target)
    if not known:
        reason = "nothing is known of how clients of this type of connection verify servers"
        return VERIFICATION.unknown(reason, target)
    return VERIFICATION.passed(target)


def _ssh(options: Mapping[str, str]) -> list[str]:
    """Judge the extra options of Airflow's SSH connections, which skip host keys by default."""
    found = []
    skips = options.get("no_host_key_check", "true").lower() not in _NO
    if skips and not options.get("host_key"):
        found.append("no_host_key_check is not false and no host_key is given: any host will do")
    if options.get("allow_host_key_change", "false").lower() not in _NO:
        found.append("allow_host_key_change is on: another host may take its place")
    return found


def _careless_block(described: Description, target: str) -> Iterator[Check]:
    """Look for options anywhere in a block that switch verification off."""
    if described.kind != "prefect-block":
        return
    wrong = weaknesses("https", "", described.options("block"))
    if wrong:
        findings = [
            Finding(message=f"expected the server to be verified; {text}") for text in wrong
        ]
        yield VERIFICATION.failed(findings, target)


def _finding(message: str, one: Spoken) -> Finding:
    return Finding(message=message, evidence={"scheme": one.scheme, "host": one.host})


def _held(described: Description, target: str) -> Iterator[Check]:
    """Judge where secrets are kept."""
    plain = [one for one in described.markers() if one.where == "plain"]
    if described.kind == "airflow-deployment":
        # Its URLs hold credentials by design; where each came from cannot be told.
        plain = [one for one in plain if one.form not in (URL, BY_NAME)]
        yield _answer(SECRETS, [one for one in plain if one.form in TOKENS], target)
        return
    extra = described.kind == "airflow-connection"
    embedded, open_ = [], []
    for one in plain:
        in_extra = extra and one.form == BY_NAME and one.path[0] == "extra"
        if one.form in (URL, CONNECTION_STRING, HEADER) or in_extra:
            embedded.append(one)
        elif one.form in TOKENS or one.form == BY_NAME:
            if one.path == ("login",) and one.form == "AWS access key id":
                continue  # the field that Airflow means for it; it is no secret by itself
            open_.append(one)
    yield _answer(CREDENTIALS, embedded, target)
    yield _answer(SECRETS, open_, target)


def _answer(question: Question, found: list[Marker], target: str) -> Check:
    if not found:
        return question.passed(target)
    findings = [
        Finding(
            message=f"expected secrets in fields that are kept secret; {'.'.join(one.path)} "
            f"holds one in plain, recognised by: {one.form}",
            evidence={"field": ".".join(one.path), "form": one.form},
        )
        for one in found
    ]
    return question.failed(findings, target)


def _fernet(described: Description, target: str) -> Check:
    if "core.fernet_key" in described.unseen:
        return FERNET.unknown(_reason(described, "core.fernet_key"), target)
    if described.get("core", "fernet_key") not in (None, "") and _length(described) != "empty":
        return FERNET.passed(target)
    if "database.sql_alchemy_conn" in described.unseen:
        reason = (
            "this process has no fernet_key; the processes that write connections were not asked"
        )
        return FERNET.unknown(reason, target)
    message = "expected a Fernet key; it is empty: passwords of connections are stored in clear"
    return FERNET.failed([Finding(message=message)], target)


def _length(described: Description) -> str:
    marker = described.get("core", "fernet_key")
    return str(marker.get("length")) if isinstance(marker, Mapping) else ""


def _metadata(described: Description, target: str) -> Check:
    if "database.sql_alchemy_conn" in described.unseen:
        return AIRFLOW_METADATA.unknown(_reason(described, "database.sql_alchemy_conn"), target)
    url = described.url("database", "sql_alchemy_conn")
    if url is None:
        return AIRFLOW_METADATA.unknown("sql_alchemy_conn is no URL that can be read", target)
    wrong = () if _stays(of_url(url)) else weaknesses(url.scheme, url.host, url.options)
    if not is_known(url.scheme):
        return AIRFLOW_METADATA.unknown(wrong[0] if wrong else "an unknown database", target)
    if wrong and described.get("database", "sql_alchemy_connect_args"):
        reason = "sql_alchemy_connect_args may switch TLS on, in code that is not looked into"
        return AIRFLOW_METADATA.unknown(reason, target)
    return _tls(AIRFLOW_METADATA, wrong, target)


def _api(described: Description, target: str) -> Check:
    """Judge the API that workers get connections from: every address of it must be TLS."""
    named = [("core", "execution_api_server_url"), ("api", "base_url")]
    urls = [url for path in named if (url := described.url(*path)) is not None]
    if not urls:
        if described.get("api", "ssl_cert"):
            return AIRFLOW_API.passed(target)
        reason = "neither ssl_cert nor base_url nor execution_api_server_url is set here"
        return AIRFLOW_API.unknown(reason, target)
    return _tls(AIRFLOW_API, _plain_urls(urls), target)


def _plain_urls(urls: list[Url]) -> tuple[str, ...]:
    return tuple(
        f"{'.'.join(url.path)} is {url.scheme or 'no'}://"
        for url in urls
        if url.scheme != "https" and not is_loopback(url.host)
    )


def _prefect_api(described: Description, target: str) -> Check:
    url = described.url("api", "url")
    if url is None:
        if described.get("api", "url"):
            return PREFECT_API.unknown("PREFECT_API_URL is no URL that can be read", target)
        return PREFECT_API.passed(target)  # a temporary server inside of this process
    wrong = list(_plain_urls([url]))
    if described.get("api", "tls_insecure_skip_verify") and not is_loopback(url.host):
        wrong.append("PREFECT_API_TLS_INSECURE_SKIP_VERIFY is on: any server will do")
    return _tls(PREFECT_API, tuple(wrong), target)


def _prefect_database(described: Description, target: str) -> Check:
    url, api = described.url("database", "connection_url"), described.url("api", "url")
    if url is None:
        if described.get("database", "connection_url"):
            return PREFECT_DATABASE.unknown("its URL cannot be read", target)
        if api is None:
            return PREFECT_DATABASE.passed(target)  # a file of this machine, Prefect's default
        return PREFECT_DATABASE.unknown("only the server knows its database", target)
    if _stays(of_url(url)):
        return PREFECT_DATABASE.passed(target)
    if not is_known(url.scheme):
        return PREFECT_DATABASE.unknown("an unknown database", target)
    if described.get("database", "tls_enabled") is True:
        careful = described.get("database", "tls_check_hostname") is True
        wrong = () if careful else ("the host name is not compared with the certificate",)
        return _tls(PREFECT_DATABASE, wrong, target)
    return _tls(PREFECT_DATABASE, weaknesses(url.scheme, url.host, url.options), target)


def _tls(question: Question, wrong: tuple[str, ...], target: str) -> Check:
    if not wrong:
        return question.passed(target)
    findings = [Finding(message=f"expected verified TLS; {text}") for text in wrong]
    return question.failed(findings, target)


def _reason(described: Description, path: str) -> str:
    reason = described.unseen[path]
    return reason if isinstance(reason, str) and reason else "it cannot be read here"
