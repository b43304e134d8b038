"""A moto server behind a front that can refuse calls, answer in its stead, and count them.

moto is asked wherever it tells the truth. Where it does not (see the checks' ``simulator``),
a test gives the front an answer of the shape that AWS documents.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from urllib.parse import parse_qs
from urllib.request import Request, urlopen
from xml.sax.saxutils import escape

import boto3
import pytest
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from sluicegate.canonical import Digest
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import point_at

ACCOUNT = "123456789012"
"""The account of moto."""
OTHER = "999999999999"
NOW = datetime(2026, 11, 23, tzinfo=UTC)

_S3_CALLS = {
    "acl": "get_bucket_acl",
    "encryption": "get_bucket_encryption",
    "inventory": "list_bucket_inventory_configurations",
    "logging": "get_bucket_logging",
    "object-lock": "get_object_lock_configuration",
    "ownershipControls": "get_bucket_ownership_controls",
    "policy": "get_bucket_policy",
    "policyStatus": "get_bucket_policy_status",
    "publicAccessBlock": "get_public_access_block",
    "replication": "get_bucket_replication",
    "versioning": "get_bucket_versioning",
}


def xml(tag, value):
    """Write a value as the XML of S3: lists repeat their tag."""
    if isinstance(value, list):
        return "".join(xml(tag, one) for one in value)
    if isinstance(value, dict):
        inner = "".join(xml(name, one) for name, one in value.items() if not name.startswith("@"))
        kind = f' xsi:type="{value["@type"]}"' if "@type" in value else ""
        space = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"' if kind else ""
        return f"<{tag}{space}{kind}>{inner}</{tag}>"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{tag}>{escape(text)}</{tag}>"


@dataclass
class Front:
    """The WSGI application; everything that was not said otherwise goes to moto."""

    moto: object = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))
    url: str = ""
    calls: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    owner: str | None = None
    """Enforced as S3 does, if set: moto accepts every expected owner."""

    def refuse(self, *calls, code="AccessDenied", status=403):
        """Let calls fail with an error code."""
        for call in calls:
            self.answers[call] = (status, code)

    def forget(self):
        """Say nothing in moto's stead any more, and reset moto."""
        self.answers.clear()
        self.calls.clear()
        self.owner = None
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST"), timeout=5) as answer:
            answer.read()

    def __call__(self, environ, start_response):
        call = _name_of(environ)
        if call:
            self.calls.append(call)
        expected = environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER")
        if self.owner and expected and expected != self.owner:
            return _error(call, 403, "AccessDenied", start_response)
        told = self.answers.get(call)
        if callable(told):
            told = told(environ)
        if told is None:
            return self.moto(environ, start_response)
        if isinstance(told, tuple):
            return _error(call, *told, start_response)
        kind = "application/x-amz-json-1.1" if call.startswith("kms.") else "application/xml"
        start_response("200 OK", [("Content-Type", kind)])
        return [told if isinstance(told, bytes) else told.encode()]


def _name_of(environ):
    """Return ``service.call`` for what is asked of us, empty for the rest."""
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return "kms." + re.sub(r"(?<!^)(?=[A-Z])", "_", target.partition(".")[2]).lower()
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if path.startswith("/v20180820/") and method == "GET":
        return "s3control.get_public_access_block"
    if "/sts/" in environ.get("HTTP_AUTHORIZATION", ""):
        return "sts.get_caller_identity"
    if method == "HEAD" and path.strip("/").count("/") == 0 and path != "/":
        return "s3.head_bucket"
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    names = [_S3_CALLS[name] for name in query if name in _S3_CALLS]
    return f"s3.{names[0]}" if names and method == "GET" else ""


def _error(call, status, code, start_response):
    reason = {403: "Forbidden", 404: "Not Found"}.get(status, "Error")
    start_response(f"{status} {reason}", [("Content-Type", "text/plain")])
    if call == "s3.head_bucket":
        return []
    if call.startswith("kms."):
        return [json.dumps({"__type": code, "message": "no"}).encode()]
    inner = f"<Code>{code}</Code><Message>no</Message>"
    if call.startswith(("sts.", "s3control.")):
        return [f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>".encode()]
    return [f"<Error>{inner}</Error>".encode()]


def serve(tmp_path):
    """Run a front in a thread, with the AWS configuration pointed at it. For a fixture."""
    front = Front()
    server = make_server("127.0.0.1", 0, front, threaded=True, request_handler=MotoRequestHandler)
    front.url = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        _point_at(front, patch, tmp_path)
        yield front
    boto3.DEFAULT_SESSION = None
    server.shutdown()
    thread.join(timeout=5)


def _point_at(front, monkeypatch, tmp_path):
    """Point the usual AWS configuration at the front, and at nothing else."""
    point_at(front.url, monkeypatch, tmp_path)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    real = socket.getaddrinfo

    def resolve(host, *arguments, **options):
        # S3 Control puts the account before the host: 123456789012.localhost.
        text = host.decode() if isinstance(host, bytes) else host
        local = text == "localhost" or str(text).endswith(".localhost")
        return real("127.0.0.1" if local else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@cache
def _aws(*_configuration):
    """Return clients, which take long to make, for one configuration of the environment."""
    return Aws(attempts=1)


def scope_of(uri="s3://dataset/set", *, settings=None, **fields):
    """Return a run that examines a subject, without listing it."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION")
    manifest = Manifest.of([FileRecord(path="a.csv", size=1, sha256=Digest.of(b"a"))])
    return Scope(
        settings=settings or Settings(**fields),
        snapshot=Snapshot(SubjectUri.parse(uri), manifest, None),
        context=Context(),
        aws=_aws(*(os.environ.get(name) for name in names)),
        now=NOW,
    )
