"""Bundles of OpenSSF Model Signing, both ways between our code and ``model_signing``."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from model_signing import hashing, signing, verifying

from sluicegate.errors import ClearanceRefused, ReceiptError
from sluicegate.receipts.keys import FileSigner, new_key_pair
from sluicegate.receipts.oms import CertificateTrust, KeyTrust, sign, verify

GIT_TOO = "--no-ignore-git-paths"


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    for name, content in {
        "weights.bin": b"w" * 5000,
        "empty": b"",
        "sub/a b.txt": b"text",
        "sub-dir/x": b"x",  # sorts before sub/ by bytes, and after it by components
        "sub/übung": b"u",
        ".hidden": b"h",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def signer(tmp_path):
    return new_key_pair(tmp_path / "key.pem", tmp_path / "key.pub.pem")


def theirs(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def they_verify(tmp_path, model, *options):
    """Ask their command whether a folder is what our bundle says."""
    where = ("--signature", tmp_path / "m.sig", "--public_key", tmp_path / "key.pub.pem")
    return theirs("verify", "key", *where, *options, model)


def all_files():
    """Return their hashing without the paths that it leaves out by default."""
    return hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def they_sign(tmp_path, model, config=None):
    writer = signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem")
    if config is not None:
        writer = writer.set_hashing_config(config)
    writer.sign(model, tmp_path / "m.sig")
    return (tmp_path / "m.sig").read_bytes()


def change(model):
    (model / "weights.bin").write_bytes(b"v" * 5000)


def add(model):
    (model / "sub/evil").write_bytes(b"")


def remove(model):
    (model / "empty").unlink()


def rename(model):
    (model / "empty").rename(model / "emptz")


def link(model):
    (model / "link").symlink_to("weights.bin")


ATTACKS = pytest.mark.parametrize("attack", [change, add, remove, rename, link])


# -- keys -----------------------------------------------------------------------------------


def test_their_command_verifies_our_bundle(tmp_path, model, signer):
    (tmp_path / "m.sig").write_bytes(sign(model, signer))
    result = they_verify(tmp_path, model)
    assert result.returncode == 0, result.stderr + result.stdout


def test_their_command_verifies_our_bundle_inside_the_folder(tmp_path, model, signer):
    inside = model / "model.sig"
    inside.write_bytes(sign(model, signer, bundle_path=inside))
    key = ("--public_key", tmp_path / "key.pub.pem")
    assert theirs("verify", "key", "--signature", inside, *key, model).returncode == 0


def test_their_command_needs_a_switch_where_git_files_are_signed(tmp_path, model, signer):
    (model / ".gitattributes").write_bytes(b"*.bin filter=lfs")
    (tmp_path / "m.sig").write_bytes(sign(model, signer))
    refused = they_verify(tmp_path, model)
    assert refused.returncode == 1
    assert ".gitattributes" in refused.stdout + refused.stderr
    assert they_verify(tmp_path, model, GIT_TOO).returncode == 0


@ATTACKS
def test_their_library_refuses_a_folder_that_was_changed(tmp_path, model, signer, attack):
    (tmp_path / "m.sig").write_bytes(sign(model, signer))
    key = tmp_path / "key.pub.pem"
    verifying.Config().use_elliptic_key_verifier(public_key=key).verify(model, tmp_path / "m.sig")
    attack(model)
    with pytest.raises(ValueError):
        verifying.Config().use_elliptic_key_verifier(public_key=key).verify(
            model, tmp_path / "m.sig"
        )


def test_their_command_refuses_another_key_and_an_edited_bundle(tmp_path, model, signer):
    (tmp_path / "m.sig").write_bytes(
        sign(model, FileSigner(ec.generate_private_key(ec.SECP256R1())))
    )
    assert they_verify(tmp_path, model).returncode == 1
    value = json.loads(sign(model, signer))
    payload = base64.b64decode(value["dsseEnvelope"]["payload"]).replace(b"empty", b"emptz")
    value["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (tmp_path / "m.sig").write_text(json.dumps(value))
    assert they_verify(tmp_path, model).returncode == 1


def test_we_verify_their_bundle(tmp_path, model, signer):
    result = theirs(
        "sign",
        "key",
        "--private_key",
        tmp_path / "key.pem",
        "--signature",
        tmp_path / "m.sig",
        model,
    )
    assert result.returncode == 0, result.stderr
    trust = KeyTrust((signer.public_key.pem,))
    verified = verify(model, (tmp_path / "m.sig").read_bytes(), trust)
    assert verified.name == "model"
    assert len(verified.snapshot.manifest.files) == 6


def test_we_verify_their_bundle_inside_the_folder(tmp_path, model, signer):
    inside = model / "model.sig"
    key = ("--private_key", tmp_path / "key.pem")
    assert theirs("sign", "key", *key, "--signature", inside, model).returncode == 0
    trust = KeyTrust((signer.public_key.pem,))
    verify(model, inside.read_bytes(), trust, bundle_path=inside)


@ATTACKS
def test_we_refuse_a_folder_that_was_changed_after_they_signed(tmp_path, model, signer, attack):
    bundle = they_sign(tmp_path, model)
    trust = KeyTrust((signer.public_key.pem,))
    verify(model, bundle, trust)
    attack(model)
    with pytest.raises(ClearanceRefused):
        verify(model, bundle, trust)


def test_we_refuse_what_they_left_unsigned(tmp_path, model, signer):
    """By default they leave git's files out, and then let anything lie there."""
    (model / ".git").mkdir()
    bundle = they_sign(tmp_path, model)
    (model / ".git/payload.py").write_bytes(b"import os")
    (model / ".gitattributes").write_bytes(b"* filter=evil")
    key = tmp_path / "key.pub.pem"
    verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(
        all_files()
    ).verify(model, tmp_path / "m.sig")
    with pytest.raises(ClearanceRefused, match=r"nobody signed.*\.git/payload\.py"):
        verify(model, bundle, KeyTrust((signer.public_key.pem,)))


def test_we_verify_git_files_that_they_did_sign(tmp_path, model, signer):
    (model / ".gitattributes").write_bytes(b"*.bin filter=lfs")
    bundle = they_sign(tmp_path, model, all_files())
    verify(model, bundle, KeyTrust((signer.public_key.pem,)))


@pytest.mark.parametrize("algorithm", ["blake2", "blake3"])
def test_we_verify_their_other_hashes(tmp_path, model, signer, algorithm):
    config = all_files().use_file_serialization(hashing_algorithm=algorithm)
    bundle = they_sign(tmp_path, model, config)
    trust = KeyTrust((signer.public_key.pem,))
    assert verify(model, bundle, trust).algorithm.startswith(algorithm)
    change(model)
    with pytest.raises(ClearanceRefused, match=r"weights\.bin"):
        verify(model, bundle, trust)


def test_we_refuse_their_shards(tmp_path, model, signer):
    config = all_files().use_shard_serialization()
    bundle = they_sign(tmp_path, model, config)
    with pytest.raises(ReceiptError, match="'shards'"):
        verify(model, bundle, KeyTrust((signer.public_key.pem,)))


def test_one_file_both_ways(tmp_path, model, signer):
    file = model / "weights.bin"
    verify(file, they_sign(tmp_path, file), KeyTrust((signer.public_key.pem,)))
    (tmp_path / "m.sig").write_bytes(sign(file, signer))
    assert they_verify(tmp_path, file).returncode == 0


@pytest.mark.parametrize("curve", [ec.SECP384R1, ec.SECP521R1])
def test_we_verify_their_larger_keys(tmp_path, model, curve):
    key = ec.generate_private_key(curve())
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    bundle = they_sign(tmp_path, model)
    verify(model, bundle, KeyTrust((public,)))
    add(model)
    with pytest.raises(ClearanceRefused):
        verify(model, bundle, KeyTrust((public,)))


# -- certificates ---------------------------------------------------------------------------


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def issue(subject, key, issuer, issuer_key, *, ca):
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    unused += ("crl_sign", "encipher_only", "decipher_only")
    flags = dict.fromkeys(unused, False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **flags), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture
def certified(tmp_path):
    """Write a root, an intermediate and a leaf; return the signer."""
    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = issue("root", root_key, None, root_key, ca=True)
    middle = issue("middle", middle_key, root, root_key, ca=True)
    leaf = issue("signer", key, middle, middle_key, ca=False)
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    for name, certificate in {"root": root, "middle": middle, "leaf": leaf}.items():
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    return FileSigner(key)


def test_their_command_verifies_our_bundle_with_a_certificate(tmp_path, model, certified):
    chain = (tmp_path / "leaf.pem").read_bytes() + (tmp_path / "middle.pem").read_bytes()
    (tmp_path / "m.sig").write_bytes(sign(model, certified, certificates=chain))
    check = ("verify", "certificate", "--signature", tmp_path / "m.sig", "--certificate_chain")
    result = theirs(*check, tmp_path / "root.pem", model)
    assert result.returncode == 0, result.stderr + result.stdout
    change(model)
    assert theirs(*check, tmp_path / "root.pem", model).returncode == 1


def test_we_verify_their_bundle_with_a_certificate(tmp_path, model, certified):
    result = theirs(
        *("sign", "certificate", "--private_key", tmp_path / "key.pem"),
        *("--signing_certificate", tmp_path / "leaf.pem"),
        *("--certificate_chain", tmp_path / "middle.pem", "--signature", tmp_path / "m.sig", model),
    )
    assert result.returncode == 0, result.stderr
    bundle = (tmp_path / "m.sig").read_bytes()
    trust = CertificateTrust.load(tmp_path / "root.pem", identity="CN=signer")
    assert verify(model, bundle, trust).signatory.name == "CN=signer"
    other_key = ec.generate_private_key(ec.SECP256R1())
    other = issue("root", other_key, None, other_key, ca=True)
    stranger = CertificateTrust(anchors=other.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ReceiptError, match="not trusted"):
        verify(model, bundle, stranger)
    change(model)
    with pytest.raises(ClearanceRefused, match=r"weights\.bin"):
        verify(model, bundle, trust)
