"""Label checks of regression, multi-label and token classification."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import datasets

from sluicegate.errors import ConfigurationError
from sluicegate.stages.poisoning.tasks import excess, multilabel, tokens
from sluicegate.stages.poisoning.tasks import regression as reg
from sluicegate.stages.poisoning.tasks.multilabel import multilabel_issues
from sluicegate.stages.poisoning.tasks.regression import fit_predictions, regression_issues
from sluicegate.stages.poisoning.tasks.tokens import token_issues


def deal(rows, seed=0):
    return np.random.default_rng(seed).permutation(rows) % 5


def shift(y, size, share, seed, signs=(-1, 1)):
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(y), round(share * len(y)), replace=False)
    wrong = y.copy()
    wrong[rows] += size * generator.choice(signs, len(rows))
    return wrong, rows


def test_importing_loads_no_numerical_library():
    code = (
        "import sys\n"
        "from sluicegate.stages.poisoning.tasks import excess, multilabel, regression, tokens\n"
        "from sluicegate.stages.poisoning.tasks import training\n"
        "print(sorted({'numpy', 'scipy', 'sklearn', 'cleanlab', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- regression --------------------------------------------------------------------------

NOISE = {
    "normal": lambda g, n: g.normal(size=n),
    "t3": lambda g, n: g.standard_t(3, n),
    "t2": lambda g, n: g.standard_t(2, n),
    "laplace": lambda g, n: g.laplace(size=n),
    "exponential": lambda g, n: g.exponential(size=n),
    "lognormal": lambda g, n: g.lognormal(size=n),
    "uniform": lambda g, n: g.uniform(-1, 1, n),
    "hidden variance": lambda g, n: g.normal(size=n) * np.exp(0.7 * g.normal(size=n)),
}


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("rows", [100, 500, 5000])
def test_honest_residuals_of_any_tail_are_hardly_ever_flagged(noise, rows):
    shares = []
    for seed in range(6):
        generator = np.random.default_rng([seed, rows])
        found = 10 * generator.normal(size=rows)
        channel = regression_issues(found + NOISE[noise](generator, rows), found)
        shares.append(channel.flagged.mean())
    assert np.mean(shares) <= 0.007
    assert max(shares) <= 0.04


@pytest.mark.parametrize(("noise", "size"), [("normal", 8), ("t3", 14), ("laplace", 14)])
def test_targets_shifted_by_several_deviations_are_found(noise, size):
    for seed in range(3):
        generator = np.random.default_rng(seed)
        found = generator.normal(size=3000)
        errors = NOISE[noise](generator, 3000)
        scale = 1.4826 * np.median(np.abs(errors - np.median(errors)))
        wrong, rows = shift(found + errors, size * scale, 0.05, seed)
        flagged = regression_issues(wrong, found).flagged
        assert flagged[rows].mean() >= 0.9
        assert np.delete(flagged, rows).mean() <= 0.02


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_few_and_many_wrong_targets_are_found_on_one_side(share):
    generator = np.random.default_rng(1)
    found = generator.normal(size=2000)
    wrong, rows = shift(found + generator.normal(size=2000), 10.0, share, 1, signs=(1,))
    channel = regression_issues(wrong, found)
    assert channel.flagged[rows].mean() >= 0.95
    assert np.delete(channel.flagged, rows).mean() <= 0.005
    (group,) = channel.groups
    assert group.evidence["direction"] == "above"
    assert group.evidence["count"] == len(group.rows)


def test_errors_that_grow_with_the_prediction_are_usual():
    generator = np.random.default_rng(2)
    found = generator.normal(size=2000)
    spread = np.exp(found)
    honest = found + spread * generator.normal(size=2000)
    assert regression_issues(honest, found).flagged.mean() <= 0.002
    quiet = np.flatnonzero(found < np.quantile(found, 0.5))[:50]
    honest[quiet] += 15 * spread[quiet]
    assert regression_issues(honest, found).flagged[quiet].mean() >= 0.8


def test_one_wrong_target_among_many_is_found():
    generator = np.random.default_rng(3)
    y = generator.normal(size=1000)
    y[17] = 1e300
    channel = regression_issues(y, np.zeros(1000))
    assert np.flatnonzero(channel.flagged).tolist() == [17]
    assert channel.scores.argmax() == 17
    assert np.isfinite(channel.scores).all()


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr(reg, "TREES", 20)
    monkeypatch.setattr(multilabel, "TREES", 20)


@pytest.mark.usefixtures("few_trees")
def test_models_of_targets_find_wrong_ones_and_leave_clean_ones():
    seed = 0
    data = datasets.load_diabetes()
    found = fit_predictions(data.data, data.target, deal(442, seed), seed)
    assert regression_issues(data.target, found).flagged.mean() <= 0.005
    x, y = datasets.make_friedman1(500, 8, noise=0.5, random_state=seed)
    wrong, rows = shift(y, 16.0, 0.05, seed)
    fold = deal(500, seed)
    clean = regression_issues(y, fit_predictions(x, y, fold, seed))
    assert clean.flagged.mean() <= 0.005
    flagged = regression_issues(wrong, fit_predictions(x, wrong, fold, seed)).flagged
    assert flagged[rows].mean() >= 0.85
    assert np.delete(flagged, rows).mean() <= 0.01


@pytest.mark.usefixtures("few_trees")
def test_targets_swapped_between_rows_are_found():
    x, y = datasets.make_regression(800, 8, n_informative=5, noise=5.0, random_state=4)
    rows = np.random.default_rng(4).choice(800, 40, replace=False)
    wrong = y.copy()
    wrong[rows] = y[np.roll(rows, 1)]
    found = fit_predictions(x, wrong, deal(800), 0)
    residual = np.median(np.abs(wrong - found))
    far = rows[np.abs(wrong[rows] - y[rows]) > 10 * residual]
    assert len(far) >= 5
    flagged = regression_issues(wrong, found).flagged
    assert flagged[far].mean() >= 0.8
    assert flagged[np.setdiff1d(np.arange(800), rows)].mean() <= 0.01


@pytest.mark.usefixtures("few_trees")
def test_predictions_do_not_depend_on_the_order_of_rows_and_do_on_the_seed():
    x, y = datasets.make_friedman1(300, 6, noise=1.0, random_state=0)
    fold, order = deal(300), np.random.default_rng(9).permutation(300)
    first = fit_predictions(x, y, fold, 0)
    assert np.array_equal(fit_predictions(x[order], y[order], fold[order], 0), first[order])
    assert not np.array_equal(fit_predictions(x, y, fold, 1), first)


@pytest.mark.usefixtures("few_trees")
def test_one_wild_target_does_not_bend_predictions():
    x, y = datasets.make_friedman1(300, 6, noise=1.0, random_state=0)
    wild = y.copy()
    wild[0] = 1e30
    first, second = (fit_predictions(x, one, deal(300), 0) for one in (y, wild))
    assert np.median(np.abs(first - second)) < 0.5


@pytest.mark.usefixtures("few_trees")
def test_the_second_round_does_not_learn_from_what_the_first_contradicted(monkeypatch):
    x, y = datasets.make_friedman1(300, 6, noise=1.0, random_state=0)
    wrong, rows = shift(y, 40.0, 0.05, 0)
    learnt, fit = [], reg._round
    monkeypatch.setattr(reg, "_round", lambda *args: learnt.append(args) or fit(*args))
    fit_predictions(x, wrong, deal(300), 0)
    assert learnt[0][3].all()
    left_out = learnt[1][0][~learnt[1][3]]
    assert {row.tobytes() for row in x[rows]} <= {row.tobytes() for row in left_out}
    assert len(left_out) <= 0.15 * 300


def test_models_of_nothing():
    x, y, fold = np.zeros((60, 0)), np.arange(60.0), deal(60)
    found = fit_predictions(x, y, fold, 0)
    assert np.isfinite(found).all()
    assert 10 < found.min() <= found.max() < 50
    one_fold = fit_predictions(np.ones((60, 1)), y, np.zeros(60, dtype=int), 0)
    assert np.isnan(one_fold).all()
    assert regression_issues(y, one_fold).unknown
    assert (fit_predictions(x, np.full(60, 3.5), fold, 0) == 3.5).all()
    assert len(fit_predictions(x[:0], y[:0], fold[:0], 0)) == 0


@pytest.mark.parametrize(
    ("y", "found", "reason"),
    [
        (np.zeros(0), np.zeros(0), "fewer than"),
        (np.ones(1), np.zeros(1), "fewer than"),
        (np.arange(49.0), np.zeros(49), "fewer than"),
        (np.zeros(60), np.zeros(61), "one prediction"),
        (np.append(np.arange(60.0), np.nan), np.zeros(61), "1 targets and 0 predictions"),
        (np.arange(60.0), np.append(np.zeros(59), np.inf), "0 targets and 1 predictions"),
        (np.append(np.zeros(58), [5.0, 6.0]), np.zeros(60), "exactly"),
    ],
)
def test_what_cannot_be_judged_is_unknown(y, found, reason):
    channel = regression_issues(y, found)
    assert reason in channel.unknown
    assert not channel.groups
    assert np.isnan(channel.scores).all()
    assert len(channel.scores) == len(channel.p_values) == len(y)


@pytest.mark.filterwarnings("error")
def test_extreme_numbers_are_no_trouble():
    generator = np.random.default_rng(0)
    assert not regression_issues(np.full(80, 7.0), np.full(80, 7.0)).unknown
    huge = generator.uniform(-1.7, 1.7, 200) * 1e308
    assert not regression_issues(huge, -huge).flagged.any()
    tiny = generator.normal(size=200) * 1e-310
    assert not regression_issues(tiny, np.zeros(200)).flagged.any()


def test_a_side_with_few_rows_is_not_judged_and_that_is_said():
    y = np.concatenate([np.linspace(1, 2, 40), np.zeros(38), [-9.0, -9.0, -9.0]])
    channel = regression_issues(y, np.zeros(81))
    skipped = channel.metrics["targets_not_judged"]
    assert 0 < skipped < reg.MIN_SIDE
    assert f"{skipped} rows" in channel.unknown
    assert np.isnan(channel.scores).sum() == skipped


def test_a_residual_must_be_both_surprising_and_large():
    generator = np.random.default_rng(5)
    narrow = generator.uniform(-1, 1, 1000)
    narrow[:50] = 2.7  # no honest residual is beyond 1, yet this is 3.2 robust deviations
    channel = regression_issues(narrow, np.zeros(1000))
    assert channel.p_values[:50].max() < 1e-4
    assert not channel.flagged.any()
    narrow[:50] = 3.5
    assert regression_issues(narrow, np.zeros(1000)).flagged[:50].all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(50, 400), st.booleans())
def test_regression_scores_do_not_depend_on_the_order_of_rows(seed, rows, rounded):
    generator = np.random.default_rng(seed)
    y, found = generator.standard_t(3, rows), generator.normal(size=rows)
    if rounded:
        y, found = y.round(), found.round()
    y[:3] += 40
    order = generator.permutation(rows)
    first, second = regression_issues(y, found), regression_issues(y[order], found[order])
    assert np.array_equal(first.scores[order], second.scores, equal_nan=True)
    assert np.array_equal(first.p_values[order], second.p_values, equal_nan=True)
    assert np.array_equal(first.flagged[order], second.flagged)


def test_p_values_of_honest_rows_are_hardly_ever_small():
    generator = np.random.default_rng(6)
    p = regression_issues(generator.normal(size=20_000), np.zeros(20_000)).p_values
    for level in (0.2, 0.05, 0.01, 0.001):
        assert (p <= level).mean() <= 1.15 * level


# --- contradictions beyond what is expected ----------------------------------------------


def test_only_significant_and_large_excess_cuts():
    def cut(observed, expected, groups=1):
        tally = excess.Tally.empty(groups)
        tally.observed[0, 0], tally.expected[0, 0] = observed, expected
        return excess.cuts(tally)[0]

    assert math.isfinite(cut(30, 10.0))
    assert cut(29, 10.0) == math.inf  # significant, and less than three times as many
    assert cut(3, 1.0) == math.inf  # three times as many, and not significant
    assert cut(1, 0.0) == math.inf  # a single label is no excess
    assert math.isfinite(cut(2, 1e-4))


def test_the_cut_is_where_the_excess_ends():
    tally = excess.Tally.empty(1)
    tally.observed[:, 0] = [90, 80, 60, 40, 20, 10, 5]
    tally.expected[:, 0] = [28, 8, 2, 1, 0.5, 0.1, 0.01]
    assert excess.cuts(tally)[0] == excess.LEVELS[1]  # between the lowest two: 10 for 20
    tally.expected[0, 0] = 12
    assert excess.cuts(tally)[0] == excess.LEVELS[0]


def test_scattered_excess_shows_only_in_the_sum():
    tally = excess.Tally.empty(60)
    tally.observed[2], tally.expected[2] = 1.0, 0.1
    assert (excess.cuts(tally) == excess.LEVELS[2]).all()
    tally.expected[2] = 0.4
    assert (excess.cuts(tally) == math.inf).all()


def test_one_group_stands_out_where_the_sum_does_not():
    tally = excess.Tally.empty(50)
    tally.observed[:2], tally.expected[:2] = 20.0, 20.0
    tally.observed[:2, 7], tally.expected[:2, 7] = 40.0, 2.0
    cut = excess.cuts(tally)
    assert np.flatnonzero(np.isfinite(cut)).tolist() == [7]


def test_one_group_among_many_must_be_more_significant():
    for groups, found in ((1, True), (50, False)):
        tally = excess.Tally.empty(groups)
        tally.observed[0], tally.expected[0] = 20.0, 20.0
        tally.observed[0, 0], tally.expected[0, 0] = 4.0, 0.5  # one of 570 times by chance
        assert math.isfinite(excess.cuts(tally)[0]) is found


def test_a_tally_counts_and_expects_contradictions():
    tally = excess.Tally.empty(3)
    probabilities = np.array([[0.9, 0.08, 0.02], [0.9, 0.08, 0.02], [0.5, 0.3, 0.2], [0.8, 0.2, 0]])
    tally.add(probabilities, np.array([1, 2, 2, 1]))
    assert tally.observed[0].tolist() == [0, 2, 1]  # odds from 3.2: 11, 45 and 4 to one
    assert tally.expected[0] == pytest.approx([0, 0.36, 0.04])
    assert tally.observed[1].tolist() == [0, 1, 1]  # from 10
    assert tally.expected[1] == pytest.approx([0, 0.16, 0.04])
    assert tally.observed[2].tolist() == [0, 0, 1]  # from 32
    assert tally.expected[2] == pytest.approx([0, 0, 0.04])


@pytest.mark.parametrize("exponent", [0.4, 1.0, 2.0])
def test_the_temperature_of_predictions_is_found_despite_wrong_labels(exponent):
    generator = np.random.default_rng(0)
    logit = generator.normal(size=20_000) * 3 / exponent
    given = generator.random(20_000) < 1 / (1 + np.exp(-logit * exponent))
    given ^= generator.random(20_000) < 0.03
    likely = 1 / (1 + np.exp(-logit))
    best = np.maximum(likely, 1 - likely)
    found = excess.temperature(best, (1 - best)[:, None], (likely > 0.5) != given)
    assert found == pytest.approx(exponent, rel=0.2)


def test_predictions_that_are_never_unsure_are_taken_at_their_word():
    best = np.full(50, 0.99)
    assert excess.temperature(best, (1 - best)[:, None], np.ones(50, dtype=bool)) == 1.0
    assert excess.temperature(best[:0], best[:0, None], np.zeros(0, dtype=bool)) == 1.0


def test_nothing_stays_in_the_module_of_cleanlab():
    from cleanlab import filter as cleanlab_filter

    cleanlab_filter.pred_probs_by_class = {0: np.ones(3)}
    labels, likely = decisions(0)
    assert multilabel_issues(wrong_decisions(labels, likely, 0)[0], likely).groups
    assert not hasattr(cleanlab_filter, "pred_probs_by_class")


# --- several classes a row ---------------------------------------------------------------


def decisions(seed, rows=2000, classes=8, sharpness=4.0, confidence=1.0):
    """Calibrated probabilities, and honest labels drawn from them."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(size=(rows, classes)) * sharpness - 1.0
    labels = generator.random(logit.shape) < 1 / (1 + np.exp(-logit))
    return labels, 1 / (1 + np.exp(-logit * confidence))


def wrong_decisions(labels, likely, seed, share=0.02):
    changed = np.random.default_rng(seed + 99).random(labels.shape) < share
    return labels ^ changed, changed


def cells(channel, shape):
    mask = np.zeros(shape, dtype=bool)
    for group in channel.groups:
        mask[group.rows, group.evidence["class"]] = True
    return mask


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("confidence", [0.5, 1.0, 2.0])
def test_calibrated_uncertain_and_miscalibrated_decisions_are_not_flagged(sharpness, confidence):
    for seed in range(5):
        labels, likely = decisions(seed, sharpness=sharpness, confidence=confidence)
        assert multilabel_issues(labels, likely).flagged.mean() <= 0.001


def test_rare_classes_that_nothing_predicts_are_not_flagged():
    labels = np.random.default_rng(0).random((2000, 20)) < 0.02
    assert not multilabel_issues(labels, np.full(labels.shape, 0.02)).groups


def test_wrong_decisions_are_found():
    labels, likely = decisions(1, sharpness=8.0)
    wrong, changed = wrong_decisions(labels, likely, 1)
    sure = changed & (np.abs(likely - 0.5) > 0.495)
    found = cells(multilabel_issues(wrong, likely), labels.shape)
    assert found[sure].mean() >= 0.8
    assert found[~changed].mean() <= 0.004


def test_a_class_that_is_taken_from_rows_is_named():
    labels, likely = decisions(2)
    taken = labels.copy()
    rows = np.flatnonzero(labels[:, 3] & (likely[:, 3] > 0.99))[:60]
    taken[rows, 3] = False
    (group,) = multilabel_issues(taken, likely).groups
    assert (group.evidence["class"], group.evidence["direction"]) == (3, "missing")
    assert set(rows) <= set(group.rows.tolist())
    assert len(group.rows) <= 1.1 * len(rows)
    assert group.rows.dtype == np.int64
    given_too = labels.copy()
    rows = np.flatnonzero(~labels[:, 5] & (likely[:, 5] < 0.01))[:60]
    given_too[rows, 5] = True
    (group,) = multilabel_issues(given_too, likely).groups
    assert (group.evidence["class"], group.evidence["direction"]) == (5, "given")


def test_a_class_is_not_sharpened_further_than_it_allows_by_itself():
    easy, hard = decisions(4, confidence=0.5), decisions(5, classes=1, confidence=1.0)
    labels, likely = (np.hstack(pair) for pair in zip(easy, hard, strict=True))
    exponents = multilabel._exponents(labels, likely)
    assert exponents[-1] == pytest.approx(1.0, abs=0.15)
    assert exponents[:-1].min() > 1.5


def test_a_class_that_no_row_has_any_more_is_seen():
    labels, likely = decisions(3)
    labels[:, 0] = False
    groups = multilabel_issues(labels, likely).groups
    assert [group.evidence["class"] for group in groups] == [0]
    assert len(groups[0].rows) >= 0.5 * (likely[:, 0] > 0.9).sum()


def test_rows_are_scored_by_their_worst_decision():
    labels = np.array([[True, False], [True, False], [True, True]])
    likely = np.array([[0.9, 0.2], [0.5, 0.001], [0.001, 0.9]])
    channel = multilabel_issues(labels, likely)
    assert channel.scores.argsort().tolist() == [0, 1, 2]
    assert channel.scores[2] == pytest.approx(math.log(999))
    assert channel.p_values[2] == pytest.approx(1 - 0.999**2)


@pytest.mark.parametrize(
    ("labels", "likely", "reason"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "no rows"),
        (np.zeros((3, 0)), np.zeros((3, 0)), "no rows or no classes"),
        (np.zeros((3, 2)), np.zeros((3, 3)), "same rows"),
        (np.zeros(3), np.zeros(3), "same rows"),
        (np.zeros((3, 1)), np.array([[0.5], [np.nan], [0.5]]), "1 rows have probabilities that"),
        (np.zeros((3, 1)), np.array([[0.5], [-np.inf], [0.5]]), "1 rows have probabilities that"),
        (np.zeros((2, 1)), np.array([[1.1], [-0.1]]), "2 rows have probabilities outside"),
    ],
)
def test_decisions_that_cannot_be_judged_are_unknown(labels, likely, reason):
    channel = multilabel_issues(labels.astype(bool), likely)
    assert reason in channel.unknown
    assert not channel.groups
    assert np.isnan(channel.scores).all()


@pytest.mark.slow
def test_odd_shapes_of_decisions_are_no_trouble():
    for shape in ((1, 1), (1, 500), (300, 1), (20, 1500)):
        labels = np.zeros(shape, dtype=bool)
        assert not multilabel_issues(labels, np.full(shape, 1e-4)).groups
        assert not multilabel_issues(~labels, np.ones(shape)).groups
    assert len(multilabel_issues(np.ones((100, 1), dtype=bool), np.zeros((100, 1))).groups) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
@pytest.mark.slow
def test_decisions_do_not_depend_on_the_order_of_rows(seed):
    labels, likely = decisions(seed, rows=300)
    wrong, _ = wrong_decisions(labels, likely, seed, share=0.05)
    order = np.random.default_rng(seed).permutation(300)
    first, second = multilabel_issues(wrong, likely), multilabel_issues(wrong[order], likely[order])
    assert np.array_equal(first.scores[order], second.scores)
    assert np.array_equal(cells(first, labels.shape)[order], cells(second, labels.shape))


def attributes_of_digits():
    data = datasets.load_digits()
    groups = ((0, 2, 4, 6, 8), (5, 6, 7, 8, 9), (0, 6, 8, 9), (2, 3, 5, 7), (1, 4))
    rows = slice(0, 700)
    return data.data[rows], np.stack([np.isin(data.target[rows], one) for one in groups], axis=1)


@pytest.mark.usefixtures("few_trees")
def test_models_of_several_classes_find_wrong_ones_and_leave_clean_ones():
    x, labels = attributes_of_digits()
    fold = deal(len(x))
    clean = multilabel.fit_probabilities(x, labels, fold, 0)
    assert ((clean > 0) & (clean < 1)).all()
    assert multilabel_issues(labels, clean).flagged.mean() <= 0.005
    wrong, changed = wrong_decisions(labels, clean, 0)
    channel = multilabel_issues(wrong, multilabel.fit_probabilities(x, wrong, fold, 0))
    found = cells(channel, labels.shape)
    assert found[changed].mean() >= 0.35
    assert found[~changed].mean() <= 0.002
    order = np.random.default_rng(1).permutation(len(x))
    again = multilabel.fit_probabilities(x[order], labels[order], fold[order], 0)
    assert np.array_equal(again, clean[order])


def test_classes_that_do_not_vary_are_predicted_as_they_are(monkeypatch, few_trees):
    x = np.random.default_rng(0).normal(size=(60, 3))
    labels = np.stack([np.ones(60), np.zeros(60), x[:, 0] > 0, x[:, 1] > 0], axis=1).astype(bool)
    whole = multilabel.fit_probabilities(x, labels, deal(60), 0)
    assert (whole[:, 0] > 0.9).all()
    assert (whole[:, 1] < 0.1).all()
    assert ((whole[:, 2] > 0.5) == labels[:, 2]).mean() > 0.85
    monkeypatch.setattr(multilabel, "LEAF_BYTES", 1)  # a forest for each class
    apart = multilabel.fit_probabilities(x, labels, deal(60), 0)
    assert np.abs(apart - whole).mean() < 0.1
    none = multilabel.fit_probabilities(x[:, :0], labels, deal(60), 0)
    assert np.isfinite(none).all()
    with pytest.raises(ConfigurationError, match="1001 classes"):
        multilabel.fit_probabilities(x, np.zeros((60, 1001), dtype=bool), deal(60), 0)


# --- tokens ------------------------------------------------------------------------------


def sentences(seed, count=400, classes=6, sharpness=4.0, confidence=1.0):
    """Calibrated probabilities of tokens, and honest labels drawn from them."""
    generator = np.random.default_rng(seed)
    labels, likely = [], []
    for _ in range(count):
        logit = generator.normal(size=(generator.integers(0, 25), classes)) * sharpness
        p = np.exp(logit - logit.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        labels.append([int(generator.choice(classes, p=row)) for row in p])
        powered = p**confidence
        likely.append(powered / powered.sum(axis=1, keepdims=True))
    return labels, likely


def mislabel(labels, likely, seed, count=100, classes=6):
    generator = np.random.default_rng(seed + 7)
    places = [
        (i, j)
        for i, sentence in enumerate(labels)
        for j, code in enumerate(sentence)
        if likely[i][j, code] > 0.99
    ]
    wrong = [list(sentence) for sentence in labels]
    chosen = set()
    for at in generator.choice(len(places), count, replace=False):
        i, j = places[at]
        wrong[i][j] = int((wrong[i][j] + generator.integers(1, classes)) % classes)
        chosen.add((i, j))
    return wrong, chosen


def positions(channel):
    return {tuple(place) for group in channel.groups for place in group.evidence["positions"]}


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("confidence", [0.5, 1.0, 2.0])
def test_calibrated_uncertain_and_miscalibrated_tokens_are_not_flagged(sharpness, confidence):
    for seed in range(2):
        labels, likely = sentences(seed, sharpness=sharpness, confidence=confidence)
        channel = token_issues(labels, likely)
        assert not channel.unknown
        assert channel.metrics["tokens_flagged"] <= 0.001 * channel.metrics["tokens"]


def test_wrong_tokens_are_found_and_placed():
    labels, likely = sentences(1)
    wrong, chosen = mislabel(labels, likely, 1)
    channel = token_issues(wrong, likely)
    found = positions(channel)
    assert len(found & chosen) >= 0.85 * len(chosen)
    assert len(found - chosen) <= 0.3 * len(found)
    assert {i for i, _ in found} == set(np.flatnonzero(channel.flagged).tolist())
    for group in channel.groups:
        for i, j in group.evidence["positions"]:
            assert wrong[i][j] == group.evidence["given"]
            assert likely[i][j].argmax() == group.evidence["suggested"]
    counts = [group.evidence["count"] for group in channel.groups]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == channel.metrics["tokens_flagged"] == len(found)


def test_only_the_given_class_with_an_excess_is_flagged():
    sure, unsure = [[0.001, 0.999]], [[0.8, 0.2]]
    likely = [np.array(sure * 30 + unsure * 500)]
    given = [0] * 30 + [1] * 100 + [0] * 400  # one in five is 1 where 0 is likelier, as told
    (group,) = token_issues([given], likely).groups
    assert (group.evidence["given"], group.evidence["count"]) == (0, 30)


def test_sentences_without_tokens_are_not_examined():
    channel = token_issues(
        [[], [0], []], [np.zeros((0, 2)), np.array([[0.9, 0.1]]), np.zeros((0, 2))]
    )
    assert np.isnan(channel.scores).tolist() == [True, False, True]
    assert np.isnan(channel.p_values).tolist() == [True, False, True]
    assert not channel.unknown


def test_sentences_are_scored_by_their_worst_token():
    p = np.array([[0.9, 0.1], [0.99, 0.01]])
    channel = token_issues([[0, 1], [1, 0], [0, 0]], [p, p, p])
    assert channel.scores.tolist() == pytest.approx([math.log(99), math.log(9), -math.log(9)])
    assert channel.p_values.tolist() == pytest.approx([1.0, 1.0, 1.0])
    only = token_issues([[0], [1]], [p[1:], p[1:]])
    assert only.p_values.tolist() == pytest.approx([1.0, 0.01])


def test_a_class_relabelled_completely_is_seen():
    labels, likely = sentences(2, count=200, sharpness=6.0)
    moved = [[1 if code == 0 else code for code in sentence] for sentence in labels]
    worst = token_issues(moved, likely).groups[0]
    assert (worst.evidence["given"], worst.evidence["suggested"]) == (1, 0)


def even(count, classes):
    return np.full((count, classes), 1 / classes)


@pytest.mark.parametrize(
    ("labels", "likely", "reason"),
    [
        ([], [], "no tokens"),
        ([[]], [np.zeros((0, 3))], "no tokens"),
        ([[0]], [], "1 sentences have labels, 0"),
        ([[0]], [even(2, 3)], "one row of probabilities"),
        ([[0]], [np.array([0.5])], "one row of probabilities"),
        ([[0], [0]], [even(1, 2), even(1, 3)], "[2, 3] classes"),
        ([[0]], [np.zeros((1, 0))], "[0] classes"),
        ([[3]], [even(1, 3)], "not class codes from 0 to 2"),
        ([[-1]], [even(1, 3)], "not class codes"),
        ([[0.5]], [even(1, 3)], "not class codes"),
        ([[True]], [even(1, 3)], "not class codes"),
        ([["a"]], [even(1, 3)], "not class codes"),
        ([[10**30]], [even(1, 3)], "not class codes"),
        ([[0, 0]], [np.array([[np.nan, 1], [1, 0]])], "of 1 tokens they are missing"),
        ([[0, 0]], [np.array([[np.inf, 1], [1, 0]])], "of 1 tokens they are missing"),
        ([[0, 0]], [np.array([[1.5, -0.5], [1, 0]])], "of 1 tokens they are outside"),
        ([[0, 0]], [np.array([[0.01, 0.0], [1, 0]])], "of 1 tokens they do not sum"),
    ],
)
def test_tokens_that_cannot_be_judged_are_unknown(labels, likely, reason):
    channel = token_issues(labels, likely)
    assert reason in channel.unknown
    assert not channel.groups
    assert len(channel.scores) == len(labels)
    assert np.isnan(channel.scores).all()


def test_odd_shapes_of_sentences_are_no_trouble():
    assert not token_issues([[0]], [even(1, 1)]).groups
    assert not token_issues([[0] * 5] * 20, [even(5, 2)] * 20).groups
    assert not token_issues([[9999, 0]] * 5, [even(2, 10_000)] * 5).groups
    sure = np.tile([[0.9999, 0.0001]], (60, 1))
    (group,) = token_issues([[1] * 60], [sure]).groups  # all labels are the same, and wrong
    assert group.evidence["count"] == 60
    assert token_issues([list(np.array([1] * 60))], [sure]).groups


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_size_of_batches_changes_nothing(batch, monkeypatch):
    labels, likely = sentences(3, count=60)
    wrong, _ = mislabel(labels, likely, 3, count=40)
    whole = token_issues(wrong, likely)
    monkeypatch.setattr(tokens, "_temperature", lambda *_: 1.0)
    monkeypatch.setattr(tokens, "BATCH", batch)
    parts = token_issues(wrong, likely)
    assert whole.metrics["exponent"] == 1.0
    assert positions(whole) == positions(parts)
    assert np.array_equal(whole.scores, parts.scores, equal_nan=True)
    assert whole.p_values == pytest.approx(parts.p_values, nan_ok=True)


def test_a_group_names_a_bounded_number_of_positions():
    sure = np.tile([[0.9999, 0.0001]], (3 * tokens.MAX_POSITIONS, 1))
    (group,) = token_issues([[1] * len(sure)], [sure]).groups
    assert group.evidence["count"] == len(sure)
    assert len(group.evidence["positions"]) == tokens.MAX_POSITIONS


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_tokens_do_not_depend_on_the_order_of_sentences(seed):
    labels, likely = sentences(seed, count=40)
    wrong, _ = mislabel(labels, likely, seed, count=20)
    order = np.random.default_rng(seed).permutation(40)
    first = token_issues(wrong, likely)
    second = token_issues([wrong[i] for i in order], [likely[i] for i in order])
    assert np.array_equal(first.scores[order], second.scores, equal_nan=True)
    assert positions(first) == {(int(order[i]), j) for i, j in positions(second)}


def test_messages_and_evidence_hold_no_target():
    y = np.append(np.random.default_rng(0).normal(size=400), [54321.25] * 5)
    (group,) = regression_issues(y, np.zeros(405)).groups
    assert "54321" not in group.message + repr(dict(group.evidence))


def test_bells_are_laws():
    table = reg._mixtures()
    assert np.exp(table.logs).sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    normal = np.exp(table.tails[:, 0])
    assert normal == pytest.approx(1.0)
    assert (np.diff(table.tails, axis=1) <= 0).all()
    scale = reg.SCALES[0] / stats.t(100.0).ppf(0.75)
    assert np.exp(table.tails[len(reg.SCALES) * 10, 10]) == pytest.approx(
        2 * stats.t(100.0).sf(table.points[10] / scale)
    )
