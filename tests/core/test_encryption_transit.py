"""Servers in transit: real handshakes with local servers of every quality, and hostile ones."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import subprocess
import sys
import time
import warnings

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.transit import AREA, QUESTIONS, certificates, drivers
from sluicegate.stages.encryption.transit.endpoint import Mode, parse_endpoint
from sluicegate.stages.encryption.transit.hello import WEAK_CIPHERS
from sluicegate.stages.encryption.transit.parameters import is_known, strippable, weaknesses
from sluicegate.stages.encryption.transit.tls import Trust
from sluicegate.stages.encryption.transit.wire import NoAnswerError, Route
from sluicegate.storage.uri import SubjectUri
from tests.core import tls_servers as servers
from tests.core.tls_servers import DAY, LEAF, MIDDLE, NOW, OTHER_ROOT, ROOT, RSA_LEAF, issue
from tests.core.transit_world import by_id, look, outcome, scope_of

V = ssl.TLSVersion
NAMES = {V.TLSv1: "TLSv1", V.TLSv1_1: "TLSv1.1", V.TLSv1_2: "TLSv1.2", V.TLSv1_3: "TLSv1.3"}
ANY = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
RANGES = [(low, high) for low in NAMES for high in NAMES if low <= high]


@pytest.fixture(scope="module")
def good():
    """Return the port of a good HTTPS server."""
    with servers.listening(servers.https(servers.server_context())) as port:
        yield port


def outcomes(checks):
    return {name: check.outcome.value for name, check in by_id(checks).items()}


def failed(checks):
    return {name for name, value in outcomes(checks).items() if value == "failed"}


def https_with(made=LEAF, **options):
    return servers.listening(servers.https(servers.server_context(made, **options)))


# --- handshakes -------------------------------------------------------------------------


def test_a_good_server_passes_every_question_that_applies(good):
    checks = look(f"https://localhost:{good}")
    assert set(outcomes(checks).values()) == {"passed"}
    asked = {question.id for question in QUESTIONS}
    assert {check.id for check in checks} == asked - {
        "encryption.tls_starttls",
        "encryption.tls_session",
    }
    assert {check.target for check in checks} == {f"https://localhost:{good}"}


def client_agrees(port, version):
    """Return whether Python's own client gets a session of just this version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ANY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 2) as raw,
            context.wrap_socket(raw, server_hostname="localhost"),
        ):
            return True
    except ssl.SSLError:
        return False


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("ciphers", [ANY, "DEFAULT"])
def test_versions_are_judged_as_a_real_client_finds_them(low, high, ciphers):
    """All mixes of versions; at OpenSSL's default level the old ones are refused after all."""
    with https_with(RSA_LEAF, lowest=low, highest=high, ciphers=ciphers) as port:
        real = [name for version, name in NAMES.items() if client_agrees(port, version)]
        checks = by_id(look(f"https://localhost:{port}", wanted="tls_*"))
    old = [name for name in real if name in ("TLSv1", "TLSv1.1")]
    found = [finding.evidence["protocol"] for finding in checks["tls_old_versions"].findings]
    assert found == old
    modern = bool(set(real) & {"TLSv1.2", "TLSv1.3"})
    assert checks["tls_handshake"].outcome.value == ("passed" if modern else "failed")


def test_a_handshake_below_tls_1_2_says_what_was_found():
    with https_with(RSA_LEAF, lowest=V.TLSv1_1, highest=V.TLSv1_1, ciphers=ANY) as port:
        checks = by_id(look(f"https://localhost:{port}"))
    (finding,) = checks["tls_handshake"].findings
    assert "TLSv1.1" in finding.message
    assert finding.evidence["protocol"] == "TLSv1.1"
    assert checks["tls_certificate"].outcome.value == "passed"  # another question


def test_ssl_3_is_found_though_no_local_library_speaks_it():
    with servers.listening(servers.chooses(0x002F, version=0x0300)) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_old_versions")
    assert check.findings[0].evidence == {"protocol": "SSLv3"}


def test_a_server_that_wants_a_client_certificate_is_still_judged():
    for highest in (V.TLSv1_2, V.TLSv1_3):
        with https_with(client=OTHER_ROOT.pem, highest=highest) as port:
            assert set(outcomes(look(f"https://localhost:{port}")).values()) == {"passed"}
        leaf = issue("elsewhere", ROOT, names=("elsewhere",), addresses=(), until=NOW - DAY)
        with https_with(leaf, client=OTHER_ROOT.pem, highest=highest) as port:
            bad = failed(look(f"https://localhost:{port}"))
        assert bad == {"tls_certificate", "tls_host_name", "tls_expiry"}


# --- certificates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected", "words"),
    [
        (lambda: issue("localhost", ROOT, until=NOW - DAY), "failed", "expired"),
        (lambda: issue("localhost", ROOT, since=NOW + DAY), "failed", "not valid yet"),
        (lambda: issue("localhost"), "failed", "self-signed"),
        (lambda: issue("localhost", OTHER_ROOT), "failed", "intermediate"),
        (lambda: issue("localhost", MIDDLE), "passed", ""),
        (lambda: issue("localhost", LEAF), "failed", "may not issue"),
        (
            lambda: issue("localhost", ROOT, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
            "failed",
            "not made for servers",
        ),
        (lambda: issue("elsewhere", ROOT, names=("elsewhere",), addresses=()), "passed", ""),
        (lambda: RSA_LEAF, "passed", ""),
    ],
)
def test_trust(make, expected, words):
    with https_with(make()) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_certificate")
    assert check.outcome.value == expected
    if words:
        assert words in check.findings[0].message


def test_a_missing_intermediate():
    made = issue("localhost", MIDDLE)
    with https_with(made, chain=made.pem) as port:
        checks = by_id(look(f"https://localhost:{port}"))
    (finding,) = checks["tls_certificate"].findings
    assert "intermediate certificate is missing" in finding.message
    assert finding.evidence["verify_code"] in (20, 21)
    assert finding.evidence["certificates_sent"] == 1
    assert failed(checks.values()) == {"tls_certificate"}


def test_an_untrusted_authority_that_sends_its_root():
    made = issue("localhost", OTHER_ROOT)
    with https_with(made, chain=made.pem + OTHER_ROOT.pem) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_certificate")
    assert "not trusted" in check.findings[0].message
    assert check.findings[0].evidence["verify_code"] == 19


def test_without_a_bundle_the_systems_authorities_are_trusted(good, tmp_path, monkeypatch):
    url = f"https://localhost:{good}"
    assert outcome(look(url, wanted="tls_certificate", trusted="")) == "failed"
    (tmp_path / "system.pem").write_text(ROOT.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    assert outcome(look(url, wanted="tls_certificate", trusted="")) == "passed"


@pytest.mark.parametrize("bundle", ["nonsense", "-----BEGIN CERTIFICATE-----\nAA\n", "é"])
def test_a_bundle_that_is_none(bundle):
    with pytest.raises(ConfigurationError, match="ca_bundle"):
        look("https://localhost:1", trusted=bundle)


@pytest.mark.parametrize(
    ("names", "addresses", "host", "expected"),
    [
        (["localhost"], [], "localhost", "passed"),
        (["elsewhere"], [], "localhost", "failed"),
        (["LOCALHOST"], [], "localhost", "passed"),
        ([], ["127.0.0.1"], "127.0.0.1", "passed"),
        ([], ["127.0.0.2"], "127.0.0.1", "failed"),
        (["127.0.0.1"], [], "127.0.0.1", "failed"),  # a name is no address
        (["localhost"], [], "127.0.0.1", "failed"),
        (["*.example.test"], [], "a.example.test", "passed"),
        (["*.example.test"], [], "a.b.example.test", "failed"),
        (["*.example.test"], [], "example.test", "failed"),
    ],
)
def test_host_names(names, addresses, host, expected, monkeypatch):
    real = socket.getaddrinfo

    def resolve(name, *rest, **options):
        return real("127.0.0.1" if name.endswith(".test") else name, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    made = issue("localhost", ROOT, names=names, addresses=addresses)  # the CN does not count
    with https_with(made) as port:
        assert outcome(look(f"https://{host}:{port}", wanted="tls_host_name")) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda names: issue("x", None, names=names),
        lambda names: issue("x", OTHER_ROOT, names=names),
        lambda names: issue("x", ROOT, names=names, until=NOW - DAY),
        lambda names: issue("x", ROOT, names=names, since=NOW + DAY),
    ],
)
def test_the_host_name_is_a_question_apart_from_trust(make):
    for name, expected in (("localhost", "passed"), ("elsewhere", "failed")):
        with https_with(make([name])) as port:
            checks = outcomes(look(f"https://localhost:{port}"))
        assert checks["tls_certificate"] == "failed"
        assert checks["tls_host_name"] == expected


def test_the_name_of_a_certificate_that_is_not_for_servers_is_not_compared():
    made = issue("localhost", ROOT, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    with https_with(made) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_host_name")
    assert check.outcome.value == "unknown"
    assert "cannot be compared" in check.reason


def test_a_server_that_needs_sni():
    strict = servers.server_context()

    def only(sock, name, context):
        return None if name == "localhost" else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    strict.sni_callback = only
    with servers.listening(servers.https(strict)) as port:
        assert set(outcomes(look(f"https://localhost:{port}")).values()) == {"passed"}


def test_ipv6():
    made = issue("six", ROOT, names=(), addresses=("::1",))
    talk = servers.https(servers.server_context(made))
    try:
        with servers.listening(talk, "::1") as port:
            checks = look(f"https://[::1]:{port}")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert set(outcomes(checks).values()) == {"passed"}
    assert checks[0].target == f"https://[::1]:{port}"


@pytest.mark.parametrize(("hours", "expected"), [(-1, "failed"), (1, "passed")])
def test_expiry_has_a_threshold(hours, expected):
    until = dt.datetime.now(dt.UTC) + 14 * DAY + dt.timedelta(hours=hours)
    with https_with(issue("localhost", ROOT, until=until)) as port:
        checks = by_id(look(f"https://localhost:{port}"))
    assert checks["tls_expiry"].outcome.value == expected
    assert checks["tls_certificate"].outcome.value == "passed"
    if expected == "failed":
        (finding,) = checks["tls_expiry"].findings
        assert finding.evidence["not_after"] == f"{until:%Y-%m-%dT%H:%M:%SZ}"
        assert checks["tls_expiry"].severity.value == "warning"


def test_an_authority_that_ends_soon_counts_too():
    soon = issue("Soon", ROOT, ca=True, until=NOW + 3 * DAY)
    with https_with(issue("localhost", soon)) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_expiry")
    assert [finding.evidence["subject"] for finding in check.findings] == ["CN=Soon"]


def test_dates_are_those_of_the_run(good):
    late = NOW + 200 * DAY
    checks = by_id(look(f"https://localhost:{good}", now=late))
    assert "expired" in checks["tls_certificate"].findings[0].message
    assert checks["tls_expiry"].outcome.value == "failed"
    early = by_id(look(f"https://localhost:{good}", now=NOW - 30 * DAY))
    assert "valid only from" in early["tls_certificate"].findings[0].message


def test_weak_keys():
    weak = issue("localhost", ROOT, key=servers.new_key(1024))
    with https_with(weak, ciphers="DEFAULT:@SECLEVEL=0") as port:
        checks = by_id(look(f"https://localhost:{port}"))
    assert "found 1024" in checks["tls_key"].findings[0].message
    assert checks["tls_handshake"].outcome.value == "passed"
    assert checks["tls_host_name"].outcome.value == "passed"


def der(made):
    return ssl.PEM_cert_to_DER_cert(made.pem)


def test_keys_and_signatures_by_kind(tmp_path):
    assert certificates.keys([der(LEAF), der(ROOT), der(RSA_LEAF)]) == []
    small = issue("small", ROOT, key=ec.generate_private_key(ec.SECP192R1()))
    assert "224 bits, found 192" in certificates.keys([der(small)])[0].message
    fine = issue("fine", ROOT, key=ec.generate_private_key(ec.SECP224R1()))
    assert certificates.keys([der(fine)]) == []
    old = issue("old", ROOT, key=dsa.generate_private_key(1024))
    assert "DSA" in certificates.keys([der(old)])[0].message
    path = tmp_path / "sha1"
    for digest in ("sha1", "md5"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
             f"-{digest}", "-keyout", "/dev/null", "-out", path],
            check=True, capture_output=True,
        )  # fmt: skip
        broken = ssl.PEM_cert_to_DER_cert(path.read_text())
        assert digest.upper() in certificates.keys([broken])[0].message
        assert certificates.keys([der(LEAF), broken]) == []  # an authority's on itself
    sha512 = issue("long", issue("by", None, ca=True), digest=hashes.SHA512())
    assert certificates.keys([der(sha512)]) == []
    with pytest.raises(ValueError, match=r"."):
        certificates.keys([b"nonsense"])


# --- ciphers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ciphers", "expected"),
    [
        ("NULL-SHA256:NULL-SHA:AES128-SHA:@SECLEVEL=0", ["without encryption (NULL)"]),
        ("AECDH-AES128-SHA:AES128-SHA:@SECLEVEL=0", ["without a certificate (anonymous)"]),
        ("AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0", []),
        ("ECDHE+AESGCM", []),
    ],
)
def test_ciphers_that_a_real_server_should_not_take(ciphers, expected):
    with https_with(RSA_LEAF, ciphers=ciphers, highest=V.TLSv1_2) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_weak_ciphers")
    assert [finding.evidence["ciphers"] for finding in check.findings] == expected
    assert check.outcome.value == ("failed" if expected else "passed")


@pytest.mark.parametrize("family", WEAK_CIPHERS)
def test_every_kind_of_broken_cipher_is_offered(family):
    """A stub that agrees to one suite: OpenSSL of today has most of these no more."""
    for cipher in (WEAK_CIPHERS[family][0], WEAK_CIPHERS[family][-1]):
        with servers.listening(servers.chooses(cipher)) as port:
            (check,) = look(f"https://localhost:{port}", wanted="tls_weak_ciphers")
        assert [finding.evidence["ciphers"] for finding in check.findings] == [family]


@pytest.mark.parametrize(("bits", "expected"), [(1024, "failed"), (2048, "passed")])
def test_groups_of_diffie_and_hellman(bits, expected):
    with servers.listening(servers.chooses(0x0033, group=bits)) as port:
        assert outcome(look(f"https://localhost:{port}", wanted="tls_weak_ciphers")) == expected


def test_hanging_up_on_bad_greetings_only_counts_as_refusal():
    """Some servers reset the connection instead of sending an alert."""
    modern = servers.https(servers.server_context())

    def picky(raw):
        first = raw.recv(11, socket.MSG_PEEK)
        full = raw.recv(4096, socket.MSG_PEEK)
        if first[9:11] < b"\x03\x03" or b"\x13\x01" not in full:
            servers.reset(raw)
        else:
            modern(raw)

    with servers.listening(picky) as port:
        values = outcomes(look(f"https://localhost:{port}"))
    assert values["tls_old_versions"] == values["tls_weak_ciphers"] == "passed"

    calls = []

    def once(raw):
        calls.append(1)
        (modern if len(calls) == 1 else servers.reset)(raw)

    with servers.listening(once) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_old_versions")
    assert check.outcome.value == "unknown"
    assert "hangs up on good greetings too" in check.reason


# --- plain text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        ("200 OK", "", "failed"),
        ("401 Unauthorized", "", "failed"),
        ("404 Not Found", "", "failed"),
        ("400 Bad Request", "", "passed"),
        ("426 Upgrade Required", "", "passed"),
        ("301 Moved Permanently", "Location: https://localhost/\r\n", "passed"),
        ("503 Service Unavailable", "", "unknown"),
    ],
)
def test_a_port_that_takes_tls_and_plain_http(status, headers, expected):
    talk = servers.either(
        servers.https(servers.server_context()), servers.plain_http(status, headers)
    )
    with servers.listening(talk) as port:
        values = outcomes(look(f"https://localhost:{port}"))
    assert values["tls_plain_text"] == expected
    assert values["tls_handshake"] == "passed"


@pytest.mark.parametrize("status", ["200 OK", "301 Moved", "404 Not Found", "500 Error"])
def test_plain_http_fails_even_if_it_redirects(status):
    headers = "Location: https://localhost/\r\n"
    with servers.listening(servers.plain_http(status, headers)) as port:
        checks = by_id(look(f"http://localhost:{port}"))
    assert set(checks) == {"tls_handshake", "tls_plain_text", "tls_client_settings"}
    assert failed(checks.values()) == set(checks)
    if status.startswith("301"):
        assert "too late" in checks["tls_plain_text"].findings[0].message


def test_plain_http_on_a_tls_port(good):
    with servers.listening(servers.plain_http()) as port:
        values = outcomes(look(f"https://localhost:{port}"))
    assert values["tls_handshake"] == values["tls_plain_text"] == "failed"
    for name in ("tls_certificate", "tls_old_versions", "tls_weak_ciphers", "tls_key"):
        assert values[name] == "unknown"
    assert outcomes(look(f"http://localhost:{good}"))["tls_plain_text"] in ("passed", "unknown")


SPEAKERS = {
    "redis": servers.redis,
    "kafka": servers.kafka,
    "amqp": servers.amqp,
    "mongodb": servers.mongodb,
}
SECURED = {
    "redis": "rediss://localhost:{}",
    "kafka": "kafka://localhost:{}?security_protocol=SASL_SSL",
    "amqp": "amqps://localhost:{}",
    "mongodb": "mongodb://localhost:{}/?tls=true",
}


@pytest.mark.parametrize("name", SPEAKERS)
def test_protocols_without_tls(name):
    with servers.listening(SPEAKERS[name]) as port:
        plain = by_id(look(f"{name}://localhost:{port}"))
        wanted = outcomes(look(SECURED[name].format(port)))
    assert failed(plain.values()) == {"tls_handshake", "tls_plain_text", "tls_client_settings"}
    assert wanted["tls_plain_text"] == wanted["tls_handshake"] == "failed"
    assert wanted["tls_client_settings"] == "passed"
    with servers.listening(servers.plain_http("400 Bad Request")) as port:
        assert outcomes(look(f"{name}://localhost:{port}"))["tls_plain_text"] == "unknown"


@pytest.mark.parametrize("name", SPEAKERS)
def test_protocols_with_tls(name, good):
    checks = look(SECURED[name].format(good))
    assert set(outcomes(checks).values()) == {"passed"}


@pytest.mark.parametrize("name", SPEAKERS)
def test_protocols_that_take_both(name):
    talk = servers.either(servers.https(servers.server_context()), SPEAKERS[name])
    with servers.listening(talk) as port:
        assert failed(look(SECURED[name].format(port))) == {"tls_plain_text"}


# --- STARTTLS ---------------------------------------------------------------------------

CONTEXT = servers.server_context()


@pytest.mark.parametrize(
    ("talk", "bad"),
    [
        (servers.smtp(CONTEXT), set()),
        (servers.smtp(CONTEXT, demands=False), {"tls_plain_text"}),
        (servers.smtp(CONTEXT, auth=True), {"tls_plain_text"}),
        (servers.smtp(CONTEXT, works=False), {"tls_handshake", "tls_starttls"}),
        (servers.smtp(CONTEXT, injected=b"250 ok\r\n"), {"tls_handshake", "tls_starttls"}),
        (servers.smtp(), {"tls_handshake", "tls_starttls"}),
        (servers.smtp(servers.server_context(issue("x"))), {"tls_certificate"}),
    ],
)
def test_smtp(talk, bad):
    with servers.listening(talk) as port:
        found = failed(look(f"smtp://localhost:{port}?starttls=required"))
        assert found == bad
        assert {"tls_starttls", "tls_client_settings"} <= failed(look(f"smtp://localhost:{port}"))


@pytest.mark.parametrize(
    ("talk", "plain", "tls"),
    [
        (servers.mysql(CONTEXT, demands=True), "passed", "passed"),
        (servers.mysql(CONTEXT), "unknown", "passed"),
        (servers.mysql(CONTEXT, late=True), "unknown", "passed"),
        (servers.mysql(), "failed", "failed"),
        (servers.mysql(error=1129), "unknown", "unknown"),
    ],
)
def test_mysql(talk, plain, tls):
    """A stub of the connection phase; real servers are in the tests of databases."""
    with servers.listening(talk) as port:
        values = outcomes(look(f"mysql://localhost:{port}?ssl-mode=VERIFY_IDENTITY"))
    assert values["tls_plain_text"] == plain
    assert values["tls_handshake"] == values["tls_starttls"] == tls
    assert values["tls_client_settings"] == "passed"


class Answers:
    """A cursor that knows some answers."""

    def __init__(self, transport, account):
        self.rows = {"SHOW GLOBAL": transport, "SHOW CREATE": account}
        self.row = None

    def execute(self, statement):
        self.row = self.rows[statement[:11]]

    def fetchone(self):
        return self.row


@pytest.mark.parametrize(
    ("transport", "account", "expected"),
    [
        (("require_secure_transport", "ON"), None, True),
        (("require_secure_transport", "OFF"), ("CREATE USER `a`@`%` REQUIRE SSL",), True),
        (None, ("CREATE USER 'a'@'%' REQUIRE X509 PASSWORD EXPIRE DEFAULT",), True),
        (None, ("CREATE USER 'a'@'%' REQUIRE NONE",), False),
        (None, ("CREATE USER 'REQUIRE SSL'@'%' IDENTIFIED BY PASSWORD '*REQUIRE SSL'",), False),
        (None, ("CREATE USER `REQUIRE SSL`@`%` COMMENT 'it''s REQUIRE SSL'",), False),
        (None, None, False),
    ],
)
def test_whether_mysql_demands_tls_of_the_account(transport, account, expected):
    assert drivers._demands_tls(Answers(transport, account)) is expected


# --- hostile servers --------------------------------------------------------------------

URLS = (
    "https://localhost:{}",
    "http://localhost:{}",
    "smtp://localhost:{}?starttls=required",
    "postgresql://app@localhost:{}/data?sslmode=verify-full",
    "mysql://app@localhost:{}?ssl-mode=VERIFY_IDENTITY",
    "redis://localhost:{}",
    "kafka://localhost:{}",
)


@pytest.mark.parametrize("talk", [servers.silent, servers.tarpit, servers.endless, servers.reset])
def test_hostile_servers_are_left_in_time_and_never_pass(talk):
    started = time.monotonic()
    with servers.listening(talk) as port:
        checks = look(*(url.format(port) for url in URLS), timeout=0.4)
    assert time.monotonic() - started < 8
    for check in checks:
        name = check.id.split(".")[1]
        if name == "tls_client_settings" or (name, check.outcome.value) == (
            "tls_handshake",
            "failed",
        ):
            continue
        assert check.outcome.value in ("unknown", "failed"), check
    by_name = outcomes([one for one in checks if one.target.startswith("https")])
    assert by_name["tls_certificate"] == by_name["tls_host_name"] == "unknown"


def test_the_time_for_one_server_is_bounded_though_each_step_is_in_time():
    """Good handshakes, and silence for everything else."""
    modern = servers.https(servers.server_context())
    calls = []

    def slow(raw):
        calls.append(1)
        (modern if len(calls) == 1 else servers.silent)(raw)

    started = time.monotonic()
    with servers.listening(slow) as port:
        values = outcomes(look(f"https://localhost:{port}", timeout=0.2))
    assert time.monotonic() - started < 3
    assert values.pop("tls_handshake") == values.pop("tls_client_settings") == "passed"
    assert values.pop("tls_key") == "passed"  # learnt in the first handshake
    assert set(values.values()) == {"unknown"}


def test_the_time_for_one_server_ends():
    route = Route("localhost", 1, 0.2)
    assert route.seconds() == pytest.approx(0.2, abs=0.01)
    route._end -= 1.9
    assert route.seconds() < 0.11
    route._end -= 1
    with pytest.raises(NoAnswerError, match="over"):
        route.seconds()


def test_endless_warnings_after_a_good_handshake():
    modern = servers.https(servers.server_context())
    calls = []

    def turn(raw):
        calls.append(1)
        (modern if len(calls) == 1 else servers.endless)(raw)

    with servers.listening(turn) as port:
        (check,) = look(f"https://localhost:{port}", wanted="tls_old_versions", timeout=2)
    assert check.outcome.value == "unknown"
    assert "too long" in check.reason


def test_a_server_that_answers_with_a_version_that_was_not_offered():
    with servers.listening(servers.chooses(0x002F, version=0x0303)) as port:
        assert outcome(look(f"https://localhost:{port}", wanted="tls_old_versions")) == "passed"


def test_long_lines_and_long_replies_of_smtp():
    for text in (b"2" * 100_000, b"220-x\r\n" * 10_000, b"nonsense\r\n"):

        def talk(raw, text=text):
            raw.sendall(text)
            servers.silent(raw)

        with servers.listening(talk) as port:
            checks = by_id(look(f"smtp://localhost:{port}?starttls=required", timeout=2))
        for name in ("tls_handshake", "tls_plain_text"):
            assert checks[name].outcome.value == "unknown"
            assert ("not SMTP" if text[:1] == b"n" else "too long") in checks[name].reason


def test_a_closed_port_and_an_unknown_name_are_unknown():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for host in ("localhost", "host.invalid"):
        checks = by_id(look(f"https://{host}:{port}", f"http://{host}:{port}")[:9])
        settings = checks.pop("tls_client_settings")
        assert settings.outcome.value == "passed"
        assert {check.outcome.value for check in checks.values()} == {"unknown"}
        words = "refused" if host == "localhost" else "not known"
        assert all(words in check.reason for check in checks.values())


def test_a_look_up_of_a_name_that_hangs(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3))
    started = time.monotonic()
    assert outcome(look("https://slow.invalid", wanted="tls_key", timeout=0.2)) == "unknown"
    assert time.monotonic() - started < 2


# --- URLs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:geheim@h/db",
        "postgresql://app:@h/db",
        "https://h/?password=geheim",
        "https://h/?api_key=geheim",
        "https://h/?X-Amz-Security-Token=geheim",
        "kafka://h?sasl.password=geheim",
        "kafka://h?sasl.jaas.config=geheim",
        "postgresql://h/geheim?host=geheim.example",
        "postgresql://h/db?hostaddr=10.0.0.1",
        "mysql://h/db?unix_socket=/geheim",
        "postgresql://h/db?sslmode=require&sslmode=geheim",
        "postgresql://h/db?sslmode=require&ssl-mode=geheim",
        "kafka://h1:1,h2:2",
        "https://h:0",
        "https://h:99999",
        "https://h:geheim",
        "https://[geheim",
        "https:///geheim",
        "https://ge heim",
        "https://h\n/geheim",
        "https://h\\@geheim",
        "https://h/#geheim",
        "geheim",
        "ldap://geheim",
        "https://-geheim-/",
        "postgresql://%00@h/geheim",
    ],
)
def test_urls_that_are_refused_without_repeating_a_secret(url):
    with pytest.raises(ConfigurationError) as caught:
        parse_endpoint(url)
    assert "geheim" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigurationError):
        AREA.resources(scope_of(url).settings, SubjectUri.parse("file:///tmp/x"))


@pytest.mark.parametrize(
    ("url", "target", "mode"),
    [
        ("https://H.Example", "https://h.example:443", Mode.TLS),
        ("http://h:8080/x?y=z", "http://h:8080", Mode.PLAIN),
        ("postgresql+psycopg2://u@h/db", "postgresql+psycopg2://h:5432", Mode.STARTTLS),
        ("postgresql://h?sslnegotiation=direct", "postgresql://h:5432", Mode.TLS),
        ("postgres://h", "postgres://h:5432", Mode.STARTTLS),
        ("https://h/?host=x&service=y", "https://h:443", Mode.TLS),
        ("mysql+pymysql://h", "mysql+pymysql://h:3306", Mode.STARTTLS),
        ("mariadb://h", "mariadb://h:3306", Mode.STARTTLS),
        ("redis://h", "redis://h:6379", Mode.PLAIN),
        ("rediss://h", "rediss://h:6379", Mode.TLS),
        ("kafka://h", "kafka://h:9092", Mode.PLAIN),
        ("kafka+ssl://h", "kafka+ssl://h:9093", Mode.TLS),
        ("kafka://h:9093?security_protocol=ssl", "kafka://h:9093", Mode.TLS),
        ("kafka+ssl://h?security_protocol=PLAINTEXT", "kafka+ssl://h:9092", Mode.PLAIN),
        ("smtp://h:587", "smtp://h:587", Mode.STARTTLS),
        ("smtps://h", "smtps://h:465", Mode.TLS),
        ("amqps://h", "amqps://h:5671", Mode.TLS),
        ("mongodb://h/?tls=true", "mongodb://h:27017", Mode.TLS),
        ("https://[::1]:8443", "https://[::1]:8443", Mode.TLS),
        ("https://bücher.example", "https://xn--bcher-kva.example:443", Mode.TLS),
    ],
)
def test_urls(url, target, mode):
    found = parse_endpoint(url)
    assert (found.target, found.mode) == (target, mode)


SAFE = [
    ("https", {}),
    ("https", {"verify": "true"}),
    ("postgresql", {"sslmode": "verify-full"}),
    ("postgresql+asyncpg", {"ssl": "verify-full"}),
    ("postgres", {"sslmode": "verify-full", "sslrootcert": "/root.crt"}),
    ("mysql", {"ssl-mode": "VERIFY_IDENTITY"}),
    ("mysql", {"sslMode": "VERIFY_IDENTITY"}),
    ("mysql+pymysql", {"ssl_ca": "/ca.pem"}),
    ("mysql+mysqlconnector", {"ssl_verify_cert": "true", "ssl_verify_identity": "true"}),
    ("rediss", {}),
    ("rediss", {"ssl_cert_reqs": "required"}),
    ("kafka", {"security_protocol": "SSL"}),
    ("kafka", {"security.protocol": "SASL_SSL"}),
    ("kafka+ssl", {"ssl.endpoint.identification.algorithm": "https"}),
    ("amqps", {"verify": "verify_peer"}),
    ("mongodb", {"tls": "true"}),
    ("mongodb+srv", {}),
    ("smtps", {}),
    ("smtp", {"starttls": "required"}),
    ("mssql+pyodbc", {"Encrypt": "yes"}),
    ("sftp", {}),
    ("s3", {}),
]
UNSAFE = [
    ("http", {}, "plain text"),
    ("https", {"verify": "False"}, "not verified"),
    ("https", {"sslverify": "false"}, "not verified"),
    ("https", {"verify_ssl": "0"}, "not verified"),
    ("https", {"check_hostname": "no"}, "host name"),
    ("https", {"insecure": "true"}, "not verified"),
    ("postgresql", {}, "prefer"),
    ("postgresql", {"sslmode": "disable"}, "plain text"),
    ("postgresql", {"sslmode": "allow"}, "plain text"),
    ("postgresql", {"sslmode": "prefer"}, "plain text"),
    ("postgresql", {"sslmode": "require"}, "anybody"),
    ("postgresql", {"sslmode": "require", "sslrootcert": "/x"}, "host name"),
    ("postgresql", {"sslmode": "verify-ca"}, "host name"),
    ("postgresql", {"sslmode": "verify_full"}, "do not know"),
    ("postgresql+pg8000", {"ssl": "true"}, "ssl=true"),
    ("postgresql", {"sslmode": "verify-full", "ssl_min_protocol_version": "TLSv1"}, "below"),
    ("mysql", {}, "PREFERRED"),
    ("mysql", {"ssl-mode": "DISABLED"}, "plain text"),
    ("mysql", {"ssl_mode": "required"}, "anybody"),
    ("mysql", {"ssl-mode": "VERIFY_CA"}, "host name"),
    ("mysql", {"ssl-mode": "whatever"}, "do not know"),
    ("mysql+pymysql", {}, "verifies nothing"),
    ("mysql+pymysql", {"ssl_ca": "/ca", "ssl_check_hostname": "false"}, "host name"),
    ("mysql+mysqlconnector", {"ssl_verify_cert": "true"}, "anybody"),
    ("redis", {}, "plain text"),
    ("rediss", {"ssl_cert_reqs": "none"}, "not verified"),
    ("rediss", {"ssl_cert_reqs": "CERT_NONE"}, "not verified"),
    ("rediss", {"ssl_check_hostname": "False"}, "host name"),
    ("kafka", {}, "plain text"),
    ("kafka", {"security_protocol": "SASL_PLAINTEXT"}, "plain text"),
    ("kafka", {"security_protocol": "TLS"}, "do not know"),
    ("kafka+ssl", {"ssl.endpoint.identification.algorithm": ""}, "host name"),
    ("kafka+ssl", {"enable.ssl.certificate.verification": "false"}, "not verified"),
    ("amqp", {}, "plain text"),
    ("amqps", {"verify": "verify_none"}, "not verified"),
    ("mongodb", {}, "plain text"),
    ("mongodb", {"tls": "true", "tlsAllowInvalidCertificates": "true"}, "not verified"),
    ("mongodb+srv", {"tlsInsecure": "true"}, "not verified"),
    ("smtp", {}, "STARTTLS"),
    ("mssql", {}, "plain text"),
    ("mssql", {"encrypt": "yes", "TrustServerCertificate": "yes"}, "not verified"),
    ("ldap", {}, "plain text"),
    ("no-such-thing", {}, "nothing is known"),
]


@pytest.mark.parametrize(("scheme", "options"), SAFE)
def test_options_that_promise_enough(scheme, options):
    assert weaknesses(scheme, "h", options) == ()
    assert is_known(scheme)


@pytest.mark.parametrize(("scheme", "options", "words"), UNSAFE)
def test_options_that_do_not(scheme, options, words):
    found = weaknesses(scheme, "h", options)
    assert any(words in sentence for sentence in found)
    assert all("whatever" not in sentence for sentence in found)


def test_sockets_of_this_machine_and_unknown_schemes():
    assert weaknesses("postgresql", "/var/run/postgresql", {}) == ()
    assert weaknesses("mysql", "", {}) == ()
    assert weaknesses("http", "", {}) != ()
    assert weaknesses("postgresql", "localhost", {}) != ()
    assert not is_known("no-such-thing")


def test_who_insists_on_tls():
    for mode in ("require", "verify-ca", "verify-full"):
        assert strippable("postgresql", {"sslmode": mode}) == ""
    for options in ({}, {"sslmode": "prefer"}, {"sslmode": "nonsense"}, {"ssl": "true"}):
        assert strippable("postgresql", options) != ""
    assert strippable("mysql", {"ssl-mode": "REQUIRED"}) == ""
    assert strippable("mysql", {}) != ""


# --- the room ---------------------------------------------------------------------------


def test_reports_are_the_same_for_the_same_state():
    talk = servers.smtp(servers.server_context(issue("localhost", OTHER_ROOT)), auth=True)
    with servers.listening(talk) as port, https_with(RSA_LEAF, lowest=V.TLSv1, ciphers=ANY) as two:
        urls = (f"https://localhost:{two}", f"smtp://localhost:{port}", f"http://localhost:{port}")
        first, second = scope_of(*urls, now=NOW), scope_of(*urls, now=NOW)
        texts = [
            json.dumps([check.to_json() for check in AREA.examine(scope)])
            for scope in (first, second)
        ]
    assert texts[0] == texts[1]
    assert first.tables == second.tables
    assert first.metrics == {"endpoints": 3}
    rows = first.tables["endpoints"]
    assert [row["endpoint"].split(":")[0] for row in rows] == ["https", "smtp", "http"]
    assert rows[0]["protocol"] == "TLSv1.3"
    assert rows[0]["certificate_ends"] == f"{NOW + 90 * DAY:%Y-%m-%d}"
    assert rows[2]["protocol"] is None


def test_only_what_is_wanted_is_asked(good):
    checks = look(f"https://localhost:{good}", wanted="tls_key")
    assert [check.id for check in checks] == ["encryption.tls_key"]
    assert look(f"https://localhost:{good}", wanted="s3_*") == []


def test_urls_of_one_server_share_their_answers(good):
    one, two = f"https://localhost:{good}/a", f"https://localhost:{good}/b?verify=false"
    checks = look(one, two, one)
    assert len(checks) == len({(check.id, check.target) for check in checks}) == 9
    assert failed(checks) == {"tls_client_settings"}


def test_resources_without_any_call():
    uri = SubjectUri.parse("file:///tmp/x")
    assert AREA.resources(scope_of().settings, uri) == {}
    named = AREA.resources(scope_of("https://h", "https://h/x", "smtp://m").settings, uri)
    assert named == {"endpoint": ("https://h:443", "smtp://m:25")}


def test_questions_are_complete():
    ids = [question.id for question in QUESTIONS]
    assert len(set(ids)) == len(ids) == 11
    for question in QUESTIONS:
        assert question.id.startswith("encryption.tls_")
        assert question.asks.endswith("?")
        assert question.remedy
        assert question.permissions == ()


def test_a_bundle_may_hold_many_certificates():
    Trust(ROOT.pem + OTHER_ROOT.pem)


def test_importing_loads_nothing_heavy():
    heavy = ("boto3", "botocore", "psycopg", "pymysql", "numpy", "pandas", "pyarrow")
    code = (
        "import sys, sluicegate.stages.encryption.transit\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
