"""Which place a signing key is loaded from."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint

import pytest

from sluicegate.errors import ConfigurationError, KeyFileError
from sluicegate.receipts import signers
from sluicegate.receipts.keys import FileSigner, PublicKey, new_key_pair, write_public_key


@pytest.fixture
def added(monkeypatch):
    """Add loaders as installed distributions would."""

    def add(**targets):
        points = [EntryPoint(name, value, signers.GROUP) for name, value in targets.items()]
        monkeypatch.setattr(signers, "entry_points", lambda group: points)
        signers._added.cache_clear()

    yield add
    signers._added.cache_clear()


def load_test_key(location, password):
    assert location == "vault:gates"
    return load_test_key.signer


def load_nothing(location, password):
    return object()


@pytest.mark.parametrize("name", ["key.pem", "with:colon.pem", "C.pem"])
def test_a_path_is_a_key_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    made = new_key_pair(tmp_path / name, tmp_path / "public.pem", password=b"secret")
    for location in (str(tmp_path / name), name):
        loaded = signers.load(location, b"secret")
        assert isinstance(loaded, FileSigner)
        assert loaded.public_key == made.public_key


@pytest.mark.parametrize(
    "location", ["gcpkms://project/key?token=hidden", "file:///key.pem", "hashivault://hidden"]
)
def test_an_unknown_scheme_is_refused_without_repeating_the_location(location):
    with pytest.raises(ConfigurationError) as caught:
        signers.load(location)
    scheme = location.partition(":")[0]
    assert repr(scheme) in str(caught.value)
    assert "awskms, pkcs11" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_distribution_adds_a_place(tmp_path, added):
    load_test_key.signer = new_key_pair(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    added(vault=f"{__name__}:load_test_key")
    assert signers.load("vault:gates") is load_test_key.signer
    assert signers.schemes() == ("awskms", "pkcs11", "vault")


def test_a_built_in_place_cannot_be_taken_over(added):
    added(awskms=f"{__name__}:load_nothing")
    with pytest.raises(KeyFileError, match="no key of AWS KMS"):
        signers.load("awskms:gates")
    with pytest.raises(KeyFileError, match="no key of AWS KMS"):
        signers.load("AWSKMS:gates")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no.such.module:load", "cannot be imported"),
        (f"{__name__}:missing", "cannot be imported"),
        (f"{__name__}:__name__", "not a function"),
        (f"{__name__}:load_nothing", "not a signer"),
    ],
)
def test_a_broken_loader_is_an_error_of_configuration(added, target, words):
    added(vault=target)
    with pytest.raises(ConfigurationError, match=words):
        signers.load("vault:gates")


def test_a_key_file_is_checked_and_read_through_one_descriptor(tmp_path):
    new_key_pair(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    (tmp_path / "k.pem").chmod(0o640)
    with pytest.raises(KeyFileError, match="read by others"):
        signers.load(str(tmp_path / "k.pem"))
    (tmp_path / "large.pem").touch(mode=0o600)
    os.truncate(tmp_path / "large.pem", 1 << 30)
    with pytest.raises(KeyFileError, match="larger than"):
        signers.load(str(tmp_path / "large.pem"))
    os.mkfifo(tmp_path / "pipe.pem", 0o600)
    with pytest.raises(KeyFileError, match="not a file"):
        signers.load(str(tmp_path / "pipe.pem"))
    with pytest.raises(KeyFileError):
        PublicKey.load(tmp_path / "pipe.pem")


def test_a_public_key_file_is_never_overwritten(tmp_path):
    signer = new_key_pair(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    with pytest.raises(KeyFileError, match="exists"):
        write_public_key(tmp_path / "k.pub.pem", signer.public_key)
    write_public_key(tmp_path / "keys" / "copy.pub.pem", signer.public_key)
    assert PublicKey.load(tmp_path / "keys" / "copy.pub.pem") == signer.public_key
    with pytest.raises(KeyFileError, match="exists"):
        new_key_pair(tmp_path / "other.pem", tmp_path / "k.pub.pem")
    assert not (tmp_path / "other.pem").exists()
