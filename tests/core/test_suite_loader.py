"""Suite files: what is understood, what is refused, and what never runs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.suites.catalogue import CATALOGUE, arguments_of
from sluicegate.stages.validation.suites.documents import read_document
from sluicegate.stages.validation.suites.forbidden import ONLY_SQL
from sluicegate.stages.validation.suites.parse import examine_suite, parse_suite
from sluicegate.stages.validation.suites.words import explain, unknown_when
from tests.core.suite_cases import VALID
from tests.core.validation_cases import BETWEEN, NOT_NULL, REGEX, ask, suite_json

ROOT = Path(__file__).resolve().parents[2]


def refused(data: bytes, **options: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse_suite(data, **options)
    assert caught.value.next_step
    return caught.value


# ---------------------------------------------------------------- the catalogue


def test_the_catalogue_is_what_the_installed_release_says() -> None:
    place = ROOT / "scripts/gx_catalogue.py"
    spec = importlib.util.spec_from_file_location("gx_catalogue", place)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.MODULE.read_text() == script.module(), "run scripts/gx_catalogue.py --write"
    assert len(CATALOGUE) == 59
    assert set(VALID) == CATALOGUE


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_every_type_is_read_and_explained(kind: str) -> None:
    suite = parse_suite(suite_json(ask(kind, **VALID[kind])), sql=True)
    (one,) = suite.expectations
    assert one.kwargs == VALID[kind]
    assert one.sql is (kind in ONLY_SQL)
    text = explain(one)
    assert "\n" not in text
    assert kind not in text  # it says what it means, not what it is called
    assert "critical" in text
    assert unknown_when(one)


ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, 5.7, 1.0, 2**70, -0.0, 1e300,
    "", "x", "5", "yes", "any", "2024-01-01", "2024-13-01", "2024-01-01T10:00:00Z",
    "2024-01-01T25:00", "%Y", "%q", "(", "SELECT {", "SELECT * FROM {batch}", "pandas",
    [], ["a"], ["a", "b"], ["a", 1], [1, 2], [None], [["a", 1]], [["a", 1, 2]], {}, {"a": 1},
    {"quantiles": [0.1], "value_ranges": [[1, 2]]}, {"quantiles": [2], "value_ranges": [[1, 2]]},
    {"quantiles": [0.1], "value_ranges": [[2, 1]]}, {"quantiles": [0.1], "value_ranges": []},
    {"type": "nullity", "column": {"name": "a"}, "is_null": True},
]  # fmt: skip
"""Values that an argument may or may not take."""
ABSENT = object()
EXTRA = ("mostly", "row_condition", "condition_parser", "windows", "result_format",
         "catch_exceptions", "batch_id", "nonsense", "library_metadata")  # fmt: skip


def _mutated(kind: str, seen: Counter[Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for argument in sorted({*arguments_of(kind), *EXTRA}):
        # What many types have in common is tried on a few of them.
        seen[arguments_of(kind).get(argument, argument)] += 1
        if seen[arguments_of(kind).get(argument, argument)] > 3:
            continue
        for value in [*ODD, ABSENT]:
            kwargs = dict(VALID[kind])
            if value is ABSENT:
                kwargs.pop(argument, None)
            else:
                kwargs[argument] = value
            yield argument, value, kwargs


def _stricter(kind: str, argument: str, value: Any) -> bool:
    """Whether it is documented that this is refused although GX takes it as it is."""
    vacuous = value in (ABSENT, None, [], "")  # "for every data set"
    conversion = isinstance(value, bool | dict)  # numbers from booleans, parameters
    pattern = argument in ("regex", "regex_list")  # does not compile: raises on the data
    names = argument in ("column_list", "column_set")  # other than text
    return (
        vacuous
        or conversion
        or pattern
        or names
        or (argument == "mostly" and value == 0)
        or (argument == "row_condition" and isinstance(value, str))  # would be executed
        or (argument == "unexpected_rows_query" and "{batch}" not in value)
        or (argument == "quantile_ranges")
    )


def test_what_gx_refuses_is_refused_and_little_else() -> None:
    from great_expectations.expectations.registry import get_expectation_impl

    more_lenient, too_strict = [], []
    seen: Counter[Any] = Counter()
    for kind in sorted(CATALOGUE):
        impl = get_expectation_impl(kind)
        for argument, value, kwargs in _mutated(kind, seen):
            with warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")
                try:
                    taken = impl(**json.loads(json.dumps(kwargs)))
                except Exception:  # noqa: BLE001  whatever it raises, it refuses
                    taken = None
            suite = examine_suite(suite_json(ask(kind, **kwargs)), sql=True).suite
            if taken is None and suite is not None:
                more_lenient.append((kind, argument, value))
            kept = taken is not None and (
                value is ABSENT
                or json.dumps(getattr(taken, argument, None), default=str) == json.dumps(value)
            )
            if kept and suite is None and not _stricter(kind, argument, value):
                too_strict.append((kind, argument, value))
    assert more_lenient == []
    assert too_strict == []


def test_a_suite_is_checked_without_loading_anything_heavy() -> None:
    code = (
        "import sys\n"
        "from sluicegate.stages.validation.suites.parse import examine_suite\n"
        "from sluicegate.stages.validation.suites.words import explain\n"
        "data = sys.stdin.buffer.read()\n"
        "found = examine_suite(data)\n"
        "assert found.problems and 'min_valu' in found.problems[0].what, found\n"
        "assert 'to_be_between' in found.problems[1].next_step, found\n"
        "heavy = {'great_expectations', 'polars', 'pandas', 'numpy', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    data = suite_json(
        ask(BETWEEN, column="a", min_valu=1, max_value=2, row_condition="a > 1 and b.isnull()"),
        ask("expect_column_values_to_be_betwen", column="a"),
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_all_problems_are_listed_with_their_places() -> None:
    data = suite_json(
        ask(BETWEEN, column=7, min_value="lots", strictmin=True),
        ask("expect_nothing"),
        {"type": NOT_NULL, "kwargs": {"column": "a"}, "severity": "CRITICAL", "notes": 5},
        ask(NOT_NULL, column="a", id="one"),
        ask(NOT_NULL, column="a", id="one"),
        "no expectation",
    )
    problems = [str(one) for one in examine_suite(data).problems]
    found = [text.partition(": ")[2].partition("$.")[2].split(" ")[0] for text in problems]
    assert found == [
        "expectations[0].kwargs.strictmin",
        "expectations[0].kwargs.column",
        "expectations[0].kwargs.min_value",
        "expectations[1].type",
        "expectations[2].notes",
        "expectations[2].severity",
        "expectations[4].id",
        "expectations[5]",
    ]
    assert "did you mean 'strict_min'?" in problems[0]


def test_problems_are_bounded() -> None:
    examined = examine_suite(suite_json(*[ask("nonsense")] * 5000))
    assert examined.suite is None
    assert len(examined.problems) == 100


@pytest.mark.parametrize(
    ("kind", "kwargs", "names"),
    [
        (BETWEEN, {"column": "a", "min_value": 1, "maxvalue": 2}, "max_value"),
        (REGEX, {"column": "a", "regexp": "a", "regex": "a"}, "regex"),
        ("expect_compound_columns_to_be_unique", {"columnlist": ["a", "b"]}, "column_list"),
    ],
)
def test_near_misses_are_named(kind: str, kwargs: Any, names: str) -> None:
    assert f"did you mean '{names}'?" in refused(suite_json(ask(kind, **kwargs))).next_step


# ---------------------------------------------------------------- YAML


YAML_SUITE = """\
name: orders
expectations:
  - type: expect_column_values_to_be_between
    severity: warning
    kwargs:
      column: age
      min_value: 0
      max_value: 2030-01-31
      mostly: 0.99
      row_condition: country in ["CH", "DE"]
  - type: expect_column_values_to_be_in_set
    kwargs: {column: code, value_set: [a, "1", 1, 1.5, true, null]}
meta: null
"""


def test_yaml_means_the_same_as_json() -> None:
    suite = parse_suite(YAML_SUITE.encode())
    assert [dict(one.kwargs) for one in suite.expectations] == [
        {
            "column": "age",
            "min_value": 0,
            "max_value": "2030-01-31",
            "mostly": 0.99,
            "row_condition": 'country in ["CH", "DE"]',
        },
        {"column": "code", "value_set": ["a", "1", 1, 1.5, True, None]},
    ]
    again = parse_suite(json.dumps(read_document(YAML_SUITE.encode()).value).encode())
    assert [one.kwargs for one in again.expectations] == [one.kwargs for one in suite.expectations]


def test_a_brace_begins_json_unless_the_name_says_yaml() -> None:
    flow = b"{name: s, expectations: [{type: expect_column_to_exist, kwargs: {column: a}}]}"
    assert parse_suite(flow, name="suite.yml").name == "s"
    assert "not JSON" in str(refused(flow, name="suite.json"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("min_value: 0", "min_valu: 0"), "line 7, column 7"),
        (("mostly: 0.99", "mostly: 0"), "line 9, column 7"),
        (("type: expect_column_values_to_be_in_set", "type: expect_x"), "line 11, column 5"),
        (("min_value: 0", "column: b"), "line 7, column 7: it holds a key that occurs twice"),
        (("min_value: 0", "min_value: &a 0"), "an anchor"),
        (("min_value: 0", "min_value: *a"), "an alias"),
        (("min_value: 0", "min_value: !!float 0"), "a tag"),
        (("min_value: 0", "min_value: !!python/object/apply:os.system [id]"), "a tag"),
        (("min_value: 0", "<<: {min_value: 0}"), "merges mappings"),
        (("min_value: 0", "? [a]\n      : 1"), "a key that is not text"),
        (("min_value: 0", "1: 0"), "put it in quotes"),
        (("min_value: 0", "min_value: 0x10"), "different values"),
        (("min_value: 0", "min_value: 010"), "different values"),
        (("min_value: 0", "min_value: 1:30"), "different values"),
        (("min_value: 0", "min_value: .inf"), "different values"),
        (("min_value: 0", "strict_min: yes"), "different values"),
        (("min_value: 0", "min_value: 1e999"), "beyond the range"),
        (("meta: null", "meta: null\n---\nname: b"), "several YAML documents"),
        (("meta: null", "meta: ["), "neither JSON nor YAML at line"),
        (("name: orders", "name: \x07"), "neither JSON nor YAML at line 1"),
    ],
)  # fmt: skip
def test_yaml_that_says_more_or_less_than_json_is_refused_with_its_place(
    change: tuple[str, str], says: str
) -> None:
    assert says in str(refused(YAML_SUITE.replace(*change, 1).encode()))


@pytest.mark.parametrize("data", [b"", b"   ", b"# only a comment", b"---\n"])
def test_nothing_is_no_suite(data: bytes) -> None:
    refused(data)


# ---------------------------------------------------------------- SQL


SQL = [
    ask("unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch} WHERE a < 0"),
    ask("expect_column_values_to_match_like_pattern", column="a", like_pattern="x%"),
    ask("expect_table_row_count_to_equal_other_table", other_table_name="b"),
]


@pytest.mark.parametrize("entry", SQL, ids=lambda one: one["type"])
def test_sql_needs_the_consent_of_the_policy_and_is_marked(entry: Any) -> None:
    assert "can be asked of files" in str(refused(suite_json(entry)))
    marked = parse_suite(suite_json(entry, ask(NOT_NULL, column="a")), sql=True).expectations
    assert [one.sql for one in marked] == [True, False]


@pytest.mark.parametrize(
    "query", ["SELECT 1", "SELECT * FROM {batch} {x}", "{batch!r}", "{batch.__class__}", "{"]
)
def test_sql_about_other_data_is_refused_even_with_consent(query: str) -> None:
    entry = ask("unexpected_rows_expectation", unexpected_rows_query=query)
    assert "{batch}" in str(refused(suite_json(entry), sql=True))


# ---------------------------------------------------------------- types of plug-ins


def test_a_type_of_a_plug_in_is_known_once_it_is_registered() -> None:
    entry = ask("expect_column_plug_in_of_this_test", column="a")
    error = refused(suite_json(entry))
    assert "import the module" in error.next_step
    import great_expectations.expectations as gxe

    class ExpectColumnPlugInOfThisTest(gxe.ExpectColumnValuesToNotBeNull):
        """A plug-in."""

    assert parse_suite(suite_json(entry)).expectations[0].type == entry["type"]


def test_security_expectations_are_checked_by_their_own_rules() -> None:
    kind = "expect_column_values_to_be_in_robust_range"
    good = ask(kind, column="a", low=0, high=9, margin=0.5)
    assert kind not in explain(parse_suite(suite_json(good)).expectations[0])
    bad = ask(kind, column="a", low=0, high=9, margn=0.5)
    assert "margn" in str(refused(suite_json(bad)))


# ---------------------------------------------------------------- nothing runs


CANARY = "SLUICEGATE_CANARY"


@pytest.mark.parametrize("parser", ["absent", None, "pandas", "spark", "great_expectations"])
@pytest.mark.parametrize(
    "condition",
    [
        '@pd.io.common.os.system("touch {canary}")==0',
        '@data.to_pickle("{canary}")==0',
        'age.to_csv("{canary}")==0',
        'col("age").to_csv("{canary}")',
        '`age` == 1 or @pd.io.common.os.system("touch {canary}")==0',
        '`age` == 1 or @pd.io.common.os.system("touch {canary}")==0 or `age`',
        '__import__("os").system("touch {canary}")',
        '(lambda: open("{canary}", "w"))()',
        "age == age.__class__",
        'age in open("{canary}", "w")',
        {"type": "pass_through", "pass_through_filter": '@data.to_pickle("{canary}")==0'},
        {"type": "or", "conditions": [
            {"type": "pass_through", "pass_through_filter": '@data.to_pickle("{canary}")==0'}]},
        {"type": "and", "conditions": ['@data.to_pickle("{canary}")==0']},
        {"type": "nullity", "is_null": False,
         "column": {"name": 'a` == 1 or @data.to_pickle("{canary}")==0 or `a'}},
        {"type": "comparison", "operator": "==", "parameter": 1,
         "column": {"name": 'a` == 1 or @data.to_pickle("{canary}")==0 or `a'}},
    ],
)  # fmt: skip
def test_code_in_a_condition_is_refused_and_does_not_run(
    condition: Any, parser: str | None, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    text = json.dumps(condition).replace("{canary}", str(canary))
    extra = {} if parser == "absent" else {"condition_parser": parser}
    entry = ask(NOT_NULL, column="a", row_condition=json.loads(text), **extra)
    assert "row_condition" in str(refused(suite_json(entry)))
    assert not canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"!!python/object/apply:os.system ['touch {canary}']",
        b"name: !!python/object/new:os.system ['touch {canary}']\nexpectations: []",
        b"name: s\nexpectations:\n- !!python/name:os.system",
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    ],
)
def test_yaml_builds_no_objects(data: bytes, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    refused(data.replace(b"{canary}", str(canary).encode()))
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["expect_column_values_to_not_be_nul", "x" * 100_000, "", 5, None])
def test_f1_no_expectation_is_dropped(kind: Any) -> None:
    data = suite_json(ask(NOT_NULL, column="a"), {"type": kind, "kwargs": {"column": "a"}})
    assert "$.expectations[1].type" in str(refused(data))


@pytest.mark.parametrize("mostly", [0, -0.0, -1, 1.01, True, "1", None, [], {}])
def test_f7_a_mostly_that_lets_everything_pass_is_refused(mostly: Any) -> None:
    assert "kwargs.mostly" in str(refused(suite_json(ask(NOT_NULL, column="a", mostly=mostly))))


@pytest.mark.parametrize(
    "data",
    [
        suite_json(ask(NOT_NULL, column="a\ud800")),
        suite_json(ask(BETWEEN, column="a", max_value=10**200)),
        suite_json(ask(NOT_NULL, column="a")).replace(b'"a"', b'"a", "column": "b"'),
        suite_json(ask(REGEX, column="a", regex="(" * 500)),
        suite_json(ask(REGEX, column="a", regex="a" * 20_000)),
        b'{"name": "s", "expectations": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_values_that_would_hurt_later_are_refused(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "a", "name": "b"}', "is not plain JSON: a key occurs twice in one object"),
        ('{"a": NaN}', "is not plain JSON: NaN is not JSON"),
        ('{"a": 1e999}', "is not plain JSON: a number is not finite"),
        ('{"a": ', "is not JSON at line 1"),
    ],
)
def test_what_is_wrong_with_the_json_is_said_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_suite(text.encode())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "kwargs", "effect"),
    [
        ("expect_column_values_to_be_unique", {"column": "a"}, "rows are set aside"),
        ("expect_column_mean_to_be_between", {"column": "a", "min_value": 0}, "blocks, as it"),
        ("expect_table_row_count_to_equal", {"value": 5}, "blocks, as it"),
        (
            "expect_column_categories_to_be_frozen",
            {"column": "a", "categories": ["b"]},
            "set aside",
        ),
        (
            "expect_column_label_shares_to_match",
            {"column": "a", "shares": {"b": 1.0}, "max_distance": 0.1},
            "blocks, as it",
        ),
    ],
)
def test_what_a_warning_leads_to_is_said(kind, kwargs, effect):
    entry = {"type": kind, "kwargs": kwargs, "severity": "warning"}
    suite = parse_suite(json.dumps({"name": "s", "expectations": [entry]}).encode())
    assert effect in explain(suite.expectations[0])
