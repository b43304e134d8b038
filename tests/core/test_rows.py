"""Rows as leaves: equal rows have equal leaves wherever they lie; a quarantine can be checked."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import SubjectError
from sluicegate.model import RowId
from sluicegate.quarantine import set_aside
from sluicegate.storage.rows import check_partition, row_leaves, row_tree
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri


def snapshot(path):
    return take_snapshot(SubjectUri.parse(path))


def csv(path, *rows, header="a,b"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return snapshot(path)


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return snapshot(path)


def parquet(path, columns, schema=None):
    pq.write_table(pa.table(columns, schema=schema), path)
    return snapshot(path)


def leaves(taken):
    return [data for _, data in row_leaves(taken)]


MAKERS = {
    "csv": lambda path, rows: csv(path / "t.csv", *[f"{a},{b}" for a, b in rows]),
    "jsonl": lambda path, rows: jsonl(path / "t.jsonl", *[{"a": a, "b": b} for a, b in rows]),
    "parquet": lambda path, rows: parquet(
        path / "t.parquet", {"a": [a for a, _ in rows], "b": [b for _, b in rows]}
    ),
}
ROWS = [(1, "x"), (2, "y"), (2, "y"), (3, "Zürich"), (4, "")]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_both_halves_of_a_quarantine_hold_the_leaves_of_the_whole(tmp_path, make):
    whole = make(tmp_path, ROWS)
    name = whole.manifest.files[0].path
    split = set_aside(
        whole,
        rows=[RowId(name, 1), RowId(name, 3)],
        files=[],
        area=SubjectUri.parse(tmp_path / "area"),
    )
    of = leaves(whole)
    assert leaves(split.remainder) == [of[0], of[2], of[4]]
    assert leaves(split.set_aside) == [of[1], of[3]]
    check_partition(whole, split.remainder, split.set_aside)
    assert row_tree(whole).size == 5


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([ROWS[:2], ROWS[3:]], "1 rows of .* are in none"),
        ([ROWS[:3], ROWS[2:]], "is not in .* or is there less often"),
        ([ROWS[:3], [(3, "Zurich"), (4, "")]], "row 0 of t.* is not in"),
        ([ROWS], None),
        ([ROWS[3:], ROWS[:3]], None),
    ],
    ids=["lost", "doubled", "changed", "all", "order"],
)
def test_what_was_lost_added_or_changed_is_seen(tmp_path, make, parts, says):
    whole = make(tmp_path, ROWS)
    made = []
    for number, rows in enumerate(parts):
        folder = tmp_path / str(number)
        folder.mkdir()
        made.append(make(folder, rows))
    if says is None:
        check_partition(whole, *made)
        return
    with pytest.raises(SubjectError, match=says):
        check_partition(whole, *made)


def test_a_row_under_other_columns_is_another_row(tmp_path):
    one, other = csv(tmp_path / "1.csv", "1,2"), csv(tmp_path / "2.csv", "1,2", header="b,a")
    assert leaves(one) != leaves(other)
    ints = parquet(tmp_path / "1.parquet", {"a": pa.array([1], pa.int64())})
    floats = parquet(tmp_path / "2.parquet", {"a": pa.array([1], pa.float64())})
    assert leaves(ints) != leaves(floats)


def test_blank_lines_and_line_ends_do_not_make_another_row(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\r\n1,2\r\n\r\n3,4")
    assert [leaf[32:] for leaf in leaves(snapshot(tmp_path / "t.csv"))] == [b"1,2", b"3,4"]


EXACT = {
    "int": pa.array([2**53, 2**53 + 1]),
    "float": pa.array([0.0, -0.0]),
    "nan": pa.array([float("nan"), None], pa.float64()),
    "bytes": pa.array([b"\x00", b"\x01"]),
    "text": pa.array(["1", None]),
    "ns": pa.array([1, 2], pa.timestamp("ns")),
    "date": pa.array([dt.date(2030, 1, 1), dt.date(2030, 1, 2)]),
    "time": pa.array([dt.time(1), dt.time(2)]),
    "duration": pa.array([1, 2], pa.duration("ns")),
    "decimal": pa.array([Decimal("1.10"), Decimal("1.11")]),
    "list": pa.array([[1, 2], [1]], pa.list_(pa.int8())),
    "lists": pa.array([[[1], [2]], [[1, 2]]], pa.list_(pa.list_(pa.int8()))),
    "struct": pa.array([{"a": 1, "b": None}, {"a": None, "b": 1}]),
    "bool": pa.array([True, False]),
    "dictionary": pa.array(["a", "b"]).dictionary_encode(),
}


@pytest.mark.parametrize("column", EXACT.values(), ids=EXACT)
def test_values_that_differ_at_all_give_other_leaves(tmp_path, column):
    first, second = leaves(parquet(tmp_path / "t.parquet", {"x": column}))
    assert first != second


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(-9, 9), st.text(max_size=3)), min_size=2, max_size=12),
    data=st.data(),
)
def test_any_split_is_a_partition(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("rows")
    whole = parquet(folder / "t.parquet", {"a": [a for a, _ in rows], "b": [b for _, b in rows]})
    drop = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows) - 1))
    split = set_aside(
        whole,
        rows=[RowId("t.parquet", at) for at in drop],
        files=[],
        area=SubjectUri.parse(folder / "area"),
    )
    check_partition(whole, split.set_aside, split.remainder)


def test_rows_of_several_files_come_in_the_order_of_their_paths(tmp_path):
    csv(tmp_path / "d" / "b.csv", "3,4")
    csv(tmp_path / "d" / "a.csv", "1,2")
    rows = [(row.file, data[32:]) for row, data in row_leaves(snapshot(tmp_path / "d"))]
    assert rows == [("a.csv", b"1,2"), ("b.csv", b"3,4")]


def test_no_rows_have_no_tree(tmp_path):
    with pytest.raises(SubjectError, match="has no rows"):
        row_tree(csv(tmp_path / "t.csv"))
