"""Security expectations in plain Great Expectations: the same suite file, the same answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.expectations.registration import class_name, register
from sluicegate.stages.validation.scan.columns import scan_columns
from sluicegate.stages.validation.scan.plan import plan
from sluicegate.stages.validation.scan.run import run
from sluicegate.stages.validation.suites.parse import parse_suite
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.core.security_cases import CASES, COLUMN, Case
from tests.core.validation_cases import ask, suite_json

pytest.importorskip("great_expectations")

SCHEMA = "expect_table_schema_to_equal"
NO_VALUES = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def context() -> Any:
    """Return a context of GX in memory, with the types registered."""
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    import sluicegate.expectations  # noqa: F401  registers them

    made = gx.get_context(mode="ephemeral")
    made.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = made.data_sources.add_pandas("frames").add_dataframe_asset("rows")
    source.add_batch_definition_whole_dataframe("whole")
    return made


def rows(context: Any) -> Any:
    return context.data_sources.get("frames").get_asset("rows").get_batch_definition("whole")


def validate(context: Any, frame: pd.DataFrame, *entries: Any, **options: Any) -> list[Any]:
    """Return what plain GX says, in the order of the entries."""
    import great_expectations as gx

    given = [
        {**entry, "id": f"00000000-0000-0000-0000-{at:012}"} for at, entry in enumerate(entries)
    ]
    suite = gx.ExpectationSuite(name="suite", expectations=given)
    assert len(suite.expectations) == len(entries)
    batch = rows(context).get_batch({"dataframe": frame})
    found = batch.validate(suite, result_format={**NO_VALUES, **options}).results
    return sorted(found, key=lambda one: str(one.expectation_config.id))


def frame_of(values: Any, kind: pa.DataType | None = None) -> pd.DataFrame:
    return pa.table({COLUMN: pa.array(values, type=kind)}).to_pandas()


def told(result: Any) -> tuple[bool | None, int | None]:
    """Return success, None where GX caught an exception, and the unexpected count."""
    info = result.exception_info
    entries = [info] if "raised_exception" in info else list(info.values())
    if any(entry["raised_exception"] for entry in entries):
        assert not result.success
        return None, None
    return bool(result.success), result.result.get("unexpected_count")


@each
def test_clean_data_an_attack_and_a_near_miss(case: Case, context: Any) -> None:
    entry = ask(case.kind, **case.arguments())
    for values, expected in (
        (case.clean, True),
        (case.near_miss, True),
        (case.attack, False),
        ([None, None], None),
        ([], None),
    ):
        (result,) = validate(context, frame_of(values, case.type), entry)
        success, unexpected = told(result)
        assert success is expected
        if expected is False:
            assert unexpected == case.unexpected


@each
def test_no_value_gets_into_results_without_values(case: Case, context: Any) -> None:
    frame = frame_of(case.attack, case.type)
    (result,) = validate(context, frame, ask(case.kind, **case.arguments()))
    shown = json.dumps(result.to_json_dict()["result"])
    for value in case.attack:
        assert not isinstance(value, str) or len(value) < 6 or value not in shown


@each
def test_a_class_goes_to_a_suite_file_and_back(case: Case, context: Any) -> None:
    import great_expectations as gx

    import sluicegate.expectations as secure

    kind = getattr(secure, class_name(case.kind))
    assert kind.__name__ in dir(secure)
    assert kind.__doc__.startswith(SPECS[case.kind].summary)
    one = kind(**case.arguments(), severity="warning", notes="why", meta={"a": 1})
    written = gx.ExpectationSuite(name="suite", expectations=[one]).to_json_dict()
    (entry,) = written["expectations"]
    assert entry["type"] == case.kind
    assert entry["severity"] == "warning"
    assert entry["kwargs"] == case.arguments()
    suite = parse_suite(json.dumps(written).encode())
    assert suite.expectations[0].kwargs == case.arguments()
    read = gx.ExpectationSuite(name="suite", expectations=[entry])
    assert read.expectations[0].configuration.kwargs == one.configuration.kwargs
    assert context is not None


@each
def test_malformed_arguments_are_refused_when_a_class_is_made(case: Case, context: Any) -> None:
    import sluicegate.expectations as secure

    kind = getattr(secure, class_name(case.kind))
    with pytest.raises(ValueError, match="extra fields"):
        kind(**case.arguments(), colum="x")
    with pytest.raises(ValueError, match="mostly"):
        kind(**case.arguments(), mostly=0)
    for name in set(case.kwargs) - {"kinds", "not_before", "not_after"}:
        with pytest.raises(ValueError, match=name):
            kind(**{**case.arguments(), name: None})
    assert kind.schema()["properties"]["column"]
    assert context is not None


def test_values_of_several_types_cannot_be_told(context: Any) -> None:
    frame = pd.DataFrame({COLUMN: ["<script>x</script>", 5]})
    for case in CASES:
        (result,) = validate(context, frame, ask(case.kind, **case.arguments()))
        assert told(result) == (None, None)
        assert "several types" in str(result.exception_info)


def test_a_share_of_the_values_is_enough(context: Any) -> None:
    frame = frame_of(["a"] * 9 + ["b"] + [None] * 5)
    kind = "expect_column_categories_to_be_frozen"
    entries = [ask(kind, column=COLUMN, categories=["a"], mostly=most) for most in (0.9, 0.91)]
    assert [told(one) for one in validate(context, frame, *entries)] == [(True, 1), (False, 1)]


def test_absent_categories_fail_though_no_value_is_unexpected(context: Any) -> None:
    kind = "expect_column_categories_to_be_frozen"
    entry = ask(kind, column=COLUMN, categories=["a", "b"], all_present=True)
    (result,) = validate(context, frame_of(["a"]), entry)
    assert told(result) == (False, 0)
    assert result.result["details"]["problems"] == ["1 of 2 categories do not occur"]


def test_rows_by_kind_of_mark_are_among_the_details(context: Any) -> None:
    kind = "expect_column_values_to_have_no_active_markup"
    frame = frame_of(["<script>x</script>", "a"])
    (result,) = validate(context, frame, ask(kind, column=COLUMN))
    (problem,) = result.result["details"]["problems"]
    assert problem.endswith(": 1 row")
    assert result.result["unexpected_index_list"] == [0]


def test_the_schema_of_a_frame(context: Any) -> None:
    columns = [
        {"name": "id", "type": "int64", "nullable": True},
        {"name": "name", "type": "string", "nullable": True},
    ]
    frame = pd.DataFrame({"id": [1, 2], "name": ["a", None]})
    entry = ask(SCHEMA, columns=columns)
    for changed, expected in (
        (frame, True),
        (frame.astype({"id": "int32"}), False),
        (frame[["name", "id"]], False),
        (frame.assign(extra=1), False),
        (frame.drop(columns="id"), False),
    ):
        (result,) = validate(context, changed, entry)
        assert told(result)[0] is expected
    (result,) = validate(context, frame[:0], entry)
    assert told(result)[0] is None


def test_rows_of_a_condition(context: Any) -> None:
    frame = pd.DataFrame({COLUMN: ["a", "a", "b", "b"], "part": [1, 2, 2, 2]})
    condition = {"type": "comparison", "column": {"name": "part"}, "operator": "==", "parameter": 1}
    shares = {"shares": {"a": 1.0}, "max_distance": 0.1}
    entries = [
        ask("expect_column_categories_to_be_frozen", column=COLUMN, categories=["a"]),
        ask("expect_column_duplicate_share_to_be_less_than", column=COLUMN, max_share=0.1),
        ask("expect_column_duplicate_share_to_be_less_than", column_list=[COLUMN], max_share=0.1),
        ask("expect_column_label_shares_to_match", column=COLUMN, **shares),
    ]
    for entry in entries:
        entry["kwargs"]["row_condition"] = condition
    assert [told(one)[0] for one in validate(context, frame, *entries)] == [True] * 4
    condition["parameter"] = 2
    assert [told(one)[0] for one in validate(context, frame, *entries)] == [False] * 4
    condition["parameter"] = 3
    assert [told(one)[0] for one in validate(context, frame, *entries)] == [None] * 4


def test_a_checkpoint_runs_them(context: Any) -> None:
    import great_expectations as gx

    suite = gx.ExpectationSuite(
        name="checked", expectations=[ask(case.kind, **case.arguments()) for case in CASES[:1]]
    )
    context.suites.add(suite)
    definition = gx.ValidationDefinition(name="checked", data=rows(context), suite=suite)
    context.validation_definitions.add(definition)
    checkpoint = gx.Checkpoint(
        name="checked", validation_definitions=[definition], result_format="SUMMARY"
    )
    context.checkpoints.add(checkpoint)
    for values, expected in ((CASES[0].clean, True), (CASES[0].attack, False)):
        found = checkpoint.run(batch_parameters={"dataframe": frame_of(values)})
        assert bool(found.success) is expected
        assert json.loads(found.describe())["success"] is expected


def test_they_are_registered_once() -> None:
    assert register() is register()
    assert set(register()) == set(SPECS)


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.sampled_from(["CH", "ch", "spam", "=cmd|'/C x'!A0", "a"]))),
    st.lists(st.one_of(st.none(), st.floats(width=64), st.sampled_from([10.0, 25.0, 1e308]))),
    st.lists(st.one_of(st.none(), st.integers(-30, 30))),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.one_of(st.none(), st.booleans())),
    st.lists(st.one_of(st.none(), st.dates())),
)
ARGUMENTS: Mapping[str, dict[str, Any]] = {case.kind: case.arguments() for case in CASES}


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=VALUES, mostly=st.sampled_from([1.0, 0.9, 0.5]))
def test_scan_and_great_expectations_agree(
    values: list[Any], mostly: float, context: Any, tmp_path: Path
) -> None:
    entries = [
        ask(kind, **kwargs, **({"mostly": mostly} if SPECS[kind].shape == "rows" else {}))
        for kind, kwargs in ARGUMENTS.items()
    ]
    path = tmp_path / "data.parquet"
    # One row at least: a data set without any is refused before a question is asked.
    table = pa.table({COLUMN: pa.array([*values, None], from_pandas=True)})
    pq.write_table(table, path, row_group_size=max(1, len(values) // 2))
    snapshot = take_snapshot(SubjectUri.parse(str(path)))
    outcome = run(snapshot, plan(parse_suite(suite_json(*entries)), scan_columns(snapshot)))
    assert not outcome.left, outcome.left
    by_gx = validate(context, pd.read_parquet(path), *entries)
    for index, (entry, result) in enumerate(zip(entries, by_gx, strict=True)):
        answer = outcome.answers[index]
        success, unexpected = told(result)
        assert success is answer.success, entry
        if success is not None:
            assert unexpected == answer.unexpected, entry
            found = result.result.get("unexpected_index_list")
            assert found is None or set(found) == answer.positions, entry
