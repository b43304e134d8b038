"""Merkle trees against the definition in RFC 6962, written down naively."""

from __future__ import annotations

import functools
import hashlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sluicegate.merkle import (
    RootBuilder,
    inclusion_proof,
    leaf_hash,
    merkle_root,
    root_from_inclusion,
)

SIZES = range(131)
LEAVES = tuple(leaf_hash(b"entry %d" % number) for number in SIZES)


@functools.cache
def naive_root(leaves):
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    at = split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:at]) + naive_root(leaves[at:])).digest()


def naive_path(leaves, index):
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return [*naive_path(leaves[:at], index), naive_root(leaves[at:])]
    return [*naive_path(leaves[at:], index - at), naive_root(leaves[:at])]


def split(size):
    """Return the largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def test_leaves_and_the_empty_tree_are_hashed_as_the_standard_says():
    assert leaf_hash(b"").hex() == hashlib.sha256(b"\x00").hexdigest()
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    # Known answer: the empty tree of RFC 6962.
    assert merkle_root([]).hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_the_known_answers_of_certificate_transparency_come_out():
    # The reference vectors of certificate-transparency-go (inputs and roots of sizes 1 to 8).
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    inputs.append("606162636465666768696a6b6c6d6e6f")
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    leaves = [leaf_hash(bytes.fromhex(text)) for text in inputs]
    assert [merkle_root(leaves[: size + 1]).hex() for size in range(8)] == roots


def test_the_root_of_every_size_is_that_of_the_definition():
    for size in SIZES:
        assert merkle_root(LEAVES[:size]) == naive_root(LEAVES[:size]), size


def test_a_builder_knows_the_root_and_the_size_after_every_leaf():
    builder = RootBuilder()
    for size in SIZES:
        assert (builder.size, builder.root()) == (size, naive_root(LEAVES[:size]))
        builder.add(LEAVES[size])


def test_every_leaf_of_every_size_has_the_proof_of_the_definition_and_it_leads_to_the_root():
    for size in SIZES[1:]:
        leaves, root = LEAVES[:size], naive_root(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            assert list(proof) == naive_path(leaves, index), (size, index)
            assert root_from_inclusion(leaves[index], index, size, proof) == root, (size, index)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_part_of_a_proof_can_be_changed_without_missing_the_root(data):
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = list(inclusion_proof(LEAVES[:size], index))
    leaf, root = LEAVES[index], merkle_root(LEAVES[:size])
    match data.draw(st.sampled_from(["bit", "leaf", "index", "longer", "shorter", "swap"])):
        case "bit":
            at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
            changed = bytearray(proof[at])
            changed[bit // 8] ^= 1 << bit % 8
            proof[at] = bytes(changed)
        case "leaf":
            leaf = leaf_hash(b"another entry")
        case "index":
            index = data.draw(st.integers(0, size - 1).filter(lambda other: other != index))
        case "longer":
            proof.insert(data.draw(st.integers(0, len(proof))), LEAVES[-1])
        case "shorter":
            proof.pop(data.draw(st.integers(0, len(proof) - 1)))
        case "swap":
            assume(len(proof) > 1)
            proof.reverse()
    try:
        reached = root_from_inclusion(leaf, index, size, proof)
    except ValueError:
        return
    assert reached != root


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 64, 100])
def test_a_proof_of_the_wrong_length_is_refused(size):
    for index in range(size):
        proof = inclusion_proof(LEAVES[:size], index)
        with pytest.raises(ValueError, match="too long"):
            root_from_inclusion(LEAVES[index], index, size, [*proof, LEAVES[0]])
        if proof:
            with pytest.raises(ValueError, match="too short"):
                root_from_inclusion(LEAVES[index], index, size, proof[:-1])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, -1)])
def test_a_position_outside_of_the_tree_is_refused(index, size):
    with pytest.raises(ValueError, match="of a tree of"):
        root_from_inclusion(LEAVES[0], index, size, ())
    with pytest.raises(IndexError, match="of a tree of"):
        inclusion_proof(LEAVES[: max(size, 0)], index)


def test_an_inner_node_cannot_pose_as_a_leaf():
    left, right = LEAVES[:2]
    root = merkle_root([left, right])
    assert leaf_hash(left + right) != root
    assert merkle_root([leaf_hash(left + right)]) != root
    # A tree of four does not verify as a tree of two whose leaves are its inner nodes.
    inner = [merkle_root(LEAVES[:2]), merkle_root(LEAVES[2:4])]
    assert merkle_root([leaf_hash(node) for node in inner]) != merkle_root(LEAVES[:4])
