"""Great Expectations in a child: what goes wrong there is unknown here, and nothing more."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError, StageError
from sluicegate.model import Severity
from sluicegate.stages.base import Context, configuration_files
from sluicegate.stages.validation import ValidateDataset, stage
from sluicegate.stages.validation.answers import GX, MOST_ROWS, Answer
from sluicegate.stages.validation.gx import child
from sluicegate.stages.validation.gx.child import ChildLimits, GxChild
from sluicegate.stages.validation.gx.engine import GxEngine
from sluicegate.stages.validation.gx.frames import read_frame, write_frame
from sluicegate.stages.validation.gx.wire import decode_answer, encode_answer
from sluicegate.stages.validation.suites.conditions import Nullity
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.core.validation_cases import ask as expectation
from tests.core.validation_cases import checks, compare, outcomes, rows_of, suite_json

PLUGIN = "tests.core.gx_plugin"
ONE, OTHER = Nullity("n", is_null=False), Nullity("s", is_null=False)
MISBEHAVE = "expect_column_values_to_misbehave"


def ask(*entries: tuple[str, dict[str, Any]]) -> list[Expectation]:
    return [
        Expectation(
            index=index,
            type=kind,
            kwargs=kwargs,
            condition=None,
            severity=Severity.CRITICAL,
            id="",
        )
        for index, (kind, kwargs) in enumerate(entries)
    ]


def misbehave(what: str, argument: str = "") -> tuple[str, dict[str, Any]]:
    return MISBEHAVE, {"column": "n", "what": what, "argument": argument}


# ---------------------------------------------------------------- rows on their way


FRAME = {
    "int": [1, 2, 3],
    "float": [0.5, np.nan, -0.0],
    "text": ["a", None, "ü"],
    "bool": [True, False, True],
    "bool or none": pd.Series([True, None, False], dtype="object"),
    "text as object": pd.Series(["1", None, "x"], dtype="object"),
    "mixed": pd.Series([1, "1", 1.5], dtype="object"),
    "large": pd.Series([2**70, 1, None], dtype="object"),
    "nested": pd.Series([{"a": 1}, {"b": [None]}, []], dtype="object"),
    "arrays": pd.Series([np.array([1, 2]), None, np.array([3])], dtype="object"),
    "decimal": pd.Series([decimal.Decimal("1.50"), None, decimal.Decimal(2)], dtype="object"),
    "date": pd.Series([dt.date(2026, 1, 1), None, dt.date(2026, 1, 2)], dtype="object"),
    "bytes": pd.Series([b"\x00", None, b""], dtype="object"),
    "time": pd.to_datetime(["2026-01-01", None, "2026-01-02T03:04:05.123456"], format="ISO8601"),
    "zoned": pd.to_datetime(["2026-01-01", None, "2026-01-02"], utc=True),
    "span": pd.to_timedelta([1, None, 2], unit="s"),
    "category": pd.Categorical(["a", "b", None]),
    "nullable": pd.array([1, None, 3], dtype="Int64"),
    "small": pd.array([1, 2, 3], dtype="uint8"),
    "single": np.array([0.1, 0.2, np.nan], dtype="float32"),
    "none": pd.Series([None, None, None], dtype="object"),
}


def sent(frame: pd.DataFrame) -> pd.DataFrame:
    out = io.BytesIO()
    write_frame(frame, out)
    out.seek(0)
    back, masks = read_frame(out)
    assert masks == ()
    return back


@pytest.mark.parametrize("name", FRAME)
def test_a_column_is_the_same_on_the_other_side(name: str) -> None:
    frame = pd.DataFrame({name: FRAME[name]})
    frame.index = pd.Index([5, 7, 2**40])
    pd.testing.assert_frame_equal(sent(frame), frame)
    cells = zip(sent(frame)[name], frame[name], strict=True)
    assert all(type(one) is type(other) for one, other in cells)


def test_a_repeated_name_is_sent_as_it_is() -> None:
    frame = pd.DataFrame([[1, "a"], [2, "b"]], columns=["c", "c"])
    pd.testing.assert_frame_equal(sent(frame), frame)


def test_a_whole_frame_is_the_same_and_names_may_be_anything() -> None:
    frame = pd.DataFrame(FRAME | {"": [1, 2, 3], "0": [4, 5, 6], "__index__": [7, 8, 9]})
    pd.testing.assert_frame_equal(sent(frame), frame)
    assert sent(frame.iloc[:0]).shape == (0, len(frame.columns))


@pytest.mark.parametrize("columns", [["int", "mixed"], []])
def test_masks_travel_beside_the_rows(columns: list[str]) -> None:
    frame, out = pd.DataFrame(FRAME)[columns], io.BytesIO()
    masks = [np.array([True, False, True]), np.array([False] * 3)]
    write_frame(frame, out, masks)
    out.seek(0)
    back, given = read_frame(out)
    pd.testing.assert_frame_equal(back, frame, check_column_type=False)
    assert [mask.tolist() for mask in given] == [mask.tolist() for mask in masks]
    assert all(mask.dtype == bool for mask in given)


CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=5))
def test_whatever_json_lines_hold_is_the_same_on_the_other_side(cells: list[Any]) -> None:
    frame = pd.DataFrame({"c": pd.Series(cells, dtype="object")})
    back = sent(frame)["c"].tolist()
    # A column of nothing but true, false and none is one for Arrow; of nothing, too.
    assert [(type(one), one) for one in back] == [(type(one), one) for one in cells]


def test_what_cannot_be_sent_is_refused_without_its_value() -> None:
    frame = pd.DataFrame({"c": pd.Series([object(), {1, 2}], dtype="object")})
    with pytest.raises(StageError, match="'c'"):
        sent(frame)


# ---------------------------------------------------------------- answers on their way


@pytest.mark.parametrize(
    "answer",
    [
        Answer(engine=GX, success=True, elements=3, missing=0, unexpected=0),
        Answer(engine=GX, success=False, unexpected=2, positions=frozenset({1, 2**40})),
        Answer(engine=GX, success=False, observed=1.5, capped=True),
        Answer.unknown("because", engine=GX),
    ],
)
def test_an_answer_is_the_same_on_the_other_side(answer: Answer) -> None:
    assert decode_answer(json.loads(encode_answer(3, answer))) == answer


GOOD = json.loads(encode_answer(0, Answer(engine=GX, success=True)))


@pytest.mark.parametrize(
    "change",
    [
        {"success": 1},
        {"success": "true"},
        {"positions": [-1]},
        {"positions": [True]},
        {"positions": [1.0]},
        {"positions": None},
        {"positions": list(range(MOST_ROWS + 1))},
        {"unexpected": -1},
        {"elements": "3"},
        {"observed": [1]},
        {"reason": None},
        {"capped": 0},
    ],
)
def test_an_answer_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        decode_answer(GOOD | change)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["total_seconds", "memory_bytes", "question_cpu_seconds"])
def test_a_limit_that_does_not_limit_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        ChildLimits(**{name: value})


# ---------------------------------------------------------------- children that lie


def played(monkeypatch: pytest.MonkeyPatch, script: str, **limits: float) -> dict[int, Answer]:
    """Answer two expectations by a child that runs this script instead."""
    monkeypatch.setattr(child, "_BOOT", f"import sys, time\n{textwrap.dedent(script)}")
    frame = pd.DataFrame({"n": [1]})
    return GxChild(limits=ChildLimits(**limits)).answer(frame, ask(misbehave("a"), misbehave("b")))


READY = "print('{\"ready\": true}', flush=True)\n"
ANSWER = f"print({json.dumps(GOOD)!r}, flush=True)\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (READY + ANSWER, "ended early"),
        (READY + ANSWER + "print('{\"done\": true}')", "ended early"),
        (READY + ANSWER + "print('nonsense')", "no message"),
        (READY + ANSWER + "print('[1]')", "no message"),
        (READY + ANSWER + "print('[' * 100000)", "no message"),
        (READY + ANSWER + "sys.stdout.write('x' * (5 << 20))", "no message"),
        (READY + ANSWER + 'print(\'{"lost": null, "why": "w"}\\n{"done": 1}\')', "asked: w"),
        (READY + ANSWER + "time.sleep(60)", "more than 2 seconds in all"),
        (READY + ANSWER + 'print(\'{"answer": 7, "success": true}\')', "ended early"),
        (READY + ANSWER + 'print(\'{"answer": [], "success": true}\')', "ended early"),
        (READY + ANSWER + 'print(\'{"answer": true, "success": true}\')', "ended early"),
    ],
)
def test_whoever_is_not_answered_is_unknown_whatever_the_child_does(
    monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    answers = played(monkeypatch, script, total_seconds=2)
    assert answers[0].success is True
    assert answers[1].success is None
    assert why in answers[1].reason


def test_a_malformed_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    script = READY + 'print(\'{"answer": 1, "success": 1}\')\n' + ANSWER
    answers = played(monkeypatch, script)
    assert "malformed" in answers[1].reason
    assert answers[0].success is True


def test_the_first_word_about_an_expectation_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    script = READY + 'print(\'{"lost": 0, "why": "w"}\')\n' + ANSWER
    answers = played(monkeypatch, script)
    assert answers[0].success is None


@pytest.mark.parametrize("script", ["", "print('x')", "sys.exit(3)", "time.sleep(60)", "1 / 0"])
def test_a_child_that_does_not_start_concludes_nothing(
    monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    began = time.monotonic()
    with pytest.raises(StageError, match="did not start"):
        played(monkeypatch, script, start_seconds=1)
    assert time.monotonic() - began < 20


def test_no_expectation_needs_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_BOOT", "1 / 0")
    assert GxChild().answer(pd.DataFrame({"n": [1]}), []) == {}


def test_a_condition_without_its_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_BOOT", "1 / 0")
    asked = [replace(ask(misbehave("a"))[0], condition=ONE)]
    with pytest.raises(ValueError, match="row condition"):
        GxChild().answer(pd.DataFrame({"n": [1]}), asked, selected={OTHER: np.array([True])})


# ---------------------------------------------------------------- the real child

QUANTILES = "expect_column_quantile_values_to_be_between"


def quantile(share: float, value: float) -> tuple[str, dict[str, Any]]:
    ranges = {"quantiles": [share], "value_ranges": [[value, value]]}
    return QUANTILES, {"column": "n", "quantile_ranges": ranges}


@pytest.fixture(scope="module")
def listener() -> Any:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        yield server


@pytest.fixture(scope="module")
def outcome(
    listener: socket.socket, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Answer], Path]:
    """Ask everything that can go wrong, in one child, with what is well in between."""
    folder = tmp_path_factory.mktemp("written")
    port = listener.getsockname()[1]
    secret = folder / "schema.json"
    secret.write_text("{}")
    schema = "expect_column_values_to_match_json_schema"
    questions = {
        "first": ("expect_column_values_to_be_between", {"column": "n", "max_value": 2}),
        "redos": ("expect_column_values_to_match_regex", {"column": "s", "regex": "^(a+)+$"}),
        "after redos": ("expect_column_values_to_not_be_null", {"column": "s"}),
        "http": (schema, {"column": "j", "json_schema": {"$ref": f"http://127.0.0.1:{port}/"}}),
        "file": (schema, {"column": "j", "json_schema": {"$ref": f"file://{secret}"}}),
        "schema": (schema, {"column": "j", "json_schema": {"type": "object"}}),
        "connect": misbehave("connect", str(port)),
        "system": misbehave("system", str(folder / "system")),
        "write": misbehave("write", str(folder / "write")),
        "unpickle": misbehave("unpickle"),
        "memory": misbehave("memory"),
        "environment": misbehave("environment", "SLUICEGATE_KEY_PASSWORD"),
        "print": misbehave("print"),
        "abort": misbehave("abort"),
        "exit": misbehave("exit"),
        "read null": misbehave("read null"),
        "sleep": misbehave("sleep"),
        "last": ("expect_table_row_count_to_equal", {"value": 3}),
        "low": quantile(0.0, 1),
        "high": quantile(1.0, 3),
        "one": ("expect_column_values_to_be_between", {"column": "n", "max_value": 0}),
        "abort of one": misbehave("abort"),
        "other": ("expect_column_values_to_be_between", {"column": "n", "max_value": 0}),
        "one again": ("expect_table_row_count_to_equal", {"value": 2}),
    }
    conditions = {"one": ONE, "abort of one": ONE, "other": OTHER, "one again": ONE}
    selected = {OTHER: np.array([False, True, False]), ONE: np.array([True, False, True])}
    expectations = [
        replace(one, condition=conditions.get(name))
        for name, one in zip(questions, ask(*questions.values()), strict=True)
    ]
    frame = pd.DataFrame(
        {"n": [1, 2, 3], "s": ["a" * 40 + "!", "b\n", "aa"], "j": ["{}"] * 3}, index=[10, 20, 30]
    )
    limits = ChildLimits(question_cpu_seconds=1, question_seconds=10, memory_bytes=1 << 30)
    os.environ["SLUICEGATE_KEY_PASSWORD"] = "geheim"
    try:
        gx = GxChild(plugins=(PLUGIN,), limits=limits)
        answers = gx.answer(frame, expectations, selected=selected)
    finally:
        del os.environ["SLUICEGATE_KEY_PASSWORD"]
    return dict(zip(questions, (answers[at] for at in sorted(answers)), strict=True)), folder


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("redos", "more than 1"),
        ("http", "PermissionError"),
        ("file", "PermissionError"),
        ("connect", "PermissionError"),
        ("system", "PermissionError"),
        ("write", "PermissionError"),
        ("unpickle", "PermissionError"),
        ("memory", "MemoryError"),
        ("abort", "SIGABRT"),
        ("abort of one", "SIGABRT"),
        ("exit", "ended by itself"),
        ("read null", "SIGSEGV"),
        ("sleep", "more than 10 seconds"),
    ],
)
def test_what_goes_wrong_is_one_expectation_that_is_unknown(
    outcome: Any, name: str, why: str
) -> None:
    answer = outcome[0][name]
    assert answer.success is None
    assert why in answer.reason
    assert answer.engine == GX


@pytest.mark.parametrize(
    ("name", "success"),
    [("first", False), ("after redos", True), ("schema", True), ("print", True),
     ("environment", True), ("last", True), ("low", True), ("high", True), ("one", False),
     ("other", False), ("one again", True)],
)  # fmt: skip
def test_the_others_are_answered(outcome: Any, name: str, success: bool) -> None:
    assert outcome[0][name].success is success


def test_rows_keep_their_positions_and_nothing_got_out(
    outcome: Any, listener: socket.socket
) -> None:
    answers, folder = outcome
    assert answers["first"].positions == {30}
    assert answers["first"].unexpected == 1
    assert answers["one"].positions == {10, 30}
    assert answers["one"].elements == 2
    assert answers["other"].positions == {20}
    assert [path.name for path in folder.iterdir()] == ["schema.json"]
    with pytest.raises(TimeoutError):
        listener.accept()


def test_quantiles_of_one_column_are_not_mixed_up_in_process() -> None:
    asked = ask(quantile(0.0, 1), quantile(1.0, 3), quantile(1.0, 1))
    engine = GxEngine(Suite(name="s", expectations=tuple(asked)))
    answers = engine.answer(pd.DataFrame({"n": [1, 2, 3]}), asked)
    assert [answers[at].success for at in range(3)] == [True, True, False]


def test_many_conditions_take_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, read = [], []
    start, table = child._started, stage.read_table
    monkeypatch.setattr(child, "_started", lambda task: started.append(task) or start(task))

    def noted(snapshot: Any, **options: Any) -> Any:
        read.append(found := table(snapshot, **options))
        return found

    monkeypatch.setattr(stage, "read_table", noted)
    path, suite = tmp_path / "data.parquet", tmp_path / "suite.json"
    pd.DataFrame({"n": range(100), "m": range(100), "unused": ["x"] * 100}).to_parquet(path)
    between = "expect_column_values_to_be_between"
    low = [compare("m", "<", bound) for bound in (1, 2, 3, 4)]
    none = compare("m", ">", 1000)
    entries = [expectation(between, column="n", min_value=2, row_condition=one) for one in low]
    entries.append(expectation(between, column="n", min_value=2, row_condition=none))
    entries.append(expectation(between, column="absent", min_value=2, row_condition=low[0]))
    suite.write_bytes(suite_json(*entries))
    validate = ValidateDataset(suite=suite, engine="gx")
    report = validate.run(
        take_snapshot(SubjectUri.parse(str(path))), Context(files=configuration_files(validate))
    )
    assert outcomes(report) == ["failed"] * 4 + ["unknown", "failed"]
    found = [[row for _, row in rows_of(check)] for check in checks(report)]
    assert found == [[0], [0, 1], [0, 1], [0, 1], [], []]
    assert [row["element_count"] for row in report.tables["expectations"]][:4] == [1, 2, 3, 4]
    assert len(started) == 1
    assert list(read[0].frame.columns) == ["n", "m"]


@pytest.mark.parametrize(
    ("entries", "needed"),
    [
        ([("expect_column_values_to_not_be_null", {"column": "a"})], {"a"}),
        ([("expect_column_pair_values_to_be_equal", {"column_A": "a", "column_B": "b"})], "ab"),
        ([("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"]})], "ab"),
        ([("expect_column_to_exist", {"column": "a"})], None),
        ([("expect_table_column_count_to_equal", {"value": 2})], None),
        ([("expect_column_values_to_not_be_null", {"column": "a"}), misbehave("x")], None),
    ],
)
def test_only_the_columns_that_can_matter_are_read(entries: Any, needed: Any) -> None:
    assert stage._needed(ask(*entries)) == (None if needed is None else set(needed))


def test_an_unknown_type_a_wrong_argument_and_sql_are_refused_as_in_process() -> None:
    from sluicegate.stages.validation.gx.questions import Question
    from sluicegate.stages.validation.gx.supervisor import _prepare
    from sluicegate.stages.validation.gx.wire import Task

    def prepare(entry: tuple[str, dict[str, Any]], plugins: tuple[str, ...] = ()) -> None:
        questions = tuple(Question.of(one) for one in ask(entry))
        task = Task(questions=questions, plugins=plugins, limits=ChildLimits(), frame=None)
        _prepare(Task.from_json(task.to_json()))

    for entry in (
        ("expect_column_values_to_be_betwen", {"column": "n"}),
        ("expect_column_values_to_be_between", {"column": "n", "max": 2}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "select 1"}),
    ):
        with pytest.raises(ConfigurationError) as here:
            GxEngine(Suite(name="s", expectations=tuple(ask(entry))))
        with pytest.raises(ConfigurationError) as there:
            prepare(entry)
        assert str(here.value) == str(there.value)
    with pytest.raises(ConfigurationError, match="'no_such_module' cannot be imported"):
        prepare(("expect_table_row_count_to_equal", {"value": 1}), ("no_such_module",))


@pytest.mark.slow
def test_a_refusal_crosses_over_and_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a type that GX knows"):
        GxChild().check(ask(misbehave("x")))
    GxChild(plugins=(PLUGIN,)).check(ask(misbehave("x")))
    script = f"""
        import pandas as pd
        from sluicegate.stages.validation.gx.child import GxChild
        from tests.core.test_gx_child import ask, misbehave
        GxChild(plugins=({PLUGIN!r},)).answer(pd.DataFrame({{"n": [1]}}), ask(misbehave("sleep")))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    worker = until(lambda: [pid for one in children(parent.pid) for pid in children(one)])
    supervisor = children(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in worker + supervisor))


def children(pid: int) -> list[int]:
    said = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in said.read_text().split()] if said.exists() else []


def until(condition: Any) -> Any:
    end = time.monotonic() + 90
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found
