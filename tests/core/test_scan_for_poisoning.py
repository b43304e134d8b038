"""ScanForPoisoning: clean data passes, attacks are caught, near misses are left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sluicegate.canonical import canonical_json
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.model import Check, Outcome, Report, Severity
from sluicegate.stages.base import Context, Stage, configuration, stage_fields
from sluicegate.stages.poisoning import ScanForPoisoning
from sluicegate.stages.poisoning.columns import Features, read_features, require_columns
from sluicegate.stages.poisoning.crossfit import consensus, reproducible, standardised
from sluicegate.stages.poisoning.data import Dataset, arrange
from sluicegate.stages.poisoning.discriminant import Discriminants
from sluicegate.stages.poisoning.issues import label_issues, probability_fault
from sluicegate.stages.poisoning.labels import Labels, label_problems, read_labels
from sluicegate.stages.poisoning.triggers import mine
from sluicegate.storage.base import no_progress
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.core.poisoning_attacks import (
    BIG_PATCH,
    PATCH,
    blend,
    bundled,
    digits,
    flip_labels,
    flip_pair,
    mixtures,
    plant_trigger,
    save,
    trigger_in_one_class,
)

STAGE = ScanForPoisoning(label="label")
QUICK = ScanForPoisoning(label="label", folds=2)
ISSUES = "poisoning.label_issues"
TRIGGERS = "poisoning.trigger_items"
EXPECTED = "poisoning.labels_expected"


def scan(
    frame: pd.DataFrame,
    folder: Path,
    stage: ScanForPoisoning = STAGE,
    *,
    name: str = "rows.parquet",
    samples: bool = False,
) -> Report:
    return stage.run(save(frame, folder / name), Context(samples=samples))


def check(report: Report, identifier: str) -> Check:
    return next(one for one in report.checks if one.id == identifier)


def flagged(report: Report, identifier: str) -> set[int]:
    findings = check(report, identifier).findings
    return {row.ordinal for finding in findings for row in finding.rows}


def dataset(frame: pd.DataFrame, *, seed: int = 0) -> Dataset:
    features = read_features(frame, [name for name in frame.columns if name != "label"])
    labels = read_labels(frame["label"], "label")
    return arrange(features, labels, np.ones(len(frame), dtype=bool), folds=5, seed=seed)


def mined(frame: pd.DataFrame) -> list[tuple[set[str], set[int]]]:
    """Return each trigger's columns and rows, by the second channel alone."""
    data = dataset(frame)
    with reproducible():
        mining = mine(data, seed=0, progress=no_progress)
    return [
        (
            {data.features[item.feature] for item in trigger.items},
            set(data.positions[trigger.rows].tolist()),
        )
        for trigger in mining.triggers
    ]


def suspects(frame: pd.DataFrame) -> set[int]:
    """Return the rows that the first channel alone flags."""
    data = dataset(frame)
    with reproducible():
        fitted = consensus(data, seed=0, progress=no_progress)
    channel = label_issues(fitted.second, data.y, data.classes, budget=0.007, first=fitted.first)
    return set(data.positions[channel.flagged].tolist())


def small_frame(rows: int = 90, seed: int = 0) -> pd.DataFrame:
    """Three well separated classes, quick to scan."""
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    x = generator.normal(size=(rows, 4)) + 3.0 * np.eye(4)[y]
    return pd.DataFrame(x.round(3), columns=list("abcd")).assign(label=y)


# --- clean data -----------------------------------------------------------------------


def test_clean_digits_show_no_trigger_and_hardly_a_label_issue(tmp_path):
    report = scan(digits(), tmp_path)
    assert check(report, TRIGGERS).outcome is Outcome.PASSED
    assert len(flagged(report, ISSUES)) <= 0.015 * 1797
    assert report.metrics["rows"] == report.metrics["rows_examined"] == 1797
    assert report.metrics["classes"] == 10
    assert report.metrics["accuracy"] > 0.95
    assert report.metrics["trigger_rows"] == 0
    assert report.metrics["features_constant"] == 3


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris"])
def test_small_clean_data_sets_are_left_alone(name, tmp_path):
    frame = bundled(name)
    report = scan(frame, tmp_path)
    assert check(report, TRIGGERS).outcome is Outcome.PASSED
    assert len(flagged(report, ISSUES)) <= 0.015 * len(frame)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_overlapping_clusters_have_no_triggers(classes):
    assert mined(mixtures(classes=classes, seed=classes)) == []


def test_a_clean_small_table_passes_every_check(tmp_path):
    stage = ScanForPoisoning(label="label", expected_labels=("0", "1", "2"))
    report = scan(small_frame(), tmp_path, stage)
    assert [(one.id, one.outcome) for one in report.checks] == [
        (EXPECTED, Outcome.PASSED),
        (ISSUES, Outcome.PASSED),
        ("poisoning.duplicates", Outcome.PASSED),
        ("poisoning.outliers", Outcome.PASSED),
        (TRIGGERS, Outcome.PASSED),
    ]
    assert [one.severity for one in report.checks] == [Severity.CRITICAL, *[Severity.WARNING] * 4]
    assert report.tables == {"label_issues": (), "triggers": ()}


# --- wrong labels ---------------------------------------------------------------------


def test_flipped_labels_are_found():
    attack = flip_labels(digits(), 0.05)
    found = suspects(attack.frame)
    assert attack.recall(found) >= 0.85
    assert attack.false_alarms(found) <= 0.015


def test_targeted_flips_are_found():
    attack = flip_pair(digits(), given=4, wanted=9, count=45)
    found = suspects(attack.frame)
    assert attack.recall(found) >= 0.5
    assert attack.false_alarms(found) <= 0.015


def test_the_classes_of_wrong_labels_are_named(tmp_path):
    attack = flip_pair(small_frame(180), given=1, wanted=2, count=4)
    report = scan(attack.frame, tmp_path)
    assert attack.recall(flagged(report, ISSUES)) >= 0.75
    worst = check(report, ISSUES).findings[0].evidence
    assert (worst["given"], worst["suggested"]) == ("2", "1")
    assert worst["count"] == report.tables["label_issues"][0]["rows"]
    assert worst["worst_margins"] == sorted(worst["worst_margins"], reverse=True)


def test_copies_of_a_wrongly_labelled_row_cannot_vouch_for_each_other(tmp_path):
    frame = small_frame()
    copies = pd.concat([frame[frame["label"] == 0].iloc[[0]]] * 8).assign(label=1)
    report = scan(pd.concat([frame, copies], ignore_index=True), tmp_path)
    assert set(range(90, 98)) <= flagged(report, ISSUES)


# --- triggers -------------------------------------------------------------------------


def test_a_backdoor_patch_in_one_percent_of_rows_is_named_pixel_by_pixel(tmp_path):
    attack = plant_trigger(digits(), PATCH, 16.0, 0, 18)
    report = scan(attack.frame, tmp_path, samples=True)
    assert flagged(report, TRIGGERS) == attack.rows
    (finding,) = check(report, TRIGGERS).findings
    assert finding.evidence["features"] == list(PATCH)
    assert finding.evidence["values"] == dict.fromkeys(PATCH, 16.0)
    assert finding.evidence["label"] == "0"
    assert finding.evidence["count"] == 18
    assert finding.evidence["z"] > 15
    assert [row["feature"] for row in report.tables["triggers"]] == list(PATCH)
    assert {row["value"] for row in report.tables["triggers"]} == {16.0}


@pytest.mark.parametrize(("patch", "count"), [(PATCH, 40), (BIG_PATCH, 90)])
def test_a_trigger_cannot_hide_behind_its_own_size(patch, count):
    attack = plant_trigger(digits(), patch, 16.0, 0, count, seed=3)
    assert mined(attack.frame) == [(set(patch), set(attack.rows))]


def test_a_usual_value_of_a_continuous_column_is_a_trigger_too():
    frame = bundled("breast_cancer")
    attack = plant_trigger(frame, ("f15",), float(frame["f15"].median()), 0, 18)
    ((columns, rows),) = mined(attack.frame)
    assert columns == {"f15"}
    assert attack.recall(rows) >= 0.95


def test_a_gap_in_a_column_is_a_trigger_too():
    attack = plant_trigger(bundled("wine"), ("f6",), float("nan"), 0, 18)
    ((columns, rows),) = mined(attack.frame)
    assert columns == {"f6"}
    assert attack.recall(rows) >= 0.95


def test_the_policy_decides_whether_values_are_told(tmp_path):
    frame = with_probabilities(bundled("iris"))
    attack = plant_trigger(frame, ("f2",), 4.354321, 0, 18)
    silent = canonical_json(scan(attack.frame, tmp_path, READY).to_json())
    told = canonical_json(scan(attack.frame, tmp_path, READY, samples=True).to_json())
    assert b"4.354321" in told
    assert b"4.354" not in silent
    assert b"redacted" in silent


def test_candidates_beyond_the_bound_leave_an_unknown_and_never_a_pass(tmp_path, monkeypatch):
    from sluicegate.stages.poisoning import triggers

    frame = with_probabilities(bundled("iris"))
    attack = plant_trigger(frame, ("f2",), 4.35, 0, 18)
    monkeypatch.setattr(triggers, "MAX_CONFIRMED", 0)
    answer = check(scan(attack.frame, tmp_path, READY), TRIGGERS)
    assert answer.outcome is Outcome.UNKNOWN
    assert "more than can be confirmed" in answer.reason


def test_values_that_their_class_explains_are_no_triggers():
    # A code that every row of a class has, and other columns know the class as well.
    frame = small_frame(600)
    coded = frame.assign(code=np.where(frame["label"] == 1, np.arange(600) % 4, 9))
    assert mined(coded) == []


def test_a_pattern_blended_into_whole_images_is_found():
    attack = blend(digits(), 6, 54)
    triggers = mined(attack.frame)
    assert triggers
    found = set().union(*(rows for _, rows in triggers))
    assert attack.recall(found) >= 0.8
    assert attack.false_alarms(found) <= 0.002


def test_a_trigger_on_rows_of_one_class_is_found():
    attack = trigger_in_one_class(digits(), PATCH, 16.0, 7, 2, 27)
    ((columns, rows),) = mined(attack.frame)
    assert columns >= set(PATCH)  # values that this class shares come along
    assert attack.recall(rows) >= 0.95


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_values_of_a_column_that_adds_up_are_no_trigger(seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(3000, 6))
    group = generator.integers(0, 12, 3000)
    total = x[:, 0] + x[:, 1] + 1.5 * np.isin(group, (3, 7))
    y = (total + generator.normal(0, 0.7, 3000) > 0.5).astype(int)
    columns = np.hstack([np.eye(12)[group], x])
    assert mined(pd.DataFrame(columns).add_prefix("f").assign(label=y)) == []


def test_the_only_column_that_knows_the_class_is_no_trigger():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 8, 1600)
    frame = pd.DataFrame(generator.normal(size=(1600, 8)), columns=list("abcdefgh"))
    assert mined(frame.assign(code=y, label=y)) == []


def test_a_rare_value_with_the_usual_labels_is_no_trigger():
    frame = digits()
    chosen = np.random.default_rng(5).choice(1797, 40, replace=False)
    frame.loc[chosen, list(PATCH)] = 16.0  # the patch without the attacker's label
    assert mined(frame) == []


def test_one_row_of_wild_values_does_not_blind_the_models():
    frame = bundled("breast_cancer")
    attack = plant_trigger(frame, ("f15",), float(frame["f15"].median()), 0, 18)
    decoy = min(set(range(len(frame))) - attack.rows)
    attack.frame.loc[decoy, [name for name in frame if name != "label"]] = 1e300
    ((columns, rows),) = mined(attack.frame)
    assert columns == {"f15"}
    assert attack.recall(rows) >= 0.95


# --- the label column -----------------------------------------------------------------


def test_labels_that_nobody_expects_fail_and_are_not_examined(tmp_path):
    frame = small_frame()
    frame.loc[[3, 8], "label"] = 7
    stage = ScanForPoisoning(label="label", expected_labels=("0", "1", "2"), folds=2)
    report = scan(frame, tmp_path, stage)
    assert check(report, EXPECTED).outcome is Outcome.FAILED
    assert check(report, EXPECTED).severity is Severity.CRITICAL
    assert flagged(report, EXPECTED) == {3, 8}
    assert report.metrics["rows_examined"] == 88


def test_a_class_that_was_relabelled_completely_is_missed_by_name(tmp_path):
    frame = small_frame()
    frame["label"] = frame["label"].replace(2, 1)
    stage = ScanForPoisoning(label="label", expected_labels=("0", "1", "2"))
    (finding,) = check(scan(frame, tmp_path, stage), EXPECTED).findings
    assert finding.evidence["labels"] == ["2"]


def test_rows_without_a_label_fail_even_if_no_labels_are_expected(tmp_path):
    frame = small_frame().astype({"label": object})
    frame.loc[[1, 5], "label"] = [None, None]
    assert flagged(scan(frame, tmp_path, QUICK, name="rows.jsonl"), EXPECTED) == {1, 5}


def test_blank_text_is_no_label():
    labels = read_labels(pd.Series(["a", " ", "b", ""]), "label")
    assert labels.classes == ("a", "b")
    assert label_problems(labels, ()).missing.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        ([1.0, None, 3.0], ("1", "3")),
        ([0.5, 1.0, 2.0], ("0.5", "1", "2")),
        ([True, False, True], ("false", "true")),
        (["b", "10", "9"], ("10", "9", "b")),
    ],
)
def test_classes_are_named_and_sorted_as_people_write_them(values, classes):
    assert read_labels(pd.Series(values), "label").classes == classes


def test_a_continuous_label_is_refused():
    with pytest.raises(ConfigurationError, match="1001 different values"):
        read_labels(pd.Series(np.arange(1001) / 7), "label")


def test_labels_of_mixed_types_are_refused():
    with pytest.raises(ConfigurationError, match="mixed"):
        read_labels(pd.Series([1, "one", 2.5], dtype=object), "label")


def test_a_missing_label_column_suggests_the_one_that_was_meant(tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'label'"):
        scan(small_frame(), tmp_path, ScanForPoisoning(label="lable"))


@pytest.mark.parametrize("option", ["features", "exclude"])
def test_columns_that_do_not_exist_are_refused(option, tmp_path):
    stage = ScanForPoisoning(label="label", **{option: ("nowhere",)})
    with pytest.raises(ConfigurationError, match="nowhere"):
        scan(small_frame(), tmp_path, stage)


# --- data that cannot be judged -------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        small_frame().assign(label="only"),
        pd.DataFrame({"a": [1.0] * 40, "b": [2] * 40, "label": [0, 1] * 20}),
        pd.DataFrame({"a": [1.0, 2.0], "b": [2, 1], "label": ["x", "y"]}),
        pd.DataFrame({"label": [0, 1] * 20}),
        pd.DataFrame({"a": [np.nan] * 20, "b": [None] * 20, "label": [0, 1] * 10}),
    ],
    ids=["one class", "equal rows", "two rows", "no features", "only gaps"],
)
def test_what_cannot_be_judged_is_unknown_and_never_passed(frame, tmp_path):
    report = scan(frame, tmp_path)
    for asked in (ISSUES, TRIGGERS):
        assert check(report, asked).outcome is Outcome.UNKNOWN


def test_a_class_too_small_to_learn_is_unknown_while_the_rest_is_examined(tmp_path):
    frame = small_frame()
    frame.loc[[0, 1, 2], "label"] = 9
    report = scan(frame, tmp_path, ScanForPoisoning(label="label", folds=4))
    unknown = [one for one in report.checks if one.outcome is Outcome.UNKNOWN]
    assert [(one.id, one.target) for one in unknown] == [(ISSUES, "small classes")]
    assert report.metrics["rows_examined"] == 87


def test_one_column_is_too_little_to_call_something_a_trigger(tmp_path):
    report = scan(small_frame()[["a", "label"]], tmp_path, QUICK)
    assert check(report, TRIGGERS).outcome is Outcome.UNKNOWN
    assert check(report, ISSUES).outcome is not Outcome.UNKNOWN


def test_gaps_infinities_and_huge_values_are_survived(tmp_path):
    frame = small_frame()
    frame.loc[0, "a"], frame.loc[1, "b"], frame.loc[2, "c"] = np.inf, -np.inf, 1e308
    frame["d"] = frame["d"].where(frame.index % 2 == 0)
    report = scan(frame, tmp_path, QUICK)
    assert check(report, ISSUES).outcome is not Outcome.UNKNOWN


def test_a_table_with_two_columns_of_one_name_is_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(SubjectError, match="same name"):
        require_columns(frame, ["a"], "label")


# --- columns --------------------------------------------------------------------------


def test_free_text_is_refused_with_all_its_columns(tmp_path):
    frame = small_frame().assign(
        note=[f"n{at}" for at in range(90)], key=[f"k{at}" for at in range(90)]
    )
    with pytest.raises(ConfigurationError, match="'note', 'key'") as caught:
        scan(frame, tmp_path)
    assert "exclude" in caught.value.next_step
    stage = ScanForPoisoning(label="label", exclude=("note", "key"), folds=2)
    assert check(scan(frame, tmp_path, stage), ISSUES).outcome is Outcome.PASSED


def test_short_categories_and_booleans_are_features():
    frame = pd.DataFrame(
        {"colour": ["red", None, "blue", "red"], "on": [True, False, True, True], "n": [1, 1, 1, 1]}
    )
    features = read_features(frame, ["colour", "on", "n"])
    assert features.names == ("colour", "on")
    assert features.constant == ("n",)
    assert features.x[:, 0].tolist() == [1.0, 1.0, 0.0, 1.0]  # the gap is filled by the median
    assert features.missing[:, 0].tolist() == [False, True, False, False]


def test_dates_and_lists_are_refused():
    frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01"] * 2), "many": [[1], [2]]})
    with pytest.raises(ConfigurationError, match="'when', 'many'"):
        read_features(frame, ["when", "many"])


def test_only_listed_columns_are_examined(tmp_path):
    stage = ScanForPoisoning(label="label", features=("a", "b", "c"), folds=2)
    frame = small_frame().assign(note=[f"n{at}" for at in range(90)])
    assert scan(frame, tmp_path, stage).metrics["features"] == 3


# --- ready-made probabilities ---------------------------------------------------------

PROBABILITIES = ("p0", "p1", "p2")
READY = ScanForPoisoning(label="label", probabilities=PROBABILITIES)


def with_probabilities(frame: pd.DataFrame) -> pd.DataFrame:
    sure = np.full((len(frame), 3), 0.001)
    sure[np.arange(len(frame)), frame["label"]] = 0.998
    return frame.assign(**dict(zip(PROBABILITIES, sure.T, strict=True)))


def test_ready_made_probabilities_replace_the_models(tmp_path):
    frame = with_probabilities(small_frame())
    frame.loc[[4, 7], "label"] = (frame.loc[[4, 7], "label"] + 1) % 3
    report = scan(frame, tmp_path, READY)
    assert flagged(report, ISSUES) == {4, 7}
    assert report.metrics["features"] == 4


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "1 of 90 rows they are missing"),
        (1.5, "1 of 90 rows they are outside"),
        (-0.1, "1 of 90 rows they are outside"),
        (0.5, "1 of 90 rows they are not 1 in sum"),
    ],
)
def test_one_bad_probability_makes_the_answer_unknown(value, told, tmp_path):
    frame = with_probabilities(small_frame())
    frame.loc[11, "p1"] = value
    answer = check(scan(frame, tmp_path, READY), ISSUES)
    assert answer.outcome is Outcome.UNKNOWN
    assert told in answer.reason


def test_rounded_probabilities_are_normalised():
    y = np.array([0, 1] * 20)
    p = np.where(np.eye(2)[y] > 0, 1.0000009, 0.0)
    assert not probability_fault(p)
    assert not label_issues(p, y, ("a", "b"), budget=0.01).flagged.any()


def test_a_reference_too_small_to_tell_is_said_and_never_passed():
    y = np.array([0, 1] * 20)
    p = np.where(np.eye(2)[y] > 0, 0.99, 0.01)
    small = label_issues(p, y, ("a", "b"), budget=0.01, reference=np.full(99, -4.0))
    assert "99 rows" in small.unknown
    enough = label_issues(p, y, ("a", "b"), budget=0.01, reference=np.full(100, -4.0))
    assert not enough.unknown


def test_the_number_of_probability_columns_must_be_that_of_the_classes(tmp_path):
    frame = with_probabilities(small_frame())
    stage = ScanForPoisoning(label="label", probabilities=("p0", "p1"), exclude=("p2",))
    with pytest.raises(ConfigurationError, match="2 probability columns for 3 classes"):
        scan(frame, tmp_path, stage)


def test_expected_labels_say_which_column_is_whose_when_a_class_is_absent(tmp_path):
    frame = with_probabilities(small_frame())
    frame = frame[frame["label"] != 1].reset_index(drop=True)
    stage = ScanForPoisoning(
        label="label", probabilities=PROBABILITIES, expected_labels=("0", "1", "2")
    )
    report = scan(frame, tmp_path, stage)
    assert check(report, EXPECTED).outcome is Outcome.FAILED
    assert check(report, ISSUES).outcome is Outcome.PASSED


# --- the same bytes, the same report --------------------------------------------------


def test_the_same_bytes_give_the_same_report_in_another_process(tmp_path):
    attack = plant_trigger(bundled("iris"), ("f2",), 4.35, 0, 18)
    snapshot = save(attack.frame, tmp_path / "rows.parquet")
    first = canonical_json(QUICK.run(snapshot, Context()).to_json())
    assert canonical_json(QUICK.run(snapshot, Context()).to_json()) == first
    code = (
        "import sys\n"
        "from sluicegate.canonical import canonical_json\n"
        "from sluicegate.stages.base import Context\n"
        "from sluicegate.stages.poisoning import ScanForPoisoning\n"
        "from sluicegate.storage.snapshot import take_snapshot\n"
        "from sluicegate.storage.uri import SubjectUri\n"
        "snapshot = take_snapshot(SubjectUri.parse(sys.argv[1]))\n"
        "report = ScanForPoisoning(label='label', folds=2).run(snapshot, Context())\n"
        "sys.stdout.buffer.write(canonical_json(report.to_json()))\n"
    )
    again = run_python(code, str(tmp_path / "rows.parquet"))
    assert again == first


def test_formats_and_files_do_not_change_which_rows_are_flagged(tmp_path):
    frame = flip_labels(small_frame(), 0.06).frame
    whole = flagged(scan(frame, tmp_path / "one", QUICK), ISSUES)
    assert whole
    assert flagged(scan(frame, tmp_path / "csv", QUICK, name="rows.csv"), ISSUES) == whole
    folder = tmp_path / "two"
    save(frame.iloc[:40], folder / "a.parquet")
    save(frame.iloc[40:], folder / "b.parquet")
    report = QUICK.run(take_snapshot(SubjectUri.parse(folder)), Context())
    start = {"a.parquet": 0, "b.parquet": 40}
    rows = {
        start[row.file] + row.ordinal
        for finding in check(report, ISSUES).findings
        for row in finding.rows
    }
    assert rows == whole


def test_the_order_of_rows_does_not_change_which_are_flagged(tmp_path):
    attack = plant_trigger(flip_labels(small_frame(240), 0.05).frame, ("a",), 9.0, 1, 14)
    order = np.random.default_rng(9).permutation(240)
    shuffled = attack.frame.iloc[order].reset_index(drop=True)
    here, there = (
        scan(frame, tmp_path / name, QUICK)
        for name, frame in (("a", attack.frame), ("b", shuffled))
    )
    for identifier in (ISSUES, TRIGGERS):
        assert {int(order[row]) for row in flagged(there, identifier)} == flagged(here, identifier)
    assert here.metrics == there.metrics


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_with_equal_features_share_a_fold_in_any_order(source):
    rows = source.draw(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 1)), min_size=4)
    )
    frame = pd.DataFrame(rows, columns=["a", "b", "label"])
    order = source.draw(st.permutations(range(len(rows))))
    fold = folds_by_row(frame)
    shuffled = folds_by_row(frame.iloc[order].reset_index(drop=True))
    assert [fold.get(at) for at in order] == [shuffled.get(at) for at in range(len(rows))]
    content: dict[tuple[int, ...], set[int]] = {}
    for at, number in fold.items():
        content.setdefault(rows[at][:2], set()).add(number)
    assert all(len(numbers) == 1 for numbers in content.values())


def folds_by_row(frame: pd.DataFrame) -> dict[int, int]:
    values = frame[["a", "b"]].to_numpy(dtype=float)
    features = Features(("a", "b"), (), values, np.zeros(values.shape, dtype=bool))
    labels = Labels(frame["label"].to_numpy(), ("0", "1"), numeric=True)
    data = arrange(features, labels, np.ones(len(frame), dtype=bool), folds=2, seed=0)
    return dict(zip(data.positions.tolist(), data.fold.tolist(), strict=True))


def test_the_shared_discriminant_is_that_of_scikit_learn():
    data = dataset(bundled("wine"))
    z, columns = standardised(data.x), np.array([1, 4, 6, 11])
    ours = Discriminants(data, z).probabilities(columns)
    for fold in range(5):
        train, test = data.fold != fold, data.fold == fold
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        model.fit(z[train][:, columns], data.y[train])
        np.testing.assert_allclose(ours[test], model.predict_proba(z[test][:, columns]), atol=1e-8)


# --- the stage ------------------------------------------------------------------------


def run_python(code: str, *arguments: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True
    ).stdout


def test_importing_and_building_the_stage_loads_no_numerical_library():
    code = (
        "import json, sys\n"
        "from sluicegate.stages.poisoning import ScanForPoisoning\n"
        "ScanForPoisoning(label='y')\n"
        "heavy = ('numpy', 'pandas', 'sklearn', 'cleanlab', 'pyarrow', 'scipy')\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))\n"
    )
    assert json.loads(run_python(code)) == []


def test_the_stage_describes_itself():
    assert isinstance(STAGE, Stage)
    assert ScanForPoisoning.hereditary
    assert all(field.help for field in stage_fields(STAGE))
    assert configuration(STAGE, {})["fields"]["folds"] == 5
    assert hash(STAGE) == hash(ScanForPoisoning(label="label"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": ""},
        {"folds": 1},
        {"seed": -1},
        {"features": ("label",)},
        {"exclude": ("label",)},
        {"features": ("a",), "exclude": ("a",)},
        {"features": "abc"},
        {"exclude": ("a", "a")},
        {"probabilities": ("p0",)},
        {"probabilities": ("p0", "p1"), "expected_labels": ("a", "b", "c")},
    ],
)
def test_fields_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError) as caught:
        ScanForPoisoning(**{"label": "label", **wrong})
    assert caught.value.next_step


def test_progress_is_told(tmp_path):
    seen: list[tuple[str, int, int]] = []
    snapshot: Snapshot = save(small_frame(), tmp_path / "rows.csv")
    QUICK.run(snapshot, Context(progress=lambda *step: seen.append(step)))
    assert ("cross-fitting", 4, 4) in seen
    assert ("mining triggers", 4, 4) in seen
