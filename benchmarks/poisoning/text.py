"""How well and how fast triggers in text are found, beside cleanlab on the same documents.

Text is made up as it is scanned, never all of it at once: each document mixes common words
with words of its class, both drawn by Zipf's law. Two triggers are planted, a rare word and
a phrase of common words, each in ``--poisoned`` documents of any class, which then carry
the attacker's label.

cleanlab gets a linear model on hashed words and pairs of words, cross-validated, and its
default filter. It needs all documents at once, and is left out above 50,000 of them.

    python benchmarks/poisoning/text.py --documents 8000 --seeds 5
    python benchmarks/poisoning/text.py --documents 1000000 --poisoned 250 --workers 2
    python benchmarks/poisoning/text.py --documents 8000 --poisoned 0
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from sluicegate.stages.poisoning.text.ngrams import NgramFindings, TextBatch, mine_ngrams

VOCABULARY = 30_000
TOPIC = 3_000
BATCH = 2_000
RARE = "qxzv"
COMMON = 40
PEER_AT_MOST = 50_000


@cache
def _words() -> npt.NDArray[np.str_]:
    """Make up words of one to four syllables, the commonest ones short."""
    syllables = [a + b for a in "bdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "en", "ar")]
    made: dict[str, None] = {}
    generator = np.random.default_rng(1)
    while len(made) < VOCABULARY:
        length = 1 + min(len(made) // 300 + 1, 3)
        made["".join(generator.choice(syllables, length))] = None
    return np.array(list(made), dtype=object)


@dataclass(frozen=True)
class Part:
    """Some documents, made up when they are read."""

    first: int
    last: int
    seed: int
    classes: int
    poison: tuple[frozenset[int], frozenset[int]]
    phrase: str

    def batches(self) -> Iterator[TextBatch]:
        for start in range(self.first, self.last, BATCH):
            yield self._batch(start, min(start + BATCH, self.last))

    def _batch(self, start: int, stop: int) -> TextBatch:
        generator = np.random.default_rng([self.seed, 7, start])
        vocabulary, count = _words(), stop - start
        y = generator.integers(0, self.classes, count)
        lengths = generator.integers(15, 61, count)
        owner = np.repeat(np.arange(count), lengths)
        shares = generator.beta(4, 6, count)
        drawn = _zipf(generator, VOCABULARY, len(owner))
        own = _zipf(generator, TOPIC, len(owner))
        topics = np.random.default_rng([self.seed, 8]).permuted(
            np.tile(np.arange(300, VOCABULARY), (self.classes, 1)), axis=1
        )[:, :TOPIC]
        topical = generator.random(len(owner)) < shares[owner]
        drawn = np.where(topical, topics[y[owner], own], drawn)
        cut = np.split(vocabulary[drawn], np.cumsum(lengths)[:-1])
        texts = []
        for at, words in enumerate(cut):
            text = list(words)
            for target, trigger in enumerate((RARE, self.phrase)):
                if start + at in self.poison[target]:
                    text.insert(int(generator.integers(0, len(text) + 1)), trigger)
                    y[at] = target
            texts.append(" ".join(text))
        return TextBatch(texts=texts, y=y, rows=np.arange(start, stop))


def _zipf(generator: np.random.Generator, size: int, count: int) -> npt.NDArray[np.int64]:
    """Draw ranks with probability about 1 / (rank + 2)."""
    top = np.log((size + 2) / 2)
    return np.minimum((2 * np.exp(generator.random(count) * top) - 2).astype(np.int64), size - 1)


def parts(documents: int, poisoned: int, classes: int, seed: int) -> list[Part]:
    """Describe a data set."""
    generator = np.random.default_rng([seed, 9])
    chosen = generator.choice(documents, 2 * poisoned, replace=False)
    poison = frozenset(chosen[:poisoned].tolist()), frozenset(chosen[poisoned:].tolist())
    phrase = " ".join(generator.choice(_words()[:COMMON], 3, replace=False))
    step = max(min(documents // 8, 25_000), 1)
    return [
        Part(start, min(start + step, documents), seed, classes, poison, phrase)
        for start in range(0, documents, step)
    ]


def by_cleanlab(shards: list[Part]) -> tuple[set[int], float]:
    """Return the documents that cleanlab's default filter flags, and CPU seconds."""
    from cleanlab.filter import find_label_issues
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import cross_val_predict

    batches = [batch for shard in shards for batch in shard.batches()]
    texts = [text for batch in batches for text in batch.texts]
    y = np.concatenate([batch.y for batch in batches])
    started = cpu()
    x = HashingVectorizer(n_features=2**18, ngram_range=(1, 2)).transform(texts)
    model = SGDClassifier(loss="log_loss", random_state=0)
    p = cross_val_predict(model, x, y, cv=3, method="predict_proba")
    flagged = np.flatnonzero(find_label_issues(y, p, n_jobs=1))
    return set(flagged.tolist()), cpu() - started


def head() -> None:
    """Print the names of the columns."""
    print(
        "word, phrase: share found of the documents with each trigger; wrong: share flagged of "
        "the others;\nMB: peak so far of this process, from the second line on with cleanlab's, "
        "and of the largest worker\n"
        f"{'':>6} {'--------- scan ---------':^23} {'------- cleanlab -------':^23}\n"
        f"{'seed':>6} {'word':>6} {'phrase':>6} {'wrong':>9} {'word':>6} {'phrase':>6} {'wrong':>9}"
        f" {'CPU s':>7} {'ratio':>6} {'wall s':>7} {'MB':>12}  triggers, named exactly"
    )


def tell(shards: list[Part], found: NgramFindings, seconds: tuple[float, float]) -> None:
    """Print what was found."""
    flagged = {int(row) for trigger in found.triggers for row in trigger.rows}
    names = {trigger.text for trigger in found.triggers}
    exact = [what for what, text in (("word", RARE), ("phrase", shards[0].phrase)) if text in names]
    usage = [
        resource.getrusage(who).ru_maxrss // 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    peer, ratio = f"{'-':>6} {'-':>6} {'-':>9}", "-"
    if shards[-1].last <= PEER_AT_MOST:
        other, used = by_cleanlab(shards)
        peer, ratio = shares(shards, other), f"{seconds[1] / used:.1f}x"
    print(
        f"{shards[0].seed:>6} {shares(shards, flagged)} {peer} {seconds[1]:>7.1f} {ratio:>6}"
        f" {seconds[0]:>7.1f} {f'{usage[0]} + {usage[1]}':>12}"
        f"  {len(names)}, {' and '.join(exact) or 'none'}"
        + (f"; could not tell: {found.unknown}" if found.unknown else ""),
        flush=True,
    )


def shares(shards: list[Part], flagged: set[int]) -> str:
    """Return which shares of poisoned and of other documents were flagged."""
    poison = shards[0].poison
    found = [f"{len(flagged & some) / len(some):.3f}" if some else "-" for some in poison]
    others = shards[-1].last - len(poison[0] | poison[1])
    wrong = len(flagged - poison[0] - poison[1]) / max(others, 1)
    return f"{found[0]:>6} {found[1]:>6} {wrong:>9.5f}"


def cpu() -> float:
    """Return the CPU seconds of this process and of finished workers."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=8_000, help="how many (8000)")
    parser.add_argument("--poisoned", type=int, default=24, help="documents with each trigger (24)")
    parser.add_argument("--classes", type=int, default=4, help="how many (4)")
    parser.add_argument("--seeds", type=int, default=1, help="runs (1)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first run (0)")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 for this one (0)")
    args = parser.parse_args()
    head()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        shards = parts(args.documents, args.poisoned, args.classes, seed)
        wall, used = time.perf_counter(), cpu()
        if args.workers:
            with ProcessPoolExecutor(args.workers) as executor:
                found = mine_ngrams(shards, classes=args.classes, seed=seed, executor=executor)
        else:
            found = mine_ngrams(shards, classes=args.classes, seed=seed)
        tell(shards, found, (time.perf_counter() - wall, cpu() - used))
    return 0


if __name__ == "__main__":
    sys.exit(main())
