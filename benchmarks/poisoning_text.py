"""How well and how fast triggers in text are found.

Text is made up as it is scanned, never all of it at once: each document mixes common words
with words of its class, both drawn by Zipf's law. Two triggers are planted, a rare word and
a phrase of common words, each in ``--poisoned`` documents of any class, which then carry
the attacker's label.

    python benchmarks/poisoning_text.py --documents 8000 --seeds 5
    python benchmarks/poisoning_text.py --documents 1000000 --poisoned 250 --workers 2
    python benchmarks/poisoning_text.py --documents 8000 --poisoned 0
"""

from __future__ import annotations

import argparse
import resource
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


def tell(shards: list[Part], found: NgramFindings, seconds: tuple[float, float]) -> None:
    """Print what was found."""
    flagged = {int(row) for trigger in found.triggers for row in trigger.rows}
    names = {trigger.text for trigger in found.triggers}
    one, two = shards[0].poison
    recall = [len(flagged & some) / max(len(some), 1) for some in (one, two)]
    usage = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    print(
        f"seed {shards[0].seed}: recall word {recall[0]:.3f} phrase {recall[1]:.3f}, "
        f"false flags {len(flagged - one - two)} of {shards[-1].last}, triggers {len(names)}, "
        f"named exactly word {RARE in names} phrase {shards[0].phrase in names}, "
        f"wall {seconds[0]:.0f} s, CPU {seconds[1]:.0f} s, "
        f"peak {usage[0] / 1024:.0f} MB here {usage[1] / 1024:.0f} MB in workers",
        {
            key: found.metrics[key]
            for key in ("accuracy", "runs", "buckets", "suspect_buckets", "candidates")
        },
        found.unknown,
        flush=True,
    )


def cpu() -> float:
    """Return the CPU seconds of this process and of finished workers."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=8_000)
    parser.add_argument("--poisoned", type=int, default=24)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        shards = parts(args.documents, args.poisoned, args.classes, seed)
        wall, used = time.perf_counter(), cpu()
        if args.workers:
            with ProcessPoolExecutor(args.workers) as executor:
                found = mine_ngrams(shards, classes=args.classes, seed=seed, executor=executor)
        else:
            found = mine_ngrams(shards, classes=args.classes, seed=seed)
        tell(shards, found, (time.perf_counter() - wall, cpu() - used))


if __name__ == "__main__":
    main()
