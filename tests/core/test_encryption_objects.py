"""How single objects on S3 are stored: a simulated S3, and own servers that are strict or hostile.

The simulator does not verify signatures, has no SSE-C and no throttling. So requests are also
sent to a small server that recomputes every signature from what it received, by the published
rules and without botocore, and that can be told to misbehave.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import hmac
import itertools
import json
import socket
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import comb
from urllib.parse import quote, unquote_to_bytes

import boto3
import pytest
from botocore.stub import Stubber

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError, SubjectChangedError
from sluicegate.model import Outcome
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.s3 import by_head as by_head_module
from sluicegate.stages.encryption.s3 import heads as heads_module
from sluicegate.stages.encryption.s3 import history as history_module
from sluicegate.stages.encryption.s3.head import Head, Miss
from sluicegate.stages.encryption.s3.heads import Bucket, Heads
from sluicegate.stages.encryption.s3.judge import Seen, judge, key_fault, lock_fault, mode_fault
from sluicegate.stages.encryption.s3.object_questions import KEY, MODE
from sluicegate.stages.encryption.s3.objects import AREA, QUESTIONS
from sluicegate.stages.encryption.s3.parallel import Limits, bounded, gather
from sluicegate.stages.encryption.s3.sampling import draw, sample_size
from sluicegate.stages.encryption.s3.signature import Identity, Signer
from sluicegate.stages.encryption.s3.wanted_keys import WantedKeys
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.local import LocalStore
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at, reset

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY_A = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-1111-2222-3333-444444444444"
KEY_B = "arn:aws:kms:us-east-1:111122223333:key/bbbbbbbb-1111-2222-3333-444444444444"
SECRET = "wJalr/XUtnFEMI+K7MDENG"
ODD_KEYS = (
    "plain.csv",
    "a b/c d.csv",
    "plus+sign",
    "percent%20already",
    "q?mark#hash&amp=1;2",
    "tilde~dash-under_dot.",
    "umlaut-äöü/日本語/😀",
    "quote'\"<>()[]{}|^`*!$,:@=\\",
    "double//slash",
    "/leading",
    "trailing/",
    "../dots/./x",
    "newline\nand\ttab",
    "%",
    "%zz",
    "ctrl-\x01\x7f",
)


# ---------------------------------------------------------------- servers


class FakeS3:
    """An S3 that verifies Signature Version 4 and can be told to misbehave."""

    def __init__(self):
        self.objects = {}
        self.secrets = {"AKIATEST": SECRET}
        self.region = "us-east-1"
        self.virtual_host = None
        self.tokens = {}
        self.misbehave = lambda request: None
        self.requests = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                outer.answer(self)

            do_GET = do_HEAD  # noqa: N815

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def put(self, key, bucket="bkt", size=3, **headers):
        given = {"x-amz-server-side-encryption": "AES256", "ETag": '"e"'} if not headers else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.objects[bucket, key] = {"Content-Length": str(size), **given}

    def answer(self, handler):
        # Not `handler.path`: it merges slashes at the beginning.
        path, _, query = handler.requestline.split(" ")[1].partition("?")
        decoded = unquote_to_bytes(path).decode()
        if self.virtual_host:
            host = handler.headers["Host"]
            assert host.endswith(self.virtual_host), host
            bucket, key = host[: -len(self.virtual_host) - 1], decoded[1:]
        else:
            bucket, _, key = decoded[1:].partition("/")
        request = {
            "method": handler.command,
            "bucket": bucket,
            "key": key,
            "query": query,
            "headers": dict(handler.headers.items()),
            "handler": handler,
        }
        with self.lock:
            self.requests.append(request)
            request["number"] = len(self.requests)
        told = self.misbehave(request)
        if told == "hang-up":
            handler.close_connection = True
            return
        if told is None:
            told = self.honest(request, path)
        status, headers, body = told
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if "Content-Length" not in headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    def honest(self, request, path):
        problem = self.signature_problem(request, path)
        if problem:
            return 403, {"x-problem": problem}, b""
        version = dict(p.partition("=")[::2] for p in request["query"].split("&")).get("versionId")
        name = request["bucket"], request["key"]
        headers = self.objects.get((*name, unquote_to_bytes(version).decode()) if version else name)
        return (200, headers, b"abc") if headers is not None else (404, {}, b"")

    def signature_problem(self, request, path):
        """Return what is wrong with a signature by the rules of AWS, empty if nothing."""
        headers = {name.lower(): value for name, value in request["headers"].items()}
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            return "scheme"
        parts = dict(one.strip().split("=", 1) for one in rest.split(","))
        access, day, region, service, end = parts["Credential"].split("/")
        if (region, service, end) != (self.region, "s3", "aws4_request"):
            return "scope"
        if access not in self.secrets:
            return "access key"
        signed = parts["SignedHeaders"].split(";")
        must = {"host"} | {name for name in headers if name.startswith("x-amz-")}
        if signed != sorted(signed) or not must <= set(signed):
            return "signed headers"
        stamp = headers["x-amz-date"]
        age = datetime.now(UTC) - datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if stamp[:8] != day or abs(age) > timedelta(minutes=15):
            return "date"
        if headers["x-amz-content-sha256"] != hashlib.sha256(b"").hexdigest():
            return "payload"
        if self.tokens.get(access) != headers.get("x-amz-security-token"):
            return "token"

        def encode(text, safe=""):
            return quote(unquote_to_bytes(text), safe=safe + "-_.~")

        pairs = [one.partition("=")[::2] for one in request["query"].split("&") if one]
        canonical = "\n".join(
            [
                request["method"],
                encode(path, "/"),
                "&".join(sorted(f"{encode(n)}={encode(v)}" for n, v in pairs)),
                *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
                "",
                ";".join(signed),
                headers["x-amz-content-sha256"],
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join([scheme, stamp, f"{day}/{region}/{service}/{end}", digest])
        secret = ("AWS4" + self.secrets[access]).encode()
        for part in (day, region, service, end, text):
            secret = hmac.digest(secret, part.encode(), "sha256")
        return "" if hmac.compare_digest(secret.hex(), parts["Signature"]) else "signature"

    def heads(self):
        return [one for one in self.requests if one["method"] == "HEAD"]


def in_region(region):
    """Behave like S3 in another region: point to it whoever signs for a wrong one."""

    def misbehave(request):
        signed = request["headers"].get("Authorization", "")
        if f"/{region}/s3/" not in signed:
            return 301, {"x-amz-bucket-region": region}, b""
        return None

    return misbehave


def always(status, headers=None, body=b""):
    return lambda request: (status, headers or {}, body)


def error_body(code, message=""):
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture(scope="module", autouse=True)
def moto():
    """Run a simulated AWS for all tests of this file."""
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Point the usual AWS configuration at nothing but what a test names."""
    point_at("http://127.0.0.1:1", monkeypatch, tmp_path, service="S3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(heads_module, "_FIRST_WAIT", 0.001)


@pytest.fixture
def fresh(environment, monkeypatch):
    """Let boto3 look for credentials and configuration again, as a new process would."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def fake(environment, monkeypatch):
    """Return a strict S3, to which the configuration points."""
    made = FakeS3()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
    yield made
    made.stop()


@pytest.fixture
def client(moto, environment, monkeypatch):
    """Return a client of the simulator, whose bucket ``data`` is empty and versioned."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    made = boto3.client("s3")
    reset(moto)
    made.create_bucket(Bucket="data")
    made.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    return made


def aws(**settings):
    return Aws(**({"attempts": 1, "seconds": 5.0} | settings))


def heads(**settings):
    lean = settings.pop("lean", True)
    terms = {name: settings.pop(name) for name in ("owner", "requester_pays") if name in settings}
    return Heads(aws(**settings), Bucket(name="bkt", **terms), lean=lean)


def files(count_or_paths, size=3):
    paths = (
        [f"{number:06}.bin" for number in range(count_or_paths)]
        if isinstance(count_or_paths, int)
        else count_or_paths
    )
    return Manifest.of(FileRecord(path=path, size=size, sha256=Digest.of(b"abc")) for path in paths)


def scope_of(uri, manifest=None, *, using=None, context=None, **settings):
    subject = SubjectUri.parse(uri)
    snapshot = Snapshot(subject, manifest, LocalStore()) if manifest else take_snapshot(subject)
    return Scope(
        settings=Settings(**settings),
        snapshot=snapshot,
        context=context or Context(),
        aws=using or aws(),
        now=NOW,
    )


def ask(scope, *ids):
    """Return the answers to some questions: outcome and check by short id."""
    chosen = tuple(f"encryption.s3_{one}" for one in ids)
    settings = dataclasses.replace(scope.settings, checks=chosen)
    return list(AREA.examine(dataclasses.replace(scope, settings=settings)))


def outcome(scope, *ids):
    checks = ask(scope, *ids)
    return checks[0].outcome.value if len(checks) == 1 else [c.outcome.value for c in checks]


# ---------------------------------------------------------------- the template and its signature


@pytest.mark.parametrize("lean", [True, False])
def test_a_key_with_any_character_is_asked_for_with_a_right_signature(fake, lean):
    asking = heads(lean=lean)
    for key in ODD_KEYS:
        fake.put(key)
        assert asking.ask(key) == Head(mode="SSE-S3", size=3, etag='"e"'), key
        assert fake.requests[-1]["key"] == key


def test_the_lean_client_sends_what_boto3_sends(fresh, fake, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token+/=")
    fake.tokens["AKIATEST"] = "token+/="
    fake.objects["bkt", "k", "v/1+ü"] = {"Content-Length": "3"}
    sent = []
    for lean in (True, False):
        terms = {"owner": "111122223333", "requester_pays": True}
        answer = heads(lean=lean, **terms).ask("k", "v/1+ü", checksum=True)
        assert answer == Head(mode="none", size=3)
        sent.append(fake.requests.pop())
    varying = {
        "authorization",
        "x-amz-date",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "user-agent",
    }
    lean, boto = (
        {n.lower(): v for n, v in one["headers"].items() if n.lower() not in varying}
        for one in sent
    )
    assert lean == boto
    assert lean["x-amz-expected-bucket-owner"] == "111122223333"
    assert lean["x-amz-request-payer"] == "requester"
    assert lean["x-amz-checksum-mode"] == "ENABLED"
    assert sent[0]["query"].lower() == sent[1]["query"].lower()


def test_the_signer_agrees_with_botocore_on_everything_that_varies(monkeypatch):
    from botocore import auth as botocore_auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    moment = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)
    monkeypatch.setattr(botocore_auth, "get_current_datetime", lambda: moment)
    given = {"User-Agent": "x", "x-amz-checksum-mode": "ENABLED", "X-Amz-Thing": " a   b "}
    for token, host, query in itertools.product(
        [None, "t+/="], ["bkt.example.test", "[::1]:9000"], ["", "versionId=a%2Fb%2Bc"]
    ):
        signer = Signer(host, "eu-west-1", given)
        url = f"http://{host}/a%20b/%C3%BC//c" + (f"?{query}" if query else "")
        request = AWSRequest("HEAD", url, headers=given)
        credentials = ReadOnlyCredentials("AK", SECRET, token)
        botocore_auth.S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
        identity = Identity("AK", SECRET, token)
        for _ in range(2):  # the second time with the key of the day
            ours = signer.sign("HEAD", "/a%20b/%C3%BC//c", query, identity, moment.timestamp())
            assert ours["Authorization"] == request.headers["Authorization"]
        assert SECRET not in repr(identity) + repr(signer)


def test_the_key_of_a_day_is_not_used_on_another_or_for_others():
    signer, identity = Signer("h", "r", {}), Identity("AK", "s", None)

    def sign(seconds, who):
        return signer.sign("HEAD", "/", "", who, seconds)["Authorization"]

    def alone(seconds, who):
        return Signer("h", "r", {}).sign("HEAD", "/", "", who, seconds)["Authorization"]

    for seconds, who in ((0, identity), (86_400, identity), (86_400, Identity("AK", "z", None))):
        assert sign(seconds, who) == alone(seconds, who)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://b.S3.example:443/", "b.s3.example"),
        ("http://example:80/", "example"),
        ("http://example:443/", "example:443"),
        ("https://[::1]:9000/b/", "[::1]:9000"),
        ("https://[::1]/b/", "[::1]"),
    ],
)
def test_the_host_is_signed_as_it_is_sent(url, host):
    assert heads_module._host_header(url) == host


def test_the_marker_is_never_sent(fake):
    fake.put("k")
    asking = heads()
    for _ in range(3):
        asking.ask("k")
    assert {one["key"] for one in fake.requests} == {"k"}


def test_virtual_hosted_addresses_are_used_where_they_are_configured(
    fresh, fake, monkeypatch, tmp_path
):
    real = socket.getaddrinfo

    def resolve(host, *args, **more):
        return real("127.0.0.1" if str(host).endswith("s3.test") else host, *args, **more)

    (tmp_path / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://s3.test:{fake.port}")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    fake.virtual_host = f"s3.test:{fake.port}"
    asking = heads()
    for key in ODD_KEYS:
        fake.put(key)
        assert isinstance(asking.ask(key), Head), key
    assert fake.requests[0]["headers"]["Host"] == f"bkt.s3.test:{fake.port}"


def test_the_general_endpoint_variable_counts_too(fake, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", fake.url)
    fake.put("k")
    assert isinstance(heads().ask("k"), Head)


def test_credentials_are_renewed_while_objects_are_asked(fresh, fake, monkeypatch, tmp_path):
    script = tmp_path / "credentials.sh"
    script.write_text(
        f"""#!/bin/sh
n=$(cat {tmp_path}/n 2>/dev/null || echo 0); n=$((n+1)); echo $n > {tmp_path}/n
end=$(date -u -d '+2 minutes' +%Y-%m-%dT%H:%M:%SZ)
echo '{{"Version":1,"AccessKeyId":"AK'$n'","SecretAccessKey":"s'$n'",
"SessionToken":"t'$n'","Expiration":"'$end'"}}'
"""
    )
    script.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fake.secrets = {f"AK{n}": f"s{n}" for n in range(50)}
    fake.tokens = {f"AK{n}": f"t{n}" for n in range(50)}
    fake.put("k")
    asking = heads()
    assert [type(asking.ask("k")) for _ in range(3)] == [Head] * 3
    used = [one["headers"]["Authorization"].split("/")[0] for one in fake.requests]
    assert len(set(used)) == 3


def test_a_wrong_secret_is_noticed_by_the_strict_server(fake):
    fake.put("k")
    fake.secrets["AKIATEST"] = "another"
    answer = heads().ask("k")
    assert isinstance(answer, Miss)
    assert answer.denied
    assert "s3:GetObject" in answer.reason


def test_stubbed_clients_are_asked_through_boto3(environment):
    using = aws()
    with Stubber(using.client("s3")) as stub:
        answer = {
            "ContentLength": 3,
            "ResponseMetadata": {
                "HTTPStatusCode": 200,
                "HTTPHeaders": {"content-length": "3", "x-amz-server-side-encryption": "aws:kms"},
            },
        }
        stub.add_response("head_object", answer, {"Bucket": "bkt", "Key": "k"})
        assert Heads(using, Bucket(name="bkt")).ask("k") == Head(mode="SSE-KMS", size=3)


def test_without_credentials_nothing_is_sent_and_nothing_known(fresh, fake, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    answer = heads().ask("k")
    assert isinstance(answer, Miss)
    assert "no AWS credentials" in answer.reason
    assert fake.requests == []


# ---------------------------------------------------------------- servers that misbehave


@pytest.mark.parametrize("lean", [True, False])
def test_a_redirect_to_another_region_is_followed_once_and_signed_anew(fake, lean):
    fake.region = "eu-central-1"
    fake.misbehave = in_region("eu-central-1")
    for key in ("a", "b", "c"):
        fake.put(key)
    asking = heads(lean=lean, attempts=3)
    assert [asking.ask(key).mode for key in "abc"] == ["SSE-S3"] * 3
    if lean:
        assert [one["key"] for one in fake.requests] == ["a", "a", "b", "c"]


def test_a_server_that_redirects_in_circles_is_not_followed(fake):
    regions = itertools.cycle(["eu-central-1", "eu-west-1", "ap-south-1"])
    fake.misbehave = lambda request: (301, {"x-amz-bucket-region": next(regions)}, b"")
    asking = heads()
    assert all(isinstance(asking.ask(key), Miss) for key in "abcde")
    assert len(fake.requests) == 6


@pytest.mark.parametrize("region", ["", "evil.example/", "us-east-1", "a" * 500])
def test_a_redirect_without_a_usable_region_is_unknown(fake, region):
    fake.misbehave = always(307, {"x-amz-bucket-region": region, "Location": "http://127.0.0.1:1"})
    assert heads().ask("k") == Miss("s3.head_object: the service answered 307")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_throttling_that_passes_is_waited_for(fake, status):
    fake.put("k")
    fake.misbehave = lambda request: (status, {}, b"") if request["number"] < 5 else None
    assert heads().ask("k").mode == "SSE-S3"
    assert len(fake.requests) == 5


def test_throttling_that_stays_is_unknown(fake):
    fake.misbehave = always(503)
    answer = heads().ask("k")
    assert answer == Miss("s3.head_object: the service did not answer in time (503)", dead=True)
    assert len(fake.requests) == 10


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (204, {}),
        (206, {"Content-Length": "3"}),
        (304, {}),
        (401, {}),
        (404, {}),
        (405, {}),
        (412, {}),
        (418, {}),
        (501, {}),
        (200, {"Content-Length": "3, 3"}),
        (200, {"Content-Length": "x"}),
    ],
)
def test_what_is_not_a_clear_answer_is_none(fake, status, headers):
    fake.misbehave = always(status, {"x-amz-server-side-encryption": "AES256"} | headers)
    assert isinstance(heads().ask("k"), Miss)


def test_a_server_that_is_silent_is_given_up(fake):
    fake.misbehave = lambda request: time.sleep(2) or (200, {}, b"")
    started = time.monotonic()
    answer = heads(seconds=0.2).ask("k")
    assert isinstance(answer, Miss)
    assert answer.dead
    assert time.monotonic() - started < 3


def test_a_server_that_hangs_up_is_given_up(fake):
    fake.misbehave = lambda request: "hang-up"
    answer = heads().ask("k")
    assert isinstance(answer, Miss)
    assert answer.dead


def test_a_closed_port_makes_everything_unknown_quickly(environment):
    scope = scope_of("s3://bkt/set", files(5000))
    started = time.monotonic()
    (check,) = ask(scope, "object_mode")
    assert check.outcome is Outcome.UNKNOWN
    assert "5000" in check.reason or "stopped answering" in check.reason
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_storm_of_throttling_ends_without_asking_everything(fake):
    fake.misbehave = always(503)
    (check,) = ask(scope_of("s3://bkt/set", files(100_000)), "object_mode")
    assert check.outcome is Outcome.UNKNOWN
    assert "did not answer in time (503)" in check.reason
    assert "stopped answering" in check.reason
    assert len(fake.requests) < 2000


def test_one_object_in_three_throttled_is_no_storm(fake):
    for one in files(300).files:
        fake.put(f"set/{one.path}")
    fake.misbehave = lambda request: (503, {}, b"") if request["number"] % 3 == 0 else None
    assert outcome(scope_of("s3://bkt/set", files(300)), "object_mode") == "passed"


def test_a_bucket_deleted_half_way_is_never_passed(fake):
    for one in files(200).files:
        fake.put(f"set/{one.path}")
    fake.misbehave = lambda request: (404, {}, b"") if request["number"] > 100 else None
    (check,) = ask(scope_of("s3://bkt/set", files(200)), "object_mode")
    assert check.outcome is Outcome.UNKNOWN
    assert check.reason.startswith("100 of 200 objects: s3.head_object: the object or its bucket")


def test_a_server_that_drips_holds_nobody(fake, monkeypatch):
    def drip(request):
        handler = request["handler"]
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)
        return "hang-up"

    fake.misbehave = drip
    short = functools.partial(Limits, floor_seconds=1.0)
    monkeypatch.setattr(by_head_module, "Limits", short)
    started = time.monotonic()
    (check,) = ask(scope_of("s3://bkt/set", files(70)), "object_mode")
    assert check.outcome is Outcome.UNKNOWN
    assert "70 of 70" in check.reason
    assert time.monotonic() - started < 5


def test_mistakes_in_a_thread_reach_the_caller_and_end_the_others():
    asked = []

    def one(at):
        asked.append(at)
        if at == 5:
            raise ZeroDivisionError
        time.sleep(0.001)
        return at

    with pytest.raises(ZeroDivisionError):
        gather(one, 10_000, dead=lambda _: False, limits=Limits(threads=4))
    assert len(asked) < 5000


def test_answers_come_in_the_order_of_the_questions():
    told = []
    answers, _ = gather(
        lambda at: time.sleep(0.001 * (at % 3)) or at,
        500,
        dead=lambda _: False,
        limits=Limits(threads=16),
        progress=lambda *what: told.append(what),
    )
    assert answers == list(range(500))
    assert gather(lambda at: at, 0, dead=lambda _: False, limits=Limits())[0] == []
    assert all(total == 500 for _, _, total in told)


def test_only_silence_without_a_break_counts_as_an_end():
    limits = Limits(threads=1, dead_in_a_row=3)
    answers, _ = gather(lambda at: at % 3, 900, dead=lambda one: one > 0, limits=limits)
    assert None not in answers
    answers, why = gather(lambda at: at > 9, 900, dead=bool, limits=limits)
    assert answers == [False] * 10 + [True] * 3 + [None] * 887
    assert "stopped answering" in why


def test_a_call_that_hangs_is_left_behind():
    assert bounded(lambda: time.sleep(5), 0.3) is None
    assert bounded(lambda: 7, 5.0) == 7


@pytest.mark.slow
def test_a_hundred_thousand_objects_of_which_one_is_bad(fake):
    manifest = files(100_000)
    fake.misbehave = lambda request: (
        200,
        {"Content-Length": "3"}
        | ({} if "054321" in request["key"] else {"x-amz-server-side-encryption": "AES256"}),
        b"",
    )
    scope = scope_of("s3://bkt/set", manifest)
    (check,) = ask(scope, "object_mode")
    assert check.findings[0].files == ("054321.bin",)
    assert scope.tables["objects"][0]["path"] == "054321.bin"
    assert scope.metrics["objects_not_in_table"] == 99_000


# ---------------------------------------------------------------- SSE-C and other bad requests


CUSTOMER_KEY = error_body(
    "InvalidRequest",
    "The object was stored using a form of Server Side Encryption. The correct parameters "
    "must be provided to retrieve the object.",
)


@pytest.mark.parametrize("lean", [True, False])
def test_an_object_under_a_customers_key_is_judged_by_the_modes(fake, lean):
    fake.misbehave = always(400, body=CUSTOMER_KEY)
    assert heads(lean=lean).ask("k") == Head(mode="SSE-C")
    manifest = files(3)
    assert outcome(scope_of("s3://bkt/set", manifest), "object_mode") == "failed"
    wanted = scope_of("s3://bkt/set", manifest, modes=("SSE-C",))
    assert outcome(wanted, "object_mode") == "passed"
    for question in ("object_version", "object_checksum", "object_lock"):
        assert outcome(wanted, question) == "unknown"


@pytest.mark.parametrize(
    "body",
    [
        error_body("ExpiredToken", "The provided token has expired."),
        error_body("InvalidRequest", "Requests specifying Server Side Encryption with AWS KMS"),
        error_body("BadDigest", "stored using a form of Server Side Encryption"),
        error_body("", ""),
        b"",
        b"<not xml",
    ],
)
def test_other_bad_requests_are_not_taken_for_a_customers_key(fake, body):
    fake.misbehave = always(400, body=body)
    assert isinstance(heads().ask("k"), Miss)
    scope = scope_of("s3://bkt/set", files(2), modes=("SSE-C", "SSE-S3"))
    assert outcome(scope, "object_mode") == "unknown"


def test_a_bad_request_that_a_get_does_not_repeat_is_unknown(fake):
    fake.misbehave = lambda r: (400, {}, b"") if r["method"] == "HEAD" else (206, {}, b"a")
    assert isinstance(heads().ask("k"), Miss)
    assert fake.requests[-1]["headers"]["Range"] == "bytes=0-0"


# ---------------------------------------------------------------- modes


MODE_HEADERS = {
    "AES256": "SSE-S3",
    "aws:kms": "SSE-KMS",
    "aws:kms:dsse": "DSSE-KMS",
}


@pytest.mark.parametrize("value", MODE_HEADERS)
def test_each_wanted_mode_passes_and_fails_when_it_is_not_wanted(fake, value):
    fake.put("set/000000.bin", **{"x-amz-server-side-encryption": value})
    manifest, mode = files(1), MODE_HEADERS[value]
    assert outcome(scope_of("s3://bkt/set/", manifest, modes=(mode,)), "object_mode") == "passed"
    others = tuple(one for one in MODE_HEADERS.values() if one != mode)
    assert outcome(scope_of("s3://bkt/set", manifest, modes=others), "object_mode") == "failed"


@pytest.mark.parametrize("value", ["aws:fsx", "aws:backup", "aes256", "AES256, aws:kms", "none"])
def test_a_mode_that_is_not_listed_fails_whatever_is_wanted(fake, value):
    fake.put("set/000000.bin", **{"x-amz-server-side-encryption": value})
    wanted = ("SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C")
    assert outcome(scope_of("s3://bkt/set", files(1), modes=wanted), "object_mode") == "failed"


def test_a_store_that_names_no_mode_fails(fake):
    fake.put("set/000000.bin", ETag='"e"')
    (check,) = ask(scope_of("s3://bkt/set", files(1)), "object_mode")
    assert check.findings[0].message == (
        "1 object: the store names no encryption, expected SSE-S3 or SSE-KMS or DSSE-KMS"
    )


def test_faults_are_grouped_by_mode_and_key_and_name_all_files(fake):
    manifest = files(["a", "b", "c", "d", "e"])
    for path, (mode, key) in {
        "a": ("AES256", None),
        "b": ("AES256", None),
        "c": ("aws:kms", KEY_A),
        "d": ("aws:kms", KEY_B),
        "e": ("aws:kms:dsse", KEY_A),
    }.items():
        fake.put(f"set/{path}", **{"x-amz-server-side-encryption": mode})
        if key:
            fake.objects["bkt", f"set/{path}"]["x-amz-server-side-encryption-aws-kms-key-id"] = key
    scope = scope_of("s3://bkt/set", manifest, modes=("DSSE-KMS",))
    (check,) = ask(scope, "object_mode")
    assert [(one.files, one.evidence["kms_key"]) for one in check.findings] == [
        (("a", "b"), None),
        (("c",), KEY_A),
        (("d",), KEY_B),
    ]
    assert [one.evidence["objects"] for one in check.findings] == [2, 1, 1]
    assert [row["answer"] for row in scope.tables["objects"]] == ["failed"] * 4 + ["no fault"]
    assert scope.metrics["objects_failed"] == 4


def test_a_fault_does_not_hide_that_another_object_was_not_seen(fake):
    fake.put("set/a", ETag="x")
    fake.put("set/b")
    checks = ask(scope_of("s3://bkt/set", files(["a", "b", "gone"])), "object_mode")
    assert [check.outcome.value for check in checks] == ["failed", "unknown"]
    assert checks[0].findings[0].files == ("a",)
    assert checks[1].reason.startswith("1 of 3 objects: ")


def test_access_denied_is_unknown_and_names_the_action(fake):
    fake.misbehave = always(403)
    (check,) = ask(scope_of("s3://bkt/set", files(2), owner="111122223333"), "object_mode")
    assert check.outcome is Outcome.UNKNOWN
    assert "access denied (403)" in check.reason
    assert "s3:GetObject" in check.reason
    assert "111122223333" in check.reason


def test_an_endpoint_without_the_call_is_unknown(fake):
    fake.misbehave = always(501)
    everything = ask(scope_of("s3://bkt/set", files(2), kms_keys=(KEY_A,)), "*")
    assert {check.outcome for check in everything} == {Outcome.UNKNOWN}
    assert {check.id for check in everything} >= {
        one.id for one in QUESTIONS if one.id != "encryption.s3_object_sample"
    }


def test_reports_are_the_same_whatever_answers_first(fake):
    manifest = files(120)
    for number, one in enumerate(manifest.files):
        fake.put(f"set/{one.path}", **({"ETag": "x"} if number % 3 else {}))
    fake.misbehave = lambda request: time.sleep(0.002 * (request["number"] % 3)) or None
    reports = []
    for _ in range(2):
        scope = scope_of("s3://bkt/set", manifest)
        checks = ask(scope, "object_*")
        reports.append(json.dumps([[c.to_json() for c in checks], scope.tables, scope.metrics]))
    assert reports[0] == reports[1]
    assert SECRET not in reports[0]


# ---------------------------------------------------------------- the object of the snapshot


def test_a_size_that_differs_stops_the_run(fake):
    fake.put("set/a", size=4)
    with pytest.raises(SubjectChangedError, match="expected 3 bytes, S3 says 4"):
        ask(scope_of("s3://bkt/set", files(["a"])), "object_mode")


def test_the_checksum_that_s3_keeps_must_be_that_of_the_snapshot(fake):
    def keep(value, kind):
        fake.put("set/a", **{"x-amz-checksum-sha256": value, "x-amz-checksum-type": kind})
        return outcome(scope_of("s3://bkt/set", files(["a"])), "object_checksum")

    right = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"abd").digest()).decode()
    assert keep(right, "FULL_OBJECT") == "passed"
    assert keep(right, "") == "passed"
    assert keep(wrong + "-2", "COMPOSITE") == "failed"
    assert keep(wrong + "-2", "") == "failed"
    assert keep("AAAA", "FULL_OBJECT") == "failed"
    assert keep("not base64!", "FULL_OBJECT") == "failed"
    with pytest.raises(SubjectChangedError, match="SHA-256"):
        keep(wrong, "FULL_OBJECT")


def test_other_checksums_do_not_answer_for_the_sha256(fake):
    fake.put(
        "set/a",
        **{"x-amz-checksum-crc64nvme": "AAAAAAAAAAA=", "x-amz-checksum-type": "FULL_OBJECT"},
    )
    (check,) = ask(scope_of("s3://bkt/set", files(["a"])), "object_checksum")
    assert "CRC64NVME FULL_OBJECT" in check.findings[0].message
    fake.put("set/a")
    (check,) = ask(scope_of("s3://bkt/set", files(["a"])), "object_checksum")
    assert "kept by S3: none" in check.findings[0].message


def test_checksums_are_left_out_where_the_key_may_not_be_used(fake):
    fake.put("set/a", **{"x-amz-server-side-encryption": "aws:kms"})

    def without_decrypt(request):
        asked = "x-amz-checksum-mode" in request["headers"]
        return (403, {}, b"") if asked else None

    fake.misbehave = without_decrypt
    checks = ask(scope_of("s3://bkt/set", files(["a"])), "object_mode", "object_checksum")
    assert [one.outcome.value for one in checks] == ["passed", "unknown"]
    assert "kms:Decrypt" in checks[1].reason
    fake.requests.clear()
    ask(scope_of("s3://bkt/set", files(["a"])), "object_mode")
    assert not any("x-amz-checksum-mode" in one["headers"] for one in fake.heads())


def test_a_single_object_and_a_folder_of_one_object_of_its_name_are_told_apart(fake):
    fake.put("set/a")
    assert outcome(scope_of("s3://bkt/set/a", files(["a"])), "object_mode") == "passed"
    assert outcome(scope_of("s3://bkt/set", files(["a"])), "object_mode") == "passed"
    fake.put("b/b")
    assert outcome(scope_of("s3://bkt/b", files(["b"])), "object_mode") == "passed"
    fake.put("bkt")
    assert outcome(scope_of("s3://bkt", files(["bkt"])), "object_mode") == "passed"


def test_subjects_elsewhere_are_not_asked_about(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    scope = scope_of(tmp_path)
    assert AREA.resources(scope.settings, scope.snapshot.uri) == {}
    assert list(AREA.examine(scope)) == []


# ---------------------------------------------------------------- keys, versions, locks


def under(fake, path, mode, key):
    headers = {"x-amz-server-side-encryption": mode}
    if key:
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = key
    fake.put(f"set/{path}", **headers)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY_A, "passed"),
        (KEY_A.rpartition("/")[2], "passed"),
        (KEY_B, "failed"),
        (KEY_A.upper(), "failed"),
        (KEY_A + "0", "failed"),
        (KEY_A.replace("111122223333", "999922223333"), "failed"),
        (KEY_A.replace("us-east-1", "eu-west-1"), "failed"),
        ("arn:aws:kms:us-east-1:111122223333:alias/team", "unknown"),
        ("alias/team", "unknown"),
        (None, "unknown"),
    ],
)
@pytest.mark.parametrize("mode", ["aws:kms", "aws:kms:dsse"])
def test_keys_are_compared_by_their_whole_arn(fake, mode, key, expected):
    under(fake, "a", mode, key)
    scope = scope_of("s3://bkt/set", files(["a"]), kms_keys=(KEY_A,))
    assert outcome(scope, "object_key") == expected


def test_a_wanted_alias_is_followed_to_its_key(fake, moto, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", moto)
    kms = boto3.client("kms")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/team", TargetKeyId=key["KeyId"])
    alias = key["Arn"].replace(f"key/{key['KeyId']}", "alias/team")
    under(fake, "a", "aws:kms", key["Arn"])
    under(fake, "b", "aws:kms", KEY_B)
    only_a = scope_of("s3://bkt/set", files(["a"]), kms_keys=(alias,))
    both = scope_of("s3://bkt/set", files(["a", "b"]), kms_keys=(alias,))
    assert outcome(only_a, "object_key") == "passed"
    assert outcome(both, "object_key") == "failed"
    gone = scope_of("s3://bkt/set", files(["a"]), kms_keys=(alias + "2",))
    assert outcome(gone, "object_key") == "unknown"


def test_keys_are_asked_about_only_if_some_are_wanted(fake):
    under(fake, "a", "AES256", None)
    assert ask(scope_of("s3://bkt/set", files(["a"])), "object_key") == []
    wanted = scope_of("s3://bkt/set", files(["a"]), kms_keys=(KEY_A,))
    (check,) = ask(wanted, "object_key")
    assert check.outcome is Outcome.UNKNOWN
    assert "modes" in check.reason


def test_objects_without_a_kms_key_are_left_to_the_question_for_the_mode(fake):
    under(fake, "a", "AES256", None)
    under(fake, "b", "aws:kms", KEY_A)
    assert outcome(
        scope_of("s3://bkt/set", files(["a", "b"]), kms_keys=(KEY_A,)), "object_key"
    ) == ("passed")


def test_bucket_keys_are_asked_about_where_they_may_be_used(fake):
    under(fake, "a", "AES256", None)
    assert ask(scope_of("s3://bkt/set", files(["a"])), "object_bucket_key") == []
    under(fake, "a", "aws:kms:dsse", KEY_A)
    assert ask(scope_of("s3://bkt/set", files(["a"])), "object_bucket_key") == []
    under(fake, "a", "aws:kms", KEY_A)
    assert outcome(scope_of("s3://bkt/set", files(["a"])), "object_bucket_key") == "failed"
    name = "x-amz-server-side-encryption-bucket-key-enabled"
    fake.objects["bkt", "set/a"][name] = "true"
    assert outcome(scope_of("s3://bkt/set", files(["a"])), "object_bucket_key") == "passed"


@pytest.mark.parametrize(
    ("version", "expected"), [("v1", "passed"), ("null", "failed"), ("", "failed")]
)
def test_an_object_without_a_version_id_of_its_own_fails(fake, version, expected):
    fake.put("set/a", **{"x-amz-version-id": version})
    assert outcome(scope_of("s3://bkt/set", files(["a"])), "object_version") == expected


def test_locks_hold_until_a_moment_in_the_future():
    judged = lock_fault(NOW, None)

    def lock(**facts):
        return judged(Head(mode="SSE-S3", size=1, **facts))

    later, earlier = "2026-11-23T12:00:01Z", "2026-11-23T12:00:00Z"
    assert lock(lock_mode="COMPLIANCE", lock_until=later) is None
    assert lock(lock_mode="GOVERNANCE", lock_until=later) is None
    assert lock(legal_hold=True) is None
    assert "ended" in lock(lock_mode="COMPLIANCE", lock_until=earlier).words
    assert "not known" in lock(lock_mode="RELAXED", lock_until=later).words
    assert lock().words == "not locked"
    assert isinstance(lock(lock_mode="COMPLIANCE", lock_until="soon"), Miss)
    assert isinstance(lock(lock_mode="COMPLIANCE"), Miss)
    assert lock_fault(NOW, Miss("hidden"))(Head(mode="x", size=1)) == Miss("hidden")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, error_body("NoSuchObjectLockConfiguration"), "failed"),
        (
            400,
            error_body("InvalidRequest", "Bucket is missing Object Lock Configuration"),
            "failed",
        ),
        (403, error_body("AccessDenied"), "unknown"),
        (501, error_body("NotImplemented"), "unknown"),
        (503, error_body("SlowDown"), "unknown"),
    ],
)
def test_an_absent_lock_counts_only_if_it_would_have_been_shown(fake, status, body, expected):
    fake.put("set/a")
    fake.misbehave = lambda r: (status, {}, body) if "retention" in r["query"] else None
    (check,) = ask(scope_of("s3://bkt/set", files(["a"])), "object_lock")
    assert check.outcome.value == expected
    if status == 403:
        assert "s3:GetObjectRetention" in check.reason


def test_judging_nothing_answers_nothing():
    assert judge(MODE, "t", [], mode_fault(Settings())) == []
    fault = key_fault(WantedKeys(frozenset({KEY_A})))
    seen = [Seen("a", Miss("r")), Seen("b", Miss("r")), Seen("c", Miss("q"))]
    (check,) = judge(KEY, "t", seen, fault)
    assert check.reason == "2 of 3 objects: r; 1 of 3 objects: q"
    many = [Seen(str(n), Miss(f"r{n}")) for n in range(9)]
    assert judge(KEY, "t", many, fault)[0].reason.endswith("; and 6 other reasons")


# ---------------------------------------------------------------- samples


def smallest(population, share):
    """Return the sample size by exact integers."""
    bad = next(b for b in range(1, population + 1) if b >= share * population - 1e-9)
    for count in range(population + 1):
        if comb(population - bad, count) * 100 <= comb(population, count):
            return count
    raise AssertionError


@pytest.mark.parametrize("population", [1, 2, 10, 30, 99, 100, 101, 700])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.07, 0.3, 0.5, 1.0])
def test_samples_are_the_smallest_that_do(population, share):
    assert sample_size(population, share) == smallest(population, share)


def test_samples_of_large_subjects_come_near_the_known_bound():
    assert sample_size(10**7, 0.001) == pytest.approx(4603, abs=5)
    assert sample_size(100_000, 0.001) < 4603
    assert sample_size(10**7, 0.01) == pytest.approx(459, abs=1)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigurationError):
        sample_size(10, share)


def test_draws_are_repeatable_spread_and_differ_between_subjects():
    manifest, other = files(2000), files(2001)
    first = draw(manifest, 400)
    assert first == draw(manifest, 400)
    assert len({one.path for one in first}) == 400
    assert [one.path for one in first] == sorted(one.path for one in first)
    assert {one.path for one in first} != {one.path for one in draw(other, 400)}
    halves = Counter(one.path < "001000" for one in first)
    assert 140 < halves[True] < 260
    assert draw(manifest, 5000) == manifest.files


def test_a_clean_sample_answers_for_the_share_and_not_for_each_object(fake):
    manifest = files(600)
    for one in manifest.files:
        fake.put(f"set/{one.path}")
    scope = scope_of("s3://bkt/set", manifest, sample=0.05)
    checks = {check.id: check for check in ask(scope, "object_mode", "object_sample")}
    assert checks["encryption.s3_object_sample"].outcome is Outcome.PASSED
    mode = checks["encryption.s3_object_mode"]
    assert mode.outcome is Outcome.UNKNOWN
    asked = sample_size(600, 0.05)
    assert f"only {asked} of 600 objects" in mode.reason
    assert len(fake.heads()) == asked


def test_a_bad_one_in_the_sample_fails_both_and_clears_no_other(fake):
    manifest = files(600)
    for one in manifest.files:
        fake.put(f"set/{one.path}", ETag="x")
    checks = ask(scope_of("s3://bkt/set", manifest, sample=0.05), "object_mode", "object_sample")
    assert [check.outcome.value for check in checks] == ["failed", "unknown", "failed"]


def test_an_unseen_one_in_the_sample_leaves_the_share_unknown(fake):
    manifest = files(600)
    fake.misbehave = always(403)
    checks = ask(scope_of("s3://bkt/set", manifest, sample=0.05), "object_mode", "object_sample")
    assert [check.outcome.value for check in checks] == ["unknown", "unknown"]


def test_few_objects_are_all_asked_although_a_sample_was_wanted(fake):
    manifest = files(20)
    for one in manifest.files:
        fake.put(f"set/{one.path}")
    scope = scope_of("s3://bkt/set", manifest, sample=0.001)
    assert outcome(scope, "object_mode", "object_sample") == ["passed", "passed"]


def test_a_wrong_key_in_the_sample_is_bad_too(fake):
    under(fake, "a", "aws:kms", KEY_B)
    scope = scope_of("s3://bkt/set", files(["a"]), sample=0.1, kms_keys=(KEY_A,))
    assert outcome(scope, "object_sample") == "failed"


# ---------------------------------------------------------------- the simulator: honest paths


def put(client, key, body=b"abc", **more):
    return client.put_object(Bucket="data", Key=key, Body=body, **more)


def test_a_new_default_does_not_encrypt_what_is_there(client):
    put(client, "set/old.csv")
    client.put_bucket_encryption(
        Bucket="data",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    put(client, "set/new.csv")
    put(client, "other/plain.csv", ServerSideEncryption="aws:kms", SSEKMSKeyId=KEY_A)
    (check,) = ask(scope_of("s3://data/set"), "object_mode")
    assert check.findings[0].files == ("old.csv",)
    assert outcome(scope_of("s3://data/set/new.csv"), "object_mode") == "passed"
    keyed = scope_of("s3://data/other", kms_keys=(KEY_A,))
    assert outcome(keyed, "object_mode", "object_key") == ["passed", "passed"]


def test_version_and_etag_are_kept_as_evidence(client):
    made = put(client, "set/a", ServerSideEncryption="AES256")
    scope = scope_of("s3://data/set")
    assert outcome(scope, "object_mode", "object_version") == ["passed", "passed"]
    assert scope.tables["objects"] == [
        {
            "path": "a",
            "answer": "no fault",
            "mode": "SSE-S3",
            "kms_key": None,
            "version": made["VersionId"],
            "etag": made["ETag"],
        }
    ]


def test_old_versions_are_judged_by_their_ids(client):
    put(client, "set/a", ServerSideEncryption="AES256")
    put(client, "set/a", ServerSideEncryption="AES256")
    assert outcome(scope_of("s3://data/set"), "old_versions") == "passed"
    put(client, "set/b")
    put(client, "set/b", ServerSideEncryption="AES256")
    put(client, "set2/c")
    put(client, "set2/c", ServerSideEncryption="AES256")
    (check,) = ask(scope_of("s3://data/set"), "old_versions")
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].evidence["objects"] == 1
    assert check.findings[0].files == ()
    assert outcome(scope_of("s3://data/set"), "object_mode") == "passed"


def test_of_a_single_object_only_its_own_old_versions_count(client):
    put(client, "set/a.csv.bak")
    put(client, "set/a.csv.bak", ServerSideEncryption="AES256")
    put(client, "set/a.csv", ServerSideEncryption="AES256")
    assert outcome(scope_of("s3://data/set/a.csv"), "old_versions") == "passed"
    client.delete_object(Bucket="data", Key="set/a.csv.bak")
    put(client, "set/a.csv")
    put(client, "set/a.csv", ServerSideEncryption="AES256")
    assert outcome(scope_of("s3://data/set/a.csv"), "old_versions") == "failed"


def test_a_bucket_without_old_versions_passes(client):
    put(client, "set/a", ServerSideEncryption="AES256")
    assert outcome(scope_of("s3://data/set"), "old_versions") == "passed"


def test_more_old_versions_than_are_asked_are_unknown(client, monkeypatch):
    for _ in range(5):
        put(client, "set/a", ServerSideEncryption="AES256")
    monkeypatch.setattr(history_module, "_MOST_HEADS", 3)
    (check,) = ask(scope_of("s3://data/set"), "old_versions")
    assert check.outcome is Outcome.UNKNOWN
    assert "asked 3 of 4 old versions" in check.reason
    monkeypatch.setattr(history_module, "_MOST_HEADS", 4)
    assert outcome(scope_of("s3://data/set"), "old_versions") == "passed"
    monkeypatch.setattr(history_module, "_MOST_PAGES", 0)
    assert outcome(scope_of("s3://data/set"), "old_versions") == "unknown"


def test_unfinished_uploads_of_the_prefix_are_found_if_they_are_old(client):
    put(client, "set/a", ServerSideEncryption="AES256")
    client.create_multipart_upload(Bucket="data", Key="set2/x")
    assert outcome(scope_of("s3://data/set"), "incomplete_uploads") == "passed"
    client.create_multipart_upload(Bucket="data", Key="set/x")
    (check,) = ask(scope_of("s3://data/set"), "incomplete_uploads")
    assert check.findings[0].evidence["keys"] == ["set/x"]
    assert check.findings[0].evidence["uploads"] == 1


@pytest.mark.parametrize(("days", "expected"), [(6.99, "passed"), (7.01, "failed")])
def test_uploads_that_may_still_be_under_way_are_let_be(fake, days, expected):
    began = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = (
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>set/x</Key>"
        f"<UploadId>u</UploadId><Initiated>{began}</Initiated></Upload>"
        "</ListMultipartUploadsResult>"
    ).encode()
    fake.misbehave = always(200, body=body)
    assert outcome(scope_of("s3://bkt/set", files(["a"])), "incomplete_uploads") == expected


@pytest.mark.parametrize(
    ("question", "action"),
    [
        ("old_versions", "s3:ListBucketVersions"),
        ("incomplete_uploads", "s3:ListBucketMultipartUploads"),
    ],
)
def test_listings_that_are_denied_are_unknown(fake, question, action):
    fake.misbehave = always(403, body=error_body("AccessDenied"))
    (check,) = ask(scope_of("s3://bkt/set", files(["a"])), question)
    assert check.outcome is Outcome.UNKNOWN
    assert action in check.reason


def test_an_old_version_that_may_not_be_asked_is_unknown(client, monkeypatch):
    put(client, "set/a", ServerSideEncryption="AES256")
    put(client, "set/a", ServerSideEncryption="AES256")

    def denied(self, key, version=None, **_):
        return heads_module._miss(403, self.bucket, version)

    monkeypatch.setattr(Heads, "ask", denied)
    (check,) = ask(scope_of("s3://data/set"), "old_versions")
    assert check.outcome is Outcome.UNKNOWN
    assert "s3:GetObjectVersion" in check.reason


# ---------------------------------------------------------------- everybody


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "failed"),
        (206, "failed"),
        (416, "failed"),
        (401, "passed"),
        (403, "passed"),
        (400, "unknown"),
        (404, "unknown"),
        (501, "unknown"),
        (503, "unknown"),
    ],
)
def test_a_request_without_credentials_must_be_refused(fake, status, expected):
    fake.misbehave = always(status, body=b"a" if status < 300 else error_body("Whatever"))
    (check,) = ask(scope_of("s3://bkt/set", files(["a", "b"])), "public_read")
    assert check.outcome.value == expected
    assert check.target == "s3://bkt/set/a"
    assert len(fake.requests) == (1 if expected == "failed" else 2)
    for request in fake.requests:
        assert "Authorization" not in request["headers"]
        assert request["headers"]["Range"] == "bytes=0-0"
        assert request["method"] == "GET"


def test_one_object_that_everybody_may_read_is_found_among_others(fake):
    fake.misbehave = lambda request: (200 if request["key"].endswith("b") else 403, {}, b"")
    (check,) = ask(scope_of("s3://bkt/set", files(["a", "b", "c"])), "public_read")
    assert check.outcome.value == "failed"
    assert check.findings[0].files == ("b",)


def test_nobody_answering_is_not_a_refusal(environment):
    assert outcome(scope_of("s3://bkt/set", files(["a"])), "public_read") == "unknown"


# ---------------------------------------------------------------- the room as a whole


def test_every_wanted_question_is_answered_and_no_other(client):
    put(client, "set/a", ServerSideEncryption="aws:kms", SSEKMSKeyId=KEY_A)
    scope = scope_of("s3://data/set", kms_keys=(KEY_A,), sample=0.1)
    assert {check.id for check in ask(scope, "*")} == {one.id for one in QUESTIONS}
    for question in QUESTIONS:
        short = question.id.removeprefix("encryption.s3_")
        assert {check.id for check in ask(scope, short)} == {question.id}
    settings = dataclasses.replace(scope.settings, skip=("*",))
    assert list(AREA.examine(dataclasses.replace(scope, settings=settings))) == []


def test_resources_are_known_without_any_call():
    found = AREA.resources(Settings(), SubjectUri.parse("s3://bkt/a*b/$c"))
    assert found == {
        "bucket": ("arn:aws:s3:::bkt",),
        "objects": ("arn:aws:s3:::bkt/a${*}b/${$}c", "arn:aws:s3:::bkt/a${*}b/${$}c/*"),
        "key": ("*",),
        "inventory": (),
        "listing": (),
    }
    settings = Settings(inventory="s3://reports/x/bkt/all/2026-11-22T01-00Z", kms_keys=(KEY_A,))
    found = AREA.resources(settings, SubjectUri.parse("s3://bkt"))
    assert found["objects"] == ("arn:aws:s3:::bkt/*",)
    assert found["inventory"] == ("arn:aws:s3:::reports/x/bkt/all/*",)
    assert found["listing"] == ("arn:aws:s3:::bkt",)
    assert found["key"] == (KEY_A,)
    names = {one.on for question in QUESTIONS for one in question.permissions}
    assert names <= set(found)


def test_importing_the_room_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, sluicegate.stages.encryption.s3.objects\n"
        "heavy = {'boto3', 'botocore', 'pyarrow', 'numpy', 'pandas', 'urllib3'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
