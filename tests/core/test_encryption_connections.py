"""Connections: how they are redacted, and how their descriptions are judged."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import EntryPoint

import pytest

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.model import Outcome, Severity
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.connections import AREA, QUESTIONS, description, examine
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage import orchestrators
from sluicegate.storage.orchestrators import DescriptionStore, description_store
from sluicegate.storage.redaction import is_secret, redact
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

PASSWORD = "hunter2-Zebra!"
TOKENS = {
    "AWS access key id": "AKIAIOSFODNN7EXAMPLE",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-abcdefghij0123456789",
    "Slack token": "xoxb-123456789012-abcdefgh",
    "Slack webhook": "https://hooks.slack.com/services/T000/B000/XXXXXXXX",
    "Google API key": "AIza" + "x9" * 17 + "y",
    "Hugging Face token": "hf_" + "aB3" * 12,
    "Databricks token": "dapi" + "0a" * 16,
    "JSON Web Token": "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
}


# Redaction ------------------------------------------------------------------------------


def text_of(value, **options):
    return json.dumps(redact(value, **options))


@pytest.mark.parametrize("form", TOKENS)
@pytest.mark.parametrize("place", ["alone", "in text", "nested", "in json", "in a url", "key"])
def test_tokens_never_stay(form, place):
    token = TOKENS[form]
    value = {
        "alone": {"note": token},
        "in text": {"note": f"use this: {token} and go"},
        "nested": {"a": [{"b": [token]}]},
        "in json": {"extra": json.dumps({"note": token})},
        "in a url": {"note": f"https://host.example/path?x={token}"},
        "key": {token: "x"},
    }[place]
    shown = text_of(value)
    for piece in token.replace("\n", " ").split():
        if len(piece) > 8:
            assert piece not in shown
    if place in ("alone", "in text", "nested", "in json"):
        assert f'"form": "{form}"' in shown


@pytest.mark.parametrize(
    "value",
    [
        {"password": PASSWORD},
        {"dbPassword": PASSWORD},
        {"db-password": PASSWORD},
        {"api_key": PASSWORD},
        {"settings": {"x": {"secret": PASSWORD}}},
        {"tokens": [{"token": PASSWORD}]},
        {"host": f"https://me:{PASSWORD}@host.example/"},
        {"host": f"https://{PASSWORD}@host.example/"},
        {"url": f"postgresql+psycopg2://me:{PASSWORD}@h:5432/db?sslmode=disable"},
        {"url": f"mongodb://me:{PASSWORD}@h1:1,h2:2/db"},
        {"url": f"https://h/?password={PASSWORD}"},
        {"url": f"jdbc:postgresql://h/db?user=me&password={PASSWORD}"},
        {"url": f"jdbc:sqlserver://h:1433;user=me;password={PASSWORD};encrypt=false"},
        {"url": f"https://[bad/{PASSWORD}"},
        {"dsn": f"host=h user=me password={PASSWORD} sslmode=disable"},
        {"dsn": f"host=h user=me password='{PASSWORD} x' sslmode=disable"},
        {"odbc": f"Driver=x;Server=h;Uid=me;Pwd={PASSWORD};Encrypt=no"},
        {"note": f"the password: {PASSWORD}"},
        {"note": f"Authorization: Bearer {PASSWORD.replace('!', '')}"},
        {"password": [PASSWORD]},
        {"password": {"inner": PASSWORD}},
        {"password": json.dumps({"password": PASSWORD})},
        {"x": PASSWORD.encode()},
        json.loads('{"a":' * 12 + json.dumps(PASSWORD) + "}" * 12),
        {"x": "x" * 40000 + PASSWORD},
        {"secret": {PASSWORD}},
    ],
)
def test_secrets_never_stay(value):
    shown = text_of(value)
    assert "hunter2" not in shown
    assert "Zebra" not in shown


def test_what_is_judged_stays():
    url = redact({"u": f"postgresql://me:{PASSWORD}@db.example:5432/data?sslmode=disable"})["u"]
    assert url["url"]["scheme"] == "postgresql"
    assert url["url"]["host"] == "db.example"
    assert url["url"]["port"] == 5432
    assert url["url"]["path"] == "/data"
    assert url["url"]["options"] == {"sslmode": "disable"}
    settings = redact({"o": f"Server=h;Pwd={PASSWORD};Encrypt=no"})["o"]["settings"]
    assert settings["Server"] == "h"
    assert settings["Encrypt"] == "no"
    assert settings["Pwd"]["form"] == "connection string"


@pytest.mark.parametrize(
    "value",
    [
        "db-prod-1.cluster-cabcdefgh123.us-east-1.rds.amazonaws.com",
        "arn:aws:kms:us-east-1:123456789012:alias/data",
        "verify-full",
        "/etc/ssl/certs/ca.pem",
        "a description with words and 3 numbers",
        "internationalization_of_everything",
    ],
)
def test_ordinary_text_stays(value):
    assert redact({"host": value}) == {"host": value}


def test_long_random_text_is_taken_out():
    chance = random.Random(1)
    for _ in range(200):
        text = "".join(chance.choices(string.ascii_letters + string.digits, k=40))
        assert text not in text_of({"note": text})
        assert text not in text_of({"note": f"see {text} for more"})


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True), ("sslPassword", True), ("aws_secret_access_key", True), ("token", True),
        ("x-api-key", True), ("apiKey", True), ("private_key", True), ("client_secret", True),
        ("private_key_path", False), ("token_url", False), ("secret_name", False),
        ("key", False), ("public_key", False), ("passenger", False), ("kms_key_id", False),
        ("client_id", False), ("sslkey", False), ("tokenizer", False), ("access_key", True),
    ],
)  # fmt: skip
def test_names_of_secrets(name, secret):
    assert is_secret(name) is secret


def test_switches_and_numbers_that_are_called_like_secrets():
    assert redact({"use_token": True, "password": None, "secret": ""}) == {
        "use_token": True, "password": None, "secret": "",
    }  # fmt: skip
    assert "12345" not in text_of({"password": 12345})


def test_secret_fields_are_taken_out_whatever_they_look_like():
    value = {"value": "plain", "settings": {"a": "one", "b": {"c": "two"}}, "other": "three"}
    shown = redact(value, secret_fields=("value", "settings.*"))
    assert shown["value"]["where"] == "secret store"
    assert "one" not in json.dumps(shown)
    assert "two" not in json.dumps(shown)
    assert shown["other"] == "three"


def test_lengths_are_coarse():
    lengths = {redact({"password": "x" * n})["password"]["length"] for n in range(1, 65)}
    assert len(lengths) == 1


def test_redaction_is_bounded():
    with pytest.raises(SubjectError, match="more than"):
        redact({str(n): n for n in range(20000)})
    many = (";" * 30000, "a=" * 15000, " " * 30000 + ";", "-eyJ" * 8000, "password " * 3000)
    for hostile in many:
        redact({"note": hostile})
    redact({"n": float("nan"), "big": 2**70, "odd": object()})


# The store ------------------------------------------------------------------------------


def reader_of(fields, *, kind="airflow-connection", secret_fields=("password",), unseen=()):
    return lambda path: {
        "kind": kind,
        "name": path,
        "fields": fields,
        "secret_fields": list(secret_fields),
        "unseen": dict(unseen),
    }


URI = SubjectUri("airflow-connection", "my_db")


def digest(fields):
    return take_snapshot(URI, store=DescriptionStore(reader_of(fields))).digest


def test_the_digest_binds_everything_but_the_secret():
    base = {"conn_type": "postgres", "host": "h", "password": "one"}
    assert digest(base) == digest({**base, "password": "another"})
    assert digest(base) != digest({**base, "password": None})
    assert digest(base) != digest({**base, "host": "i"})
    assert digest(base) != digest({**base, "extra": '{"sslmode": "disable"}'})


def test_a_description_is_one_small_file():
    store = DescriptionStore(reader_of({"password": PASSWORD}))
    assert [entry.path for entry in store.entries(URI)] == ["description.json"]
    assert b"hunter2" not in store.open(URI, "description.json").read()
    with pytest.raises(SubjectError, match="no file"):
        store.open(URI, "other.json")
    with pytest.raises(SubjectError, match="nothing is written"):
        store.write(URI, None)


def test_errors_of_adapters_are_not_repeated():
    def fails(path):
        raise RuntimeError(f"cannot parse postgresql://me:{PASSWORD}@h")

    with pytest.raises(SubjectError) as caught:
        take_snapshot(URI, store=DescriptionStore(fails))
    assert "RuntimeError" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("answer", [None, [], {}, {"kind": 3}])
def test_adapters_that_answer_nonsense(answer):
    with pytest.raises(SubjectError, match="unknown form"):
        take_snapshot(URI, store=DescriptionStore(lambda path: answer))


def register(monkeypatch, *values):
    points = [EntryPoint("airflow-connection", value, orchestrators.GROUP) for value in values]
    monkeypatch.setattr(orchestrators, "entry_points", lambda group: points)


def a_reader(path):
    return {"kind": "airflow-connection", "name": path, "fields": {}}


def test_adapters_are_found_by_entry_points(monkeypatch):
    register(monkeypatch, "json:loads")
    assert isinstance(description_store("airflow-connection"), DescriptionStore)
    assert description_store("prefect-block") is None


def test_adapters_that_cannot_be_used(monkeypatch):
    register(monkeypatch, "no.such.module:x")
    with pytest.raises(SubjectError, match="cannot be loaded"):
        description_store("airflow-connection")
    register(monkeypatch, "json:loads", "json:dumps")
    with pytest.raises(SubjectError, match="several"):
        description_store("airflow-connection")


# Judgement ------------------------------------------------------------------------------


def scope_of(uri, store, **settings):
    return Scope(
        settings=Settings(**settings),
        snapshot=take_snapshot(uri, store=store),
        context=Context(),
        aws=Aws(),
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )


def ask(fields, *, kind="airflow-connection", unseen=(), secret_fields=("password",), **settings):
    """Judge one description; return checks by id without the prefix, findings in words."""
    store = DescriptionStore(
        reader_of(fields, kind=kind, secret_fields=secret_fields, unseen=unseen)
    )
    scope = scope_of(SubjectUri(kind, "type/name"), store, **settings)
    checks = list(examine(scope))
    assert "hunter2" not in repr(checks)
    assert checks == list(examine(scope))
    found = {}
    for check in checks:
        found.setdefault(check.id.removeprefix("encryption."), []).append(check)
    return found


def outcomes(found, name):
    return [check.outcome.value for check in found.get(name, [])]


SSL = {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}


@pytest.mark.parametrize(
    ("fields", "scheme", "verification"),
    [
        ({"conn_type": "postgres", "host": "h", "extra": SSL}, "passed", "passed"),
        ({"conn_type": "postgres", "host": "h"}, "failed", "failed"),
        ({"conn_type": "postgres", "host": "h", "extra": {"sslmode": "disable"}},
         "failed", "failed"),
        ({"conn_type": "postgres", "host": "h", "extra": {"sslmode": "require"}},
         "passed", "failed"),
        ({"conn_type": "postgres", "host": "localhost"}, "passed", "passed"),
        ({"conn_type": "postgres", "host": "127.0.0.1"}, "passed", "passed"),
        ({"conn_type": "postgres", "host": "localhost.example"}, "failed", "failed"),
        ({"conn_type": "postgres", "host": "/run/pg"}, "passed", "passed"),
        ({"conn_type": "postgres"}, "unknown", "unknown"),
        ({"conn_type": "postgres", "extra": SSL}, "unknown", "unknown"),
        ({"conn_type": "http", "host": "h"}, "failed", None),
        ({"conn_type": "http", "host": "h", "schema": "https"}, "passed", "passed"),
        ({"conn_type": "http", "host": "https://h/x"}, "passed", "passed"),
        ({"conn_type": "http", "host": "http://h/x", "schema": "https"}, "failed", None),
        ({"conn_type": "http", "host": "h", "schema": "https", "extra": {"verify": False}},
         "passed", "failed"),
        ({"conn_type": "http", "host": "h", "schema": "https", "extra": '{"verify": false}'},
         "passed", "failed"),
        ({"conn_type": "http", "host": "h", "schema": "https", "extra": {"verify": True}},
         "passed", "passed"),
        ({"conn_type": "redis", "host": "h"}, "failed", None),
        ({"conn_type": "redis", "host": "h", "extra": {"ssl": True}}, "passed", "passed"),
        ({"conn_type": "redis", "host": "h", "extra": {"ssl": True, "ssl_cert_reqs": "none"}},
         "passed", "failed"),
        ({"conn_type": "ftp", "host": "h"}, "failed", None),
        ({"conn_type": "sftp", "host": "h"}, "passed", "failed"),
        ({"conn_type": "ssh", "host": "h", "extra": {"no_host_key_check": "false"}},
         "passed", "passed"),
        ({"conn_type": "ssh", "host": "h", "extra": {"host_key": "AAAAB3NzaC1yc2E="}},
         "passed", "passed"),
        ({"conn_type": "ssh", "host": "h",
          "extra": {"no_host_key_check": False, "allow_host_key_change": True}},
         "passed", "failed"),
        ({"conn_type": "smtp", "host": "h"}, "passed", "passed"),
        ({"conn_type": "smtp", "host": "h", "extra": {"disable_ssl": True}}, "passed", "passed"),
        ({"conn_type": "smtp", "host": "h", "extra": {"disable_ssl": True, "disable_tls": True}},
         "failed", "failed"),
        ({"conn_type": "kafka", "extra": {"bootstrap.servers": "h:9092"}}, "failed", "failed"),
        ({"conn_type": "kafka", "extra": {"security.protocol": "SASL_SSL"}}, "passed", "passed"),
        ({"conn_type": "mongo", "host": "h"}, "failed", "failed"),
        ({"conn_type": "mongo", "host": "h", "extra": {"srv": True}}, "passed", "passed"),
        ({"conn_type": "aws", "extra": {"region_name": "us-east-1"}}, "passed", "passed"),
        ({"conn_type": "aws", "extra": {"verify": False}}, "passed", "failed"),
        ({"conn_type": "google_cloud_platform"}, "passed", "passed"),
        ({"conn_type": "sqlite", "host": "/x.db"}, "passed", "passed"),
        ({"conn_type": "carrier_pigeon", "host": "h"}, "unknown", "unknown"),
        ({"host": "h"}, "unknown", "unknown"),
        ({"conn_type": "carrier_pigeon", "host": "h", "extra": {"verify": "false"}},
         "unknown", "failed"),
        ({"conn_type": "http", "host": "localhost"}, "passed", None),
    ],
)  # fmt: skip
def test_protocols(fields, scheme, verification):
    found = ask(fields)
    assert outcomes(found, "connection_scheme")[:1] == [scheme]
    assert outcomes(found, "connection_verification")[:1] == [verification] * bool(verification)


def test_urls_among_the_extra_options_are_judged_too():
    found = ask({"conn_type": "aws", "extra": {"endpoint_url": "http://minio.example:9000"}})
    assert outcomes(found, "connection_scheme") == ["passed", "failed"]
    assert found["connection_scheme"][1].target.endswith("extra.endpoint_url")
    found = ask({"conn_type": "aws", "extra": {"endpoint_url": "https://minio", "verify": False}})
    assert outcomes(found, "connection_verification") == ["failed", "failed"]


def test_credentials_in_their_own_field():
    found = ask({"conn_type": "postgres", "host": "h", "password": PASSWORD, "login": "me"})
    assert outcomes(found, "connection_credentials") == ["passed"]
    assert outcomes(found, "connection_secrets") == ["passed"]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"host": f"https://me:{PASSWORD}@h"}, "host.userinfo"),
        ({"extra": {"password": PASSWORD}}, "extra.password"),
        ({"extra": {"dsn": f"host=h password={PASSWORD}"}}, "extra.dsn.settings.password"),
        ({"extra": {"proxy": f"http://me:{PASSWORD}@p:3128"}}, "extra.proxy.userinfo"),
        ({"extra": {"headers": {"x": "Basic aHVudGVyMi1aZWJyYQ=="}}}, "extra.headers.x"),
        ({"description": f"password={PASSWORD}"}, "description"),
    ],
)
def test_credentials_elsewhere(fields, where):
    check = ask({"conn_type": "http", "schema": "https", **fields})["connection_credentials"][0]
    assert check.outcome is Outcome.FAILED
    assert [finding.evidence["field"] for finding in check.findings] == [where]


@pytest.mark.parametrize("form", TOKENS)
def test_tokens_in_plain_fields(form):
    found = ask({"conn_type": "aws", "description": f"key: {TOKENS[form]}"})
    check = found["connection_secrets"][0]
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].evidence == {"field": "description", "form": form}
    assert TOKENS[form][:12] not in repr(found)


def test_an_access_key_id_in_the_login_is_where_it_belongs():
    found = ask({"conn_type": "aws", "login": TOKENS["AWS access key id"], "password": PASSWORD})
    assert outcomes(found, "connection_secrets") == ["passed"]
    found = ask({"conn_type": "aws", "login": TOKENS["GitHub token"]})
    assert outcomes(found, "connection_secrets") == ["failed"]


def test_a_service_account_key_among_the_extra_options():
    key = {"type": "service_account", "private_key": TOKENS["private key"]}
    for extra in ({"keyfile_dict": key}, {"keyfile_dict": json.dumps(key)}):
        found = ask({"conn_type": "google_cloud_platform", "extra": json.dumps(extra)})
        assert outcomes(found, "connection_secrets") == ["failed"]


def test_references_to_secrets_are_no_secrets():
    extra = {"private_key_path": "/run/secrets/key", "token_url": "https://h/token"}
    found = ask({"conn_type": "snowflake", "extra": extra})
    assert outcomes(found, "connection_secrets") == ["passed"]
    assert outcomes(found, "connection_credentials") == ["passed"]


def test_what_was_not_looked_at_is_said():
    check = ask({"conn_type": "aws"})["connection_scope"][0]
    assert check.severity is Severity.INFO
    assert "only the 1 named" in check.findings[0].message
    assert "connection_scope" not in ask({}, kind="airflow-deployment")


# Airflow's own set-up -------------------------------------------------------------------


def deployment(unseen=(), **fields):
    secret = ("core.fernet_key",)
    found = ask(fields, kind="airflow-deployment", unseen=unseen, secret_fields=secret)
    return {
        name: (outcomes(found, f"airflow_{name}") or [None])[0]
        for name in ("fernet_key", "metadata_tls", "api_tls")
    }


IN_A_TASK = {"database.sql_alchemy_conn": "tasks have no access"}


@pytest.mark.parametrize(
    ("key", "unseen", "expected"),
    [
        ("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=", {}, "passed"),
        ("", {}, "failed"),
        (None, {}, "failed"),
        ("", IN_A_TASK, "unknown"),
        ("x" * 44, IN_A_TASK, "passed"),
        (None, {"core.fernet_key": "not visible"}, "unknown"),
    ],
)
def test_fernet_key(key, unseen, expected):
    assert deployment(unseen, core={"fernet_key": key})["fernet_key"] == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////x/airflow.db", "passed"),
        (f"postgresql+psycopg2://u:{PASSWORD}@db/x?sslmode=verify-full&sslrootcert=/ca", "passed"),
        (f"postgresql+psycopg2://u:{PASSWORD}@db/x", "failed"),
        (f"postgresql+psycopg2://u:{PASSWORD}@db/x?sslmode=require", "failed"),
        (f"postgresql://u:{PASSWORD}@localhost/x", "passed"),
        (f"pigeon://u:{PASSWORD}@db/x", "unknown"),
        ("nonsense", "unknown"),
        (None, "unknown"),
    ],
)
def test_metadata_database(url, expected):
    database = {"sql_alchemy_conn": url}
    assert deployment(database=database)["metadata_tls"] == expected
    assert deployment(IN_A_TASK)["metadata_tls"] == "unknown"


def test_metadata_database_with_arguments_in_code():
    database = {"sql_alchemy_conn": "postgresql://u@db/x", "sql_alchemy_connect_args": "my.args"}
    assert deployment(database=database)["metadata_tls"] == "unknown"


@pytest.mark.parametrize(
    ("base", "execution", "certificate", "expected"),
    [
        (None, None, "", "unknown"),
        (None, None, "/cert.pem", "passed"),
        ("https://airflow.example", None, "", "passed"),
        ("http://airflow.example", None, "", "failed"),
        ("http://airflow.example", None, "/cert.pem", "failed"),
        ("http://localhost:8080", None, "", "passed"),
        ("https://airflow.example", "http://api.internal:8080/execution/", "", "failed"),
        ("https://airflow.example", "https://api.internal/execution/", "", "passed"),
    ],
)
def test_airflow_api(base, execution, certificate, expected):
    api = {"base_url": base, "ssl_cert": certificate}
    found = deployment(api=api, core={"execution_api_server_url": execution})
    assert found["api_tls"] == expected


def test_brokers_of_a_deployment_are_judged():
    celery = {"broker_url": f"redis://:{PASSWORD}@r:6379/0", "result_backend": None}
    found = ask({"celery": celery}, kind="airflow-deployment")
    assert outcomes(found, "connection_scheme") == ["failed"]
    assert outcomes(found, "connection_secrets") == ["passed"]
    idle = ask({"celery": celery, "core": {"executor": "LocalExecutor"}}, kind="airflow-deployment")
    assert outcomes(idle, "connection_scheme") == []
    used = ask(
        {"celery": celery, "core": {"executor": "CeleryExecutor"}}, kind="airflow-deployment"
    )
    assert "failed" in outcomes(used, "connection_scheme")
    celery = {"broker_url": "rediss://r/0?ssl_cert_reqs=none"}
    found = ask({"celery": celery}, kind="airflow-deployment")
    assert outcomes(found, "connection_scheme") == ["passed"]
    assert outcomes(found, "connection_verification") == ["failed"]


# Prefect --------------------------------------------------------------------------------


def block(fields, *, api=None, database=None, secret_fields=()):
    given = {"block": fields, "api": api or {}, "database": database or {}}
    return ask(given, kind="prefect-block", secret_fields=secret_fields)


def test_a_block_with_its_secret_in_a_secret_field():
    found = block({"value": PASSWORD}, secret_fields=("block.value",))
    assert outcomes(found, "connection_secrets") == ["passed"]
    assert outcomes(found, "connection_scheme") == []


@pytest.mark.parametrize(
    "fields",
    [{"token": PASSWORD}, {"settings": {"secret": PASSWORD}}, {"value": TOKENS["Slack token"]}],
)
def test_a_block_with_secrets_in_plain_fields(fields):
    assert outcomes(block(fields), "connection_secrets") == ["failed"]


def test_a_block_with_credentials_in_a_url():
    found = block({"repository": f"https://me:{PASSWORD}@git.example/x.git"})
    assert outcomes(found, "connection_credentials") == ["failed"]
    assert outcomes(found, "connection_scheme") == ["passed"]


def test_blocks_of_databases_have_drivers():
    info = {"driver": "postgresql+asyncpg", "host": "db", "query": {"ssl": "verify-full"}}
    assert outcomes(block({"connection_info": info}), "connection_scheme") == ["passed"]
    found = block({"connection_info": {**info, "query": {}}})
    assert outcomes(found, "connection_scheme") == ["failed"]


def test_careless_options_of_a_block():
    found = block({"aws_client_parameters": {"verify": False}})
    assert outcomes(found, "connection_verification") == ["failed"]
    found = block({"aws_client_parameters": {"verify": True, "use_ssl": True}})
    assert outcomes(found, "connection_verification") == []


@pytest.mark.parametrize(
    ("url", "skip", "expected"),
    [
        (None, False, "passed"),
        ("https://prefect.example/api", False, "passed"),
        ("https://prefect.example/api", True, "failed"),
        ("http://prefect.example/api", False, "failed"),
        ("http://127.0.0.1:4200/api", True, "passed"),
        ("nonsense", False, "unknown"),
    ],
)
def test_prefect_api(url, skip, expected):
    found = block({}, api={"url": url, "tls_insecure_skip_verify": skip})
    assert outcomes(found, "prefect_api_tls") == [expected]


@pytest.mark.parametrize(
    ("database", "api", "expected"),
    [
        ({}, None, "passed"),
        ({}, "https://prefect.example/api", "unknown"),
        ({"connection_url": "sqlite+aiosqlite:////x.db"}, None, "passed"),
        ({"connection_url": "postgresql+asyncpg://u@db/x"}, None, "failed"),
        ({"connection_url": "postgresql+asyncpg://u@localhost/x"}, None, "passed"),
        ({"connection_url": "postgresql+asyncpg://u@db/x?ssl=verify-full"}, None, "passed"),
        ({"connection_url": "postgresql+asyncpg://u@db/x", "tls_enabled": True,
          "tls_check_hostname": True}, None, "passed"),
        ({"connection_url": "postgresql+asyncpg://u@db/x", "tls_enabled": True,
          "tls_check_hostname": False}, None, "failed"),
        ({"connection_url": "pigeon://u@db/x"}, None, "unknown"),
        ({"connection_url": "nonsense"}, None, "unknown"),
    ],
)  # fmt: skip
def test_prefect_database(database, api, expected):
    found = block({}, api={"url": api}, database=database)
    assert outcomes(found, "prefect_database_tls") == [expected]


# The room -------------------------------------------------------------------------------


@pytest.fixture
def plain_subject(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    return SubjectUri.parse(tmp_path)


def test_connections_named_in_the_settings(plain_subject, monkeypatch):
    store = DescriptionStore(reader_of({"conn_type": "redis", "host": "h"}))
    monkeypatch.setattr(description, "description_store", lambda scheme: store)
    scope = scope_of(plain_subject, None, connections=("airflow-connection://cache",))
    checks = {check.id: check for check in examine(scope)}
    assert checks["encryption.connection_scheme"].outcome is Outcome.FAILED
    assert checks["encryption.connection_scheme"].target == "airflow-connection://cache"
    assert scope.metrics == {"connections": 1}


@pytest.mark.parametrize("name", ["airflow-connection://x", "prefect-block://t/n"])
def test_without_an_adapter_all_is_unknown(plain_subject, monkeypatch, name):
    monkeypatch.setattr(description, "description_store", lambda scheme: None)
    checks = list(examine(scope_of(plain_subject, None, connections=(name,))))
    assert {check.outcome for check in checks if "scope" not in check.id} == {Outcome.UNKNOWN}
    assert any("nothing installed here describes" in check.reason for check in checks)


def test_a_connection_that_does_not_exist_is_unknown(plain_subject, monkeypatch):
    def refuses(path):
        raise SubjectError("Airflow gives this process no connection 'x'")

    store = DescriptionStore(refuses)
    monkeypatch.setattr(description, "description_store", lambda scheme: store)
    checks = list(examine(scope_of(plain_subject, None, connections=("airflow-connection://x",))))
    assert {check.outcome for check in checks if "scope" not in check.id} == {Outcome.UNKNOWN}


@pytest.mark.parametrize("name", ["s3://bucket/x", f"airflow-connection://me:{PASSWORD}@x", ""])
def test_names_that_are_no_connection(plain_subject, name):
    checks = list(examine(scope_of(plain_subject, None, connections=(name,))))
    assert {check.outcome for check in checks if "scope" not in check.id} == {Outcome.UNKNOWN}
    assert "hunter2" not in repr(checks)


def test_a_connection_that_changed_stops_the_run():
    fields = {"conn_type": "postgres", "host": "h", "extra": SSL}
    scope = scope_of(URI, DescriptionStore(reader_of(fields)))
    fields["extra"] = {"sslmode": "disable"}
    with pytest.raises(SubjectChangedError):
        list(examine(scope))


def test_unwanted_questions_are_not_answered():
    found = ask({"conn_type": "redis"}, checks=("encryption.connection_secrets",))
    assert list(found) == ["connection_secrets"]


def test_nothing_to_ask():
    assert AREA.resources(Settings(), SubjectUri("s3", "bucket/x")) == {}
    assert AREA.resources(Settings(), URI) == {"connections": (str(URI),)}
    assert AREA.questions == QUESTIONS


def test_importing_the_rooms_imports_nothing_heavy():
    names = ("airflow", "prefect", "boto3", "pyarrow", "numpy", "pandas", "httpx")
    script = (
        "import sys, sluicegate.stages.encryption.connections, sluicegate.stages.encryption.files\n"
        "import sluicegate.stages.encryption.connections.judge, sluicegate.storage.orchestrators\n"
        "import sluicegate_airflow.connections, sluicegate_prefect.connections\n"
        f"print([n for n in {names!r} if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert result.stdout.strip() == b"[]"
