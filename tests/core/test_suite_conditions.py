"""Row conditions: the grammar, and the rows that pandas would select."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.scan.base import Column, Kind, Unclaimed
from sluicegate.stages.validation.suites.condition_forms import parse_condition
from sluicegate.stages.validation.suites.conditions import (
    Comparison,
    Condition,
    Every,
    Negated,
    Nullity,
    Some,
)
from sluicegate.stages.validation.suites.words import describe_condition

AT = "$.row_condition"
AGE, CH = Comparison("age", ">", 5), Comparison("country", "==", "CH")


def parse(text: Any, parser: str | None = None) -> Condition:
    found = parse_condition(text, AT, parser)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("age > 5", AGE),
        ("  age>5 ", AGE),
        ("(age > 5)", AGE),
        ("5 < age", AGE),
        ('age > 5 and country == "CH"', Every((AGE, CH))),
        ("age > 5 & country == 'CH'", Every((AGE, CH))),
        ("(age > 5) & (country == 'CH')", Every((AGE, CH))),
        ("age > 5 or country == 'CH' and age > 5", Some((AGE, Every((CH, AGE))))),
        ("(age > 5 | country == 'CH') and age > 5", Every((Some((AGE, CH)), AGE))),
        ("not age > 5 and country == 'CH'", Every((Negated(AGE), CH))),
        ("not (age > 5 and country == 'CH')", Negated(Every((AGE, CH)))),
        ("~(age > 5)", Negated(AGE)),
        ("~age.isnull()", Negated(Nullity("age", is_null=True))),
        ("0 <= age < 9", Every((Comparison("age", ">=", 0), Comparison("age", "<", 9)))),
        ('country in ["CH", "DE"]', Comparison("country", "IN", ("CH", "DE"))),
        ("age in (1, 2.5, -3)", Comparison("age", "IN", (1, 2.5, -3))),
        ("age not in [1]", Comparison("age", "NOT_IN", (1,))),
        ("`my age` == -1.5e3", Comparison("my age", "==", -1500.0)),
        ("flag == True", Comparison("flag", "==", True)),
        ("age.notnull()", Nullity("age", is_null=False)),
        ("`a b`.isna()", Nullity("a b", is_null=True)),
        ('col("age") > 5', AGE),
        ('col("x y").notNull()', Nullity("x y", is_null=False)),
        ("""name == "it's" """, Comparison("name", "==", "it's")),
        ('name == ""', Comparison("name", "==", "")),
        ('ts >= "2024-01-01"', Comparison("ts", ">=", "2024-01-01")),
    ],
)
def test_what_people_write_is_read(text: str, condition: Condition) -> None:
    assert parse(text) == condition
    assert describe_condition(condition)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "character 1,"),
        ("age", "character 4,"),
        ("age >", "character 6,"),
        ("age > > 5", "character 7,"),
        ("age > 5 and", "character 12,"),
        ("age > 5 age < 3", "character 9,"),
        ("(age > 5", "character 9,"),
        ("age > other", "character 1,"),
        ("1 == 1", "character 1,"),
        ("age = 5", "character 5,"),
        ("age == None", "character 8,"),
        ("age.max() > 5", "character 5,"),
        ("age.isnull(1)", "character 12,"),
        ("~age > 5", "character 2,"),
        ("age + 1 > 5", "character 5,"),
        ("age > 5; import os", "character 8,"),
        ("age in []", "character 9,"),
        ("age in other", "character 8,"),
        ("age in [1, 'a']", "character 8,"),
        ("age in [True]", "character 8,"),
        ("age in [age]", "character 8,"),
        ("age == 0x10", "character 8,"),
        ("age == 010", "character 8,"),
        ("age == 1_000", "character 8,"),
        ("age == 1e999", "character 8,"),
        ("age == 9999999999999999999", "character 8,"),
        ('age == "a\\n"', "character 8,"),
        ('age == "a', "character 8,"),
        ("`a;b` == 1", "character 1,"),
        ("`größe` == 1", "character 1,"),
        ("@age == 1", "character 1,"),
        ("age[0] == 1", "character 4,"),
        ("age == 1 if True else 2", "character 10,"),
        ("a" * 3000 + " > 1", "at most 2000"),
        ("(" * 300 + "age > 5" + ")" * 300, "nested"),
        ("not " * 300 + "age > 5", "nested"),
        (" and ".join(["a > 1"] * 150), "at most 100"),
    ],
)
def test_anything_else_is_refused_with_its_position(text: str, place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert place in str(caught.value)
    assert AT in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("text", "parser"),
    [
        ("age > 5", "great_expectations"),
        ('col("age") > 5 and col("age") < 9', "great_expectations"),
        ('col("age") > 5', "pandas"),
        ('col("age`") > 5', "great_expectations"),
        ("age != 5", "spark"),
        ("not age > 5", "spark"),
        ("~(age > 5)", "spark"),
        ("age not in [5]", "spark"),
    ],
)
def test_what_a_dialect_reads_otherwise_is_refused(text: str, parser: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text, parser)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('col("age") > 5', AGE),
        ('col("country") == "CH"', CH),
        ('col("age").notnull()', Nullity("age", is_null=False)),
        ('col("ts") > date("2024-01-01")', Comparison("ts", ">", "2024-01-01")),
    ],
)
@pytest.mark.parametrize("parser", ["great_expectations", "great_expectations__experimental__"])
def test_the_dialect_of_gx_means_what_gx_makes_of_it(
    text: str, condition: Condition, parser: str
) -> None:
    from great_expectations.expectations.expectation import _convert_string_to_condition

    assert parse(text, parser) == condition
    if "date" not in text:  # GX itself stumbles over it
        written = _convert_string_to_condition(text).dict()
        assert parse_condition(written, AT) == condition


def _or(*conditions: Any) -> dict[str, Any]:
    return {"type": "or", "conditions": list(conditions)}


def _and(*conditions: Any) -> dict[str, Any]:
    return {"type": "and", "conditions": list(conditions)}


def test_the_structured_form_is_as_strict_as_gx() -> None:
    null = {"type": "nullity", "column": {"name": "a"}, "is_null": True}
    assert parse(_or(_and(null, null), null))
    for wrong in (_and(_or(null), null), _or(_or(null)), _or(*[null] * 101),
                  _or(_and(*[null] * 60), _and(*[null] * 60))):  # fmt: skip
        with pytest.raises(ConfigurationError):
            parse(wrong)


# ---------------------------------------------------------------- the same rows as pandas

FRAME = pd.DataFrame(
    {
        "i": np.array([0, 1, 2, 3, -4, 5, 6, 7], dtype="int64"),
        "u": np.array([0, 1, 2, 3, 4, 5, 6, 255], dtype="uint8"),
        "f": [0.0, 1.5, None, -2.0, 2.0, np.inf, -0.0, None],
        "g": np.array([0.1, 1.5, np.nan, -2.0, 0.3, np.inf, -0.0, np.nan], dtype="float32"),
        "n": [1.0, None, 3.0, None, 5.0, 2.0, 1.0, 0.0],
        "s": ["CH", "DE", None, "", "ch", "it's", "é", None],
        "b": [True, False, True, True, False, False, True, False],
        "t": pd.to_datetime(["2024-01-01", "2024-01-02 03:04:05", None, "2023-12-31",
                             "2024-01-01", None, "2025-06-07", "1999-01-01"], format="ISO8601"),
    }
)  # fmt: skip
POLARS = pl.DataFrame(
    {
        **{name: FRAME[name].tolist() for name in "iufgb"},
        "n": [1, None, 3, None, 5, 2, 1, 0],
        "s": [None if one is None or one != one else one for one in FRAME["s"].tolist()],
        "t": [None if pd.isna(one) else one.to_pydatetime() for one in FRAME["t"]],
    },
    schema={"i": pl.Int64, "u": pl.UInt8, "f": pl.Float64, "g": pl.Float32, "b": pl.Boolean,
            "n": pl.Int64, "s": pl.String, "t": pl.Datetime("us")},
).with_columns(pl.col("f", "g").fill_nan(None))  # fmt: skip
KINDS = {"i": Kind.INTEGER, "u": Kind.INTEGER, "f": Kind.FLOAT64, "g": Kind.FLOAT32,
         "n": Kind.INTEGER, "s": Kind.TEXT, "b": Kind.BOOLEAN, "t": Kind.DATETIME}  # fmt: skip
COLUMNS = {
    name: Column(name=name, kind=kind, dtype=POLARS.schema[name], arrow="")
    for name, kind in KINDS.items()
}

_numbers = st.sampled_from(["0", "1", "2", "-2", "1.5", "0.1", "0.3", "2.0", "-0.0", "255"])
_texts = st.sampled_from(["'CH'", '"DE"', "''", '"it\'s"', "'é'"])
_times = st.sampled_from(["'2024-01-01'", "'2024-01-02 03:04:05'", "'2024-01-01T00:00'"])
_signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
_numeric = st.sampled_from(["i", "u", "f", "g", "n"])


def _compared(columns: Any, constants: Any, signs: Any = _signs) -> Any:
    straight = st.tuples(columns, signs, constants).map(" ".join)
    turned = st.tuples(constants, signs, columns).map(" ".join)
    return straight | turned


def _listed(columns: Any, constants: Any) -> Any:
    members = st.lists(constants, min_size=1, max_size=3).map(lambda one: f"[{', '.join(one)}]")
    return st.tuples(columns, st.sampled_from(["in", "not in"]), members).map(" ".join)


_simple = (
    _compared(_numeric, _numbers)
    | _compared(st.just("s"), _texts)
    | _compared(st.just("t"), _times)
    | st.sampled_from(["b == True", "b != False"])
    | _listed(st.sampled_from(["i", "u", "f", "n"]), _numbers)
    | _listed(st.just("s"), _texts)
    | st.tuples(st.sampled_from(list(KINDS)), st.sampled_from(["isnull", "notna"])).map(
        lambda pair: f"{pair[0]}.{pair[1]}()"
    )
)
_conditions = st.recursive(
    _simple,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        inner.map(lambda one: f"~({one})"),
        st.tuples(inner, st.sampled_from([" and ", " & "]), inner).map("".join),
        st.tuples(inner, st.sampled_from([" or ", " | "]), inner).map("".join),
        inner.map(lambda one: f"({one})"),
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(_conditions)
def test_a_condition_selects_what_pandas_and_polars_select(text: str) -> None:
    condition = parse(text, "pandas")
    # Only what the grammar above has generated is ever evaluated.
    expected = FRAME.query(text, engine="python").index.tolist()
    assert np.flatnonzero(condition.selects(FRAME)).tolist() == expected
    try:
        expression = condition.expression(COLUMNS)
    except Unclaimed:
        return  # see below
    chosen = POLARS.select(expression.alias("chosen"))["chosen"]
    assert chosen.null_count() == 0
    assert chosen.arg_true().to_list() == expected


@pytest.mark.parametrize(
    "text",
    [
        "t == '2024-01-01'", "t != '2024-01-01'", "t in ['2024-01-01']", "t == 5", "t > 'noon'",
        "s == 1", "s > 1", "s in [1]", "i == 'a'", "i in ['a']", "b == 1", "b > False",
        "i == True", "u > -1", "g in [0.1]", "missing == 1",
        "i == 9007199254740993",
    ],
)  # fmt: skip
def test_types_that_do_not_fit_are_left_to_pandas(text: str) -> None:
    with pytest.raises(Unclaimed):
        parse(text).expression(COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "i > 1", "u <= 255", "f != 1.5", "g < 0.3", "n >= 2.5", "s == 'CH'", "s < 'd'",
        "b == True", "t > '2024-01-01'", "t.isnull()", "i in [1, 2.5]", "s not in ['CH']",
        "not (i > 1 or s == 'CH') and b != True",
    ],
)  # fmt: skip
def test_types_that_fit_are_not_left_to_pandas(text: str) -> None:
    chosen = POLARS.with_row_index().filter(parse(text).expression(COLUMNS))["index"].to_list()
    assert chosen == FRAME.query(text, engine="python").index.tolist()
