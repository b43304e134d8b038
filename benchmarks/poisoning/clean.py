"""What ``scan-for-poisoning`` flags in data that nobody poisoned.

At least twenty tables: those that come with scikit-learn, generated ones of many shapes, and
text. For each: the share of rows that each channel flags, in percent, the verdict under the
built-in policy, CPU seconds, and beside it what cleanlab's default filter flags with
cross-validated logistic regression.

Bundled tables are real, and not perfect: a few of their rows are equal, far out or wrong.
Docstrings are those of Python's own library, by package, and some do occur twice.

    python benchmarks/poisoning/clean.py
    python benchmarks/poisoning/clean.py --seed 22 --only "4 classes" iris
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import ast
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sluicegate.model import Outcome, Report
from sluicegate.policy.decide import decide
from sluicegate.policy.load import default_policy
from sluicegate.stages.base import Context
from sluicegate.stages.poisoning import ScanForPoisoning
from tests.core.poisoning_attacks import bundled, digits, save

LIMIT = 0.01
PACKAGES = ("asyncio", "email", "unittest", "multiprocessing", "tkinter", "ctypes", "logging")
SHORT = {
    "label_issues": "label",
    "trigger_items": "trigger",
    "trigger_ngrams": "ngram",
    "outliers": "outlier",
    "duplicates": "dupl",
    "near_duplicate_text": "neardup",
    "hidden_characters": "hidden",
    "gibberish": "gibber",
}
"""Channels and the heads of their columns."""

Table = Callable[[int], pd.DataFrame]


def table(x: npt.ArrayLike, y: npt.ArrayLike) -> pd.DataFrame:
    """Return features and labels as a table."""
    values = np.asarray(x)
    frame = pd.DataFrame(values, columns=[f"f{at}" for at in range(values.shape[1])])
    return frame.assign(label=np.asarray(y))


def real(name: str, seed: int) -> pd.DataFrame:
    """Return a table that comes with scikit-learn."""
    del seed
    return bundled(name)


def written(seed: int) -> pd.DataFrame:
    """Return the handwritten digits."""
    del seed
    return digits()


def binned_diabetes(seed: int) -> pd.DataFrame:
    """Return diabetes patients by thirds of their progression."""
    del seed
    frame = bundled("diabetes")
    return frame.assign(label=pd.qcut(frame["label"], 3, labels=["low", "mid", "high"]).astype(str))


def shape(make: Callable[..., tuple[npt.NDArray, npt.NDArray]], seed: int) -> pd.DataFrame:
    """Return one of scikit-learn's generated shapes."""
    return table(*make(random_state=seed))


def classes(count: int, rows: int, columns: int, seed: int, **options: object) -> pd.DataFrame:
    """Return clusters of continuous features."""
    given: dict[str, object] = {
        "n_informative": min(columns // 2 + 1, 20),
        "n_redundant": columns // 5,
        "class_sep": 1.5,
        "n_clusters_per_class": 2 if count < 20 else 1,
        "flip_y": 0,
    }
    made = datasets.make_classification(
        rows, columns, n_classes=count, random_state=seed, **(given | options)
    )
    return table(*made)


def heavy_tails(seed: int) -> pd.DataFrame:
    """Return Student's t with 3 degrees of freedom; the class is a noisy linear rule."""
    rng = np.random.default_rng(seed)
    return table(*linear(rng.standard_t(3, (2000, 10)), rng))


def lognormal(seed: int) -> pd.DataFrame:
    """Return amounts: logarithms are normal, and decide."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, 1.5, (2000, 10))
    return table(np.exp(logs), linear(logs, rng)[1])


def linear(x: npt.NDArray, rng: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray]:
    """Return features and three classes, by a linear score with logistic noise."""
    score = x @ rng.normal(0, 1, x.shape[1]) + rng.logistic(0, 0.5, len(x))
    return x, np.digitize(score, np.quantile(score, (1 / 3, 2 / 3)))


def mixed(seed: int) -> pd.DataFrame:
    """Return counts, yes or no, and measures."""
    rng = np.random.default_rng(seed)
    rows = 2000
    x = np.hstack(
        [
            rng.poisson(3, (rows, 4)),
            rng.random((rows, 6)) < rng.uniform(0.05, 0.5, 6),
            rng.normal(0, 1, (rows, 4)),
        ]
    )
    return table(x, linear((x - x.mean(axis=0)) / x.std(axis=0), rng)[1])


def one_hot(seed: int) -> pd.DataFrame:
    """Return six categories, one column for each of their values."""
    rng = np.random.default_rng(seed)
    columns = [np.eye(size)[rng.choice(size, 2000, p=zipf(size))] for size in (3, 4, 5, 8, 12, 20)]
    x = np.hstack(columns)
    return table(x, linear(x, rng)[1])


def categories(seed: int) -> pd.DataFrame:
    """Return the same as text."""
    rng = np.random.default_rng(seed)
    codes = [rng.choice(size, 2000, p=zipf(size)) for size in (3, 4, 5, 8, 12, 20)]
    effects = np.stack([rng.normal(0, 1, 20)[code] for code in codes], axis=1)
    frame = pd.DataFrame({f"c{at}": [f"v{c}" for c in code] for at, code in enumerate(codes)})
    return frame.assign(label=linear(effects, rng)[1])


def missing(seed: int) -> pd.DataFrame:
    """Return clusters with a tenth of the cells missing, more often where values are high."""
    frame = classes(3, 1500, 12, seed)
    x = frame.drop(columns="label")
    rng = np.random.default_rng(seed)
    gone = rng.random(x.shape) < 0.2 * x.rank(pct=True).to_numpy()
    return x.mask(gone).assign(label=frame["label"])


def noise(seed: int) -> pd.DataFrame:
    """Return features that say nothing about the class."""
    rng = np.random.default_rng(seed)
    return table(rng.normal(0, 1, (1500, 10)), rng.integers(0, 3, 1500))


def zipf(size: int) -> npt.NDArray[np.float64]:
    """Return Zipf's law."""
    p = 1 / np.arange(1, size + 1)
    return p / p.sum()


def topics(seed: int) -> pd.DataFrame:
    """Return made-up documents: common words, and words of the class."""
    rng = np.random.default_rng(seed)
    rows, vocabulary = 2000, 4000
    letters = np.array(list("abdefgiklmnoprstu"))
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(vocabulary)])
    y = rng.integers(0, 4, rows)
    texts = []
    for code in y:
        length = int(rng.integers(15, 60))
        at = rng.choice(vocabulary, length, p=zipf(vocabulary))
        own = (rng.random(length) < 0.3) & (at > 20)
        at = np.where(own, (at // 4) * 4 + code, at) % vocabulary
        texts.append(" ".join(words[at]))
    return pd.DataFrame({"text": texts, "label": y})


def docstrings(seed: int) -> pd.DataFrame:
    """Return docstrings of Python's library, labelled by package."""
    del seed
    library = Path(sysconfig.get_path("stdlib"))
    texts: list[str] = []
    labels: list[str] = []
    for package in PACKAGES:
        for path in sorted((library / package).rglob("*.py")):
            if "test" in path.relative_to(library / package).parts:
                continue
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node)
                    if text and len(text.split()) >= 4:
                        texts.append(text)
                        labels.append(package)
    return pd.DataFrame({"text": texts, "label": labels})


TABLES: dict[str, Table] = {
    "iris": partial(real, "iris"),
    "wine": partial(real, "wine"),
    "breast cancer": partial(real, "breast_cancer"),
    "digits": written,
    "diabetes, 3 bins": binned_diabetes,
    "blobs": partial(shape, partial(datasets.make_blobs, 1000, 5, centers=4)),
    "moons": partial(shape, partial(datasets.make_moons, 1000, noise=0.2)),
    "circles": partial(shape, partial(datasets.make_circles, 1000, noise=0.1, factor=0.5)),
    "gaussian quantiles": partial(
        shape,
        partial(datasets.make_gaussian_quantiles, n_samples=1500, n_features=6, n_classes=3),
    ),
    "2 classes": partial(classes, 2, 1500, 20),
    "2 classes, overlapping": lambda seed: classes(2, 1500, 20, seed, class_sep=0.7),
    "4 classes": partial(classes, 4, 1500, 20),
    "10 classes": partial(classes, 10, 3000, 30),
    "30 classes": partial(classes, 30, 3000, 30),
    "imbalanced 95/5": lambda seed: classes(2, 2000, 20, seed, weights=[0.95]),
    "many columns (300)": lambda seed: classes(2, 500, 300, seed),
    "few rows (60)": lambda seed: classes(2, 60, 8, seed),
    "many rows (20,000)": lambda seed: classes(3, 20_000, 10, seed),
    "heavy tails, t(3)": heavy_tails,
    "lognormal": lognormal,
    "counts, binary, measures": mixed,
    "one-hot": one_hot,
    "categories as text": categories,
    "missing cells": missing,
    "nothing but noise": noise,
    "text: made-up topics": topics,
    "text: docstrings": docstrings,
}


def flagged(report: Report) -> dict[str, set[tuple[str, int]]]:
    """Return the rows that each check flagged."""
    rows: dict[str, set[tuple[str, int]]] = {}
    for check in report.checks:
        found = rows.setdefault(check.id.partition(".")[2], set())
        found.update((row.file, row.ordinal) for each in check.findings for row in each.rows)
    return rows


def by_cleanlab(frame: pd.DataFrame) -> float:
    """Return the share of rows that cleanlab's default filter flags."""
    from cleanlab.filter import find_label_issues

    y = pd.factorize(frame["label"], sort=True)[0]
    logistic = LogisticRegression(max_iter=500)
    if "text" in frame:
        model, x = make_pipeline(TfidfVectorizer(), logistic), frame["text"].to_numpy()
    else:
        model = make_pipeline(StandardScaler(), logistic)
        x = pd.get_dummies(frame.drop(columns="label")).fillna(0).to_numpy(dtype=np.float64)
    p = cross_val_predict(model, x, y, cv=5, method="predict_proba")
    return float(find_label_issues(y, p, n_jobs=1).mean())


def percent(share: float | None) -> str:
    """Return a share in percent; a dash for a channel that was not asked."""
    return "-" if share is None else f"{100 * share:.2f}" if share else "0"


def measure(name: str, frame: pd.DataFrame, path: Path) -> list[str]:
    """Scan one table, print a line, and return what is above the limit."""
    snapshot = save(frame, path)
    stage = ScanForPoisoning(label="label", text=("text",) if "text" in frame else ())
    started = time.process_time()
    report = stage.run(snapshot, Context())
    seconds = time.process_time() - started
    judgement = decide(
        report,
        default_policy(path.parent),
        stage=stage.name,
        subject=str(snapshot.uri.resolved()),
        files=1,
        now=datetime.now(UTC),
    )
    channels = flagged(report)
    shares = {channel: len(rows) / len(frame) for channel, rows in channels.items()}
    union = len(set().union(*channels.values())) / len(frame)
    other = by_cleanlab(frame)
    ratio = f"{union / other:6.2f}x" if other else "      -"
    columns = " ".join(f"{percent(shares.get(channel)):>7}" for channel in SHORT)
    print(
        f"{name:<25} {len(frame):>6} {columns} {percent(union):>7} {percent(other):>8} {ratio}"
        f" {seconds:>6.1f}  {judgement.verdict.value}",
        flush=True,
    )
    above = [f"{channel} {percent(part)} %" for channel, part in shares.items() if part > LIMIT]
    above += [
        f"{check.id.partition('.')[2]} unknown: {check.reason}"
        for check in report.checks
        if check.outcome is Outcome.UNKNOWN
    ]
    if union > LIMIT and not above:
        above = [f"together {percent(union)} %"]
    return above


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=21, help="of the generated tables (21)")
    parser.add_argument("--only", nargs="+", choices=TABLES, metavar="TABLE", help="some tables")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"percent of rows flagged, seed {args.seed}\n{'':<25} {'rows':>6}",
        " ".join(f"{head:>7}" for head in SHORT.values()),
        f"{'all':>7} {'cleanlab':>8} {'ratio':>7} {'CPU s':>6}  verdict",
    )
    above: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(args.only or TABLES):
            found = measure(name, TABLES[name](args.seed), Path(folder) / f"{number}.parquet")
            if found:
                above[name] = found
    print(
        f"\nabove {LIMIT:.0%} of rows, or not answered:" if above else f"\nnone above {LIMIT:.0%}"
    )
    for name, found in above.items():
        print(f"  {name}: {'; '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
