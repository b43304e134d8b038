"""Tables: what is read is everything that is there, and a split loses and changes nothing."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.model import RowId
from sluicegate.storage.formats import Limits, format_of
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.tables import Table, data_files, read_table, split_file
from sluicegate.storage.uri import SubjectUri

SUFFIXES = [".csv", ".tsv", ".jsonl", ".parquet"]
DELIMITERS = {".csv": ",", ".tsv": "\t"}
CHARS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
CELLS = st.text(CHARS, max_size=8) | st.sampled_from(['"', '""', "a,b", "a\tb", "x\ny", "x\r\ny"])
ROWS = st.lists(st.tuples(st.integers(-1000, 1000), CELLS), min_size=1, max_size=12)


def write(suffix, rows):
    """Return a file of columns ``n`` and ``t``, as other tools would write it."""
    if suffix in DELIMITERS:
        out = io.StringIO()
        form = csv.writer(
            out,
            delimiter=DELIMITERS[suffix],
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC,
        )
        form.writerow(["n", "t"])
        form.writerows(rows)
        return out.getvalue().encode()
    if suffix == ".jsonl":
        return b"".join(json.dumps({"n": n, "t": t}).encode() + b"\n" for n, t in rows)
    columns = {"n": pa.array([n for n, _ in rows], pa.int64()), "t": [t for _, t in rows]}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=3)
    return out.getvalue()


def read(content, suffix=".csv", **limits):
    name = f"data{suffix}"
    return format_of(name).read(io.BytesIO(content), name=name, limits=Limits(**limits))


def split(content, drop, suffix=".csv"):
    kept, removed, name = io.BytesIO(), io.BytesIO(), f"data{suffix}"
    form = format_of(name)
    rows = form.split(io.BytesIO(content), drop, name=name, kept=kept, removed=removed)
    return kept.getvalue(), removed.getvalue(), rows


def refused(content, suffix=".csv"):
    """Return the error with which a file is refused, when read and when split alike."""
    with pytest.raises(SubjectError) as caught:
        read(content, suffix)
    with pytest.raises(SubjectError) as again:
        split(content, [], suffix)
    assert str(caught.value) == str(again.value)
    return str(caught.value)


def snap(path):
    return take_snapshot(SubjectUri.parse(path))


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder for a data set."""
    root = tmp_path / "data"
    root.mkdir()
    return root


# ---------------------------------------------------------------- the law of splitting


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=30)
@given(rows=ROWS, data=st.data())
def test_both_halves_of_a_split_are_the_whole_row_for_row(suffix, rows, data):
    whole = write(suffix, rows)
    drop = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=len(rows)))
    kept, removed, total = split(whole, drop, suffix)
    assert total == len(rows)
    frame = read(whole, suffix)
    assert len(frame) == len(rows)
    for half, wanted in (
        (kept, [at for at in range(total) if at not in drop]),
        (removed, sorted(drop)),
    ):
        if wanted:
            expected = frame.iloc[wanted].reset_index(drop=True)
            # Types may narrow (a column of one half may hold numbers only): values may not.
            found = read(half, suffix)
            assert list(found.columns) == list(expected.columns)
            assert texts(found) == texts(expected)


def texts(frame):
    """Return the rows as text, so that 1 and 1.0 in a column that lost its text are equal."""
    return [
        tuple("" if pd.isna(cell) else _plain(cell) for cell in row)
        for row in frame.itertuples(index=False)
    ]


def _plain(cell):
    try:
        return repr(float(cell))
    except (TypeError, ValueError):
        return str(cell)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@settings(deadline=None, max_examples=30)
@given(rows=ROWS, data=st.data())
def test_a_split_of_text_keeps_the_very_bytes_of_every_record(suffix, rows, data):
    records = [write(suffix, [row]) for row in rows]
    header = write(suffix, [])
    records = [one.removeprefix(header) for one in records]
    drop = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    kept, removed, _ = split(header + b"".join(records), drop, suffix)
    assert kept == header + b"".join(one for at, one in enumerate(records) if at not in drop)
    assert removed == header + b"".join(records[at] for at in sorted(drop))


def test_a_record_without_a_final_line_end_and_windows_line_ends_are_kept_as_they_are():
    kept, removed, rows = split(b'n,t\r\n1,"a\r\nb"\r\n2,c\r\n3,d', [0])
    assert (kept, removed, rows) == (b"n,t\r\n2,c\r\n3,d", b'n,t\r\n1,"a\r\nb"\r\n', 3)
    assert split(b'{"a":1}\n{"a":2}', [1], ".jsonl") == (b'{"a":1}\n', b'{"a":2}\n', 2)


@settings(deadline=None, max_examples=100)
@given(st.text(st.sampled_from('ab1",\n\r \t;'), max_size=30))
def test_any_text_is_split_into_its_rows_or_refused(text):
    content = text.encode()
    try:
        frame = read(content)
    except SubjectError:
        return
    kept, removed, total = split(content, range(0, len(frame), 2))
    assert total == len(frame)
    assert len(read(removed)) == (total + 1) // 2
    assert len(read(kept)) == total // 2


def test_blank_lines_are_no_rows():
    content = b"a,b\n\n1,2\n\n\n3,4\n\n"
    assert list(read(content)["a"]) == [1, 3]
    kept, removed, rows = split(content, [0])
    assert (list(read(kept)["a"]), list(read(removed)["a"]), rows) == ([3], [1], 2)
    assert len(read(b'{"a":1}\n\n  \n{"a":2}\n', ".jsonl")) == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("drop", [[3], [0, 99], [-1], [1, -2]])
def test_a_row_that_is_not_there_cannot_be_set_aside(suffix, drop):
    content = write(suffix, [(1, "a"), (2, "b"), (3, "c")])
    with pytest.raises(SubjectError, match="has 3 rows; asked to set aside"):
        split(content, drop, suffix)


# ---------------------------------------------------------------- delimited text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no header line"),
        (b"\n\n", "no header line"),
        (b"n,t\n1,caf\xe9\n", "not UTF-8"),
        ("n,t\n1,a\n".encode("utf-16"), "not UTF-8"),
        (b"n,t\n1,a\x00b\n", "NUL"),
        (b"n\x00,t\n1,a\n", "NUL"),
        (b"n,t\n1,2,3\n4,5,6\n", "row 1 has 3 fields, the header 2"),
        (b"n,t\n1,2\n4,5,6\n", "row 2 has 3 fields, the header 2"),
        (b"n,t\n1,2,\n", "row 1 has 3 fields"),
        (b"n,t\n1,2\n3\n", "row 2 has 1 fields, the header 2"),
        (b'n,t\n1,"open\n2,b\n', "unexpected end of data"),
        (b'n,t\n1,"a"b\n', "expected after"),
        (b"n,t\r1,a\r2,b\r", "new-line character"),
    ],
    ids=lambda value: value[:24],
)
def test_text_that_two_readers_would_read_differently_is_refused(content, why):
    message = refused(content)
    assert why in message
    assert message.startswith("data.csv cannot be read as delimited text")


def test_long_texts_are_read(tmp_path):
    (tmp_path / "data.csv").write_bytes(b'n,t\n1,"' + b"x" * 200_000 + b'"\n')
    table = read_table(take_snapshot(SubjectUri.parse(tmp_path / "data.csv")))
    assert table.frame["t"].str.len().tolist() == [200_000]


def test_a_column_that_only_some_rows_have_cannot_hide_from_the_examination():
    # pandas drops the third field of every row, with a warning that nobody sees.
    refused(b"age,label\n" + b"30,0,payload\n" * 5)


def test_rows_on_which_two_parsers_disagree_are_refused():
    # A line of one space is a row to the csv module and nothing to pandas.
    with pytest.raises(SubjectError, match=r"disagree on the number of rows \(2 and 3\)"):
        read(b"a\n1\n \n2\n")


def test_a_header_alone_is_a_table_without_rows():
    assert list(read(b"n,t\n").columns) == ["n", "t"]
    assert len(read(b"n,t")) == 0
    assert split(b"n,t\n", []) == (b"n,t\n", b"n,t\n", 0)


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    content = b"\xef\xbb\xbfn,t\n1,a\n2,b\n"
    assert list(read(content).columns) == ["n", "t"]
    kept, _, _ = split(content, [0])
    assert list(read(kept)["n"]) == [2]


def test_a_tab_separated_file_may_hold_commas_and_a_comma_separated_one_tabs():
    assert list(read(b"a\tb,c\n1\t2,3\n", ".tsv").columns) == ["a", "b,c"]
    assert list(read(b"a,b\tc\n1,2\t3\n", ".csv").columns) == ["a", "b\tc"]


def test_no_column_of_text_becomes_an_index():
    frame = read(b"id,value\n7,1\n8,2\n")
    assert list(frame.columns) == ["id", "value"]
    assert list(frame.index) == [0, 1]


def test_the_limit_on_decoded_bytes_holds_for_text():
    content = write(".csv", [(number, "x" * 50) for number in range(1000)])
    with pytest.raises(SubjectError, match="decodes to more than 1,000 bytes"):
        read(content, max_decoded_bytes=1000)
    assert len(read(content, max_decoded_bytes=1_000_000)) == 1000


# ---------------------------------------------------------------- JSON Lines


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1}\n{"a": 1, "a": 2}\n', "line 2: a key occurs twice"),
        (b'{"a": {"b": 1, "b": 2}}\n', "occurs twice"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 1: nested too deeply"),
        (b'{"a": NaN}\n', "NaN is not JSON"),
        (b'{"a": 1e999}\n', "beyond the range"),
        (b'\n{"a": 1}\n[1]\n', "line 3 is not an object"),
        (b'{"a": 1} {"a": 2}\n', "line 1: not JSON"),
        (b'{"a": "caf\xe9"}\n', "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}\n', "not JSON"),
        (b'{"a": 1,\n"b": 2}\n', "line 1: not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", "line 1"),
        (b'{"a": 1}\n\x00\n', "line 2: not JSON"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else value[:30],
)
def test_lines_that_are_not_one_clear_object_are_refused(content, why):
    message = refused(content, ".jsonl")
    assert why in message
    assert message.startswith("data.jsonl cannot be read as JSON Lines")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"{}\n{}\n"])
def test_lines_without_any_value_are_no_table(content):
    with pytest.raises(SubjectError, match=r"it holds no objects|objects have no members"):
        read(content, ".jsonl")


@pytest.mark.parametrize("content", [b'{"a": "\\ud800"}\n', b'{"\\udc00": 1}\n'])
def test_half_a_character_in_a_line_is_refused_and_does_not_crash(content):
    with pytest.raises(SubjectError, match="cannot be read as JSON Lines"):
        read(content, ".jsonl")


def test_an_object_without_a_member_is_still_a_row():
    frame = read(b'{"a": 1}\n{}\n{"a": 3, "b": "x"}\n', ".jsonl")
    assert len(frame) == 3
    assert list(frame.columns) == ["a", "b"]
    assert list(frame["a"].isna()) == [False, True, False]


def test_the_limit_on_decoded_bytes_holds_for_json():
    content = write(".jsonl", [(number, "x" * 50) for number in range(1000)])
    with pytest.raises(SubjectError, match="larger than 1,000 bytes"):
        read(content, ".jsonl", max_decoded_bytes=1000)


def test_a_line_without_end_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr("sluicegate.storage.formats.json_lines._MAX_LINE", 1000)
    assert "line 2 is over 1,000 bytes" in refused(
        b'{"a": 1}\n{"a": "' + b"x" * 2000 + b'"}\n', ".jsonl"
    )


# ---------------------------------------------------------------- Parquet


def parquet(frame_or_table, **options):
    out = io.BytesIO()
    if isinstance(frame_or_table, pd.DataFrame):
        frame_or_table.to_parquet(out, **options)
    else:
        pq.write_table(frame_or_table, out, **options)
    return out.getvalue()


@pytest.mark.parametrize("at", [0, 2, 4, -9, -6, -5, -1])
def test_a_corrupt_parquet_file_is_refused(at):
    content = bytearray(write(".parquet", [(number, "text") for number in range(50)]))
    content[at] ^= 0xFF
    if at in (0, 2):  # the magic in front is redundant: all else is found from the end
        assert list(read(bytes(content), ".parquet")["n"]) == list(range(50))
    else:
        assert "data.parquet cannot be read as Parquet" in refused(bytes(content), ".parquet")


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_no_damage_to_a_parquet_file_escapes_as_another_error(at, value, cut):
    content = bytearray(write(".parquet", [(number, "text") for number in range(50)]))
    at %= len(content)
    if cut:
        del content[at:]
    else:
        content[at] = value
    with contextlib.suppress(SubjectError):
        read(bytes(content), ".parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"n,t\n1,a\n", b"PAR1" * 1000])
def test_what_is_no_parquet_file_is_refused(content):
    assert "cannot be read as Parquet" in refused(content, ".parquet")


@pytest.mark.parametrize("unnamed", [False, True])
def test_a_column_that_pandas_metadata_calls_an_index_is_examined_all_the_same(unnamed):
    frame = pd.DataFrame({"trigger": ["x", "y", "z"], "label": [0, 1, 0]}).set_index("trigger")
    if unnamed:
        frame.index.name = None
    content = parquet(frame)
    assert list(pd.read_parquet(io.BytesIO(content)).columns) == ["label"]  # hidden from pandas
    found = read(content, ".parquet")
    hidden = "__index_level_0__" if unnamed else "trigger"
    assert set(found.columns) == {"label", hidden}
    assert list(found[hidden]) == ["x", "y", "z"]
    assert list(found.index) == [0, 1, 2]


def test_forged_pandas_metadata_can_neither_hide_nor_rename_nor_crash():
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    forged = {"index_columns": ["b"], "columns": [], "column_indexes": [], "pandas_version": "9"}
    for text in (json.dumps(forged), "{}", '{"index_columns": ["nothing"]}', "[]"):
        content = parquet(table.replace_schema_metadata({"pandas": text}))
        frame = read(content, ".parquet")
        assert list(frame.columns) == ["a", "b"]
        kept, removed, rows = split(content, [0], ".parquet")
        assert rows == 2
        assert list(read(kept, ".parquet")["b"]) == ["y"]
        assert list(read(removed, ".parquet")["b"]) == ["x"]
    broken = parquet(table.replace_schema_metadata({"pandas": "not json"}))
    with pytest.raises(SubjectError, match="cannot be read as Parquet: JSONDecodeError"):
        read(broken, ".parquet")


def test_an_ordinary_data_frame_has_no_extra_column_and_survives_a_split():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    content = parquet(frame)
    pd.testing.assert_frame_equal(read(content, ".parquet"), frame)
    kept, removed, _ = split(content, [1], ".parquet")
    # Also for a consumer who reads with pandas, whose metadata counted three rows.
    assert list(pd.read_parquet(io.BytesIO(kept))["a"]) == [1, 3]
    assert list(pd.read_parquet(io.BytesIO(removed))["a"]) == [2]


def test_column_types_come_from_the_file_and_stay_sensible():
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    frame = pd.DataFrame(
        {
            "category": pd.Categorical(["a", "b", "a"]),
            "zoned": pd.to_datetime([moment] * 3),
            "naive": pd.to_datetime([moment.replace(tzinfo=None)] * 3),
            "day": [dt.date(2026, 1, 2)] * 3,
            "small": np.array([1, 2, 3], dtype="int8"),
            "flag": [True, False, True],
            "share": np.array([0.5, np.nan, 1.5], dtype="float32"),
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "text": ["x", "y", None],
        }
    )
    found = read(parquet(frame), ".parquet")
    assert isinstance(found["category"].dtype, pd.CategoricalDtype)
    assert list(found["category"].astype(str)) == ["a", "b", "a"]
    assert str(found["zoned"].dt.tz) == "UTC"
    assert found["zoned"][0] == moment
    assert found["naive"].dt.tz is None
    assert found["naive"][0].to_pydatetime() == moment.replace(tzinfo=None)
    assert found["day"][0] == dt.date(2026, 1, 2)
    assert (found["small"].dtype, found["flag"].dtype) == (np.int8, np.bool_)
    assert found["share"].dtype == np.float32
    assert list(found["whole"].isna()) == [False, True, False]
    assert pd.api.types.is_numeric_dtype(found["whole"])
    assert pd.api.types.is_string_dtype(found["text"])


@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_split_of_parquet_keeps_schema_metadata_and_every_kind_of_value(size):
    values = range(size)
    table = pa.table(
        {
            "decimal": pa.array([f"{at}.25" for at in values]).cast(pa.decimal128(10, 2)),
            "list": pa.array(
                [[at, None] if at % 3 else None for at in values],
                pa.list_(pa.field("element", pa.int64())),
            ),
            "struct": pa.array([{"x": at, "y": "é"} for at in values]),
            "stamp": pa.array([at * 1_000_000_007 for at in values], pa.timestamp("ns", tz="UTC")),
            "bytes": pa.array([bytes([at % 256]) for at in values]),
            "dict": pa.array(["ab"[at % 2] for at in values]).dictionary_encode(),
        },
        metadata={"owner": "team", "pandas": "{}"},
    )
    drop = set(range(0, size, 3))
    kept, removed, rows = split(parquet(table, row_group_size=64), drop, ".parquet")
    assert rows == size
    for half, wanted in ((kept, [at for at in values if at not in drop]), (removed, sorted(drop))):
        found = pq.read_table(io.BytesIO(half))
        assert found.equals(table.take(pa.array(wanted, pa.int64())))
        assert found.schema.equals(table.schema, check_metadata=True)


def test_a_small_parquet_file_that_decodes_to_much_is_refused():
    zeros = parquet(pa.table({"a": pa.array(np.zeros(3_000_000))}), compression="zstd")
    assert len(zeros) < 50_000
    with pytest.raises(SubjectError, match="decodes to more than 10,000,000 bytes"):
        read(zeros, ".parquet", max_decoded_bytes=10_000_000)
    assert len(read(zeros, ".parquet", max_decoded_bytes=30_000_000)) == 3_000_000


def test_a_parquet_file_without_rows_keeps_its_columns():
    content = write(".parquet", [])
    assert list(read(content, ".parquet").columns) == ["n", "t"]
    assert split(content, [], ".parquet")[2] == 0


# ---------------------------------------------------------------- folders as tables


def test_files_are_concatenated_by_path_and_every_row_knows_where_it_came_from(folder):
    (folder / "b.csv").write_bytes(b"n,t\n3,c\n")
    (folder / "a.csv").write_bytes(b"n,t\n1,a\n2,b\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "c.csv").write_bytes(b"n,t\n4,d\n5,e\n")
    (folder / "c.csv").write_bytes(b"n,t\n")
    table = read_table(snap(folder))
    assert list(table.frame["n"]) == [1, 2, 3, 4, 5]
    assert list(table.frame.index) == [0, 1, 2, 3, 4]
    assert table.parts == (("a.csv", 2), ("b.csv", 1), ("c.csv", 0), ("sub/c.csv", 2))
    assert table.row_ids([4, 2, 1, 1]) == (
        RowId("a.csv", 1),
        RowId("b.csv", 0),
        RowId("sub/c.csv", 1),
    )
    assert table.row_ids([]) == ()
    for beyond in ([5], [-1], [0, 99]):
        with pytest.raises(IndexError):
            table.row_ids(beyond)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), st.data())
def test_row_ids_are_the_positions_counted_file_by_file(counts, data):
    parts = tuple((f"{at}.csv", rows) for at, rows in enumerate(counts))
    everything = [RowId(name, ordinal) for name, rows in parts for ordinal in range(rows)]
    table = Table(pd.DataFrame({"a": range(len(everything))}), parts)
    wanted = data.draw(st.lists(st.integers(0, len(everything) - 1)))
    assert table.row_ids(wanted) == tuple(everything[at] for at in sorted(set(wanted)))


def test_rows_that_were_set_aside_are_the_rows_that_were_named(folder):
    (folder / "a.csv").write_bytes(b'n,t\n1,"x\ny"\n2,b\n3,c\n')
    snapshot = snap(folder)
    (row,) = read_table(snapshot).row_ids([1])
    with split_file(snapshot, row.file, [row.ordinal]) as (kept, removed, rows):
        assert (kept.read(), removed.read(), rows) == (b'n,t\n1,"x\ny"\n3,c\n', b"n,t\n2,b\n", 3)


@pytest.mark.parametrize(
    "names",
    [("a.csv", "b.tsv"), ("a.csv", "b.parquet"), ("a.jsonl", "b.csv")],
)
def test_a_folder_of_mixed_formats_is_refused(folder, names):
    for name in names:
        suffix = "." + name.partition(".")[2]
        (folder / name).write_bytes(write(suffix, [(1, "a")]))
    with pytest.raises(SubjectError, match="mixes file formats"):
        read_table(snap(folder))


def test_endings_of_one_format_may_be_mixed_and_capitals_do_not_matter(folder):
    (folder / "a.parquet").write_bytes(write(".parquet", [(1, "a")]))
    (folder / "b.PQ").write_bytes(write(".parquet", [(2, "b")]))
    assert list(read_table(snap(folder)).frame["n"]) == [1, 2]


@pytest.mark.parametrize("name", ["notes.txt", "a.csv.gz", "model.pkl", "csv", "_SUCCESS2"])
def test_a_file_that_no_stage_would_read_is_refused_and_not_skipped(folder, name):
    (folder / "a.csv").write_bytes(b"n\n1\n")
    (folder / name).write_bytes(b"n\n2\n")
    with pytest.raises(SubjectError, match="is not a tabular file"):
        read_table(snap(folder))


def test_the_empty_marker_of_a_finished_job_is_ignored_and_a_full_one_is_not(folder):
    (folder / "part").mkdir()
    (folder / "a.csv").write_bytes(b"n\n1\n")
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / "part" / "_SUCCESS").write_bytes(b"")
    assert len(read_table(snap(folder)).frame) == 1
    (folder / "_SUCCESS").write_bytes(b"n\n2\n")
    with pytest.raises(SubjectError, match=r"_SUCCESS .* is not a tabular file"):
        read_table(snap(folder))


def test_a_folder_with_nothing_but_a_marker_holds_no_data(folder):
    (folder / "_SUCCESS").write_bytes(b"")
    with pytest.raises(SubjectError, match="holds no data files"):
        data_files(snap(folder))


@pytest.mark.parametrize("second", [b"t,n\na,1\n", b"n\n1\n", b"n,t,extra\n1,a,x\n", b"n,T\n1,a\n"])
def test_files_with_different_columns_are_refused(folder, second):
    (folder / "a.csv").write_bytes(b"n,t\n1,a\n")
    (folder / "b.csv").write_bytes(second)
    with pytest.raises(SubjectError, match=r"b\.csv has other columns than a\.csv"):
        read_table(snap(folder))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_without_rows_cannot_pass_for_one(folder, suffix):
    (folder / f"a{suffix}").write_bytes(write(suffix, []))
    with pytest.raises(SubjectError, match="has no rows"):
        read_table(snap(folder))


def test_the_limit_holds_for_every_file_of_a_table(folder):
    (folder / "a.csv").write_bytes(b"n\n1\n")
    (folder / "b.csv").write_bytes(b"n\n" + b"1\n" * 10_000)
    with pytest.raises(SubjectError, match=r"b\.csv decodes to more"):
        read_table(snap(folder), limits=Limits(max_decoded_bytes=1000))


def test_bytes_that_changed_after_the_snapshot_are_neither_read_nor_split(folder):
    (folder / "a.csv").write_bytes(b"n\n1\n")
    snapshot = snap(folder)
    (folder / "a.csv").write_bytes(b"n\n2\n")
    with pytest.raises(SubjectChangedError):
        read_table(snapshot)
    with pytest.raises(SubjectChangedError), split_file(snapshot, "a.csv", []):
        pass


def test_rows_of_a_file_that_is_no_table_cannot_be_set_aside(folder):
    (folder / "model.bin").write_bytes(b"x")
    with (
        pytest.raises(SubjectError, match="rows cannot be set aside"),
        split_file(snap(folder), "model.bin", [0]),
    ):
        pass


def test_a_long_value_repeated_in_a_dictionary_is_measured_before_it_is_decoded(tmp_path):
    """A few kilobytes on disk, gigabytes in memory."""
    column = pa.DictionaryArray.from_arrays(
        pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 1_000_000])
    )
    schema = pa.schema([("text", pa.string())])
    path = tmp_path / "bomb.parquet"
    with pq.ParquetWriter(path, pa.schema([("text", column.type)]), store_schema=False) as out:
        out.write_batch(pa.record_batch([column], names=["text"]))
    assert path.stat().st_size < 2_000_000
    assert pq.ParquetFile(path).schema_arrow == schema
    script = (
        "import re, sys\n"
        "from sluicegate.storage.snapshot import take_snapshot\n"
        "from sluicegate.storage.tables import read_table\n"
        "from sluicegate.storage.uri import SubjectUri\n"
        "try:\n"
        "    read_table(take_snapshot(SubjectUri.parse(sys.argv[1])))\n"
        "except Exception as error:\n"
        "    status = open('/proc/self/status').read()\n"  # ru_maxrss counts the parent's
        "    peak = int(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1]) // 1024\n"
        "    print(type(error).__name__, 'decodes to more' in str(error), peak < 1000)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["SubjectError", "True", "True"]


# ---------------------------------------------------------------- only some columns


ODD = ["n", "a.b", "a", "", "x", "Unnamed: 0", "x.1", "t"]


def odd(suffix, names):
    """Return a file of two rows with these columns, of several types."""
    if suffix in DELIMITERS:
        lines = [names, range(len(names)), [f"t{at}" for at in range(len(names))]]
        return "".join(
            DELIMITERS[suffix].join(str(one) for one in line) + "\n" for line in lines
        ).encode()
    if suffix == ".jsonl":
        return b"".join(json.dumps(dict.fromkeys(names, row)).encode() + b"\n" for row in (1, 2))
    arrays = [pa.array([at, None] if at % 2 else ["t", "u"]) for at in range(len(names))]
    table, out = pa.Table.from_arrays(arrays, names=names), io.BytesIO()
    if suffix == ".parquet":
        pq.write_table(table, out)
    else:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    return out.getvalue()


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".arrow"])
@pytest.mark.parametrize("wanted", [*([one] for one in ODD), ["t", "n"], ["n", "other"]])
def test_chosen_columns_are_as_they_are_among_all(suffix, wanted):
    content, name = odd(suffix, ODD), f"data{suffix}"
    whole = read(content, suffix)
    given = format_of(name).read(
        io.BytesIO(content), name=name, limits=Limits(), columns=frozenset(wanted)
    )
    known = [one for one in whole.columns if one in wanted]
    pd.testing.assert_frame_equal(given, whole[known] if known else whole)
    assert len(given.columns) < len(whole.columns) or not known


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_all_columns_are_read_where_names_repeat_or_none_is_there(suffix):
    for names, wanted in ((["x", "y", "x"], {"x"}), (["x", "y"], {"z"}), (["x", "y"], set())):
        content, name = odd(suffix, names), f"data{suffix}"
        given = format_of(name).read(
            io.BytesIO(content), name=name, limits=Limits(), columns=wanted
        )
        assert list(given.columns) == names
        assert len(given) == 2


def test_a_column_that_is_not_wanted_costs_no_memory(tmp_path):
    path = tmp_path / "data.parquet"
    columns = {"n": list(range(5000)), "t": ["x" * 1000] * 5000}
    pq.write_table(pa.table(columns), path)
    snapshot = take_snapshot(SubjectUri.parse(str(path)))
    limits = Limits(max_decoded_bytes=1 << 20)
    with pytest.raises(SubjectError, match="decodes to more"):
        read_table(snapshot, limits=limits)
    table = read_table(snapshot, limits=limits, columns={"n"})
    assert list(table.frame.columns) == ["n"]
    assert table.parts == (("data.parquet", 5000),)
