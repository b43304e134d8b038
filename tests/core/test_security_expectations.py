"""Security expectations: what they catch, what they leave alone, what nobody can tell."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations import SPECS, moments
from sluicegate.stages.validation.expectations.drift import stability_index
from sluicegate.stages.validation.expectations.frames import AllRows, FrameColumn
from sluicegate.stages.validation.expectations.noise import (
    chi_squared_quantile,
    kolmogorov_bound,
    stability_bound,
    total_variation_bound,
)
from sluicegate.stages.validation.scan.columns import scan_columns
from sluicegate.stages.validation.scan.plan import plan
from sluicegate.stages.validation.scan.run import run
from sluicegate.stages.validation.suites.parse import parse_suite
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.core.security_cases import CASES, COLUMN, NORMAL_EDGES, NORMAL_SHARES, Case
from tests.core.validation_cases import ask, suite_json

FROZEN = "expect_column_categories_to_be_frozen"
RANGE = "expect_column_values_to_be_in_robust_range"
SHARES = "expect_column_label_shares_to_match"
PSI = "expect_column_psi_to_be_less_than"
KS = "expect_column_ks_statistic_to_be_less_than"
DUPLICATES = "expect_column_duplicate_share_to_be_less_than"
WITHIN = "expect_column_timestamps_to_be_within"
SCHEMA = "expect_table_schema_to_equal"
MARKUP = "expect_column_values_to_have_no_active_markup"

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def table(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({COLUMN: pa.array(values, type=kind)})


def scan(folder: Path, data: pa.Table, kind: str, **kwargs: Any) -> Answer:
    """Ask the one-scan engine about a Parquet file with several row groups."""
    path = folder / "data.parquet"
    pq.write_table(data, path, row_group_size=max(1, data.num_rows // 3))
    snapshot = take_snapshot(SubjectUri.parse(str(path)))
    suite = parse_suite(suite_json(ask(kind, **kwargs)))
    outcome = run(snapshot, plan(suite, scan_columns(snapshot)))
    assert not outcome.left, outcome.left
    return outcome.answers[0]


def judge(values: Any, kind: str, **kwargs: Any) -> Answer:
    """Ask about a pandas data frame of one column."""
    frame = values if isinstance(values, pd.DataFrame) else table(values).to_pandas()
    return SPECS[kind].judge_frame(frame, {"column": COLUMN, **kwargs})


def batched(data: pl.DataFrame, cuts: list[int], kind: str, **kwargs: Any) -> Answer:
    """Ask about rows that come in batches of given sizes."""
    columns = {
        name: FrameColumn(name, dtype, "bool" if dtype == pl.Boolean else "", False)
        for name, dtype in data.schema.items()
    }
    question = SPECS[kind].question({"column": COLUMN, **kwargs}, columns, AllRows())
    states = {name: one.start() for name, one in question.measures.items()}
    bounds = [0, *sorted(min(cut, data.height) for cut in cuts), data.height]
    for start, end in pairwise(bounds):
        batch = data[start:end]
        for name, one in question.measures.items():
            given = [part.alias(str(at)) for at, part in enumerate(one.expressions())]
            states[name].add(batch.select(given).row(0) if given else (), batch)
    return question.conclude({name: state.finish() for name, state in states.items()})


def refused(kind: str, **kwargs: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        SPECS[kind].check(kwargs, "$.expectations[0].kwargs")
    assert caught.value.next_step
    return caught.value


# -- logical types ---------------------------------------------------------------------------

LOGICAL = "expect_column_logical_type_to_be"
_MOMENT = dt.datetime(2024, 5, 1, 12, 30)  # noqa: DTZ001  naive, as some columns are
HELD = {
    "string": [(pa.string(), ["1", "x"]), (pa.dictionary(pa.int32(), pa.string()), ["x"])],
    "integer": [(pa.uint8(), [1]), (pa.int64(), [2**60]), (pa.decimal128(8, 0), [1])],
    "number": [(pa.float32(), [0.5]), (pa.int64(), [1]), (pa.decimal128(8, 2), [1])],
    "boolean": [(pa.bool_(), [True])],
    "date": [(pa.date32(), [_MOMENT.date()]), (pa.string(), ["2024-05-01"])],
    "timestamp": [
        (pa.timestamp("us"), [_MOMENT]),
        (pa.timestamp("ns", tz="UTC"), [_MOMENT]),
        (pa.string(), ["2024-05-01T12:30:00Z", "2024-05-01 12:30"]),
    ],
    "time": [(pa.time64("us"), [_MOMENT.time()]), (pa.string(), ["12:30", "23:59:59.5"])],
    "array": [(pa.list_(pa.int64()), [[1]]), (pa.list_(pa.struct([("a", pa.int8())])), [[]])],
    "object": [(pa.struct([("a", pa.list_(pa.int64()))]), [{"a": [1]}])],
}
_ALSO = {("integer", "number", 0), ("integer", "number", 1), ("integer", "number", 2),
         ("number", "integer", 1)}  # fmt: skip
"""What is of a second logical type, by its place: integers are numbers."""


@pytest.mark.parametrize("word", HELD)
def test_a_logical_type_is_held_by_its_columns_and_by_no_others(word: str, tmp_path: Path) -> None:
    for other, columns in HELD.items():
        for at, (kind, values) in enumerate(columns):
            text = pa.types.is_string(kind) and word == "string"
            expected = other == word or text or (other, word, at) in _ALSO
            data = table([*values, None], kind)
            answer = scan(tmp_path, data, LOGICAL, column=COLUMN, logical_type=word)
            assert answer.success is expected, (other, kind)
            assert (answer.problems == ()) is expected


def test_wrong_dates_are_named_and_a_wrong_type_names_no_row(tmp_path: Path) -> None:
    data = table(["2024-05-01", "2024-13-01", None, "2024-05-01\n", "24:00"])
    answer = scan(tmp_path, data, LOGICAL, column=COLUMN, logical_type="date")
    assert answer.positions == {1, 3, 4}
    answer = scan(tmp_path, data, LOGICAL, column=COLUMN, logical_type="number")
    assert answer.success is False
    assert not answer.positions
    assert answer.problems == ("the column is of type string, and no number",)


def test_lists_and_objects_of_a_file_without_types_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"l": [1], "o": {"a": [1]}}\n{"l": [], "o": {}}\n')
    snapshot = take_snapshot(SubjectUri.parse(str(path)))
    pairs = [("l", "array"), ("l", "object"), ("o", "object"), ("o", "array")]
    entries = [ask(LOGICAL, column=column, logical_type=word) for column, word in pairs]
    outcome = run(snapshot, plan(parse_suite(suite_json(*entries)), scan_columns(snapshot)))
    assert [outcome.answers[at].success for at in range(4)] == [True, False, True, False]


def test_integers_with_gaps_are_integers_in_a_data_frame_only(tmp_path: Path) -> None:
    whole, halves = table([1.0, None]), table([1.5, None])
    assert judge(whole.to_pandas(), LOGICAL, logical_type="integer").success is True
    assert judge(halves.to_pandas(), LOGICAL, logical_type="integer").success is False
    assert judge([1.0, 2.0], LOGICAL, logical_type="integer").success is False
    answer = scan(tmp_path, whole, LOGICAL, column=COLUMN, logical_type="integer")
    assert answer.success is False


def test_a_type_does_not_depend_on_how_many_values_are_missing(tmp_path: Path) -> None:
    data = table(["x", *[None] * 9])
    answer = scan(tmp_path, data, LOGICAL, column=COLUMN, logical_type="string")
    assert answer.success is True
    assert answer.missing is None


def test_an_unknown_logical_type_is_refused() -> None:
    error = refused(LOGICAL, column=COLUMN, logical_type="integr")
    assert "did you mean 'integer'?" in error.next_step


# -- each type -------------------------------------------------------------------------------


def test_every_type_about_a_column_has_a_case() -> None:
    assert {case.kind for case in CASES} | {SCHEMA} == set(SPECS)


@each
def test_clean_data_passes(case: Case, tmp_path: Path) -> None:
    answer = scan(tmp_path, table(case.clean, case.type), case.kind, **case.arguments())
    assert answer.success is True
    assert answer.problems == ()


@each
def test_an_attack_is_caught(case: Case, tmp_path: Path) -> None:
    answer = scan(tmp_path, table(case.attack, case.type), case.kind, **case.arguments())
    assert answer.success is False
    assert answer.unexpected == case.unexpected
    if case.unexpected is not None:
        assert len(answer.positions) == case.unexpected


@each
def test_a_near_miss_passes(case: Case, tmp_path: Path) -> None:
    answer = scan(tmp_path, table(case.near_miss, case.type), case.kind, **case.arguments())
    assert answer.success is True


@each
def test_nothing_but_missing_values_is_unknown(case: Case, tmp_path: Path) -> None:
    answer = scan(tmp_path, table([None] * 3, case.type), case.kind, **case.arguments())
    assert answer.success is None
    assert "all are missing" in answer.reason


@each
def test_a_column_without_a_type_is_unknown(case: Case, tmp_path: Path) -> None:
    answer = scan(tmp_path, table([None] * 3, pa.null()), case.kind, **case.arguments())
    assert answer.success is None


@each
def test_no_rows_are_unknown(case: Case) -> None:
    frame = table([], case.type).to_pandas()
    answer = SPECS[case.kind].judge_frame(frame, case.arguments())
    assert answer.success is None
    assert answer.reason


@each
def test_rows_outside_of_the_condition_are_not_asked_about(case: Case, tmp_path: Path) -> None:
    rows = [*case.near_miss, *case.attack]
    data = table(rows, case.type).append_column(
        "part", pa.array([1] * len(case.near_miss) + [2] * len(case.attack))
    )
    condition = {
        "type": "comparison",
        "column": {"name": "part"},
        "operator": "==",
        "parameter": 1,
    }
    kwargs = case.arguments() | {"row_condition": condition, "condition_parser": "pandas"}
    assert scan(tmp_path, data, case.kind, **kwargs).success is True
    condition["parameter"] = 2
    answer = scan(tmp_path, data, case.kind, **kwargs)
    assert answer.success is False
    assert answer.elements == len(case.attack)
    assert all(position >= len(case.near_miss) for position in answer.positions)
    condition["parameter"] = 3
    assert scan(tmp_path, data, case.kind, **kwargs).success is None


@each
def test_what_is_said_holds_no_value(case: Case) -> None:
    answer = judge(table(case.attack, case.type).to_pandas(), case.kind, **case.kwargs)
    said = " ".join([*answer.problems, answer.reason])
    for value in case.attack:
        assert not isinstance(value, str) or len(value) < 6 or value not in said


@each
def test_how_rows_are_batched_changes_nothing(case: Case) -> None:
    data = pl.DataFrame({COLUMN: pl.from_arrow(pa.array(case.attack, type=case.type))})
    data = data.with_columns(pl.col(pl.Float64).fill_nan(None))
    whole = batched(data, [], case.kind, **case.kwargs)
    assert batched(data, [1, 2, 5], case.kind, **case.kwargs) == whole
    assert batched(data, list(range(0, data.height, 7)), case.kind, **case.kwargs) == whole


@each
def test_every_type_explains_itself(case: Case) -> None:
    line = SPECS[case.kind].explain(case.arguments())
    assert repr(COLUMN) in line
    assert "\n" not in line


@each
def test_arguments_are_understood_completely_or_refused(case: Case) -> None:
    kind, arguments = case.kind, case.arguments()
    SPECS[kind].check(arguments | {"row_condition": None, "condition_parser": "pandas"})
    assert "did you mean 'column'?" in refused(kind, **(arguments | {"colum": "y"})).next_step
    assert "column" in str(refused(kind, **{**arguments, COLUMN: 1}))
    assert "mostly" in str(refused(kind, **(arguments | {"mostly": 0})))
    for name in arguments:
        if name not in ("kinds", "not_before", "not_after"):
            refused(kind, **{key: one for key, one in arguments.items() if key != name})
        refused(kind, **(arguments | {name: []}))
        refused(kind, **(arguments | {name: math.nan}))


def test_mostly_is_a_share_of_the_present_values(tmp_path: Path) -> None:
    data = table(["a"] * 9 + ["b"] + [None] * 10)
    asked = {"column": COLUMN, "categories": ["a"]}
    assert scan(tmp_path, data, FROZEN, **asked, mostly=0.9).success is True
    assert scan(tmp_path, data, FROZEN, **asked, mostly=0.91).success is False
    texts = table(["<script>x</script>"] + ["a"] * 9 + [None])
    assert scan(tmp_path, texts, MARKUP, column=COLUMN, mostly=0.9).success is True
    assert scan(tmp_path, texts, MARKUP, column=COLUMN, mostly=0.91).success is False


def test_loading_the_types_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sluicegate.stages.validation.expectations import SPECS; "
        "[spec.explain for spec in SPECS.values()]; "
        "print([name for name in ('polars', 'pandas', 'numpy', 'pyarrow', 'great_expectations')"
        " if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert found.stdout.strip() == b"[]"


# -- frozen categories -----------------------------------------------------------------------


def test_new_categories_are_counted_and_not_shown() -> None:
    answer = judge(["a", "SECRET", "SECRET", "OTHER"], FROZEN, categories=["a"])
    assert answer.problems == ("2 different values that are not in the set",)
    assert answer.unexpected == 3


def test_a_flood_of_new_categories_is_counted_up_to_a_bound() -> None:
    answer = judge([str(one) for one in range(12_000)], FROZEN, categories=["a"])
    assert answer.problems == ("more than 10000 different values are not in the set",)


@pytest.mark.parametrize(
    ("values", "categories", "unexpected"),
    [
        ([1, 2], ["1", 2], 1),
        ([1, 2], [1.0, 2.0], 0),
        ([1, 2], [True, 2], 1),
        ([True, False], [1, 0], 2),
        ([True, False], [True, False], 0),
        (["1", "true"], [1, True], 2),
        ([0.5, 1.0], [0.5, 1], 0),
        ([0.0, -0.0], [0], 0),
        ([2**60 + 1], [2**60], 1),
        ([1, 2], [1, 10**30, 1.5], 1),
        ([["a"]], ["a"], 1),
        ([b"a"], ["a"], 1),
    ],
)
def test_a_value_of_another_type_is_another_value(
    values: list[Any], categories: list[Any], unexpected: int
) -> None:
    answer = judge(values, FROZEN, categories=categories)
    assert (answer.unexpected, answer.success) == (unexpected, unexpected == 0)


def test_dictionary_encoded_texts_are_texts(tmp_path: Path) -> None:
    data = pa.table({COLUMN: pa.array(["a", "b", None]).dictionary_encode()})
    kwargs = {"column": COLUMN, "categories": ["a"]}
    assert scan(tmp_path, data, FROZEN, **kwargs).unexpected == 1
    assert SPECS[FROZEN].judge_frame(data.to_pandas(), kwargs).unexpected == 1


def test_a_column_that_no_engine_reads_holds_no_truth_values(tmp_path: Path) -> None:
    data = pa.table({COLUMN: pa.array([1, 2], pa.decimal256(50, 0))})
    answer = scan(tmp_path, data, FROZEN, column=COLUMN, categories=[True])
    assert (answer.success, answer.unexpected) == (False, 2)


def test_all_categories_can_be_demanded() -> None:
    answer = judge(["a", "a"], FROZEN, categories=["a", "b", "c"], all_present=True)
    assert answer.success is False
    assert answer.problems == ("2 of 3 categories do not occur",)
    assert answer.distribution == (2, 0, 0, 0)
    assert judge(["a", "b"], FROZEN, categories=["a", "b"], all_present=True).success


def test_a_category_is_named_once() -> None:
    assert "once" in str(refused(FROZEN, column="x", categories=[1, 1.0]))
    SPECS[FROZEN].check({"column": "x", "categories": [1, True, "1"]})


# -- robust range ----------------------------------------------------------------------------


def test_integers_compare_exactly() -> None:
    frame = pd.DataFrame({COLUMN: [2**53, 2**53 + 1]})
    answer = judge(frame, RANGE, low=0, high=2**53, margin=0)
    assert answer.unexpected == 1


@pytest.mark.parametrize(
    ("kind", "low", "high", "unexpected"),
    [
        ("int8", -1000, 1000, 0),
        ("int8", 200, 300, 3),
        ("uint8", -5, 2, 0),
        ("uint8", -9, -5, 3),
        ("int64", 0.5, 1.5, 2),
        ("int64", 0.4, 0.6, 3),
        ("uint64", -1e300, 1e300, 0),
        ("float32", 0, 2, 0),
    ],
)
def test_bounds_beyond_the_type_of_the_column(
    kind: str, low: float, high: float, unexpected: int
) -> None:
    frame = pd.DataFrame({COLUMN: pd.array([0, 1, 2], dtype=kind)})
    assert judge(frame, RANGE, low=low, high=high, margin=0).unexpected == unexpected


def test_what_is_no_number_is_unexpected() -> None:
    for values in (["1", "2"], [True, False], [dt.date(2024, 1, 1)] * 2):
        answer = judge(values, RANGE, low=0, high=3, margin=0)
        assert (answer.success, answer.unexpected) == (False, 2)
        assert answer.problems == ("the column holds no numbers",)


def test_a_range_is_a_range() -> None:
    assert "at least low" in str(refused(RANGE, column="x", low=2, high=1, margin=0))
    assert "finite" in str(refused(RANGE, column="x", low=-1e308, high=1e308, margin=9))
    refused(RANGE, column="x", low=0, high=1, margin=-0.1)
    refused(RANGE, column="x", low=0, high=10**400, margin=0)
    refused(RANGE, column="x", low=False, high=1, margin=0)


# -- shares, drift ---------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[0, 1] * 500, [0.0, 1.0] * 500, [False, True] * 500])
def test_labels_are_keys_of_json_and_mean_values(values: list[Any]) -> None:
    labels = ("false", "true") if isinstance(values[0], bool) else ("0", "1")
    shares = dict.fromkeys(labels, 0.5)
    answer = judge(values, SHARES, shares=shares, max_distance=0.01)
    assert answer.success is True
    assert answer.distribution == (500, 500, 0)
    assert answer.observed == 0


def test_a_label_that_is_new_counts() -> None:
    values = ["a"] * 500 + ["b"] * 300 + ["NEW"] * 200
    answer = judge(values, SHARES, shares={"a": 0.5, "b": 0.5}, max_distance=0.05)
    assert answer.success is False
    assert answer.distribution == (500, 300, 200)
    assert answer.observed == pytest.approx(0.2)


def test_few_rows_cannot_tell() -> None:
    shares = {"a": 0.5, "b": 0.5}
    few = judge(["a"] * 5, SHARES, shares=shares, max_distance=0.05)
    assert few.success is None
    assert "too few" in few.reason
    assert judge(["a", "b"] * 5, SHARES, shares=shares, max_distance=0.05).success is True
    assert judge(["NEW"] * 40, SHARES, shares=shares, max_distance=0.05).success is False


@pytest.mark.parametrize(
    "shares",
    [{"a": 0.5, "b": 0.4}, {"1": 0.5, "1.0": 0.5}, {"true": 0.5, "True": 0.5}, {"a": 2}, {}],
)
def test_shares_are_shares_of_different_labels(shares: dict[str, Any]) -> None:
    refused(SHARES, column="x", shares=shares, max_distance=0.1)
    refused(SHARES, column="x", shares={"a": 1}, max_distance=1)


def test_the_index_is_what_the_book_says() -> None:
    found = stability_index([0.5, 0.5, 0.0], [40, 60, 0])
    by_hand = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.6 - 0.5) * math.log(0.6 / 0.5)
    assert found == pytest.approx(by_hand)
    assert stability_index([1.0, 0.0], [0, 100]) == pytest.approx(2 * 0.9999 * math.log(1e4))


def test_bins_are_those_of_numpy_and_all_else_is_one_more() -> None:
    values = [0.0, 1.0, 1.5, 2.0, 3.0, -1.0, 9.0, float("inf"), float("nan")]
    answer = judge(values, PSI, edges=[0, 1, 2, 3], shares=[0.2, 0.3, 0.5])
    inside = [value for value in values if 0 <= value <= 3]
    assert answer.distribution == (*np.histogram(inside, bins=[0, 1, 2, 3])[0], 3)


def test_an_index_over_categories() -> None:
    shares = {"categories": ["a", 1], "shares": [0.5, 0.5]}
    assert judge(["a", "b"] * 500, PSI, **shares).distribution == (500, 0, 500)
    assert judge(["a", "1"] * 500, PSI, **shares).success is False
    assert judge([dt.date(2024, 1, 1)], PSI, **shares).success is False
    assert judge(["a"], PSI, edges=[0, 1], shares=[1]).problems == ("the column holds no numbers",)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"shares": [1]},
        {"shares": [1], "edges": [0, 1], "categories": ["a"]},
        {"shares": [1], "edges": [1, 0]},
        {"shares": [1], "edges": [0, 0]},
        {"shares": [0.5, 0.5], "edges": [0, 1]},
        {"shares": [0.5, 0.4], "edges": [0, 1, 2]},
        {"shares": [0.5, 0.5], "categories": ["a", "a"]},
        {"shares": [1], "edges": [0, 1], "threshold": 0},
        {"shares": [1], "edges": [0, 1], "confidence": 1},
        {"shares": [1], "edges": [0, "1"]},
    ],
)
def test_bins_that_make_no_sense_are_refused(kwargs: dict[str, Any]) -> None:
    refused(PSI, column="x", **kwargs)


@pytest.mark.parametrize(
    "quantiles",
    [[[0, 1]], [[0.5, 1], [0.5, 2]], [[0.5, 2], [0.6, 1]], [[0, 1, 2], [1, 2]], [[0, 1], [2, 2]]],
)
def test_quantiles_that_make_no_sense_are_refused(quantiles: list[Any]) -> None:
    refused(KS, column="x", quantiles=quantiles, threshold=0.1)
    refused(KS, column="x", quantiles=[[0, 1], [1, 2]], threshold=1)


def test_ties_are_no_distance() -> None:
    values = [0] * 700 + [1] * 200 + [2] * 100
    points = [[p, float(np.quantile(values, p, method="inverted_cdf"))] for p in (0.1, 0.5, 0.8, 1)]
    assert judge(values, KS, quantiles=points, threshold=0.01).observed == 0
    assert judge([0] * 1000, KS, quantiles=points, threshold=0.01).success is False
    assert judge([5] * 1000, KS, quantiles=points, threshold=0.01).observed == 1


def test_the_distance_never_exceeds_the_statistic_itself() -> None:
    from scipy.stats import ks_2samp

    generator = np.random.default_rng(3)
    for shift in (0.0, 0.1, 0.4, 1.0):
        base = generator.normal(0, 1, 400).round(1)
        values = generator.normal(shift, 1, 300).round(1)
        points = [
            [p, float(np.quantile(base, p, method="inverted_cdf"))] for p in np.linspace(0, 1, 21)
        ]
        exact = ks_2samp(base, values).statistic
        found = judge(list(values), KS, quantiles=points, threshold=0.01).observed
        assert found <= exact + 1e-12
        assert found >= exact - 0.05


# -- sampling noise --------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.05, 0.05], [0.1] * 10])
@pytest.mark.parametrize("rows", [50, 500, 5000])
def test_samples_of_an_unchanged_source_stay_within_the_noise(
    shares: list[float], rows: int
) -> None:
    generator = np.random.default_rng(11)
    counts = generator.multinomial(rows, shares, size=4000)
    distance = np.abs(counts / rows - shares).sum(axis=1) / 2
    for confidence in (0.9, 0.999):
        bound = total_variation_bound(shares, rows, confidence)
        assert np.mean(distance > bound) <= 1 - confidence
    # Not so wide that nothing would be noticed.
    assert total_variation_bound(shares, rows, 0.999) < 3.5 * np.quantile(distance, 0.999)


def test_the_noise_of_the_index_and_of_the_distribution_function() -> None:
    generator = np.random.default_rng(5)
    shares = [0.1] * 10
    counts = generator.multinomial(1000, shares, size=3000)
    index = [stability_index(shares, one.tolist()) for one in counts]
    assert np.mean(np.array(index) > stability_bound(10, 1000, 0.99)) <= 0.02
    assert np.mean(np.array(index) > stability_bound(10, 1000, 0.5)) >= 0.4
    ordered = np.sort(generator.random((3000, 200)), axis=1)
    ranks = np.arange(1, 201) / 200
    gaps = np.maximum(ranks - ordered, ordered - (ranks - 1 / 200)).max(axis=1)
    assert np.mean(gaps > kolmogorov_bound(200, 0.99)) <= 0.015
    assert np.mean(gaps > kolmogorov_bound(200, 0.5)) >= 0.4


def test_the_quantile_of_chi_squared() -> None:
    from scipy.stats import chi2

    for freedom in (1, 2, 5, 9, 50, 500):
        for confidence in (0.9, 0.99, 0.999):
            exact = chi2.ppf(confidence, freedom)
            assert chi_squared_quantile(freedom, confidence) == pytest.approx(exact, rel=0.015)


def test_one_label_has_no_noise_and_many_have_a_bound() -> None:
    assert total_variation_bound([1.0, 0.0], 10, 0.999) == 0
    assert 0 < total_variation_bound([1 / 5000] * 5000, 100_000, 0.999) < 0.2


# -- duplicates ------------------------------------------------------------------------------


def test_duplicates_of_several_columns(tmp_path: Path) -> None:
    data = pa.table({"a": [1, 1, 1, None, None, None], "b": ["x", "x", "y", None, None, "z"]})
    kwargs = {"column_list": ["a", "b"], "max_share": 0.4}
    answer = scan(tmp_path, data, DUPLICATES, **kwargs)
    assert (answer.success, answer.unexpected, answer.missing) == (False, 2, 2)
    assert answer.positions == {0, 1}
    assert scan(tmp_path, data, DUPLICATES, **(kwargs | {"max_share": 0.5})).success is True


def test_a_share_of_exactly_the_most_passes() -> None:
    assert judge([1, 1, 2, 3], DUPLICATES, max_share=0.5).success is True
    assert judge([1, 2, 3], DUPLICATES, max_share=0).success is True
    assert judge([1, 2, 1], DUPLICATES, max_share=0).success is False


def test_either_a_column_or_columns() -> None:
    refused(DUPLICATES, max_share=0.1)
    refused(DUPLICATES, column="a", column_list=["a", "b"], max_share=0.1)
    refused(DUPLICATES, column_list=["a", "a"], max_share=0.1)
    refused(DUPLICATES, column="a", max_share=1)


# -- timestamps ------------------------------------------------------------------------------

EARLY = dt.datetime(1, 1, 2)  # noqa: DTZ001  hypothesis adds the zone
LATE = dt.datetime(9999, 12, 30)  # noqa: DTZ001
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it noon."""
    monkeypatch.setattr("sluicegate.stages.validation.expectations.timestamps.clock", lambda: NOON)


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_the_future_begins_after_a_small_tolerance(
    unit: str, zone: str | None, tmp_path: Path
) -> None:
    values = [NOON + dt.timedelta(minutes=minutes) for minutes in (-60, 0, 5, 6, 600)]
    stamps = pa.array(values, pa.timestamp(unit, "UTC"))
    stamps = stamps.cast(pa.timestamp(unit, zone))
    answer = scan(tmp_path, pa.table({COLUMN: stamps}), WITHIN, column=COLUMN, not_after="now")
    assert (answer.unexpected, answer.positions) == (2, {3, 4})
    assert "2024" not in str(answer)
    later = scan(tmp_path, pa.table({COLUMN: stamps}), WITHIN, column=COLUMN, not_before="now")
    assert later.positions == {0}


@pytest.mark.usefixtures("noon")
def test_dates_are_their_first_moment_in_utc() -> None:
    days = [dt.date(2024, 4, 30), dt.date(2024, 5, 1), dt.date(2024, 5, 2)]
    assert judge(days, WITHIN, not_after="now").unexpected == 1
    assert judge(days, WITHIN, not_before="2024-05-01", not_after="2024-05-01").unexpected == 2


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("2024-05-01", True),
        ("2024-05-01T00:00:00Z", True),
        ("2024-05-01 10:00", True),
        ("2024-05-01T10:00:00.123456789+02:00", True),
        ("2024-05-01T23:59:59.999999999", True),
        ("2024-05-02T01:59:59+02:00", True),
        ("2024-05-02T02:00:00+02:00", False),
        ("2024-04-30T22:00:00-02:00", True),
        ("2024-04-30T21:59:59-02:00", False),
        ("2024-05-02", False),
        ("2024-04-30T23:59:59.999999999Z", False),
        ("2024-02-30", False),
        ("2024-05-01T24:00", False),
        ("2024-05-01T10:60", False),
        ("2024-05-01T10:00:61Z", False),
        ("2024-05-01T10:00+25:00", False),
        ("01.05.2024", False),
        ("2024-5-1", False),
        ("2024-05-01\n", False),
        (" 2024-05-01", False),
        ("", False),
        ("now", False),
        ("\u0662\u0660\u0662\u0664-05-01", False),
    ],
)
def test_texts_must_be_moments_in_iso_8601(text: str, fine: bool) -> None:
    answer = judge([text], WITHIN, not_before="2024-05-01", not_after="2024-05-01")
    assert answer.success is fine


@given(
    st.datetimes(min_value=EARLY, max_value=LATE),
    st.sampled_from(["", "Z", "+01:00", "-0930", "+14"]),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_a_text_and_a_bound_are_read_alike(at: dt.datetime, zone: str, spec: str) -> None:
    text = at.isoformat(timespec=spec) + zone
    low = moments.moment(text, latest=False, now=NOON)
    frame = pl.DataFrame({"x": [text]})
    for shift in (-1, 0, 1):
        before = frame.select(moments.outside_text(pl.col("x"), low + shift, None)).item()
        after = frame.select(moments.outside_text(pl.col("x"), None, low + shift)).item()
        assert (before, after) == (shift > 0, shift < 0)


def test_bounds_beyond_what_a_column_can_hold() -> None:
    values = pa.array([0, 1], pa.timestamp("ns"))
    frame = pa.table({COLUMN: values}).to_pandas()
    assert judge(frame, WITHIN, not_before="0001-01-01", not_after="9999-12-31").success is True
    assert judge(frame, WITHIN, not_before="9999-01-01").unexpected == 2
    assert judge(frame, WITHIN, not_after="0001-01-01").unexpected == 2


def test_bounds_finer_than_a_column_are_not_rounded() -> None:
    frame = table([0, 1], pa.timestamp("ms")).to_pandas()
    assert judge(frame, WITHIN, not_before="1970-01-01T00:00:00.0005Z").unexpected == 1
    assert judge(frame, WITHIN, not_after="1970-01-01T00:00:00.0005Z").unexpected == 1


def test_numbers_are_no_times() -> None:
    answer = judge([1714521600], WITHIN, not_after="now")
    assert answer.problems == ("the column holds no dates or times",)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"not_after": "tomorrow"},
        {"not_after": "NOW"},
        {"not_after": "2024-13-01"},
        {"not_after": 5},
        {"not_before": "2024-01-02", "not_after": "2024-01-01"},
    ],
)
def test_windows_that_make_no_sense_are_refused(kwargs: dict[str, Any]) -> None:
    refused(WITHIN, column="x", **kwargs)


# -- schema ----------------------------------------------------------------------------------

FIELDS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("tags", pa.list_(pa.string())),
    ]
)
BASELINE = [
    {"name": "id", "type": "int64", "nullable": False},
    {"name": "name", "type": "string", "nullable": True},
    {"name": "at", "type": "timestamp[us, tz=UTC]", "nullable": True},
    {"name": "tags", "type": "list<element: string>", "nullable": True},
]


def rows_of(fields: pa.Schema) -> pa.Table:
    rows = {"id": [1], "name": ["x"], "at": [NOON], "tags": [[]], "extra": [None]}
    return pa.Table.from_pydict({name: rows[name] for name in fields.names}, schema=fields)


def test_a_schema_that_is_the_baseline_passes(tmp_path: Path) -> None:
    assert scan(tmp_path, rows_of(FIELDS), SCHEMA, columns=BASELINE).success is True


def test_the_name_of_list_items_is_the_writers(tmp_path: Path) -> None:
    entries = [*BASELINE[:3], {"name": "tags", "type": "list<item: string>", "nullable": True}]
    assert scan(tmp_path, rows_of(FIELDS), SCHEMA, columns=entries).success is True
    entries[3]["type"] = "list<item: int64>"
    assert scan(tmp_path, rows_of(FIELDS), SCHEMA, columns=entries).success is False


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (FIELDS.remove(1), "column 'name' is missing"),
        (
            FIELDS.append(pa.field("extra", pa.null())),
            "1 column not in the baseline, at position 5",
        ),
        (pa.schema([FIELDS[1], FIELDS[0], *list(FIELDS)[2:]]), "the columns are in another order"),
        (FIELDS.set(0, pa.field("id", pa.int32(), nullable=False)), "of type int32, not int64"),
        (FIELDS.set(0, pa.field("id", pa.int64())), "allows missing values"),
        (FIELDS.set(1, pa.field("name", pa.string(), nullable=False)), "does not allow missing"),
        (FIELDS.set(2, pa.field("at", pa.timestamp("us"))), "column 'at' is of type timestamp[us]"),
        (
            FIELDS.set(3, pa.field("tags", pa.list_(pa.binary()))),
            "column 'tags' is of type list<…>",
        ),
    ],
)
def test_a_schema_that_differs_is_caught(fields: pa.Schema, said: str, tmp_path: Path) -> None:
    answer = scan(tmp_path, rows_of(fields), SCHEMA, columns=BASELINE)
    assert answer.success is False
    assert any(said in problem for problem in answer.problems)


def test_layout_in_memory_is_no_type(tmp_path: Path) -> None:
    data = pa.table({"name": pa.array(["x"], pa.large_string())})
    columns = [{"name": "name", "type": "string", "nullable": True}]
    assert scan(tmp_path, data, SCHEMA, columns=columns).success is True
    columns[0]["type"] = "utf8"
    assert scan(tmp_path, data, SCHEMA, columns=columns).success is True


def test_the_order_can_be_free(tmp_path: Path) -> None:
    data = rows_of(pa.schema([FIELDS[1], FIELDS[0]]))
    kwargs = {"columns": BASELINE[:2]}
    assert scan(tmp_path, data, SCHEMA, **kwargs).success is False
    assert scan(tmp_path, data, SCHEMA, **kwargs, ordered=False).success is True


def test_a_data_frame_tells_what_it_can() -> None:
    frame = pd.DataFrame({"id": [1.0, None], "name": ["x", None], "none": [None, None]})
    columns = [
        {"name": "id", "type": "int64", "nullable": True},
        {"name": "name", "type": "string", "nullable": True},
        {"name": "none", "type": "bool", "nullable": True},
    ]
    spec = SPECS[SCHEMA]
    assert spec.judge_frame(frame, {"columns": columns}).success is True
    assert spec.judge_frame(frame.fillna({"id": 2.0}), {"columns": columns}).success is False
    columns[1]["nullable"] = False
    answer = spec.judge_frame(frame, {"columns": columns})
    assert answer.problems == ("column 'name' has missing values",)
    mixed = pd.DataFrame({"id": [1, None], "name": ["x", 5], "none": [None, None]})
    assert spec.judge_frame(mixed, {"columns": columns}).success is False


def test_no_difference_without_rows_is_unknown_and_a_difference_is_not() -> None:
    spec, empty = SPECS[SCHEMA], pd.DataFrame({"id": pd.array([], dtype="int64")})
    columns = [{"name": "id", "type": "int64", "nullable": True}]
    assert spec.judge_frame(empty, {"columns": columns}).success is None
    assert spec.judge_frame(empty, {"columns": BASELINE}).success is False


def test_names_that_the_suite_does_not_have_are_not_shown() -> None:
    frame = pd.DataFrame({"id": [1], **{f"SECRET{at}": [1] for at in range(30)}})
    answer = SPECS[SCHEMA].judge_frame(frame, {"columns": BASELINE})
    assert "SECRET" not in str(answer)


@pytest.mark.parametrize(
    "entry",
    [
        "id",
        {"name": "id"},
        {"type": "int64"},
        {"name": "id", "type": "int46"},
        {"name": "id", "type": "int64", "nullabel": True},
        {"name": "id", "type": "int64", "nullable": "yes"},
        {"name": "", "type": "int64"},
    ],
)
def test_a_baseline_that_is_none_is_refused(entry: Any) -> None:
    refused(SCHEMA, columns=[entry])
    refused(SCHEMA, columns=[BASELINE[0], BASELINE[0]])
    refused(SCHEMA, columns=BASELINE, row_condition="x == 1")
    assert "int64" in refused(SCHEMA, columns=[{"name": "id", "type": "int46"}]).next_step


# -- texts -----------------------------------------------------------------------------------


def test_rows_are_counted_by_kind_of_mark() -> None:
    values = [
        "<script>x</script>",
        "<script>y</script>",
        "a",
        "<iframe src='https://x.ch'></iframe>",
    ]
    answer = judge(values, MARKUP)
    assert answer.unexpected == 3
    assert any(problem.endswith(": 2 rows") for problem in answer.problems)


def test_only_the_kinds_that_are_asked_about_count() -> None:
    kind = "expect_column_values_to_have_no_personal_data"
    values = ["jane.doe@mail.ch", "plain"]
    assert judge(values, kind, kinds=["iban"]).success is True
    assert judge(values, kind, kinds=["email"]).success is False
    assert "did you mean 'email'?" in refused(kind, column="x", kinds=["emial"]).next_step


def test_a_column_without_text_is_unknown() -> None:
    for values in ([1, 2], [True], [["<script>x</script>"]], [dt.date(2024, 1, 1)]):
        answer = judge(values, MARKUP)
        assert (answer.success, answer.reason) == (None, "the column holds no text")


def test_values_of_several_types_are_unknown() -> None:
    frame = pd.DataFrame({COLUMN: ["<script>x</script>", 5]})
    for case in CASES:
        answer = SPECS[case.kind].judge_frame(frame, case.arguments())
        assert answer.success is None


def test_an_allow_list_is_one() -> None:
    kind = "expect_column_urls_to_be_allowed"
    refused(kind, column="x", domains=["https://good.ch/"])
    refused(kind, column="x", domains=["good.ch"], schemes=["https://"])


def test_many_different_long_texts_are_judged_too() -> None:
    texts = [f"{'a' * 300}<script>{at}</script>" for at in range(50)] + ["<script>b</script>"] * 50
    assert judge(texts, MARKUP).unexpected == 100


# -- one judge -------------------------------------------------------------------------------

ARGUMENTS: Mapping[str, dict[str, Any]] = {case.kind: case.kwargs for case in CASES}
VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.sampled_from(["CH", "DE", "spam", "<script>x</script>"]))),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True), st.sampled_from([10.0, 1.0]))),
    st.lists(st.one_of(st.none(), st.integers(-50, 50))),
    st.lists(st.one_of(st.none(), st.booleans())),
    st.lists(st.one_of(st.none(), st.datetimes(EARLY.replace(year=2023), LATE.replace(year=2026)))),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=VALUES,
    cuts=st.lists(st.integers(0, 30), max_size=4),
    kind=st.sampled_from(sorted(ARGUMENTS)),
)
def test_a_frame_and_batches_come_to_the_same(
    values: list[Any], cuts: list[int], kind: str
) -> None:
    array = pa.array(values, from_pandas=True)
    data = pl.DataFrame({COLUMN: pl.from_arrow(array)}).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )
    by_batch = batched(data, cuts, kind, **ARGUMENTS[kind])
    by_frame = judge(pa.table({COLUMN: array}).to_pandas(), kind, **ARGUMENTS[kind])
    assert (by_batch.success, by_batch.unexpected) == (by_frame.success, by_frame.unexpected)


def test_a_suite_that_names_them_is_read_without_great_expectations(tmp_path: Path) -> None:
    entries = [ask(case.kind, **case.arguments()) for case in CASES]
    suite = parse_suite(suite_json(*entries, ask(SCHEMA, columns=BASELINE)))
    assert len(suite.expectations) == len(CASES) + 1
    with pytest.raises(ConfigurationError, match="categories"):
        parse_suite(json.dumps(json.loads(suite_json(ask(FROZEN, column="x")))).encode())
    assert NORMAL_EDGES[0] < NORMAL_EDGES[-1]
    assert math.isclose(sum(NORMAL_SHARES), 1)
    assert not list(tmp_path.iterdir())
