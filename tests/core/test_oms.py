"""OpenSSF Model Signing by our own code: what it covers, and what it refuses."""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.cli.oms import add_oms
from sluicegate.cli.terminal import report_failure
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    Decision,
    KeyFileError,
    ReceiptError,
    SluicegateError,
    SubjectError,
)
from sluicegate.receipts.keys import FileSigner, new_key_pair
from sluicegate.receipts.oms import (
    CertificateTrust,
    Envelope,
    KeyTrust,
    OmsStatement,
    directory,
    envelope,
    sign,
    statement,
    verify,
)
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def fill(folder: Path) -> Path:
    for name, content in {
        "weights.bin": b"w" * 1000,
        "config.json": b"{}",
        "empty": b"",
        ".hidden": b"h",
        ".gitattributes": b"*.bin lfs",
        ".git/HEAD": b"ref",
        "sub/übung.txt": b"u",
        "sub/a b.txt": b"u",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def model(tmp_path):
    return fill(tmp_path / "model")


@pytest.fixture
def signer(tmp_path):
    return new_key_pair(tmp_path / "k/key.pem", tmp_path / "k/key.pub.pem")


@pytest.fixture
def trust(signer):
    return KeyTrust((signer.public_key.pem,))


def payload_of(bundle: bytes) -> dict:
    return json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))


def resigned(value: dict, signer, **kw) -> bytes:
    return envelope.seal(json.dumps(value).encode(), signer, **kw)


def consistent(value: dict) -> dict:
    """Make a forged list's own digest right again, as a careful forger would."""
    digests = [item["digest"] for item in value["predicate"]["resources"]]
    joined = hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
    value["subject"][0]["digest"] = {"sha256": joined}
    return value


# -- what a signature covers ----------------------------------------------------------------


def test_a_signed_folder_verifies_and_every_file_is_in_the_list(model, signer, trust):
    bundle = sign(model, signer)
    verified = verify(model, bundle, trust)
    names = [item["name"] for item in payload_of(bundle)["predicate"]["resources"]]
    assert names == sorted(
        (path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()),
        key=str.encode,
    )
    assert {".git/HEAD", ".gitattributes", ".hidden", "empty"} <= set(names)
    assert verified.name == "model"
    assert verified.signatory.id == signer.public_key.id
    assert verified.snapshot.manifest.digest == take_snapshot(SubjectUri.parse(model)).digest
    with verified.snapshot.open("config.json") as source:
        assert source.read() == b"{}"


def test_the_list_has_the_shape_of_the_format(model, signer):
    value = payload_of(sign(model, signer))
    assert value["predicateType"] == "https://model_signing/signature/v1.0"
    assert value["predicate"]["serialization"] == {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [],
    }
    joined = hashlib.sha256()
    for item in value["predicate"]["resources"]:
        assert set(item) == {"name", "algorithm", "digest"}
        assert item["digest"] == hashlib.sha256((model / item["name"]).read_bytes()).hexdigest()
        joined.update(bytes.fromhex(item["digest"]))
    digests = value["subject"][0]["digest"]
    assert digests["sha256"] == joined.hexdigest()
    assert digests["dirHash1"] == take_snapshot(SubjectUri.parse(model)).manifest.dir_hash()


def test_signing_is_over_what_was_snapshot(model, signer, trust):
    snapshot = take_snapshot(SubjectUri.parse(model))
    assert verify(snapshot, sign(snapshot, signer), trust).snapshot.digest == snapshot.digest


def test_one_file_can_be_signed_and_its_name_is_bound(model, signer, trust):
    bundle = sign(model / "weights.bin", signer)
    assert payload_of(bundle)["predicate"]["resources"][0]["name"] == "."
    assert verify(model / "weights.bin", bundle, trust).name == "weights.bin"
    (model / "weights.bin").rename(model / "other.bin")
    with pytest.raises(ClearanceRefused, match=r"other\.bin"):
        verify(model / "other.bin", bundle, trust)
    with pytest.raises(ClearanceRefused, match="is a folder"):
        verify(model, bundle, trust)


# -- tampering ------------------------------------------------------------------------------


def change(model):
    (model / "weights.bin").write_bytes(b"v" * 1000)


def add(model):
    (model / "sub/evil.py").write_bytes(b"")


def add_hidden(model):
    (model / ".git/hooks").write_bytes(b"")


def remove(model):
    (model / "empty").unlink()


def rename(model):
    (model / "config.json").rename(model / "config2.json")


def swap(model):
    one, other = (model / "weights.bin"), (model / "config.json")
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def swap_equal_digest_order(model):
    """Move a file to a name that sorts at the same place: the subject digest stays."""
    (model / "empty").rename(model / "emptz")


def fill_the_empty(model):
    (model / "empty").write_bytes(b"x")


def link(model):
    (model / "zz").symlink_to("weights.bin")


def replace_by_link(model):
    (model / "weights.bin").rename(model.parent / "weights.bin")
    (model / "weights.bin").symlink_to("../weights.bin")


def link_folder(model):
    (model / "more").symlink_to("/")


def pipe(model):
    os.mkfifo(model / "pipe")


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (change, r"changed: 'weights\.bin'"),
        (add, r"not signed: 'sub/evil\.py'"),
        (add_hidden, r"not signed: '\.git/hooks'"),
        (remove, "missing: 'empty'"),
        (rename, r"missing: 'config\.json'; not signed: 'config2\.json'"),
        (swap, r"changed: 'config\.json', 'weights\.bin'"),
        (swap_equal_digest_order, "missing: 'empty'; not signed: 'emptz'"),
        (fill_the_empty, "changed: 'empty'"),
        (link, "'zz' is no plain file"),
        (replace_by_link, r"'weights\.bin' is no plain file"),
        (link_folder, "'more' is no plain file"),
        (pipe, "'pipe' is no plain file"),
    ],
)
def test_tampering_is_refused_and_the_file_is_named(model, signer, trust, attack, named):
    bundle = sign(model, signer)
    attack(model)
    with pytest.raises(ClearanceRefused, match=named):
        verify(model, bundle, trust)


def test_names_are_bound_though_the_subject_digest_does_not_bind_them(model, signer, trust):
    """Two folders with one subject digest: only the names tell them apart."""
    bundle = sign(model, signer)
    before = payload_of(bundle)["subject"][0]["digest"]["sha256"]
    swap_equal_digest_order(model)
    after = payload_of(sign(model, signer))["subject"][0]["digest"]["sha256"]
    assert before == after
    with pytest.raises(ClearanceRefused):
        verify(model, bundle, trust)


def test_touching_and_another_place_change_nothing(model, signer, trust, tmp_path):
    bundle = sign(model, signer)
    os.utime(model / "weights.bin", (1, 1))
    (model / "emptyfolder").mkdir()  # neither the format nor a manifest knows folders
    shutil.copytree(model, tmp_path / "elsewhere")
    verify(model, bundle, trust)
    verify(tmp_path / "elsewhere", bundle, trust)


def test_a_missing_or_unreadable_folder_is_no_verdict(model, signer, trust, tmp_path):
    bundle = sign(model, signer)
    with pytest.raises(SubjectError, match="does not exist"):
        verify(tmp_path / "nothing", bundle, trust)
    (tmp_path / "void").mkdir()
    with pytest.raises(SubjectError, match="no files"):
        verify(tmp_path / "void", bundle, trust)


def test_links_are_refused_when_signing(model, signer):
    link(model)
    with pytest.raises(SubjectError, match="symbolic link"):
        sign(model, signer)


def test_equivalent_names_are_refused_when_signing_and_in_a_list(model, signer, trust):
    value = payload_of(sign(model, signer))
    (resource,) = [r for r in value["predicate"]["resources"] if "übung" in r["name"]]
    twin = dict(resource, name=unicodedata.normalize("NFD", resource["name"]))
    value["predicate"]["resources"].append(twin)
    with pytest.raises(ReceiptError, match="Unicode form"):
        verify(model, resigned(consistent(value), signer), trust)
    (model / twin["name"]).write_bytes(b"u")
    with pytest.raises(SluicegateError, match=r"Unicode|equivalent|normal"):
        sign(model, signer)


def test_names_that_only_look_alike_are_two_files(model, signer, trust):
    (model / "sub/ÜBUNG.txt").write_bytes(b"upper")
    (model / "sub/ubung.txt").write_bytes(b"plain")
    verify(model, sign(model, signer), trust)


# -- the bundle inside the folder -----------------------------------------------------------


def test_a_bundle_inside_is_left_out_by_its_path_and_by_nothing_else(model, signer, trust):
    inside = model / "model.sig"
    inside.write_bytes(sign(model, signer, bundle_path=inside))
    bundle = inside.read_bytes()
    verify(model, bundle, trust, bundle_path=inside)
    verify(model, bundle, trust, bundle_path=model / "sub/../model.sig")
    with pytest.raises(ClearanceRefused, match=r"not signed: 'model\.sig'"):
        verify(model, bundle, trust)
    (model / "sub/model.sig").write_bytes(bundle)
    with pytest.raises(ClearanceRefused, match=r"not signed: 'sub/model\.sig'"):
        verify(model, bundle, trust, bundle_path=inside)


def test_signing_again_does_not_list_the_old_bundle(model, signer, trust):
    inside = model / "model.sig"
    first = sign(model, signer, bundle_path=inside)
    inside.write_bytes(first)
    assert payload_of(sign(model, signer, bundle_path=inside)) == payload_of(first)


def test_a_list_that_holds_its_own_bundle_is_refused(model, signer, trust):
    inside = model / "model.sig"
    inside.write_bytes(b"old")
    bundle = sign(model, signer)
    inside.write_bytes(bundle)
    with pytest.raises(ClearanceRefused, match=r"missing: 'model\.sig'"):
        verify(model, bundle, trust, bundle_path=inside)


def test_a_bundle_of_the_same_name_elsewhere_excuses_nothing(model, signer, trust, tmp_path):
    bundle = sign(model, signer)
    (tmp_path / "model.sig").write_bytes(bundle)
    (model / "model.sig").write_bytes(b"payload in disguise")
    with pytest.raises(ClearanceRefused, match=r"not signed: 'model\.sig'"):
        verify(model, bundle, trust, bundle_path=tmp_path / "model.sig")


def test_other_bytes_where_the_bundle_was_are_not_excused(model, signer, trust):
    """Whoever swaps the bundle inside for something that gets loaded is seen."""
    inside = model / "model.sig"
    bundle = sign(model, signer, bundle_path=inside)
    inside.write_bytes(b"payload in disguise")
    with pytest.raises(ClearanceRefused, match=r"not signed: 'model\.sig'"):
        verify(model, bundle, trust, bundle_path=inside)


def test_a_name_that_no_verifier_would_take_is_not_signed(tmp_path, signer, trust):
    odd = fill(tmp_path / "a\x07b")
    with pytest.raises(SubjectError, match="printable"):
        sign(odd, signer)
    wide = fill(tmp_path / "wide\u00a0name")
    assert verify(wide, sign(wide, signer), trust).name == "wide\u00a0name"


def test_a_folder_in_an_object_store_is_signed_the_same(
    model, signer, trust, tmp_path, monkeypatch
):
    with moto_server() as endpoint:
        point_at(endpoint, monkeypatch, tmp_path)
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        for path in model.rglob("*"):
            if path.is_file():
                client.upload_file(path, "models", f"model/{path.relative_to(model)}")
        bundle = sign("s3://models/model", signer)
        assert payload_of(bundle) == payload_of(sign(model, signer))
        verify("s3://models/model", bundle, trust, bundle_path=tmp_path / "m.sig")
        client.put_object(Bucket="models", Key="model/sub/evil", Body=b"")
        with pytest.raises(ClearanceRefused, match="not signed: 'sub/evil'"):
            verify("s3://models/model", bundle, trust)


# -- ignored paths --------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [".git", ".git/", ".git/HEAD"])
def test_a_file_under_an_ignored_path_is_refused(model, signer, trust, listed):
    value = payload_of(sign(model, signer))
    value["predicate"]["serialization"]["ignore_paths"] = [listed]
    resources = value["predicate"]["resources"]
    kept = [item for item in resources if not item["name"].startswith(".git/")]
    value["predicate"]["resources"] = kept
    with pytest.raises(ClearanceRefused, match=r"left out '\.git.*nobody signed.*'\.git/HEAD'"):
        verify(model, resigned(consistent(value), signer), trust)


def test_a_file_that_is_listed_and_ignored_is_refused(model, signer, trust):
    value = payload_of(sign(model, signer))
    value["predicate"]["serialization"]["ignore_paths"] = ["sub"]
    with pytest.raises(ClearanceRefused, match="nobody signed"):
        verify(model, resigned(consistent(value), signer), trust)


def test_an_ignored_path_where_nothing_lies_is_harmless(model, signer, trust):
    value = payload_of(sign(model, signer))
    value["predicate"]["serialization"]["ignore_paths"] = [".github", "subs", "su", "model.sig"]
    verify(model, resigned(consistent(value), signer), trust)


@pytest.mark.parametrize("path", [".", "", "/", "..", "../x", "/etc", "a//b", "sub/.."])
def test_an_ignored_path_that_means_more_than_a_name_is_refused(model, signer, trust, path):
    value = payload_of(sign(model, signer))
    value["predicate"]["serialization"]["ignore_paths"] = [path]
    with pytest.raises(ReceiptError, match="unsafe"):
        verify(model, resigned(consistent(value), signer), trust)


# -- signed by the right key, and still wrong -----------------------------------------------


def first(value):
    return value["predicate"]["resources"][0]


FORGERIES = {
    "absolute name": (lambda v: first(v).update(name="/etc/passwd"), "unsafe"),
    "parent name": (lambda v: first(v).update(name="../x"), "unsafe"),
    "backslash": (lambda v: first(v).update(name="a\\b"), "unsafe"),
    "whole among many": (lambda v: first(v).update(name="."), "unsafe"),
    "no name": (lambda v: first(v).update(name=""), "unsafe"),
    "number as name": (lambda v: first(v).update(name=7), "no list of files"),
    "twice": (lambda v: v["predicate"]["resources"].append(dict(first(v))), "listed twice"),
    "shards": (lambda v: v["predicate"]["serialization"].update(method="shards"), "shards"),
    "sha1": (lambda v: v["predicate"]["serialization"].update(hash_type="sha1"), "its hash is"),
    "mixed hashes": (lambda v: first(v).update(algorithm="blake3"), "another algorithm"),
    "short digest": (lambda v: first(v).update(digest="00"), "no sha256"),
    "upper case digest": (lambda v: first(v).update(digest="A" * 64), "no sha256"),
    "digest is a list": (lambda v: first(v).update(digest=["a"]), "no list of files"),
    "negative size": (lambda v: first(v).update(size=-1), "no number of bytes"),
    "size as flag": (lambda v: first(v).update(size=True), "no number of bytes"),
    "unknown member": (lambda v: first(v).update(uri="x"), "unknown members 'uri'"),
    "unknown serialisation": (
        lambda v: v["predicate"]["serialization"].update(shard_size=1),
        "unknown members 'shard_size'",
    ),
    "links as text": (
        lambda v: v["predicate"]["serialization"].update(allow_symlinks="false"),
        "allow_symlinks",
    ),
    "ignored as text": (
        lambda v: v["predicate"]["serialization"].update(ignore_paths=".git"),
        "ignore_paths",
    ),
    "no files": (lambda v: v["predicate"].update(resources=[]), "lists no files"),
    "files as object": (lambda v: v["predicate"].update(resources={}), "lists no files"),
    "file as text": (lambda v: v["predicate"].update(resources=["name"]), "no list of files"),
    "other predicate": (lambda v: v.update(predicateType="https://x"), "predicate is"),
    "old predicate": (
        lambda v: v.update(predicateType="https://model_signing/Digests/v0.1"),
        "predicate is",
    ),
    "other statement": (lambda v: v.update(_type="x"), "no in-toto statement"),
    "two subjects": (lambda v: v["subject"].append(v["subject"][0]), "exactly one subject"),
    "no subject": (lambda v: v.update(subject=[]), "exactly one subject"),
    "control character": (lambda v: v["subject"][0].update(name="a\x1b[2J"), "printable"),
    "no predicate": (lambda v: v.pop("predicate"), "no list of files"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_list_of_another_shape_is_refused_although_signed(model, signer, trust, forgery):
    edit, reason = FORGERIES[forgery]
    value = payload_of(sign(model, signer))
    edit(value)
    with pytest.raises(ReceiptError, match=reason):
        verify(model, resigned(value, signer), trust)


def test_a_list_that_contradicts_its_own_digest_is_refused(model, signer, trust):
    value = payload_of(sign(model, signer))
    value["subject"][0]["digest"]["sha256"] = "0" * 64
    with pytest.raises(ReceiptError, match="contradicts itself"):
        verify(model, resigned(value, signer), trust)


def test_a_wrong_dir_hash_beside_a_right_digest_is_refused(model, signer, trust):
    value = payload_of(sign(model, signer))
    value["subject"][0]["digest"]["dirHash1"] = "0" * 64
    with pytest.raises(ClearanceRefused, match="dirHash1"):
        verify(model, resigned(value, signer), trust)
    value["subject"][0]["digest"]["dirHash1"] = "xyz"
    with pytest.raises(ReceiptError):
        verify(model, resigned(value, signer), trust)


def test_stated_sizes_are_compared(model, signer, trust):
    value = payload_of(sign(model, signer))
    for item in value["predicate"]["resources"]:
        item["size"] = (model / item["name"]).stat().st_size
    verify(model, resigned(value, signer), trust)
    first(value)["size"] += 1
    with pytest.raises(ClearanceRefused, match="changed"):
        verify(model, resigned(value, signer), trust)
    value = payload_of(sign(model / "weights.bin", signer))
    first(value)["size"] = 1000
    verify(model / "weights.bin", resigned(value, signer), trust)
    first(value)["size"] = 999
    with pytest.raises(ClearanceRefused, match="changed"):
        verify(model / "weights.bin", resigned(value, signer), trust)


def test_more_claims_in_the_predicate_change_nothing(model, signer, trust):
    value = payload_of(sign(model, signer))
    value["predicate"]["annotations"] = {"licence": "x"}
    verify(model, resigned(value, signer), trust)


@pytest.mark.parametrize("algorithm", ["blake2b", "blake3"])
def test_other_hashes_of_the_format_are_verified(model, signer, trust, algorithm):
    blake3 = pytest.importorskip("blake3")
    new = hashlib.blake2b if algorithm == "blake2b" else blake3.blake3
    value = payload_of(sign(model, signer))
    value["predicate"]["serialization"]["hash_type"] = algorithm
    for item in value["predicate"]["resources"]:
        data = (model / item["name"]).read_bytes()
        item |= {"algorithm": algorithm, "digest": new(data).hexdigest()}
    bundle = resigned(consistent(value), signer)
    assert verify(model, bundle, trust).algorithm == algorithm
    swap(model)
    with pytest.raises(ClearanceRefused, match="changed"):
        verify(model, bundle, trust)


# -- the envelope ---------------------------------------------------------------------------


def other_trust(tmp_path):
    return KeyTrust((new_key_pair(tmp_path / "o.pem", tmp_path / "o.pub").public_key.pem,))


def test_another_key_is_refused(model, signer, tmp_path):
    with pytest.raises(ReceiptError, match="not a trusted one"):
        verify(model, sign(model, signer), other_trust(tmp_path))


def test_a_hint_is_not_believed(model, signer, tmp_path):
    mallory = new_key_pair(tmp_path / "m.pem", tmp_path / "m.pub")
    value = json.loads(sign(model, mallory))
    for hint in (signer.public_key.id, "x", None):
        value["verificationMaterial"]["publicKey"]["hint"] = hint
        with pytest.raises(ReceiptError, match="does not verify"):
            verify(model, json.dumps(value).encode(), KeyTrust((signer.public_key.pem,)))


def test_one_of_several_trusted_keys_will_do(model, signer, tmp_path):
    other = new_key_pair(tmp_path / "m.pem", tmp_path / "m.pub")
    trust = KeyTrust((other.public_key.pem, signer.public_key.pem))
    assert verify(model, sign(model, signer), trust).signatory.id == signer.public_key.id
    assert verify(model, sign(model, other), trust).signatory.id == other.public_key.id


def bundle_edits():
    def payload(value):
        inner = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        inner["subject"][0]["name"] = "other"
        text = base64.b64encode(json.dumps(inner).encode()).decode()
        value["dsseEnvelope"]["payload"] = text

    def signature(value):
        raw = bytearray(base64.b64decode(value["dsseEnvelope"]["signatures"][0]["sig"]))
        raw[-1] ^= 1
        value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(raw).decode()

    def twice(value):
        value["dsseEnvelope"]["signatures"] *= 2

    def unsigned(value):
        value["dsseEnvelope"]["signatures"] = []

    def kind(value):
        value["dsseEnvelope"]["payloadType"] = "application/json"

    def media(value):
        value["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"

    def both(value):
        value["verificationMaterial"]["x509CertificateChain"] = {"certificates": []}

    def neither(value):
        del value["verificationMaterial"]["publicKey"]

    def keyless(value):
        neither(value)
        value["verificationMaterial"]["certificate"] = {"rawBytes": "AA=="}

    def blob(value):
        value["messageSignature"] = {}

    def garbage(value):
        value["dsseEnvelope"]["payload"] = "***"

    def number(value):
        value["verificationMaterial"]["publicKey"]["hint"] = 5

    def chain_of_text(value):
        neither(value)
        value["verificationMaterial"]["x509CertificateChain"] = {"certificates": ["AA=="]}

    return list(locals().values())


@pytest.mark.parametrize("edit", bundle_edits(), ids=lambda edit: edit.__name__)
def test_an_edited_bundle_is_refused(model, signer, trust, edit):
    value = json.loads(sign(model, signer))
    edit(value)
    with pytest.raises(ReceiptError):
        verify(model, json.dumps(value).encode(), trust)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{", b'{"a":1,"a":1}', b"\xff", b"[" * 10**5]
)
def test_what_is_no_bundle_is_refused(model, trust, data):
    with pytest.raises(ReceiptError):
        verify(model, data, trust)


def test_a_bundle_beyond_the_limit_is_refused_before_it_is_parsed(
    monkeypatch, model, signer, trust
):
    bundle = sign(model, signer)
    monkeypatch.setattr(envelope, "MAX_BUNDLE_BYTES", len(bundle) - 1)
    with pytest.raises(ReceiptError, match="at most"):
        verify(model, bundle, trust)
    with pytest.raises(ReceiptError, match="flat list"):
        sign(model, signer)


def test_only_the_dsse_encoding_counts(model, signer, trust):
    """An older writer signed a text form of the payload; two payloads can share one."""
    payload = base64.b64decode(json.loads(sign(model, signer))["dsseEnvelope"]["payload"])
    kind = "application/vnd.in-toto+json"
    legacy = f"DSSEV1 {len(kind)} {kind} {len(payload)} {payload}".encode()
    value = json.loads(sign(model, signer))
    value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signer.sign(legacy)).decode()
    with pytest.raises(ReceiptError, match="does not verify"):
        verify(model, json.dumps(value).encode(), trust)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_single_changed_byte_of_a_bundle_verifies_as_something_else(data):
    bundle, snapshot, trust = _signed_once()
    at = data.draw(st.integers(0, len(bundle) - 1))
    changed = bytearray(bundle)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        verified = verify(snapshot, bytes(changed), trust)
    except (ReceiptError, ClearanceRefused):
        return
    # Bytes that nothing signs: JSON blanks, the unsigned hint, the base64 padding bits.
    assert verified.name == "model"
    assert verified.snapshot.digest == snapshot.digest


_ONCE: list = []


def _signed_once():
    if not _ONCE:
        import tempfile

        folder = Path(tempfile.mkdtemp())
        snapshot = take_snapshot(SubjectUri.parse(fill(folder / "model")))
        shutil.rmtree(folder)
        signer = FileSigner(ec.generate_private_key(ec.SECP256R1()))
        _ONCE.extend([sign(snapshot, signer), snapshot, KeyTrust((signer.public_key.pem,))])
    return _ONCE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_parsing_a_list_raises_nothing_else(data):
    bundle, *_ = _signed_once()
    value = payload_of(bundle)
    spots = [
        value,
        value["subject"][0],
        value["subject"][0]["digest"],
        value["predicate"],
        value["predicate"]["serialization"],
        value["predicate"]["resources"][0],
    ]
    spot = data.draw(st.sampled_from(spots))
    spot[data.draw(st.sampled_from(sorted(spot)))] = data.draw(json_values)
    with contextlib.suppress(ReceiptError):
        OmsStatement.parse(json.dumps(value).encode())


# -- keys of other kinds --------------------------------------------------------------------


def pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_only_ecdsa_keys_on_nist_curves_are_trusted():
    KeyTrust((pem(ec.generate_private_key(ec.SECP384R1())),))
    for bad in (pem(ec.generate_private_key(ec.SECP256K1())), b"", b"no key"):
        with pytest.raises(KeyFileError):
            KeyTrust((bad,))
    with pytest.raises(KeyFileError, match="no key"):
        KeyTrust(())


def test_a_key_file_that_is_missing_is_said(tmp_path):
    with pytest.raises(KeyFileError, match="cannot read"):
        KeyTrust.load(tmp_path / "none.pem")
    with pytest.raises(KeyFileError, match="cannot read"):
        CertificateTrust.load(tmp_path / "none.pem")


# -- certificates ---------------------------------------------------------------------------


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(
    subject,
    key,
    issuer=None,
    *,
    ca=False,
    basic=True,
    usage=True,
    cert_sign=None,
    eku=None,
    san=None,
    path=None,
    start=NOW - timedelta(days=10),
    end=NOW + timedelta(days=10),
    extra=(),
):
    issuer_name, issuer_key = issuer or (name(subject), key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if basic:
        constraint = x509.BasicConstraints(ca=ca, path_length=path)
        builder = builder.add_extension(constraint, critical=True)
    if usage is not None:
        signs = ca if cert_sign is None else cert_sign
        flags = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=usage, key_cert_sign=signs, **flags), critical=True
        )
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=False)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    for extension in extra:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def chain_pem(*certificates):
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


class Authority:
    def __init__(self, **kw):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = issue("root", self.key, ca=True, **kw)
        self.middle_key = ec.generate_private_key(ec.SECP384R1())
        self.middle = issue("middle", self.middle_key, (name("root"), self.key), ca=True)
        self.leaf_key = ec.generate_private_key(ec.SECP256R1())
        self.signer = FileSigner(self.leaf_key)

    def leaf(self, **kw):
        return issue("signer", self.leaf_key, (name("middle"), self.middle_key), **kw)

    def trust(self, **kw):
        return CertificateTrust(anchors=chain_pem(self.root), **({"at": NOW} | kw))


@pytest.fixture(scope="module")
def authority():
    return Authority()


def signed_by(authority, model, *chain):
    return sign(model, authority.signer, certificates=chain_pem(*chain))


@pytest.mark.parametrize("eku", [None, [ExtendedKeyUsageOID.CODE_SIGNING]])
def test_a_certificate_of_a_trusted_authority_signs(authority, model, eku):
    leaf = authority.leaf(eku=eku)
    bundle = signed_by(authority, model, leaf, authority.middle)
    verified = verify(model, bundle, authority.trust())
    assert verified.signatory.name == "CN=signer"
    assert verified.signatory.id == leaf.fingerprint(hashes.SHA256()).hex()
    change(model)
    with pytest.raises(ClearanceRefused, match=r"weights\.bin"):
        verify(model, bundle, authority.trust())


def test_a_certificate_of_an_authority_without_key_usage_is_common_and_will_do(model):
    authority = Authority(usage=None)  # what `openssl req -x509` makes
    bundle = signed_by(authority, model, authority.leaf(), authority.middle)
    verify(model, bundle, authority.trust())


@pytest.mark.parametrize(
    ("kw", "reason"),
    [
        ({"usage": False}, "digital signatures"),
        ({"usage": None}, "not trusted"),
        ({"eku": [ExtendedKeyUsageOID.SERVER_AUTH]}, "code signing"),
        ({"end": NOW - timedelta(seconds=1)}, "not trusted at 2026-06-01"),
        ({"start": NOW + timedelta(seconds=1)}, "not trusted at 2026-06-01"),
        ({"ca": True}, "authority, not to a signer"),
        (
            {"extra": [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")]},
            "critical",
        ),
    ],
)
def test_a_leaf_that_may_not_sign_is_refused(authority, model, kw, reason):
    bundle = signed_by(authority, model, authority.leaf(**kw), authority.middle)
    with pytest.raises(ReceiptError, match=reason):
        verify(model, bundle, authority.trust())


def test_the_time_is_the_callers_and_by_default_now(authority, model):
    bundle = signed_by(authority, model, authority.leaf(), authority.middle)
    verify(model, bundle, authority.trust(at=NOW + timedelta(days=9)))
    with pytest.raises(ReceiptError, match="not trusted"):
        verify(model, bundle, authority.trust(at=NOW + timedelta(days=11)))
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issue("me", key, start=now - timedelta(hours=1), end=now + timedelta(hours=1))
    bundle = sign(model, FileSigner(key), certificates=chain_pem(leaf))
    verify(model, bundle, CertificateTrust(anchors=chain_pem(leaf)))
    expired = issue("me", key, start=now - timedelta(hours=2), end=now - timedelta(hours=1))
    bundle = sign(model, FileSigner(key), certificates=chain_pem(expired))
    with pytest.raises(ReceiptError, match="not valid at"):
        verify(model, bundle, CertificateTrust(anchors=chain_pem(expired)))


def test_another_authority_of_the_same_name_is_refused(authority, model):
    impostor = Authority()
    bundle = signed_by(impostor, model, impostor.leaf(), impostor.middle, impostor.root)
    with pytest.raises(ReceiptError, match="not trusted"):
        verify(model, bundle, authority.trust())


def test_a_missing_intermediate_is_refused_and_may_be_an_anchor(authority, model):
    bundle = signed_by(authority, model, authority.leaf())
    with pytest.raises(ReceiptError, match="not trusted"):
        verify(model, bundle, authority.trust())
    anchors = chain_pem(authority.root, authority.middle)
    verify(model, bundle, CertificateTrust(anchors=anchors, at=NOW))


@pytest.mark.parametrize(
    "kw",
    [
        {"ca": False},
        {"ca": False, "cert_sign": True},
        {"basic": False},
        {"basic": False, "cert_sign": True},
        {"ca": True, "cert_sign": False},
    ],
)
def test_a_signer_cannot_issue_certificates(authority, model, kw):
    """A leaf that a trusted authority issued passes itself off as an authority."""
    leaf = issue("signer", authority.leaf_key, (name("middle"), authority.middle_key), **kw)
    key = ec.generate_private_key(ec.SECP256R1())
    forged = issue("ceo", key, (name("signer"), authority.leaf_key))
    bundle = sign(model, FileSigner(key), certificates=chain_pem(forged, leaf, authority.middle))
    with pytest.raises(ReceiptError, match="not trusted"):
        verify(model, bundle, authority.trust())


def test_a_path_length_is_kept(model):
    authority = Authority(path=0)
    bundle = signed_by(authority, model, authority.leaf(), authority.middle)
    with pytest.raises(ReceiptError, match="not trusted"):
        verify(model, bundle, authority.trust())


@pytest.mark.parametrize(
    ("eku", "good"),
    [
        ([ExtendedKeyUsageOID.SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
    ],
)
def test_an_issuer_for_something_else_issues_no_signers(authority, model, eku, good):
    middle = issue("middle", authority.middle_key, (name("root"), authority.key), ca=True, eku=eku)
    leaf = authority.leaf(eku=[ExtendedKeyUsageOID.CODE_SIGNING])
    bundle = signed_by(authority, model, leaf, middle)
    if good:
        verify(model, bundle, authority.trust())
        return
    with pytest.raises(ReceiptError, match="may not issue for code signing"):
        verify(model, bundle, authority.trust())


def test_one_kind_of_name_does_not_stand_for_another(authority, model):
    forged = [x509.DNSName(text) for text in ("ml@example.org", "https://ci/1", "CN=boss")]
    bundle = signed_by(authority, model, authority.leaf(san=forged), authority.middle)
    for identity in ("ml@example.org", "https://ci/1", "CN=boss"):
        with pytest.raises(ReceiptError, match="issued to"):
            verify(model, bundle, authority.trust(identity=identity))
    workflow = "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main?a=b"
    san = [x509.UniformResourceIdentifier(workflow), x509.DNSName("ci.example.org")]
    bundle = signed_by(authority, model, authority.leaf(san=san), authority.middle)
    for identity in (workflow, "ci.example.org"):
        verify(model, bundle, authority.trust(identity=identity))


def test_the_signature_must_be_by_the_leaf(authority, model, signer):
    value = json.loads(signed_by(authority, model, authority.leaf(), authority.middle))
    own = json.loads(sign(model, signer))
    own["verificationMaterial"] = value["verificationMaterial"]
    with pytest.raises(ReceiptError, match="does not verify with its certificate"):
        verify(model, json.dumps(own).encode(), authority.trust())


def test_the_identity_can_be_required(authority, model):
    san = [x509.RFC822Name("ml@example.org"), x509.UniformResourceIdentifier("https://ci/1")]
    bundle = signed_by(authority, model, authority.leaf(san=san), authority.middle)
    for identity in ("ml@example.org", "https://ci/1", "CN=signer"):
        verify(model, bundle, authority.trust(identity=identity))
    for identity in ("ML@example.org", "example.org", "", "signer"):
        with pytest.raises(ReceiptError, match="issued to"):
            verify(model, bundle, authority.trust(identity=identity))


def test_keys_and_certificates_do_not_stand_in_for_each_other(authority, model, signer, trust):
    with pytest.raises(ReceiptError, match="only certificates are trusted"):
        verify(model, sign(model, signer), authority.trust())
    bundle = signed_by(authority, model, authority.leaf(), authority.middle)
    with pytest.raises(ReceiptError, match="only keys are trusted"):
        verify(model, bundle, trust)
    leaf_key = KeyTrust((authority.signer.public_key.pem,))
    with pytest.raises(ReceiptError, match="only keys are trusted"):
        verify(model, bundle, leaf_key)


def test_a_certificate_about_another_key_is_refused_when_signing(authority, model, signer):
    with pytest.raises(KeyFileError, match="not about the signing key"):
        sign(model, signer, certificates=chain_pem(authority.leaf()))
    with pytest.raises(KeyFileError, match="at most"):
        signed_by(authority, model, *[authority.leaf()] * 9)
    with pytest.raises(KeyFileError, match="no certificates"):
        sign(model, signer, certificates=b"nothing")


def test_chains_are_bounded_and_malformed_ones_refused(authority, model):
    value = json.loads(signed_by(authority, model, authority.leaf(), authority.middle))
    certificates = value["verificationMaterial"]["x509CertificateChain"]["certificates"]
    for bad in ([], certificates * 5, [{"rawBytes": "AAAA"}], [*certificates, {"rawBytes": ""}]):
        value["verificationMaterial"]["x509CertificateChain"]["certificates"] = bad
        with pytest.raises(ReceiptError):
            verify(model, json.dumps(value).encode(), authority.trust())


# -- the command line -----------------------------------------------------------------------


def run(*arguments) -> int:
    parser = argparse.ArgumentParser()
    add_oms(parser.add_subparsers())
    args = parser.parse_args(["oms", *map(str, arguments)])
    try:
        return args.run(args)
    except (Decision, SluicegateError) as error:
        return report_failure(error, as_json=args.json)


def test_the_command_signs_and_verifies(model, signer, tmp_path, capsys):
    bundle, keys = tmp_path / "m.sig", tmp_path / "k"
    assert run("sign", model, "--key", keys / "key.pem", "--bundle", bundle) == 0
    capsys.readouterr()
    verify_it = ("verify", model, "--public-key", keys / "key.pub.pem", "--bundle", bundle)
    assert run(*verify_it, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["outcome"] == "verified"
    assert value["files"] == 8
    assert value["signer"]["id"] == signer.public_key.id
    change(model)
    assert run(*verify_it, "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["outcome"] == "refused"
    assert "weights.bin" in shown.err


def test_the_command_tells_refused_from_could_not_conclude(model, signer, tmp_path, capsys):
    bundle, pub = tmp_path / "m.sig", tmp_path / "k/key.pub.pem"
    bundle.write_bytes(sign(model, signer))
    other_trust(tmp_path)
    assert run("verify", model, "--public-key", tmp_path / "o.pub", "--bundle", bundle) == 1
    assert run("verify", model, "--public-key", pub, "--bundle", tmp_path / "none") == 2
    assert run("verify", tmp_path / "none", "--public-key", pub, "--bundle", bundle) == 2
    assert run("verify", model, "--public-key", bundle, "--bundle", bundle) == 2
    bundle.write_bytes(b"{}")
    assert run("verify", model, "--public-key", pub, "--bundle", bundle) == 1


def test_the_command_uses_a_password_file(model, tmp_path, monkeypatch):
    new_key_pair(tmp_path / "p.pem", tmp_path / "p.pub", password=b"open sesame")
    arguments = ("sign", model, "--key", tmp_path / "p.pem", "--bundle", tmp_path / "m.sig")
    assert run(*arguments) == 2
    (tmp_path / "password").write_text("open sesame\n")
    monkeypatch.setenv("SLUICEGATE_KEY_PASSWORD_FILE", str(tmp_path / "password"))
    assert run(*arguments) == 0


def test_the_command_signs_with_a_certificate(authority, model, tmp_path):
    key = tmp_path / "leaf.pem"
    key.write_bytes(
        authority.leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key.chmod(0o600)
    (tmp_path / "chain.pem").write_bytes(chain_pem(authority.leaf(), authority.middle))
    (tmp_path / "ca.pem").write_bytes(chain_pem(authority.root))
    bundle = ("--bundle", model / "model.sig")
    chain = ("--certificate-chain", tmp_path / "chain.pem")
    assert run("sign", model, "--key", key, *chain, *bundle) == 0
    check = ("verify", model, "--trust-anchor", tmp_path / "ca.pem", *bundle)
    assert run(*check, "--at", "2026-06-01T00:00:00Z") == 0
    assert run(*check, "--at", "2027-06-01T00:00:00Z") == 1
    assert run(*check, "--at", "2026-06-01") == 2
    identity = ("--at", "2026-06-01T00:00:00Z", "--certificate-identity")
    assert run(*check, *identity, "CN=signer") == 0
    assert run(*check, *identity, "CN=mallory") == 1


def test_the_command_does_not_write_over_data(model, signer, tmp_path):
    key = tmp_path / "k/key.pem"
    weights = (model / "weights.bin").read_bytes()
    assert run("sign", model, "--key", key, "--bundle", model / "weights.bin") == 2
    assert (model / "weights.bin").read_bytes() == weights
    assert run("sign", model, "--key", key, "--bundle", model / "model.sig") == 0
    assert run("sign", model, "--key", key, "--bundle", model / "model.sig") == 0


def test_options_of_certificates_need_a_trust_anchor(model, signer, tmp_path):
    bundle = tmp_path / "m.sig"
    bundle.write_bytes(sign(model, signer))
    check = ("verify", model, "--public-key", tmp_path / "k/key.pub.pem", "--bundle", bundle)
    assert run(*check) == 0
    assert run(*check, "--at", "2026-06-01T00:00:00Z") == 2
    assert run(*check, "--certificate-identity", "x") == 2
    with pytest.raises(SystemExit):
        run("verify", model, "--bundle", bundle)


def test_importing_it_imports_nothing_heavy():
    heavy = ("boto3", "botocore", "pyarrow", "numpy", "pandas", "blake3", "model_signing")
    code = (
        "import sys, sluicegate.receipts.oms, sluicegate.receipts.published\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_missing_blake3_library_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(ConfigurationError, match="blake3"):
        directory._blake3()


def test_many_ignored_paths_cost_no_more_than_few(model, signer, trust):
    value = payload_of(sign(model, signer))
    ignored = [f"nowhere/{number}" for number in range(20_000)]
    value["predicate"]["serialization"]["ignore_paths"] = ignored
    verify(model, resigned(value, signer), trust)


def test_equivalence_is_asked_of_names_only_once():
    statement.check_equivalents(["a", "a", "é"])
    with pytest.raises(SubjectError):
        statement.check_equivalents(["é", unicodedata.normalize("NFD", "é")])


def test_the_envelope_gives_out_nothing_before_it_is_verified(model, signer, tmp_path):
    parsed = Envelope.parse(sign(model, signer))
    with pytest.raises(ReceiptError):
        parsed.verify(other_trust(tmp_path))
    assert parsed.verify(KeyTrust((signer.public_key.pem,)))[1].id == signer.public_key.id
