"""Comparing suites: what got weaker is said, whatever way it is hidden."""

from __future__ import annotations

import argparse
import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.cli.suite_diff import add_diff
from sluicegate.cli.terminal import report_failure
from sluicegate.errors import SluicegateError
from sluicegate.stages.validation.comparing import Effect, compare_suites, weakenings
from sluicegate.stages.validation.comparing.arguments import differences
from sluicegate.stages.validation.comparing.directions import named_directions
from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.suites.catalogue import CATALOGUE, arguments_of
from sluicegate.stages.validation.suites.parse import parse_suite

BETWEEN = "expect_column_values_to_be_between"
AROUND = {"row_condition", "condition_parser"}


def main(argv):
    parser = argparse.ArgumentParser()
    add_diff(parser.add_subparsers())
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except SluicegateError as error:
        return report_failure(error, as_json=args.json)


def entry(kind=BETWEEN, severity="critical", id=None, **kwargs):
    if kind == BETWEEN and not kwargs:
        kwargs = {"column": "a", "min_value": 0, "max_value": 10}
    one = {"type": kind, "kwargs": kwargs, "severity": severity}
    return one | ({"id": id} if id else {})


def suite(*entries):
    return parse_suite(json.dumps({"name": "s", "expectations": list(entries)}).encode())


def effects(old, new):
    return [change.effect.value for change in compare_suites(suite(*old), suite(*new))]


def change(kind, old, new):
    return [effect.value for effect, _ in differences(kind, old, new)]


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        (BETWEEN, {"min_value": 0}, {"min_value": -1}, ["weaker"]),
        (BETWEEN, {"min_value": 0}, {"min_value": 1}, ["stronger"]),
        (BETWEEN, {"min_value": 0}, {"min_value": 0.0}, []),
        (BETWEEN, {"min_value": 0, "max_value": 9}, {"min_value": 0}, ["weaker"]),
        (BETWEEN, {"max_value": 9}, {"max_value": 9, "mostly": 1.0}, []),
        (BETWEEN, {"max_value": 9}, {"max_value": 9, "mostly": 0.9}, ["weaker"]),
        (BETWEEN, {"max_value": 2**53}, {"max_value": 2**53 + 1}, ["weaker"]),
        (BETWEEN, {"max_value": 9, "strict_max": True}, {"max_value": 9}, ["weaker"]),
        (BETWEEN, {"max_value": "2024-01-01"}, {"max_value": "2025-01-01"}, ["weaker"]),
        (BETWEEN, {"max_value": "2024-01-01"}, {"max_value": 9}, ["unclear"]),
        ("expect_column_values_to_be_in_set", {"value_set": [1, 2]}, {"value_set": [2, 1]}, []),
        (
            "expect_column_values_to_be_in_set",
            {"value_set": [1]},
            {"value_set": [1, 2]},
            ["weaker"],
        ),
        (
            "expect_column_values_to_be_in_set",
            {"value_set": [1, 2]},
            {"value_set": [1, True]},
            ["weaker", "stronger"],
        ),
        (
            "expect_column_values_to_not_be_in_set",
            {"value_set": ["a", "b"]},
            {"value_set": ["a"]},
            ["weaker"],
        ),
        (
            "expect_column_distinct_values_to_equal_set",
            {"value_set": ["a"]},
            {"value_set": ["a", "b"]},
            ["unclear"],
        ),
        ("expect_column_values_to_match_regex", {"regex": "^a$"}, {"regex": "a"}, ["unclear"]),
        (
            "expect_column_values_to_match_regex_list",
            {"regex_list": ["a"]},
            {"regex_list": ["a", "b"]},
            ["weaker"],
        ),
        (
            "expect_column_values_to_match_regex_list",
            {"regex_list": ["a"], "match_on": "all"},
            {"regex_list": ["a", "b"], "match_on": "all"},
            ["stronger"],
        ),
        (
            "expect_column_quantile_values_to_be_between",
            {"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[1, 2]]}},
            {"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[1, None]]}},
            ["weaker"],
        ),
        (
            "expect_column_values_to_be_in_robust_range",
            {"low": 0, "high": 10, "margin": 1},
            {"low": -5, "high": 15, "margin": 0.25},
            [],
        ),
        (
            "expect_column_values_to_be_in_robust_range",
            {"low": 0, "high": 10, "margin": 1},
            {"low": 0, "high": 10, "margin": 2},
            ["weaker", "weaker"],
        ),
        ("expect_column_psi_to_be_less_than", {"threshold": 0.2}, {"threshold": 0.3}, ["weaker"]),
        ("expect_column_psi_to_be_less_than", {}, {"threshold": 0.3}, ["weaker"]),
        (
            "expect_column_values_to_have_no_secrets",
            {"column": "a"},
            {"column": "a", "kinds": ["aws"]},
            ["weaker"],
        ),
        (
            "expect_column_timestamps_to_be_within",
            {"not_after": "now"},
            {"not_after": "2099-01-01"},
            ["unclear"],
        ),
        (
            "expect_table_schema_to_equal",
            {"columns": [{"name": "a", "type": "int64", "nullable": False}]},
            {"columns": [{"name": "a", "type": "int64", "nullable": True}]},
            ["weaker"],
        ),
        ("a_type_of_somebody_else", {"x": 1}, {"x": 2}, ["unclear"]),
    ],
)
def test_each_argument_has_its_direction(kind, old, new, expected):
    assert change(kind, old, new) == expected


def test_removing_and_lowering_are_weaker():
    a, b = entry(), entry("expect_column_values_to_not_be_null", column="a")
    assert effects([a, b], [a]) == ["weaker"]
    assert effects([a], [a, b]) == ["stronger"]
    assert effects([a], [a | {"severity": "info"}]) == ["weaker"]
    assert effects([a | {"severity": "info"}], [a]) == ["stronger"]


def test_order_ids_notes_and_names_do_not_matter():
    a, b = entry(id="1"), entry("expect_column_values_to_not_be_null", column="a", id="2")
    other = [b | {"id": "9", "notes": "n"}, a | {"id": "8", "meta": {"x": 1}}]
    assert effects([a, b], other) == []


def test_a_condition_that_is_added_is_weaker_and_another_one_unclear():
    def when(value):
        one = entry()
        one["kwargs"]["row_condition"] = {
            "type": "comparison",
            "column": {"name": "b"},
            "operator": "==",
            "parameter": value,
        }
        return one

    assert effects([entry()], [when(1)]) == ["weaker"]
    assert effects([when(1)], [entry()]) == ["stronger"]
    assert effects([when(1)], [when(2)]) == ["unclear"]
    assert effects([when(1)], [when(1)]) == []


def test_an_id_that_is_given_to_another_column_is_no_disguise():
    old = [entry(id="1", column="a", min_value=0)]
    assert effects(old, [entry(id="1", column="b", min_value=0)]) == ["unclear"]
    assert effects(old, [entry("expect_column_values_to_be_unique", id="1", column="a")]) == [
        "weaker",
        "stronger",
    ]


def test_of_several_alike_those_with_most_in_common_are_compared():
    kind = "expect_column_values_to_not_match_regex"
    old = [entry(kind, column="a", regex="x"), entry(kind, column="a", regex="y")]
    new = [entry(kind, column="a", regex="y"), entry(kind, column="a", regex="x", mostly=0.5)]
    changes = compare_suites(suite(*old), suite(*new))
    assert [(one.effect, one.old, one.new) for one in changes] == [(Effect.WEAKER, 0, 1)]


def test_every_argument_of_every_type_has_a_direction_or_none_on_purpose():
    for kind in CATALOGUE:
        assert set(arguments_of(kind)) - AROUND <= named_directions(kind), kind
    for kind, spec in SPECS.items():
        assert {one.name for one in spec.arguments} <= named_directions(kind), kind


KINDS = {
    BETWEEN: {"min_value": st.integers(-3, 0), "max_value": st.integers(1, 3)},
    "expect_column_values_to_be_in_set": {
        "value_set": st.lists(st.sampled_from([1, 2, "1", True]), min_size=1)
    },
    "expect_column_distinct_values_to_contain_set": {
        "value_set": st.lists(st.sampled_from(["a", "b", "c"]), min_size=1)
    },
    "expect_column_values_to_match_regex": {"regex": st.sampled_from(["a", "b"])},
    "expect_column_values_to_be_unique": {},
    "expect_column_values_to_be_in_robust_range": {
        "low": st.integers(0, 3),
        "high": st.integers(4, 6),
        "margin": st.sampled_from([0, 0.5, 2]),
    },
}
MOSTLY = st.sampled_from([None, 0.5, 0.9, 1])
SINGLE = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["critical", "warning", "info"]),
        MOSTLY,
        st.fixed_dictionaries(KINDS[kind]),
    )
)
SUITES = st.lists(SINGLE, min_size=1, max_size=6).map(
    lambda parts: suite(
        *(
            entry(
                kind,
                severity,
                column=column,
                **kwargs,
                **({} if mostly is None or "distinct" in kind else {"mostly": mostly}),
            )
            for kind, column, severity, mostly, kwargs in parts
        )
    )
)


@settings(max_examples=60, deadline=None)
@given(SUITES)
def test_a_suite_is_no_weaker_than_itself(one):
    assert compare_suites(one, one) == ()


@settings(max_examples=100, deadline=None)
@given(SUITES, SUITES)
def test_what_is_weaker_one_way_is_stronger_the_other_way(one, other):
    there = sorted(change.effect.mirrored for change in compare_suites(one, other))
    assert there == sorted(change.effect for change in compare_suites(other, one))


def test_the_command_exits_with_1_only_if_something_may_be_weaker(tmp_path, capsys):
    document = {"name": "s", "expectations": [entry()]}
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(document))
    new.write_text(json.dumps(document))
    assert main(["diff", str(old), str(new)]) == 0
    assert "the same" in capsys.readouterr().out
    weaker = deepcopy(document)
    weaker["expectations"][0]["kwargs"]["max_value"] = 11
    new.write_text(json.dumps(weaker))
    assert main(["diff", str(old), str(new), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["weaker"] is True
    assert said["changes"][0]["what"] == "max_value raised from 10 to 11"
    assert main(["diff", str(new), str(old)]) == 0
    new.write_text("{}")
    assert main(["diff", str(old), str(new)]) == 2
    assert main(["diff", str(old), str(tmp_path / "absent")]) == 2


def test_what_a_stage_reports_are_the_same_sentences():
    old, new = suite(entry()), suite(entry(column="a", min_value=0, max_value=11))
    assert weakenings(old, new) == [
        f"expectations[0] ({BETWEEN}, a): max_value raised from 10 to 11"
    ]
    assert weakenings(new, old) == []
