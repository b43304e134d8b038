"""Data frames and batches of GX data sources as subjects: the rows are the receipt's."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError, SubjectChangedError, SubjectError
from sluicegate.model import Severity
from sluicegate.stages.validation.answers import GX, OWN
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.storage.gx_batches import (
    batch_definition_of,
    capture,
    capture_project,
    read_description,
)
from sluicegate.storage.queries.frames import write_subject
from sluicegate.storage.queries.parquet import ROW_GROUP
from sluicegate.storage.queries.spool import Spool
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.tables import read_table

POSTGRES = shutil.which("postgres")
ROWS = [
    (3, 9.5, "2026-01-03", "x"),
    (1, 1.5, "2026-01-01", "a:b"),
    (2, 120.25, "2026-02-02", None),
]
SECRET = "geheim-x7"


# ---------------------------------------------------------------- data frames


def frames() -> dict[str, Any]:
    data = {
        "n": [1, 2, 3],
        "f": [0.5, None, -0.0],
        "s": ["a", None, "ü"],
        "d": [dt.date(2026, 1, 1), None, dt.date(2026, 1, 2)],
        "t": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 3,
    }
    stamp = pa.timestamp("us", tz="UTC")
    table = pa.table({**data, "t": pa.array(data["t"], type=stamp)})
    pandas = pd.DataFrame({**data, "t": pd.Series(data["t"]).dt.as_unit("us")})
    return {"pyarrow": table, "pandas": pandas, "polars": pl.from_arrow(table)}


def test_the_same_rows_are_the_same_bytes_whichever_library_holds_them(tmp_path: Path) -> None:
    digests = {
        name: take_snapshot(write_subject(frame, tmp_path / name / "rows.parquet")).digest
        for name, frame in frames().items()
    }
    lazy = frames()["polars"].lazy()
    digests["lazy"] = take_snapshot(write_subject(lazy, tmp_path / "lazy/rows.parquet")).digest
    assert len(set(digests.values())) == 1
    assert pq.read_schema(tmp_path / "pandas/rows.parquet").metadata is None


def test_how_a_table_is_cut_into_chunks_does_not_show(tmp_path: Path) -> None:
    whole = pa.table({"n": range(ROW_GROUP + 7), "s": ["a", "b", "c"] * 43693 + ["a"] * 0})
    whole = whole if len(whole) == ROW_GROUP + 7 else whole.slice(0, ROW_GROUP + 7)
    cut = pa.concat_tables(
        [whole.slice(0, 5), whole.slice(5, ROW_GROUP), whole.slice(ROW_GROUP + 5)]
    )
    one, other = (
        write_subject(table, tmp_path / f"{name}.parquet")
        for name, table in (("whole", whole), ("cut", cut))
    )
    assert one.local.read_bytes() == other.local.read_bytes()
    assert pq.ParquetFile(one.local).num_row_groups == 2


def test_other_rows_or_another_order_are_other_bytes(tmp_path: Path) -> None:
    texts = {
        write_subject(pd.DataFrame({"n": rows}), tmp_path / "r.parquet").local.read_bytes()
        for rows in ([1, 2, 3], [1, 3, 2], [1, 2], [1.0, 2.0, 3.0])
    }
    assert len(texts) == 4


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1]}, index=[7]), "an index of its own"),
        (pd.DataFrame({"a": [1]}).set_index(pd.Index([0], dtype="str")), "an index of its own"),
        (pd.DataFrame({0: [1]}), "not texts"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "same name"),
        (pd.DataFrame({"a": [1, "x"]}), "cannot be written"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pa.table([[1], [2]], names=["a", "a"]), "same name"),
        (pd.Series([1]), "no data frame"),
        ([{"a": 1}], "no data frame"),
    ],
)
def test_a_frame_that_would_lose_something_is_refused(
    tmp_path: Path, frame: Any, message: str
) -> None:
    with pytest.raises(SubjectError, match=message):
        write_subject(frame, tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())


def test_a_target_that_readers_would_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"\.parquet"):
        write_subject(pd.DataFrame({"a": [1]}), tmp_path / "rows.csv")


# ---------------------------------------------------------------- results of queries


def spooled(*batches: list[Any], most_rows: int = 100) -> pa.Table:
    spool = Spool(["c"], most_rows=most_rows)
    try:
        for batch in batches:
            spool.add([(cell,) for cell in batch])
        schema = spool.schema()
        return pa.Table.from_batches(list(spool.batches(schema)), schema=schema)
    finally:
        spool.close()


UTC_NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
BERLIN = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("batches", "kind", "cells"),
    [
        ([[None], [1]], "int64", [None, 1]),
        ([[1], [2.5]], "double", [1.0, 2.5]),
        ([[decimal.Decimal("1.50")], [decimal.Decimal("100.25")]], "decimal128(38, 2)", None),
        ([[UTC_NOON.astimezone(BERLIN)], [UTC_NOON]], "timestamp[us, tz=UTC]", [UTC_NOON] * 2),
        ([[{"b": 1, "a": [None]}]], "string", ['{"a":[null],"b":1}']),
        ([[[1, 2]]], "list<element: int64>", [[1, 2]]),
        ([[memoryview(b"\x00")]], "binary", [b"\x00"]),
        ([[None], [None]], "null", [None, None]),
    ],
)
def test_the_type_of_a_column_is_what_all_its_rows_say(
    batches: Any, kind: str, cells: list[Any] | None
) -> None:
    table = spooled(*batches)
    assert str(table.schema.field("c").type).replace("item:", "element:") == kind
    if cells is not None:
        assert table.column("c").to_pylist() == cells


@pytest.mark.parametrize(
    "batches",
    [[[1], ["x"]], [[1, "x"]], [[True], [1]], [[2**53 + 1], [0.5]], [[object()]], [[2**70]]],
)
def test_a_column_of_several_kinds_is_refused(batches: Any) -> None:
    with pytest.raises(SubjectError, match="'c'") as caught:
        spooled(*batches)
    assert "9007199254740993" not in str(caught.value)


def test_too_many_rows_and_none_are_refused() -> None:
    with pytest.raises(SubjectError, match="more than 2 rows"):
        spooled([1, 2], [3], most_rows=2)
    with pytest.raises(SubjectError, match="no rows"):
        spooled()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_where_the_batches_are_cut_changes_nothing(cells: list[Any], size: int) -> None:
    cut = [cells[at : at + size] for at in range(0, len(cells), size)]
    assert spooled(*cut).equals(spooled(cells))


# ---------------------------------------------------------------- SQLite


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "orders.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table orders (id int, amount real, day text, name text)")
        connection.executemany("insert into orders values (?, ?, ?, ?)", ROWS)
    return path


def change(database: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


@pytest.fixture
def source(database: Path) -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    return context.data_sources.add_sqlite("db", connection_string=f"sqlite:///{database}")


@pytest.fixture
def whole(source: Any) -> Any:
    asset = source.add_table_asset("orders", table_name="orders")
    return asset.add_batch_definition_whole_table("all")


def test_a_table_is_captured_in_one_order_with_its_description(
    whole: Any, tmp_path: Path, database: Path
) -> None:
    uri = capture(whole, tmp_path / "a.parquet")
    first = uri.local.read_bytes()
    assert read_table(take_snapshot(uri)).frame["id"].tolist() == [1, 2, 3]
    change(database, "create table b as select * from orders order by amount desc")
    change(database, "drop table orders")
    change(database, "alter table b rename to orders")
    assert capture(whole, tmp_path / "a.parquet").local.read_bytes() == first
    with uri.local.open("rb") as file:
        said = read_description(file)
    assert said == json.loads((tmp_path / "a.batch.json").read_text())
    assert (said["source"], said["asset"], said["rows"]) == ("db", "orders", 3)
    assert str(tmp_path) not in json.dumps(said)
    change(database, "update orders set amount = 1.75 where id = 1")
    assert capture(whole, tmp_path / "a.parquet").local.read_bytes() != first


def test_a_key_orders_the_rows_and_must_tell_them_apart(
    whole: Any, tmp_path: Path, database: Path
) -> None:
    uri = capture(whole, tmp_path / "a.parquet", order_by=["amount"])
    assert read_table(take_snapshot(uri)).frame["id"].tolist() == [1, 3, 2]
    with pytest.raises(SubjectError, match="no column"):
        capture(whole, tmp_path / "b.parquet", order_by=["key"])
    change(database, "insert into orders values (1, 5.0, '2026-01-09', 'twin')")
    with pytest.raises(SubjectError, match="left to chance"):
        capture(whole, tmp_path / "b.parquet", order_by=["id"])
    assert not (tmp_path / "b.parquet").exists()
    assert capture(whole, tmp_path / "b.parquet", order_by=["id", "amount"])


def test_a_query_with_colons_and_percent_signs_is_captured(source: Any, tmp_path: Path) -> None:
    text = "select id, '12:30' as at from orders where day like '2026-01-%' and name <> 'a:c'"
    batch = source.add_query_asset("q", query=text).add_batch_definition_whole_table("all")
    frame = read_table(take_snapshot(capture(batch, tmp_path / "q.parquet"))).frame
    assert frame.to_dict("list") == {"id": [1, 3], "at": ["12:30", "12:30"]}


def test_batch_parameters_choose_the_batch_and_the_description_says_which(
    whole: Any, tmp_path: Path
) -> None:
    monthly = whole.data_asset.add_batch_definition_monthly("monthly", column="day")
    january = capture(monthly, tmp_path / "a.parquet", batch_parameters={"year": 2026, "month": 1})
    last = capture(monthly, tmp_path / "b.parquet")
    assert read_table(take_snapshot(january)).frame["id"].tolist() == [1, 3]
    assert read_table(take_snapshot(last)).frame["id"].tolist() == [2]
    with last.local.open("rb") as file:
        assert read_description(file)["parameters"] == {"month": 2, "year": 2026}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from nothing_there", "GX cannot read|did not answer"),
        ("select * from orders where id > 9", "no rows"),
        ("select id from orders union all select 'x'", "several kinds"),
    ],
)
def test_a_query_without_one_answer_is_refused(
    source: Any, tmp_path: Path, query: str, message: str
) -> None:
    batch = source.add_query_asset("q", query=query).add_batch_definition_whole_table("all")
    with pytest.raises(SubjectError, match=message) as caught:
        capture(batch, tmp_path / "q.parquet")
    assert "orders" not in str(caught.value)
    assert not (tmp_path / "q.parquet").exists()


def test_a_source_that_unpickles_is_refused_before_it_is_read(tmp_path: Path) -> None:
    import great_expectations as gx

    path = tmp_path / "evil.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    pandas = gx.get_context(mode="ephemeral").data_sources.add_pandas("p")
    asset = pandas.add_pickle_asset("pickle", filepath_or_buffer=path)
    batch = asset.add_batch_definition_whole_dataframe("all")
    with pytest.raises(SubjectError, match="unpickling"):
        capture(batch, tmp_path / "rows.parquet")
    assert not (tmp_path / "ran").exists()


def test_files_and_data_frames_of_a_pandas_source_are_captured(tmp_path: Path) -> None:
    import great_expectations as gx

    (tmp_path / "orders-2026.csv").write_text("id,name\n1,a\n2,b\n")
    sources = gx.get_context(mode="ephemeral").data_sources
    files = sources.add_pandas_filesystem("files", base_directory=tmp_path).add_csv_asset("csv")
    yearly = files.add_batch_definition_yearly("y", regex=r"orders-(?P<year>\d{4})\.csv")
    frame = sources.add_pandas("p").add_dataframe_asset("f")
    rows = pd.DataFrame({"id": [1, 2], "name": ["a", "b"]})
    one = capture(yearly, tmp_path / "a.parquet", batch_parameters={"year": "2026"})
    other = capture(
        frame.add_batch_definition_whole_dataframe("w"),
        tmp_path / "b.parquet",
        batch_parameters={"dataframe": rows},
    )
    tables = [pq.read_table(uri.local).replace_schema_metadata(None) for uri in (one, other)]
    assert tables[0].equals(tables[1])


def test_a_project_names_its_batches_by_one_text(tmp_path: Path, database: Path) -> None:
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=tmp_path / "project")
    made = context.data_sources.add_sqlite("db", connection_string=f"sqlite:///{database}")
    asset = made.add_table_asset("orders", table_name="orders")
    asset.add_batch_definition_monthly("monthly", column="day")
    base = f"gx+file://{tmp_path}/project?source=db&asset=orders&batch=monthly"
    uri = capture_project(f"{base}&order_by=amount&year=2026&month=1", tmp_path / "a.parquet")
    assert read_table(take_snapshot(uri)).frame["id"].tolist() == [1, 3]
    inner = base.replace("/project?", "/project/gx?")
    assert capture_project(f"{inner}&year=2026&month=1", tmp_path / "b.parquet")
    for wrong in (
        base.replace("asset=orders&", ""),
        f"{base}&asset=orders",
        base.replace("gx+file", "file"),
        base.replace("///", "//host/"),
        base.replace("batch=monthly", "batch=daily"),
        base.replace("/project?", "/nowhere?"),
    ):
        with pytest.raises((ConfigurationError, SubjectError)):
            capture_project(wrong, tmp_path / "c.parquet")
    assert not (tmp_path / "nowhere").exists()


def test_names_that_a_context_does_not_have_are_refused(source: Any) -> None:
    for names in (("x", "y", "z"), ("db", "y", "z")):
        with pytest.raises(ConfigurationError, match="no batch definition"):
            batch_definition_of(source.data_context, *names)


# ---------------------------------------------------------------- asked on the source


def suite(*entries: tuple[str, dict[str, Any]], condition: Any = None) -> Suite:
    return Suite(
        name="s",
        expectations=tuple(
            Expectation(
                index=index,
                type=kind,
                kwargs=kwargs,
                condition=condition,
                severity=Severity.CRITICAL,
                id="",
            )
            for index, (kind, kwargs) in enumerate(entries)
        ),
    )


BETWEEN = ("expect_column_values_to_be_between", {"column": "amount", "max_value": 100})
LIKE = ("expect_column_values_to_match_like_pattern", {"column": "day", "like_pattern": "2026%"})
SQL = (
    "unexpected_rows_expectation",
    {"unexpected_rows_query": "select * from {batch} where amount > 100"},
)


def on_source(batch: Any, asked: Suite, uri: Any, **options: Any) -> Any:
    from sluicegate.stages.validation.gx.source import answer_on_source

    return answer_on_source(batch, asked, take_snapshot(uri), **options)


def test_gx_answers_on_the_source_about_the_rows_of_the_extract(
    whole: Any, tmp_path: Path, database: Path
) -> None:
    change(database, "alter table orders add column empty text")
    uri = capture(whole, tmp_path / "a.parquet", order_by=["id"])
    empty = ("expect_column_values_to_be_in_set", {"column": "empty", "value_set": ["x"]})
    absent = ("expect_column_values_to_not_be_null", {"column": "absent"})
    count = ("expect_table_row_count_to_equal", {"value": 3})
    asked = suite(BETWEEN, LIKE, SQL, empty, absent, count)
    said = on_source(whole, asked, uri, consent_to_sql=True)
    assert [said.answers[index].success for index in range(6)] == [
        False, True, False, None, False, True,
    ]  # fmt: skip
    assert said.answers[0].engine == said.answers[2].engine == GX
    assert said.answers[0].unexpected == 1
    assert said.answers[3].engine == OWN
    assert (said.where["source_type"], said.where["rows"]) == ("sqlite", 3)


def test_sql_of_a_suite_runs_only_with_consent(whole: Any, tmp_path: Path) -> None:
    uri = capture(whole, tmp_path / "a.parquet")
    with pytest.raises(ConfigurationError, match="runs SQL"):
        on_source(whole, suite(BETWEEN, SQL), uri)
    with pytest.raises(ConfigurationError, match="a type that GX knows"):
        on_source(whole, suite(("expect_nothing_at_all", {})), uri)


def test_rows_that_change_before_or_meanwhile_leave_no_answer(
    whole: Any, tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluicegate.stages.validation.gx import source as module

    uri = capture(whole, tmp_path / "a.parquet")
    assert on_source(whole, suite(BETWEEN), uri).answers[0].success is False
    put = module.put

    def put_and_change(*arguments: Any) -> Any:
        answers = put(*arguments)
        change(database, "update orders set name = 'y' where id = 3")
        return answers

    monkeypatch.setattr(module, "put", put_and_change)
    with pytest.raises(SubjectChangedError, match="does not hold the rows"):
        on_source(whole, suite(BETWEEN), uri)
    monkeypatch.undo()
    with pytest.raises(SubjectChangedError, match="does not hold the rows"):
        on_source(whole, suite(BETWEEN), uri)


def test_a_condition_and_a_file_that_is_no_extract_are_not_guessed_about(
    whole: Any, tmp_path: Path
) -> None:
    uri = capture(whole, tmp_path / "a.parquet")
    said = on_source(whole, suite(BETWEEN, condition=object()), uri)
    assert said.answers[0].success is None
    plain = write_subject(pd.DataFrame({"amount": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(SubjectError, match="what it is an extract of"):
        on_source(whole, suite(BETWEEN), plain)


# ---------------------------------------------------------------- PostgreSQL


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def postgres() -> Any:
    """Run a PostgreSQL of our own; yield its connection string."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL server is installed")
    who: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder, port = Path(name), free_port()
        if who:
            shutil.chown(folder, "postgres", "postgres")
        password = folder / "password"
        password.write_text(SECRET)
        password.chmod(0o644)
        binaries = Path(POSTGRES).resolve().parent
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", "-U", "app", "-A", "scram-sha-256",
             "--pwfile", password, "--no-sync", "-E", "UTF8", "--locale", "C"],
            check=True, capture_output=True, cwd=folder, **who,
        )  # fmt: skip
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
                   "fsync": "off", "shared_buffers": "1MB", "max_connections": 10}  # fmt: skip
        words = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        server = subprocess.Popen(
            [POSTGRES, "-D", folder / "data", *words],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who,
        )  # fmt: skip
        try:
            yield wait_for_server(f"postgresql+psycopg://app:{SECRET}@127.0.0.1:{port}/postgres")
        finally:
            server.send_signal(2)
            server.wait(20)


def wait_for_server(url: str) -> str:
    import sqlalchemy as sa

    end = time.monotonic() + 30
    while True:
        try:
            with sa.create_engine(url).connect():
                return url
        except sa.exc.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_a_batch_of_postgresql_is_captured_and_asked_on_the_server(
    postgres: str, tmp_path: Path
) -> None:
    import great_expectations as gx
    import sqlalchemy as sa

    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sa.text(
            "create table orders (id int, amount numeric(10, 2), at timestamptz, day date, "
            "data jsonb, key uuid, tags text[], ok bool)"
        ))  # fmt: skip
        connection.execute(sa.text(
            "insert into orders select n, n * 1.5, timestamptz '2026-01-01 12:00+00' + n * "
            "interval '1 day', date '2026-01-01' + n, jsonb_build_object('n', n), "
            "'00000000-0000-0000-0000-000000000001', array['a', 'b'], n % 2 = 0 "
            "from generate_series(1, 50) as n"
        ))  # fmt: skip
    source = gx.get_context(mode="ephemeral").data_sources.add_postgres(
        "pg", connection_string=postgres
    )
    asset = source.add_table_asset("orders", table_name="orders")
    whole = asset.add_batch_definition_whole_table("all")
    uri = capture(whole, tmp_path / "a.parquet", order_by=["id"])
    kinds = {field.name: str(field.type) for field in pq.read_schema(uri.local)}
    assert kinds["amount"] == "decimal128(38, 2)"
    assert kinds["at"] == "timestamp[us, tz=UTC]"
    assert (kinds["day"], kinds["data"], kinds["key"]) == ("date32[day]", "string", "string")
    with engine.begin() as connection:
        connection.execute(sa.text("alter role app set timezone to 'Asia/Tokyo'"))
        connection.execute(sa.text("update orders set ok = ok where id < 20"))  # moves the rows
    engine.dispose()
    other = gx.get_context(mode="ephemeral").data_sources.add_postgres(
        "pg", connection_string=postgres
    )
    again = other.add_table_asset("orders", table_name="orders")
    same = capture(
        again.add_batch_definition_whole_table("all"), tmp_path / "b.parquet", order_by=["id"]
    )
    assert same.local.read_bytes() == uri.local.read_bytes()
    query = "select id, amount from orders where data::text like '{\"n\": 1%'"
    part = source.add_query_asset("q", query=query).add_batch_definition_whole_table("all")
    frame = read_table(take_snapshot(capture(part, tmp_path / "q.parquet"))).frame
    assert frame["id"].tolist() == [1, *range(10, 20)]
    monthly = asset.add_batch_definition_monthly("monthly", column="day")
    january = capture(monthly, tmp_path / "m.parquet", batch_parameters={"year": 2026, "month": 1})
    assert len(read_table(take_snapshot(january)).frame) == 30
    texts = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(SECRET.encode() in text for text in texts)

    asked = suite(
        ("expect_column_values_to_be_between", {"column": "amount", "max_value": 60}),
        ("expect_column_values_to_not_be_null", {"column": "at"}),
        SQL,
        ("expect_column_mean_to_be_between", {"column": "id", "min_value": 25, "max_value": 26}),
    )
    said = on_source(whole, asked, uri, consent_to_sql=True).answers
    assert [said[index].success for index in range(4)] == [False, True, True, True]
    assert said[0].unexpected == 10


def test_what_a_driver_says_about_a_failure_is_not_repeated(tmp_path: Path, whole: Any) -> None:
    class Failing:
        name = "all"
        data_asset = whole.data_asset

        def get_batch(self, parameters: Any) -> Any:
            raise RuntimeError(f"no connection to postgresql://app:{SECRET}@db")

    with pytest.raises(SubjectError, match="RuntimeError") as caught:
        capture(Failing(), tmp_path / "a.parquet")  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_importing_the_modules_imports_nothing_heavy() -> None:
    code = (
        "import sys, sluicegate.storage.gx_batches, sluicegate.storage.queries.frames\n"
        "import sluicegate.stages.validation.gx.child, sluicegate.stages.validation.gx.source\n"
        "import sluicegate.stages.validation.gx.checkpoints\n"
        "heavy = {'great_expectations', 'pandas', 'polars', 'pyarrow', 'numpy', 'sqlalchemy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
