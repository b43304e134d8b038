"""Hostile suite files: refused, or understood; never a crash, a hang or a flood of memory."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.suites.condition_text import parse_text
from sluicegate.stages.validation.suites.model import Suite
from sluicegate.stages.validation.suites.parse import examine_suite
from sluicegate.stages.validation.suites.words import explain
from tests.core.suite_cases import VALID
from tests.core.validation_cases import ask, suite_json

SECONDS = 2.0
MEGABYTES = 200

CONTRACT: dict[str, Any] = {
    "version": "1", "apiVersion": "v3.1.0", "kind": "DataContract", "id": "c",
    "schema": [{"name": "t", "properties": [
        {"name": "a", "logicalType": "integer", "required": True, "primaryKey": True,
         "logicalTypeOptions": {"minimum": 0},
         "quality": [{"metric": "nullValues", "mustBe": 0, "severity": "info"},
                     {"type": "custom", "engine": "gx", "implementation":
                      "type: expect_column_values_to_be_unique\\nkwargs: {}"}]}]}],
}  # fmt: skip


def read(data: bytes, **options: Any) -> Suite | None:
    """Read a suite as everybody does, and hold it to its limits."""
    started = time.process_time()
    examined = examine_suite(data, **options)
    assert time.process_time() - started < SECONDS
    assert (examined.suite is None) == bool(examined.problems)
    for problem in examined.problems:
        assert isinstance(problem, ConfigurationError)
        assert len(str(problem)) < 5_000
    if examined.suite is not None:
        for one in examined.suite.expectations:
            assert len(explain(one)) < 10_000
    return examined.suite


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=4),
    max_leaves=8,
)  # fmt: skip
WORDS = st.sampled_from(
    ["type", "kwargs", "column", "mostly", "row_condition", "severity", "id", "$ref", "$PARAMETER",
     "expectations", "name", "meta", "kind", "apiVersion", "schema", "quality", "json_schema",
     "DataContract", "@a", "a > 1", "`", "{batch}", "../..", "\\0", "1e999", "NaN"]
)  # fmt: skip


def _mutate(value: Any, choose: random.Random, other: Any) -> Any:
    """Return a value with one part replaced, removed, repeated or renamed."""
    if isinstance(value, dict) and value and choose.random() < 0.8:
        key = choose.choice(sorted(value))
        changed = dict(value)
        what = choose.random()
        if what < 0.1:
            del changed[key]
        elif what < 0.2:
            changed[str(other)[:30]] = changed.pop(key)
        else:
            changed[key] = _mutate(value[key], choose, other)
        return changed
    if isinstance(value, list) and value and choose.random() < 0.8:
        index = choose.randrange(len(value))
        changed_list = list(value)
        changed_list[index] = _mutate(value[index], choose, other)
        return changed_list + changed_list[:1] if choose.random() < 0.1 else changed_list
    return other


def _start(kind: str) -> Any:
    return json.loads(suite_json(ask(kind, **VALID[kind], row_condition="a > 1 and b in ['x']")))


MUTANTS = st.tuples(
    st.sampled_from([*map(_start, sorted(VALID)), CONTRACT]),
    st.randoms(use_true_random=False),
    st.one_of(JSON, WORDS),
).map(lambda parts: _mutate(*parts))


@settings(max_examples=150, deadline=None)
@given(MUTANTS, st.booleans())
def test_mutated_suites_are_read_or_refused(value: Any, as_yaml: bool) -> None:
    data = (
        yaml.safe_dump(value).encode("utf-8", "surrogatepass")
        if as_yaml
        else (json.dumps(value).encode())
    )
    read(data, sql=True)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda one: one.encode("utf-8")))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert read(data) is None


ALPHABET = st.sampled_from(
    ["age", "`a b`", "5", "-1.5", "'x'", '"y"', "==", "!=", "<", ">=", "and", "or", "not", "in",
     "(", ")", "[", "]", ",", "&", "|", "~", ".isnull()", ".notnull()", 'col("a")', "True", "@",
     "__import__", "lambda", ";", "\\n", "#", "None", "é"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(ALPHABET, max_size=14).map(" ".join) | st.text(max_size=40))
def test_conditions_of_any_words_are_read_or_refused(text: str) -> None:
    try:
        parse_text(text, "$")
    except ConfigurationError:
        return


def _suite(kwargs: str) -> bytes:
    return b'{"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": %s}]}' % (
        kwargs.encode()
    )


LONG = "k" * 1_000_000
HOSTILE = {
    "empty lists": b'{"name": "s", "expectations": [' + b"[]," * 1_300_000 + b"[]]}",
    "bad entries": b'{"name": "s", "expectations": [' + b"{}," * 80_000 + b"{}]}",
    "deep json": _suite("[" * 900_000 + "]" * 900_000),
    "quite deep json": _suite('{"column": ' + "[" * 900 + "]" * 900 + "}"),
    "deep yaml flow": b"a: " + b"[" * 500_000,
    "deep yaml block": b"- " * 500_000,
    "yaml bomb": b"a: &a [x]\n"
    + b"".join(b"%c: &%c [*%c,*%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 120)),
    "many yaml values": b"expectations:\n" + b"- a\n" * 900_000,
    "many yaml keys": b"".join(b"k%d: 1\n" % i for i in range(300_000)),
    "a long yaml key": LONG.encode() + b":\n" + b"- 1\n" * 200_000,
    "a long json key": _suite(f'{{"{LONG}": [{"1," * 200_000}1]}}'),
    "a long type": f'{{"name": "s", "expectations": [{{"type": "{LONG}", "kwargs": {{}}}}]}}'.encode(),  # noqa: E501
    "a huge number": _suite('{"column": ' + "9" * 1_000_000 + "}"),
    "a huge float": _suite('{"column": 1e' + "9" * 1000 + "}"),
    "a huge yaml number": b"name: " + b"9" * 1_000_000,
    "a huge yaml float": b"name: 1." + b"9" * 1_000_000 + b"e",
    "unknown arguments": _suite("{" + ",".join(f'"columm{i}": 1' for i in range(100_000)) + "}"),
    "unknown keys": json.dumps({f"nam{i}": 1 for i in range(200_000)}).encode(),
    "a long condition": _suite(json.dumps({"column": "a", "row_condition": "(" * 1_000_000})),
    "too large": b"[" + b" " * (5 << 20) + b"]",
    "wide schema": suite_json(
        ask("expect_column_values_to_match_json_schema", column="a",
            json_schema={LONG[:1000]: {LONG[:1000]: {f"x{i}": {} for i in range(50_000)}}},
            nonsense=1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_quickly_and_in_little_memory(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(HOSTILE[name]) is None
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_reader_of_hostile_files_stays_small() -> None:
    code = (
        "import sys\n"
        "from sluicegate.stages.validation.suites.parse import examine_suite\n"
        "data = sys.stdin.buffer.read()\n"
        "assert examine_suite(data).suite is None\n"
        "status = open('/proc/self/status').read()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)\n"
    )
    for name in ("empty lists", "many yaml values", "a long json key"):
        done = subprocess.run(
            [sys.executable, "-c", code], input=HOSTILE[name], capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        assert int(done.stdout) < MEGABYTES, name


@pytest.mark.slow
def test_mutations_for_as_long_as_there_is_time() -> None:
    choose = random.Random(4)
    starts = [*map(_start, sorted(VALID)), CONTRACT]
    words: list[Any] = [None, True, 0, -1, 1e300, 10**40, "", "a", [], {}, [[]], {"$ref": "x"},
                        "@pd", "a > 1", {"type": "and", "conditions": []}, "9" * 5000]  # fmt: skip
    end = time.monotonic() + float(os.environ.get("SLUICEGATE_FUZZ_SECONDS", "40"))
    tried = 0
    while time.monotonic() < end:
        value = choose.choice(starts)
        for _ in range(choose.randint(1, 4)):
            value = _mutate(value, choose, choose.choice(words))
        data = json.dumps(value).encode()
        if choose.random() < 0.3:
            data = yaml.safe_dump(value).encode()
        if choose.random() < 0.3:
            cut = bytearray(data)
            for _ in range(3):
                cut[choose.randrange(len(cut))] = choose.randrange(256)
            data = bytes(cut)
        read(data, sql=choose.random() < 0.5)
        tried += 1
    assert tried > 1000
