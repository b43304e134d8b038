"""What a publisher vouches for: lists of digests, read strictly and compared file by file."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import pickle
import subprocess
import unicodedata

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest
from sluicegate.errors import ReceiptError
from sluicegate.receipts.keys import FileSigner
from sluicegate.receipts.oms import Envelope, KeyTrust, envelope, sign
from sluicegate.receipts.published import (
    Published,
    PublishedFile,
    compare,
    read_checksums,
    read_croissant,
    read_oms,
    read_published,
    verify_detached,
)
from sluicegate.receipts.published import model as published_model
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

A, B = hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"b").hexdigest()


def digests(published: Published) -> dict[str, str]:
    return {path: file.sha256.hex for path, file in published.files.items()}


def manifest(**files: bytes) -> Manifest:
    return Manifest.of(
        FileRecord(path=path, size=len(data), sha256=Digest.of(data))
        for path, data in files.items()
    )


@pytest.fixture
def signer():
    return FileSigner(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def trust(signer):
    return KeyTrust((signer.public_key.pem,))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"a")
    (folder / "sub/b c.csv").write_bytes(b"b")
    return folder


# -- checksum files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{A}  a.csv\n", {"a.csv": A}),
        (f"{A} *a.csv", {"a.csv": A}),
        (f"{A.upper()}  ./a.csv\n", {"a.csv": A}),
        (f"{A}  a.csv\r\n{B}  b\r\n", {"a.csv": A, "b": B}),
        (f"{A}  a  b.csv\n", {"a  b.csv": A}),
        (f"{A}   leading\n", {" leading": A}),
        (f"{A}  *star\n", {"*star": A}),
        (f"{A}  sub/ü.csv\n", {"sub/ü.csv": A}),
        (f"# made with love\n\n{A}  a\n", {"a": A}),
        (f"\\{A}  a\\nb\\\\c\n", {"a\nb\\c": A}),
        (f"\\{A}  a\\\\n\n", {"a\\n": A}),
        (f"{A}  a\\nb\n", {"a\\nb": A}),
        (f"{A}  a\u2028b\x0bc\x85d\n", {"a\u2028b\x0bc\x85d": A}),
        (f"SHA256 (a (1).csv) = {A}\n", {"a (1).csv": A}),
        (f"SHA256 (x) = y) = {A}\n", {"x) = y": A}),
        (f"\\SHA256 (a\\nb) = {A}\n", {"a\nb": A}),
        (f"SHA2-256(a.csv)= {A}\n", {"a.csv": A}),
        (f"SHA256(a.csv)= {A}\n", {"a.csv": A}),
        (f"{A}  a\n{A}  a\n", {"a": A}),
        (f"MD5 (a) = {'0' * 32}\nSHA256 (a) = {A}\n", {"a": A}),
    ],
)
def test_checksum_files_of_the_usual_forms_are_read(content, expected):
    published = read_checksums(content.encode())
    assert digests(published) == expected
    assert published.signer is None
    assert not published.complete
    assert not published.weak


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"{'0' * 32}  a.csv\n", "MD5"),
        (f"{'0' * 40}  a.csv\n", "SHA-1"),
        (f"{'0' * 128}  a.csv\n", "128 hexadecimal digits"),
        (f"{'0' * 63}  a.csv\n", "63 hexadecimal digits"),
        (f"SHA256 (a) = {'0' * 32}\n", "32 hexadecimal digits"),
        (f"MD5 (a) = {'0' * 32}\n", "SHA-256 is needed"),
        (f"SHA1 (a) = {'0' * 40}\n", "SHA-256 is needed"),
        (f"MD5 (a) = {A}\n", "not a SHA-256 and a name"),
        (f"SHA512 (a) = {A}\n", "expected SHA256"),
        ("", "no digests"),
        ("# nothing\n", "no digests"),
        (f"{A}\n", "not a SHA-256 and a name"),
        (f"{A} a.csv\n", "not a SHA-256 and a name"),
        (f"{A}\ta.csv\n", "not a SHA-256 and a name"),
        (f"{A[:-1]}g  a.csv\n", "not a SHA-256 and a name"),
        (f" {A}  a.csv\n", "not a SHA-256 and a name"),
        (f"{A}  a\n<html>\n", "line 2,"),
        (f"{A}  a\n{B}  a\n", "two digests"),
        (f"{A}  a\n{B}  ./a\n", "two digests"),
        (f"{A}  ../a\n", "not a plain path"),
        (f"{A}  /etc/passwd\n", "not a plain path"),
        (f"{A}  a//b\n", "not a plain path"),
        (f"{A}  a/\n", "not a plain path"),
        (f"{A}  ./\n", "not a plain path"),
        (f"{A}  C:\\a\n", "not a plain path"),
        (f"{A}  a\\..\\b\n", "not a plain path"),
        (f"{A}  a\x00b\n", "not a plain path"),
        (f"\\{A}  a\\tb\n", "unknown escape"),
        (f"\\{A}  a\\\n", "unknown escape"),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{A}  a\n", "OpenPGP"),
        (f"\ufeff{A}  a\n", "not a SHA-256 and a name"),
        (f"{A}  \u00e9\n{B}  e\u0301\n", "Unicode form"),
    ],
)
def test_other_lines_are_refused_with_the_reason(content, reason):
    with pytest.raises(ReceiptError, match=reason):
        read_checksums(content.encode())


def test_bytes_that_are_no_text_are_refused_and_not_replaced():
    with pytest.raises(ReceiptError, match="UTF-8 at byte 66"):
        read_checksums(A.encode() + b"  \xff\n")


def test_a_name_with_only_a_weak_digest_is_weak(data):
    tagged = f"SHA256 (a) = {A}\nMD5 (b) = {'0' * 32}\nSHA1 (a) = {'0' * 40}\n"
    published = read_checksums(tagged.encode())
    assert published.weak == {"b"}
    result = compare(manifest(a=b"a", b=b"b"), published)
    assert (result.matching, result.weak, result.unlisted) == (("a",), ("b",), ())
    assert not result.vouched


def test_a_name_is_read_in_time_that_does_not_grow_with_its_square():
    deep = "./" * 2000 + "a"
    assert list(read_checksums(f"{A}  {deep}\n".encode()).files) == ["a"]
    longest = "a/" * 2047 + "bc"
    assert len(longest) == 4096
    assert list(read_checksums(f"{A}  {longest}\n".encode()).files) == [longest]
    for name in (f"{longest}d", "./" * (1 << 20) + "a"):
        with pytest.raises(ReceiptError, match="more than 4096 characters"):
            read_checksums(f"{A}  {name}\n".encode())


def test_a_list_that_is_too_large_is_refused(monkeypatch):
    for module in ("checksums", "croissant"):
        monkeypatch.setattr(f"sluicegate.receipts.published.{module}.MAX_LIST_BYTES", 3)
    with pytest.raises(ReceiptError, match="larger"):
        read_checksums(b"abcd")
    with pytest.raises(ReceiptError, match="larger"):
        read_croissant(b"abcd")
    assert published_model.MAX_LIST_BYTES > 1 << 20


@pytest.mark.parametrize("options", [[], ["--tag"], ["--binary"], ["--text"]])
def test_what_sha256sum_writes_is_read(tmp_path, options):
    names = ["plain", "with  blanks", "(1) = x", "é", "back\\slash", "line\nfeed", "*", "a/b"]
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    written = subprocess.run(
        ["sha256sum", *options, "--", *names], cwd=tmp_path, capture_output=True, check=True
    )
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert digests(read_checksums(written.stdout)) == expected


def test_what_openssl_writes_is_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a")
    command = ["openssl", "dgst", "-sha256", "a.csv"]
    written = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert digests(read_checksums(written.stdout)) == {"a.csv": A}


safe_names = st.text(
    st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: ".." not in name and name != "." and name[1:3] != ":\\")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(safe_names, st.binary(min_size=32, max_size=32), min_size=1, max_size=5))
def test_every_name_survives_the_escapes_of_coreutils(files):
    lines = []
    for name, digest in files.items():
        text = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        mark = "" if text == name else "\\"
        lines.append(f"{mark}{digest.hex()}  {text}\n")
    normal = {unicodedata.normalize("NFC", name) for name in files}
    if len(normal) < len(files):
        with pytest.raises(ReceiptError):
            read_checksums("".join(lines).encode())
        return
    expected = {name: digest.hex() for name, digest in files.items()}
    assert digests(read_checksums("".join(lines).encode())) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_reading_anything_raises_nothing_else(content):
    for read in (read_checksums, read_croissant):
        with contextlib.suppress(ReceiptError):
            read(content)


# -- bundles --------------------------------------------------------------------------------


def test_a_bundle_is_signed_and_complete(data, signer, trust):
    published = read_oms(sign(data, signer), trust)
    assert digests(published) == {"a.csv": A, "sub/b c.csv": B}
    assert published.complete
    assert published.signer == f"key {signer.public_key.id}"
    assert compare(take_snapshot(SubjectUri.parse(data)), published).vouched


def resigned(data, signer, edit):
    value = json.loads(base64.b64decode(json.loads(sign(data, signer))["dsseEnvelope"]["payload"]))
    edit(value["predicate"])
    return envelope.seal(json.dumps(value).encode(), signer)


def test_a_bundle_that_leaves_paths_out_is_not_complete(data, signer, trust):
    bundle = resigned(
        data, signer, lambda value: value["serialization"].update(ignore_paths=[".git"])
    )
    assert not read_oms(bundle, trust).complete


def test_a_bundle_by_a_stranger_or_over_other_hashes_is_refused(data, signer, trust):
    stranger = FileSigner(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ReceiptError, match="trusted"):
        read_oms(sign(data, stranger), trust)

    def blake3(value):
        value["serialization"]["hash_type"] = "blake3"
        for item in value["resources"]:
            item["algorithm"] = "blake3"

    with pytest.raises(ReceiptError, match="blake3"):
        read_oms(resigned(data, signer, blake3), trust)


def test_a_bundle_about_one_file_lists_it_by_its_name(data, signer, trust):
    published = read_oms(sign(data / "a.csv", signer), trust)
    assert digests(published) == {"a.csv": A}
    payload = Envelope.parse(sign(data / "a.csv", signer)).verify(trust)[0]
    forged = envelope.seal(payload.replace(b'"name":"a.csv"', b'"name":"../a"'), signer)
    with pytest.raises(ReceiptError, match="not a plain path"):
        read_oms(forged, trust)


# -- Croissant ------------------------------------------------------------------------------


def croissant(*objects, **more) -> bytes:
    value = {
        "@context": {
            "@vocab": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "conformsTo": "dct:conformsTo",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "d",
        "distribution": list(objects),
    } | more
    return json.dumps(value).encode()


def file_object(url="a.csv", sha256=A, **more) -> dict:
    value = {"@type": "cr:FileObject", "@id": "f", "contentUrl": url, "sha256": sha256}
    return {key: item for key, item in (value | more).items() if item is not None}


def test_a_description_gives_digests_and_exact_sizes():
    published = read_croissant(
        croissant(
            file_object(contentSize="1 B"),
            file_object("sub/b.csv", B.upper(), contentSize="12.5 kB"),
            file_object("c.csv", contentSize="17"),
            file_object("d.csv", contentSize=18),
            {"@type": "cr:FileSet", "@id": "s", "includes": "*.csv"},
        )
    )
    assert dict(published.files) == {
        "a.csv": PublishedFile(Digest(A), 1),
        "sub/b.csv": PublishedFile(Digest(B), None),
        "c.csv": PublishedFile(Digest(A), 17),
        "d.csv": PublishedFile(Digest(A), 18),
    }
    assert not published.complete
    assert published.signer is None


@pytest.mark.parametrize("kind", ["cr:FileObject", "sc:FileObject", "FileObject"])
@pytest.mark.parametrize("profile", ["1.0", "1.1", "1.0/"])
def test_spellings_of_the_vocabulary(kind, profile):
    value = json.loads(croissant(file_object() | {"@type": kind}))
    for form in (
        f"http://mlcommons.org/croissant/{profile}",
        {"@id": f"http://mlcommons.org/croissant/{profile}"},
        ["http://example.org", f"https://mlcommons.org/croissant/{profile}"],
    ):
        value["conformsTo"] = form
        assert digests(read_croissant(json.dumps(value).encode())) == {"a.csv": A}


def test_one_object_need_not_be_a_list():
    assert digests(read_croissant(croissant(distribution=file_object()))) == {"a.csv": A}


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("https://host/x/sub/a%20b.csv?download=1", "", "a b.csv"),
        ("https://host/x/sub/a%20b.csv?download=1", "https://host/x/", "sub/a b.csv"),
        ("https://host/x/sub/a.csv", "https://host/x", "sub/a.csv"),
        ("https://host/xx/a.csv", "https://host/x", "a.csv"),
        ("s3://bucket/k/a.csv", "s3://bucket", "k/a.csv"),
        ("a%20b.csv", "https://host", "a%20b.csv"),
        ("a:b/c.csv", "", "a:b/c.csv"),
        ("what?#.csv", "", "what?#.csv"),
    ],
)
def test_addresses_become_paths(url, base, path):
    assert digests(read_croissant(croissant(file_object(url)), base_url=base)) == {path: A}


def test_what_has_no_usable_digest_is_weak():
    published = read_croissant(
        croissant(
            file_object(),
            file_object("md5only.csv", None, md5="0" * 32),
            file_object("short.csv", "0" * 32),
            file_object("pointer.csv", "https://example.org/why"),
            file_object("list.csv", None) | {"sha256": [A]},
        )
    )
    assert digests(published) == {"a.csv": A}
    assert published.weak == {"md5only.csv", "short.csv", "pointer.csv", "list.csv"}


def test_what_is_inside_an_archive_is_covered_by_the_archive():
    published = read_croissant(
        croissant(
            file_object("all.zip", B, **{"@id": "zip", "encodingFormat": "application/zip"}),
            file_object("inner.csv", A, containedIn={"@id": "zip"}),
        )
    )
    assert digests(published) == {"all.zip": B}


def test_what_is_inside_a_repository_is_a_file():
    repository = {
        "@type": "cr:FileObject",
        "@id": "repo",
        "encodingFormat": "git+https",
        "contentUrl": "https://host/datasets/d",
        "sha256": "https://example.org/issues/80",
    }
    published = read_croissant(
        croissant(repository, file_object("sub/a.csv", containedIn={"@id": "repo"}))
    )
    assert digests(published) == {"sub/a.csv": A}
    assert not published.weak


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "no JSON object"),
        (b"{", "not JSON"),
        (croissant(), "no digests"),
        (croissant(distribution=None), "no digests"),
        (croissant({"@type": "cr:FileSet", "includes": "*", "sha256": A}), "no digests"),
        (croissant(file_object(sha256="0" * 32)), "SHA-256 is needed"),
        (croissant(file_object(), conformsTo="http://example.org"), "conforms to Croissant"),
        (croissant(file_object(), conformsTo=None), "conforms to Croissant"),
        (croissant(file_object("../a.csv")), "not a plain path"),
        (croissant(file_object("/a.csv")), "not a plain path"),
        (croissant(file_object("https://host/")), "not a plain path"),
        (croissant(file_object("https://host/..%2F..%2Fetc")), "not a plain path"),
        (croissant(file_object(), file_object("https://h/a.csv", B)), "two digests"),
        (croissant(file_object(), file_object(contentSize="2 B")), "two digests"),
        (croissant(file_object(), **{"@context": {"sha256": "cr:md5"}}), "another meaning"),
        (
            croissant(
                file_object(), **{"@context": ["https://x", {"contentUrl": {"@id": "sc:u"}}]}
            ),
            "another meaning",
        ),
    ],
)
def test_other_descriptions_are_refused_with_the_reason(content, reason):
    with pytest.raises(ReceiptError, match=reason):
        read_croissant(content)


def test_a_context_that_spells_terms_out_is_the_same():
    context = {"sha256": "https://schema.org/sha256", "containedIn": {"@id": "cr:containedIn"}}
    assert digests(read_croissant(croissant(file_object(), **{"@context": context})))


# -- signatures beside a list ---------------------------------------------------------------

LIST = f"{A}  a.csv\n".encode()


def test_a_bare_signature_tells_who_vouches(signer, trust):
    signature = base64.b64encode(signer.sign(LIST)) + b"\n"
    signatory = verify_detached(LIST, signature, trust, name="SHA256SUMS")
    assert signatory.id == signer.public_key.id
    assert read_checksums(LIST).by(str(signatory)).signer == f"key {signer.public_key.id}"


def test_a_bare_signature_by_openssl_verifies(tmp_path, signer):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / "list").write_bytes(LIST)
    command = ["openssl", "dgst", "-sha256", "-sign", "key.pem", "list"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    trust = KeyTrust((FileSigner(key).public_key.pem,))
    verify_detached(LIST, base64.b64encode(made), trust, name="list")


@pytest.mark.parametrize("signature", [b"", b"AAAA", b"not base64!", b"A" * 2000, b"untrusted c"])
def test_what_is_no_signature_is_refused(trust, signature):
    with pytest.raises(ReceiptError):
        verify_detached(LIST, signature, trust, name="l")


def test_a_signature_over_other_bytes_or_by_a_stranger_is_refused(signer, trust):
    signature = base64.b64encode(signer.sign(LIST))
    with pytest.raises(ReceiptError, match="does not verify"):
        verify_detached(LIST + b"\n", signature, trust, name="l")
    stranger = FileSigner(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ReceiptError, match="does not verify"):
        verify_detached(LIST, base64.b64encode(stranger.sign(LIST)), trust, name="l")


def blob_bundle(signer, data=LIST):
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "not-our-kind-of-hint="}},
        "messageSignature": {
            "messageDigest": {
                "algorithm": "SHA2_256",
                "digest": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            },
            "signature": base64.b64encode(signer.sign(data)).decode(),
        },
    }


def test_a_bundle_over_the_bytes_tells_who_vouches(signer, trust):
    value = blob_bundle(signer)
    assert verify_detached(LIST, json.dumps(value).encode(), trust, name="l").id
    with pytest.raises(ReceiptError, match="other bytes"):
        verify_detached(LIST + b"x", json.dumps(value).encode(), trust, name="l")
    value["messageSignature"]["messageDigest"]["digest"] = blob_bundle(signer, LIST + b"x")[
        "messageSignature"
    ]["messageDigest"]["digest"]
    with pytest.raises(ReceiptError, match="does not verify"):
        verify_detached(LIST + b"x", json.dumps(value).encode(), trust, name="l")


@pytest.mark.parametrize("member", ["messageDigest", "signature"])
def test_a_bundle_over_the_bytes_must_be_whole(signer, trust, member):
    value = blob_bundle(signer)
    del value["messageSignature"][member]
    with pytest.raises(ReceiptError):
        verify_detached(LIST, json.dumps(value).encode(), trust, name="l")
    value = blob_bundle(signer) | {"dsseEnvelope": {}}
    with pytest.raises(ReceiptError, match="two kinds"):
        verify_detached(LIST, json.dumps(value).encode(), trust, name="l")
    value = blob_bundle(signer)
    value["messageSignature"]["messageDigest"]["algorithm"] = "SHA2_512"
    with pytest.raises(ReceiptError, match="SHA2_256"):
        verify_detached(LIST, json.dumps(value).encode(), trust, name="l")


def test_a_signed_folder_vouches_for_the_list_in_it(tmp_path, signer, trust):
    (tmp_path / "lists").mkdir()
    file = tmp_path / "lists/SHA256SUMS"
    file.write_bytes(LIST)
    for bundle in (sign(file.parent, signer), sign(file, signer)):
        assert verify_detached(LIST, bundle, trust, name="SHA256SUMS").id == signer.public_key.id
        with pytest.raises(ReceiptError, match="other bytes"):
            verify_detached(LIST + b"x", bundle, trust, name="SHA256SUMS")
        with pytest.raises(ReceiptError, match="not about"):
            verify_detached(LIST, bundle, trust, name="other")


# -- whichever kind -------------------------------------------------------------------------


def test_the_kind_is_told_by_the_content(data, signer, trust):
    bundle = sign(data, signer)
    assert read_published(bundle, trust=trust) == read_oms(bundle, trust)
    assert read_published(LIST) == read_checksums(LIST)
    description = croissant(file_object("https://host/d/a.csv"))
    assert digests(read_published(description, base_url="https://host/d")) == {"a.csv": A}
    signature = base64.b64encode(signer.sign(LIST))
    signed = read_published(LIST, name="l", signature=signature, trust=trust)
    assert signed.signer == f"key {signer.public_key.id}"
    assert pickle.loads(pickle.dumps(signed)) == signed


def test_a_signature_is_never_passed_over(data, signer, trust):
    bundle, signature = sign(data, signer), base64.b64encode(signer.sign(LIST))
    with pytest.raises(ReceiptError, match="no key"):
        read_published(bundle)
    with pytest.raises(ReceiptError, match="no key"):
        read_published(LIST, signature=signature)
    with pytest.raises(ReceiptError, match="its own signature"):
        read_published(bundle, signature=signature, trust=trust)
    with pytest.raises(ReceiptError, match="does not verify"):
        read_published(LIST + LIST, signature=signature, trust=trust)
    with pytest.raises(ReceiptError):
        read_published(LIST, signature=b"", trust=trust)


# -- comparing ------------------------------------------------------------------------------


def listed(complete=False, weak=(), **files) -> Published:
    return Published(
        files={path: PublishedFile(Digest.of(data)) for path, data in files.items()},
        complete=complete,
        weak=frozenset(weak),
    )


def test_every_name_is_in_one_group():
    result = compare(
        manifest(same=b"1", other=b"2", new=b"3", md5=b"4"),
        listed(same=b"1", other=b"x", gone=b"5", weak=["md5", "md5gone"]),
    )
    assert result.to_json() == {
        "matching": ["same"],
        "changed": ["other"],
        "missing": ["gone"],
        "unlisted": ["new"],
        "weak": ["md5", "md5gone"],
    }
    assert not result.vouched


def test_swapped_contents_are_changes_and_a_new_name_is_not_vouched_for():
    assert compare(manifest(a=b"1", b=b"2"), listed(a=b"2", b=b"1")).changed == ("a", "b")
    renamed = compare(manifest(a2=b"1"), listed(a=b"1"))
    assert (renamed.missing, renamed.unlisted) == (("a",), ("a2",))


@pytest.mark.parametrize(
    "published",
    [
        listed(a=b"x", b=b"2"),
        listed(a=b"1"),
        listed(a=b"1", b=b"2", c=b"3"),
        listed(a=b"1", weak=["b"]),
        listed(a=b"1", b=b"2", weak=["c"]),
    ],
)
def test_nothing_less_than_all_is_vouched_for(published):
    assert compare(manifest(a=b"1", b=b"2"), listed(a=b"1", b=b"2")).vouched
    assert not compare(manifest(a=b"1", b=b"2"), published).vouched


def test_a_wrong_size_is_a_change_even_with_the_right_digest():
    stated = Published(files={"a": PublishedFile(Digest.of(b"1"), 2)})
    assert compare(manifest(a=b"1"), stated).changed == ("a",)
    stated = Published(files={"a": PublishedFile(Digest.of(b"1"), 1)})
    assert compare(manifest(a=b"1"), stated).matching == ("a",)


def test_the_list_itself_is_left_out_only_where_the_caller_says_so():
    files = manifest(a=b"1", SHA256SUMS=b"list")
    assert compare(files, listed(a=b"1")).unlisted == ("SHA256SUMS",)
    assert compare(files, listed(a=b"1"), lists=["SHA256SUMS"]).vouched
    forged = listed(a=b"1", SHA256SUMS=b"other")
    assert compare(files, forged, lists=["SHA256SUMS"]).changed == ("SHA256SUMS",)


names = st.sampled_from(["a", "b", "c", "d"])
contents = st.sampled_from([b"1", b"2"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, contents, min_size=1), st.dictionaries(names, contents))
def test_the_groups_partition_the_names(actual, stated):
    result = compare(manifest(**actual), listed(**stated))
    groups = [result.matching, result.changed, result.missing, result.unlisted, result.weak]
    everything = [path for group in groups for path in group]
    assert sorted(everything) == sorted(set(actual) | set(stated))
    assert result.vouched == (actual == stated)
