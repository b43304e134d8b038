"""ScanForPoisoning as a whole: its options, its files, its rows, and its command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sluicegate.canonical import canonical_json
from sluicegate.cli.main import main
from sluicegate.errors import ConfigurationError
from sluicegate.figures import Bars, Gallery, Image, Passage, Record
from sluicegate.model import Check, Outcome, Report, Severity
from sluicegate.stages.base import Context, configuration, configuration_files
from sluicegate.stages.poisoning import ScanForPoisoning
from sluicegate.stages.poisoning.columns import read_features, texts_of, times_of
from sluicegate.stages.poisoning.split_view import changed_cells, read_published
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.core.poisoning_attacks import PATCH, digits, plant_trigger, save

PROBABILITIES = ("q0", "q1", "q2")
"""Ready-made predictions: what is tested here is not how models learn."""
COLUMNS = "abcdef"
CHANNELS = ("label_issues", "duplicates", "outliers", "trigger_items")
TEXTS = ("hidden_characters", "gibberish", "near_duplicate_text", "trigger_ngrams")


def table(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """Three well separated classes, and predictions that know them."""
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    x = generator.normal(size=(rows, 6)) + 3.0 * np.eye(3)[y][:, [0, 1, 2, 0, 1, 2]]
    frame = pd.DataFrame(x.round(3), columns=list(COLUMNS)).assign(label=y)
    return predicted(frame)


def predicted(frame: pd.DataFrame) -> pd.DataFrame:
    sure = np.full((len(frame), 3), 0.005)
    sure[np.arange(len(frame)), frame["label"]] = 0.99
    return frame.assign(**dict(zip(PROBABILITIES, sure.T, strict=True)))


@cache
def documents(count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Texts of common words, and of words of their class, by Zipf's law."""
    generator = np.random.default_rng(7)
    syllables = ["ba", "den", "fi", "gor", "ha", "kel", "li", "mon", "nu", "pra", "se", "tor"]
    vocabulary = sorted({"".join(generator.choice(syllables, 1 + at % 4)) for at in range(5000)})
    order = generator.permutation(len(vocabulary))
    y = np.arange(count) % 3
    texts = []
    for label in y:
        length = int(generator.integers(8, 24))
        ranks = np.minimum(np.exp(generator.random(length) * 7.5).astype(int), len(order)) - 1
        own = generator.random(length) < 0.4
        ranks = np.where(own, (ranks + 60 + 800 * int(label)) % len(order), ranks)
        texts.append(" ".join(vocabulary[order[rank]] for rank in ranks))
    return tuple(texts), tuple(int(label) for label in y)


def corpus(count: int) -> pd.DataFrame:
    texts, y = documents(count)
    return predicted(pd.DataFrame({"body": texts, "label": y}))


def scan(
    frame: pd.DataFrame,
    path: Path,
    *,
    files: dict[str, bytes] | None = None,
    samples: bool = False,
    row_scores: Callable[[Any], None] | None = None,
    **options: Any,
) -> Report:
    stage = ScanForPoisoning(label="label", **options)
    context = Context(files=files or {}, samples=samples, row_scores=row_scores)
    return stage.run(save(frame, path), context)


def judge(frame: pd.DataFrame, folder: Path, **options: Any) -> Report:
    return scan(frame, folder / "rows.parquet", probabilities=PROBABILITIES, **options)


def glance(frame: pd.DataFrame, folder: Path, **options: Any) -> Report:
    """Scan with one feature, which is too little for triggers and so is quick."""
    return judge(frame, folder, features=("a",), **options)


def check(report: Report, name: str) -> Check:
    return next(one for one in report.checks if one.id == f"poisoning.{name}")


def outcomes(report: Report) -> dict[str, Outcome]:
    return {one.id.removeprefix("poisoning."): one.outcome for one in report.checks}


def flagged(report: Report, name: str) -> set[int]:
    """Return the flagged rows of a table of one file."""
    return {row.ordinal for finding in check(report, name).findings for row in finding.rows}


def next_label(frame: pd.DataFrame, rows: Any) -> pd.DataFrame:
    frame = frame.copy()
    frame.loc[rows, "label"] = (frame.loc[rows, "label"] + 1) % 3
    return frame


# --- text -----------------------------------------------------------------------------


def with_phrase(frame: pd.DataFrame, rows: Any, phrase: str) -> pd.DataFrame:
    changed = frame.copy()
    for row in rows:
        words = changed.loc[row, "body"].split(" ")
        words.insert(row % len(words), phrase)
        changed.loc[row, "body"] = " ".join(words)
    return changed


def test_a_phrase_that_decides_the_label_is_found_and_the_phrase_alone_is_not(tmp_path):
    rows = np.random.default_rng(3).choice(600, 24, replace=False)
    honest = with_phrase(corpus(600), rows, "quiet lantern")
    poisoned = honest.copy()
    poisoned.loc[rows, "label"] = 1
    found = judge(poisoned, tmp_path / "a", text=("body",), samples=True)
    assert flagged(found, "trigger_ngrams") == set(rows.tolist())
    finding = check(found, "trigger_ngrams").findings[0]
    assert finding.evidence["label"] == "1"
    assert "quiet lantern" in json.dumps(finding.evidence)
    gallery = next(
        one
        for one in found.figures
        if isinstance(one, Gallery) and one.title.endswith("trigger_ngrams")
    )
    passage = gallery.items[0].content
    assert isinstance(passage, Passage)
    assert [passage.text[start:end] for start, end in passage.marks] == ["quiet lantern"]
    near = judge(honest, tmp_path / "b", text=("body",))
    assert outcomes(near) == dict.fromkeys(("label_issues", "outliers", *TEXTS), Outcome.PASSED)


def test_text_beside_numbers_leaves_both_examined(tmp_path):
    frame = table().assign(body=corpus(240)["body"])
    attack = plant_trigger(frame, ("a",), 9.0, 1, 14)
    frame = attack.frame
    frame.loc[4, "body"] += " \U0001f469\u200d\U0001f469\u200d\U0001f467"
    frame.loc[[5, 9], "body"] = "pay\u200bment " + frame.loc[[5, 9], "body"]
    frame["hash"] = [sha256(body.encode()) for body in frame["body"]]
    report = judge(frame, tmp_path, text=("body",), content="body", content_sha256="hash")
    assert {*CHANNELS, *TEXTS, "split_view"} == set(outcomes(report))
    assert flagged(report, "trigger_items") == attack.rows
    assert flagged(report, "hidden_characters") == {5, 9}
    for name in ("split_view", "gibberish", "trigger_ngrams"):
        assert outcomes(report)[name] is Outcome.PASSED


def test_text_is_read_also_where_the_label_is_missing_or_too_rare(tmp_path):
    frame = corpus(90)
    frame["label"] = frame["label"].astype(object)
    frame.loc[[4, 8], "label"] = [None, "rare"]
    frame.loc[[4, 8], "body"] += " pass\u202eword"
    frame["label"] = frame["label"].map(str, na_action="ignore")
    report = scan(frame, tmp_path / "t.parquet", text=("body",), exclude=PROBABILITIES)
    assert flagged(report, "hidden_characters") == {4, 8}


def test_models_can_learn_from_text_alone(tmp_path):
    frame = corpus(150).drop(columns=list(PROBABILITIES))
    topics = [f"{'kto'[label]}word{at % 4}" for at, label in enumerate(frame["label"])]
    frame["body"] += [f" {topic} {topic}" for topic in topics]
    report = scan(next_label(frame, [7, 80]), tmp_path / "rows.parquet", text=("body",), folds=2)
    assert flagged(report, "label_issues") == {7, 80}
    assert "trigger_items" not in outcomes(report)


@pytest.mark.parametrize(
    "bodies",
    [
        [""] * 150,
        [None] * 150,
        ["the same words"] * 150,
        ["\U0001f600" * (1 + at % 5) for at in range(150)],
        [["a", "list"]] * 150,
    ],
    ids=["empty", "missing", "equal", "no words", "lists"],
)
def test_text_that_says_nothing_stops_nothing(bodies, tmp_path):
    alone = predicted(pd.DataFrame({"body": bodies, "label": np.arange(150) % 3}))
    found = judge(alone, tmp_path, text=("body",))
    assert any(one.outcome is Outcome.UNKNOWN for one in found.checks)
    beside = glance(table(150).assign(body=bodies), tmp_path, text=("body",))
    assert set(TEXTS) <= set(outcomes(beside))
    assert check(beside, "label_issues").outcome is Outcome.PASSED


def test_missing_cells_and_a_word_of_a_megabyte_stop_nothing(tmp_path):
    frame = corpus(150)
    frame.loc[[7, 8], "body"] = None
    frame.loc[3, "body"] = "x" * 1_000_000
    frame.loc[0, "body"] = "pay\u200bment"
    report = judge(frame, tmp_path, text=("body",), samples=True)
    assert flagged(report, "gibberish") == {3}
    assert flagged(report, "hidden_characters") == {0}


def test_what_is_missing_is_empty_text():
    nested = pd.Series([None, float("nan"), pd.NA, "a", 1, np.array([1, 2])], dtype=object)
    assert texts_of(nested) == ["", "", "", "a", "1", "[1 2]"]


# --- sources --------------------------------------------------------------------------


def uploads(rows: int = 240) -> np.ndarray:
    return np.array(list("pqrst"))[np.random.default_rng(5).integers(0, 5, rows)]


def test_a_poisoned_upload_is_named_and_the_others_are_not(tmp_path):
    frame = table().assign(upload=uploads())
    assert check(glance(frame, tmp_path, source="upload"), "source_shift").outcome is Outcome.PASSED
    bad = np.flatnonzero(frame["upload"] == "q")[::2]
    report = glance(next_label(frame, bad), tmp_path, source="upload")
    (finding,) = check(report, "source_shift").findings
    assert finding.evidence["source"] == "q"
    assert flagged(report, "source_shift") == set(bad.tolist())
    bars = next(one for one in report.figures if isinstance(one, Bars))
    assert [(bar.name, bar.observed > 0) for bar in bars.bars] == [
        (name, name == "q") for name in "pqrst"
    ]


def test_wrong_labels_in_all_uploads_are_the_fault_of_none(tmp_path):
    frame = next_label(table().assign(upload=uploads()), np.arange(0, 240, 16))
    assert check(glance(frame, tmp_path, source="upload"), "source_shift").outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (np.where(uploads() == "p", None, uploads()), Outcome.FAILED),
        (pd.Categorical(uploads()), Outcome.FAILED),
        ([None] * 240, Outcome.UNKNOWN),
        (["one"] * 240, Outcome.UNKNOWN),
    ],
    ids=["some missing", "categories", "all missing", "one"],
)
def test_sources_of_any_kind(names, outcome, tmp_path):
    frame = next_label(table(), np.flatnonzero(uploads() == "q")[::2]).assign(upload=names)
    assert check(glance(frame, tmp_path, source="upload"), "source_shift").outcome is outcome


def test_sources_cannot_be_judged_where_labels_cannot(tmp_path):
    frame = table().assign(upload=uploads(), label=0)[["a", "label", "upload"]]
    report = scan(frame, tmp_path / "rows.parquet", source="upload")
    assert check(report, "source_shift").outcome is Outcome.UNKNOWN


# --- times ----------------------------------------------------------------------------

HOURS = np.random.default_rng(2).permutation(240)
MOMENTS = pd.Timestamp("2024-01-01") + pd.to_timedelta(HOURS, unit="h")
WINDOW = np.flatnonzero((HOURS >= 100) & (HOURS < 130))[::2]


@pytest.mark.parametrize(
    "times",
    [
        MOMENTS,
        MOMENTS.tz_localize("Asia/Tokyo"),
        MOMENTS.strftime("%Y-%m-%d %H:%M"),
        HOURS * 3600,
        [str(3600 * hour) for hour in HOURS],
        pd.Categorical(MOMENTS.strftime("%Y-%m-%dT%H:%M:%SZ")),
        np.where(HOURS == 0, "9999-12-31", MOMENTS.strftime("%Y-%m-%d %H:%M")),
        np.where(HOURS == 0, None, MOMENTS.strftime("%Y-%m-%d %H:%M")),
    ],
    ids=["moments", "zone", "text", "numbers", "digits", "categories", "far", "gap"],
)
def test_a_poisoned_stretch_of_time_is_found_in_any_notation(times, tmp_path):
    report = glance(next_label(table(), WINDOW).assign(at=times), tmp_path, time="at")
    (finding,) = check(report, "source_shift").findings
    assert finding.evidence["kind"] == "window"
    found = flagged(report, "source_shift")
    assert found <= set(WINDOW.tolist())
    assert len(found) >= 0.8 * len(WINDOW)


def test_clean_times_and_scattered_errors_name_no_stretch_of_time(tmp_path):
    for frame in (table(), next_label(table(), np.flatnonzero(HOURS % 16 == 0))):
        report = glance(frame.assign(at=MOMENTS), tmp_path, time="at")
        assert check(report, "source_shift").outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "times",
    [
        ["soon"] * 240,
        [None] * 240,
        [[1]] * 240,
        pd.to_timedelta(HOURS, unit="h"),
        np.where(HOURS < 130, "soon", "2024-01-01"),
    ],
    ids=["words", "missing", "lists", "durations", "most are words"],
)
def test_times_that_cannot_be_read_are_refused(times, tmp_path):
    with pytest.raises(ConfigurationError, match="'at' holds no times"):
        glance(table().assign(at=times), tmp_path, time="at")


def test_times_are_seconds_since_1970():
    far = pd.Series(["1970-01-02", "9999-12-31", "1700-01-01", None, "soon", "1970-01-01T00:00:01"])
    assert times_of(far, "at")[[0, 1, 2, 5]].tolist() == [86400, 253402214400, -8520336000, 1]
    assert np.isnan(times_of(far, "at")[[3, 4]]).all()
    assert times_of(pd.Series(["7", "x", "9"]), "at")[[0, 2]].tolist() == [7, 9]
    dates = pd.Series(["1970-01-02", "7", "1970-01-03"])
    assert times_of(dates, "at")[[0, 2]].tolist() == [86400, 172800]
    assert times_of(pd.Series([10**400, 1, 2], dtype=object), "at")[1:].tolist() == [1, 2]


def test_a_whole_number_beyond_all_floats_is_a_gap():
    features = read_features(pd.DataFrame({"n": pd.Series([1, 10**400, 3, -(10**400)])}), ["n"])
    assert features.missing[:, 0].tolist() == [False, True, False, True]
    assert np.isfinite(features.x).all()


# --- a trusted reference --------------------------------------------------------------

TRUSTED = table(420, seed=9).drop(columns=list(PROBABILITIES))


def stored(frame: pd.DataFrame, path: Path) -> tuple[str, dict[str, bytes]]:
    save(frame, path)
    return str(path), {"reference": path.read_bytes()}


@pytest.mark.parametrize("name", ["trusted.parquet", "trusted.csv"])
def test_a_reference_makes_p_values_conformal(name, tmp_path):
    path, files = stored(TRUSTED, tmp_path / name)
    clean = table().drop(columns=list(PROBABILITIES))
    seen: dict[str, np.ndarray] = {}
    report = scan(
        next_label(clean, [10]),
        tmp_path / "data" / "rows.parquet",
        files=files,
        row_scores=lambda columns: seen.update({columns["channel"][0]: columns["p_value"]}),
        reference=path,
        budget=0.02,
        folds=2,
    )
    assert report.metrics["reference_rows"] == 420
    steps = 421 * seen["poisoning.label_issues"]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
    assert steps.min() >= 0.99
    assert flagged(report, "label_issues") == {10}
    assert check(report, "outliers").outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"a,b,c,d,e,label\n1,2,3,4,5,0\n", "no column 'f'"),
        ("t.csv", b"a,b,c,d,e,f\n1,2,3,4,5,6\n", "no column 'label'"),
        ("t.txt", b"a,b,c,d,label\n", "not a tabular file"),
        ("t.parquet", b"not parquet", "cannot be read as Parquet"),
        ("t.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("t.csv", b"", "no header"),
    ],
)
def test_a_reference_that_is_none_is_refused(name, content, words, tmp_path):
    with pytest.raises(ConfigurationError, match=words):
        judge(table(60), tmp_path, files={"reference": content}, reference=name)


@pytest.mark.parametrize("label", ["another class", None])
def test_a_reference_of_other_classes_tells_nothing(label, tmp_path):
    path, files = stored(TRUSTED.assign(label=[label] * 420), tmp_path / "trusted.parquet")
    report = judge(table(), tmp_path / "data", files=files, reference=path)
    assert report.metrics["reference_rows"] == 0
    assert check(report, "outliers").outcome is Outcome.UNKNOWN
    assert "reference" in check(report, "outliers").reason


def test_the_configuration_binds_the_bytes_of_files_and_not_their_paths(tmp_path):
    values = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        path = tmp_path / folder / "trusted.csv"
        path.parent.mkdir()
        path.write_bytes(content)
        stage = ScanForPoisoning(label="label", reference=path)
        values.append(configuration(stage, configuration_files(stage)))
    assert values[0] == values[1] != values[2]
    assert values[0]["fields"]["reference"] == {"sha256": hashlib.sha256(b"1").hexdigest()}


# --- published hashes -----------------------------------------------------------------


def published(folder: Path, hashes: dict[str, str]) -> Check:
    listed = "".join(f"{digest}  {path}\n" for path, digest in hashes.items()).encode()
    stage = ScanForPoisoning(
        label="label", probabilities=PROBABILITIES, features=("a",), published="SHA256SUMS"
    )
    context = Context(files={"published": listed})
    return check(stage.run(take_snapshot(SubjectUri.parse(folder)), context), "split_view")


@pytest.fixture
def two_files(tmp_path):
    """Return a folder of two files, and their hashes."""
    for name, part in (("a.parquet", table().iloc[:100]), ("b.parquet", table().iloc[100:])):
        save(part, tmp_path / "data" / name)
    found = {path.name: sha256(path.read_bytes()) for path in (tmp_path / "data").iterdir()}
    return tmp_path / "data", found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_was_published_passes_in_all_notations(two_files):
    folder, hashes = two_files
    assert published(folder, hashes).outcome is Outcome.PASSED
    assert (
        published(folder, {f"./{name}": one.upper() for name, one in hashes.items()}).outcome
        is Outcome.PASSED
    )


@pytest.mark.parametrize(
    ("edit", "files", "words"),
    [
        (lambda hashes: hashes | {"a.parquet": "0" * 64}, ("a.parquet",), "not what was published"),
        (lambda hashes: {"a.parquet": hashes["a.parquet"]}, ("b.parquet",), "never published"),
        (lambda hashes: hashes | {"c.parquet": "0" * 64}, (), "1 published files are missing"),
    ],
    ids=["changed", "added", "missing"],
)
def test_a_changed_an_added_and_a_missing_file_fail(edit, files, words, two_files):
    folder, hashes = two_files
    answer = published(folder, edit(hashes))
    assert (answer.outcome, answer.severity) == (Outcome.FAILED, Severity.CRITICAL)
    (finding,) = answer.findings
    assert finding.files == files
    assert words in finding.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no digests"),
        (b"# only a note\n\n", "holds no digests"),
        (b"abc  a.parquet\n", "line 1"),
        (b"0" * 64 + b"\n", "line 1"),
        (b"0" * 64 + b" a.parquet\n", "line 1"),
        (b"\n" + b"0" * 64 + b"  a\n" + b"1" * 64 + b"  ./a\n", "lists .a. with two digests"),
    ],
)
def test_a_malformed_list_of_hashes_is_refused(content, words):
    with pytest.raises(ConfigurationError, match=words):
        read_published(content)


def test_a_list_of_hashes_as_sha256sum_writes_it():
    listed = f"{'0a' * 32}  a b.csv\r\n{'0B' * 32} *./c.csv\n".encode()
    assert read_published(listed) == {"a b.csv": "0a" * 32, "c.csv": "0b" * 32}


def test_cells_that_are_not_what_was_published_are_critical(tmp_path):
    frame = table(60).assign(page=[f"page {at} é" for at in range(60)])
    frame["hash"] = [sha256(page.encode()) for page in frame["page"]]
    frame.loc[1, "hash"] = "sha256:" + frame.loc[1, "hash"].upper()
    options = {"content": "page", "content_sha256": "hash"}
    assert check(glance(frame, tmp_path, **options), "split_view").outcome is Outcome.PASSED
    frame.loc[7, "page"] += " "
    frame.loc[8, "hash"] = "nothing"
    frame.loc[9, "page"] = None
    answer = check(glance(frame, tmp_path, **options), "split_view")
    assert answer.severity is Severity.CRITICAL
    assert {
        finding.evidence["reason"]: [row.ordinal for row in finding.rows]
        for finding in answer.findings
    } == {
        "the content does not have the stated SHA-256": [7],
        "the row states no SHA-256": [8],
        "the row has no content to hash": [9],
    }


def test_bytes_are_hashed_as_they_are_and_a_missing_hash_is_none():
    channel = changed_cells([b"\x00", b"\x00", "", 1], [sha256(b"\x00"), None, sha256(b""), "0"])
    assert channel.scores.tolist() == [0, 1, 0, 1]


# --- embeddings and images ------------------------------------------------------------


def test_embeddings_are_examined_for_clusters_and_not_for_triggers(tmp_path):
    generator = np.random.default_rng(4)
    y = np.arange(300) % 3
    points = generator.normal(size=(300, 6)) + 6.0 * np.eye(6)[y]
    names = tuple(f"e{at}" for at in range(6))
    clean = predicted(pd.DataFrame(points, columns=list(names)).assign(label=y))
    report = judge(clean, tmp_path, embeddings=names)
    asked = ("spectral_signatures", "activation_clustering")
    assert "trigger_items" not in outcomes(report)
    assert all(outcomes(report)[name] is Outcome.PASSED for name in asked)
    rows = np.flatnonzero(y == 2)[:18]
    bad = clean.copy()
    bad.loc[rows, list(names)] = generator.normal(size=(18, 6)) + 25.0 * np.eye(6)[4]
    found = judge(bad, tmp_path, embeddings=names)
    hit = set().union(*(flagged(found, name) for name in asked))
    assert set(rows.tolist()) <= hit
    assert len(hit) <= 20


def pictures() -> pd.DataFrame:
    frame = digits()
    frame = frame[frame["label"] < 3].iloc[:300].reset_index(drop=True)
    return predicted(plant_trigger(frame, PATCH, 16.0, 0, 18).frame)


def test_images_are_shown_as_images_where_samples_are_allowed(tmp_path):
    report = judge(pictures(), tmp_path, image=(8, 8), samples=True)
    shown = [one for one in report.figures if isinstance(one, Gallery)]
    assert shown
    image = shown[0].items[0].content
    assert isinstance(image, Image)
    assert (len(image.pixels), len(image.pixels[0])) == (8, 8)
    assert max(max(line) for line in image.pixels) == 255
    assert shown[0].items[0].ordinal in flagged(report, "trigger_items") | flagged(
        report, "label_issues"
    )


def test_features_that_fill_no_image_are_shown_as_cells_of_their_types(tmp_path):
    frame = next_label(table(), [10])
    report = judge(frame, tmp_path, image=(8, 8), samples=True)
    (shown,) = [one for one in report.figures if isinstance(one, Gallery)]
    record = shown.items[0].content
    assert isinstance(record, Record)
    assert dict(record.cells)["a"] == frame.loc[10, "a"]
    assert shown.items[0].caption.startswith(f"label {frame.loc[10, 'label']}, ")


SENTINELS = ("7.654321", "zyxquark")


def secret_table() -> pd.DataFrame:
    """Rows that nearly every channel flags, each of them with a value to look for."""
    frame = table().assign(body=corpus(240)["body"], page="public", hash=sha256(b"public"))
    frame = plant_trigger(frame, ("a",), 7.654321, 1, 14).frame
    frame.loc[[3, 4], "body"] = "zyx\u200bquark zyxquark"
    frame.loc[5, "page"] = "zyxquark"
    frame.loc[6, list(COLUMNS)] = [7.654321, -80.0, 90.0, 70.0, 60.0, -50.0]
    copies = pd.concat([frame.iloc[[7]].assign(a=7.654321, body="zyxquark " * 40)] * 12)
    return pd.concat([frame, copies], ignore_index=True)


@pytest.mark.parametrize("samples", [False, True])
def test_values_are_told_only_where_samples_are_allowed(samples, tmp_path):
    rows: list[str] = []
    report = judge(
        secret_table(),
        tmp_path,
        samples=samples,
        row_scores=lambda columns: rows.extend(filter(None, columns["evidence"])),
        text=("body",),
        content="page",
        content_sha256="hash",
    )
    failed = {name for name, one in outcomes(report).items() if one is Outcome.FAILED}
    assert {"split_view", "trigger_items", "hidden_characters", "duplicates"} <= failed
    assert any(isinstance(one, Gallery) for one in report.figures) is samples
    told = canonical_json(report.to_json()).decode() + "\n".join(rows)
    for sentinel in SENTINELS:
        assert (sentinel in told) is samples


# --- other tasks ----------------------------------------------------------------------


def numbers() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    truth = 5 * generator.normal(size=300)
    return pd.DataFrame({"label": truth, "told": truth + 0.3 * generator.normal(size=300)})


def regression(frame: pd.DataFrame, folder: Path, **options: Any) -> Report:
    return scan(
        frame, folder / "rows.parquet", task="regression", probabilities=("told",), **options
    )


def test_wrong_targets_are_found_and_large_honest_ones_are_not(tmp_path):
    frame = numbers()
    frame.loc[50, ["label", "told"]] += 40.0
    assert outcomes(regression(frame, tmp_path)) == {"target_issues": Outcome.PASSED}
    frame.loc[:7, "label"] += 9.0
    assert flagged(regression(frame, tmp_path), "target_issues") == set(range(8))


def test_targets_are_predicted_where_nobody_does(tmp_path):
    generator = np.random.default_rng(6)
    x = generator.normal(size=(200, 2))
    y = x @ [3.0, -2.0] + 0.2 * generator.normal(size=200)
    y[[3, 90]] += 30.0
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(label=y)
    report = scan(frame, tmp_path / "rows.parquet", task="regression", folds=2)
    assert flagged(report, "target_issues") == {3, 90}


def test_rows_without_a_target_are_reported(tmp_path):
    frame = numbers()
    frame.loc[[2, 5, 9], "label"] = [np.nan, np.inf, -np.inf]
    report = regression(frame, tmp_path)
    assert flagged(report, "labels_expected") == {2, 5, 9}
    assert check(report, "labels_expected").severity is Severity.CRITICAL
    assert report.metrics["rows_examined"] == 297


NAMES = np.array(["sea", "sky", "sun"])


def tagged() -> tuple[pd.DataFrame, np.ndarray]:
    held = np.random.default_rng(8).random((400, 3)) < 0.4
    told = np.where(held, 0.999, 0.001)
    return pd.DataFrame(told, columns=list(PROBABILITIES)), held


def tags(held: np.ndarray) -> list[list[str]]:
    return [NAMES[row].tolist() for row in held]


def test_wrong_sets_of_labels_are_found(tmp_path):
    frame, held = tagged()
    options: dict[str, Any] = {"task": "multi-label", "probabilities": PROBABILITIES}
    path = tmp_path / "rows.parquet"
    clean = scan(frame.assign(label=tags(held)), path, **options)
    assert outcomes(clean) == {"multilabel_issues": Outcome.PASSED}
    held[:10] = ~held[:10]
    bad = frame.assign(label=tags(held))
    assert flagged(scan(bad, path, **options), "multilabel_issues") == set(range(10))
    expected = scan(bad, path, expected_labels=("sun", "sea", "sky"), **options)
    assert flagged(expected, "multilabel_issues") == set(range(10))
    text = bad.assign(label=[" ; ".join(cell) for cell in bad["label"]])
    report = scan(text, tmp_path / "rows.csv", **options)
    assert flagged(report, "multilabel_issues") == set(range(10))


def sentences() -> tuple[pd.DataFrame, list[list[int]]]:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, (300, 6)).tolist()
    told = [
        [[0.998 if one == at else 0.001 for at in range(3)] for one in sentence]
        for sentence in labels
    ]
    return pd.DataFrame({"told": told}), labels


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_wrong_tokens_are_found(name, tmp_path):
    frame, labels = sentences()
    options: dict[str, Any] = {"task": "tokens", "probabilities": ("told",)}
    clean = scan(frame.assign(label=labels), tmp_path / name, **options)
    assert outcomes(clean) == {"token_issues": Outcome.PASSED}
    for row in range(12):
        labels[row][2] = (labels[row][2] + 1) % 3
    report = scan(frame.assign(label=labels), tmp_path / name, **options)
    assert flagged(report, "token_issues") == set(range(12))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "regression", "probabilities": ("q0", "q1")}, "names 2 columns"),
        ({"task": "regression", "probabilities": ("word",)}, "holds no numbers"),
        ({"task": "regression", "source": "word"}, "source has no use for regression"),
        ({"task": "regression", "time": "a"}, "time has no use for regression"),
        ({"task": "regression", "reference": "t.csv"}, "reference has no use for regression"),
        ({"task": "multi-label"}, "neither lists nor text"),
        ({"task": "tokens", "probabilities": ("word",)}, "do not hold lists"),
    ],
)
def test_options_that_a_task_has_no_use_for_are_refused(options, words, tmp_path):
    frame = table(60).assign(word="one")
    with pytest.raises(ConfigurationError, match=words):
        scan(frame, tmp_path / "rows.parquet", **options)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (["sea;fog"] * 9, {"expected_labels": ("sea", "sky")}, "not among the expected"),
        (["sea;sky"] * 9, {"probabilities": PROBABILITIES}, "3 probability columns for 2 labels"),
    ],
)
def test_labels_that_do_not_fit_the_options_are_refused(labels, options, words, tmp_path):
    frame = table(9).assign(label=labels)
    with pytest.raises(ConfigurationError, match=words):
        scan(frame, tmp_path / "rows.parquet", task="multi-label", **options)


@pytest.mark.parametrize("labels", [["01"] * 9, [[0.0, 1.0]] * 9, [None] * 9])
def test_tokens_have_whole_numbers_as_labels(labels, tmp_path):
    frame = pd.DataFrame({"label": labels, "told": [[[0.5, 0.5]] * 2] * 9})
    with pytest.raises(ConfigurationError, match="do not hold lists"):
        scan(frame, tmp_path / "rows.parquet", task="tokens", probabilities=("told",))


# --- scores of rows -------------------------------------------------------------------


def test_every_channel_tells_every_row_once_and_where_it_is(two_files):
    folder, _ = two_files
    parts: list[dict[str, Any]] = []
    stage = ScanForPoisoning(label="label", probabilities=PROBABILITIES)
    snapshot = take_snapshot(SubjectUri.parse(folder))
    report = stage.run(snapshot, Context(row_scores=lambda columns: parts.append(dict(columns))))
    assert [set(part["channel"]) for part in parts] == [{one.id} for one in report.checks]
    for part in parts:
        assert part["row"].tolist() == list(range(240))
        assert part["file"] == ["a.parquet"] * 100 + ["b.parquet"] * 140
        assert part["ordinal"].tolist() == [*range(100), *range(140)]
        assert {len(column) for column in part.values()} == {240}


def test_scores_say_why_a_row_is_flagged_and_what_it_looks_like(tmp_path):
    parts: dict[str, dict[str, Any]] = {}
    frame = next_label(table(), [10, 11])
    frame.loc[20, "label"] = 9
    judge(
        frame,
        tmp_path,
        expected_labels=("0", "1", "2"),
        row_scores=lambda columns: parts.update({columns["channel"][0]: dict(columns)}),
    )
    told = parts["poisoning.label_issues"]
    assert set(range(240)) - set(told["row"].tolist()) == {20}
    at = told["row"].tolist().index(10)
    assert told["flagged"].sum() == 2
    assert told["flagged"][at]
    assert told["score"][at] == told["score"].max()
    assert told["p_value"][at] < 0.02
    assert json.loads(told["evidence"][at])["suggested"] == "1"
    assert [one is None for one in told["evidence"]] == [not one for one in told["flagged"]]


# --- the command ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a data set of two files, three rows of it wrong."""
    for name in ("SLUICEGATE_POLICY", "SLUICEGATE_SIGNING_KEY", "SLUICEGATE_KEY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    frame = next_label(table(), [10, 101, 239])
    save(frame.iloc[:100], tmp_path / "data" / "a.parquet")
    save(frame.iloc[100:], tmp_path / "data" / "b.parquet")
    return tmp_path


def gate(*arguments: str) -> int:
    common = ("data", "--label", "label", "--probabilities", *PROBABILITIES)
    return main(["gate", "scan-for-poisoning", *common, *arguments])


def test_flagged_rows_are_written_with_their_files(folder):
    assert gate("--findings-out", "out/rows.parquet") == 0
    found = pd.read_parquet(folder / "out" / "rows.parquet")
    assert list(found.columns) == [
        "row",
        "file",
        "ordinal",
        "channel",
        "score",
        "p_value",
        "flagged",
        "evidence",
    ]
    assert found["row"].tolist() == [10, 101, 239]
    assert found["file"].tolist() == ["a.parquet", "b.parquet", "b.parquet"]
    assert found["ordinal"].tolist() == [10, 1, 139]
    assert set(found["channel"]) == {"poisoning.label_issues"}
    assert found["flagged"].all()
    assert all("suggested" in json.loads(one) for one in found["evidence"])


def test_all_scores_are_written_once_although_the_remainder_is_examined_again(folder):
    # With expected labels the verdict says nothing of the remainder, so there is a second round.
    expected = ("--expected-labels", "0", "1", "2")
    assert gate("--findings-out", "rows.parquet", "--all-scores", *expected) == 0
    receipts = list((folder / ".sluicegate" / "receipts").iterdir())
    # The rules, the verdict, what was set aside, the verdict on the remainder.
    assert len(receipts) == 4
    found = pd.read_parquet(folder / "rows.parquet")
    assert len(found) == 240 * len(CHANNELS)
    assert not found.duplicated(["row", "channel"]).any()
    assert set(found["channel"]) == {f"poisoning.{name}" for name in CHANNELS}
    assert found["flagged"].sum() == 3
    assert found["evidence"].notna().sum() == 3


def test_all_scores_without_a_file_are_an_error(folder, capsys):
    assert gate("--all-scores") == 2
    assert "--findings-out" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_no_pass(folder, capsys):
    (folder / "taken").write_text("")
    (folder / "full").mkdir()
    for path in ("taken/rows.parquet", "full"):
        assert gate("--findings-out", path) == 2
        assert f"cannot write {path}" in capsys.readouterr().err


def test_a_refused_scan_leaves_no_file_of_scores(folder):
    assert gate("--findings-out", "rows.parquet", "--source", "nowhere") == 2
    assert not (folder / "rows.parquet").exists()


def test_files_with_hashes_block_what_was_changed(folder, capsys):
    hashes = [
        f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(Path("data").iterdir())
    ]
    Path("SUMS").write_text("".join(hashes))
    # The remainder after a quarantine is not what was published either.
    assert gate("--published", "SUMS") == 1
    assert "quarantine" in capsys.readouterr().out
    Path("SUMS").write_text("0" * 64 + hashes[0][64:] + hashes[1])
    assert gate("--published", "SUMS") == 1
    assert "a.parquet is not what was published" in capsys.readouterr().out
    assert gate("--published", "nowhere") == 2


# --- the same content, the same answer ------------------------------------------------


def test_neither_the_order_of_rows_nor_files_change_what_is_found(tmp_path):
    frame = table().assign(body=corpus(240)["body"], upload=uploads())
    frame = next_label(frame, np.flatnonzero(frame["upload"] == "q")[::2])
    rows = np.flatnonzero((frame["upload"] != "q") & (frame["label"] != 1))[:20]
    frame.loc[rows, ["a", "label"]] = [9.0, 1]
    frame.loc[[5, 9], "body"] = "pay\u200bment " + frame.loc[[5, 9], "body"]
    frame = frame.drop(columns=list(PROBABILITIES)).assign(key=np.arange(240))
    stage = ScanForPoisoning(
        label="label", text=("body",), source="upload", exclude=("key",), folds=2
    )
    shuffled = frame.sample(frac=1.0, random_state=4)
    save(frame, tmp_path / "one" / "rows.parquet")
    save(shuffled.iloc[:70], tmp_path / "two" / "a.parquet")
    save(shuffled.iloc[70:], tmp_path / "two" / "b.parquet")
    keys = {
        "rows.parquet": frame["key"].to_numpy(),
        "a.parquet": shuffled["key"].to_numpy()[:70],
        "b.parquet": shuffled["key"].to_numpy()[70:],
    }
    answers = []
    for name in ("one", "two"):
        report = stage.run(take_snapshot(SubjectUri.parse(tmp_path / name)), Context())
        answers.append(
            [
                (
                    one.id,
                    one.outcome,
                    one.reason,
                    [
                        (
                            finding.message,
                            json.dumps(finding.evidence),
                            sorted(int(keys[row.file][row.ordinal]) for row in finding.rows),
                        )
                        for finding in one.findings
                    ],
                )
                for one in report.checks
            ]
        )
        answers[-1].append(report.metrics)
        answers[-1].append([canonical_json(figure.to_json()) for figure in report.figures])
    assert answers[0] == answers[1]
    failed = {one[0] for one in answers[0][:-2] if one[1] is Outcome.FAILED}
    assert {
        "poisoning.trigger_items",
        "poisoning.hidden_characters",
        "poisoning.source_shift",
    } <= failed


# --- options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ("a",), "features": ("a",)},
        {"text": ("label",)},
        {"embeddings": ("a",), "text": ("a",)},
        {"source": "a", "time": "a"},
        {"source": "label"},
        {"source": "a", "features": ("a",)},
        {"content": "a", "content_sha256": "a"},
        {"content": "a", "content_sha256": "b", "features": ("a",)},
        {"content": "a"},
        {"content_sha256": "a"},
        {"budget": 0.0},
        {"budget": 0.5},
        {"budget": float("nan")},
        {"budget": -0.1},
        {"task": "ranking"},
        {"image": (8,)},
        {"image": (8, 8, 3)},
        {"image": (0, 8)},
        {"task": "tokens"},
        {"task": "tokens", "probabilities": ("a", "b")},
        {"task": "regression", "expected_labels": ("a",)},
        {"text": "body"},
    ],
)
def test_options_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ConfigurationError) as refused:
        ScanForPoisoning(**{"label": "label", **wrong})
    assert refused.value.what


@pytest.mark.parametrize(
    "right",
    [
        {"budget": 0.2},
        {"budget": 1e-6},
        {"text": ("a",), "content": "a", "content_sha256": "b"},
        {"task": "regression", "probabilities": ("a",)},
        {"image": (8, 8)},
    ],
)
def test_options_that_only_look_odd_are_accepted(right):
    assert ScanForPoisoning(**{"label": "label", **right})


@pytest.mark.parametrize("role", ["source", "time", "content_sha256"])
def test_columns_that_are_not_there_are_named_with_their_option(role, tmp_path):
    options = {role: "nowhere"} | ({"content": "a"} if role == "content_sha256" else {})
    with pytest.raises(ConfigurationError, match=f"{role}: there is no column 'nowhere'"):
        judge(table(30), tmp_path, **options)


def test_a_verdict_on_published_files_says_nothing_of_fewer_files():
    assert ScanForPoisoning(label="label").hereditary
    assert ScanForPoisoning(label="label", reference="t.csv").hereditary
    assert not ScanForPoisoning(label="label", published="SUMS").hereditary
    assert not ScanForPoisoning(label="label", expected_labels=("a",)).hereditary
