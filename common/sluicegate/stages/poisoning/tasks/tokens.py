"""Tokens whose class contradicts the predictions.

A token is flagged if another class is clearly likelier than the given one, and if there are
more such tokens than the predictions themselves expect; see ``excess``. Each given class is
judged alone, and all are judged together. cleanlab confirms each flagged token. Its default
filter is not used: it flags as many tokens as it estimates to be wrong, also where
predictions are merely uncertain.

Source: Wang & Mueller 2022, "Detecting Label Errors in Token Classification Data",
arXiv:2210.03920, whose score of a sentence, that of its worst token, is used here.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TOKEN_ISSUES", "token_issues"]

TOKEN_ISSUES: Final = "poisoning.token_issues"  # noqa: S105, not that kind of token

BATCH: Final = 65_536
"""Tokens that are worked on at once."""

MAX_CELLS: Final = 2**24
"""Most probabilities that are worked on at once, for many classes: 128 MB."""

MAX_POSITIONS: Final = 100
"""How many tokens a group names; its rows are complete."""

WORST: Final = 5
"""How many of the worst margins a group quotes."""


def token_issues(
    labels: Sequence[Sequence[int]], probabilities: Sequence[npt.NDArray[np.float64]]
) -> Channel:
    """Compare the classes of tokens with out-of-sample probabilities.

    Args:
        labels: for each sentence, the class code of each token, from 0.
        probabilities: for each sentence, shape (tokens, classes): how likely each class is.

    Returns:
        A channel whose rows are sentences, with one group for each pair of given and
        suggested class, most tokens first. A sentence's score is the ln of how many times
        likelier another class is for its worst token; its p-value is the chance that
        calibrated predictions contradict any of its tokens as strongly; both are NaN for a
        sentence without tokens. Unknown if a value is not a probability, a row of them does
        not sum to 1, or a label is not a class code.
    """
    import numpy as np

    from sluicegate.stages.poisoning.tasks.excess import Tally, cuts

    fault = _fault(labels, probabilities)
    if fault:
        nothing = np.full(len(labels), np.nan)
        return Channel(id=TOKEN_ISSUES, scores=nothing, p_values=nothing, unknown=fault)
    lengths = np.array([len(sentence) for sentence in labels], dtype=np.int64)
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    y = np.array([code for given in labels for code in given], dtype=np.int64)
    exponent = _temperature(y, probabilities)
    tally = Tally.empty(next(part.shape[1] for part in probabilities if len(part)))
    margins, chances = np.empty(len(y)), np.empty(len(y))
    suggested = np.empty(len(y), dtype=np.int64)
    for at, soft in _batches(probabilities, exponent):
        given = y[at]
        tally.add(soft, given)
        margins[at], chances[at] = _judge(soft, given)
        suggested[at] = soft.argmax(axis=1)
    flagged = np.flatnonzero(margins >= cuts(tally)[y])
    starts = np.cumsum(lengths) - lengths
    flagged = flagged[_cleanlab_agrees(flagged, y, sentence, starts, probabilities)]
    position = np.arange(len(y)) - starts[sentence]
    scores, p_values = np.full(len(lengths), np.nan), np.full(len(lengths), np.nan)
    filled = np.flatnonzero(lengths)
    if len(filled):
        scores[filled] = np.maximum.reduceat(margins, starts[filled])
        survival = np.log1p(-np.clip(chances, 0.0, 1.0 - 1e-12))
        p_values[filled] = -np.expm1(np.add.reduceat(survival, starts[filled]))
    groups = _groups(flagged, y, suggested, margins, sentence, position)
    return Channel(
        id=TOKEN_ISSUES,
        scores=scores,
        p_values=p_values,
        groups=tuple(groups),
        metrics={
            "tokens": len(y),
            "tokens_flagged": len(flagged),
            "contradictions_expected": round(float(tally.expected[0].sum()), 6),
            "contradictions_observed": int(tally.observed[0].sum()),
            "exponent": round(exponent, 6),
        },
    )


def _fault(
    labels: Sequence[Sequence[int]], probabilities: Sequence[npt.NDArray[np.float64]]
) -> str:
    """Return why the tokens cannot be judged, or nothing."""
    import numpy as np

    from sluicegate.stages.poisoning.tasks.excess import faults

    if len(labels) != len(probabilities):
        return f"{len(labels)} sentences have labels, {len(probabilities)} have probabilities"
    if not any(len(given) for given in labels):
        return "there are no tokens"
    odd = sum(
        part.ndim != 2 or len(part) != len(given)
        for given, part in zip(labels, probabilities, strict=True)
    )
    if odd:
        return f"{odd} sentences do not have one row of probabilities for each label"
    widths = {part.shape[1] for part in probabilities if len(part)}
    if len(widths) > 1 or not min(widths):
        return f"sentences have probabilities for {sorted(widths)} classes: one number is needed"
    classes = widths.pop()
    foreign = sum(not all(_is_code(code, classes) for code in given) for given in labels)
    if foreign:
        return f"{foreign} sentences have labels that are not class codes from 0 to {classes - 1}"
    counts = np.zeros(3, dtype=np.int64)
    for part in probabilities:
        counts += faults(part, exclusive=True)
    words = ("are missing or infinite", "are outside of 0 to 1", "do not sum to 1")
    told = [f"of {count} tokens they {what}" for count, what in zip(counts, words, strict=True)]
    bad = "; ".join(part for part, count in zip(told, counts, strict=True) if count)
    return f"the probabilities are unusable: {bad}" if bad else ""


def _is_code(value: object, classes: int) -> bool:
    """Return whether a label is an integer of any library, and one of the classes."""
    if type(value) is int:  # the usual case, and the fast one
        return 0 <= value < classes
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return False
    return 0 <= operator.index(value) < classes


def _pieces(
    probabilities: Sequence[npt.NDArray[np.float64]],
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Yield the probabilities of consecutive tokens, in batches of bounded size."""
    import numpy as np

    waiting: list[npt.NDArray[np.float64]] = []
    done = ready = 0
    for part in probabilities:
        if not len(part):
            continue
        most = max(1, min(BATCH, MAX_CELLS // part.shape[1]))
        if waiting and ready + len(part) > most:
            yield slice(done, done + ready), np.concatenate(waiting)
            waiting, done, ready = [], done + ready, 0
        for start in range(0, len(part), most):
            piece = part[start : start + most]
            if start + most < len(part):
                yield slice(done, done + len(piece)), piece
                done += len(piece)
            else:
                waiting.append(piece)
                ready += len(piece)
    if waiting:
        yield slice(done, done + ready), np.concatenate(waiting)


def _batches(
    probabilities: Sequence[npt.NDArray[np.float64]], exponent: float
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Yield corrected probabilities of consecutive tokens."""
    from sluicegate.stages.poisoning.tasks.excess import tempered

    for at, piece in _pieces(probabilities):
        yield at, tempered(piece, exponent)


def _temperature(
    y: npt.NDArray[np.int64], probabilities: Sequence[npt.NDArray[np.float64]]
) -> float:
    """Return how to correct probabilities, learnt from at most a batch of unsure tokens."""
    import numpy as np

    from sluicegate.stages.poisoning.tasks.excess import UNSURE, temperature, tempered

    rests, bests, wrongs, kept = [], [], [], 0
    for at, piece in _pieces(probabilities):
        unsure = np.flatnonzero(piece.max(axis=1) < UNSURE)
        most = min(BATCH, MAX_CELLS // piece.shape[1]) - kept
        chosen = tempered(piece[unsure[: max(most, 0)]], 1.0)
        likeliest = chosen.argmax(axis=1)
        bests.append(chosen.max(axis=1, initial=0.0))
        wrongs.append(likeliest != y[at][unsure[: max(most, 0)]])
        chosen[np.arange(len(chosen)), likeliest] = 0.0
        rests.append(chosen)
        kept += len(chosen)
    return temperature(np.concatenate(bests), np.concatenate(rests), np.concatenate(wrongs))


def _judge(
    soft: npt.NDArray[np.float64], given: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return each token's margin, and the chance of a label that is no likelier than its own."""
    import numpy as np

    from sluicegate.stages.poisoning.crossfit import log_margin

    own = soft[np.arange(len(given)), given]
    chance = np.where(soft <= own[:, None], soft, 0.0).sum(axis=1)
    return log_margin(soft, given), np.minimum(chance, 1.0)


def _cleanlab_agrees(
    flagged: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    sentence: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    probabilities: Sequence[npt.NDArray[np.float64]],
) -> npt.NDArray[np.bool_]:
    """Return which flagged tokens cleanlab finds to be contradicted; shape (flagged,)."""
    import numpy as np
    from cleanlab import token_classification

    from sluicegate.stages.poisoning.tasks.excess import forget_probabilities, tempered

    agreed = np.zeros(len(flagged), dtype=bool)
    classes = max((part.shape[1] for part in probabilities if len(part)), default=1)
    most = max(1, min(BATCH, MAX_CELLS // classes))
    for start in range(0, len(flagged), most):
        part = flagged[start : start + most]
        rows = np.stack(
            [probabilities[sentence[at]][at - starts[sentence[at]]] for at in part.tolist()]
        )
        normal = tempered(rows, 1.0)
        if len(np.unique(y[part])) < 2:  # cleanlab refuses labels of a single class
            agreed[start : start + most] = normal.argmax(axis=1) != y[part]
            continue
        try:
            found = token_classification.filter.find_label_issues(
                [[int(code)] for code in y[part]],
                [row[None, :] for row in normal],
                filter_by="predicted_neq_given",
                n_jobs=1,
            )
        finally:
            forget_probabilities()
        agreed[[start + at for at, _ in found]] = True
    return agreed


def _groups(
    flagged: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    suggested: npt.NDArray[np.int64],
    margins: npt.NDArray[np.float64],
    sentence: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
) -> Iterator[Group]:
    """Yield one group for each pair of given and suggested class, most tokens first."""
    import numpy as np

    pairs, which, counts = np.unique(
        np.stack([y[flagged], suggested[flagged]]), axis=1, return_inverse=True, return_counts=True
    )
    members: Any = np.split(flagged[np.argsort(which, kind="stable")], np.cumsum(counts)[:-1])
    for pair in np.argsort(-counts, kind="stable"):
        tokens = members[pair]
        rows = np.unique(sentence[tokens])
        worst = np.sort(margins[tokens])[::-1][:WORST]
        yield Group(
            message=f"{len(tokens)} tokens in {len(rows)} sentences have one class and look like "
            "another",
            rows=rows.astype(np.int64),
            evidence={
                "given": int(pairs[0, pair]),
                "suggested": int(pairs[1, pair]),
                "count": len(tokens),
                "positions": [
                    [int(sentence[at]), int(position[at])] for at in tokens[:MAX_POSITIONS]
                ],
                "worst_margins": [round(float(margin), 6) for margin in worst],
            },
        )
