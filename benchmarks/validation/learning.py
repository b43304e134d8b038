"""What ``suite init`` learns: false alarms about clean data, and whether planted values pass.

For each data set a suite is learned from one part and asked about others that it has not
seen. Then absurd values are planted in the reference (0.1, 0.5 and 1 % of the rows, in every
numeric column), a suite is learned from that, and asked about a clean batch with a single
planted value in each column: that value must still be unexpected. Beside it, what a suite of
minimum and maximum does, which is what most profilers write.

Tables that come with scikit-learn are real; the others are generated, with the shapes that
make bounds hard: heavy tails, seasons, zeros, humps, rare categories, missing values, text.

    python benchmarks/validation/learning.py
    python benchmarks/validation/learning.py --only iris transactions --seed 3
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.learning import Wishes, learn_suite
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

SHARES = (0.001, 0.005, 0.01)
LIMIT = 0.01
WORDS = Path(__file__).read_text(encoding="utf-8").split()


def bundled(load: Callable[..., Any]) -> Callable[[np.random.Generator, int], pd.DataFrame]:
    """Return rows of a table that comes with scikit-learn, each at most once a seed."""

    def draw(rng: np.random.Generator, rows: int) -> pd.DataFrame:
        frame = load(as_frame=True).frame
        return frame.iloc[rng.permutation(len(frame))[: rows or None]].reset_index(drop=True)

    return draw


def transactions(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    amount = rng.lognormal(3.2, 1.1, rows).round(2)
    return pd.DataFrame(
        {
            "transaction_id": np.arange(rows) + 10**9 + rng.integers(0, 10**8) * 10**3,
            "amount": amount,
            "fee": np.where(rng.random(rows) < 0.7, 0.0, (amount * 0.02).round(2)),
            "items": rng.negative_binomial(2, 0.3, rows),
            "delay": 1 + rng.pareto(3, rows),
            "country": rng.choice(
                ["DE", "FR", "IT", "ES", "PL"], rows, p=[0.5, 0.2, 0.15, 0.1, 0.05]
            ),
            "fraud": rng.random(rows) < 0.02,
        }
    )


def sensors(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    hour = np.sort(rng.uniform(0, 24 * 365, rows))
    season = 12 + 9 * np.sin(hour / 24 / 365 * 2 * np.pi) + 4 * np.sin(hour / 24 * 2 * np.pi)
    return pd.DataFrame(
        {
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(hour, unit="h"),
            "temperature": season + rng.normal(0, 1.5, rows),
            "humidity": np.clip(70 - season + rng.normal(0, 8, rows), 0, 100),
            "pressure": rng.normal(1013, 7, rows),
            "rain": np.where(rng.random(rows) < 0.85, 0.0, rng.exponential(2, rows)),
            "count": rng.poisson(6, rows),
        }
    )


def people(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    income = rng.lognormal(10.2, 0.6, rows).round(-2)
    income[rng.random(rows) < 0.08] = np.nan
    return pd.DataFrame(
        {
            "age": np.clip(rng.gamma(7, 6, rows), 0, 104).astype(int),
            "hours": rng.choice([20, 30, 38, 40, 60], rows, p=[0.1, 0.1, 0.3, 0.45, 0.05]),
            "income": income,
            "gain": np.where(rng.random(rows) < 0.92, 0, rng.lognormal(7, 1, rows).astype(int)),
            "height": np.where(
                rng.random(rows) < 0.5, rng.normal(165, 7, rows), rng.normal(178, 7, rows)
            ).round(1),
            "job": rng.choice([f"job {n}" for n in range(40)], rows, p=zipf(40)),
            "member": pd.array(np.where(rng.random(rows) < 0.1, None, rng.random(rows) < 0.5)),
        }
    )


def zipf(kinds: int) -> np.ndarray[Any, Any]:
    weights = 1 / np.arange(1, kinds + 1)
    return weights / weights.sum()


def logs(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    start = np.datetime64("2024-06-01T00:00:00", "us")
    return pd.DataFrame(
        {
            "request_id": [
                f"{a:08x}-0000-4000-8000-{b:012x}"
                for a, b in zip(
                    rng.integers(0, 2**32, rows), rng.integers(0, 2**48, rows), strict=True
                )
            ],
            "at": start + rng.integers(0, 90 * 86400 * 10**6, rows).astype("timedelta64[us]"),
            "status": rng.choice([200, 301, 404, 500], rows, p=[0.9, 0.04, 0.05, 0.01]),
            "bytes": rng.lognormal(8, 1.6, rows).astype(int),
            "milliseconds": rng.exponential(120, rows) + rng.normal(20, 2, rows),
            "host": [f"10.0.{a}.{b}" for a, b in rng.integers(0, 256, (rows, 2))],
            "level": rng.choice(["info", "warn", "error"], rows, p=[0.95, 0.04, 0.01]),
        }
    )


def reviews(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    lengths = rng.poisson(14, rows) + 1
    return pd.DataFrame(
        {
            "text": [" ".join(re.sub(r"\W", "", w) for w in rng.choice(WORDS, n)) for n in lengths],
            "stars": rng.choice([1, 2, 3, 4, 5], rows, p=[0.1, 0.05, 0.1, 0.25, 0.5]),
            "mail": [f"user{n}@example.org" for n in rng.integers(0, 10**6, rows)],
            "day": [f"2024-{m:02}-{d:02}" for m, d in rng.integers(1, 13, (rows, 2))],
            "language": rng.choice(["en", "de", "fr", "it", "pt", "nl"], rows, p=zipf(6)),
        }
    )


def returns(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "return": rng.standard_t(4, rows) * 0.01,
            "spread": rng.gamma(0.7, 0.02, rows),
            "volume": rng.lognormal(12, 1, rows).round(),
            "ratio": rng.beta(0.5, 0.5, rows),
            "side": rng.choice(["buy", "sell"], rows),
        }
    )


SETS: dict[str, tuple[Callable[[np.random.Generator, int], pd.DataFrame], int, str]] = {
    "iris": (bundled(datasets.load_iris), 0, "target"),
    "wine": (bundled(datasets.load_wine), 0, "target"),
    "breast cancer": (bundled(datasets.load_breast_cancer), 0, "target"),
    "diabetes": (bundled(datasets.load_diabetes), 0, ""),
    "digits": (bundled(datasets.load_digits), 0, "target"),
    "transactions": (transactions, 10_000, "fraud"),
    "sensors": (sensors, 8_000, ""),
    "people": (people, 6_000, ""),
    "logs": (logs, 10_000, ""),
    "reviews": (reviews, 3_000, "stars"),
    "returns": (returns, 5_000, ""),
}
"""How to draw, rows of the reference (0: half of the table), label."""


def learned(frame: pd.DataFrame, folder: Path, label: str, **wishes: Any) -> dict[str, Any]:
    path = folder / "reference.parquet"
    frame.to_parquet(path)
    snapshot = take_snapshot(SubjectUri.parse(path))
    return learn_suite([snapshot], Wishes(label=label, **wishes))


def verdicts(suite: dict[str, Any], frame: pd.DataFrame) -> Iterator[tuple[str, str, bool | None]]:
    """Yield type, column and success of each expectation."""
    for entry in suite["expectations"]:
        kind, kwargs = entry["type"], entry["kwargs"]
        spec = SPECS.get(kind)
        success = spec.judge_frame(frame, kwargs).success if spec else plain(kind, kwargs, frame)
        yield kind, kwargs.get("column", "table"), success


def plain(kind: str, kwargs: dict[str, Any], frame: pd.DataFrame) -> bool:
    """Judge the types of Great Expectations that are written, as it does."""
    if kind == "expect_table_row_count_to_be_between":
        return len(frame) >= kwargs["min_value"]
    values = frame[kwargs["column"]]
    if kind == "expect_column_values_to_not_be_null":
        return bool(values.notna().mean() >= kwargs.get("mostly", 1))
    values = values.dropna()
    if kind == "expect_column_values_to_be_unique":
        return bool(values.is_unique)
    if kind == "expect_column_values_to_match_regex":
        return bool(values.str.contains(kwargs["regex"].replace("(", "(?:")).all())
    if kind == "expect_column_value_lengths_to_be_between":
        values = values.str.len()
    if kind.endswith("_to_be_between"):
        low, high = kwargs.get("min_value"), kwargs.get("max_value")
        fits = (low is None or (values >= low).all()) and (high is None or (values <= high).all())
        return bool(fits)
    raise KeyError(kind)


def clean_batches(
    draw: Any, rows: int, rng: np.random.Generator, batches: int
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Return a reference and batches that share no row with it."""
    if not rows:
        table = draw(rng, 0)
        half = len(table) // 2
        rest = [
            table.iloc[half + rng.permutation(len(table) - half)[: half // 2]]
            for _ in range(batches)
        ]
        return table[:half], [one.reset_index(drop=True) for one in rest]
    sizes = [rows, rows // 10, rows // 3]
    return draw(rng, rows), [draw(rng, sizes[at % 3]) for at in range(batches)]


def alarms(name: str, args: argparse.Namespace, folder: Path) -> Counter[str]:
    """Count the verdicts about clean batches, and say which expectations were wrong."""
    draw, rows, label = SETS[name]
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for seed in range(args.repeats):
        rng = np.random.default_rng([args.seed, seed])
        reference, batches = clean_batches(draw, rows, rng, args.batches)
        suite = learned(reference, folder, label)
        for batch in batches:
            for kind, column, success in verdicts(suite, batch):
                counts[{True: "passed", False: "failed", None: "unknown"}[success]] += 1
                if success is not True:
                    wrong[f"{column}: {kind} {success}"] += 1
    total = sum(counts.values())
    print(
        f"{name:<14} {total:>7} verdicts  {counts['failed']:>4} false alarms "
        f"({counts['failed'] / total:.2%}), {counts['unknown']} unknown"
    )
    for what, count in wrong.most_common(3):
        print(f"    {count} x {what}")
    return counts


def plant(
    frame: pd.DataFrame, share: float, rng: np.random.Generator, kind: str
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return a frame with absurd values in every number column, and one of them for each."""
    frame, planted = frame.copy(), {}
    count = max(round(share * len(frame)), 1)
    for column in frame.select_dtypes("number").columns:
        if column.endswith("_id"):
            continue
        values = frame[column].astype(float).copy()
        scale = 100 * values.abs().max() + 10_000
        absurd = {
            "same": np.full(count, scale),
            "scattered": scale * rng.uniform(0.5, 50, count),
            "negative": -scale * rng.uniform(0.5, 50, count),
            "ten ranges": np.full(count, 11 * values.max() - 10 * values.min()),
        }[kind].round()
        values.iloc[rng.choice(len(frame), count, replace=False)] = absurd
        whole = pd.api.types.is_integer_dtype(frame[column])
        frame[column] = values.astype("int64") if whole else values
        planted[column] = float(absurd[0])
    return frame, planted


ABSURD = ("same", "scattered", "negative")


def poisoned(
    name: str, args: argparse.Namespace, folder: Path, kinds: tuple[str, ...] = ABSURD
) -> tuple[int, int, int]:
    """Return how many planted values were tried, pass the learned suite, and pass min and max."""
    draw, rows, label = SETS[name]
    tried = passing = passing_minmax = 0
    for seed in range(args.repeats):
        rng = np.random.default_rng([args.seed, seed, 1])
        reference, _ = clean_batches(draw, rows, rng, 1)
        reference = reference.drop(columns=[label] if label else [])
        for share in SHARES:
            for kind in kinds:
                bad, planted = plant(reference, share, rng, kind)
                suite = learned(bad, folder, "")
                for column, value in planted.items():
                    tried += 1
                    passing += not caught(suite, column, value)
                    passing_minmax += bool(bad[column].min() <= value <= bad[column].max())
    print(
        f"{name:<14} {tried:>5} planted  {passing:>4} pass afterwards  (min/max: {passing_minmax})"
    )
    return tried, passing, passing_minmax


def caught(suite: dict[str, Any], column: str, value: float) -> bool:
    """Whether a value of a column is unexpected to some expectation about ranges."""
    frame = pd.DataFrame({column: [value]})
    for entry in suite["expectations"]:
        kind, kwargs = entry["type"], entry["kwargs"]
        if kwargs.get("column") != column or "null" in kind:
            continue
        if "robust_range" in kind and SPECS[kind].judge_frame(frame, kwargs).success is False:
            return True
        if kind.endswith("values_to_be_between") and not plain(kind, kwargs, frame):
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    args = parser.parse_args()
    total: Counter[str] = Counter()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        print("clean batches")
        rates = []
        for name in args.only:
            counts = alarms(name, args, folder)
            rates.append(counts["failed"] / sum(counts.values()))
            total += counts
        share = total["failed"] / sum(total.values())
        print(f"{'all':<14} {sum(total.values()):>7} verdicts  {share:.2%}; worst {max(rates):.2%}")
        print("planted in the reference: 0.1, 0.5 and 1 % of the rows")
        found = [poisoned(name, args, folder) for name in args.only]
        print("not absurd, only far: ten ranges above the greatest value (no limit is promised)")
        far = [poisoned(name, args, folder, ("ten ranges",)) for name in args.only]
    tried, passing, minmax = (sum(part) for part in zip(*found, strict=True))
    print(f"{'all':<14} {tried:>5} planted  {passing:>4} pass afterwards  (min/max: {minmax})")
    tried, near, minmax = (sum(part) for part in zip(*far, strict=True))
    print(f"{'all':<14} {tried:>5} planted  {near:>4} pass afterwards  (min/max: {minmax})")
    print(f"{time.process_time() - began:.0f} CPU seconds")
    return 0 if share <= LIMIT and passing == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
