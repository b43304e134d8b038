"""Tiles and proofs, against the definitions of RFC 6962 written down naively."""

from __future__ import annotations

import functools
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import LedgerError
from sluicegate.ledger.folder_files import parse_name
from sluicegate.ledger.proofs import verify_consistency, verify_inclusion
from sluicegate.ledger.tiles import (
    TILE_WIDTH,
    TileTree,
    decode_entries,
    encode_entries,
    entries_path,
    grow,
    tile_path,
)
from sluicegate.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    merkle_root,
    root_from_inclusion,
    roots_from_consistency,
)

ENTRIES = tuple(b"entry %d" % number for number in range(301))
HASH = hashlib.sha256


class Memory(dict):
    """Files in memory."""

    def read(self, name):
        return self.get(name)


def log_of(entries):
    files = Memory()
    files.update(grow(files, 0, entries).files)
    return files


# ---------------------------------------------------------------- RFC 6962, word by word


def split(size):
    """Return the largest power of two below ``size``."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@functools.cache
def mth(start, stop):
    """MTH(D[start:stop]) of section 2.1 over ENTRIES."""
    if start == stop:
        return HASH(b"").digest()
    if stop - start == 1:
        return HASH(b"\x00" + ENTRIES[start]).digest()
    middle = start + split(stop - start)
    return HASH(b"\x01" + mth(start, middle) + mth(middle, stop)).digest()


def path(m, start, stop):
    """PATH(m, D[start:stop]) of section 2.1.1."""
    if stop - start == 1:
        return []
    k = split(stop - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, stop)]
    return [*path(m - k, start + k, stop), mth(start, start + k)]


def proof(m, size):
    """PROOF(m, D[size]) of section 2.1.2."""
    return subproof(m, 0, size, known=True)


def subproof(m, start, stop, *, known):
    if m == stop - start:
        return [] if known else [mth(start, stop)]
    k = split(stop - start)
    if m <= k:
        return [*subproof(m, start, start + k, known=known), mth(start + k, stop)]
    return [*subproof(m - k, start + k, stop, known=False), mth(start, start + k)]


def test_roots_and_inclusion_proofs_of_every_size_to_300_are_those_of_the_definition():
    files = log_of(ENTRIES)
    tree = TileTree(files, len(ENTRIES))
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    chance = random.Random(1)
    for size in range(302):
        root = mth(0, size)
        assert tree.root(size) == merkle_root(leaves[:size]) == root
        indices = range(size) if size < 131 else chance.sample(range(size), 12)
        for index in indices:
            expected = tuple(path(index, 0, size))
            assert tree.inclusion_proof(index, size) == expected, (index, size)
            verify_inclusion(
                leaf_index=index, tree_size=size, leaf_hash=leaves[index], proof=expected, root=root
            )
            if size < 40 or size % 16 == 1:
                assert inclusion_proof(leaves[:size], index) == expected


def test_consistency_proofs_of_all_pairs_are_those_of_the_definition():
    files = log_of(ENTRIES)
    tree = TileTree(files, len(ENTRIES))
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    chance = random.Random(2)
    for size in range(1, 302):
        olds = range(1, size + 1) if size < 131 else chance.sample(range(1, size + 1), 12)
        for old in olds:
            expected = tuple(proof(old, size))
            assert tree.consistency_proof(old, size) == expected, (old, size)
            verify_consistency(
                size1=old, size2=size, root1=mth(0, old), root2=mth(0, size), proof=expected
            )
            if size < 24 or size in (64, 100, 300):
                assert consistency_proof(leaves[:size], old) == expected


def test_the_example_tree_of_the_standard_has_the_proofs_that_the_standard_names():
    # RFC 6962, section 2.1.3: seven leaves, nodes a to l, and proofs given by these names.
    a, b, c, d, _, f, j = (mth(at, at + 1) for at in range(7))
    g, h, i, k, l = mth(0, 2), mth(2, 4), mth(4, 6), mth(0, 4), mth(4, 7)
    assert g == HASH(b"\x01" + a + b).digest()
    tree = TileTree(log_of(ENTRIES), 7)
    assert tree.inclusion_proof(0) == (b, h, l)
    assert tree.inclusion_proof(3) == (c, g, l)
    assert tree.inclusion_proof(4) == (f, j, k)
    assert tree.inclusion_proof(6) == (i, k)
    assert tree.consistency_proof(3) == (c, d, g, l)
    assert tree.consistency_proof(4) == (l,)
    assert tree.consistency_proof(6) == (i, j, k)


def test_the_known_answers_of_certificate_transparency_come_out():
    # Vectors of certificate-transparency-go: eight inputs, their root, and proofs.
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    inputs.append("606162636465666768696a6b6c6d6e6f")
    files = Memory()
    # The first input is empty, which no ledger takes, so its leaf is written by hand.
    hashes = [leaf_hash(bytes.fromhex(text)) for text in inputs]
    files[tile_path(0, 0, 8)] = b"".join(hashes)
    tree = TileTree(files, 8)
    assert tree.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert [node.hex() for node in tree.inclusion_proof(0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [node.hex() for node in tree.consistency_proof(6)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_part_of_a_proof_can_be_changed(data):
    size = data.draw(st.integers(2, 300))
    inclusion = data.draw(st.booleans())
    if inclusion:
        at = data.draw(st.integers(0, size - 1))
        nodes = path(at, 0, size)
        facts = {"leaf_index": at, "tree_size": size, "leaf_hash": mth(at, at + 1)}
        facts |= {"root": mth(0, size)}
        verify = verify_inclusion
    else:
        at = data.draw(st.integers(1, size - 1))
        nodes = proof(at, size)
        facts = {"size1": at, "size2": size, "root1": mth(0, at), "root2": mth(0, size)}
        verify = verify_consistency
    verify(**facts, proof=nodes)
    kind = data.draw(st.sampled_from(["bit", "longer", "shorter", "swap", "fact"]))
    if kind == "bit":
        where, bit = data.draw(st.integers(0, len(nodes) - 1)), data.draw(st.integers(0, 255))
        flipped = int.from_bytes(nodes[where], "big") ^ 1 << bit
        nodes[where] = flipped.to_bytes(32, "big")
    elif kind == "longer":
        nodes.insert(data.draw(st.integers(0, len(nodes))), mth(0, 1))
    elif kind == "shorter":
        nodes.pop(data.draw(st.integers(0, len(nodes) - 1)))
    elif kind == "swap":
        if len(nodes) < 2:
            return
        nodes[0], nodes[-1] = nodes[-1], nodes[0]
    else:
        name = data.draw(st.sampled_from(sorted(facts)))
        value = facts[name]
        if isinstance(value, bytes):
            facts[name] = HASH(value).digest()
        else:
            facts[name] = data.draw(st.integers(-2, 301).filter(lambda other: other != value))
            # A proof may fit another size of the tree only if path and root are the same.
    if kind == "fact" and not isinstance(value, bytes) and name in ("tree_size", "size2"):
        moved = facts[name]
        known = mth(0, moved) if 0 <= moved <= 301 else None
        assert known != facts.get("root", facts.get("root2"))
        if _same_shape(inclusion, at, size, moved):
            return
    with pytest.raises(LedgerError):
        verify(**facts, proof=nodes)


def _same_shape(inclusion, at, size, moved):
    """Say whether a proof has the same steps in two sizes: then only the signed size tells."""
    if not (at < moved <= 301 if inclusion else at <= moved <= 301):
        return False
    if inclusion:
        steps = [steps_of(at, stop) for stop in (size, moved)]
    else:
        if at == moved:
            return False
        steps = [len(proof(at, stop)) for stop in (size, moved)]
    return steps[0] == steps[1]


def steps_of(m, size):
    steps = []
    while size > 1:
        k = split(size)
        steps.append(m < k)
        m, size = (m, k) if m < k else (m - k, size - k)
    return steps


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (6, 5), (-1, 5), (5, 302)])
def test_what_no_tree_can_prove_is_refused(old, new):
    tree = TileTree(log_of(ENTRIES[:10]), 10)
    with pytest.raises(LedgerError, match=r"nothing proves|has no tree of"):
        tree.consistency_proof(old, new)
    with pytest.raises(LedgerError, match=r"has no entry|has no tree of"):
        tree.inclusion_proof(new, new)
    with pytest.raises(ValueError, match="a tree has 0 entries"):
        TileTree(Memory(), -1)


def test_proofs_of_different_lists_of_leaves_do_not_pass_for_each_other():
    leaf = leaf_hash(b"x")
    with pytest.raises(ValueError, match="too long"):
        root_from_inclusion(leaf, 0, 1, [leaf])
    with pytest.raises(ValueError, match="between trees"):
        roots_from_consistency(0, 1, leaf, [])


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("level", "index", "width", "name"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 999, 1, "tile/0/999.p/1"),
        (1, 1000, 255, "tile/1/x001/000.p/255"),
        (63, 1234067, 256, "tile/63/x001/x234/067"),
        (None, 1234067, 112, "tile/entries/x001/x234/067.p/112"),
    ],
)
def test_names_are_those_of_the_specification(level, index, width, name):
    made = entries_path(index, width) if level is None else tile_path(level, index, width)
    assert made == name
    assert parse_name(name) == (level, index, width)


@pytest.mark.parametrize(
    "name",
    ["tile/0/0", "tile/00/000", "tile/64/000", "tile/0/x000/001", "tile/0/000.p/0",
     "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p", "tile/0/../000", "tile/-1/000",
     "tile/0/x001", "tile/0/000.p/1.p/2", "tile/entries/001/000", "tile/entrieS/000",
     "tile/0/000\n", "tile/0/\u0660\u0660\u0660", "checkpoint", ""],
)  # fmt: skip
def test_names_that_are_none_are_not_taken_for_one(name):
    assert parse_name(name) is None


@pytest.mark.parametrize(
    ("level", "index", "width"), [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)]
)
def test_tiles_that_cannot_be_have_no_name(level, index, width):
    with pytest.raises(ValueError, match="tile"):
        tile_path(level, index, width)


def test_a_log_of_70000_entries_has_the_files_that_the_specification_counts():
    files = log_of([b"%d" % number for number in range(70_000)])
    level0 = [name for name in files if name.startswith("tile/0/")]
    assert len(level0) == 274
    assert [name for name in level0 if ".p/" in name] == ["tile/0/273.p/112"]
    assert sorted(name for name in files if name.startswith(("tile/1", "tile/2"))) == [
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert len([name for name in files if "entries" in name]) == 274
    assert TileTree(files, 70_000).check() == merkle_root(
        leaf_hash(b"%d" % number) for number in range(70_000)
    )
    assert sorted(log_of([b"x"] * 256)) == ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]


# ---------------------------------------------------------------- bundles


def test_a_bundle_is_entries_behind_their_big_endian_lengths():
    assert encode_entries([b"a", b"b" * 300]) == b"\x00\x01a\x01\x2c" + b"b" * 300


@given(st.lists(st.binary(min_size=1, max_size=70), max_size=20))
def test_a_bundle_reads_back_as_it_was(entries):
    bundle = encode_entries(entries)
    assert decode_entries(bundle, len(entries), name="x") == entries
    for wrong in (len(entries) + 1, len(entries) - 1):
        if wrong >= 0:
            with pytest.raises(LedgerError, match="x is damaged"):
                decode_entries(bundle, wrong, name="x")
    for cut in range(len(bundle)):
        with pytest.raises(LedgerError, match="x is damaged"):
            decode_entries(bundle[:cut], len(entries), name="x")
    with pytest.raises(LedgerError, match="1 bytes stand behind"):
        decode_entries(bundle + b"\x00", len(entries), name="x")


@pytest.mark.parametrize("entry", [b"", b"x" * 65_536])
def test_entries_that_are_empty_or_too_long_are_no_entries(entry):
    with pytest.raises(LedgerError, match="1 to 65535 bytes"):
        encode_entries([entry])
    with pytest.raises(LedgerError, match="1 to 65535 bytes"):
        grow(Memory(), 0, [b"fine", entry])
    with pytest.raises(LedgerError, match="damaged at its entry 1, byte 3"):
        decode_entries(b"\x00\x01a\x00\x00", 2, name="x")
    assert decode_entries(encode_entries([b"x" * 65_535]), 1, name="x") == [b"x" * 65_535]


# ---------------------------------------------------------------- growing


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([0, 1, 2, 5, 100, 255, 256, 257, 600]), min_size=1, max_size=6))
def test_a_tree_is_the_same_however_it_grew(steps):
    entries = [b"entry %d" % number for number in range(sum(steps))]
    leaves = [leaf_hash(entry) for entry in entries]
    files, size = Memory(), 0
    for step in steps:
        growth = grow(files, size, entries[size : size + step])
        assert growth.old_root == merkle_root(leaves[:size])
        assert not set(growth.files) & set(files)
        size += step
        assert (growth.size, growth.root) == (size, merkle_root(leaves[:size]))
        files.update(growth.files)
    tree = TileTree(files, size)
    assert tree.check() == merkle_root(leaves)
    assert list(tree.leaf_hashes()) == leaves
    assert dict(tree.entries()) == dict(enumerate(entries))
    final = log_of(entries)
    assert {name: files[name] for name in final} == final


def test_a_reader_of_an_old_size_reads_full_tiles_once_the_partial_ones_are_gone():
    files = log_of([b"%d" % number for number in range(600)])
    assert tile_path(0, 0, 100) not in files
    tree = TileTree(files, 100)
    assert tree.root() == merkle_root(leaf_hash(b"%d" % number) for number in range(100))
    assert tree.check() == tree.root()
    assert tree.entry(99) == b"99"
    assert len(list(tree.entries(40))) == 60
    with pytest.raises(LedgerError, match="has no entry 100"):
        tree.entry(100)
    with pytest.raises(ValueError, match="counted from 0"):
        next(tree.entries(-1))


def test_damage_at_the_right_edge_is_not_built_upon():
    files = log_of(ENTRIES[:300])
    name = entries_path(1, 44)
    files[name] = files[name].replace(b"entry 280", b"entrY 280")
    with pytest.raises(LedgerError, match=r"entry 280 in tile/entries/001.p/44 is not the one"):
        grow(files, 300, [b"more"])
    files = log_of(ENTRIES[:300])
    files[tile_path(1, 0, 1)] = bytes(32)
    assert grow(files, 300, [b"more"]).old_root != mth(0, 300)
    del files[tile_path(1, 0, 1)]
    with pytest.raises(LedgerError, match=r"tile/1/000.p/1 is missing or has the wrong length"):
        grow(files, 300, [b"more"])


# ---------------------------------------------------------------- damage


def test_every_flipped_bit_is_found_and_its_file_and_place_named():
    size = 66_000
    files = log_of([b"entry %d" % number for number in range(size)])
    root = TileTree(files, size).check()
    chance, names = random.Random(3), sorted(files)
    picked = [name for name in names if name.startswith(("tile/1", "tile/2"))]
    picked += [name for name in names if ".p/" in name] + chance.sample(names, 4)
    for name in picked:
        good = files[name]
        bit = chance.randrange(len(good) * 8)
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        files[name] = bytes(bad)
        with pytest.raises(LedgerError) as caught:
            TileTree(files, size).check()
        assert name in str(caught.value) or name.split(".p")[0] in str(caught.value)
        level, index, _ = parse_name(name)
        if level == 0:
            assert f"entry {index * TILE_WIDTH + bit // 256} in" in str(caught.value)
        elif level is not None:
            assert f"hash {bit // 256} of {name}" in str(caught.value)
        files[name] = good
    assert TileTree(files, size).check() == root


@pytest.mark.parametrize("how", ["missing", "empty", "short", "long"])
def test_files_that_are_missing_or_of_the_wrong_length_are_named(how):
    for name in sorted(log_of(ENTRIES)):
        files = log_of(ENTRIES)
        good = files.pop(name)
        if how != "missing":
            files[name] = {"empty": b"", "short": good[:-1], "long": good + b"x"}[how]
        with pytest.raises(LedgerError) as caught:
            TileTree(files, len(ENTRIES)).check()
        assert name in str(caught.value)


def test_memory_stays_small_however_many_tiles_are_read():
    files = log_of([b"%d" % number for number in range(256 * 50)])
    tree = TileTree(files, 256 * 50)
    for _ in tree.leaf_hashes():
        pass
    assert len(tree._kept) <= 32
