"""Measures: exact, and the same whatever batches the rows come in."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.stages.validation.scan.base import Rows
from sluicegate.stages.validation.scan.measures import (
    Count,
    Distinct,
    Duplicated,
    ExactSum,
    FirstRows,
    Histogram,
    Maximum,
    Minimum,
    Moments,
    OutOfOrder,
    Present,
    PythonCheck,
    Quantiles,
    Total,
    python_mask,
)
from sluicegate.stages.validation.scan.measures.parted_rows import PartedRows, compact
from sluicegate.stages.validation.scan.measures.sorted_runs import SortedRuns

X = pl.col("x")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=8)


def frame(values, dtype=None):
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=True)})


def measure(what, rows, cuts=(1 << 30,)):
    """Return what a measure comes to over a frame in batches of these sizes, repeated."""
    state, at, turn = what.start(), 0, 0
    while at < rows.height:
        part = rows.slice(at, cuts[turn % len(cuts)])
        at, turn = at + part.height, turn + 1
        named = {str(n): one for n, one in enumerate(what.expressions())}
        chosen = part.lazy().select(**named).collect() if named else pl.DataFrame()
        state.add([column[0] for column in chosen], part)
    return state.finish()


# ---------------------------------------------------------------- sums


@settings(deadline=None, max_examples=30)
@given(st.lists(FLOATS, max_size=40), CUTS)
def test_sums_of_floats_are_exact_in_any_batches(values, cuts):
    found = measure(Moments(X), frame(values, pl.Float64), cuts)
    finite = [Fraction(one) for one in values if math.isfinite(one)]
    assert found.count == len(values)
    assert found.finite == sum(finite, Fraction(0))
    assert found.squares == sum((one * one for one in finite), Fraction(0))
    assert found.infinities == len(values) - len(finite)
    assert measure(ExactSum(X), frame(values, pl.Float64), cuts).finite == found.finite


@settings(deadline=None, max_examples=30)
@given(st.lists(INTEGERS, max_size=40), CUTS)
def test_sums_of_integers_are_exact_in_any_batches(values, cuts):
    found = measure(Moments(X), frame(values, pl.Int64), cuts)
    assert (found.finite, found.squares) == (sum(values), sum(one * one for one in values))
    assert measure(ExactSum(X), frame(values, pl.Int64), cuts).integer == sum(values)


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int8, pl.UInt8, pl.Int32, pl.Float32, pl.Boolean])
def test_sums_of_every_type_of_number(dtype):
    values = {pl.UInt64: [2**64 - 1, 2**63, 0], pl.Boolean: [True, True, False]}.get(
        dtype, [1, 100, 0]
    )
    for what in (ExactSum(X), Moments(X)):
        assert measure(what, frame([*values, None], dtype)).finite == sum(values)


@settings(deadline=None, max_examples=30)
@given(st.lists(FINITE, min_size=2, max_size=30))
def test_mean_and_deviation_are_rounded_once(values):
    found = measure(Moments(X), frame(values, pl.Float64))
    exact = [Fraction(one) for one in values]
    mean = sum(exact) / len(exact)
    variance = sum((one - mean) ** 2 for one in exact) / (len(exact) - 1)
    assert found.mean == float(mean)
    assert found.variance() == variance
    root = Fraction(found.stdev())
    # No other float is nearer to the root: both neighbours' midpoints lie on other sides.
    above = (root + Fraction(math.nextafter(float(root), math.inf))) / 2
    below = (root + Fraction(math.nextafter(float(root), 0.0))) / 2
    assert below**2 <= variance <= above**2


def test_the_sum_of_many_rows_is_that_of_fsum():
    values = np.random.default_rng(1).lognormal(0, 20, 200_001)
    found = measure(Moments(X), frame(values), (70_000,))
    assert found.value == math.fsum(values)
    assert math.isclose(found.stdev(), statistics.stdev(values[:]), rel_tol=1e-9)


def test_infinities_are_counted_and_a_nan_is_no_number():
    found = measure(ExactSum(X), frame([1.0, math.inf, -math.inf, math.inf]))
    assert (found.positive_infinities, found.negative_infinities, found.finite) == (2, 1, 1)
    assert math.isnan(found.value)
    assert measure(ExactSum(X), frame([1.0, -math.inf])).value == -math.inf
    assert found.integer is None
    with pytest.raises(ArithmeticError):
        measure(ExactSum(X), frame([math.nan]))
    with pytest.raises(TypeError):
        measure(ExactSum(X), frame(["1"]))


def test_nothing_has_no_mean():
    found = measure(Moments(X), frame([None], pl.Float64))
    assert (found.count, found.mean, found.stdev()) == (0, None, None)
    assert measure(Moments(X), frame([4.0])).stdev() is None
    assert measure(Moments(X), frame([4.0, 4.0])).stdev() == 0.0


# ---------------------------------------------------------------- counts and extremes


@settings(deadline=None, max_examples=30)
@given(st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=30), CUTS)
def test_counts_and_extremes_with_and_without_a_condition(values, cuts):
    rows = frame(values, pl.Int64)
    for chosen, some in (
        (Rows(), values),
        (Rows((X > 0).fill_null(value=False)), [one for one in values if one and one > 0]),
    ):
        present = [one for one in some if one is not None]
        assert measure(Total(chosen), rows, cuts) == len(some)
        assert measure(Present("x", chosen), rows, cuts) == len(present)
        assert measure(Count(X >= 2, chosen), rows, cuts) == sum(one >= 2 for one in present)
        assert measure(Minimum(X, chosen), rows, cuts) == min(present, default=None)
        assert measure(Maximum(X, chosen), rows, cuts) == max(present, default=None)
        wanted = [at for at, one in enumerate(values) if one is not None and one >= 2]
        assert measure(FirstRows(X >= 2, 3, chosen), rows, cuts) == tuple(wanted[:3])


def test_questions_are_the_same_only_if_they_are():
    long = list(range(1000))
    keys = [
        Count(X.is_in(long)).key,
        Count(X.is_in([*long[:-1], -1])).key,
        Count(X.is_in(long), Rows(X > 1)).key,
        Present("x").key,
        Present("y").key,
        Total().key,
        ExactSum(X).key,
        Moments(X).key,
        Distinct(("x",), 5).key,
        Distinct(("x",), 6).key,
        Distinct(("x",), 6, X > 1).key,
        Duplicated(("x",)).key,
        Duplicated(("x", "y")).key,
        PythonCheck("x", str.isdigit).key,
        PythonCheck("x", str.isalpha).key,
        OutOfOrder(X).key,
        OutOfOrder(X, strictly=True).key,
        Quantiles(X, (0.5,)).key,
        Quantiles(X, (0.25,)).key,
        Histogram(X, (0, 1)).key,
        Histogram(X, (0, 2)).key,
    ]
    assert len(set(keys)) == len(keys)
    assert Count(X.is_in(long)).key == Count(pl.col("x").is_in(list(range(1000)))).key


# ---------------------------------------------------------------- distinct and duplicated values

CELLS = {
    pl.Int64: st.integers(-3, 3),
    pl.Float64: st.sampled_from([0.0, -0.0, 1.5, math.inf, -1.0]),
    pl.String: st.sampled_from(["", "a", "b", "ä", "a\x00"]),
    pl.Boolean: st.booleans(),
}


@pytest.mark.parametrize("dtype", CELLS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_repeated_and_different_values_in_any_batches(dtype, data):
    values = data.draw(st.lists(st.none() | CELLS[dtype], min_size=1, max_size=25))
    cuts, rows = data.draw(CUTS), frame(values, dtype)
    present = [one for one in values if one is not None]
    counted = Counter(present)
    found = measure(Duplicated(("x",), X.is_not_null()), rows, cuts)
    assert found.total == len(present)
    assert found.distinct == len(counted)
    assert found.rows == sum(many for many in counted.values() if many > 1)
    marked = [one is not None and counted[one] > 1 for one in values]
    assert found.find(rows).to_list() == marked
    kept = measure(Distinct(("x",), 10, X.is_not_null()), rows, cuts)
    assert kept.counts() == counted
    few = measure(Distinct(("x",), 1, X.is_not_null()), rows, cuts)
    assert few.overflow == (len(counted) > 1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.none() | st.integers(0, 2), st.none() | st.sampled_from("ab"))), CUTS)
def test_repeated_combinations_count_nulls_as_equal_unless_masked(pairs, cuts):
    rows = pl.DataFrame(pairs, {"x": pl.Int64, "y": pl.String}, orient="row")
    for mask, keep in (
        (None, lambda pair: True),
        (~pl.all_horizontal(pl.all().is_null()), lambda pair: pair != (None, None)),
    ):
        counted = Counter(pair for pair in pairs if keep(pair))
        found = measure(Duplicated(("x", "y"), mask), rows, cuts)
        assert found.rows == sum(many for many in counted.values() if many > 1)
        assert found.distinct == len(counted)
        marked = [keep(pair) and counted[pair] > 1 for pair in pairs]
        assert found.find(rows).to_list() == marked if pairs else True


def test_repeated_values_are_found_under_a_condition_only():
    rows = pl.DataFrame({"x": [1, 1, 1, 2], "on": [True, True, False, True]})
    found = measure(Duplicated(("x",), X.is_not_null(), Rows(pl.col("on"))), rows)
    assert (found.total, found.rows, found.distinct) == (3, 2, 2)
    assert found.find(rows).to_list() == [True, True, False, False]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-20, 20) | INTEGERS, max_size=60), CUTS)
def test_sorted_runs_on_disk_are_all_numbers_in_order(values, cuts):
    runs, at, turn = SortedRuns(run=8, step=2, piece=4), 0, 0
    while at < len(values):
        size = cuts[turn % len(cuts)]
        runs.add(np.array(values[at : at + size], dtype="int64"))
        at, turn = at + size, turn + 1
    given, tops = [], []
    for numbers, times in runs.pieces():
        assert not tops or numbers[0] > tops[-1]
        tops.append(numbers[-1])
        given += [one for one in numbers.tolist() for _ in range(times)]
    runs.close()
    assert given == sorted(values)


def test_a_value_that_fills_the_runs_is_only_counted():
    runs = SortedRuns(run=1000, step=10, piece=100)
    for _ in range(50):
        runs.add(np.full(1000, 7))
    runs.add(np.array([1, 9]))
    pieces = list(runs.pieces())
    assert max(len(numbers) for numbers, _ in pieces) < 200
    assert sum(len(numbers) * times for numbers, times in pieces) == 50_002


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 30), st.text("ab", max_size=2)), max_size=80), CUTS)
def test_rows_parted_on_disk_again_and_again_are_compared_exactly(pairs, cuts):
    parted, at, turn = PartedRows(["x", "y"], memory=120), 0, 0
    schema = {"x": pl.Int64, "y": pl.String}
    while at < len(pairs):
        size = cuts[turn % len(cuts)]
        parted.add(pl.DataFrame(pairs[at : at + size], schema, orient="row"))
        at, turn = at + size, turn + 1
    rows, distinct, repeated = parted.finish(100, 1 << 20)
    counted = Counter(pairs)
    assert (rows, distinct) == (
        sum(many for many in counted.values() if many > 1),
        len(counted),
    )
    again = sorted(one for one, many in counted.items() if many > 1)
    assert (repeated.rows() if repeated is not None else []) == again


def test_rows_with_one_hash_are_compared_by_their_values(monkeypatch):
    monkeypatch.setattr(
        pl.DataFrame,
        "hash_rows",
        lambda self, *_: pl.repeat(7, self.height, dtype=pl.UInt64, eager=True),
    )
    parted = PartedRows(["x"])
    parted.add(frame(["a", "b", "a", "c"]))
    assert parted.finish(10, 1000)[:2] == (2, 3)
    spilled = PartedRows(["x"], memory=100)
    for _ in range(60):  # equal rows collapse, however deep the parts go
        spilled.add(frame(["a" * 30] * 4))
    assert spilled.finish(10, 1000)[:2] == (240, 1)
    hostile = PartedRows(["x"], memory=100)
    hostile.add(frame([f"{one:030}" for one in range(100)]))
    with pytest.raises(MemoryError):
        hostile.finish(10, 1000)


# ---------------------------------------------------------------- order and shape


@settings(deadline=None, max_examples=30)
@given(
    st.lists(FINITE | st.integers(-3, 3).map(float), min_size=1, max_size=30),
    st.floats(0, 1),
    CUTS,
)
def test_quantiles_are_those_of_numpy(values, p, cuts):
    found = measure(Quantiles(X, (p, 0.0, 1.0)), frame(values, pl.Float64), cuts)
    rank = p * (len(values) - 1)
    ordered = sorted(one + 0.0 for one in values)
    low, high = ordered[math.floor(rank)], ordered[min(math.floor(rank) + 1, len(values) - 1)]
    assert found.count == len(values)
    assert found.neighbours[0][:2] == (low, high)
    assert found.neighbours[1][0] == ordered[0]
    assert found.neighbours[2][0] == ordered[-1]
    if max(map(abs, values)) < 1e300:
        linear = float(np.quantile(values, p, method="linear"))
        assert math.isclose(found.linear(0), linear, rel_tol=1e-12, abs_tol=1e-300)
    assert found.nearest(0) == np.quantile(values, p, method="nearest")


def test_quantiles_of_nothing_and_of_times():
    assert measure(Quantiles(X, (0.5,)), frame([None], pl.Float64)).neighbours == ()
    days = frame([3, 1, 2], pl.Int64).cast(pl.Datetime("us"))
    assert measure(Quantiles(X, (0.5,)), days).nearest(0) == 2


@settings(deadline=None, max_examples=30)
@given(st.lists(st.none() | st.integers(-4, 4), max_size=30), CUTS, st.booleans(), st.booleans())
def test_order_is_kept_across_batches_and_nulls(values, cuts, descending, strictly):
    present = [one for one in values if one is not None]
    sign = -1 if descending else 1
    wrong = sum(
        sign * after < sign * before + strictly for before, after in itertools.pairwise(present)
    )
    what = OutOfOrder(X, descending=descending, strictly=strictly)
    assert measure(what, frame(values, pl.Int64), cuts) == wrong


@settings(deadline=None, max_examples=30)
@given(
    st.lists(FLOATS | st.integers(-3, 3).map(float), max_size=40),
    st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=5, unique=True).map(sorted),
    CUTS,
)
def test_a_histogram_counts_as_numpy_does(values, edges, cuts):
    found = measure(Histogram(X, tuple(edges)), frame(values, pl.Float64), cuts)
    inside = [one for one in values if edges[0] <= one <= edges[-1]]
    assert list(found.counts) == np.histogram(inside, edges)[0].tolist()
    assert found.below == sum(one < edges[0] for one in values)
    assert found.above == sum(one > edges[-1] for one in values)
    assert found.total == len(values)


# ---------------------------------------------------------------- functions


def test_a_function_is_asked_once_for_each_text():
    asked = []

    def short(text):
        asked.append(text)
        return len(text) < 3

    rows = frame(["a", "bbbb", "a", None, "cc", "bbbb"])
    assert measure(PythonCheck("x", short), rows, (4,)) == 3
    assert sorted(asked) == ["a", "bbbb", "cc"]
    marks = python_mask(rows["x"], short)
    assert marks.to_list() == [True, False, True, None, True, False]
    assert python_mask(frame(["a", None])["x"], short).to_list() == [True, None]
    assert python_mask(frame([None], pl.String)["x"], short).to_list() == [None]


def test_what_a_function_raises_is_not_swallowed_by_the_measure():
    def bad(text):
        raise ValueError(text)

    with pytest.raises(ValueError, match="a"):
        measure(PythonCheck("x", bad), frame(["a"]))


def test_measures_are_fast_enough_to_scan_with():
    values = np.random.default_rng(0).normal(50, 10, 1 << 20)
    rows = frame(values)
    began = time.process_time()
    measure(Moments(X), rows, (1 << 16,))
    measure(Duplicated(("x",), X.is_not_null()), rows, (1 << 16,))
    assert time.process_time() - began < 3


def held_bytes(series):
    """Return the bytes of the buffers that an array of texts keeps alive."""
    newest = pl.CompatLevel.newest()
    arrays = [one.to_arrow(compat_level=newest) for one in series.get_chunks()]
    return sum(one.size for array in arrays for one in array.buffers() if one is not None)


def test_few_rows_do_not_hold_the_memory_of_many():
    texts = pl.DataFrame({"t": [f"a text of some length {at}" for at in range(50_000)], "n": 1})
    few = texts.filter(pl.int_range(pl.len()) < 3)
    assert held_bytes(few["t"]) > 1_000_000
    assert held_bytes(compact(few)["t"]) < 1000
    assert compact(few).equals(few)
    assert compact(few).schema == few.schema
    none = pl.DataFrame({"t": [None, "", "ä" * 40], "b": [b"x" * 30, None, b""]})
    assert compact(none).equals(none)
    assert compact(none.head(0)).schema == none.schema
    state = Distinct(("t",), most=10, mask=pl.col("t").str.ends_with("1 ")).start()
    for text in ("a text that ends in 1 ", "another one that ends in 1 "):
        frame = texts.select(pl.when(pl.int_range(pl.len()) < 2).then(pl.lit(text)).otherwise("t"))
        state.add((), frame.rename({frame.columns[0]: "t"}))
    assert held_bytes(state.finish().frame["t"]) < 1000


def test_nulls_and_zeros_are_found_as_they_were_counted():
    for kind, values in ((pl.Float64, [0.0, None, -0.0, 1.0, None]), (pl.String, "axaya")):
        texts = [None if one == "a" else one for one in values]
        frame = pl.DataFrame({"v": pl.Series(texts, dtype=kind)})
        state = Duplicated(("v",)).start()
        state.add((), frame)
        found = state.finish()
        assert found.find(frame).sum() == found.rows == (4 if kind == pl.Float64 else 3)
