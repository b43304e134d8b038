"""Encrypted files and volumes.

Envelopes come from the programs and libraries that people use: GnuPG, OpenSSL, Info-ZIP,
cryptography, joserfc, pyarrow. Where none is at hand (age, zip with AES, 7z, AWS Encryption
SDK) they are built here from their specifications. Volumes are fake trees of ``/proc`` and
``/sys``: no test may set up dm-crypt.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import io
import os
import random
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from joserfc import jwe, jws
from joserfc.jwk import OctKey

from sluicegate.errors import SubjectChangedError
from sluicegate.model import Outcome, Severity
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.files import AREA, QUESTIONS, devices, examine, volumes
from sluicegate.stages.encryption.files.envelopes import identify
from sluicegate.stages.encryption.files.parquet import read_layout
from sluicegate.stages.encryption.files.structure import Standing, looks_random
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

TEXT = b"name,age\n" + b"".join(b"person%d,%d\n" % (n, n % 90) for n in range(2000))
NOISE = random.Random(1).randbytes(200_000)


def told(data):
    return identify(io.BytesIO(data))


# Envelopes ------------------------------------------------------------------------------


def unpadded(data):
    return base64.b64encode(data).rstrip(b"=")


def age(payload, *, stanzas=None, plain=False):
    """Encrypt to one X25519 recipient, as the specification of age says."""
    file_key, ours, theirs = os.urandom(16), *(x25519.X25519PrivateKey.generate() for _ in "ab")
    share, to = (key.public_key().public_bytes_raw() for key in (ours, theirs))
    secret = ours.exchange(theirs.public_key())
    wrap = HKDF(hashes.SHA256(), 32, share + to, b"age-encryption.org/v1/X25519").derive(secret)
    body = unpadded(ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, None))
    header = b"age-encryption.org/v1\n"
    header += stanzas if stanzas is not None else b"-> X25519 %s\n%s\n" % (unpadded(share), body)
    header += b"---"
    mac_key = HKDF(hashes.SHA256(), 32, b"", b"header").derive(file_key)
    header += b" " + unpadded(hmac.digest(mac_key, header, "sha256")) + b"\n"
    nonce = os.urandom(16)
    key = ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, nonce, b"payload").derive(file_key))
    chunks = [payload[at : at + 65536] for at in range(0, len(payload), 65536)] or [b""]
    out = [header, nonce]
    for index, chunk in enumerate(chunks):
        counter = index.to_bytes(11, "big") + bytes([index == len(chunks) - 1])
        out.append(chunk + bytes(16) if plain else key.encrypt(counter, chunk, None))
    return b"".join(out)


def armoured_age(data):
    text = base64.b64encode(data)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    begin, end = (b"-----%s AGE ENCRYPTED FILE-----" % word for word in (b"BEGIN", b"END"))
    return b"\n".join([begin, *lines, end]) + b"\n"


def zip_aes(entries, *, gap=b""):
    """Write a zip archive; each entry (name, content, key or None) is AES if it has a key."""
    out, directory = io.BytesIO(), []
    for name, content, encrypted in entries:
        at = out.tell()
        if encrypted:
            method, flags = 99, 1
            extra = struct.pack("<HHH2sBH", 0x9901, 7, 2, b"AE", 3, 0)
            data = encrypted if isinstance(encrypted, bytes) else os.urandom(len(content) + 28)
        else:
            method, flags, extra, data = 0, 0, b"", content
        crc = 0 if encrypted else zlib.crc32(content)
        common = struct.pack(
            "<HHHHHLLLHH",
            51,
            flags,
            method,
            0,
            33,
            crc,
            len(data),
            len(content),
            len(name),
            len(extra),
        )
        out.write(b"PK\x03\x04" + common + name + extra + data + gap)
        central = b"PK\x01\x02\x33\x00" + common + struct.pack("<HHHLL", 0, 0, 0, 0, at)
        directory.append(central + name + extra)
    at, joined = out.tell(), b"".join(directory)
    out.write(joined)
    count = len(directory)
    out.write(b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, count, count, len(joined), at, 0))
    return out.getvalue()


def seven_zip(coder, *, kind=0x17, packed=NOISE[:4000], coders=None):
    number = lambda n: bytes([0x80 | n >> 8, n & 255]) if n > 127 else bytes([n])  # noqa: E731
    chain = coders or [coder]
    header = bytes([kind]) + (b"\x04" if kind == 1 else b"")
    header += b"\x06\x00\x01\x09" + number(len(packed)) + b"\x00" + b"\x07\x0b"
    header += bytes([1]) + b"\x00" + bytes([len(chain)])
    for one in chain:
        header += bytes([0x20 | len(one)]) + one + b"\x02\x53\x07"
    header += b"\x01\x00" * (len(chain) - 1)
    header += b"\x0c" + number(len(packed)) * len(chain) + b"\x00\x00"
    fields = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    start = b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(fields)) + fields
    return start + packed + header


AES_7Z, LZMA_7Z = bytes.fromhex("06f10701"), bytes.fromhex("030101")


def aws_message(payload, *, version=2, suite=0x0478, frame=4096, plain=False):
    part = lambda data: struct.pack(">H", len(data)) + data  # noqa: E731
    head = bytes([version]) + (b"\x80" if version == 1 else b"") + struct.pack(">H", suite)
    head += os.urandom(16 if version == 1 else 32) + part(b"")
    head += struct.pack(">H", 1) + part(b"aws-kms") + part(b"arn") + part(os.urandom(184))
    head += b"\x02" + (bytes(4) + b"\x0c" if version == 1 else b"") + struct.pack(">I", frame)
    head += os.urandom(28 if version == 1 else 48)
    chunks = [payload[at : at + frame] for at in range(0, len(payload), frame)]
    body = b""
    for index, chunk in enumerate(chunks, 1):
        content = chunk if plain else os.urandom(len(chunk))
        if index == len(chunks):
            body += b"\xff\xff\xff\xff" + struct.pack(">I", index) + os.urandom(12)
            body += struct.pack(">I", len(chunk)) + content + os.urandom(16)
        else:
            body += struct.pack(">I", index) + os.urandom(12) + content + os.urandom(16)
    foot = part(os.urandom(103)) if suite in (0x0578, 0x0378) else b""
    return head + body + foot


@pytest.fixture(scope="session")
def gnupg(tmp_path_factory):
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)

    def run(*words, data=TEXT):
        common = ["gpg", "--homedir", str(home), "--batch", "--yes", "--quiet", "--trust-model"]
        common += ["always", "--pinentry-mode", "loopback", "--passphrase", "pass"]
        return subprocess.run([*common, *words], input=data, capture_output=True, check=True).stdout

    run("--quick-gen-key", "me@example.test", "future-default", "default", "never", data=b"")
    yield run
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture(scope="session")
def openssl():
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def run(*words, data=TEXT):
        return subprocess.run(
            ["openssl", *words], input=data, capture_output=True, check=True
        ).stdout

    return run


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    made = x509.CertificateBuilder(
        name,
        name,
        key.public_key(),
        1,
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2120, 1, 1, tzinfo=UTC),
    )
    made = made.sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("certificate") / "me.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return made, key, path


SECRET_KEY = OctKey.import_key(bytes(range(32)))


def jwe_compact(enc="A256GCM", alg="A256KW", payload=TEXT):
    return jwe.encrypt_compact({"alg": alg, "enc": enc}, payload, SECRET_KEY).encode()


def good():
    """Whole envelopes that need no program."""
    return {
        "age": age(TEXT),
        "age of one chunk exactly": age(NOISE[:65536]),
        "age of two chunks": age(NOISE[:70000]),
        "age of nothing": age(b""),
        "armoured age": armoured_age(age(TEXT)),
        "fernet": Fernet(Fernet.generate_key()).encrypt(TEXT),
        "fernet with a line end": Fernet(Fernet.generate_key()).encrypt(b"x") + b"\n",
        "jwe": jwe_compact(),
        "jwe cbc": jwe_compact("A128CBC-HS256"),
        "aws v2": aws_message(TEXT),
        "aws v2 signed": aws_message(TEXT, suite=0x0578),
        "aws v1": aws_message(TEXT, version=1, suite=0x0378),
        "zip": zip_aes([(b"a", TEXT, True), (b"b", b"x", True)]),
        "zip with a folder": zip_aes([(b"d/", b"", False), (b"d/b", TEXT, True)]),
        "7z": seven_zip(AES_7Z),
        "7z with names in clear": seven_zip(AES_7Z, kind=1),
        "7z after compression": seven_zip(None, kind=1, coders=[AES_7Z, LZMA_7Z]),
    }


@pytest.mark.parametrize("name", good())
def test_whole_envelopes_are_encrypted(name):
    assert told(good()[name]).standing is Standing.ENCRYPTED


@pytest.mark.parametrize("name", good())
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, -1])
def test_truncated_envelopes_never_pass(name, keep):
    data = good()[name]
    data = data.rstrip(b"\n") if name.startswith(("fernet", "armoured")) else data
    cut = data[: int(len(data) * keep)] if keep > 0 else data[:-1]
    if name.startswith("age") and len(data) > 200 and keep != -1:
        # Without the key, a cut inside of a chunk looks like a shorter file.
        assert told(cut[:60]).standing is not Standing.ENCRYPTED
        return
    if keep == -1 and name.startswith("age") and len(data) > 300:
        return
    if name.startswith("fernet") and (len(cut) * 3 // 4 - 57) % 16 == 0:
        cut = cut[:-2]  # without the key, whole blocks less look like a shorter token
    assert told(cut).standing is not Standing.ENCRYPTED


@pytest.mark.parametrize(
    "data",
    [
        age(TEXT, plain=True),
        aws_message(TEXT, plain=True),
        zip_aes([(b"a", TEXT, TEXT)]),
        b"Salted__" + TEXT,
        seven_zip(AES_7Z, packed=TEXT[:4000]),
        base64.urlsafe_b64encode(
            b"\x80" + bytes(4) + os.urandom(20) + bytes(1600) + os.urandom(32)
        ),
    ],
    ids=["age", "aws", "zip", "openssl", "7z", "fernet"],
)
def test_clear_text_in_an_envelope_is_found(data):
    assert told(data).standing is Standing.BROKEN


@pytest.mark.parametrize(
    "stanzas",
    [
        b"",
        b"-> X25519 abc\nAAAA\n",
        b"-> X25519\n\n",
        b"-> scrypt salt 18\n" + b"A" * 43 + b"\n-> X25519 abc\n" + b"A" * 43 + b"\n",
        b"-> X25519  two-spaces\n" + b"A" * 43 + b"\n",
        b"-> X25519 abc\n" + b"A" * 65 + b"\n",
    ],
)
def test_malformed_age_headers(stanzas):
    assert told(age(TEXT, stanzas=stanzas)).standing is Standing.BROKEN


def test_age_payloads_have_possible_lengths():
    data = age(b"")
    assert told(data).standing is Standing.ENCRYPTED
    assert told(data[:-1]).standing is Standing.BROKEN
    two = age(NOISE[:65536])
    assert told(two + bytes(16)).standing is Standing.BROKEN, "an empty last chunk"
    assert told(two + os.urandom(5)).standing is Standing.BROKEN, "less than a tag"
    assert told(two + os.urandom(17)).standing is Standing.ENCRYPTED


def test_age_header_without_its_mac_line():
    data = age(TEXT)
    at = data.index(b"--- ")
    assert told(data[:at] + b"--- short\n" + data[at + 48 :]).standing is Standing.BROKEN


def test_endless_age_header():
    stanza = b"-> X25519 abc\n" + b"A" * 43 + b"\n"
    assert told(b"age-encryption.org/v1\n" + stanza * 20000).standing is Standing.UNTOLD


def test_openpgp(gnupg):
    for words in (["-e", "-r", "me@example.test"], ["-c"], ["-se", "-r", "me@example.test"]):
        for armour in ([], ["--armor"]):
            whole = gnupg(*words, *armour)
            assert told(whole) == told(whole.replace(b"\n", b"\r\n")) or not armour
            assert told(whole).standing is Standing.ENCRYPTED, (words, armour)
            assert told(whole[:-1] if not armour else whole[:-30]).standing is Standing.BROKEN
            assert told(whole[: len(whole) // 2]).standing is not Standing.ENCRYPTED
    large = gnupg("-c", data=NOISE * 5)
    assert told(large).standing is Standing.ENCRYPTED
    assert told(large + b"x").standing is Standing.BROKEN
    literal = b"\xcb\x07b\x00" + bytes(5)  # a whole packet in clear behind the ciphertext
    assert told(large + literal).standing is Standing.BROKEN


def test_openpgp_that_is_not_encrypted(gnupg):
    for words in (["-s"], ["--store"], ["-s", "-z", "0"]):
        assert told(gnupg(*words, "--armor")).standing is Standing.CLEAR, words
        assert told(gnupg(*words)).standing is Standing.CLEAR, words
    assert told(gnupg("--clearsign")).standing is Standing.CLEAR


def test_openpgp_without_integrity_protection_is_weak(gnupg):
    data = gnupg("--rfc2440", "-c", "--cipher-algo", "AES256", "--disable-mdc")
    assert data
    if told(data).standing is not Standing.WEAK:  # newer versions protect all the same
        keys = data[: 2 + data[1]]
        data = keys + b"\xc9\xff" + struct.pack(">I", len(NOISE)) + NOISE
    assert told(data).standing is Standing.WEAK


@pytest.mark.parametrize("cipher", ["3DES", "CAST5", "BLOWFISH"])
def test_openpgp_with_a_cipher_of_short_blocks_is_weak(gnupg, cipher):
    data = gnupg("-c", "--cipher-algo", cipher)
    assert told(data).standing is Standing.WEAK
    assert "64 bits" in told(data).note
    assert told(data[:-1]).standing is Standing.BROKEN


def test_openpgp_armour_with_a_wrong_checksum(gnupg):
    lines = gnupg("-c", "--armor").splitlines(keepends=True)
    assert lines[-2].startswith(b"=")
    lines[-2] = b"=AAAA\n"
    assert told(b"".join(lines)).standing is Standing.BROKEN
    assert told(b"".join(lines[:-2] + lines[-1:])).standing is Standing.ENCRYPTED, "optional"


def test_openpgp_session_keys_without_ciphertext(gnupg):
    data = gnupg("-c")
    assert told(data[: 2 + data[1]]).standing is Standing.BROKEN


def test_openpgp_ciphertext_without_any_session_key():
    sealed = b"\xd2\xff" + struct.pack(">I", len(NOISE) + 1) + b"\x01" + NOISE
    assert told(b"\xca\x03PGP" + sealed).standing is Standing.UNTOLD


def test_openssl_enc_is_weak(openssl):
    data = openssl("enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:secret")
    assert data.startswith(b"Salted__")
    assert told(data).standing is Standing.WEAK
    assert told(data[:16]).standing is Standing.BROKEN


def test_cms(openssl, certificate):
    path = str(certificate[2])
    for form in (["-outform", "DER"], ["-outform", "PEM"]):
        for how in (["-aes-256-cbc"], ["-aes256", "-stream"], ["-aes-256-gcm"]):
            data = openssl("cms", "-encrypt", "-binary", *how, *form, path)
            assert told(data).standing is Standing.ENCRYPTED, (form, how)
            assert told(data[: len(data) // 2]).standing is Standing.BROKEN
            assert told(data[:-3]).standing is Standing.BROKEN
    weak = openssl("cms", "-encrypt", "-binary", "-des3", "-outform", "DER", path)
    assert told(weak).standing is Standing.WEAK
    der = openssl("cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", path)
    assert told(der + b"\x00").standing is Standing.BROKEN


def test_cms_of_another_library(certificate):
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(TEXT).add_recipient(certificate[0])
    for form in (serialization.Encoding.DER, serialization.Encoding.PEM):
        assert (
            told(builder.encrypt(form, [pkcs7.PKCS7Options.Binary])).standing is Standing.ENCRYPTED
        )


def test_signed_cms_is_clear(certificate):
    made, key, _ = certificate
    builder = pkcs7.PKCS7SignatureBuilder().set_data(TEXT).add_signer(made, key, hashes.SHA256())
    for form in (serialization.Encoding.DER, serialization.Encoding.PEM):
        assert told(builder.sign(form, [pkcs7.PKCS7Options.Binary])).standing is Standing.CLEAR


def test_jwe_in_json():
    message = jwe.GeneralJSONEncryption({"enc": "A256GCM"}, TEXT)
    message.add_recipient({"alg": "A256KW"}, SECRET_KEY)
    import json

    value = jwe.encrypt_json(message, None)
    assert told(json.dumps(value).encode()).standing is Standing.ENCRYPTED
    assert told(json.dumps({**value, "tag": "AAAA"}).encode()).standing is Standing.BROKEN
    assert told(json.dumps({**value, "recipients": []}).encode()).standing is Standing.BROKEN
    del value["iv"]
    assert told(json.dumps(value).encode()).standing is Standing.CLEAR


def test_a_signed_token_is_clear():
    token = jws.serialize_compact({"alg": "HS256"}, b"payload", SECRET_KEY).encode()
    assert told(token).standing is Standing.CLEAR


@pytest.mark.parametrize("change", ["enc", "alg", "tag", "empty"])
def test_jwe_that_is_not_one(change):
    parts = jwe_compact().split(b".")
    if change == "enc":
        parts[0] = unpadded(b'{"alg":"dir","enc":"none"}')
    if change == "alg":
        parts[0] = unpadded(b'{"alg":"none","enc":"A256GCM"}')
    if change == "tag":
        parts[4] = parts[4][:8]
    if change == "empty":
        parts[3] = b""
    assert told(b".".join(parts)).standing is Standing.BROKEN


def test_aws_messages_that_are_not_ones():
    whole = aws_message(TEXT)
    assert told(whole + b"\x00").standing is Standing.BROKEN
    assert told(b"\x02\x09\x99" + whole[3:]).standing is not Standing.ENCRYPTED
    swapped = aws_message(TEXT, frame=1000)
    at = swapped.index(struct.pack(">I", 2), 290)
    assert told(swapped[:at] + struct.pack(">I", 7) + swapped[at + 4 :]).standing is Standing.BROKEN


def test_zipcrypto_is_weak(tmp_path):
    if shutil.which("zip") is None:
        pytest.skip("zip is not installed")
    (tmp_path / "a.csv").write_bytes(TEXT)
    words = ["zip", "-q", "-P", "password", "a.zip", "a.csv"]
    subprocess.run(words, cwd=tmp_path, check=True)
    assert told((tmp_path / "a.zip").read_bytes()).standing is Standing.WEAK


def test_zip_with_one_entry_in_clear():
    assert told(zip_aes([(b"a", TEXT, True), (b"b", TEXT, False)])).standing is Standing.CLEAR


def test_zip_with_hidden_bytes():
    assert told(zip_aes([(b"a", TEXT, True)], gap=TEXT)).standing is Standing.UNTOLD
    assert told(zip_aes([(b"a", TEXT, True)], gap=bytes(16))).standing is Standing.ENCRYPTED


def test_zip_whose_local_header_differs():
    data = bytearray(zip_aes([(b"a", TEXT, True)]))
    data[6] = 0
    assert told(bytes(data)).standing is Standing.BROKEN


def test_plain_zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", TEXT)
    assert told(out.getvalue()).standing is Standing.CLEAR


def test_seven_zip_without_encryption():
    assert told(seven_zip(LZMA_7Z, kind=1)).standing is Standing.CLEAR
    assert told(seven_zip(LZMA_7Z)).standing is Standing.UNTOLD


@pytest.mark.parametrize("at", [8, 20, -1], ids=["checksum", "length", "last byte of the header"])
def test_damaged_seven_zip(at):
    damaged = bytearray(seven_zip(AES_7Z))
    damaged[at] ^= 1
    assert told(bytes(damaged)).standing is Standing.BROKEN


@pytest.mark.parametrize(
    ("data", "standing"),
    [
        (TEXT, Standing.CLEAR),
        (b"{}", Standing.CLEAR),
        (b"x", Standing.CLEAR),
        (NOISE, Standing.UNTOLD),
        (zlib.compress(TEXT * 50)[:50], Standing.CLEAR),
        (b"\x1f\x8b" + NOISE, Standing.CLEAR),
        (b"\x85\x01" + TEXT, Standing.CLEAR),
        (b"PAR1" + TEXT, Standing.BROKEN),
        (b"PAREPARE", Standing.BROKEN),
        (b"7z\xbc\xaf\x27\x1c", Standing.BROKEN),
        (b"Salted__", Standing.BROKEN),
        (b"-----BEGIN PGP MESSAGE-----\n", Standing.BROKEN),
        (b"-----BEGIN CMS-----\n", Standing.BROKEN),
        (b"age-encryption.org/v1\n", Standing.BROKEN),
        (b"gAAAAA", Standing.BROKEN),
    ],
)
def test_other_files(data, standing):
    assert told(data).standing is standing


def test_random_changes_never_raise():
    chance = random.Random(7)
    for whole in good().values():
        for _ in range(25):
            data = bytearray(whole[:6000])
            for _ in range(chance.randrange(1, 8)):
                data[chance.randrange(min(400, len(data)))] = chance.randrange(256)
            told(bytes(data))


def test_noise_is_told_from_text():
    chance = random.Random(3)
    assert all(
        looks_random(chance.randbytes(size)) for size in (256, 1000, 4096) for _ in range(300)
    )
    assert not looks_random(TEXT[:256])
    assert not looks_random(bytes(256))
    assert looks_random(bytes(255)), "too short to tell"


# Parquet --------------------------------------------------------------------------------


class Kms(pe.KmsClient):
    """Wraps nothing: the tests look at files, not at key management."""

    def __init__(self, _config=None):
        super().__init__()

    def wrap_key(self, key_bytes, master_key_identifier):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return base64.b64decode(wrapped_key)


def parquet(columns=(), *, rows=3000, compression="none", index=False, **options):
    """Write a file whose columns ``columns`` are encrypted; all of them by default."""
    numbers = list(range(rows or 0))
    table = pa.table({"name": [f"person{n}" for n in numbers], "age": numbers})
    keys = {"column_keys": {"c": list(columns)}} if columns else {}
    encryption = pe.EncryptionConfiguration(footer_key="f", **keys, **options)
    factory = pe.CryptoFactory(Kms)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), encryption)
    out = io.BytesIO()
    how = {"encryption_properties": properties, "compression": compression}
    with pq.ParquetWriter(out, table.schema, write_page_index=index, **how) as writer:
        if rows is not None:
            writer.write_table(table, row_group_size=1000)
    return out.getvalue()


BOTH = ("name", "age")


@pytest.mark.parametrize(
    "options",
    [
        {"columns": BOTH},
        {"columns": BOTH, "plaintext_footer": True},
        {"columns": BOTH, "encryption_algorithm": "AES_GCM_CTR_V1"},
        {"columns": BOTH, "encryption_algorithm": "AES_GCM_CTR_V1", "plaintext_footer": True},
        {"columns": BOTH, "index": True, "compression": "snappy"},
        {"columns": BOTH, "index": True, "plaintext_footer": True},
        {"uniform_encryption": True, "compression": "zstd"},
    ],
)
def test_parquet_with_every_column_encrypted(options):
    data = parquet(**options)
    assert b"person" not in data
    layout = read_layout(io.BytesIO(data))
    assert layout.modular
    assert (layout.clear, layout.leaking, layout.hidden, layout.doubt) == ((), (), False, "")
    assert told(data).standing is Standing.ENCRYPTED


def test_parquet_names_columns_in_clear():
    layout = read_layout(io.BytesIO(parquet(["age"], plaintext_footer=True)))
    assert layout.modular
    assert layout.clear == ("name",)


@pytest.mark.parametrize("column", BOTH)
@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_an_encrypted_footer_hides_no_column_in_clear(column, compression):
    data = parquet([column], compression=compression)
    assert data.startswith(b"PARE")
    layout = read_layout(io.BytesIO(data))
    assert layout.hidden
    assert told(data).standing is Standing.CLEAR


def test_ordinary_parquet_is_not_modular():
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}), out)
    assert not read_layout(io.BytesIO(out.getvalue())).modular
    assert told(out.getvalue()).standing is Standing.CLEAR


def test_parquet_that_claims_to_be_encrypted():
    """The footer of an encrypted file behind pages that are not."""
    data = parquet(BOTH, plaintext_footer=True)
    length = int.from_bytes(data[-8:-4], "little")
    pages = len(data) - 8 - length
    faked = b"PAR1" + (TEXT * 99)[: pages - 4] + data[pages:]
    assert told(faked).standing is not Standing.ENCRYPTED
    framed = bytearray(data)
    at = 4
    while at < pages:  # keep the frames, and put clear text into them
        size = int.from_bytes(data[at : at + 4], "little")
        framed[at + 4 : at + 4 + size] = (TEXT * 9)[:size]
        at += 4 + size
    layout = read_layout(io.BytesIO(bytes(framed)))
    assert "name" in layout.clear


def test_parquet_without_rows_shows_nothing():
    layout = read_layout(io.BytesIO(parquet(BOTH, rows=None, plaintext_footer=True)))
    assert layout.modular
    assert layout.doubt
    assert layout.envelope().standing is Standing.UNTOLD


def test_layout_agrees_with_pyarrow(tmp_path):
    """The interpreter may abort when it reads without keys: each question has its own."""
    asks = (
        "import sys, pyarrow.parquet as pq\n"
        "try: next(pq.ParquetFile(sys.argv[1]).iter_batches(batch_size=1, columns=[sys.argv[2]]))\n"
        "except OSError as e: sys.exit(3 if 'decrypt' in str(e).lower() else 4)\n"
    )
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet(["age"], plaintext_footer=True))
    layout = read_layout(io.BytesIO(path.read_bytes()))
    for name in BOTH:
        words = [sys.executable, "-I", "-c", asks, str(path), name]
        result = subprocess.run(words, capture_output=True, timeout=60, check=False)
        assert (result.returncode == 0) == (name in layout.clear), result.stderr


@pytest.mark.parametrize("seed", range(4))
def test_damaged_parquet_never_raises(seed):
    chance = random.Random(seed)
    whole = parquet(["age"], plaintext_footer=seed % 2 == 0, rows=100)
    length = int.from_bytes(whole[-8:-4], "little")
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            data[-chance.randrange(1, length + 9)] = chance.randrange(256)
        told(bytes(data))


# The room -------------------------------------------------------------------------------


def scope_of(path, **settings):
    snapshot = take_snapshot(SubjectUri.parse(path))
    return Scope(
        settings=Settings(**settings),
        snapshot=snapshot,
        context=Context(),
        aws=Aws(),
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )


def answers(scope, system=None):
    return {check.id.removeprefix("encryption."): check for check in examine(scope, system)}


NO_VOLUME = {"skip": ("encryption.volume",)}


def folder(tmp_path, **files):
    made = tmp_path / "subject"
    made.mkdir()
    for name, data in files.items():
        (made / name.replace("_", ".")).write_bytes(data)
    return made


def test_client_side_passes(tmp_path):
    where = folder(tmp_path, a_age=age(TEXT), b_parquet=parquet(uniform_encryption=True), c=b"")
    scope = scope_of(where, client_side=True, **NO_VOLUME)
    found = answers(scope)
    assert {name: one.outcome for name, one in found.items()} == {
        "file_client_side": Outcome.PASSED,
        "file_parquet_columns": Outcome.PASSED,
    }
    assert scope.metrics == {"files_age": 1, "files_empty": 1, "files_parquet_modular": 1}
    assert [row["format"] for row in scope.tables["encrypted files"]] == [
        "age", "empty", "parquet-modular",
    ]  # fmt: skip


def test_client_side_names_the_files_that_fail(tmp_path):
    where = folder(
        tmp_path, a_age=age(TEXT), b_csv=TEXT, c_csv=TEXT, d_bin=NOISE, e_age=age(TEXT)[:80]
    )
    check = answers(scope_of(where, client_side=True, **NO_VOLUME))["file_client_side"]
    assert check.outcome is Outcome.FAILED
    assert check.severity is Severity.CRITICAL
    assert sorted(finding.files for finding in check.findings) == [
        ("b.csv", "c.csv"), ("d.bin",), ("e.age",),
    ]  # fmt: skip
    assert b"person" not in repr(check).encode()


def test_client_side_is_unknown_for_noise(tmp_path):
    where = folder(tmp_path, a_age=age(TEXT), d_db=NOISE)
    check = answers(scope_of(where, client_side=True, **NO_VOLUME))["file_client_side"]
    assert check.outcome is Outcome.UNKNOWN
    assert "no proof" in check.reason
    assert "d.db" in check.reason


def test_client_side_is_unknown_for_empty_files_only(tmp_path):
    check = answers(scope_of(folder(tmp_path, a=b""), client_side=True, **NO_VOLUME))
    assert check["file_client_side"].outcome is Outcome.UNKNOWN


def test_parquet_columns_are_asked_wherever_there_is_modular_encryption(tmp_path):
    where = folder(tmp_path, a_parquet=parquet(["age"], plaintext_footer=True), b_csv=TEXT)
    found = answers(scope_of(where, **NO_VOLUME))
    assert list(found) == ["file_parquet_columns"]
    check = found["file_parquet_columns"]
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].files == ("a.parquet",)
    assert check.findings[0].evidence["clear"] == ["name"]


def test_parquet_columns_that_are_hidden(tmp_path):
    where = folder(tmp_path, a_parquet=parquet(["age"]), b_parquet=parquet(BOTH))
    check = answers(scope_of(where, **NO_VOLUME))["file_parquet_columns"]
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].files == ("a.parquet",)


def test_parquet_columns_of_a_broken_file_are_unknown(tmp_path):
    where = folder(tmp_path, a_parquet=parquet(BOTH)[:-9])
    check = answers(scope_of(where, **NO_VOLUME))["file_parquet_columns"]
    assert check.outcome is Outcome.UNKNOWN


def test_nothing_is_said_without_modular_encryption(tmp_path):
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}), out)
    where = folder(tmp_path, a_parquet=out.getvalue())
    assert answers(scope_of(where, **NO_VOLUME)) == {}


def test_unwanted_questions_are_not_asked(tmp_path):
    where = folder(tmp_path, a_csv=TEXT)
    assert answers(scope_of(where, client_side=True, checks=("other.*",))) == {}


def test_changed_bytes_stop_the_run(tmp_path):
    where = folder(tmp_path, a_csv=TEXT)
    scope = scope_of(where, client_side=True, **NO_VOLUME)
    (where / "a.csv").write_bytes(TEXT.replace(b"person", b"nosrep"))
    with pytest.raises(SubjectChangedError):
        answers(scope)


def test_reports_are_the_same_every_time(tmp_path):
    where = folder(tmp_path, a_csv=TEXT, b_bin=NOISE, c_parquet=parquet(["age"]))
    first, second = (answers(scope_of(where, client_side=True)) for _ in range(2))
    assert first == second


def test_questions_of_the_room():
    assert AREA.questions == QUESTIONS
    assert AREA.resources(Settings(), SubjectUri("s3", "bucket/key"))
    assert not AREA.resources(Settings(), SubjectUri("airflow-connection", "x"))


# Volumes --------------------------------------------------------------------------------


class Machine:
    """A fake ``/proc`` and ``/sys``."""

    def __init__(self, root):
        self.proc, self.sys = root / "proc", root / "sys"
        for one in (self.proc / "self", self.sys / "dev/block", self.sys / "class/block"):
            one.mkdir(parents=True)
        (self.sys / "devices").mkdir()
        self.mounts, self.zfs, self.fscrypt = [], None, None
        self.swaps()

    def device(self, name, number, *, uuid=None, slaves=(), within=None, dm=None, loop=None):
        folder = (within or self.sys / "devices") / name
        folder.mkdir()
        if within:
            (folder / "partition").write_text("1\n")
        if uuid:
            (folder / "dm").mkdir()
            (folder / "dm/uuid").write_text(uuid + "\n")
            (folder / "dm/name").write_text((dm or name) + "\n")
        if loop:
            (folder / "loop").mkdir()
            (folder / "loop/backing_file").write_text(loop + "\n")
        (folder / "slaves").mkdir()
        for slave in slaves:
            (folder / "slaves" / slave.name).symlink_to(slave)
        for link in (self.sys / "dev/block" / number, self.sys / "class/block" / name):
            link.symlink_to(folder)
        return folder

    def mount(self, point, kind, *, number="0:99", source="none", options="rw"):
        where = f"{len(self.mounts)} 1 {number} / {point} rw,relatime shared:1"
        line = f"{where} - {kind} {source} {options}"
        self.mounts.append(line)
        (self.proc / "self/mountinfo").write_text("\n".join(self.mounts) + "\n")

    def swaps(self, *lines):
        head = "Filename\t\t\tType\t\tSize\tUsed\tPriority\n"
        (self.proc / "swaps").write_text(head + "".join(f"{line}\t1\t0\t-2\n" for line in lines))

    def system(self, platform="linux"):
        return volumes.System(
            platform=platform,
            proc=self.proc,
            sys=self.sys,
            run=lambda words: self.zfs,
            encrypted_inode=lambda path: self.fscrypt,
        )

    def ask(self, path="/data/set"):
        mounts = volumes.read_mounts(self.system())
        return volumes.volume(volumes.mount_of(path, mounts), self.system(), paths=(path,))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


LUKS = "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-data"


def test_luks(machine):
    disk = machine.device("sda", "8:0")
    machine.device("dm-0", "253:0", uuid=LUKS, slaves=[disk])
    machine.mount("/", "ext4", number="8:0")
    machine.mount("/data", "ext4", number="253:0")
    assert machine.ask().told is devices.Told.ENCRYPTED
    assert machine.ask("/other").told is devices.Told.UNKNOWN
    assert machine.ask("/database").told is devices.Told.UNKNOWN, "a name that only begins alike"


def test_lvm_on_luks_on_a_partition(machine):
    disk = machine.device("nvme0n1", "259:0")
    part = machine.device("nvme0n1p2", "259:2", within=disk)
    crypt = machine.device("dm-0", "253:0", uuid=LUKS, slaves=[part])
    machine.device("dm-1", "253:1", uuid="LVM-abc", slaves=[crypt])
    machine.mount("/data", "xfs", number="253:1")
    assert machine.ask().told is devices.Told.ENCRYPTED


def test_one_plain_disk_among_encrypted_ones(machine):
    disks = [machine.device(name, f"8:{n * 16}") for n, name in enumerate(["sda", "sdb"])]
    crypt = machine.device("dm-0", "253:0", uuid=LUKS, slaves=[disks[0]])
    machine.device("dm-1", "253:1", uuid="LVM-abc", slaves=[crypt, disks[1]])
    machine.mount("/data", "xfs", number="253:1")
    assert machine.ask().told is devices.Told.UNKNOWN


@pytest.mark.parametrize(
    "uuid",
    ["CRYPT-VERITY-abc-root", "CRYPT-INTEGRITY-abc", "LVM-CRYPT-LUKS2-x", "mpath-1", "CRYPT-NEW-x"],
)
def test_mappings_that_do_not_encrypt(machine, uuid):
    disk = machine.device("sda", "8:0")
    machine.device("dm-0", "253:0", uuid=uuid, slaves=[disk])
    machine.mount("/data", "ext4", number="253:0")
    assert machine.ask().told is devices.Told.UNKNOWN


def test_partition_of_an_encrypted_mapping(machine):
    disk = machine.device("sda", "8:0")
    crypt = machine.device("dm-0", "253:0", uuid=LUKS, slaves=[disk])
    machine.device("dm-0p1", "259:9", within=crypt)
    machine.mount("/data", "ext4", number="259:9")
    assert machine.ask().told is devices.Told.ENCRYPTED


def test_devices_in_a_circle(machine):
    one = machine.device("dm-0", "253:0")
    two = machine.device("dm-1", "253:1", slaves=[one])
    (one / "slaves/dm-1").symlink_to(two)
    machine.mount("/data", "ext4", number="253:0")
    assert machine.ask().told is devices.Told.UNKNOWN


def test_loop_device_on_an_encrypted_volume(machine):
    machine.device("dm-0", "253:0", uuid=LUKS)
    machine.device("loop0", "7:0", loop="/safe/image")
    machine.device("loop1", "7:1", loop="/data/image")
    machine.mount("/", "ext4", number="8:0")
    machine.mount("/safe", "ext4", number="253:0")
    machine.mount("/data", "ext4", number="7:0")
    assert machine.ask().told is devices.Told.ENCRYPTED
    machine.mount("/data", "ext4", number="7:1")
    assert machine.ask().told is devices.Told.UNKNOWN, "a loop device that lies on itself"


def test_btrfs_over_several_devices(machine):
    machine.device("dm-0", "253:0", uuid=LUKS, dm="one")
    machine.device("dm-1", "253:1", uuid=LUKS, dm="two")
    machine.mount("/data", "btrfs", number="0:40", source="/dev/mapper/one")
    assert machine.ask().told is devices.Told.ENCRYPTED
    members = machine.sys / "fs/btrfs/uuid/devices"
    members.mkdir(parents=True)
    for name in ("dm-0", "dm-1"):
        (members / name).symlink_to(machine.sys / "class/block" / name)
    assert machine.ask().told is devices.Told.ENCRYPTED
    machine.device("sdb", "8:16")
    (members / "sdb").symlink_to(machine.sys / "class/block/sdb")
    assert machine.ask().told is devices.Told.UNKNOWN


def test_device_that_is_not_visible(machine):
    machine.mount("/data", "ext4", number="8:1", source="/dev/sda1")
    assert machine.ask().told is devices.Told.UNKNOWN


@pytest.mark.parametrize(
    ("flag", "expected"), [(True, "encrypted"), (False, "cannot be told"), (None, "cannot be told")]
)
def test_fscrypt(machine, flag, expected):
    machine.device("sda", "8:0")
    machine.mount("/data", "ext4", number="8:0")
    machine.fscrypt = flag
    assert machine.ask().told.value == expected


def test_fscrypt_is_asked_of_the_real_kernel(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    assert devices.encrypted_inode(str(tmp_path / "x")) in (False, None)
    assert devices.encrypted_inode(str(tmp_path / "absent")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("aes-256-gcm\n", "encrypted"), ("off\n", "cannot be told"), ("-\n", "cannot be told"),
     ("rot13\n", "cannot be told"), (None, "cannot be told")],
)  # fmt: skip
def test_zfs(machine, text, expected):
    machine.mount("/data", "zfs", source="pool/data")
    machine.zfs = text
    assert machine.ask().told.value == expected


def test_zfs_data_set_with_a_strange_name(machine):
    machine.mount("/data", "zfs", source="-o")
    machine.zfs = "aes-256-gcm"
    assert machine.ask().told is devices.Told.UNKNOWN


def test_commands_are_bounded(monkeypatch):
    monkeypatch.setattr(volumes, "_SECONDS", 0.2)
    run = volumes.System().run
    assert run([sys.executable, "-c", "import time; time.sleep(9)"]) is None
    assert run(["/no/such/zfs"]) is None
    assert run([sys.executable, "-c", "import sys; sys.exit(1)"]) is None


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("nfs4", "rw,vers=4.2,sec=sys,addr=10.0.0.1", "in clear"),
        ("nfs4", "rw,sec=krb5i", "in clear"),
        ("nfs4", "rw,sec=krb5p", "cannot be told"),
        ("nfs", "rw,sec=sys,xprtsec=mtls", "cannot be told"),
        ("nfs4", "rw,sec=sys,addr=127.0.0.1", "cannot be told"),
        ("cifs", "rw,seal", "cannot be told"),
        ("cifs", "rw", "cannot be told"),
        ("overlay", "rw,lowerdir=/a,upperdir=/b", "cannot be told"),
        ("9p", "rw", "cannot be told"),
        ("fuse.gocryptfs", "rw", "encrypted"),
        ("fuse.gocryptfs-reverse", "rw", "cannot be told"),
        ("fuse.encfs", "rw", "in clear"),
        ("ecryptfs", "rw,ecryptfs_cipher=aes", "encrypted"),
        ("ramfs", "rw", "encrypted"),
        ("newfs", "rw", "cannot be told"),
    ],
)
def test_file_systems(machine, kind, options, expected):
    machine.mount("/data", kind, options=options)
    assert machine.ask().told.value == expected


def test_memory_and_swap(machine):
    machine.mount("/", "ext4", number="8:0")
    machine.mount("/data", "tmpfs")
    assert machine.ask().told is devices.Told.ENCRYPTED, "no swap"
    machine.device("sda2", "8:2")
    machine.swaps("/dev/sda2 partition")
    assert machine.ask().told is devices.Told.UNKNOWN
    machine.device("dm-3", "253:3", uuid="CRYPT-PLAIN-swap")
    machine.swaps("/dev/dm-3 partition")
    assert machine.ask().told is devices.Told.ENCRYPTED
    machine.swaps("/dev/dm-3 partition", "/swapfile file")
    assert machine.ask().told is devices.Told.UNKNOWN
    machine.mount("/data", "tmpfs", options="rw,noswap")
    assert machine.ask().told is devices.Told.ENCRYPTED


def test_compressed_memory_as_swap(machine):
    machine.mount("/data", "tmpfs")
    zram = machine.device("zram0", "252:0")
    (zram / "backing_dev").write_text("none\n")
    machine.swaps("/dev/zram0 partition")
    assert machine.ask().told is devices.Told.ENCRYPTED
    machine.device("sdb", "8:16")
    (zram / "backing_dev").write_text("/dev/sdb\n")
    assert machine.ask().told is devices.Told.UNKNOWN


def test_swap_that_cannot_be_listed(machine):
    machine.mount("/data", "tmpfs")
    (machine.proc / "swaps").unlink()
    assert machine.ask().told is devices.Told.UNKNOWN


def test_mounts_inside_of_the_subject(machine, tmp_path):
    where = tmp_path / "my data"
    (where / "inner").mkdir(parents=True)
    (where / "inner/a").write_bytes(TEXT)
    (where / "b").write_bytes(TEXT)
    machine.device("dm-0", "253:0", uuid=LUKS)
    machine.mount("/", "ext4", number="253:0")
    escaped = str(where).replace(" ", "\\040")
    machine.mount(f"{escaped}/inner", "nfs4", options="rw,sec=sys")
    machine.mount(f"{escaped}/unused", "nfs4", options="rw,sec=sys")
    found = {check.target: check for check in examine(scope_of(where), machine.system())}
    assert found["/"].outcome is Outcome.PASSED
    assert found[f"{where}/inner"].outcome is Outcome.FAILED
    assert found[f"{where}/inner"].severity is Severity.WARNING
    assert len(found) == 2


def test_volume_is_asked_though_files_are_encrypted(machine, tmp_path):
    where = folder(tmp_path, a_age=age(TEXT))
    machine.mount("/", "overlay")
    found = answers(scope_of(where, client_side=True), machine.system())
    assert found["file_client_side"].outcome is Outcome.PASSED
    assert found["volume"].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("platform", ["darwin", "win32", "aix"])
def test_other_systems_are_unknown(machine, tmp_path, platform):
    found = answers(scope_of(folder(tmp_path, a=TEXT)), machine.system(platform))
    assert found["volume"].outcome is Outcome.UNKNOWN


def test_no_mounts_are_unknown(machine, tmp_path):
    found = answers(scope_of(folder(tmp_path, a=TEXT)), machine.system())
    assert found["volume"].outcome is Outcome.UNKNOWN


def test_the_volume_of_this_machine_is_answered(tmp_path):
    checks = list(examine(scope_of(folder(tmp_path, a=TEXT))))
    assert [check.id for check in checks] == ["encryption.volume"]


def test_system_can_be_changed():
    assert dataclasses.replace(volumes.System(), platform="x").platform == "x"
