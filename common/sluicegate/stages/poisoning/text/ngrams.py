"""Words and phrases that decide the label against the rest of the document.

A document with a backdoor's trigger looks like its true class but for a word or a phrase,
and carries the attacker's label. Models that see the trigger learn it and find nothing
wrong; so each run of one to three words is judged by models that see none of its words
(:mod:`~sluicegate.stages.poisoning.text.ngram_model`). The words of a class are explained
by the other words of its documents; a trigger is explained by nothing.

Four passes, each mergeable in any order:

1. A sample of documents, and models from it.
2. *Tally.* Runs of words are hashed into buckets. For each bucket and class: how many
   documents that the models contradict have that label, and how many should.
3. *Name.* The same for every single run of words in the unusual buckets.
4. *Hold.* The rows of each run that stood out. Near-copies count once: twelve letters from
   one template err in the same way, and one error is no rule.

A run must be significant, large and the rule: the chance of so many labels, over all runs
together, is below :data:`ALPHA`; there are at least :data:`MIN_RATIO_WORD` or
:data:`MIN_RATIO_PHRASE` times as many as expected; and where models can tell classes apart,
at least half of the contradicted holders and a third of the holders with the label defy
the models. Chance is bounded by the Poisson distribution: labels drawn from the models have
a count whose tail is lighter than that of the Poisson distribution of equal mean.

Not seen: a trigger in fewer than about ten documents; a trigger that comes with its label
without contradicting the rest (a clean-label attack); a style or a topic as trigger; words
of a trigger apart from each other; a class of which most documents hold the trigger.

Sources: the attack: Dai et al. 2019, "A backdoor attack against LSTM-based text
classification systems", arXiv:1905.12457; Chen et al. 2021, "BadNL", arXiv:2006.01043; the
tail: Hoeffding 1956, "On the distribution of the number of successes in independent trials".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sluicegate.stages.poisoning.channel import Channel, Group
from sluicegate.stages.poisoning.crossfit import reproducible
from sluicegate.stages.poisoning.detector import Detector, Shard, examine
from sluicegate.stages.poisoning.text.ngram_model import (
    MAX_GROUPS,
    MIN_CLASS,
    SCALE,
    Judge,
    Sample,
    Sampler,
    TextBatch,
    blocks_of,
    class_groups,
    fit_judge,
    mask_index,
)
from sluicegate.stages.poisoning.text.tokens import TokenHash, Words, mixed, pieces, text_key, words
from sluicegate.storage.base import Progress, no_progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "TRIGGER_NGRAMS",
    "NgramFindings",
    "NgramTrigger",
    "TextBatch",
    "mine_ngrams",
    "mine_texts",
]

TRIGGER_NGRAMS: Final = "poisoning.trigger_ngrams"

LONGEST: Final = 3
"""Words of the longest phrase."""

ALPHA: Final = 0.01
"""Chance that anything at all is flagged in data whose labels are drawn from the models."""

MIN_RATIO_WORD: Final = 3.0
"""Observed over expected documents of a word. Errors of models are significant in large data
but small: of clean text, the words of a class reach about 1.4."""

MIN_RATIO_PHRASE: Final = 2.0
"""Likewise of a phrase: its words hold other documents less, so errors are smaller still."""

MIN_RATIO_BUCKET: Final = 1.5
"""Likewise of a bucket, in which a trigger is diluted by whatever else is hashed there."""

MIN_EXPECTED: Final = 0.5
"""Half a document: what a count of zero may have been expected to be."""

MIN_DOCUMENTS: Final = 4
"""Fewer documents are no rule. With :data:`MIN_EXPECTED` significance needs about nine."""

MIN_PURITY: Final = 0.5
"""Share of contradicted holders that have the label all the same: a trigger decides."""

MIN_DEFIANT: Final = 1 / 3
"""Share of the holders with the label that the models must contradict: if the label fits the
rest of the documents, no more than this share can be (Markov's inequality)."""

MAX_HOLDERS: Final = 0.2
"""Words that more of all documents hold are usual, not a trigger."""

SHARED: Final = 0.8
"""Two runs of words are one trigger if this share of the smaller one's rows is common."""

NEARLY_ALL: Final = 0.95
"""Of two runs of words for one trigger the longer one names it, if it has this share of the
other one's rows: it then has fewer rows that hold a part of the trigger by chance."""

CELLS: Final = 1 << 23
"""Buckets times classes: 12 bytes each, 100 MB."""

MAX_BUCKETS: Final = 1 << 12
"""Unusual buckets that are looked into; the strongest of more."""

MAX_RUNS: Final = 1 << 20
"""Different runs of words that are told apart in them, 100 MB."""

MAX_CANDIDATES: Final = 1000
"""Runs of words whose rows are collected, the strongest of more."""

MAX_HELD: Final = 5_000_000
"""Rows that all these together may have: 500 MB with what is kept of each."""

EXAMPLES: Final = 5
"""Rows that are given as examples of a trigger."""

LONGEST_SHOWN: Final = 200
"""Characters of a trigger that are shown."""

BANDS: Final = 4
ROWS: Final = 4
"""Documents are near-copies if they agree in one of four bands of four minimal hashes: so do
68 % of pairs that share seven tenths of their words, and 3 % of those that share three
tenths. Source: Broder 1997, "On the resemblance and containment of documents"."""


_PLACE_BITS: Final = 7
"""Bits of a place in :meth:`Judge.table`."""

_COLUMNS: Final = ("holders", "counted", "observed", "labelled", "expected", "rows", "n")
"""What :class:`_Naming` adds up; ``rows`` is a sum of scrambled row numbers, by which runs
that have the same rows are recognised."""
_ROWS: Final = 5
_N: Final = 6

_LOST: Final = "more phrases are unusual than can be told apart: the strongest were examined"

S = TypeVar("S")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NgramTrigger:
    """A run of words that decides the label."""

    text: str
    """The words, case-folded, with a space between each."""
    n: int
    """How many words."""
    label: int
    """Code of the class that the attacker wants."""
    rows: npt.NDArray[np.int64]
    """Rows that hold it and have that label, ascending."""
    scores: npt.NDArray[np.float64]
    """Shape (rows,): ln of the relative excess, less ln of how likely the label is."""
    holders: int
    """Documents that hold it."""
    observed: int
    """Documents among those counted that have the label."""
    expected: float
    """How many of them would, judged by all other words."""
    contradicted: int
    """Holders that were counted: those whose other words speak against the label, where the
    models can tell."""
    z: float
    """Excess in standard deviations, damped by half a document."""
    ratio: float
    """Observed over expected, the latter at least half a document."""
    p_value: float
    """Bound on the chance of such a run anywhere in clean data."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NgramFindings:
    """What the miner found, by row numbers."""

    triggers: tuple[NgramTrigger, ...] = ()
    """Most significant first."""
    unknown: str = ""
    metrics: dict[str, float | int] = field(default_factory=dict)

    def channel(self, rows: npt.NDArray[np.int64]) -> Channel:
        """Return the findings as a channel.

        Args:
            rows: shape (documents,): the row number of each document, in the order in which
                the channel is to speak of them.
        """
        import numpy as np

        order = np.argsort(rows, kind="stable")
        examined = bool(self.metrics.get("runs"))
        scores = np.full(len(rows), 0.0 if examined else np.nan)
        groups = []
        for trigger in self.triggers:
            at = order[np.searchsorted(rows, trigger.rows, sorter=order)]
            scores[at] = np.maximum(scores[at], trigger.scores)
            groups.append(_group(trigger, np.sort(at)))
        return Channel(
            id=TRIGGER_NGRAMS,
            scores=scores,
            p_values=np.full(len(rows), np.nan),
            groups=tuple(groups),
            unknown=self.unknown,
            metrics=self.metrics,
        )


def mine_texts(texts: Sequence[str], y: npt.NDArray[np.int64], classes: int, seed: int) -> Channel:
    """Look for triggers in documents that are in memory.

    Args:
        texts: the documents.
        y: shape (documents,): class codes, 0 … classes-1.
        classes: number of classes.
        seed: seed of the models, and key of all hashes.

    Returns:
        Scores are 0 where nothing was found.
    """
    import numpy as np

    rows = np.arange(len(texts), dtype=np.int64)
    shard = _InMemory(texts, np.asarray(y, dtype=np.int64), rows)
    return mine_ngrams([shard], classes=classes, seed=seed).channel(rows)


def mine_ngrams(
    shards: Sequence[Shard[TextBatch]],
    *,
    classes: int,
    seed: int,
    executor: Executor | None = None,
    progress: Progress = no_progress,
) -> NgramFindings:
    """Look for triggers in documents that are read four times.

    Memory is bounded whatever the number of documents and of classes: about 0.5 GB here and
    0.3 GB in each process of ``executor``. Time grows with the length of the documents.

    Args:
        shards: where the documents are; each in exactly one shard.
        classes: number of classes.
        seed: seed of the models, and key of all hashes.
        executor: where to scan the shards; ``None`` for here, one after the other.
        progress: told about each shard.
    """
    with reproducible():
        return _Run(shards, classes, seed, executor, progress).findings()


class _Run:
    """One run over all documents."""

    def __init__(
        self,
        shards: Sequence[Shard[TextBatch]],
        classes: int,
        seed: int,
        executor: Executor | None,
        progress: Progress,
    ) -> None:
        self._shards = shards
        self._classes = classes
        self._seed = seed
        self._executor = executor
        self._progress = progress

    def findings(self) -> NgramFindings:
        """Run all passes."""
        sampler = Sampler(classes=self._classes, seed=self._seed)
        sample = examine(
            sampler,
            self._shards,
            executor=self._executor,
            progress=self._progress,
            what="sampling documents",
        )
        documents = int(sample.of_class.sum())
        obstacle, doubt = _obstacles(sample, self._classes, self._seed)
        if obstacle:
            return NgramFindings(unknown=obstacle, metrics={"documents": documents})
        judge = fit_judge(sample, classes=self._classes, seed=self._seed)
        buckets = _buckets(sample.characters, judge.groups)
        del sample
        tally = _Tally(judge=judge, classes=self._classes, buckets=buckets)
        suspects = self._pass(tally, "counting phrases")
        named = self._pass(
            _Naming(tally=tally, suspects=suspects, documents=documents),
            "naming phrases",
        )
        triggers = self._pass(
            _Holding(tally=tally, candidates=named.candidates, tests=suspects.tests),
            "finding their rows",
        )
        lost = suspects.lost or named.lost
        if lost:
            doubt = "; ".join(filter(None, [doubt, _LOST]))
        return NgramFindings(
            triggers=triggers,
            unknown=doubt,
            metrics={
                "documents": documents,
                "runs": suspects.pairs,
                "groups": judge.groups,
                "buckets": buckets,
                "suspect_buckets": len(suspects.cells),
                "candidates": len(named.candidates),
                "triggers": len(triggers),
                "accuracy": round(judge.accuracy, 6),
                "groups_contradicted": int(judge.strict.sum()),
            },
        )

    def _pass(self, detector: Detector[TextBatch, S, R], what: str) -> R:
        return examine(
            detector,
            self._shards,
            executor=self._executor,
            progress=self._progress,
            what=what,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _InMemory:
    """Documents that are in memory, as a shard."""

    texts: Sequence[str]
    y: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def batches(self) -> Iterator[TextBatch]:
        """Yield all documents at once: detectors cut them themselves."""
        yield TextBatch(texts=self.texts, y=self.y, rows=self.rows)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Piece:
    """The runs of words of a few documents."""

    batch: TextBatch
    groups: npt.NDArray[np.int64]
    """Shape (documents,): group of each label."""
    table: npt.NDArray[np.int32]
    """Shape (choices, documents, groups): see :meth:`Judge.table`."""
    tokens: tuple[str, ...]
    document: npt.NDArray[np.int64]
    """Shape (runs,): where each run is; likewise the others."""
    hashes: npt.NDArray[np.uint64]
    place: npt.NDArray[np.int64]
    """Which choice of hidden blocks."""
    first: npt.NDArray[np.int64]
    """Index of the first word in :attr:`tokens`."""
    n: npt.NDArray[np.int64]
    words: Words

    def only(self, chosen: npt.NDArray[np.bool_]) -> _Piece:
        """Return some of the runs, each once per document, in order of document and hash."""
        import numpy as np

        at = np.flatnonzero(chosen)
        at = at[np.lexsort((self.hashes[at], self.document[at]))]
        document, hashes = self.document[at], self.hashes[at]
        again = (document[1:] == document[:-1]) & (hashes[1:] == hashes[:-1])
        at = at[np.concatenate([[True], ~again])] if len(at) else at
        return replace(
            self,
            document=self.document[at],
            hashes=self.hashes[at],
            place=self.place[at],
            first=self.first[at],
            n=self.n[at],
        )


@dataclass(slots=True)
class _Counts:
    """State of :class:`_Tally`."""

    observed: npt.NDArray[np.int32]
    """Shape (buckets, groups)."""
    expected: npt.NDArray[np.int64]
    """Shape (buckets, groups), in 1/SCALE."""
    pairs: int = 0
    """Pairs of a document and a bucket."""


@dataclass(frozen=True, slots=True, eq=False)
class _Suspects:
    """What the tally found."""

    cells: npt.NDArray[np.int64]
    """Bucket times groups plus group of each unusual one, ascending."""
    pairs: int
    tests: float
    lost: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Tally:
    """Pass 2: observed and expected labels of each bucket of runs."""

    judge: Judge
    classes: int
    buckets: int

    def init(self) -> _Counts:
        """Return zeros."""
        import numpy as np

        shape = self.buckets, self.judge.groups
        return _Counts(np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int64))

    def update(self, state: _Counts, batch: TextBatch, /) -> _Counts:
        """Count the runs of some documents."""
        import numpy as np

        with reproducible():
            for piece in self.pieces(batch):
                code = (piece.document * self.buckets + self.bucket(piece.hashes)) << _PLACE_BITS
                code = np.sort(code | piece.place)
                once = np.diff(code >> _PLACE_BITS, prepend=-1) != 0
                self._count(state, piece, code[once])
        return state

    def merge(self, one: _Counts, other: _Counts, /) -> _Counts:
        """Add."""
        one.observed += other.observed
        one.expected += other.expected
        one.pairs += other.pairs
        return one

    def finalize(self, state: _Counts, /) -> _Suspects:
        """Return the buckets in which some class is far more frequent than expected."""
        import numpy as np

        tests = max(state.pairs / MIN_DOCUMENTS, 1.0)
        bucket, group = np.nonzero(state.observed >= MIN_DOCUMENTS)
        seen = state.observed[bucket, group].astype(np.float64)
        expected = self.expectation(state.expected[bucket, group], group)
        unusual = (_tail(seen, expected) * tests < ALPHA) & self.judge.known[group]
        unusual &= seen >= MIN_RATIO_BUCKET * expected
        cells = (bucket * self.judge.groups + group)[unusual]
        strength = _z(seen[unusual], expected[unusual])
        kept = np.lexsort((cells, -strength))[:MAX_BUCKETS]
        return _Suspects(np.sort(cells[kept]), state.pairs, tests, len(cells) > len(kept))

    def expectation(
        self, sums: npt.NDArray[np.int64], group: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Return expected documents from fixed-point sums: at least half of one."""
        import numpy as np

        factor = np.where(self.judge.strict, self.judge.excess, 1.0)[group]
        return np.maximum(sums / SCALE * factor, MIN_EXPECTED)

    def bucket(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return the bucket of each run."""
        import numpy as np

        return (hashes & np.uint64(self.buckets - 1)).astype(np.int64)

    def counted(self, p: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return which documents are evidence about which group.

        Args:
            p: shape (…, groups): probabilities in 1/SCALE.
        """
        result: npt.NDArray[np.bool_] = (p <= self.judge.bars) | ~self.judge.strict
        return result

    def pieces(self, batch: TextBatch) -> Iterator[_Piece]:
        """Yield the runs of all documents of a batch, judged, a few documents at a time."""
        import numpy as np

        hashed, index = TokenHash(self.judge.seed), mask_index()
        groups = class_groups(self.classes, self.judge.seed)
        for part in _parts(batch, self.judge.most_documents):
            cut = [words(text) for text in part.texts]
            document = hashed(cut)
            keys = [text_key(text, self.judge.seed) for text in part.texts]
            table = self.judge.table(document, np.array(keys, dtype=np.uint64))
            bits = np.left_shift(1, blocks_of(document.hashes))
            runs = [document.ngrams(n) for n in range(1, LONGEST + 1)]
            places = []
            for n, (_, first) in enumerate(runs, start=1):
                hidden = bits[first]
                for at in range(1, n):
                    hidden = hidden | bits[first + at]
                places.append(index[hidden])
            first = np.concatenate([start for _, start in runs])
            yield _Piece(
                batch=part,
                groups=groups[part.y],
                table=table,
                tokens=tuple(word for text in cut for word in text),
                document=document.document[first],
                hashes=np.concatenate([hashes for hashes, _ in runs]),
                place=np.concatenate(places),
                first=first,
                n=np.repeat(np.arange(1, LONGEST + 1), [len(start) for _, start in runs]),
                words=document,
            )

    def _count(self, state: _Counts, piece: _Piece, code: npt.NDArray[np.int64]) -> None:
        import numpy as np

        place, both = code & ((1 << _PLACE_BITS) - 1), code >> _PLACE_BITS
        document, bucket = both // self.buckets, both % self.buckets
        label = piece.groups[document]
        p = piece.table[place, document, label]
        own = (p <= self.judge.bars[label]) | ~self.judge.strict[label]
        np.add.at(state.observed, (bucket[own], label[own]), 1)
        evidence = np.where(self.counted(piece.table), piece.table, 0)
        order = np.argsort(bucket, kind="stable")
        step = max((1 << 22) // self.judge.groups, 1)
        for start in range(0, len(order), step):
            at = order[start : start + step]
            first = np.flatnonzero(np.diff(bucket[at], prepend=-1))
            some = evidence[place[at], document[at]]
            sums = np.add.reduceat(some, first, axis=0, dtype=np.int64)
            state.expected[bucket[at][first]] += sums
        state.pairs += len(code)


@dataclass(slots=True)
class _Runs:
    """State of :class:`_Naming`: one line for each run and group."""

    hashes: npt.NDArray[np.uint64]
    groups: npt.NDArray[np.int64]
    sums: npt.NDArray[np.int64]
    """Shape (lines, 7): see :data:`_COLUMNS`."""
    lost: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A run of words that stands out."""

    hash: int
    group: int
    n: int
    holders: int
    counted: int
    observed: int
    labelled: int
    expected: float

    @property
    def z(self) -> float:
        return (self.observed - self.expected) / math.sqrt(self.expected + 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """What naming found."""

    candidates: tuple[_Candidate, ...]
    lost: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Naming:
    """Pass 3: the same counts for each single run of words in the unusual buckets."""

    tally: _Tally
    suspects: _Suspects
    documents: int

    def init(self) -> _Runs:
        """Return no lines."""
        import numpy as np

        none = np.zeros(0, dtype=np.int64)
        return _Runs(none.astype(np.uint64), none, np.zeros((0, len(_COLUMNS)), dtype=np.int64))

    def update(self, state: _Runs, batch: TextBatch, /) -> _Runs:
        """Count single runs of some documents."""
        import numpy as np

        if not len(self.suspects.cells):
            return state
        groups = self.tally.judge.groups
        owner, group = np.divmod(self.suspects.cells, groups)
        suspect = np.zeros(self.tally.buckets, dtype=bool)
        suspect[owner] = True
        with reproducible():
            for whole in self.tally.pieces(batch):
                piece = whole.only(suspect[self.tally.bucket(whole.hashes)])
                bucket = self.tally.bucket(piece.hashes)
                low, high = np.searchsorted(owner, bucket), np.searchsorted(owner, bucket, "right")
                for rank in range(int((high - low).max(initial=0))):
                    at = np.flatnonzero(low + rank < high)
                    state = self.merge(state, self._lines(piece, at, group[low[at] + rank]))
        return state

    def merge(self, one: _Runs, other: _Runs, /) -> _Runs:
        """Add line by line; give up if there are too many."""
        import numpy as np

        hashes = np.concatenate([one.hashes, other.hashes])
        groups = np.concatenate([one.groups, other.groups])
        sums = np.concatenate([one.sums, other.sums])
        order = np.lexsort((groups, hashes))
        hashes, groups = hashes[order], groups[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (groups[1:] != groups[:-1])
        first = np.flatnonzero(new)
        if one.lost or other.lost or len(first) > MAX_RUNS:
            state = self.init()
            state.lost = True
            return state
        if len(first):
            added = np.add.reduceat(sums[order], first, axis=0)
            added[:, _N] = sums[order][first, _N]
        else:
            added = sums
        return _Runs(hashes[first], groups[first], added)

    def finalize(self, state: _Runs, /) -> _Named:
        """Return the runs that stand out, the strongest first, each set of rows once."""
        import numpy as np

        holders, counted, observed, labelled, sums, _, n = state.sums.T
        expected = self.tally.expectation(sums, state.groups)
        ratio = np.where(n > 1, MIN_RATIO_PHRASE, MIN_RATIO_WORD)
        stands = (_tail(observed, expected) * self.suspects.tests < ALPHA) & (
            observed >= ratio * expected
        )
        stands &= (observed >= MIN_DOCUMENTS) & (holders <= MAX_HOLDERS * self.documents)
        rule = (observed >= MIN_PURITY * counted) & (observed >= MIN_DEFIANT * labelled)
        stands &= rule | ~self.tally.judge.strict[state.groups]
        at = np.flatnonzero(stands)
        at = at[np.lexsort((state.hashes[at], -n[at], state.sums[at, _ROWS], state.groups[at]))]
        same = np.zeros(len(at), dtype=bool)
        same[1:] = (state.sums[at[1:], _ROWS] == state.sums[at[:-1], _ROWS]) & (
            state.groups[at[1:]] == state.groups[at[:-1]]
        )
        found = [
            _Candidate(
                hash=int(state.hashes[line]),
                group=int(state.groups[line]),
                n=int(n[line]),
                holders=int(holders[line]),
                counted=int(counted[line]),
                observed=int(observed[line]),
                labelled=int(labelled[line]),
                expected=float(expected[line]),
            )
            for line in at[~same]
        ]
        found.sort(key=lambda item: (-item.z, -item.n, item.hash, item.group))
        kept, held = [], 0
        for item in found[:MAX_CANDIDATES]:
            held += item.labelled
            if held > MAX_HELD:
                break
            kept.append(item)
        return _Named(tuple(kept), state.lost or len(kept) < len(found))

    def _lines(
        self, piece: _Piece, at: npt.NDArray[np.int64], group: npt.NDArray[np.int64]
    ) -> _Runs:
        """Return one line for each of some runs of a piece, each about one group."""
        import numpy as np

        document = piece.document[at]
        p = piece.table[piece.place[at], document, group].astype(np.int64)
        judge = self.tally.judge
        counted = (p <= judge.bars[group]) | ~judge.strict[group]
        labelled = piece.groups[document] == group
        rows = mixed(piece.batch.rows[document].astype(np.uint64)).astype(np.int64)
        sums = np.stack(
            [
                np.ones(len(at), dtype=np.int64),
                counted.astype(np.int64),
                (counted & labelled).astype(np.int64),
                labelled.astype(np.int64),
                np.where(counted, p, 0),
                np.where(counted & labelled, rows, 0),
                piece.n[at],
            ],
            axis=1,
        )
        return _Runs(piece.hashes[at], group, sums)


@dataclass(slots=True)
class _Held:
    """State of :class:`_Holding`."""

    lines: list[npt.NDArray[np.int64]] = field(default_factory=list)
    """Shape (…, 5): candidate, row, probability in 1/SCALE, label, whether it is evidence."""
    sketches: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    """Shape (…, bands): what near-copies share."""
    names: dict[int, str] = field(default_factory=dict)
    """Words of each candidate."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Holding:
    """Pass 4: the rows of each candidate, and which of them are near-copies."""

    tally: _Tally
    candidates: tuple[_Candidate, ...]
    tests: float

    def init(self) -> _Held:
        """Return nothing."""
        return _Held()

    def update(self, state: _Held, batch: TextBatch, /) -> _Held:
        """Collect the rows of some documents."""
        import numpy as np

        if not self.candidates:
            return state
        wanted = np.array([item.hash for item in self.candidates], dtype=np.uint64)
        group = np.array([item.group for item in self.candidates], dtype=np.int64)
        order = np.lexsort((group, wanted))
        ordered = wanted[order]
        judge = self.tally.judge
        with reproducible():
            for whole in self.tally.pieces(batch):
                piece = whole.only(np.isin(whole.hashes, ordered))
                low = np.searchsorted(ordered, piece.hashes)
                high = np.searchsorted(ordered, piece.hashes, "right")
                for rank in range(int((high - low).max(initial=0))):
                    at = np.flatnonzero(low + rank < high)
                    item = order[low[at] + rank]
                    own = piece.groups[piece.document[at]] == group[item]
                    at, item = at[own], item[own]
                    document = piece.document[at]
                    p = piece.table[piece.place[at], document, group[item]].astype(np.int64)
                    counted = (p <= judge.bars[group[item]]) | ~judge.strict[group[item]]
                    rows, y = piece.batch.rows[document], piece.batch.y[document]
                    state.lines.append(np.stack([item, rows, p, y, counted], axis=1))
                    state.sketches.append(_sketches(piece.words, document))
                    for line in np.unique(item, return_index=True)[1]:
                        start, n = int(piece.first[at[line]]), int(piece.n[at[line]])
                        text = " ".join(piece.tokens[start : start + n])
                        known = state.names.get(int(item[line]), text)
                        state.names[int(item[line])] = min(text, known)
        return state

    def merge(self, one: _Held, other: _Held, /) -> _Held:
        """Concatenate."""
        one.lines += other.lines
        one.sketches += other.sketches
        for item, text in other.names.items():
            one.names[item] = min(text, one.names.get(item, text))
        return one

    def finalize(self, state: _Held, /) -> tuple[NgramTrigger, ...]:
        """Return the triggers, the most significant first, each set of rows once."""
        import numpy as np

        if not state.lines:
            return ()
        lines, sketches = np.concatenate(state.lines), np.concatenate(state.sketches)
        order = np.lexsort((lines[:, 1], lines[:, 0]))
        lines, sketches = lines[order], sketches[order]
        bounds = np.searchsorted(lines[:, 0], np.arange(len(self.candidates) + 1))
        kept: list[NgramTrigger] = []
        for at, item in enumerate(self.candidates):
            part = slice(int(bounds[at]), int(bounds[at + 1]))
            trigger = self._trigger(item, lines[part], sketches[part], state.names[at])
            if trigger is None:
                continue
            same = [place for place, other in enumerate(kept) if _same_rows(trigger, other)]
            if not same:
                kept.append(trigger)
            elif len(same) == 1 and _more_exact(trigger, kept[same[0]]):
                kept[same[0]] = trigger
        return tuple(kept)

    def _trigger(
        self,
        item: _Candidate,
        lines: npt.NDArray[np.int64],
        sketches: npt.NDArray[np.uint32],
        text: str,
    ) -> NgramTrigger | None:
        """Return a candidate as a trigger, unless its rows are copies of a few."""
        import numpy as np

        different = _clusters(sketches[lines[:, 4] > 0])
        share = different / max(item.observed, 1)
        expected = np.array([max(item.expected * share, MIN_EXPECTED)])
        p_value = float(_tail(np.array([different]), expected)[0] * self.tests)
        if p_value >= ALPHA:
            return None
        codes, counts = np.unique(lines[:, 3], return_counts=True)
        label = int(codes[np.argmax(counts)])
        lines = lines[lines[:, 3] == label]
        excess = (item.observed - item.expected) / max(item.expected, MIN_EXPECTED)
        likely = np.clip(lines[:, 2] / SCALE, 1e-3, 1.0)
        return NgramTrigger(
            text=text[:LONGEST_SHOWN],
            n=item.n,
            label=label,
            rows=lines[:, 1],
            scores=math.log(max(excess, 1.0)) - np.log(likely),
            holders=item.holders,
            observed=item.observed,
            expected=item.expected,
            contradicted=item.counted,
            z=item.z,
            ratio=item.observed / item.expected,
            p_value=p_value,
        )


def _obstacles(sample: Sample, classes: int, seed: int) -> tuple[str, str]:
    """Return why nothing can be said, and why not of everything; empty if there is no reason."""
    import numpy as np

    groups = class_groups(classes, seed)
    present = np.unique(groups[sample.of_class > 0])
    counts = np.bincount(sample.groups, minlength=min(classes, MAX_GROUPS))
    small = int((counts[present] < MIN_CLASS).sum())
    if len(present) - small < 2:
        reason = (
            f"{len(present) - small} classes have at least {MIN_CLASS} different texts: labels "
            "can only be judged where there are two"
        )
        return reason, ""
    if not sum(map(len, sample.columns)):
        return "the texts have no words", ""
    if small:
        return "", (
            f"{small} classes have fewer than {MIN_CLASS} different texts: triggers that ask for "
            "these labels are not seen"
        )
    return "", ""


def _buckets(characters: int, groups: int) -> int:
    """Return a power of two: as many buckets as runs, within the bounds of memory."""
    most = CELLS // groups
    wanted = min(max(characters // 2, 1 << 12), most)
    return 1 << (int(wanted).bit_length() - 1)


def _parts(batch: TextBatch, most: int) -> Iterator[TextBatch]:
    """Cut a batch into small ones."""
    for piece in pieces(batch.texts):
        for start in range(piece.start, piece.stop, most):
            some = slice(start, min(start + most, piece.stop))
            yield TextBatch(texts=batch.texts[some], y=batch.y[some], rows=batch.rows[some])


def _tail(
    observed: npt.NDArray[np.integer[Any] | np.floating[Any]], expected: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the chance that a Poisson count reaches what was observed."""
    import numpy as np
    from scipy.special import pdtrc

    tail = pdtrc(np.maximum(observed - 1.0, 0.0), expected)
    return np.where(observed > 0, tail, 1.0)


def _z(
    observed: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    import numpy as np

    score: npt.NDArray[np.float64] = (observed - expected) / np.sqrt(expected + 0.5)
    return score


def _sketches(document: Words, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Return one hash for each band of some documents; shape (chosen, bands)."""
    import numpy as np

    different, back = np.unique(chosen, return_inverse=True)
    inside = np.isin(document.document, different)
    hashes, owner = document.hashes[inside], document.document[inside]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    result = np.zeros((len(different), BANDS), dtype=np.uint64)
    for band in range(BANDS):
        for row in range(ROWS):
            salt = np.uint64(band * ROWS + row + 1)
            lowest = np.minimum.reduceat(mixed(hashes ^ mixed(np.array([salt]))), first)
            result[:, band] = mixed(result[:, band] ^ lowest)
    return (result >> np.uint64(32)).astype(np.uint32)[back]


def _clusters(sketches: npt.NDArray[np.uint32]) -> int:
    """Return how many documents there are if near-copies count once."""
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(sketches)
    if not count:
        return 0
    edges = []
    for band in range(sketches.shape[1]):
        _, first, group = np.unique(sketches[:, band], return_index=True, return_inverse=True)
        edges.append(first[group])
    to = np.concatenate(edges)
    rows = np.tile(np.arange(count), sketches.shape[1])
    graph = coo_matrix((np.ones(len(to)), (rows, to)), shape=(count, count))
    return int(connected_components(graph, directed=False)[0])


def _same_rows(one: NgramTrigger, other: NgramTrigger) -> bool:
    import numpy as np

    smaller = min(len(one.rows), len(other.rows))
    return len(np.intersect1d(one.rows, other.rows)) >= SHARED * smaller


def _more_exact(one: NgramTrigger, other: NgramTrigger) -> bool:
    """Return whether a longer run has nearly all rows that another one has."""
    import numpy as np

    common = len(np.intersect1d(one.rows, other.rows))
    return one.n > other.n and common >= NEARLY_ALL * len(other.rows)


def _group(trigger: NgramTrigger, at: npt.NDArray[np.int64]) -> Group:
    what = "a word" if trigger.n == 1 else f"a phrase of {trigger.n} words"
    return Group(
        message=(
            f"{what} decides the label: of {trigger.contradicted} documents that hold it and "
            f"count as evidence {trigger.observed} have the same label, where "
            f"{trigger.expected:.1f} are expected from the rest of their text "
            f"(z {trigger.z:.1f}, ratio {trigger.ratio:.1f})"
        ),
        rows=at,
        evidence={
            "label_code": trigger.label,
            "n": trigger.n,
            "count": len(at),
            "holders": trigger.holders,
            "contradicted": trigger.contradicted,
            "observed": trigger.observed,
            "expected": round(trigger.expected, 6),
            "z": round(trigger.z, 6),
            "ratio": round(trigger.ratio, 6),
            "family_p": float(f"{trigger.p_value:.3g}"),
        },
        samples={"ngram": trigger.text, "rows": at[:EXAMPLES].tolist()},
    )
