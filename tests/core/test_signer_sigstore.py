"""Keyless signatures, against a Sigstore of our own (:mod:`tests.core.sigstore_world`).

Certificates, promises, proofs and checkpoints are made and checked for real. What is not run
is the way to the public instance: its authority, its log, and the identity of a workflow.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from datetime import timedelta

import pytest

pytest.importorskip("sigstore")

import jwt

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError, MissingExtraError, ReceiptError, SluicegateError
from sluicegate.receipts.signers.sigstore import (
    Identity,
    sign_keyless,
    verify_keyless,
    verify_keyless_file,
)
from tests.core.sigstore_world import ISSUER, World

WORKFLOW = "https://git.example/team/data/.workflows/publish.yml@refs/heads/main"
PUBLISHER = Identity(name=WORKFLOW, issuer=ISSUER)
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "data.csv", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://example.org/list/v1",
        "predicate": {"files": 1.0},
    }
).encode()


def token(**changes):
    now = int(time.time())
    claims = {"aud": "sigstore", "sub": WORKFLOW, "iss": ISSUER, "iat": now, "exp": now + 60}
    return jwt.encode(claims | changes, "x" * 32, algorithm="HS256")


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def root(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("root") / "trusted_root.json"
    path.write_text(world.trusted_root())
    return path


@pytest.fixture(scope="module")
def bundle(world):
    return sign_keyless(STATEMENT, token=token(), context=world.context())


def changed(bundle, change):
    value = json.loads(bundle)
    change(value)
    return json.dumps(value).encode()


def test_what_was_signed_is_verified_by_identity(bundle, root):
    assert verify_keyless(bundle, [PUBLISHER], root=root) == (STATEMENT, PUBLISHER)


def test_one_of_several_publishers_is_found(bundle, root):
    others = [Identity(name="https://git.example/other", issuer=ISSUER), PUBLISHER]
    assert verify_keyless(bundle, others, root=root)[1] == PUBLISHER


@pytest.mark.parametrize(
    "identity",
    [
        Identity(name=WORKFLOW, issuer="https://other.example"),
        Identity(name=WORKFLOW, issuer=f"{ISSUER}/"),
        Identity(name=WORKFLOW.replace("main", "evil"), issuer=ISSUER),
        Identity(name=WORKFLOW[:-1], issuer=ISSUER),
        Identity(name="*", issuer=ISSUER),
    ],
)
def test_another_identity_or_issuer_is_refused(bundle, root, identity):
    with pytest.raises(ReceiptError, match="not by an identity"):
        verify_keyless(bundle, [identity], root=root)


def test_nobody_is_trusted_by_default(bundle, root):
    with pytest.raises(ConfigurationError, match="nobody is trusted"):
        verify_keyless(bundle, [], root=root)
    for name, issuer in (("", ISSUER), (WORKFLOW, ""), (WORKFLOW, " ")):
        with pytest.raises(ConfigurationError, match="name and an issuer"):
            Identity(name=name, issuer=issuer)


def _payload(value):
    forged = STATEMENT.replace(b"data.csv", b"evil.csv")
    value["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()


def _signature(value):
    value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"x" * 70).decode()


def _type(value):
    value["dsseEnvelope"]["payloadType"] = "text/plain"


def _time(value):
    value["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1700000000"


def _checkpoint(value):
    proof = value["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    proof["checkpoint"]["envelope"] = proof["checkpoint"]["envelope"].replace("\n1\n", "\n2\n")


def _promise(value):
    entry = value["verificationMaterial"]["tlogEntries"][0]
    entry["inclusionPromise"] = {"signedEntryTimestamp": base64.b64encode(b"x" * 70).decode()}


def _no_log(value):
    value["verificationMaterial"]["tlogEntries"] = []


def _twice(value):
    value["dsseEnvelope"]["signatures"] *= 2


@pytest.mark.parametrize(
    "change", [_payload, _signature, _type, _time, _checkpoint, _promise, _no_log, _twice]
)
def test_every_part_of_a_bundle_is_bound(bundle, root, change):
    with pytest.raises(ReceiptError):
        verify_keyless(changed(bundle, change), [PUBLISHER], root=root)


def test_the_log_entry_of_another_signature_is_refused(world, bundle, root):
    other = json.loads(sign_keyless(STATEMENT, token=token(), context=world.context()))

    def swap(value):
        value["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]

    with pytest.raises(ReceiptError):
        verify_keyless(changed(bundle, swap), [PUBLISHER], root=root)


def test_another_instance_of_sigstore_is_not_trusted(root):
    foreign = sign_keyless(STATEMENT, token=token(), context=World().context())
    with pytest.raises(ReceiptError):
        verify_keyless(foreign, [PUBLISHER], root=root)


def test_the_public_instances_own_root_is_the_default(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ReceiptError):
        verify_keyless(bundle, [PUBLISHER])


def test_a_signature_after_the_certificate_ended_is_refused(root, world):
    late = World()
    for name in ("authority", "ct", "rekor", "root"):
        setattr(late, name, getattr(world, name))
    log = late.log

    def logged_late(body):
        late.now += timedelta(minutes=20)
        try:
            return log(body)
        finally:
            late.now -= timedelta(minutes=20)

    late.log = logged_late
    bundle = sign_keyless(STATEMENT, token=token(), context=late.context())
    with pytest.raises(ReceiptError):
        verify_keyless(bundle, [PUBLISHER], root=root)


def test_a_file_is_verified_by_its_digest(world, root):
    bundle = world.sign_file(b"content", WORKFLOW)
    digest = Digest.of(b"content")
    assert verify_keyless_file(bundle, digest, [PUBLISHER], root=root) == PUBLISHER
    with pytest.raises(ReceiptError):
        verify_keyless_file(bundle, Digest.of(b"Content"), [PUBLISHER], root=root)
    with pytest.raises(ReceiptError):
        verify_keyless_file(bundle, digest, [Identity(name="other", issuer=ISSUER)], root=root)


def test_a_file_and_a_statement_are_not_taken_for_each_other(world, bundle, root):
    with pytest.raises(ReceiptError):
        verify_keyless(world.sign_file(b"content", WORKFLOW), [PUBLISHER], root=root)
    with pytest.raises(ReceiptError):
        verify_keyless_file(bundle, Digest.of(STATEMENT), [PUBLISHER], root=root)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"a":1,"a":1}'])
def test_what_is_no_bundle_is_refused(data, root):
    with pytest.raises(ReceiptError, match="not a keyless Sigstore bundle"):
        verify_keyless(data, [PUBLISHER], root=root)


def test_a_bundle_with_a_key_twice_is_refused(bundle, root):
    twice = b'{"dsseEnvelope":{},' + bundle.lstrip()[1:]
    with pytest.raises(ReceiptError, match="not a keyless Sigstore bundle"):
        verify_keyless(twice, [PUBLISHER], root=root)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"mediaType": "x"}'])
def test_a_root_that_is_none_is_an_error_of_configuration(bundle, tmp_path, content):
    path = tmp_path / "root.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match="trusted root"):
        verify_keyless(bundle, [PUBLISHER], root=path)


def test_only_statements_are_signed(world):
    for payload in (b"", b"{}", b"text", STATEMENT.replace(b"_type", b"type")):
        with pytest.raises(ReceiptError, match="in-toto"):
            sign_keyless(payload, token=token(), context=world.context())


@pytest.mark.parametrize("changes", [{"exp": 1}, {"aud": "another"}, {"iat": None}, {"sub": None}])
def test_a_token_that_will_not_do_is_refused_and_not_shown(world, changes):
    raw = token(**changes)
    with pytest.raises(ConfigurationError, match="identity token") as caught:
        sign_keyless(STATEMENT, token=raw, context=world.context())
    assert raw not in str(caught.value)
    assert caught.value.__suppress_context__


def test_without_an_identity_nothing_is_signed(world, monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sigstore.oidc.id.detect_credential", lambda audience: None)
    with pytest.raises(ConfigurationError, match="no identity"):
        sign_keyless(STATEMENT, context=world.context())


def test_an_authority_that_does_not_answer_may_be_asked_again(world):
    context = world.context()

    def silent(request, identity):
        raise ConnectionError("no route")

    context._fulcio.signing_cert.post = silent
    with pytest.raises(SluicegateError, match="no keyless signature") as caught:
        sign_keyless(STATEMENT, token=token(), context=context)
    assert not isinstance(caught.value, ConfigurationError)


def test_without_the_library_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    monkeypatch.setitem(sys.modules, "sigstore.dsse", None)
    with pytest.raises(MissingExtraError, match=r"sluicegate\[sigstore\]"):
        verify_keyless(b"{}", [PUBLISHER])
    with pytest.raises(MissingExtraError, match=r"sluicegate\[sigstore\]"):
        sign_keyless(STATEMENT)
