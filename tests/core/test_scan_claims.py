"""Claims of the one-scan engine against Great Expectations itself."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.stages.validation.answers import GX, OWN, SCAN, Answer
from sluicegate.stages.validation.scan.base import Unclaimed
from sluicegate.stages.validation.scan.claims import CLAIMS
from sluicegate.stages.validation.scan.claims.regular import translate
from sluicegate.stages.validation.scan.claims.schemas import compiled
from tests.core.claim_cases import (
    as_parquet,
    case_key,
    corpus_table,
    differences,
    parsed,
    questions,
    recorded,
    reference,
    scanned,
)

EXAMPLES = int(os.environ.get("SLUICEGATE_CLAIM_EXAMPLES", "8"))
CORE_TYPES = 59


def asked(table: pa.Table, folder: Path, *entries: dict[str, Any], batch_rows: int = 5) -> Any:
    expectations = parsed([{"meta": {}, **entry} for entry in entries])
    assert len(expectations) == len(entries)
    return scanned(folder, as_parquet(table), expectations, batch_rows=batch_rows)


def ask(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def wrong(expected: Answer, got: Answer) -> list[str]:
    found = differences(expected, got)
    if got.success is False and got.positions != expected.positions:
        found.append(f"rows: {sorted(expected.positions)} expected, {sorted(got.positions)} found")
    return found


def test_the_scan_answers_the_whole_corpus_as_great_expectations_did(tmp_path: Path) -> None:
    corpus = recorded()
    entries = [{"type": case["type"], "kwargs": case["kwargs"], "meta": {}} for case, _ in corpus]
    answers = {case_key(case["type"], case["kwargs"]): answer for case, answer in corpus}
    expectations = parsed_without_gx(entries)
    outcome = scanned(tmp_path, as_parquet(corpus_table()), expectations)
    claimed, mistakes = 0, []
    for one in expectations:
        expected = answers[case_key(one.type, dict(one.kwargs))]
        if one.index in outcome.left:
            continue
        claimed += 1
        # Where Great Expectations fails, its failure is the answer: nobody may claim it.
        mistakes += [
            (one.type, dict(one.kwargs), each)
            for each in wrong(expected, outcome.answers[one.index])
        ]
    assert not mistakes
    assert claimed >= 400
    types = {one.type for one in expectations if one.index not in outcome.left}
    assert len(types) >= 45
    assert len(types) >= 0.6 * CORE_TYPES


def parsed_without_gx(entries: Sequence[dict[str, Any]]) -> list[Any]:
    import dataclasses

    from sluicegate.errors import SluicegateError
    from sluicegate.stages.validation.suites.parse import parse_suite

    found: list[Any] = []
    for entry in entries:
        text = json.dumps({"name": "corpus", "expectations": [entry], "meta": {}}).encode()
        try:
            one = parse_suite(text).expectations[0]
        except SluicegateError:
            continue
        found.append(dataclasses.replace(one, index=len(found)))
    return found


def test_great_expectations_still_answers_as_recorded() -> None:
    corpus = recorded()
    chosen = random.Random(11).sample(corpus, 24)
    entries = [{"type": case["type"], "kwargs": case["kwargs"], "meta": {}} for case, _ in chosen]
    expected = {case_key(case["type"], case["kwargs"]): answer for case, answer in chosen}
    expectations = parsed(entries)
    assert len(expectations) >= 18
    now = reference(as_parquet(corpus_table()), expectations)
    for one in expectations:
        assert now[one.index] == expected[case_key(one.type, dict(one.kwargs))], one.kwargs


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
@given(questions())
def test_generated_questions_are_answered_alike(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[pa.Table, list[dict[str, Any]]]
) -> None:
    table, entries = drawn
    expectations = parsed(entries)
    if not expectations:
        return
    data = as_parquet(table)
    outcome = scanned(tmp_path_factory.mktemp("drawn"), data, expectations, batch_rows=4)
    claimed = [one for one in expectations if one.index not in outcome.left]
    expected = reference(data, claimed) if claimed else {}
    for one in claimed:
        found = wrong(expected[one.index], outcome.answers[one.index])
        assert not found, (one.type, dict(one.kwargs), found)


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_batches_change_nothing(tmp_path: Path, batch_rows: int) -> None:
    table = pa.table({"x": [1, 2, 2, None, 5, 4, 9, 9, 10], "s": list("aabbccdde")})
    entries = [
        ask("column_values_to_be_increasing", column="x", strictly=True),
        ask("column_values_to_be_unique", column="s"),
        ask("column_values_to_not_be_outliers", column="x", multiplier=0.5),
        ask("column_values_to_be_between", column="x", max_value=4),
        ask("column_quantile_values_to_be_between", column="x",
            quantile_ranges={"quantiles": [0.25], "value_ranges": [[2, 2]]}),
    ]  # fmt: skip
    outcome = asked(table, tmp_path, *entries, batch_rows=batch_rows)
    assert [outcome.answers[at].success for at in range(5)] == [False, False, True, False, True]
    assert outcome.answers[0].positions == {2, 5, 7}
    assert outcome.answers[1].positions == set(range(8))
    assert outcome.answers[3].positions == {4, 6, 7, 8}


def test_what_great_expectations_passes_vacuously_is_unknown(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([None] * 3, pa.int64()), "k": ["a", "b", "c"]})
    condition = {"type": "comparison", "column": {"name": "k"}, "operator": "==", "parameter": "z"}
    entries = [
        ask("column_values_to_be_between", column="x", min_value=0),
        ask("column_values_to_be_unique", column="x"),
        ask("column_sum_to_be_between", column="x", min_value=0),
        ask("column_distinct_values_to_be_in_set", column="x", value_set=[1]),
        ask("column_values_to_not_be_null", column="k", row_condition=condition),
        ask("table_row_count_to_equal", value=3),
    ]
    answers = asked(table, tmp_path, *entries).answers
    assert [answers[at].success for at in range(6)] == [None] * 5 + [True]
    assert answers[0].reason == "there is no value to examine: all are missing"
    assert answers[4].reason == "the row condition selects no row: nothing was examined"
    assert all(answers[at].engine == OWN for at in range(5))


def test_stricter_rules_count_as_before(tmp_path: Path) -> None:
    table = pa.table({"n": [2**53 + 1, 5], "f": [1.0, float("inf")], "s": ["abc", "abc\n"]})
    entries = [
        ask("column_values_to_be_between", column="n", max_value=2**53),
        ask("column_values_to_be_between", column="f", min_value=0),
        ask("column_values_to_match_regex", column="s", regex="^[a-z]+$"),
        ask("column_values_to_match_regex", column="s", regex="^[a-z]+$", mostly=0.5),
        ask("column_mean_to_be_between", column="f", min_value=0),
    ]
    answers = asked(table, tmp_path, *entries).answers
    assert [answers[at].success for at in range(5)] == [False, False, False, True, False]
    assert [answers[at].unexpected for at in range(5)] == [1, 1, 1, 1, None]
    assert [answers[at].engine for at in range(3)] == [OWN] * 3
    assert [set(answers[at].positions) for at in (0, 1, 2, 4)] == [{0}, {1}, {1}, {1}]


@pytest.mark.parametrize(
    ("table", "entry"),
    [
        ({"x": [1, None, 2]}, ask("column_values_to_match_regex", column="x", regex="^1$")),
        ({"x": [1, None, 2**53 + 1]}, ask("column_values_to_be_unique", column="x")),
        ({"x": ["é", "a"]}, ask("column_values_to_match_regex", column="x", regex=r"\w")),
        ({"x": [0.1, 0.2, 0.3]}, ask("column_mean_to_be_between", column="x", max_value=0.2)),
        ({"x": [True, None]}, ask("column_values_to_be_of_type", column="x", type_="bool")),
        ({"x": [" " * (1 << 20) + "1"]}, ask("column_values_to_match_json_schema", column="x",
                                             json_schema={})),
        ({"x": [[1], [2]]}, ask("column_values_to_be_unique", column="x")),
        ({"x": [1.0, float("inf"), float("inf")]},
         ask("column_values_to_be_increasing", column="x", strictly=True)),
        ({"x": [0.1, 0.1]}, ask("column_value_z_scores_to_be_less_than", column="x", threshold=1,
                                double_sided=True)),
    ],
)  # fmt: skip
def test_doubt_is_left_to_great_expectations(
    tmp_path: Path, table: dict[str, Any], entry: dict[str, Any]
) -> None:
    assert asked(pa.table(table), tmp_path, entry).left


@pytest.mark.parametrize(
    ("table", "entry"),
    [
        ({"x": [1, 3, 2]}, ask("column_values_to_match_regex", column="x", regex=r"^\d$")),
        ({"x": [1, None, 2**53]}, ask("column_values_to_be_unique", column="x")),
        ({"x": ["é", "a"]}, ask("column_values_to_match_regex", column="x", regex=r"\S")),
        ({"x": [0.1, 0.2, 0.3]}, ask("column_mean_to_be_between", column="x", max_value=0.21)),
        ({"x": [True, False]}, ask("column_values_to_be_of_type", column="x", type_="bool")),
        ({"x": ["[]", "1"]}, ask("column_values_to_match_json_schema", column="x",
                                 json_schema={})),
    ],
)  # fmt: skip
def test_what_is_certain_is_claimed(
    tmp_path: Path, table: dict[str, Any], entry: dict[str, Any]
) -> None:
    answer = asked(pa.table(table), tmp_path, entry).answers[0]
    assert answer.success is True
    assert answer.engine not in (GX, OWN)


_PIECES = ["a", "b", ".", r"\d", r"\s", r"\w", r"\b", "[ab]", "[^a]", "(a|b)", "x?", "(?:ab)+",
           "a{1,2}", "^", "$", r"\Z", r"\.", "é", r"[\w-]", r"[^\s]", "|", "(?P<n>a)", "b*?",
           r"\n", "(^|a)", "(b$)", "(a$|b)"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(_PIECES), min_size=1, max_size=5).map("".join),
    st.lists(st.text("ab1 x_.-\n\r\x0b\x1cé\u2003", max_size=6), min_size=1, max_size=12),
)
def test_translated_patterns_mean_what_python_means(pattern: str, texts: list[str]) -> None:
    try:
        re.compile(pattern)
        translated = translate(pattern)
    except (re.error, Unclaimed):
        return
    if translated.ascii_only:
        texts = [one for one in texts if one.isascii()]
    series = pl.Series(texts, dtype=pl.String)
    found = series.str.contains(translated.loose).to_list()
    assert found == [re.search(pattern, one) is not None for one in texts]
    strict = pattern.replace("$", r"\Z")
    found = series.str.contains(translated.strict).to_list()
    assert found == [re.search(strict, one) is not None for one in texts]


@pytest.mark.parametrize(
    "pattern",
    ["(?i)a", "a(?=b)", "(?<!a)b", r"(a)\1", "a++", "(?>a)", "[[:alpha:]]", "a{,3}", "(",
     "a$b", "(a$)*", r"a\B", "a{1001}", "(a{100}){11}", "(?m)^a", "[a&&b]", "(?#x)a", "a" * 3000,
     r"\N{BULLET}", "(?a)\\w", "\ud800"],
)  # fmt: skip
def test_patterns_without_a_certain_translation_are_refused(pattern: str) -> None:
    with pytest.raises(Unclaimed):
        translate(pattern)


def test_white_space_is_that_of_python() -> None:
    every = [chr(at) for at in range(0x110000) if not 0xD800 <= at <= 0xDFFF]
    found = pl.Series(every).str.contains(translate(r"\s").loose).to_list()
    space = re.compile(r"\s")
    assert found == [bool(space.match(one)) for one in every]


def test_an_explosive_pattern_takes_linear_time(tmp_path: Path) -> None:
    texts = ["a" * 40 + "!", "b\n", "a" * 2000 + "!"]
    start = time.process_time()
    answer = asked(
        pa.table({"x": texts}), tmp_path,
        ask("column_values_to_match_regex", column="x", regex="^(a+)+$"),
    ).answers[0]  # fmt: skip
    assert answer.unexpected == 3
    assert time.process_time() - start < 5


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text("aé\U0001f600b1", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)
_SCHEMAS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": ["number", "null"], "minimum": -1, "exclusiveMaximum": 3},
    {"enum": [1, None, "a", True]},
    {"const": 0},
    {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^[ab]"},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"anyOf": [{"type": "array", "items": {"type": "boolean"}}, {"required": ["b"]}]},
    {"not": {"type": "string"}, "minProperties": 1},
    {"oneOf": [{"minItems": 2}, {"type": "array"}, {"type": "integer"}]},
    {"if": {"type": "array"}, "then": {"contains": {"const": 1}}, "else": {"maxProperties": 1}},
    {"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"},
    {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"},
    {"uniqueItems": True},
    {"propertyNames": {"maxLength": 0}},
    {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "null"}},
]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(_SCHEMAS), _JSON)
def test_compiled_schemas_say_what_the_slow_validator_says(schema: Any, value: Any) -> None:
    text = json.dumps(value)
    try:
        jsonschema.validate(json.loads(text), schema)
        expected = True
    except jsonschema.ValidationError:
        expected = False
    assert compiled(schema)(text) is expected


def test_what_is_no_json_is_never_judged() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        compiled({})("{")
    with pytest.raises(Unclaimed):
        compiled({"type": "nonsense"})


def test_every_claim_is_of_a_type_that_great_expectations_has() -> None:
    from great_expectations.expectations.registry import (
        list_registered_expectation_implementations,
    )

    assert set(CLAIMS) <= set(list_registered_expectation_implementations())
    assert all(callable(CLAIMS[kind]) for kind in CLAIMS)
    assert len(CLAIMS) >= 45
    assert "expect_nothing" not in CLAIMS


def test_importing_the_claims_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sluicegate.stages.validation.scan.claims import CLAIMS;"
        "[CLAIMS[kind] for kind in CLAIMS];"
        "heavy = {'polars', 'pandas', 'numpy', 'pyarrow', 'great_expectations', 'jsonschema'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_unseen_categories_share_the_weight_that_is_held_out(tmp_path: Path) -> None:
    table = pa.table({"x": list("aaaabbbbcc")})
    partition = {"values": ["a", "b"], "weights": [0.5, 0.5]}
    entry = ask("column_kl_divergence_to_be_less_than", column="x", partition_object=partition,
                threshold=0.05, tail_weight_holdout=0.1)  # fmt: skip
    got = asked(table, tmp_path, entry).answers[0]
    (one,) = parsed([{"meta": {}, **entry}])
    assert not wrong(reference(as_parquet(table), [one])[0], got)
    assert got.success is True


def test_squares_that_overflow_are_no_answer_of_great_expectations(tmp_path: Path) -> None:
    huge = pa.table({"x": [1e200, 1.0, -5e200], "y": [1e100, 1.0, -5e100], "z": [1e-200, 0.0, 0.0]})
    scores = {"threshold": 0.5, "double_sided": True}
    for name, engine in (("x", OWN), ("y", SCAN), ("z", OWN)):
        entries = [
            ask("column_value_z_scores_to_be_less_than", column=name, **scores),
            ask("column_values_to_not_be_outliers", column=name, method="std", multiplier=0.5),
            ask("column_stdev_to_be_between", column=name, max_value=1e-300),
        ]
        outcome = asked(huge, tmp_path, *entries)
        assert [outcome.answers[at].engine for at in range(3)] == [engine] * 3
        assert [outcome.answers[at].success for at in range(3)] == [False] * 3


def test_great_expectations_is_not_believed_where_its_squares_overflow() -> None:
    huge = pa.table({"x": [1e200, 1.0, -5e200], "y": [1e100, 1.0, -5e100], "s": [1.7e308] * 3})
    expectations = parsed(
        [
            {"meta": {}, **entry}
            for entry in (
                ask("column_value_z_scores_to_be_less_than", column="x", threshold=0.5,
                    double_sided=True),
                ask("column_values_to_not_be_outliers", column="x", method="std", multiplier=0.5),
                ask("column_stdev_to_be_between", column="x", min_value=1),
                ask("column_mean_to_be_between", column="s", min_value=1),
                ask("column_stdev_to_be_between", column="y", min_value=1),
                ask("column_mean_to_be_between", column="y", max_value=1),
            )
        ]
    )  # fmt: skip
    answers = reference(as_parquet(huge), expectations)
    assert [answers[one.index].success for one in expectations] == [None] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("pairs", "claimed"),
    [
        ([["a", 1], ["b", 2.0]], True),
        ([["a", 1], ["b", "2"]], False),
        ([["a", 1], ["b", None]], False),
        ([["a", 1], ["b", True]], False),
        ([[None, 1]], False),
    ],
)
def test_pairs_of_mixed_kinds_are_left(tmp_path: Path, pairs: Any, claimed: bool) -> None:
    table = pa.table({"a": ["a", "b"], "b": [1, 2]})
    entry = ask("column_pair_values_to_be_in_set", column_A="a", column_B="b",
                value_pairs_set=pairs)  # fmt: skip
    outcome = asked(table, tmp_path, entry)
    assert (0 in outcome.answers) is claimed


def test_a_cell_that_is_no_json_needs_no_great_expectations(tmp_path: Path) -> None:
    table = pa.table({"x": ['{"a": 1}', "{", "[]"], "y": ['{"a": 1}', None, "[]"], "k": [1, 2, 1]})
    data = as_parquet(table)
    schema = {"json_schema": {"type": "object"}}
    where = {"row_condition": "k == 1", "condition_parser": "pandas"}
    entries = [
        ask("column_values_to_match_json_schema", column="x", **schema),
        ask("column_values_to_match_json_schema", column="y", **schema),
        ask("column_values_to_match_json_schema", column="x", mostly=0.1, **schema, **where),
    ]
    expectations = parsed([{"meta": {}, **entry} for entry in entries])
    expected, outcome = reference(data, expectations), scanned(tmp_path, data, expectations)
    assert not outcome.left
    for one in expectations:
        assert not wrong(expected[one.index], outcome.answers[one.index])
    assert [outcome.answers[at].success for at in range(3)] == [None, False, True]


def test_different_values_outside_of_a_set_are_counted_once(tmp_path: Path) -> None:
    table = pa.table({"x": ["a", "a", "b", "b", "c", None], "y": [1.0, 1.0, 0.0, -0.0, None, 7.0]})
    entries = [
        ask(f"column_distinct_values_to_{how}_set", column=column, value_set=members)
        for how in ("be_in", "equal", "contain")
        for column, members in (("x", ["a"]), ("x", ["a", "b", "c"]), ("x", ["d"]), ("y", [7]))
    ]
    expectations = parsed([{"meta": {}, **entry} for entry in entries])
    data = as_parquet(table)
    expected, outcome = reference(data, expectations), scanned(tmp_path, data, expectations)
    for one in expectations:
        assert not wrong(expected[one.index], outcome.answers[one.index])
    counts = [outcome.answers[at].unexpected for at in range(12)]
    assert counts == [2, 0, 3, 2, 2, 0, 3, 2, None, None, None, None]


def test_too_many_values_outside_of_a_set_are_left(tmp_path: Path) -> None:
    entry = ask("column_distinct_values_to_be_in_set", column="x", value_set=[-1])
    outcome = asked(pa.table({"x": list(range(10_001))}), tmp_path, entry, batch_rows=4_000)
    assert 0 in outcome.left
    outcome = asked(pa.table({"x": list(range(10_000))}), tmp_path, entry, batch_rows=4_000)
    assert outcome.answers[0].unexpected == 10_000
