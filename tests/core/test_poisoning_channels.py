"""Channels on numeric features: clean data passes, attacks are caught, near misses are not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.neural_network import MLPClassifier

from sluicegate.canonical import canonical_json
from sluicegate.stages.poisoning import duplicates as dup
from sluicegate.stages.poisoning import outliers as out
from sluicegate.stages.poisoning import representations as rep
from sluicegate.stages.poisoning import sources as src
from sluicegate.stages.poisoning.channel import Channel
from sluicegate.stages.poisoning.columns import read_features
from sluicegate.stages.poisoning.crossfit import reproducible
from sluicegate.stages.poisoning.data import Dataset, arrange
from sluicegate.stages.poisoning.detector import Shard, examine
from sluicegate.stages.poisoning.labels import read_labels

Table = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with reproducible():
        yield


def bundled(name: str) -> Table:
    data = getattr(datasets, f"load_{name}")()
    return data.data.astype(np.float64), data.target.astype(np.int64)


def clean_table(name: str, seed: int = 0) -> Table:
    """Honest data of many shapes."""
    g = np.random.default_rng(seed)
    y = g.integers(0, 2, 1200)
    if name in ("iris", "wine", "breast_cancer", "digits"):
        return bundled(name)
    if name == "blobs":
        x, y = datasets.make_blobs(
            [600, 200, 150, 50], 8, cluster_std=[1, 0.3, 2.5, 0.7], random_state=seed
        )
    elif name == "moons":
        x, y = datasets.make_moons(1500, noise=0.15, random_state=seed)
    elif name == "mixtures":
        x, y = datasets.make_classification(
            3000, 5, n_informative=3, n_redundant=1, flip_y=0.1, random_state=seed
        )
    elif name == "heavy tails":
        x = g.standard_t(3, (1200, 10)) + y[:, None]
    elif name == "lognormal":
        x = np.exp(g.normal(size=(1200, 8)) + y[:, None] * 0.5)
    elif name == "binary":
        x = g.random((1200, 12)) < (0.03 + 0.07 * y[:, None])
    elif name == "counts":
        means = g.dirichlet(np.full(60, 0.1), 2) * 5
        x = g.poisson(means[y])
    elif name == "one-hot":
        code = g.choice(8, (1200, 3), p=[0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02])
        x = np.concatenate([np.eye(8)[code[:, at]] for at in range(3)], axis=1)
        y = (code.sum(axis=1) + g.integers(0, 3, 1200) > 6).astype(int)
    elif name == "rounded":
        x = np.round(g.normal(size=(1200, 5)) + y[:, None])
    elif name == "rare class":
        y = (g.random(1200) < 0.03).astype(int)
        x = g.normal(size=(1200, 8)) + 6 * y[:, None]
    elif name == "oversampled":
        x = g.normal(size=(1200, 8))
        x[600:] = np.repeat(x[:60], 10, axis=0)
    else:
        raise ValueError(name)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)


SHAPES = (
    "iris",
    "wine",
    "breast_cancer",
    "digits",
    "blobs",
    "moons",
    "mixtures",
    "heavy tails",
    "lognormal",
    "binary",
    "counts",
    "one-hot",
    "rounded",
    "rare class",
    "oversampled",
)


def as_dataset(x: np.ndarray, y: np.ndarray, *, folds: int = 5) -> Dataset:
    names = [f"f{at}" for at in range(x.shape[1])]
    features = read_features(pd.DataFrame(x, columns=names), names)
    labels = read_labels(pd.Series([f"class {code:05d}" for code in y]), "label")
    return arrange(features, labels, np.ones(len(y), dtype=bool), folds=folds, seed=0)


def well_formed(channel: Channel, rows: int) -> None:
    assert channel.scores.shape == channel.p_values.shape == (rows,)
    assert np.isfinite(channel.p_values[channel.flagged]).all() or channel.id.startswith(
        ("poisoning.spec", "poisoning.act", "poisoning.dup")
    )
    known = channel.p_values[np.isfinite(channel.p_values)]
    assert ((known >= 0) & (known <= 1)).all()
    for group in channel.groups:
        assert len(group.rows)
        assert (np.diff(group.rows) > 0).all()
        canonical_json(dict(group.evidence))


def flooded(
    table: Table, copies: int, *, noise: float = 0.0, row: int = 7, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add copies of one row with another label; return the table and which rows were added."""
    x, y = table
    g = np.random.default_rng(seed)
    added = np.repeat(x[row : row + 1], copies, axis=0)
    added = added + noise * x.std(axis=0) * g.normal(size=added.shape)
    labels = np.full(copies, (y[row] + 1) % (y.max() + 1))
    return np.vstack([x, added]), np.append(y, labels), np.arange(len(x), len(x) + copies)


def test_modules_import_nothing_heavy() -> None:
    names = ["duplicates", "outliers", "sources", "representations"]
    code = "import sys\n" + "".join(
        f"import sluicegate.stages.poisoning.{name}\n" for name in names
    )
    code += "print([m for m in ('numpy', 'scipy', 'sklearn', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestDuplicates:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_honest_repetition_is_no_flood(self, shape: str) -> None:
        x, y = clean_table(shape, seed=1)
        channel = dup.duplicates(x, y)
        well_formed(channel, len(y))
        assert not channel.groups

    @pytest.mark.parametrize("shape", ["digits", "breast_cancer", "lognormal", "heavy tails"])
    @pytest.mark.parametrize("noise", [0.0, 0.03])
    def test_flood_of_one_percent(self, shape: str, noise: float) -> None:
        table = clean_table(shape)
        x, y, added = flooded(table, max(len(table[1]) // 100, 6), noise=noise)
        channel = dup.duplicates(x, y)
        well_formed(channel, len(y))
        assert channel.flagged[added].all()
        assert channel.flagged.sum() <= len(added) + 2  # the copied row, and one by chance
        assert channel.groups[0].evidence["kind"] == ("near" if noise else "exact")
        assert channel.scores[added].min() > channel.scores[: len(table[1])].min()
        assert channel.p_values[added].max() <= dup.ALPHA

    def test_many_small_floods(self) -> None:
        x, y = bundled("digits")
        for row in range(0, 100, 10):
            x, y, _ = flooded((x, y), 6, row=row)
        channel = dup.duplicates(x, y)
        assert channel.flagged[1797:].all()
        assert channel.flagged.sum() == 70

    def test_flood_where_rows_repeat_a_little(self) -> None:
        x, y = clean_table("mixtures")
        x, y = np.vstack([x, x[:300], x[:30]]), np.concatenate([y, y[:300], y[:30]])
        assert not dup.duplicates(x, y).groups
        x, y, added = flooded((x, y), 30, row=2000)
        channel = dup.duplicates(x, y)
        assert channel.flagged[added].all()
        assert channel.flagged.sum() <= len(added) + 1

    @pytest.mark.parametrize("noise", [0.0, 0.02])
    def test_five_rows_are_no_flood(self, noise: float) -> None:
        x, y, _ = flooded(bundled("digits"), 4, noise=noise)
        flagged = [
            g for g in dup.duplicates(x, y).groups if g.evidence["kind"] != "conflicting labels"
        ]
        assert not flagged

    def test_crowd_of_neighbours_is_no_flood(self) -> None:
        g = np.random.default_rng(3)
        x, y = g.normal(size=(1000, 4)), np.zeros(1000, dtype=np.int64)
        x = np.vstack([x, 0.5 * g.normal(size=(150, 4))])  # denser, and it thins out
        assert not dup.duplicates(x, np.append(y, np.zeros(150, dtype=np.int64))).groups

    def test_large_tight_cluster_is_a_mode(self) -> None:
        g = np.random.default_rng(3)
        x = np.vstack([g.normal(size=(800, 6)), 4 + 0.01 * g.normal(size=(200, 6))])
        assert not dup.duplicates(x, np.zeros(1000, dtype=np.int64)).groups

    def test_flood_around_a_frequent_row_spares_it(self) -> None:
        x, y = clean_table("binary")
        row = int(np.flatnonzero((x == 0).all(axis=1))[0])
        x, y, added = flooded((x, y), 12, noise=0.05, row=row)
        channel = dup.duplicates(x, y)
        assert channel.flagged[added].all()
        assert channel.flagged.sum() == len(added)

    def test_frequent_values_make_frequent_rows(self) -> None:
        g = np.random.default_rng(1)
        x = (g.random((2000, 60)) < 0.01) * g.normal(size=(2000, 60))
        channel = dup.duplicates(x, np.zeros(2000, dtype=np.int64))
        assert channel.metrics["largest_repetition"] > 1000  # rows of nothing but zeros
        assert not channel.groups
        x[:300, :4] = 1.0  # and here it is not the values that are frequent
        assert dup.duplicates(x, np.zeros(2000, dtype=np.int64)).groups

    def test_border_must_be_abrupt(self) -> None:
        distances = np.concatenate([[0.0], np.linspace(0.5, 1.0, 200), np.linspace(1.1, 2, 500)])
        assert dup._jump(distances, 200, 1.0, 10.0) == (1.0, 0.0)
        distances[201:] += 0.2
        p, border = dup._jump(distances, 200, 1.0, 10.0)
        assert p < 1e-100
        assert border == 1.0

    def test_rows_outvoted_by_their_equals(self) -> None:
        x, y = clean_table("moons")
        x = np.vstack([x, x[:10], x[:10]])
        y = np.concatenate([y, y[:10], 1 - y[:10]])  # two right labels, one wrong one
        channel = dup.duplicates(x, y)
        assert channel.flagged.nonzero()[0].tolist() == list(range(1510, 1520))
        assert channel.groups[0].evidence["kind"] == "conflicting labels"

    def test_one_against_one_decides_nothing(self) -> None:
        x, y = clean_table("moons")
        channel = dup.duplicates(np.vstack([x, x[:10]]), np.append(y, 1 - y[:10]))
        assert not channel.groups
        assert channel.metrics["undecided_rows"] == 20

    def test_conflicts_are_usual_where_features_do_not_tell(self) -> None:
        g = np.random.default_rng(0)
        x = g.integers(0, 3, (3000, 4)).astype(float)
        y = (g.random(3000) < np.where(x[:, 0] > 0, 0.95, 0.1)).astype(np.int64)
        assert not dup.duplicates(x, y).groups

    def test_few_conflicts_among_many_repetitions(self) -> None:
        g = np.random.default_rng(0)
        x = g.integers(0, 3, (3000, 4)).astype(float)
        y = (x[:, 0] > 0).astype(np.int64)
        y[:15] = 1 - y[:15]
        channel = dup.duplicates(x, y)
        assert channel.flagged.nonzero()[0].tolist() == list(range(15))

    def test_groups_keep_copies_together(self) -> None:
        x, _, added = flooded(bundled("digits"), 20, noise=0.03)
        group = dup.duplicate_groups(x)
        assert len(np.unique(group[added])) == 1
        assert len(np.unique(group)) > 1780
        assert (np.unique(group) == np.arange(group.max() + 1)).all()
        pairs = np.vstack([x[:5], x[:5], -0.0 * x[:1], 0.0 * x[:1]])
        group = dup.duplicate_groups(pairs)
        assert (group[:5] == group[5:10]).all()
        assert group[10] == group[11]

    def test_dense_core_is_not_kept_together(self) -> None:
        x, _ = clean_table("lognormal")
        assert np.bincount(dup.duplicate_groups(x)).max() <= 0.05 * len(x)

    def test_more_rows_than_are_compared_with_each_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dup, "EXACT_ROWS", 3000)
        monkeypatch.setattr(dup, "SAMPLE_ROWS", 1000)
        g = np.random.default_rng(2)
        x, y = g.normal(size=(8000, 10)), np.zeros(8000, dtype=np.int64)
        assert not dup.duplicates(x, y).groups
        near = x[5] + 0.03 * g.normal(size=(40, 10))
        x = np.vstack([x, near, np.repeat(x[6:7], 30, axis=0)])
        channel = dup.duplicates(x, np.zeros(len(x), dtype=np.int64))
        assert channel.flagged[8000:].mean() > 0.95
        assert channel.flagged[:8000].sum() <= 4

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 120), st.integers(1, 3), st.integers(1, 30))
    def test_order_of_rows_does_not_matter(
        self, seed: int, rows: int, columns: int, levels: int
    ) -> None:
        g = np.random.default_rng(seed)
        x = g.integers(0, levels, (rows, columns)) + 0.001 * g.integers(0, 2, (rows, columns))
        y, mixed = g.integers(0, 2, rows), g.permutation(rows)
        one, other = dup.duplicates(x, y), dup.duplicates(x[mixed], y[mixed])
        np.testing.assert_array_equal(one.scores[mixed], other.scores)
        np.testing.assert_array_equal(one.flagged[mixed], other.flagged)
        np.testing.assert_array_equal(
            dup.duplicate_groups(x)[mixed], dup.duplicate_groups(x[mixed])
        )

    @pytest.mark.parametrize(
        "x",
        [
            np.zeros((0, 3)),
            np.zeros((5, 0)),
            np.ones((1, 2)),
            np.ones((300, 2)),
            np.array([[1e308], [-1e308]] * 20),
            np.arange(7.0)[:, None],
        ],
    )
    def test_hostile_tables(self, x: np.ndarray) -> None:
        channel = dup.duplicates(x, np.zeros(len(x), dtype=np.int64))
        well_formed(channel, len(x))
        assert not channel.flagged.any()
        assert len(dup.duplicate_groups(x)) == len(x)


def intruders(kind: str, table: Table, count: int, seed: int = 0) -> np.ndarray:
    """Rows from elsewhere."""
    x, _ = table
    g = np.random.default_rng(seed)
    if kind == "noise":
        return g.uniform(x.min(axis=0), x.max(axis=0), (count, x.shape[1]))
    if kind == "inverted":
        return x.max() - x[g.choice(len(x), count, replace=False)]
    if kind == "bars":
        bars = ((np.arange(64) // 8) % 3 == 0) * 14.0
        return np.clip(bars + g.normal(0, 2, (count, 64)), 0, 16).round()
    return x[g.choice(len(x), count, replace=False)][:, g.permutation(x.shape[1])]


def judged(x: np.ndarray, y: np.ndarray, **options: object) -> tuple[Channel, np.ndarray]:
    """Return the channel, and which rows of the table it flags."""
    data = as_dataset(x, y)
    channel = out.outliers(data, groups=dup.duplicate_groups(data.x), **options)
    well_formed(channel, len(data.y))
    flagged = np.zeros(len(y), dtype=bool)
    flagged[data.positions[channel.flagged]] = True
    return channel, flagged


class TestOutliers:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_clean_data_is_left_alone(self, shape: str) -> None:
        x, y = clean_table(shape)
        channel, flagged = judged(x, y)
        assert flagged.mean() <= out.BUDGET
        assert channel.metrics["within_budget"] <= 0.01 * len(y)

    def test_rare_values_of_binary_columns(self) -> None:
        for seed in range(3, 6):
            x, y = clean_table("binary", seed)
            assert judged(x, y)[1].mean() <= out.BUDGET

    def test_detector_of_nearly_equal_scores_is_not_used(self) -> None:
        g = np.random.default_rng(0)
        raw = g.normal(size=(500, len(out.DETECTORS))) * [0.07, 0.09, 1, 0, 1, 0.01]
        used = np.isfinite(out._model((), None, raw).spread)
        assert used.tolist() == [False, True, True, False, True, True]

    @pytest.mark.parametrize(
        ("kind", "count"),
        [("noise", 18), ("noise", 54), ("inverted", 54), ("bars", 18), ("permuted", 54)],
    )
    def test_similar_outliers_in_digits(self, kind: str, count: int) -> None:
        x, y = bundled("digits")
        added = intruders(kind, (x, y), count)
        _, flagged = judged(np.vstack([x, added]), np.append(y, np.full(count, 3)))
        assert flagged[len(y) :].mean() >= 0.9
        assert flagged[: len(y)].mean() <= 0.005

    @pytest.mark.parametrize("kind", ["noise", "permuted"])
    @pytest.mark.parametrize("count", [6, 17])
    def test_similar_outliers_in_measurements(self, kind: str, count: int) -> None:
        x, y = bundled("breast_cancer")
        added = intruders(kind, (x, y), count)
        _, flagged = judged(np.vstack([x, added]), np.append(y, np.zeros(count, dtype=np.int64)))
        assert flagged[len(y) :].mean() >= 0.9
        assert flagged[: len(y)].mean() <= 0.005

    def test_flood_of_one_outlier(self) -> None:
        x, y = bundled("digits")
        added = np.repeat(intruders("noise", (x, y), 1), 40, axis=0)
        x, y = np.vstack([x, added]), np.append(y, np.full(40, 3))
        data = as_dataset(x, y)
        flood = data.positions >= len(x) - 40
        other_folds = (data.fold + np.arange(len(data.y))) % 5  # copies in all folds
        data = replace(data, fold=np.where(flood, other_folds, data.fold))
        model = out.fit_outliers(data, groups=dup.duplicate_groups(data.x))
        z = model.detectors(data.x, data.y, data.fold)[:, out.DETECTORS.index("neighbours")]
        assert z[flood].min() > 3
        z = out.fit_outliers(data).detectors(data.x, data.y, data.fold)
        assert z[flood, out.DETECTORS.index("neighbours")].max() < 0  # they vouch for each other

    def test_one_row_far_away(self) -> None:
        g = np.random.default_rng(0)
        x = np.vstack([g.normal(size=(500, 6)), np.full((1, 6), 15.0)])
        _, flagged = judged(x, np.zeros(501, dtype=np.int64))
        assert flagged.nonzero()[0].tolist() == [500]
        x[500] = 2.0
        assert not judged(x, np.zeros(501, dtype=np.int64))[1].any()

    def test_broken_relation_between_columns(self) -> None:
        g = np.random.default_rng(0)
        a = g.normal(size=(800, 3))
        x = np.hstack([a, a + 0.01 * g.normal(size=(800, 3))])
        x[:8, 3:] = g.normal(size=(8, 3))
        _, flagged = judged(x, np.zeros(800, dtype=np.int64))
        assert flagged[:8].sum() >= 7
        assert flagged[8:].mean() <= 0.005

    def test_evidence_names_columns_and_no_values(self) -> None:
        g = np.random.default_rng(0)
        x, y = g.normal(size=(600, 8)), g.integers(0, 2, 600)
        x[:10, [2, 5]] += 12.5
        channel, flagged = judged(x, y)
        assert flagged[:10].all()
        group = channel.groups[0]
        assert set(group.evidence["features"][:2]) == {"f2", "f5"}
        assert group.evidence["detector"] in out.DETECTORS
        assert group.evidence["nearest_class"].startswith("class 0000")
        assert "12.5" not in group.message + str(group.evidence)

    def test_excess_is_needed_within_the_budget(self) -> None:
        honest = np.linspace(0.002, 1, 1000)  # two of a thousand rows within 0.003
        assert not len(out._exceeding(honest, 0.003))
        honest[:9] = 0.0029
        assert len(out._exceeding(honest, 0.003)) == 9
        honest[0] = 4e-5  # less than 0.05 / 1000
        assert len(out._exceeding(honest, 0.003)) == 9
        honest[1:9] = 0.5
        assert out._exceeding(honest, 0.003).tolist() == [0]

    def test_trusted_reference_is_calibrated(self) -> None:
        g = np.random.default_rng(4)
        x, y = g.standard_t(4, (3000, 5)), g.integers(0, 2, 3000)
        trusted, rest = (x[:1000], y[:1000]), (x[1000:], y[1000:])
        channel, flagged = judged(*rest, reference=trusted)
        assert flagged.mean() <= 0.01
        for level in (0.05, 0.2, 0.5):
            assert abs((channel.p_values <= level).mean() - level) < 0.25 * level + 0.02
        poisoned = np.vstack([rest[0], g.normal(9, 1, (20, 5))])
        _, flagged = judged(
            poisoned, np.append(rest[1], np.zeros(20, dtype=int)), reference=trusted
        )
        assert flagged[2000:].all()

    def test_conformal_p_values_count_equal_scores(self) -> None:
        g = np.random.default_rng(4)
        x, y = np.tile(g.normal(size=(250, 3)), (4, 1)), np.zeros(1000, dtype=np.int64)
        far = np.vstack([x[:250], [[50.0, 50.0, 50.0]]])
        channel, _ = judged(far, y[:251], reference=(x, y))
        lowest = np.sort(channel.p_values)
        assert lowest[0] == 1 / 501  # beyond all of the 500 that calibrate
        assert lowest[1] >= 2 / 501  # as far as one of them

    def test_small_reference_is_refused(self) -> None:
        x, y = clean_table("moons")
        channel, flagged = judged(x, y, reference=(x[:100], y[:100]))
        assert "100 rows" in channel.unknown
        assert not flagged.any()

    def test_model_scores_any_batch_alike(self) -> None:
        data = as_dataset(*bundled("digits"))
        model = out.fit_outliers(data, seed=3)
        whole = model.score(data.x, data.y, data.fold)
        again = pickle.loads(pickle.dumps(model))
        cuts = np.split(np.random.default_rng(0).permutation(len(data.y)), [1, 10, 700])
        for some in cuts:
            part = again.score(data.x[some], data.y[some], data.fold[some])
            np.testing.assert_allclose(part, whole[some], rtol=0, atol=2e-6)
        assert len(model.score(data.x[:0], data.y[:0], data.fold[:0])) == 0
        assert np.isfinite(model.score(data.x[:9], data.y[:9], np.full(9, -1))).all()

    def test_a_row_does_not_vouch_for_itself(self) -> None:
        g = np.random.default_rng(0)
        x = np.vstack([g.normal(size=(300, 3)), [[9.0, -9.0, 9.0]]])
        data = as_dataset(x, np.zeros(301, dtype=np.int64))
        at = int(np.flatnonzero(data.positions == 300)[0])
        model = out.fit_outliers(data)
        part = model.parts[int(data.fold[at])]
        assert not (np.abs(part.reference - part.scaled(data.x[[at]])).sum(axis=1) < 1e-9).any()

    @settings(max_examples=3, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_order_of_rows_does_not_matter(self, seed: int) -> None:
        g = np.random.default_rng(seed)
        x, y = g.normal(size=(200, 4)), g.integers(0, 2, 200)
        x[:5] += 10
        mixed = g.permutation(200)
        scores = []
        for rows in (np.arange(200), mixed):
            data = as_dataset(x[rows], y[rows])
            channel = out.outliers(data)
            back = np.empty(200)
            back[rows[data.positions]] = channel.scores
            scores.append(back)
        np.testing.assert_array_equal(*scores)

    @pytest.mark.parametrize(
        ("rows", "columns", "classes"),
        [(1, 2, 1), (60, 1, 1), (49, 3, 1), (400, 3, 40), (2000, 2, 300), (80, 400, 2)],
    )
    def test_hostile_shapes(self, rows: int, columns: int, classes: int) -> None:
        g = np.random.default_rng(0)
        y = np.arange(rows) % classes
        data = as_dataset(g.normal(size=(rows, columns)) + y[:, None], y)
        channel = out.outliers(data)
        well_formed(channel, len(data.y))
        assert bool(channel.unknown) == (rows < out.LEAST_ROWS)
        assert channel.flagged.sum() <= 2

    def test_rows_that_are_nearly_all_equal(self) -> None:
        x = np.zeros((500, 3))
        x[:18] = np.tile(np.eye(3), (6, 1)) + np.arange(18)[:, None] // 3
        channel, flagged = judged(x, np.arange(500) % 2)
        assert "look the same" in channel.unknown
        assert not flagged.any()


def labelled(
    seed: int, rows: int = 4000, sources: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return sources, labels, expected and actual contradictions of honest data.

    Sources have their own class mix and the model's expectation is off by up to 30 %.
    """
    g = np.random.default_rng(seed)
    source = g.choice(sources, rows, p=g.dirichlet(np.full(sources, 3.0)))
    mix = g.dirichlet(np.full(4, 0.7), sources).cumsum(axis=1)
    y = (g.random(rows)[:, None] > mix[source]).sum(axis=1).clip(0, 3)
    expected = np.clip(np.array([0.02, 0.04, 0.08, 0.12])[y] * g.lognormal(0, 1, rows), 0, 0.6)
    off = g.uniform(0.7, 1.3, sources)[source]
    errors = (g.random(rows) < np.clip(expected * off, 0, 1)).astype(float)
    return source, y, expected, errors


NAMES = [f"contributor {at:02d}" for at in range(20)]
CLASSES = ["a", "b", "c", "d"]


def shifts(
    source: np.ndarray,
    y: np.ndarray,
    expected: np.ndarray,
    errors: np.ndarray,
    **options: object,
) -> Channel:
    channel = src.source_shift(errors, expected, y, source, NAMES, classes=CLASSES, **options)
    well_formed(channel, len(y))
    return channel


def named(channel: Channel) -> set[str]:
    return {str(group.evidence["source"]) for group in channel.groups}


class Batches:
    """A shard of batches that are in memory."""

    def __init__(self, batches: list[src.SourceBatch]) -> None:
        self._batches = batches

    def batches(self) -> Iterator[src.SourceBatch]:
        yield from self._batches


class TestSources:
    def test_clean_data_names_nobody(self) -> None:
        for seed in range(8):
            assert not shifts(*labelled(seed)).groups

    def test_poisoning_contributors(self) -> None:
        for seed in range(5):
            source, y, expected, errors = labelled(seed)
            g = np.random.default_rng(seed)
            largest = np.bincount(source).argsort()[-9:][::3]
            wrong = np.isin(source, largest) & (g.random(len(y)) < 0.4)
            channel = shifts(source, y, expected, np.maximum(errors, wrong))
            assert named(channel) == {NAMES[at] for at in largest}
            assert channel.flagged[wrong].all()
            assert not channel.flagged[~np.isin(source, largest)].any()

    def test_one_class_of_a_contributor(self) -> None:
        source, y, expected, errors = labelled(1)
        pair = np.bincount(source * 4 + y)
        who, label = divmod(int(pair.argsort()[-5]), 4)
        wrong = (source == who) & (y == label)
        wrong[np.flatnonzero(wrong)[::2]] = False
        channel = shifts(source, y, expected, np.maximum(errors, wrong))
        assert named(channel) == {NAMES[who]}
        assert channel.groups[0].evidence["label"] in (CLASSES[label], None)
        evidence = channel.groups[0].evidence
        assert evidence["observed"] >= 3 * evidence["expected"]
        assert evidence["p_value"] <= src.ALPHA

    def test_hard_rows_are_no_fault(self) -> None:
        source, y, expected, errors = labelled(2)
        hard = source == int(np.bincount(source).argmax())
        errors[hard] = np.random.default_rng(0).random(hard.sum()) < 0.42
        assert named(shifts(source, y, expected, errors))  # the model had expected few
        expected[hard] = 0.4
        assert not shifts(source, y, expected, errors).groups

    def test_class_mix_is_no_fault(self) -> None:
        g = np.random.default_rng(0)
        source = np.repeat(np.arange(10), 300)
        y = np.where(source == 4, 3, g.integers(0, 4, 3000))  # one source has the worst class
        rate = np.array([0.0, 0.01, 0.02, 0.3])[y]
        errors = (g.random(3000) < rate).astype(float)
        assert not shifts(source, y, np.full(3000, 0.01), errors).groups

    def test_twice_as_many_need_another_class_mix(self) -> None:
        g = np.random.default_rng(0)
        source = np.repeat(np.arange(10), 1000)
        errors = (g.random(10_000) < np.where(source == 4, 0.25, 0.1)).astype(float)
        y = g.integers(0, 4, 10_000)
        assert not shifts(source, y, np.full(10_000, 0.1), errors).groups
        y[source == 4] = 0
        channel = shifts(source, y, np.full(10_000, 0.1), errors)
        assert named(channel) == {NAMES[4]}
        assert channel.groups[0].evidence["label_distance"] >= src.MIXED

    def test_both_expectations_count(self) -> None:
        g = np.random.default_rng(0)
        source = np.repeat(np.arange(10), 2000)
        y = np.zeros(20_000, dtype=np.int64)
        of = source == 4
        errors = (g.random(20_000) < np.where(of, 0.25, 0.02)).astype(float)
        assert not shifts(source, y, np.where(of, 0.1, 0.02), errors).groups
        evidence = shifts(source, y, np.where(of, 0.05, 0.02), errors).groups[0].evidence
        assert evidence["expected"] == pytest.approx(100, rel=0.1)
        errors = (g.random(20_000) < np.where(of, 0.25, 0.1)).astype(float)
        assert not shifts(source, y, np.where(of, 0.01, 0.1), errors).groups
        source = np.repeat([0, 1], [10, 5000])  # ten rows are five times too bad by the others
        errors = np.concatenate([np.arange(10) < 5, np.arange(5000) % 100 == 0]).astype(float)
        y = np.zeros(5010, dtype=np.int64)
        assert shifts(source, y, np.full(5010, 0.01), errors).groups
        hard = np.where(source == 0, 0.15, 0.01)  # and three times by the model: by chance
        assert not shifts(source, y, hard, errors).groups

    def test_few_rows_or_errors_are_not_named(self) -> None:
        source = np.repeat([0, 1, 2], [9, 1000, 1000])
        y, expected = np.zeros(2009, dtype=np.int64), np.full(2009, 0.01)
        errors = (source == 0).astype(float)
        assert not shifts(source, y, expected, errors).groups
        source[9:11] = 0
        errors[9:11] = 1
        assert named(shifts(source, y, expected, errors)) == {NAMES[0]}
        errors[4:11] = 0
        assert not shifts(source, y, expected, errors).groups
        errors[4] = 1
        assert named(shifts(source, y, expected, errors)) == {NAMES[0]}

    def test_one_source_is_unknown(self) -> None:
        zeros = np.zeros(50, dtype=np.int64)
        channel = shifts(zeros, zeros, zeros + 0.1, zeros + 1.0)
        assert "nothing to compare" in channel.unknown
        assert not channel.groups

    def test_unknown_sources_and_scores_are_left_out(self) -> None:
        source, y, expected, errors = labelled(0)
        source[:50], errors[50:60], expected[60:70] = -1, np.nan, np.nan
        assert not shifts(source, y, expected, errors).groups

    def test_ten_thousand_classes(self) -> None:
        g = np.random.default_rng(0)
        y, source = g.integers(0, 10_000, 20_000), g.integers(0, 20, 20_000)
        errors = (g.random(20_000) < np.where(source == 3, 0.5, 0.05)).astype(float)
        channel = src.source_shift(
            errors, np.full(20_000, 0.05), y, source, NAMES, classes=[""] * 10_000
        )
        assert named(channel) == {NAMES[3]}
        errors = (g.random(20_000) < np.where(source == 3, 0.25, 0.1)).astype(float)
        channel = src.source_shift(
            errors, np.full(20_000, 0.1), y, source, NAMES, classes=[""] * 10_000
        )
        assert not channel.groups  # twice as many, and no other classes than by chance

    def test_window_of_time(self) -> None:
        for seed in range(2):
            source, y, expected, errors = labelled(seed, rows=2000)
            g = np.random.default_rng(seed)
            times = g.permutation(len(y)).astype(float)
            assert not shifts(source, y, expected, errors, times=times).groups
            inside = (times >= 1000) & (times < 1200)
            wrong = inside & (g.random(len(y)) < 0.5)
            channel = shifts(source, y, expected, np.maximum(errors, wrong), times=times)
            assert {group.evidence["kind"] for group in channel.groups} == {"window"}
            assert channel.flagged[wrong].mean() > 0.5
            for group in channel.groups:
                assert group.evidence["begins"] < 1200
                assert group.evidence["ends"] >= 1000
            mixed = g.permutation(len(y))
            again = shifts(
                source[mixed],
                y[mixed],
                expected[mixed],
                np.maximum(errors, wrong)[mixed],
                times=times[mixed],
            )
            np.testing.assert_array_equal(channel.flagged[mixed], again.flagged)

    def test_window_with_most_of_the_errors(self) -> None:
        g = np.random.default_rng(0)
        times = np.arange(4096.0)
        errors = (g.random(4096) < np.where(times < 2048, 0.1, 0.002)).astype(float)
        zeros = np.zeros(4096, dtype=np.int64)
        channel = shifts(zeros, zeros, np.full(4096, 0.05), errors, times=times)
        assert len(channel.groups) == 1
        assert channel.groups[0].evidence["rows"] == 2048

    def test_days_that_are_hard_or_of_a_hard_class(self) -> None:
        g = np.random.default_rng(0)
        times = np.repeat(np.arange(30.0), 100)
        hard = (times >= 10) & (times < 12)
        y = np.where(hard, 1, g.integers(0, 2, 3000) * (g.random(3000) < 0.5))
        source = g.integers(0, 20, 3000)
        by_class = np.where(y == 1, 0.3, 0.01)
        errors = (g.random(3000) < by_class).astype(float)
        channel = shifts(source, y, np.full(3000, 0.05), errors, times=times)
        assert not channel.groups
        errors = (g.random(3000) < np.where(hard, 0.4, 0.02)).astype(float)
        zeros = np.zeros(3000, dtype=np.int64)
        channel = shifts(source, zeros, np.where(hard, 0.4, 0.02), errors, times=times)
        assert not channel.groups
        assert shifts(source, zeros, np.full(3000, 0.03), errors, times=times).groups

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 6))
    def test_any_partition_gives_the_same_answer(self, seed: int, shards: int) -> None:
        source, y, expected, errors = labelled(seed % 10, rows=600)
        errors[source == np.bincount(source).argmax()] = 1.0
        tally = src.SourceTally(4)
        whole = src.SourceBatch(source, NAMES, y, errors, expected)
        wanted = tally.finalize(tally.update(tally.init(), whole))
        g = np.random.default_rng(seed)
        parts: list[list[src.SourceBatch]] = [[] for _ in range(shards)]
        for some in np.array_split(g.permutation(600), 2 * shards):
            renumbered = g.permutation(20)  # batches number sources as they like
            names = [""] * 20
            for at, name in zip(renumbered, NAMES, strict=True):
                names[at] = name
            parts[int(g.integers(shards))].append(
                src.SourceBatch(
                    renumbered[source[some]], names, y[some], errors[some], expected[some]
                )
            )
        shard_list: list[Shard[src.SourceBatch]] = [Batches(part) for part in parts]
        assert examine(tally, shard_list) == wanted
        assert wanted[0].source == NAMES[np.bincount(source).argmax()]

    def test_nothing_at_all(self) -> None:
        tally = src.SourceTally(2)
        assert tally.finalize(tally.init()) == ()
        empty = np.zeros(0, dtype=np.int64)
        channel = shifts(empty, empty, empty + 0.0, empty + 0.0, times=empty + 0.0)
        assert not channel.groups


def shifted(
    seed: int,
    count: int,
    *,
    classes: int = 5,
    dims: int = 32,
    shift: float = 10.0,
    heavy: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of which some of class 0 are moved in one direction."""
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, 1500)
    noise = g.standard_t(4, (1500, dims)) if heavy else g.normal(size=(1500, dims))
    h = 2 * g.normal(size=(classes, dims))[y] + noise @ g.normal(size=(dims, dims)) / dims**0.5
    direction = g.normal(size=dims)
    chosen = g.choice(np.flatnonzero(y == 0), count, replace=False)
    h[chosen] += shift * direction / np.linalg.norm(direction)
    return h, y, chosen


def hidden_layer(
    seed: int, count: int, target: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hidden layer of a network that learned digits, some with a patch in the corner."""
    x, y = bundled("digits")
    g = np.random.default_rng(seed)
    chosen = g.choice(np.flatnonzero(y != target), count, replace=False)
    x[np.ix_(chosen, [54, 55, 62, 63])] = 16
    y[chosen] = target
    model = MLPClassifier((64,), max_iter=60, random_state=seed).fit(x / 16, y)
    hidden = np.maximum(x / 16 @ model.coefs_[0] + model.intercepts_[0], 0)
    return hidden, y, chosen


DIGITS = [str(digit) for digit in range(10)]
BOTH = pytest.mark.parametrize(
    "channel_of", [rep.spectral_signatures, rep.activation_clustering], ids=["spectral", "clusters"]
)


class TestRepresentations:
    @BOTH
    @pytest.mark.parametrize("heavy", [False, True])
    def test_clean_embeddings(self, channel_of, heavy: bool) -> None:
        for seed in range(2):
            for classes, dims in ((5, 32), (2, 5), (3, 2)):
                h, y, _ = shifted(seed, 0, classes=classes, dims=dims, heavy=heavy)
                channel = channel_of(h, y, classes=DIGITS)
                well_formed(channel, len(y))
                assert not channel.groups

    @BOTH
    @pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "iris"])
    def test_clean_features_as_embeddings(self, channel_of, name: str) -> None:
        x, y = bundled(name)
        scaled = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
        assert not channel_of(scaled, y, classes=DIGITS).groups

    @BOTH
    @pytest.mark.parametrize("count", [20, 45])
    def test_shifted_cluster(self, channel_of, count: int) -> None:
        for seed in range(2):
            h, y, chosen = shifted(seed, count)
            channel = channel_of(h, y, classes=DIGITS)
            well_formed(channel, len(y))
            assert channel.flagged[chosen].all()
            assert channel.flagged.sum() <= count + 1
            assert np.median(channel.scores[chosen]) > np.quantile(
                channel.scores[np.setdiff1d(np.flatnonzero(y == 0), chosen)], 0.99
            )

    def test_backdoored_network(self) -> None:
        h, y, chosen = hidden_layer(3, 54, target=3)
        channel = rep.activation_clustering(h, y, classes=DIGITS)
        assert channel.flagged[chosen].mean() >= 0.95
        assert channel.flagged.sum() <= len(chosen) + 1
        assert channel.groups[0].evidence["label"] == "3"
        channel = rep.spectral_signatures(h, y, classes=DIGITS)
        assert channel.flagged[chosen].mean() >= 0.95

    def test_few_rows_in_a_class_of_many_ways(self) -> None:
        h, y, chosen = hidden_layer(4, 18, target=4)
        channel = rep.activation_clustering(h, y, classes=DIGITS)
        assert channel.flagged.nonzero()[0].tolist() == sorted(chosen)

    @BOTH
    def test_rows_of_another_class_with_a_trigger(self, channel_of) -> None:
        for seed in range(3):
            h, y, chosen = shifted(seed, 30, shift=8.0)
            h[chosen] += h[y == 1].mean(axis=0) - np.delete(h, chosen, 0)[
                np.delete(y, chosen) == 0
            ].mean(axis=0)
            assert channel_of(h, y, classes=DIGITS).flagged[chosen].all()

    @BOTH
    def test_clean_network(self, channel_of) -> None:
        h, y, _ = hidden_layer(1, 0)
        assert not channel_of(h, y, classes=DIGITS).groups

    @BOTH
    def test_a_feature_that_other_classes_share(self, channel_of) -> None:
        h, y, chosen = shifted(0, 45)
        direction = h[chosen].mean(axis=0) - h[y == 0].mean(axis=0)
        others = np.flatnonzero(y != 0)[::10]
        assert channel_of(h, y, classes=DIGITS).flagged[chosen].all()
        h[others] += 1.2 * direction
        assert not channel_of(h, y, classes=DIGITS).flagged[chosen].any()

    @BOTH
    def test_tail_of_a_class_far_from_others_is_no_cluster(self, channel_of) -> None:
        g = np.random.default_rng(0)
        y = np.arange(1000) % 2
        h = (g.exponential(size=1000) + 20 * y)[:, None]
        assert not channel_of(h, y, classes=DIGITS).groups
        assert not channel_of(-h, y, classes=DIGITS).groups

    @BOTH
    def test_large_and_tiny_parts_are_no_cluster(self, channel_of) -> None:
        h, y, _ = shifted(0, 130)  # of 300
        assert not channel_of(h, y, classes=DIGITS).groups
        h, y, chosen = shifted(0, 90)
        assert channel_of(h, y, classes=DIGITS).flagged[chosen].all()
        h, y, chosen = shifted(0, 7)
        assert not channel_of(h, y, classes=DIGITS).flagged[chosen].any()

    @BOTH
    def test_order_of_rows_does_not_matter(self, channel_of) -> None:
        h, y, _ = shifted(1, 30, dims=100)
        mixed = np.random.default_rng(0).permutation(len(y))
        one, other = (
            channel_of(h, y, classes=DIGITS),
            channel_of(h[mixed], y[mixed], classes=DIGITS),
        )
        np.testing.assert_array_equal(one.scores[mixed], other.scores)
        np.testing.assert_array_equal(one.flagged[mixed], other.flagged)
        assert one.flagged.any()

    @BOTH
    @pytest.mark.parametrize(
        ("h", "y"),
        [
            (np.zeros((0, 3)), np.zeros(0, dtype=np.int64)),
            (np.ones((1, 3)), np.zeros(1, dtype=np.int64)),
            (np.ones((200, 3)), np.arange(200) % 2),
            (np.ones((200, 0)), np.arange(200) % 2),
            (np.full((200, 2), np.nan), np.arange(200) % 2),
            (np.arange(200.0)[:, None], np.zeros(200, dtype=np.int64)),
            (np.arange(200.0)[:, None], np.arange(200)),
        ],
    )
    def test_what_cannot_be_examined_is_unknown(self, channel_of, h, y) -> None:
        channel = channel_of(h, y, classes=[])
        well_formed(channel, len(y))
        assert channel.unknown
        assert not channel.groups

    @BOTH
    def test_huge_and_constant_embeddings(self, channel_of) -> None:
        h, y, chosen = shifted(1, 30)
        assert channel_of(h * 1e300, y, classes=DIGITS).flagged[chosen].all()
        h[:, 1:] = 0
        well_formed(channel_of(h, y, classes=DIGITS), len(y))
        h[y == 0] = 1.0
        assert not channel_of(h, y, classes=DIGITS).flagged[y == 0].any()
