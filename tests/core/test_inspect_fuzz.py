"""Mutations of honest files: whatever they have become, the answer is an answer, and soon.

Every mutation of every type goes through the stage with children and all. No outcome is
demanded but that there is one: what a flipped bit does to a picture may well be a picture.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.stages.files.child.nursery import Nursery
from sluicegate.stages.files.examination import Examination, ExceededError, MalformedError
from sluicegate.stages.files.formats.brackets import Brackets
from sluicegate.stages.files.formats.delimited import Delimited
from sluicegate.stages.files.inspector import inspect_file
from sluicegate.stages.files.kinds import KINDS
from sluicegate.stages.files.limits import Limits
from sluicegate.stages.files.stage import InspectFiles
from sluicegate.stages.files.views import whole
from tests.core import hostile_files as make

SECONDS = 10.0
"""Longer than any of it takes on an idle machine by a factor of five."""

FILES = {
    **{name: data for name, data in make.honest().items() if 0 < len(data) < 70_000},
    **make.DOCUMENTS,
    "a.pkl": make.pickled(),
    "enc.zip": make.encrypted_zip(),
    "over.zip": make.overlapping_zip(),
}
NAMES = sorted(FILES)


def limits(**changes: Any) -> Limits:
    stage = InspectFiles(max_seconds=SECONDS, **changes)
    return stage._limits()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(memory=256 << 20) as one:
        yield one


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw an honest file, and flip bits of it, cut it, or splice it with another."""
    name = draw(st.sampled_from(NAMES))
    data = bytearray(FILES[name])
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.integers(0, 4))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if kind == 0 and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = FILES[draw(st.sampled_from(NAMES))][:2000]
        elif kind == 3 and data:
            count = draw(st.sampled_from([1, 2, 4, 8]))
            data[at : at + count] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f"])) * count
        else:
            del data[at : at + draw(st.integers(1, 64))]
    return name, bytes(data)


def examine(name: str, data: bytes, nursery: Nursery) -> Examination:
    allowed = limits(types=tuple(sorted(KINDS - {*_NEVER})))
    found = Examination(size=len(data), limits=allowed, nursery=nursery)
    began = time.monotonic()
    with tempfile.SpooledTemporaryFile() as file:
        file.write(data)
        inspect_file(whole(file), name, found)
    assert time.monotonic() - began < SECONDS + 1
    return found


_NEVER = {
    *("elf", "pe", "macho", "script", "java", "wasm", "dex", "shortcut", "package"),
    *("java-object", "r-data", "pyc"),
}
_SETTINGS = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
    "database": None,
}


@settings(max_examples=400, **_SETTINGS)
@given(case=mutated())
def test_mutations_get_an_answer(case: tuple[str, bytes], nursery: Nursery) -> None:
    found = examine(*case, nursery)
    assert found.complete or found.remarks


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("SLUICEGATE_FUZZ_FILES", "4000")), **_SETTINGS)
@given(case=mutated())
def test_many_mutations_get_an_answer(case: tuple[str, bytes], nursery: Nursery) -> None:
    found = examine(*case, nursery)
    assert found.complete or found.remarks


@settings(max_examples=300, **_SETTINGS)
@given(name=st.sampled_from(["a.csv", "a.json", "a.txt", "a.xml", "x"]), data=st.binary())
def test_any_bytes_get_an_answer(name: str, data: bytes, nursery: Nursery) -> None:
    found = examine(name, data, nursery)
    assert found.complete or found.remarks


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        yield data[start:end]


@given(value=_JSON, cuts=st.lists(st.integers(0, 500)), ascii=st.booleans())
def test_depth_of_json_is_that_of_a_reader(value: Any, cuts: list[int], ascii: bool) -> None:
    brackets = Brackets(deepest=100)
    for piece in pieces(json.dumps(value, ensure_ascii=ascii).encode("utf-8", "replace"), cuts):
        brackets.feed(piece)
    brackets.close()
    assert brackets.deepest == depth_of(value)


_CELL = st.text(alphabet='a",;\n\t é', max_size=6)


@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(_CELL, min_size=width, max_size=width), min_size=1, max_size=8
        )
    ),
    cuts=st.lists(st.integers(0, 200)),
)
def test_records_are_those_of_a_reader(rows: list[list[str]], cuts: list[int]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    table = Delimited(limits(), delimiter=b",")
    for piece in pieces(out.getvalue().encode(), cuts):
        table.feed(piece)
    table.close()
    assert table.records == len(rows)
    assert table.odd == 0
    assert table.width == len(rows[0])


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 500_000, b'{"a' + b'\\\\"' * 400_000])
def test_open_texts_take_linear_time(text: bytes) -> None:
    began = time.process_time()
    brackets = Brackets(deepest=100)
    with contextlib.suppress(MalformedError, ExceededError):
        brackets.feed(text)
    table = Delimited(limits())
    with contextlib.suppress(MalformedError, ExceededError):
        table.feed(b'a,"' + b',""' * 300_000 + b"\n")
        table.close()
    assert time.process_time() - began < 2
