"""The scan: one outcome however the rows are cut, each expectation in exactly one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import SubjectError
from sluicegate.stages.validation.answers import MOST_ROWS, SCAN, Answer
from sluicegate.stages.validation.scan.base import Unclaimed
from sluicegate.stages.validation.scan.columns import scan_columns
from sluicegate.stages.validation.scan.measures import Count, ExactSum, Total
from sluicegate.stages.validation.scan.plan import plan
from sluicegate.stages.validation.scan.run import run
from sluicegate.stages.validation.suites.parse import parse_suite
from sluicegate.storage.batches import BatchReader
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri


def entry(kind, condition=None, **kwargs):
    if condition is not None:
        kwargs |= {"row_condition": condition, "condition_parser": "great_expectations"}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": {}}


def suite_of(*entries):
    return parse_suite(json.dumps({"name": "s", "expectations": entries, "meta": {}}).encode())


def more_than(value):
    column = {"name": "x"}
    return {"type": "comparison", "column": column, "operator": ">", "parameter": value}


def outcome(path, suite, *, makers=None, **options):
    with BatchReader(take_snapshot(SubjectUri.parse(path))) as reader:
        planned = plan(suite, scan_columns(reader), makers=makers)
        return run(reader, planned, **options)


@pytest.fixture
def data(tmp_path):
    """Return a file of 1,000 rows with some bad cells."""
    x = np.arange(1000)
    x[[10, 500]] = 3
    table = pa.table(
        {
            "x": x,
            "f": pa.array([None if at % 7 == 0 else at / 3 for at in range(1000)]),
            "t": ["bad!" if at in (5, 995) else f"t{at % 13}" for at in range(1000)],
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=300)
    return path


SUITE = (
    entry("table_row_count_to_equal", value=1000),
    entry("column_values_to_be_unique", column="x"),
    entry("column_values_to_match_regex", column="t", regex="^t[0-9]+$"),
    entry("column_values_to_not_be_null", column="f"),
    entry("column_mean_to_be_between", column="f", min_value=0, max_value=1),
    entry("column_values_to_be_between", more_than(900), column="x", max_value=950),
)


def test_a_suite_is_answered_with_counts_and_rows(data):
    found = outcome(data, suite_of(*SUITE))
    assert found.left == {}
    assert found.parts == (("a.parquet", 1000),)
    given = {index: (one.success, one.unexpected) for index, one in found.answers.items()}
    assert given == {
        0: (True, None),
        1: (False, 3),
        2: (False, 2),
        3: (False, 143),
        4: (False, None),
        5: (False, 49),
    }
    assert found.answers[1].positions == {3, 10, 500}
    assert found.answers[2].positions == {5, 995}
    assert found.answers[3].positions == set(range(0, 1000, 7))
    assert found.answers[5].positions == set(range(951, 1000))
    assert not any(one.capped for one in found.answers.values())


def test_rows_remembered_and_rows_looked_for_are_the_same(data):
    kept, looked = (outcome(data, suite_of(*SUITE), samples=one) for one in (False, True))
    assert kept.answers == looked.answers
    assert kept.samples == {}
    assert looked.samples[2] == ("bad!", "bad!")
    assert looked.samples[1] == (3, 3, 3)
    assert len(looked.samples[3]) == 5


CELLS = st.tuples(
    st.none() | st.integers(-3, 3),
    st.none() | st.sampled_from([0.1, 0.2, 0.3, 1e17, -0.0, 0.0, 1e-9]),
    st.none() | st.sampled_from(["a", "b", "", "a\n", "é"]),
)
ANY = (
    entry("table_row_count_to_be_between", min_value=3, max_value=20),
    entry("column_values_to_be_unique", column="t"),
    entry("column_values_to_be_unique", column="f"),
    entry("compound_columns_to_be_unique", column_list=["x", "t"]),
    entry("column_values_to_match_regex", column="t", regex="^[ab]$"),
    entry("column_values_to_be_in_set", column="t", value_set=["a", "b"], mostly=0.7),
    entry("column_distinct_values_to_be_in_set", column="t", value_set=["a", "b", ""]),
    entry("column_mean_to_be_between", column="f", min_value=0.2, max_value=1),
    entry("column_stdev_to_be_between", column="f", min_value=0, max_value=0.2),
    entry("column_median_to_be_between", column="f", min_value=0, max_value=0.2),
    entry("column_sum_to_be_between", more_than(0), column="f", max_value=1),
    entry("column_values_to_be_increasing", column="x"),
    entry("column_values_to_be_between", more_than(1), column="x", max_value=2),
)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(CELLS, min_size=1, max_size=25),
    st.integers(1, 8),
    st.integers(1, 8),
    st.lists(st.integers(1, 24), max_size=3),
)
def test_the_outcome_does_not_depend_on_batches_groups_or_files(
    tmp_path_factory, cells, batch, group, cuts
):
    schema = pa.schema([("x", pa.int64()), ("f", pa.float64()), ("t", pa.string())])
    table = pa.Table.from_pylist(
        [dict(zip(schema.names, one, strict=True)) for one in cells], schema=schema
    )
    whole, parts = (tmp_path_factory.mktemp(name) for name in ("whole", "parts"))
    pq.write_table(table, whole / "a.parquet")
    edges = [0, *sorted({cut for cut in cuts if cut < len(cells)}), len(cells)]
    for number, start in enumerate(edges[:-1]):
        piece = table.slice(start, edges[number + 1] - start)
        pq.write_table(piece, parts / f"{number}.parquet", row_group_size=group)
    suite = suite_of(*ANY)
    one = outcome(whole, suite)
    other = outcome(parts, suite, batch_rows=batch)
    assert one.answers == other.answers
    assert one.left == other.left
    assert sum(rows for _, rows in other.parts) == len(cells)


def test_what_is_not_there_is_answered_and_what_is_not_known_is_left(data):
    suite = suite_of(
        entry("column_values_to_not_be_null", column="q"),
        entry("column_values_to_not_be_null", column="x"),
    )
    found = outcome(data, suite)
    assert found.answers[0] == Answer.broken("column 'q' does not exist")
    assert found.answers[1].success is True
    none = outcome(data, suite, makers={})
    assert set(none.answers) == {0}
    assert set(none.left) == {1}
    assert none.parts == ()


def test_a_condition_that_selects_nothing_is_unknown_unless_rows_are_counted(data):
    suite = suite_of(entry("column_values_to_not_be_null", more_than(5000), column="x"))
    answer = outcome(data, suite).answers[0]
    assert answer.success is None
    assert "selects no row" in answer.reason


@dataclass(frozen=True, eq=False)
class Custom:
    """A claim that is whatever a test needs."""

    expectation: Any
    measures: Any
    said: Any = None
    marks: Any = None

    def conclude(self, found):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said or Answer(engine=SCAN, success=True, elements=found["n"])

    def failing(self, found):
        return self.marks


def custom(**options):
    return lambda one, columns, rows: Custom(
        one, {"n": Total(rows)} | options.pop("more", {}), **options
    )


def planned_as(data, *makers, **options):
    kinds = ["column_values_to_be_unique", "column_values_to_not_be_null", "column_to_exist"]
    kinds = kinds[: len(makers)]
    suite = suite_of(*(entry(kind, column="x") for kind in kinds))
    named = {f"expect_{kind}": maker for kind, maker in zip(kinds, makers, strict=True)}
    return outcome(data, suite, makers=named, **options)


def failed(count):
    return Answer(engine=SCAN, success=False, elements=1000, unexpected=count)


def test_a_question_that_cannot_be_computed_is_left_and_no_other(data):
    found = planned_as(
        data,
        custom(more={"bad": ExactSum(pl.col("t"))}),
        custom(more={"bad": Count(pl.col("t") > 5)}),
        custom(),
    )
    assert found.answers[2].success is True
    assert set(found.left) == {0, 1}
    assert found.left[0] == "it cannot be computed on this data: TypeError"
    assert "ComputeError" in found.left[1] or "Invalid" in found.left[1]


def test_an_expression_of_many_values_is_no_measure(data):
    @dataclass(frozen=True)
    class Rows:
        key: str = "many"

        def expressions(self):
            return (pl.col("x"),)

        def start(self):
            return Total().start()

    found = planned_as(data, custom(more={"bad": Rows()}), custom())
    assert set(found.left) == {0}
    assert found.answers[1].success is True


def test_a_claim_may_leave_it_after_the_scan(data):
    found = planned_as(data, custom(said=Unclaimed("on second thoughts")), custom())
    assert found.left == {0: "on second thoughts"}


def test_rows_that_disagree_with_their_count_are_left(data):
    marks = pl.col("x") < 10
    more, fewer = custom(said=failed(3), marks=marks), custom(said=failed(50), marks=marks)
    found = planned_as(data, more, fewer, custom(said=failed(2), marks=lambda frame: frame["t"]))
    assert found.left[0] == "more rows were found than were counted"
    assert found.answers[1].capped
    assert "cannot be told" in found.left[2]


def test_positions_are_capped_and_the_count_is_exact(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": np.zeros(MOST_ROWS + 50)}), path)
    suite = suite_of(
        entry("column_values_to_be_between", column="x", min_value=1),
        entry("column_values_to_be_unique", column="x"),
    )
    found = outcome(path, suite)
    for answer in found.answers.values():
        assert answer.unexpected == MOST_ROWS + 50
        assert answer.capped
        assert len(answer.positions) == MOST_ROWS


def test_two_columns_of_one_name_make_everything_unknown(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,x\n1,2\n")
    answer = outcome(path, suite_of(entry("column_values_to_not_be_null", column="x"))).answers[0]
    assert answer.success is None
    assert "same name" in answer.reason


def test_statistics_that_lie_are_never_asked(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": pa.array([1, 987_654_321, 5])}), path, use_dictionary=False)
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    wrong = (5).to_bytes(8, "little")
    told = content[footer:].replace((987_654_321).to_bytes(8, "little"), wrong)
    assert told != content[footer:]
    path.write_bytes(content[:footer] + told)
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).statistics.max == 5
    suite = suite_of(
        entry("column_values_to_be_between", column="x", max_value=10),
        entry("column_max_to_be_between", column="x", max_value=10),
    )
    found = outcome(path, suite)
    assert [one.success for _, one in sorted(found.answers.items())] == [False, False]
    assert found.answers[0].positions == {1}


def test_no_rows_at_all_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), path)
    with pytest.raises(SubjectError, match="no rows"):
        outcome(path, suite_of(entry("column_values_to_not_be_null", column="x")))


def test_progress_is_told_by_files(data):
    told = []
    outcome(data, suite_of(*SUITE), progress=lambda *one: told.append(one))
    assert told == [("scanning", 0, 1), ("scanning", 1, 1)]
