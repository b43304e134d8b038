"""Learning a suite: clean data passes it, and a few planted rows do not write it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.cli.suite_init import add_init
from sluicegate.cli.terminal import report_failure
from sluicegate.errors import ConfigurationError, SluicegateError, SubjectError
from sluicegate.model import Severity
from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.learning import Wishes, learn_suite, suite_json, suite_yaml
from sluicegate.stages.validation.learning.entries import outward
from sluicegate.stages.validation.learning.samples import Domain, Repeats, RowSample
from sluicegate.stages.validation.learning.tails import robust_bounds
from sluicegate.stages.validation.suites.parse import parse_suite
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

RANGE = "expect_column_values_to_be_in_robust_range"
BETWEEN = "expect_column_values_to_be_between"
ROWS = 2000


def table(rows=ROWS, seed=1):
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 0.7, rows)
    income[rng.random(rows) < 0.05] = np.nan
    return pd.DataFrame(
        {
            "user_id": np.arange(rows),
            "age": np.clip(rng.normal(40, 12, rows).round(), 18, 90).astype(int),
            "income": income,
            "city": rng.choice(["rome", "oslo", "bonn"], rows, p=[0.6, 0.3, 0.1]),
            "label": rng.choice([0, 1], rows, p=[0.7, 0.3]),
            "seen": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(rng.integers(0, 86400 * 60, rows), unit="s"),
            "note": [
                " ".join(rng.choice(["alpha", "beta", "gamma"], 4)) + f" {n}" for n in range(rows)
            ],
            "day": [f"2024-0{m}-1{d}" for m, d in rng.integers(1, 9, (rows, 2))],
        }
    )


def learn(folder, *frames, **wishes):
    snapshots = []
    for at, frame in enumerate(frames):
        path = folder / f"reference{at}.parquet"
        frame.to_parquet(path)
        snapshots.append(take_snapshot(SubjectUri.parse(path)))
    return learn_suite(snapshots, Wishes(**wishes))


def find(suite, kind, column=None):
    return [
        one
        for one in suite["expectations"]
        if one["type"] == kind and column in (None, one["kwargs"].get("column"))
    ]


def failing(suite, frame):
    """Types of security expectations that are not met by a frame."""
    return [
        (one["type"], one["kwargs"].get("column"))
        for one in suite["expectations"]
        if one["type"] in SPECS
        and SPECS[one["type"]].judge_frame(frame, one["kwargs"]).success is not True
    ]


def main(argv):
    parser = argparse.ArgumentParser()
    add_init(parser.add_subparsers())
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except SluicegateError as error:
        return report_failure(error, as_json=args.json)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("learned"), table(), label="label")


def test_the_strict_loader_reads_what_was_learned(learned):
    suite = parse_suite(suite_json(learned))
    assert len(suite.expectations) == len(learned["expectations"])
    again = parse_suite(suite_yaml(learned), name="suite.yaml")
    assert [dict(one.kwargs) for one in again.expectations] == [
        dict(one.kwargs) for one in suite.expectations
    ]


def test_each_expectation_says_why(learned):
    for one in learned["expectations"]:
        assert one["meta"]["sluicegate"]["why"].endswith(".")
    assert b"  # The reference has these 8 columns" in suite_yaml(learned)
    ids = [one["id"] for one in learned["expectations"]]
    assert len(set(ids)) == len(ids)


def test_what_is_asked_of_each_kind_of_column(learned):
    (schema,) = find(learned, "expect_table_schema_to_equal")
    assert [one["name"] for one in schema["kwargs"]["columns"]] == list(table(5).columns)
    assert find(learned, "expect_column_values_to_be_unique", "user_id")
    assert not find(learned, RANGE, "user_id")
    (missing,) = find(learned, "expect_column_values_to_not_be_null", "income")
    assert 0.85 < missing["kwargs"]["mostly"] < 0.95
    (present,) = find(learned, "expect_column_values_to_not_be_null", "age")
    assert "mostly" not in present["kwargs"]
    (cities,) = find(learned, "expect_column_categories_to_be_frozen", "city")
    assert cities["kwargs"]["categories"] == ["bonn", "oslo", "rome"]
    (shares,) = find(learned, "expect_column_label_shares_to_match", "label")
    assert shares["kwargs"]["shares"]["0"] == pytest.approx(0.7, abs=0.05)
    (window,) = find(learned, "expect_column_timestamps_to_be_within", "seen")
    assert window["kwargs"]["not_after"] == "now"
    (shape,) = find(learned, "expect_column_values_to_match_regex", "day")
    assert "[0-9]{4}-[0-9]{2}-[0-9]{2}" in shape["kwargs"]["regex"]
    assert find(learned, "expect_column_value_lengths_to_be_between", "note")
    assert find(learned, "expect_column_values_to_have_no_hidden_characters", "note")
    (rows,) = find(learned, "expect_table_row_count_to_be_between")
    assert rows["kwargs"] == {"min_value": 20}
    assert find(learned, "expect_column_psi_to_be_less_than", "income")
    assert find(learned, "expect_column_ks_statistic_to_be_less_than", "income")


def test_clean_batches_of_any_size_pass(learned):
    for seed, rows in ((2, 2000), (3, 200), (4, 700), (5, 5000)):
        assert failing(learned, table(rows, seed)) == [], (seed, rows)


@pytest.mark.parametrize("share", [0.001, 0.005, 0.01])
def test_planted_ages_do_not_widen_the_bounds(tmp_path, share):
    frame = table()
    planted = np.random.default_rng(9).choice(ROWS, max(round(share * ROWS), 2), replace=False)
    frame.loc[planted[::2], "age"] = -3
    frame.loc[planted[1::2], "age"] = 250
    suite = learn(tmp_path, frame)
    (low, high) = (0, 0)
    (entry,) = find(suite, RANGE, "age")
    kwargs = entry["kwargs"]
    room = kwargs["margin"] * (kwargs["high"] - kwargs["low"])
    low, high = kwargs["low"] - room, kwargs["high"] + room
    for one in find(suite, BETWEEN, "age"):
        low = max(low, one["kwargs"].get("min_value", low))
        high = min(high, one["kwargs"].get("max_value", high))
    assert -3 < low <= 18
    assert 90 <= high < 250
    assert "left out" in entry["meta"]["sluicegate"]["why"]


SHAPES = {
    "normal": lambda rng, n: rng.normal(10, 2, n),
    "log-normal": lambda rng, n: rng.lognormal(3, 1, n),
    "exponential": lambda rng, n: rng.exponential(3, n),
    "counts": lambda rng, n: rng.poisson(3, n).astype(float),
    "flags": lambda rng, n: (rng.random(n) < 0.3).astype(float),
    "two humps": lambda rng, n: np.where(
        rng.random(n) < 0.4, rng.normal(100, 3, n), rng.normal(0, 3, n)
    ),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.lognormal(2, 1, n)),
    "constant": lambda rng, n: np.full(n, 7.0),
    "season": lambda rng, n: 15 * np.sin(np.linspace(0, 40, n)) + rng.normal(0, 2, n),
    "power law": lambda rng, n: 1 + rng.pareto(3, n),
    "Student's t": lambda rng, n: rng.standard_t(4, n),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.001, 0.01])
def test_bounds_hold_clean_values_and_no_planted_ones(shape, share):
    rng = np.random.default_rng(11)
    clean = SHAPES[shape](rng, 4000)
    count = max(round(share * len(clean)), 1)
    scale = 100 * np.abs(clean).max() + 1000
    absurd = rng.uniform(1, 30, count) * scale
    for planted in (np.full(count, scale), absurd, -absurd, np.full(count, -scale)):
        values = clean.copy()
        values[rng.choice(len(values), count, replace=False)] = planted.round()
        found = robust_bounds(values, integers=bool((values == values.round()).all()))
        assert found.trimmed >= count
        assert not ((planted.round() >= found.below) & (planted.round() <= found.above)).any()
        fresh = SHAPES[shape](rng, 4000)
        assert ((fresh < found.below) | (fresh > found.above)).sum() == 0


def test_a_second_hump_is_part_of_the_data():
    rng = np.random.default_rng(3)
    values = np.where(rng.random(5000) < 0.03, rng.normal(100, 1, 5000), rng.normal(0, 1, 5000))
    found = robust_bounds(values, integers=False)
    assert found.trimmed == 0
    assert found.above > values.max()


def test_a_small_hump_is_more_than_anybody_planted():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(0, 1, 4900), rng.normal(20, 1, 100)])
    assert robust_bounds(values, integers=False).trimmed == 0


def test_flags_end_where_they_end():
    values = np.array([0.0, 1.0] * 500 + [7.0] * 5)
    found = robust_bounds(values, integers=True)
    assert (found.below, found.above, found.trimmed_high) == (0, 1, 5)
    counts = np.array([0.0] * 800 + [1.0] * 180 + [2.0] * 14 + [3.0])
    assert robust_bounds(counts, integers=True).above >= 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=200)
)
def test_any_numbers_have_finite_ordered_bounds(values):
    found = robust_bounds(np.array(values), integers=False)
    assert found.below <= found.low <= found.high <= found.above
    assert np.isfinite([found.below, found.above]).all()
    assert 0 <= found.trimmed < len(values)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, width=64), st.booleans())
def test_rounding_never_tightens_a_bound(value, up):
    rounded = outward(value, up=up)
    assert rounded >= value if up else rounded <= value
    assert rounded == pytest.approx(value, rel=2e-5, abs=1e-300)


def test_a_category_that_comes_once_is_left_out_and_said(tmp_path):
    frame = table()
    frame.loc[5, "city"] = "trojan"
    (entry,) = find(learn(tmp_path, frame), "expect_column_categories_to_be_frozen", "city")
    assert "trojan" not in json.dumps(entry)
    assert "came only once" in entry["meta"]["sluicegate"]["why"]
    assert entry["kwargs"]["mostly"] > 0.95


def test_many_different_words_are_no_categories(tmp_path):
    frame = pd.DataFrame({"w": [f"word {n}" for n in range(1000)]})
    assert not find(learn(tmp_path, frame), "expect_column_categories_to_be_frozen")


def test_stray_texts_do_not_undo_a_telling_shape(tmp_path):
    frame = table()
    frame.loc[:9, "day"] = "not a day"
    (entry,) = find(learn(tmp_path, frame), "expect_column_values_to_match_regex", "day")
    assert "mostly" not in entry["kwargs"]
    assert "10 (0.5 %)" in entry["meta"]["sluicegate"]["why"]


def test_a_rule_that_trusted_texts_break_is_not_written(tmp_path):
    frame = table()
    frame["note"] = "=SUM(A1) " + frame["note"]
    kind = "expect_column_values_to_have_no_spreadsheet_formulas"
    assert not find(learn(tmp_path, frame), kind)
    few = table()
    few.loc[:3, "note"] = '=HYPERLINK("http://example.org","x")'
    (entry,) = find(learn(tmp_path, few), kind)
    assert "4 of 2,000" in entry["meta"]["sluicegate"]["why"]


def test_keys_that_the_user_names(tmp_path):
    frame = table()
    suite = learn(tmp_path, frame, keys=("city", "note"))
    (key,) = find(suite, "expect_compound_columns_to_be_unique")
    assert key["kwargs"] == {"column_list": ["city", "note"]}
    with pytest.raises(ConfigurationError, match="no column 'absent'"):
        learn(tmp_path, frame, keys=("absent",))


def test_numbers_that_happen_to_differ_are_no_key(tmp_path):
    frame = pd.DataFrame({"amount": np.random.default_rng(1).permutation(10**6)[:500], "x": 1})
    assert not find(learn(tmp_path, frame), "expect_column_values_to_be_unique")


def test_several_references_teach_how_much_they_differ(tmp_path):
    rng = np.random.default_rng(5)
    first = pd.DataFrame({"x": rng.normal(0, 1, 2000), "n": 1})
    second = pd.DataFrame({"x": rng.normal(1.2, 1, 2000), "n": 1})
    psi = "expect_column_psi_to_be_less_than"
    (alone,) = find(learn(tmp_path, first), psi, "x")
    (both,) = find(learn(tmp_path, first, second), psi, "x")
    assert alone["kwargs"]["threshold"] < 0.25 < both["kwargs"]["threshold"]
    assert failing(learn(tmp_path, first, second), second) == []


def test_references_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(SubjectError, match="other columns"):
        learn(tmp_path, pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}))
    with pytest.raises(SubjectError, match="was int64"):
        learn(tmp_path, pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]}))


def test_the_same_bytes_give_the_same_suite(tmp_path, learned):
    assert suite_json(learn(tmp_path, table(), label="label")) == suite_json(learned)


def test_a_severity_for_all(tmp_path):
    suite = learn(tmp_path, table(300), severity=Severity.INFO)
    assert {one["severity"] for one in suite["expectations"]} == {"info"}


def test_plain_suites_use_types_of_great_expectations_only(tmp_path):
    suite = learn(tmp_path, table(), plain=True, label="label")
    assert not {one["type"] for one in suite["expectations"]} & set(SPECS)
    assert find(suite, BETWEEN, "age")
    assert find(suite, "expect_column_kl_divergence_to_be_less_than", "label")


@pytest.mark.slow
def test_great_expectations_by_itself_runs_what_was_learned(tmp_path, learned):
    (tmp_path / "own.json").write_bytes(suite_json(learned))
    plain = learn(tmp_path, table(), plain=True, label="label")
    (tmp_path / "plain.json").write_bytes(suite_json(plain))
    table(400, 6).to_parquet(tmp_path / "batch.parquet")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GX_ALONE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    )
    for name, written, known, answered, failed in map(json.loads, done.stdout.splitlines()):
        assert written == known == answered, name
        assert failed == [], name


GX_ALONE = """
import json, logging, sys
logging.disable(logging.CRITICAL)
import great_expectations as gx, pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from pathlib import Path
import sluicegate.expectations
folder = Path(sys.argv[1])
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = ProgressBarsConfig(globally=False)
source = context.data_sources.add_pandas("p")
definition = source.add_dataframe_asset("a").add_batch_definition_whole_dataframe("w")
batch = definition.get_batch({"dataframe": pd.read_parquet(folder / "batch.parquet")})
for name in ("own", "plain"):
    entries = json.loads((folder / f"{name}.json").read_text())["expectations"]
    suite = gx.ExpectationSuite(name=name, expectations=entries)
    result = batch.validate(suite)
    failed = [one.expectation_config.type for one in result.results if not one.success]
    print(json.dumps([name, len(entries), len(suite.expectations), len(result.results), failed]))
"""


def test_the_command_writes_once(tmp_path, capsys):
    table(300).to_csv(tmp_path / "data.csv", index=False)
    out = tmp_path / "suite.yaml"
    argv = ["init", str(tmp_path / "data.csv"), "--out", str(out), "--yaml", "--label", "label"]
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 300
    assert parse_suite(out.read_bytes(), name="suite.yaml").name == "suite"
    assert main(argv) == 2
    assert main([*argv, "--force"]) == 0
    assert "expectations ->" in capsys.readouterr().out


def test_a_sample_is_the_same_whatever_the_batches():
    def drawn(sizes):
        sample, start = RowSample(3, most=50), 0
        for size in sizes:
            sample.add(start, {"x": np.arange(start, start + size, dtype=float)}, size)
            start += size
        return sample.columns["x"].tolist()

    assert drawn([1000]) == drawn([1, 499, 300, 200])
    assert len(set(drawn([1000]))) == 50


def test_repeats_are_seen_however_far_apart():
    hashes = np.random.default_rng(1).integers(0, 2**63, 5000, dtype=np.uint64)
    repeats = Repeats(most=1000)
    repeats.add(hashes)
    assert repeats.repeated == 0
    repeats.add(np.sort(hashes)[:10])
    assert (repeats.extra, repeats.repeated) == (10, 20)


def test_a_domain_forgets_what_came_once_before_it_gives_up():
    domain = Domain()
    domain.add({"often": 100} | {f"once {n}": 1 for n in range(10_001)})
    assert (dict(domain.counts), domain.forgotten, domain.closed) == ({"often": 100}, 10_001, True)
    domain.add({"x" * 300: 1})
    assert not domain.closed
