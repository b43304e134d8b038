"""Databases in transit, against real servers: PostgreSQL, and MariaDB where it is installed.

PostgreSQL refuses to run as root, so as root its processes become ``nobody``.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.core.tls_servers import LEAF, MIDDLE, ROOT, RSA_LEAF, issue, listening, server_context
from tests.core.transit_world import by_id, look, outcome

DEBIAN = os.pathsep.join(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True))
POSTGRES = shutil.which("postgres") or shutil.which("postgres", path=DEBIAN)
MARIADB = shutil.which("mariadbd")
PASSWORD = "correct-horse-battery"
ENCRYPTED_ONLY = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
EITHER = "host all all 127.0.0.1/32 scram-sha-256\n"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def unprivileged():
    """Return arguments for Popen by which a server does not run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def give_away(path):
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


@pytest.fixture(scope="module")
def folder():
    made = Path(tempfile.mkdtemp(prefix="sluicegate-db-"))
    give_away(made)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def wait_for(port, process):
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError("the server ended at once")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server does not listen")


def wait_until_started(port):
    """PostgreSQL listens before it is up, and answers 57P03 until then."""
    body = b"\0\3\0\0user\0app\0\0"
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port), 5) as probe:
            probe.sendall((len(body) + 4).to_bytes(4, "big") + body)
            if b"57P03" not in probe.recv(1000):
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not come up")


def write(path, text, mode=0o644):
    path.write_text(text)
    path.chmod(mode)
    give_away(path)
    return path


@pytest.fixture(scope="module")
def cluster(folder):
    """Return the data folder of a new PostgreSQL cluster with the user ``app``."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL server is installed")
    data, initdb = folder / "data", Path(POSTGRES).resolve().parent / "initdb"
    secret = write(folder / "password", PASSWORD, 0o600)
    command = [initdb, "-D", data, "-U", "app", "-A", "scram-sha-256", "--pwfile", secret]
    subprocess.run(
        [*command, "--no-sync", "-E", "UTF8", "--locale", "C"],
        check=True, capture_output=True, cwd=folder, **unprivileged(),
    )  # fmt: skip
    return data


@contextlib.contextmanager
def postgres(folder, cluster, *, tls=True, access=ENCRYPTED_ONLY, made=LEAF, **settings):
    """Run PostgreSQL; yield its port."""
    port = free_port()
    write(folder / "server.key", made.key_pem(), 0o600)
    write(folder / "server.crt", made.chain())
    write(folder / "access", access)
    values = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
        "hba_file": folder / "access", "fsync": "off", "ssl": "on" if tls else "off",
        "ssl_cert_file": folder / "server.crt", "ssl_key_file": folder / "server.key",
        "shared_buffers": "1MB", "max_connections": "20", **settings,
    }  # fmt: skip
    options = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [POSTGRES, "-D", cluster, *options],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **unprivileged(),
    )  # fmt: skip
    try:
        wait_for(port, process)
        wait_until_started(port)
        yield port
    finally:
        process.send_signal(2)  # fast shutdown
        process.wait(20)


def full(port, root, user="app"):
    return f"postgresql://{user}@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={root}"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the path of the root certificate; the password is where libpq looks."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.delenv("PGHOSTADDR", raising=False)
    path = tmp_path / "root.crt"
    path.write_text(ROOT.pem)
    return path


def test_a_sound_postgresql_passes_everything(folder, cluster, root):
    pytest.importorskip("psycopg")
    with postgres(folder, cluster) as port:
        checks = by_id(look(full(port, root)))
    assert {name: check.outcome.value for name, check in checks.items()} == dict.fromkeys(
        (
            "tls_handshake", "tls_certificate", "tls_host_name", "tls_expiry", "tls_old_versions",
            "tls_weak_ciphers", "tls_key", "tls_plain_text", "tls_starttls",
            "tls_client_settings", "tls_session",
        ),
        "passed",
    )  # fmt: skip


def test_a_server_that_also_takes_plain_text(folder, cluster, root):
    with postgres(folder, cluster, access=EITHER) as port:
        checks = by_id(look(full(port, root), wanted="tls_*"))
    assert checks["tls_plain_text"].outcome.value == "failed"
    assert "log-in" in checks["tls_plain_text"].findings[0].message
    assert checks["tls_handshake"].outcome.value == "passed"


def test_plain_text_is_judged_for_the_user_of_the_url(folder, cluster, root):
    access = "host all app 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    with postgres(folder, cluster, access=access) as port:
        mine = outcome(look(full(port, root), wanted="tls_plain_text"))
        other = outcome(look(full(port, root, "other"), wanted="tls_plain_text"))
        nobody = look(
            f"postgresql://localhost:{port}/postgres?sslmode=require", wanted="tls_plain_text"
        )
    assert (mine, other, outcome(nobody)) == ("failed", "passed", "unknown")
    assert "names no" in nobody[0].reason or "does not name" in nobody[0].reason


def test_a_server_without_tls(folder, cluster, root):
    with postgres(folder, cluster, tls=False, access=EITHER) as port:
        checks = by_id(look(full(port, root)))
    values = {name: check.outcome.value for name, check in checks.items()}
    assert values["tls_handshake"] == values["tls_starttls"] == values["tls_plain_text"] == "failed"
    assert values["tls_client_settings"] == "passed"
    for name in ("tls_certificate", "tls_host_name", "tls_key", "tls_old_versions", "tls_session"):
        assert values[name] == "unknown", name


def test_old_versions_and_weak_ciphers_of_a_real_server(folder, cluster, root):
    settings = {"ssl_min_protocol_version": "TLSv1", "ssl_ciphers": "ALL:aNULL:eNULL:@SECLEVEL=0"}
    with postgres(folder, cluster, made=RSA_LEAF, **settings) as port:
        checks = by_id(look(full(port, root)))
    old = [finding.evidence["protocol"] for finding in checks["tls_old_versions"].findings]
    assert old == ["TLSv1", "TLSv1.1"]
    weak = [finding.evidence["ciphers"] for finding in checks["tls_weak_ciphers"].findings]
    assert "without encryption (NULL)" in weak


@pytest.mark.parametrize(
    ("mode", "settings", "stripped"),
    [
        ("", "failed", "failed"),
        ("?sslmode=disable", "failed", "failed"),
        ("?sslmode=allow", "failed", "failed"),
        ("?sslmode=prefer", "failed", "failed"),
        ("?sslmode=require", "failed", "passed"),
        ("?sslmode=verify-ca", "failed", "passed"),
        ("?sslmode=verify-full", "passed", "passed"),
    ],
)
def test_what_the_client_insists_on(folder, cluster, mode, settings, stripped, shared):
    url = f"postgresql://localhost:{shared}/postgres{mode}"
    checks = by_id(look(url, wanted="tls_*"))
    assert checks["tls_client_settings"].outcome.value == settings
    assert checks["tls_starttls"].outcome.value == stripped


@pytest.fixture
def shared(folder, cluster):
    """Return the port of a sound server for tests that change nothing."""
    with postgres(folder, cluster) as port:
        yield port


def test_a_session_is_not_asked_for_without_a_user_or_a_safe_way(shared, root):
    unnamed = look(f"postgresql://localhost:{shared}/postgres?sslmode=verify-full")
    assert "tls_session" not in by_id(unnamed)
    unsafe = look(
        f"postgresql://app@localhost:{shared}/postgres?sslmode=require", wanted="tls_session"
    )
    assert outcome(unsafe) == "unknown"
    assert "no log-in is tried" in unsafe[0].reason


def test_a_wrong_password_is_no_answer_and_appears_nowhere(shared, root, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PGPASSWORD", "wrong-and-secret")
    (check,) = look(full(shared, root), wanted="tls_session")
    assert check.outcome.value == "unknown"
    assert "wrong-and-secret" not in repr(check)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    assert outcome(look(full(shared, root), wanted="tls_session")) == "unknown"


def test_the_password_may_come_from_a_file(shared, root, monkeypatch, tmp_path):
    pytest.importorskip("psycopg")
    path = tmp_path / "passwords"
    path.write_text(f"*:*:*:app:{PASSWORD}\n")
    path.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(path))
    assert outcome(look(full(shared, root), wanted="tls_session")) == "passed"


def test_the_environment_cannot_lead_elsewhere(shared, root, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.9")
    assert outcome(look(full(shared, root), wanted="tls_session")) == "passed"


def test_tls_that_ends_before_the_database(folder, cluster, root):
    """A proxy speaks TLS with a good certificate, and plain text to the database."""
    pytest.importorskip("psycopg")
    context = server_context()

    def carry(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    with postgres(folder, cluster, tls=False, access=EITHER) as port:

        def proxy(raw):
            raw.recv(8)
            raw.sendall(b"S")
            with (
                context.wrap_socket(raw, server_side=True) as near,
                socket.create_connection(("127.0.0.1", port), 5) as far,
            ):
                threading.Thread(target=carry, args=(far, near), daemon=True).start()
                carry(near, far)

        with listening(proxy) as outside:
            checks = by_id(look(full(outside, root)))
    assert checks["tls_handshake"].outcome.value == "passed"
    assert checks["tls_certificate"].outcome.value == "passed"
    assert checks["tls_client_settings"].outcome.value == "passed"
    assert checks["tls_session"].outcome.value == "failed"
    assert "ends before" in checks["tls_session"].findings[0].message


def test_a_driver_that_is_missing_is_said(shared, root, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    (check,) = look(full(shared, root), wanted="tls_session")
    assert check.outcome.value == "unknown"
    assert "psycopg is not installed" in check.reason


def test_an_intermediate_that_postgresql_does_not_send(folder, cluster, root):
    leaf = issue("localhost", MIDDLE)
    with postgres(folder, cluster, made=leaf) as port:
        assert outcome(look(full(port, root), wanted="tls_certificate")) == "passed"
    alone = issue("localhost", MIDDLE)
    object.__setattr__(alone, "above", ())
    with postgres(folder, cluster, made=alone) as port:
        (check,) = look(full(port, root), wanted="tls_certificate")
    assert check.outcome.value == "failed"
    assert "intermediate" in check.findings[0].message


def test_a_start_up_error_says_nothing(folder, cluster, root):
    def starting(raw):
        raw.recv(100)
        body = b"SFATAL\0C57P03\0Mstarting up\0\0"
        raw.sendall(b"E" + (len(body) + 4).to_bytes(4, "big") + body)

    with listening(starting) as port:
        (check,) = look(full(port, root), wanted="tls_plain_text")
    assert check.outcome.value == "unknown"
    assert "57P03" in check.reason


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"SFATAL\0C08P01\0MSSL required\0\0", "passed"),
        (b"SFATAL\0C08P01\0Mno such database\0\0", "unknown"),
        (b"SFATAL\0C28000\0Mno entry, no encryption\0\0", "passed"),
        (b"SFATAL\0C53300\0Mtoo many clients\0\0", "unknown"),
        (b"SFATAL\0C28P01\0Mpassword authentication failed\0\0", "unknown"),
    ],
)
def test_how_poolers_and_servers_refuse_plain_text(root, fields, expected):
    def refuse(raw):
        raw.recv(100)
        raw.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

    with listening(refuse) as port:
        assert outcome(look(full(port, root), wanted="tls_plain_text")) == expected


ACCOUNTS = f"""
CREATE DATABASE IF NOT EXISTS data;
FLUSH PRIVILEGES;
CREATE USER 'app'@'%' IDENTIFIED BY '{PASSWORD}';
CREATE USER 'strict'@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL;
CREATE USER 'REQUIRE SSL'@'%' IDENTIFIED BY '{PASSWORD}';
"""


@pytest.fixture(scope="module")
def mariadb(folder):
    """Return a function that runs MariaDB with options and yields its port."""
    if not MARIADB:
        pytest.skip("no MariaDB server is installed")
    data = folder / "mariadb"
    for made in (data, data / "mysql"):
        made.mkdir()
        give_away(made)
    share = Path(MARIADB).resolve().parent.parent / "share" / "mysql"
    key = write(folder / "maria.key", RSA_LEAF.key_pem(), 0o600)
    chain = write(folder / "maria.crt", RSA_LEAF.chain())
    base = [
        MARIADB, "--no-defaults", f"--datadir={data}", "--innodb=OFF", f"--ssl-cert={chain}",
        f"--ssl-key={key}", "--default-storage-engine=Aria", f"--lc-messages-dir={share}",
    ]  # fmt: skip
    tables = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
    script = "USE mysql;\n" + "".join((share / name).read_text() for name in tables) + ACCOUNTS
    subprocess.run(
        [*base, "--bootstrap"], input=script.encode(),
        check=True, capture_output=True, cwd=folder, **unprivileged(),
    )  # fmt: skip

    @contextlib.contextmanager
    def run(*options):
        port = free_port()
        process = subprocess.Popen(
            [
                *base, f"--port={port}", "--bind-address=127.0.0.1",
                f"--socket={folder}/maria.sock", f"--pid-file={folder}/maria.pid", *options,
            ],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **unprivileged(),
        )  # fmt: skip
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)

    return run


def test_mariadb_that_demands_tls(mariadb, monkeypatch):
    pytest.importorskip("pymysql")
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)
    with mariadb("--require-secure-transport=ON") as port:
        url = f"mysql://app@localhost:{port}/?ssl-mode=VERIFY_IDENTITY"
        checks = by_id(look(url))
        monkeypatch.setenv("MYSQL_PWD", "wrong-and-secret")
        wrong = by_id(look(url))
    for name, check in checks.items():
        assert check.outcome.value == "passed", (name, check)
    assert "tls_session" in checks
    assert wrong["tls_session"].outcome.value == "unknown"
    assert wrong["tls_plain_text"].outcome.value == "unknown"
    assert "wrong-and-secret" not in repr(wrong)


def test_mariadb_that_also_takes_plain_text(mariadb, monkeypatch):
    pytest.importorskip("pymysql")
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)
    with mariadb() as port:
        answers = {
            user: outcome(
                look(
                    f"mysql://{user}localhost:{port}/?ssl-mode=VERIFY_IDENTITY",
                    wanted="tls_plain_text",
                )
            )
            for user in ("", "app@", "strict@", "REQUIRE%20SSL@")
        }
    assert answers == {
        "": "unknown", "app@": "failed", "strict@": "passed", "REQUIRE%20SSL@": "failed",
    }  # fmt: skip
