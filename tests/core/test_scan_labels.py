"""Labels against ready-made probabilities: cleanlab's answer, the adaptive rule, the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.cli.main import main
from sluicegate.errors import SubjectError
from sluicegate.stages.poisoning.confident import learning
from sluicegate.stages.poisoning.confident.arithmetic import BINS, bins_of, ratio_of
from sluicegate.stages.poisoning.confident.kernels import kernels, numpy_kernels
from sluicegate.stages.poisoning.confident.learning import ConfidentJoint, Thresholds
from sluicegate.stages.poisoning.confident.probabilities import ArrayShard, array_shards
from sluicegate.stages.poisoning.confident.pruning import prune, prune_counts
from sluicegate.stages.poisoning.confident.rule import Margins
from sluicegate.stages.poisoning.confident.scan import find_label_issues
from sluicegate.stages.poisoning.detector import examine, scan

LABEL_ERRORS = Path(os.environ.get("SLUICEGATE_LABEL_ERRORS", "nowhere"))
"""The arrays of github.com/cleanlab/label-errors, in one folder, for who has them."""


class StableNumpy:
    """numpy, but sorts are stable: cleanlab's answer then does not depend on the processor."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def argsort(array, *args, **options):
        return np.argsort(array, *args, **{**options, "kind": "stable"})


def oracle(y, p):
    from cleanlab.filter import find_label_issues as cleanlab

    with (
        mock.patch("cleanlab.filter.np", StableNumpy()),
        mock.patch("cleanlab.internal.util.np", StableNumpy()),
    ):
        return cleanlab(y, p, n_jobs=1)


pytestmark = pytest.mark.filterwarnings("ignore:May not flag all label issues")


def labelled(rng, *, rows=None, classes=None):
    """Labels and probabilities of every kind that is hard: rounded, absent, mislabelled."""
    classes = classes or int(rng.integers(2, 9))
    rows = rows or int(rng.integers(12, 900))
    p = rng.dirichlet(np.full(classes, rng.choice([0.1, 0.5, 1.0, 3.0])), rows)
    drawn = (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=classes - 1)
    noisy = rng.random(rows) < rng.choice([0.05, 0.2, 0.5])
    y = np.where(noisy, rng.integers(0, classes, rows), drawn)
    if rng.random() < 0.3:
        p = np.round(p, 2) + 1e-3
        p /= p.sum(axis=1, keepdims=True)
    if rng.random() < 0.2:
        y[y == classes - 1] = 0
    return y, p.astype(rng.choice([np.float32, np.float64]))


def joint_of(y, p, shards=1):
    pieces = array_shards(y, p, shards=shards)
    return examine(ConfidentJoint(examine(Thresholds(p.shape[1]), pieces)), pieces), pieces


class TestConfidentLearning:
    @pytest.mark.slow
    def test_returns_the_rows_of_cleanlab_also_where_more_are_pruned_than_stand_out(self):
        rng = np.random.default_rng(0)
        compared = short = 0
        for _ in range(450):
            y, p = labelled(rng)
            if len(np.unique(y)) < 2:
                continue
            joint, pieces = joint_of(y, p)
            mask = np.zeros(len(y), dtype=bool)
            mask[prune(joint, pieces)] = True
            np.testing.assert_array_equal(mask, oracle(y, p))
            compared += 1
            for label in range(p.shape[1]):
                mine = p[y == label] - p[y == label][:, [label]]
                short += bool(((mine > 0).sum(axis=0) < prune_counts(joint, label)).any())
        assert compared > 400
        assert short > 50

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10**6), cuts=st.integers(1, 9), step=st.integers(1, 97))
    def test_is_the_same_however_the_data_is_cut(self, seed, cuts, step):
        y, p = labelled(np.random.default_rng(seed))
        whole = find_label_issues(y, p, rule="confident-learning")
        with mock.patch("sluicegate.stages.poisoning.confident.probabilities.MAX_BATCH_ROWS", step):
            cut = find_label_issues(y, p, rule="confident-learning", shards=cuts)
        np.testing.assert_array_equal(whole, cut)

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_states_merge_in_any_order(self, seed):
        rng = np.random.default_rng(seed)
        y, p = labelled(rng)
        pieces = array_shards(y, p, shards=5)
        order = rng.permutation(len(pieces))
        for detector in (Thresholds(p.shape[1]), Margins()):
            straight = detector.init()
            for piece in pieces:
                straight = detector.merge(straight, scan(detector, piece))
            mixed = detector.init()
            for at in order:
                mixed = detector.merge(scan(detector, pieces[at]), mixed)
            assert str(detector.finalize(straight)) == str(detector.finalize(mixed))

    def test_many_candidates_go_to_files_and_change_nothing(self, tmp_path, monkeypatch):
        y, p = labelled(np.random.default_rng(3), rows=5000, classes=6)
        expected = find_label_issues(y, p, rule="confident-learning")
        monkeypatch.setattr(learning, "SPILL_BYTES", 4096)
        stored = []
        store = learning._store
        monkeypatch.setattr(
            learning, "_store", lambda kept, place: stored.append(place) or store(kept, place)
        )
        found = find_label_issues(y, p, rule="confident-learning", shards=7, folder=tmp_path)
        np.testing.assert_array_equal(found, expected)
        assert len(stored) > 3
        assert list(tmp_path.iterdir()) == []  # nothing is left behind

    def test_many_classes_are_counted_by_pair(self, monkeypatch):
        y, p = labelled(np.random.default_rng(4), rows=3000, classes=7)
        expected = joint_of(y, p)[0]
        monkeypatch.setattr(learning, "MAX_DENSE", 1)
        found = joint_of(y, p, shards=4)[0]
        for label in range(7):
            np.testing.assert_array_equal(found.row(label), expected.row(label))

    def test_other_processes_give_the_same(self):
        y, p = labelled(np.random.default_rng(5), rows=4000, classes=5)
        with ProcessPoolExecutor(2) as executor:
            for rule in ("confident-learning", "adaptive"):
                apart = find_label_issues(y, p, rule=rule, shards=6, executor=executor)
                np.testing.assert_array_equal(apart, find_label_issues(y, p, rule=rule))

    def test_ten_thousand_classes(self):
        rng = np.random.default_rng(6)
        p = np.full((300, 10_000), 1e-5, dtype=np.float32)
        y = rng.integers(0, 10_000, 300)
        p[np.arange(300), y] += 0.9
        y[:5] = (y[:5] + 1) % 10_000
        for rule in ("confident-learning", "adaptive"):
            assert find_label_issues(y, p, rule=rule)[5:].sum() == 0
        assert find_label_issues(y, p)[:5].all()

    def test_memory_does_not_grow_with_the_rows(self):
        rng = np.random.default_rng(7)
        peaks = []
        for rows in (40_000, 160_000):
            p = rng.random((rows, 50), dtype=np.float32) * 0.01
            y = rng.integers(0, 50, rows)
            p[np.arange(rows), y] += 1
            p /= p.sum(axis=1, keepdims=True)
            find_label_issues(y[:100], p[:100], rule="confident-learning")
            tracemalloc.start()
            find_label_issues(y, p, rule="confident-learning")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 2_000_000
        assert peaks[1] < 64 << 20


class TestKernels:
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_compiled_and_numpy_agree(self, seed):
        pytest.importorskip("numba")
        rng = np.random.default_rng(seed)
        y, p = labelled(rng)
        p[rng.random(len(p)) < 0.2] = np.eye(p.shape[1], dtype=p.dtype)[0]
        if rng.random() < 0.3:
            p[rng.integers(len(p)), 0] = rng.choice([np.nan, np.inf, -0.5, 3.0])
        found = []
        for loops in (kernels(), numpy_kernels()):
            sums, faults = np.zeros(p.shape[1], dtype=np.int64), np.zeros(3, dtype=np.int64)
            loops.totals(p, y, sums, -1e-6, 1e-3, faults)
            counts = np.zeros((p.shape[1],) * 2, dtype=np.int64)
            guess, doubt = np.empty(len(y), dtype=np.int32), np.empty(len(y), dtype=np.int8)
            tallies = [np.zeros(BINS, dtype=np.int64) for _ in range(4)]
            if not faults.any():
                limits = np.full(p.shape[1], 0.4, dtype=p.dtype)
                loops.guesses(p, y, limits, counts, guess, doubt)
                loops.margins(p, y, *tallies)
            found.append([sums, faults, counts, *tallies])
            if not faults.any():
                found[-1] += [guess, doubt]
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
        assert kernels().__class__ is not numpy_kernels().__class__

    @pytest.mark.parametrize("error", [ImportError, RuntimeError])
    def test_numpy_serves_where_numba_cannot(self, monkeypatch, error):
        import builtins

        real = builtins.__import__

        def refuse(name, *args, **options):
            if name == "sluicegate.stages.poisoning.confident" and "compiled" in (args[2] or ()):
                raise error("no numba")
            return real(name, *args, **options)

        monkeypatch.setattr(builtins, "__import__", refuse)
        assert type(kernels.__wrapped__()) is type(numpy_kernels())

    @given(st.floats(1, 1e9))
    def test_a_ratio_lies_in_its_bin(self, ratio):
        at = int(bins_of(np.array([ratio]))[0])
        assert 0 <= at < BINS
        assert ratio_of(at) <= ratio < ratio_of(at + 1)


def f1(mask, wrong):
    return 2 * (mask & wrong).sum() / (mask.sum() + wrong.sum())


def posteriors(rng, rows, classes, spread):
    """Probabilities of a calibrated model, and true labels drawn from its sharper self."""
    logits = rng.normal(0, spread, (rows, classes))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


class TestAdaptiveRule:
    def test_random_flips_on_overlapping_classes_are_told_from_the_model_s_errors(self):
        from cleanlab.filter import find_label_issues as cleanlab

        for seed in range(3):
            rng = np.random.default_rng(seed)
            p = posteriors(rng, 6000, 5, 4.0)
            truth = (p.cumsum(axis=1) < rng.random((6000, 1))).sum(axis=1).clip(max=4)
            wrong = rng.random(6000) < 0.08
            y = np.where(wrong, (truth + rng.integers(1, 5, 6000)) % 5, truth)
            ours = f1(find_label_issues(y, p), wrong)
            assert ours > f1(p.argmax(axis=1) != y, wrong) + 0.1
            assert ours > f1(cleanlab(y, p, n_jobs=1), wrong)

    def test_where_people_err_on_ambiguous_rows_every_disagreement_is_flagged(self):
        from cleanlab.filter import find_label_issues as cleanlab

        for seed in range(3):
            rng = np.random.default_rng(seed)
            p = posteriors(rng, 6000, 5, 4.0)
            truth = p.argmax(axis=1)  # the model is right; people draw what they see
            y = (p.cumsum(axis=1) < rng.random((6000, 1))).sum(axis=1).clip(max=4)
            mask = find_label_issues(y, p)
            np.testing.assert_array_equal(mask, truth != y)
            assert f1(mask, truth != y) > f1(cleanlab(y, p, n_jobs=1), truth != y) + 0.1

    def test_nothing_is_flagged_where_all_agree(self):
        p = np.eye(3)[np.arange(90) % 3] * 0.7 + 0.1
        assert not find_label_issues(np.arange(90) % 3, p).any()

    def test_a_class_relabelled_completely_is_flagged(self):
        rng = np.random.default_rng(1)
        truth = np.repeat([0, 1, 2, 3], 500)
        p = np.eye(4)[truth] * 0.9 + 0.025 + rng.random((2000, 4)) * 0.01
        p /= p.sum(axis=1, keepdims=True)
        y = np.where(truth == 3, 1, truth)
        assert f1(find_label_issues(y, p), truth == 3) > 0.99

    @pytest.mark.skipif(not LABEL_ERRORS.exists(), reason="SLUICEGATE_LABEL_ERRORS names no folder")
    @pytest.mark.parametrize("name", ["mnist", "cifar10", "20news", "imdb"])
    @pytest.mark.parametrize("share", [0.05, 0.1])
    def test_beats_both_fixed_rules_on_flips_in_real_predictions(self, name, share):
        from cleanlab.filter import find_label_issues as cleanlab

        p = np.load(LABEL_ERRORS / f"{name}_test_set_pyx.npy", allow_pickle=False)
        p = p / p.sum(axis=1, keepdims=True)
        given_labels = np.load(
            LABEL_ERRORS / f"{name}_test_set_original_labels.npy", allow_pickle=False
        ).astype(np.int64)
        rng = np.random.default_rng(11)
        classes = p.shape[1]
        wrong = rng.random(len(p)) < share
        other = (given_labels + rng.integers(1, classes, len(p))) % classes
        y = np.where(wrong, other, given_labels)
        ours = f1(find_label_issues(y, p), wrong)
        assert ours > f1(cleanlab(y, p, n_jobs=1), wrong)
        assert ours > f1(p.argmax(axis=1) != y, wrong)


class TestHostileProbabilities:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda p: p.__setitem__((3, 1), np.nan), "1 of 50 rows they are missing or infinite"),
            (lambda p: p.__setitem__((3, 1), np.inf), "missing or infinite"),
            (lambda p: p.__setitem__((3, 1), -0.2), "outside of 0 to 1"),
            (lambda p: p.__imul__(1.2), "in 50 of 50 rows they are not 1 in sum"),
            (lambda p: p.__imul__(100), "in 50 of 50 rows they are outside of 0 to 1"),
        ],
    )
    def test_are_refused(self, spoil, message):
        p = np.full((50, 2), 0.5)
        spoil(p)
        for rule in ("adaptive", "confident-learning"):
            with pytest.raises(SubjectError, match=message):
                find_label_issues(np.arange(50) % 2, p, rule=rule)

    @pytest.mark.parametrize(
        ("y", "p", "message"),
        [
            (np.array([0, 2]), np.full((2, 2), 0.5), "row 1 has label 2"),
            (np.array([0, -1]), np.full((2, 2), 0.5), "row 1 has label -1"),
            (np.array([0.0, 1.0]), np.full((2, 2), 0.5), "labels are of type float64"),
            (np.array([0]), np.full((2, 2), 0.5), r"labels have shape \(1,\)"),
            (np.array([0]), np.array([0.5]), "not .rows, classes."),
            (np.array([], dtype=int), np.empty((0, 2)), "no rows"),
            (np.array([0]), np.array([[1, 0]]), "probabilities are of type int"),
        ],
    )
    def test_shapes_that_do_not_fit_are_refused(self, y, p, message):
        with pytest.raises(SubjectError, match=message):
            find_label_issues(y, p)

    def test_float16_one_row_and_one_class_in_the_labels_are_judged(self):
        assert not find_label_issues(np.array([1]), np.array([[0.2, 0.8]], dtype=np.float16)).any()
        p = np.tile([[0.1, 0.9]], (20, 1))
        assert find_label_issues(np.zeros(20, dtype=np.uint16), p).all()


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(2)
    p = posteriors(rng, 400, 3, 4.0)
    y = p.argmax(axis=1)
    y[:20] = (y[:20] + 1) % 3
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "a.npy", p)
    np.save(tmp_path / "b.npy", (p + 1 / 3) / 2)
    table = pd.DataFrame(p, columns=["p0", "p1", "p2"]).assign(label=y, name="x")
    table.to_parquet(tmp_path / "t.parquet", row_group_size=37)
    return tmp_path


def run(files, *arguments):
    paths = [
        str(files / argument) if "." in argument and not argument.startswith("-") else argument
        for argument in arguments
    ]
    return main(["scan-labels", *paths])


class TestCommand:
    def test_writes_one_line_for_each_sample(self, files, capsys):
        arguments = ("--labels", "y.npy", "--pred-probs", "a.npy", "--out", "o.parquet", "--json")
        assert run(files, *arguments) == 0
        told = json.loads(capsys.readouterr().out)
        found = pd.read_parquet(files / "o.parquet")
        assert list(found.columns) == ["row", "flagged", "score", "suggested_label"]
        assert found["row"].tolist() == list(range(400))
        p, y = np.load(files / "a.npy"), np.load(files / "y.npy")
        np.testing.assert_array_equal(found["flagged"], find_label_issues(y, p))
        assert found["flagged"][:20].all()
        assert told["flagged"] == int(found["flagged"].sum())
        assert (found["score"] > 0).equals(found["suggested_label"] != y)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--labels", "t.parquet:label", "--pred-probs", "t.parquet"),
            ("--labels", "t.parquet:label", "--pred-probs", "t.parquet:p0,p1,p2"),
            ("--labels", "y.npy", "--pred-probs", "a.npy", "--processes", "2"),
        ],
    )
    def test_formats_and_processes_give_the_same(self, files, arguments):
        assert run(files, "--labels", "y.npy", "--pred-probs", "a.npy", "--out", "o.parquet") == 0
        assert run(files, *arguments, "--out", "p.parquet") == 0
        assert (files / "o.parquet").read_bytes() == (files / "p.parquet").read_bytes()

    def test_several_models_are_averaged(self, files):
        models = ("--pred-probs", "a.npy", "--pred-probs", "b.npy")
        for rule in ("adaptive", "confident-learning"):
            given = ("--labels", "y.npy", *models, "--out", "o.parquet", "--rule", rule)
            assert run(files, *given) == 0
            mean = (np.load(files / "a.npy") + np.load(files / "b.npy")) / 2
            expected = find_label_issues(np.load(files / "y.npy"), mean, rule=rule)
            np.testing.assert_array_equal(pd.read_parquet(files / "o.parquet")["flagged"], expected)

    def test_the_other_rule_is_cleanlab_s(self, files):
        given = ("--labels", "y.npy", "--pred-probs", "a.npy", "--out", "o.parquet")
        assert run(files, *given, "--rule", "confident-learning") == 0
        expected = oracle(np.load(files / "y.npy"), np.load(files / "a.npy"))
        np.testing.assert_array_equal(pd.read_parquet(files / "o.parquet")["flagged"], expected)

    @pytest.mark.parametrize(
        ("make", "arguments", "message"),
        [
            (None, ("--labels", "none.npy", "--pred-probs", "a.npy"), "cannot be read"),
            (None, ("--labels", "t.parquet:nope", "--pred-probs", "a.npy"), "no column 'nope'"),
            (None, ("--labels", "t.parquet:name", "--pred-probs", "a.npy"), "no numbers"),
            (None, ("--labels", "a.npy", "--pred-probs", "a.npy"), "not (rows,)"),
            (None, ("--labels", "y.npy", "--pred-probs", "y.npy"), "holds values of type int64"),
            (np.array([{}], dtype=object), ("--labels", "x.npy", "--pred-probs", "a.npy"), "code"),
            (np.zeros(3, dtype=int), ("--labels", "x.npy", "--pred-probs", "a.npy"), "400 rows"),
            (np.full(400, 3), ("--labels", "x.npy", "--pred-probs", "a.npy"), "row 0 has label 3"),
            (np.full(400, 0.5), ("--labels", "x.npy", "--pred-probs", "a.npy"), "label 0.5"),
            (np.zeros((400, 3)), ("--labels", "y.npy", "--pred-probs", "x.npy"), "not 1 in sum"),
            (np.ones((400, 1)), ("--labels", "y.npy", "--pred-probs", "x.npy"), "2 classes"),
        ],
    )
    def test_bad_files_are_refused_and_nothing_is_written(
        self, files, capsys, make, arguments, message
    ):
        if make is not None:
            np.save(files / "x.npy", make, allow_pickle=make.dtype.hasobject)
        assert run(files, *arguments, "--out", "o.parquet") == 2
        assert message in capsys.readouterr().err
        assert not (files / "o.parquet").exists()

    def test_a_truncated_array_is_refused(self, files, capsys):
        content = (files / "a.npy").read_bytes()
        (files / "a.npy").write_bytes(content[:-8])
        given = ("--labels", "y.npy", "--pred-probs", "a.npy", "--out", "o.parquet")
        assert run(files, *given) == 2
        assert "its header promises" in capsys.readouterr().err

    def test_the_second_model_s_nan_is_not_averaged_away(self, files, capsys):
        spoilt = np.load(files / "b.npy")
        spoilt[7] = [-1.0, 1.0, 1.0]
        np.save(files / "b.npy", spoilt)
        given = ("--labels", "y.npy", "--pred-probs", "a.npy", "--pred-probs", "b.npy")
        assert run(files, *given, "--out", "o.parquet") == 2
        assert "outside of 0 to 1" in capsys.readouterr().err


def test_nothing_of_the_data_is_kept():
    """cleanlab's filter leaves a copy of all probabilities in its module; ours never loads it."""
    code = (
        "import numpy as np, sys, gc\n"
        "from sluicegate.stages.poisoning.confident.scan import find_label_issues\n"
        "p = np.full((1000, 4), .25); find_label_issues(np.zeros(1000, int), p)\n"
        "assert 'cleanlab' not in sys.modules\n"
        "gc.collect(); assert sys.getrefcount(p) == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_shard_reads_only_its_rows():
    y, p = np.zeros(10, dtype=np.int64), np.full((10, 2), 0.5)
    batches = list(ArrayShard(y[4:], p[4:], 4).batches())
    assert [batch.start for batch in batches] == [4]
    assert len(batches[0].y) == 6
