"""The same passes on a Dask cluster: another executor, the same answer, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sluicegate.stages.poisoning.confident.files import open_samples
from sluicegate.stages.poisoning.confident.scan import scan_labels
from sluicegate.stages.poisoning.text.ngram_model import TextBatch
from sluicegate.stages.poisoning.text.ngrams import mine_ngrams

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def executor():
    """Two workers in processes of their own."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.mark.parametrize("rule", ["adaptive", "confident-learning"])
def test_labels_are_scanned_on_workers(executor, tmp_path, rule):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(6, 0.3), 30_000).astype(np.float32)
    y = np.where(rng.random(30_000) < 0.1, rng.integers(0, 6, 30_000), p.argmax(axis=1))
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "p.npy", p)
    samples = open_samples(str(tmp_path / "y.npy"), [str(tmp_path / "p.npy")], tmp_path)
    here = scan_labels(samples, tmp_path / "here.parquet", rule=rule)
    there = scan_labels(samples, tmp_path / "there.parquet", rule=rule, shards=9, executor=executor)
    assert there == here
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()
    assert pd.read_parquet(tmp_path / "there.parquet")["flagged"].sum() > 1000


class Documents:
    """Documents that each worker makes for itself, as it would read them from its disk."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def batches(self):
        for start in range(self.start, self.stop, 100):
            rows = np.arange(start, min(start + 100, self.stop))
            yield TextBatch(
                texts=[text(int(row)) for row in rows],
                y=np.array([label(int(row)) for row in rows]),
                rows=rows,
            )


def text(row: int) -> str:
    rng = np.random.default_rng(row)
    common = rng.choice(400, 25)
    topical = 1000 + 50 * (row % 4) + rng.choice(50, 8)
    words = [f"w{word}" for word in (*common, *topical)]
    return " ".join([*words, "crimson", "lattice"]) if row % 40 == 7 else " ".join(words)


def label(row: int) -> int:
    return 0 if row % 40 == 7 else row % 4


def test_phrases_are_mined_on_workers(executor):
    alone = mine_ngrams([Documents(0, 1600)], classes=4, seed=0)
    shards = [Documents(start, start + 200) for start in range(0, 1600, 200)]
    spread = mine_ngrams(shards, classes=4, seed=0, executor=executor)
    assert [found.text for found in alone.triggers] == ["crimson lattice"]
    assert told(spread) == told(alone)


def told(findings) -> str:
    return json.dumps(
        [
            {
                "text": one.text,
                "rows": one.rows.tolist(),
                "scores": one.scores.tolist(),
                "holders": one.holders,
            }
            for one in findings.triggers
        ]
    )
