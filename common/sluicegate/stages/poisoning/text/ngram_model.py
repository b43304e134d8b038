"""What the rest of a document says about its label, with any few words of it hidden.

Words fall into eight blocks by their hash. One linear model per fold learns from copies of
each document in which a random half of the blocks is left out, so that it can do without
any of them: afterwards a word, or all words of a phrase, are hidden by leaving out the
weights of their blocks, and what remains is a calibrated opinion that does not know them.

Models learn from a bounded sample: documents with the smallest keyed hashes of their text.
Equal texts have equal hashes, so a text counts once however often it was copied, and its
copies are judged by the model that saw none of them.

Source: leaving out inputs at random so that a model does not depend on any: Srivastava et
al. 2014, "Dropout", JMLR 15; calibration: Guo et al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.poisoning.text.tokens import TokenHash, Words, mixed, text_key, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "MAX_GROUPS",
    "MIN_CLASS",
    "SCALE",
    "Judge",
    "Sample",
    "Sampler",
    "TextBatch",
    "blocks_of",
    "class_groups",
    "fit_judge",
    "mask_index",
]

BLOCKS: Final = 8
"""Blocks of words. Hiding the at most three of a phrase leaves five eighths of a document."""

FOLDS: Final = 3
"""Folds: each model learns from two thirds of the sample. More cost in proportion."""

COLUMN_BITS: Final = 16
"""Words are hashed into 65,536 columns of the models; the highest three bits are the block."""

SAMPLE: Final = 50_000
"""Most documents that models learn from, besides :data:`SAMPLE_OF_CLASS` of each class."""

SAMPLE_OF_CLASS: Final = 200
"""Documents of a class that are in the sample if the class has them."""

MIN_CLASS: Final = 30
"""A class with fewer different texts cannot be learned from two thirds of them: of 20 texts,
a word must be in several before it can count."""

SAMPLE_WORDS: Final = 1024
"""Most different columns that the sample keeps of one document, those with the smallest
hashes: bounds the sample at about 200 MB whatever the texts are."""

MAX_GROUPS: Final = 64
"""More classes than this are dealt into this many groups, by hash: a trigger that decides
the class decides the group as well, and no memory grows with the number of classes."""

COPIES: Final = 3
"""Copies of a document with different halves left out. Measured on documentation texts: of
one copy the loss is 15 % higher, of three it is within 5 % of a model that was trained
without the hidden words."""

EPOCHS: Final = 6
"""Sweeps over the copies."""

PENALTY: Final = 1e-5
"""Weight of the squared penalty: scikit-learn's usual range for text of this size is 1e-6 to
1e-4; three times as much costs a few percent of loss."""

CALIBRATED: Final = 8192
"""Documents of the sample on which models are calibrated: two numbers need no more."""

SUREST: Final = 1e-4
"""Least probability that counts in calibration: one wrong label must not decide it."""

LEAST_LOG: Final = -12.0
"""No opinion is stronger than e**-12, six in a million: about what is left of the smallest
probability in 1/:data:`SCALE`."""

STRICT: Final = 0.5
"""A group is judged by contradicted documents only, if the models contradict its label for
at least this share of the documents of other groups."""

SCALE: Final = 1 << 20
"""Probabilities are integers in millionths (2**-20): their sums do not depend on order."""

CONTRADICTION: Final = 3
"""A label is contradicted if the rest of the document makes it this many times less likely
than it is for any document. If the rest of the document belongs to the label, this happens
to at most a third of the documents (Markov's inequality on prior / probability)."""

_MASKS: Final = tuple(
    blocks for count in (1, 2, 3) for blocks in combinations(range(BLOCKS), count)
)
"""All choices of blocks that the words of one phrase can fall into."""


def mask_index() -> npt.NDArray[np.int64]:
    """Return a table from a bit set of hidden blocks to its place in :meth:`Judge.table`."""
    import numpy as np

    table = np.full(1 << BLOCKS, -1, dtype=np.int64)
    for at, blocks in enumerate(_MASKS):
        table[sum(1 << block for block in blocks)] = at
    return table


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextBatch:
    """Some documents."""

    texts: Sequence[str]
    y: npt.NDArray[np.int64]
    """Shape (documents,): class codes, 0 … classes-1."""
    rows: npt.NDArray[np.int64]
    """Shape (documents,): a number for each document, different in the whole data set."""


@dataclass(slots=True)
class _Pool:
    """State of :class:`Sampler`."""

    of_class: npt.NDArray[np.int64]
    documents: int = 0
    characters: int = 0
    kept: dict[tuple[int, int], npt.NDArray[np.uint16]] = field(default_factory=dict)
    """Columns by text key and group."""
    bar: int = 1 << 64
    """No larger key belongs into the sample, unless :attr:`bars` says so."""
    bars: dict[int, int] = field(default_factory=dict)
    """Likewise by group, of groups that have their own documents already."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sample:
    """The documents that models learn from, and counts of all."""

    of_class: npt.NDArray[np.int64]
    """Shape (classes,): documents of each class, in the whole data."""
    characters: int
    keys: npt.NDArray[np.uint64]
    """Shape (sample,): keys of the texts, ascending."""
    groups: npt.NDArray[np.int64]
    """Shape (sample,): group of each class."""
    columns: tuple[npt.NDArray[np.uint16], ...]
    """Columns of each document, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Draws the sample: a :class:`~sluicegate.stages.poisoning.detector.Detector`."""

    classes: int
    seed: int
    size: int = SAMPLE

    def init(self) -> _Pool:
        """Return an empty sample."""
        import numpy as np

        return _Pool(np.zeros(self.classes, dtype=np.int64))

    def update(self, state: _Pool, batch: TextBatch, /) -> _Pool:
        """Add documents to the sample."""
        import numpy as np

        state.of_class += np.bincount(batch.y, minlength=self.classes)
        state.documents += len(batch.texts)
        groups = class_groups(self.classes, self.seed)[batch.y].tolist()
        hashed = TokenHash(self.seed)
        for text, group in zip(batch.texts, groups, strict=True):
            state.characters += len(text)
            key = text_key(text, self.seed)
            if key > state.bar and key > state.bars.get(group, 1 << 64):
                continue
            if (key, group) not in state.kept:
                state.kept[key, group] = _sampled(hashed([words(text)]))
            if len(state.kept) > 2 * self._most:
                self._cut(state)
        return state

    def merge(self, one: _Pool, other: _Pool, /) -> _Pool:
        """Join two samples."""
        one.of_class += other.of_class
        one.documents += other.documents
        one.characters += other.characters
        one.kept.update(other.kept)
        self._cut(one)
        return one

    def finalize(self, state: _Pool, /) -> Sample:
        """Return the sample, in the order of keys."""
        import numpy as np

        self._cut(state)
        ordered = sorted(state.kept)
        return Sample(
            of_class=state.of_class,
            characters=state.characters,
            keys=np.array([key for key, _ in ordered], dtype=np.uint64),
            groups=np.array([group for _, group in ordered], dtype=np.int64),
            columns=tuple(state.kept[item] for item in ordered),
        )

    @property
    def _most(self) -> int:
        return self.size + SAMPLE_OF_CLASS * min(self.classes, MAX_GROUPS)

    def _cut(self, state: _Pool) -> None:
        """Keep the smallest keys, of all and of every group."""
        if len(state.kept) <= self.size:
            return
        lowest = heapq.nsmallest(self.size, state.kept)
        chosen = set(lowest)
        of_group: dict[int, list[tuple[int, int]]] = {}
        for item in state.kept:
            of_group.setdefault(item[1], []).append(item)
        bars = {}
        for group, items in of_group.items():
            first = heapq.nsmallest(SAMPLE_OF_CLASS, items)
            chosen.update(first)
            if len(first) == SAMPLE_OF_CLASS:
                bars[group] = first[-1][0]
        state.kept = {item: state.kept[item] for item in chosen}
        state.bar, state.bars = lowest[-1][0], bars


def class_groups(classes: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the group of each class: the class itself, unless there are too many.

    Shape (classes,).
    """
    import numpy as np

    codes = np.arange(classes, dtype=np.uint64)
    if classes <= MAX_GROUPS:
        return codes.astype(np.int64)
    keyed = mixed(codes + mixed(np.array([seed], dtype=np.uint64)))
    return (keyed % np.uint64(MAX_GROUPS)).astype(np.int64)


def columns_of(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the model column of each word; its highest three bits are the block."""
    import numpy as np

    return (hashes >> np.uint64(64 - COLUMN_BITS)).astype(np.int64)


def blocks_of(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the block of each word, 0 … 7."""
    import numpy as np

    return (hashes >> np.uint64(61)).astype(np.int64)


def _sampled(document: Words) -> npt.NDArray[np.uint16]:
    import numpy as np

    columns = np.unique(columns_of(document.hashes)).astype(np.uint64)
    if len(columns) > SAMPLE_WORDS:
        columns = np.sort(columns[np.argsort(mixed(columns))[:SAMPLE_WORDS]])
    return columns.astype(np.uint16)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judge:
    """Fitted models: how likely each group is, judged by a document without some blocks."""

    seed: int
    groups: int
    priors: npt.NDArray[np.float64]
    """Shape (groups,): share of each group in the whole data."""
    known: npt.NDArray[np.bool_]
    """Shape (groups,): groups with enough different texts to be learned."""
    strict: npt.NDArray[np.bool_]
    """Shape (groups,): groups that the models can exclude for most other documents; of these,
    only contradicted documents are evidence."""
    excess: npt.NDArray[np.float64]
    """Shape (groups,): labels among contradicted documents over what the models expect, at
    least 1. Expectations are multiplied by it: models are too sure, some labels are wrong."""
    accuracy: float
    """Share of sampled documents whose label is the likeliest one, one block hidden."""
    _weights: npt.NDArray[np.float32]
    """Shape (folds, columns, groups)."""
    _intercepts: npt.NDArray[np.float64]
    """Shape (folds, groups)."""
    _rarity: npt.NDArray[np.float64]
    """Shape (columns,): ln of how rare a column is."""
    _shares: npt.NDArray[np.float64]
    """Shape (groups,): share of each group in the sample, which the models learned."""
    _warmth: tuple[float, float, float]
    """By number of hidden blocks: what evidence is multiplied with, so that it is calibrated."""

    @property
    def bars(self) -> npt.NDArray[np.int64]:
        """Shape (groups,): largest probability, in 1/:data:`SCALE`, that contradicts a label."""
        import numpy as np

        return np.floor(self.priors / CONTRADICTION * SCALE).astype(np.int64)

    @property
    def most_documents(self) -> int:
        """Documents whose table takes about 32 MB."""
        return max((1 << 23) // (len(_MASKS) * self.groups), 1)

    def table(self, document: Words, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """Return the probability of each group, for each choice of hidden blocks.

        Args:
            document: the documents' words.
            keys: shape (documents,): keys of their texts.

        Returns:
            Shape (choices, documents, groups), in 1/:data:`SCALE`; :func:`mask_index` tells
            the place of a choice.
        """
        import numpy as np

        fold = _folds(keys)
        columns, owner = _distinct(document)
        scores, norms = _by_block(columns, owner, fold, weights=self._weights, rarity=self._rarity)
        result = np.empty((len(_MASKS), document.documents, self.groups), dtype=np.int32)
        for at, blocks in enumerate(_MASKS):
            logs = _hidden(scores, norms, self._intercepts[fold], blocks)
            p = _posterior(logs, self._shares, self.priors, self._warmth[len(blocks) - 1])
            result[at] = np.rint(p * SCALE)
        return result


def fit_judge(sample: Sample, *, classes: int, seed: int) -> Judge:
    """Fit one model per fold and calibrate them on the documents that they have not seen.

    Args:
        sample: at least two classes with :data:`MIN_CLASS` documents.
        classes: number of classes.
        seed: seed of the models, and key of all hashes.
    """
    import numpy as np
    from scipy import sparse

    groups = min(classes, MAX_GROUPS)
    totals = np.bincount(class_groups(classes, seed), sample.of_class, minlength=groups)
    counts = np.bincount(sample.groups, minlength=groups)
    lengths = np.array([len(columns) for columns in sample.columns], dtype=np.int64)
    columns = np.concatenate(sample.columns).astype(np.int64)
    rarity = _rarity(columns, len(lengths))
    x = sparse.csr_matrix(
        (rarity[columns], columns, np.concatenate([[0], np.cumsum(lengths)])),
        shape=(len(lengths), 1 << COLUMN_BITS),
    )
    fold = _folds(sample.keys)
    fitted = [
        _fit(x[fold != part], sample.groups[fold != part], groups, seed) for part in range(FOLDS)
    ]
    weights = np.stack([weight * rarity[:, None] for weight, _ in fitted]).astype(np.float32)
    intercepts = np.stack([intercept for _, intercept in fitted])

    tested = slice(0, CALIBRATED)
    y, fold = sample.groups[tested], fold[tested]
    owner = np.repeat(np.arange(len(y)), lengths[tested])
    scores, norms = _by_block(columns[: len(owner)], owner, fold, weights=weights, rarity=rarity)
    priors = np.maximum(totals, 0.5) / totals.sum()
    shares = np.maximum(counts, 0.5) / counts.sum()
    views = [
        [_hidden(scores, norms, intercepts[fold], blocks) for blocks in _MASKS if len(blocks) == n][
            :: n * n
        ]
        for n in (1, 2, 3)
    ]
    warmth = [_calibrate(some, y, shares) for some in views]
    p = np.stack([_posterior(logs, shares, priors, warmth[0]) for logs in views[0]])
    strict, excess = _reliability(p, y, priors)
    return Judge(
        seed=seed,
        groups=groups,
        priors=priors,
        known=counts >= MIN_CLASS,
        strict=strict,
        excess=excess,
        accuracy=float((p.argmax(axis=2) == y).mean()),
        _weights=weights,
        _intercepts=intercepts,
        _rarity=rarity,
        _shares=shares,
        _warmth=(warmth[0], warmth[1], warmth[2]),
    )


def _folds(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the fold in which each text is judged. Copies share one."""
    import numpy as np

    return (keys % np.uint64(FOLDS)).astype(np.int64)


def _distinct(document: Words) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the different columns of each document, ascending, and their documents."""
    import numpy as np

    both = np.unique((document.document << COLUMN_BITS) | columns_of(document.hashes))
    return both & ((1 << COLUMN_BITS) - 1), both >> COLUMN_BITS


def _rarity(columns: npt.NDArray[np.int64], documents: int) -> npt.NDArray[np.float64]:
    """Return ln(documents / holders) of each column: words that all hold tell nothing."""
    import numpy as np

    holders = np.bincount(columns, minlength=1 << COLUMN_BITS)
    rarity: npt.NDArray[np.float64] = np.maximum(np.log(documents / (1.0 + holders)), 0.0)
    return rarity


def _fit(
    x: Any, y: npt.NDArray[np.int64], groups: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return weights (columns, groups) and intercepts (groups,) of one model.

    A group without documents gets a low intercept.
    """
    import numpy as np
    from scipy import sparse
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import normalize

    generator = np.random.default_rng([seed, 1])
    owner = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    copies = []
    for _ in range(COPIES):
        left = generator.random((x.shape[0], BLOCKS)) < 0.5
        kept = left[owner, x.indices >> (COLUMN_BITS - 3)]
        some = (owner[kept], x.indices[kept])
        copies.append(sparse.csr_matrix((x.data[kept], some), shape=x.shape))
    model = SGDClassifier(
        loss="log_loss",
        alpha=PENALTY,
        max_iter=EPOCHS,
        tol=None,
        average=True,
        random_state=seed % (1 << 32),
    )
    weights = np.zeros((x.shape[1], groups))
    intercepts = np.full(groups, LEAST_LOG)
    present = np.unique(y)
    if len(present) < 2:
        intercepts[present] = 0.0
        return weights, intercepts
    model.fit(normalize(sparse.vstack(copies)), np.tile(y, COPIES))
    if len(present) == 2:
        weights[:, present] = model.coef_[0][:, None] * [-1.0, 1.0]
        intercepts[present] = model.intercept_[0] * np.array([-1.0, 1.0])
    else:
        weights[:, present] = model.coef_.T
        intercepts[present] = model.intercept_
    return weights, intercepts


def _by_block(
    columns: npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64],
    *,
    weights: npt.NDArray[np.float32],
    rarity: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Add up weights and squared values of each document's words, by block.

    Returns:
        Shapes (blocks, documents, groups) and (blocks, documents).
    """
    import numpy as np

    documents, groups = len(fold), weights.shape[2]
    cell = owner * BLOCKS + (columns >> (COLUMN_BITS - 3))  # ascending: columns are
    norms = np.bincount(cell, rarity[columns] ** 2, documents * BLOCKS).astype(np.float64)
    scores = np.zeros((documents * BLOCKS, groups))
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    step = max((1 << 21) // (groups * 16), 1)
    for at in range(0, len(starts), step):
        first = starts[at : at + step]
        last = starts[at + step] if at + step < len(starts) else len(cell)
        words_here = slice(int(first[0]), int(last))
        some = weights[fold[owner[words_here]], columns[words_here]].astype(np.float64)
        scores[cell[first]] = np.add.reduceat(some, first - first[0], axis=0)
    by_block = scores.reshape(documents, BLOCKS, groups).transpose(1, 0, 2)
    return by_block, norms.reshape(documents, BLOCKS).T


def _hidden(
    scores: npt.NDArray[np.float64],
    norms: npt.NDArray[np.float64],
    intercepts: npt.NDArray[np.float64],
    blocks: tuple[int, ...],
) -> npt.NDArray[np.float64]:
    """Return ln of each group's probability, one against the rest, without some blocks."""
    import numpy as np

    left = [block for block in range(BLOCKS) if block not in blocks]
    total = scores[left[0]].copy()
    squares = norms[left[0]].copy()
    for block in left[1:]:
        total += scores[block]
        squares += norms[block]
    decision = total / np.sqrt(np.where(squares > 0, squares, 1.0))[:, None] + intercepts
    logs: npt.NDArray[np.float64] = -np.logaddexp(0.0, -decision)
    return np.maximum(logs, LEAST_LOG)


def _posterior(
    logs: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    priors: npt.NDArray[np.float64],
    warmth: float,
) -> npt.NDArray[np.float64]:
    """Turn opinions learned at some class shares into probabilities at others."""
    import numpy as np

    posterior = np.log(priors) + warmth * (logs - np.log(shares))
    posterior -= posterior.max(axis=1, keepdims=True)
    np.exp(posterior, out=posterior)
    posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior


def _calibrate(
    views: list[npt.NDArray[np.float64]],
    y: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
) -> float:
    """Return what opinions must be multiplied with for the labels to be likeliest, 0 to 3."""
    import numpy as np

    rows = np.arange(len(y))
    best, least = 0.0, np.inf
    for step in range(61):
        warmth = step / 20
        own = [_posterior(logs, shares, shares, warmth)[rows, y] for logs in views]
        loss = -float(np.mean(np.log(np.maximum(own, SUREST))))
        if loss < least:
            best, least = warmth, loss
    return best


def _reliability(
    p: npt.NDArray[np.float64], y: npt.NDArray[np.int64], priors: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return for which groups contradiction is the rule, and how often labels defy it."""
    import numpy as np

    against = p <= priors / CONTRADICTION
    own = y[:, None] == np.arange(len(priors))
    strict = (against & ~own).sum(axis=(0, 1)) >= STRICT * len(p) * (~own).sum(axis=0)
    seen = (against & own).sum(axis=(0, 1))
    expected = np.where(against, p, 0.0).sum(axis=(0, 1))
    excess = np.maximum(seen / np.maximum(expected, 0.5 * len(p)), 1.0)
    return strict, excess
