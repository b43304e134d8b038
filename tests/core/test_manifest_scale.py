"""Manifests of any size: canonical lines, strict reading, proofs of one file, differences."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest, canonical_json
from sluicegate.errors import SubjectError
from sluicegate.merkle import RootBuilder, inclusion_proof, leaf_hash, merkle_root
from sluicegate.storage import lines, manifest_diff
from sluicegate.storage.file_proof import FileProof, prove_file, verify_file_proof
from sluicegate.storage.lines import LinesWriter
from sluicegate.storage.manifest import FileRecord, Manifest, Place
from sluicegate.storage.records import MAX_LINE, MAX_SIZE, encode_rows, parse_line
from sluicegate.storage.sorting import SortedRows

SHA = Digest.of(b"x")
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def record(path, content=b"x"):
    return FileRecord(path=path, size=len(content), sha256=Digest.of(content))


def many(count, content=lambda at: b"%d" % at):
    return Manifest.of(record(f"f/{at:05}", content(at)) for at in range(count))


# ---------------------------------------------------------------- canonical lines


def canonical(path, size, digest):
    return canonical_json({"path": path, "sha256": digest, "size": size})


def test_a_line_is_canonical_json_for_every_character_of_unicode():
    for start in range(0, 0x110000, 0x1000):
        path = "".join(map(chr, range(start, start + 0x1000)))
        path = path.encode("utf-8", "ignore").decode()  # without lone surrogates
        assert FileRecord(path=path, size=1, sha256=SHA).line() == canonical(path, 1, SHA.hex)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(PATHS, st.integers(0, MAX_SIZE)), min_size=1, max_size=5))
def test_a_block_of_records_has_the_lines_of_canonical_json(rows):
    paths, sizes = zip(*rows, strict=True)
    encoded = encode_rows(paths, sizes, [SHA.hex] * len(rows))
    expected = [canonical(path, size, SHA.hex) for path, size in rows]
    assert encoded.replace(b"\0", b"").split(b"\n")[:-1] == expected
    assert [parse_line(line) for line in expected] == [(*row, SHA.hex) for row in rows]


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "a\\b", "a\nb"])
@pytest.mark.parametrize("beside", ["plain", 'with "quotes"'])
def test_a_path_that_could_leave_its_folder_makes_no_manifest(path, beside):
    with pytest.raises(SubjectError, match="plain relative path"):
        Manifest.of([record(beside), record(path)])


@pytest.mark.parametrize("path", ["\0", "a\0b", "/\0/", "a/\0/b", "\x7f", "\ud800"])
def test_a_control_character_cannot_pose_as_the_seam_between_two_paths(path):
    with pytest.raises(SubjectError, match="plain relative path"):
        Manifest.of([record(path)])


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1, True, 1.0, "1"])
def test_a_size_that_is_no_length_is_refused(size):
    broken = FileRecord(path="a", size=size, sha256=SHA)
    with pytest.raises(SubjectError, match="no length in bytes"):
        Manifest.of([broken])
    with pytest.raises(SubjectError, match="no length in bytes"):
        broken.line()


def test_a_path_longer_than_any_system_allows_is_refused_and_a_long_one_is_not():
    assert len(Manifest.of([record("a" * 4096)])) == 1
    with pytest.raises(SubjectError, match="too long"):
        Manifest.of([record("a" * MAX_LINE)])


# ---------------------------------------------------------------- names that look the same


TWINS = [("é", "e\u0301"), ("K", "\u212a"), ("a/Å/b", "a/\u212b/b"), (";", "\u037e")]


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_names_that_are_equal_after_normalisation_are_refused(one, other):
    assert unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    with pytest.raises(SubjectError, match="equal after Unicode normalisation"):
        Manifest.of([record(one), record("m"), record(other)])
    ordered = sorted([one, other])
    with pytest.raises(SubjectError, match="equal after Unicode normalisation"):
        Manifest.parse(b"".join(record(path).line() + b"\n" for path in ordered))


def test_two_decomposed_spellings_of_one_name_are_refused():
    with pytest.raises(SubjectError, match="equal after Unicode normalisation"):
        Manifest.of([record("\u212bx"), record("A\u030ax")])


def test_a_decomposed_name_alone_and_names_that_differ_in_case_are_left_alone():
    manifest = Manifest.of(
        [record(path) for path in ("e\u0301", "e", "E", "\uff41", "a", "\u212a")]
    )
    assert len(manifest) == 6
    assert Manifest.parse(manifest.ndjson()) == manifest


# ---------------------------------------------------------------- the sequence of records


def test_the_records_behave_like_a_tuple(monkeypatch):
    monkeypatch.setattr(lines, "_READ", 200)  # many small blocks
    manifest = many(100)
    expected = tuple(record(f"f/{at:05}", b"%d" % at) for at in range(100))
    files = manifest.files
    assert len(files) == len(manifest) == 100
    assert tuple(files) == expected == files[:]
    assert files == expected
    assert expected == files
    assert files[-1] == expected[-1]
    assert files[7:40:3] == expected[7:40:3]
    assert files != expected[:-1]
    assert files.index(expected[5]) == 5
    assert expected[9] in files
    assert hash(files) == hash(expected)
    for at in (100, -101):
        with pytest.raises(IndexError):
            files[at]
    assert [row[0] for row in files.rows(3, 6)] == [one.path for one in expected[3:6]]
    assert list(files.rows(100, 100)) == []


@settings(deadline=None, max_examples=60)
@given(st.sets(PATHS, min_size=1, max_size=12), st.randoms(), st.integers(1, 5))
def test_sorting_in_runs_is_sorting(paths, random, run_rows):
    rows = [(path, 1) for path in paths]
    random.shuffle(rows)
    ordered = SortedRows(iter(rows), run_rows=run_rows)
    expected = sorted(rows, key=lambda row: row[0].encode())
    assert list(ordered) == list(ordered) == expected
    assert len(ordered) == len(rows)
    ordered.close()


def test_a_manifest_in_a_mapped_file_is_the_same_manifest(monkeypatch):
    small = many(3000)
    monkeypatch.setattr(LinesWriter.__init__, "__kwdefaults__", {"mapped_above": 1000})
    large = many(3000)
    assert not isinstance(large._lines._data, bytes)
    assert large == small
    assert large.ndjson() == small.ndjson()
    assert b"".join(large.ndjson_blocks()) == small.ndjson()
    assert large.find("f/02999") == small.files[2999]
    assert pickle.loads(pickle.dumps(large)) == small


def test_the_summary_holds_what_others_compute():
    manifest = many(20_000, lambda at: b"x")
    stored = manifest.ndjson()
    assert manifest.ndjson_digest == Digest.of(stored)
    found = merkle_root(map(leaf_hash, stored.split(b"\n")[:-1]))
    assert manifest.digest.hex == found.hex()
    assert list(manifest.leaves()) == list(map(leaf_hash, stored.split(b"\n")[:-1]))
    summary = manifest.summary()
    assert (summary["files"], summary["bytes"]) == (20_000, 20_000)
    assert Manifest.restored([stored], summary).files == manifest.files
    with pytest.raises(ValueError, match="not the one"):
        Manifest.restored([stored, stored], summary)


def test_a_tree_grows_in_any_steps_to_the_same_root():
    leaves = [leaf_hash(b"%d" % at) for at in range(300)]
    for size in range(0, 300, 7):
        for step in (1, 2, 3, 64, 299):
            fast, slow = RootBuilder(), RootBuilder()
            for at in range(0, size, step):
                fast.extend(leaves[at : min(at + step, size)])
            for leaf in leaves[:size]:
                slow.add(leaf)
            assert fast.root() == slow.root()
            assert fast.size == slow.size == size
            fast.add(leaves[-1])
            slow.add(leaves[-1])
            assert fast.root() == slow.root()


# ---------------------------------------------------------------- reading back


def test_a_stored_manifest_is_read_back_from_bytes_and_from_a_file():
    manifest = many(10_000)
    stored = manifest.ndjson()
    for source in (stored, io.BytesIO(stored)):
        again = Manifest.parse(source)
        assert again == manifest
        assert again.files == manifest.files
        assert again.summary() == manifest.summary()


@settings(deadline=None, max_examples=100)
@given(st.sets(PATHS, min_size=1, max_size=6))
def test_what_was_written_is_read_back(paths):
    try:
        manifest = Manifest.of([record(path) for path in paths])
    except SubjectError:  # names equal after normalisation
        return
    assert Manifest.parse(manifest.ndjson()).files == manifest.files


A, B = record("a").line(), record("b").line()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "holds no files"),
        (B + b"\n" + A + b"\n", "not sorted: 'a' stands behind 'b'"),
        (A + b"\n" + A + b"\n", "lists 'a' twice"),
        (A, "does not end with a newline"),
        (A + b"\n" + B[:-1], "does not end with a newline"),
        (A + b"\ntrailing", "does not end with a newline"),
        (A + b"\n\n", "line 2 .* is not a record"),
        (b"\n" + A + b"\n", "line 1 .* is not a record"),
        (A + b"\r\n", "line 1 .* is not a record"),
        (b"\xef\xbb\xbf" + A + b"\n", "line 1 .* is not a record"),
        (A + b"\n" + B + b" \n", "line 2 .* is not a record"),
        (A.replace(b":", b": ") + b"\n", "line 1 .* is not a record"),
        (A.replace(b'"size":1', b'"size":01') + b"\n", "line 1 .* not in canonical form"),
        (A.replace(b'"size":1', b'"size":9007199254740992') + b"\n", "no length in bytes"),
        (A.replace(b'"size":1', b'"size":-1') + b"\n", "line 1 .* is not a record"),
        (A.replace(b'"size":1', b'"size":1.0') + b"\n", "line 1 .* is not a record"),
        (A.replace(b'"size":1', b'"size":1,"size":2') + b"\n", "line 1 .* is not a record"),
        (A.replace(b'"a"', b'"\\u0061"') + b"\n", "line 1 .* is not a record"),
        (A.replace(b'"a"', b'"../a"') + b"\n", "line 1 .* plain relative path"),
        (A.replace(b'"a"', b'"/a"') + b"\n", "line 1 .* plain relative path"),
        (A.replace(b'"a"', b'"a\x00"') + b"\n", "plain relative path"),
        (A.replace(b'"a"', b'"\xff"') + b"\n", "line 1 .* is not a record"),
        (A.replace(b'"a"', b'"\xed\xa0\x80"') + b"\n", "line 1 .* is not a record"),
        (A.replace(SHA.hex.encode(), SHA.hex.upper().encode()) + b"\n", "line 1 .* is not a rec"),
        (b"a" * (MAX_LINE + 5000), "a line of more than"),
    ],
)
def test_a_manifest_that_two_readers_could_read_differently_is_refused(data, why):
    for source in (data, io.BytesIO(data)):
        with pytest.raises(SubjectError, match=why):
            Manifest.parse(source)


def test_the_faulty_line_is_named_wherever_it_stands():
    damaged = many(30_000).ndjson().split(b"\n")
    damaged[29_990] = damaged[29_990].replace(b'"size":5', b'"size":05')
    with pytest.raises(SubjectError, match="line 29991 of the manifest is not in canonical form"):
        Manifest.parse(b"\n".join(damaged))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_changed_byte_is_read_as_the_same_manifest(data):
    manifest = many(3)
    stored = bytearray(manifest.ndjson())
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    try:
        again = Manifest.parse(bytes(stored))
    except SubjectError:
        return
    assert again != manifest
    assert again.ndjson() == bytes(stored)


# ---------------------------------------------------------------- places


def test_places_are_kept_beside_the_manifest_and_do_not_change_its_digest():
    place = Place(
        version_id="v1", algorithm="sha256", value="AAAA-2", kind="COMPOSITE", part_size=5
    )
    with_place = FileRecord(path="b", size=1, sha256=SHA, place=place)
    manifest = Manifest.of([record("c"), with_place, record("a")])
    assert manifest == Manifest.of([record("a"), record("b"), record("c")])
    assert manifest.place("b") == manifest.find("b").place == place
    assert manifest.place("a") is None
    assert manifest.find("c").place is None
    sidecar = manifest.places_ndjson()
    assert json.loads(sidecar)["path"] == "b"
    again = Manifest.parse(manifest.ndjson(), places=sidecar)
    assert again.files[1].place == place
    assert pickle.loads(pickle.dumps(again)).place("b") == place
    assert Manifest.parse(manifest.ndjson()).place("b") is None


@pytest.mark.parametrize(
    "sidecar",
    [
        b"x\n",
        b'{"versionId":"1"}\n',
        b'{"path":"a","unknown":1}\n',
        b'{"path":"a","versionId":1}\n',
        b'{"path":"a","partSize":-1}\n',
        b'{"path":"a","partSize":true}\n',
        b'{"path":"a","checksum":{"value":"x"}}\n',
        b'{"path":"b","versionId":"1"}\n',
        b'{"path":"a","versionId":"1"}\n{"path":"a","versionId":"2"}\n',
        b"[]\n",
    ],
)
def test_a_damaged_sidecar_is_refused(sidecar):
    with pytest.raises(SubjectError):
        Manifest.of([record("a")]).with_places(sidecar)


# ---------------------------------------------------------------- proof of one file


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_every_file_can_be_proven_alone(count):
    manifest = many(count)
    leaves = list(manifest.leaves())
    for at, file in enumerate(manifest.files):
        proof = prove_file(manifest, file.path)
        assert proof.hashes == inclusion_proof(leaves, at)
        sent = FileProof.from_json(json.loads(json.dumps(proof.to_json())))
        assert sent == proof
        verify_file_proof(file, sent, root=manifest.digest)


def test_a_proof_does_not_prove_another_file_name_size_root_or_place():
    manifest = many(20)
    file = manifest.files[7]
    proof = prove_file(manifest, file.path)
    root = manifest.digest
    wrong = [
        (FileRecord(path="f/99999", size=file.size, sha256=file.sha256), proof, root),
        (FileRecord(path=file.path, size=file.size + 1, sha256=file.sha256), proof, root),
        (FileRecord(path=file.path, size=file.size, sha256=SHA), proof, root),
        (manifest.files[8], proof, root),
        (file, proof, many(21).digest),
        (file, FileProof(leaf_index=6, tree_size=20, hashes=proof.hashes), root),
        (file, FileProof(leaf_index=7, tree_size=20, hashes=proof.hashes[:-1]), root),
        (file, FileProof(leaf_index=7, tree_size=20, hashes=(*proof.hashes, b"\0" * 32)), root),
        (file, FileProof(leaf_index=20, tree_size=20, hashes=proof.hashes), root),
    ]
    for one, given_proof, given_root in wrong:
        with pytest.raises(SubjectError, match=r"not proven|is not one"):
            verify_file_proof(one, given_proof, root=given_root)
    with pytest.raises(SubjectError, match="not in the manifest"):
        prove_file(manifest, "f/99999")


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"leafIndex": 0, "treeSize": 1},
        {"leafIndex": 0, "treeSize": 1, "hashes": [], "more": 1},
        {"leafIndex": 1, "treeSize": 1, "hashes": []},
        {"leafIndex": -1, "treeSize": 1, "hashes": []},
        {"leafIndex": False, "treeSize": 1, "hashes": []},
        {"leafIndex": 0, "treeSize": 2**53, "hashes": []},
        {"leafIndex": 0, "treeSize": 2, "hashes": "00"},
        {"leafIndex": 0, "treeSize": 2, "hashes": ["00"]},
        {"leafIndex": 0, "treeSize": 2, "hashes": [None]},
        {"leafIndex": 0, "treeSize": 2, "hashes": [SHA.hex.upper()]},
        {"leafIndex": 0, "treeSize": 2, "hashes": [SHA.hex] * 54},
    ],
)
def test_a_document_that_is_no_proof_is_refused(document):
    with pytest.raises(SubjectError, match="proof of a file"):
        FileProof.from_json(document)


# ---------------------------------------------------------------- differences


def test_a_difference_says_what_was_added_removed_changed_and_renamed():
    old = Manifest.of(
        [record("same"), record("gone", b"1"), record("edit", b"2"), record("old", b"long")]
    )
    new = Manifest.of(
        [record("same"), record("come", b"3"), record("edit", b"4"), record("new", b"long")]
    )
    found = manifest_diff.diff(old, new)
    assert [one.path for one in found.added] == ["come"]
    assert [one.path for one in found.removed] == ["gone"]
    assert [(one.path, one.before.sha256) for one in found.changed] == [("edit", Digest.of(b"2"))]
    assert [(one.before, one.after) for one in found.renamed] == [("old", "new")]
    assert found.unchanged == 1
    assert json.loads(json.dumps(found.to_json()))["renamed"][0]["after"] == "new"
    assert found
    assert not manifest_diff.diff(old, old)


def test_copies_are_paired_in_order_and_empty_files_never():
    old = Manifest.of([record("a1", b"c"), record("a2", b"c"), record("e", b""), record("z")])
    new = Manifest.of([record("b1", b"c"), record("f", b""), record("z"), record("z2", b"c")])
    found = manifest_diff.diff(old, new)
    assert [(one.before, one.after) for one in found.renamed] == [("a1", "b1"), ("a2", "z2")]
    assert [one.path for one in found.added] == ["f"]
    assert [one.path for one in found.removed] == ["e"]
    copied = manifest_diff.diff(Manifest.of([record("z")]), Manifest.of([record("y"), record("z")]))
    assert [one.path for one in copied.added] == ["y"]


FILES = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(max_size=1), min_size=1)


@settings(deadline=None, max_examples=150)
@given(FILES, FILES)
def test_a_difference_leads_from_the_old_manifest_to_the_new_one(old, new):
    def of(files):
        return Manifest.of([record(path, content) for path, content in files.items()])

    found = manifest_diff.diff(of(old), of(new))
    built = {path: Digest.of(content) for path, content in old.items()}
    for one in found.removed:
        assert built.pop(one.path) == one.sha256
    for one in found.renamed:
        assert built.pop(one.before) == one.sha256
    for one in found.changed:
        built[one.path] = one.after.sha256
    for one in (*found.added, *found.renamed):
        built[one.path if isinstance(one, FileRecord) else one.after] = one.sha256
    assert built == {path: Digest.of(content) for path, content in new.items()}
    assert found.unchanged == sum(old[path] == new.get(path) for path in old)


# ---------------------------------------------------------------- size


@pytest.mark.slow
def test_a_million_records_are_built_in_bounded_memory():
    # VmHWM and not ru_maxrss: that one starts with the peak of the process that forked.
    code = """
import re
from pathlib import Path
from sluicegate.canonical import Digest
from sluicegate.storage.manifest import FileRecord, Manifest
records = (
    FileRecord(path=f"train/part-{at * 7919 % 1000000:08d}.parquet", size=at,
               sha256=Digest(f"{at:064x}"))
    for at in range(1000000)
)
manifest = Manifest.of(records)
assert len(manifest) == 1000000
assert manifest.files.path(999999) == "train/part-00999999.parquet"
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 300 * 1024
