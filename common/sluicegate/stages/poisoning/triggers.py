"""Channel 2: items that decide the label against everything else in the row.

A backdoored row looks like its true class but for the trigger, and carries the attacker's
label. Models that see the trigger learn it and find nothing wrong with the label; so an
item is judged by models that do not see it:

1. *Screen.* Small models on random quarters of the columns. For each item, only the models
   without its column say how often each label is expected among the holders. Repeating
   that with labels drawn from the models themselves gives the largest excess that chance
   produces. Class features are explained by the other columns; triggers are not.
2. *Complete.* A trigger of several columns is explained by its own other parts. So each
   unusual item is completed by the values that its rows share and other rows do not.
3. *Confirm.* One model on all other columns judges the rows of each candidate, and only
   where it contradicts the label count: a column that is merely the only one that knows
   the class leaves a model that knows nothing and contradicts nobody. Among contradicted
   rows, the excess must be significant, large, and the rule rather than the exception.
   A forest on the same columns must agree: it is wrong in other places than a linear model.
   It is not asked if rows that look like many classes share values in many columns.

Source: the attack: Gu et al. 2017, "BadNets", arXiv:1708.06733.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.crossfit import CLIP, standardised, trees
from sluicegate.stages.poisoning.discriminant import Discriminants, extrapolated
from sluicegate.stages.poisoning.items import Tally, observed, tally, views

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset
    from sluicegate.storage.base import Progress

__all__ = ["Item", "Mining", "Trigger", "mine"]

MODELS: Final = 16
"""Small models of the screen: about twelve of them leave out any given column."""

SUBSET_SHARE: Final = 0.25
"""Share of the columns that each small model sees."""

MAX_MODEL_COLUMNS: Final = 256
"""Most columns of any model: its cost grows with their cube. Wider data is examined in all
columns, but explained by random ones."""

DRAWS: Final = 60
"""Simulated label sets. Fewer than 20 have no 95 % quantile; more change it little."""

FAMILY_QUANTILE: Final = 0.95
"""Share of data sets without a trigger in which chance must stay below the threshold, over
all items together."""

MIN_Z: Final = 5.0
"""Least significance whatever the simulation says: it knows chance, and not the errors of
the models."""

MIN_RATIO: Final = 3.0
"""Observed over expected labels among contradicted rows. Model errors are significant but
small; triggers are large."""

MIN_EXPECTED: Final = 0.5
"""Half a row: what a count of zero may have been expected to be."""

CONTRADICTION: Final = 3.0
"""Without the trigger, a label is contradicted if it is this many times less likely than it
is for any row. Where the rest of the row belongs to the label, at most a third of the rows
can be contradicted that strongly (Markov's inequality on prior / probability)."""

MIN_PURITY: Final = 0.5
"""Share of contradicted holders that have the label all the same: a trigger decides, while
wrong labels that happen to hold an item are few among its holders."""

SHARED: Final = 0.8
"""Share of an item's rows that must have a value for it to be part of the same trigger; and
share of a trigger's columns that a row must hold: an attacker may blur some."""

USUAL: Final = 0.4
"""A value held by a larger share of all rows is not part of a trigger: among the rows of one
it is at most about twice as frequent."""

MAX_SEEDS: Final = 1000
"""Most unusual items that are completed, most significant first."""

MAX_SEED_ROWS: Final = 50_000_000
"""Most rows that all these items together may have: 200 MB."""

MAX_CONFIRMED: Final = 128
"""Most linear models that confirm; candidates beyond are counted, and the check is unknown."""

MAX_SECONDED: Final = 8
"""Most forests that confirm, likewise."""

JOINT: Final = 3
"""Columns in which rows share values before that is no rule of the data: a forest is asked
about fewer, because one or two columns may decide honestly where a linear model is wrong."""

DIVERSE: Final = 0.5
"""Largest share of one class among what contradicted rows look like, if a trigger was put on
rows of all classes: an honest cluster that a linear model gets wrong looks like one."""

SECOND_Z: Final = 2.0
"""Significance that the forest must find: it is asked once, about rows already named, and
not about thousands of items; 2 is 97.7 % of one test."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One item of a trigger."""

    feature: int
    """Index of the column."""
    kind: str
    """``value``, ``range`` or ``missing``."""
    rows: npt.NDArray[np.int32]
    """Indices of the rows that hold it, ascending."""
    label: int
    """Code of the class that it comes with unusually often."""
    z: float
    """How unusual that is, against the screen or against the class's share."""
    alone: bool
    """Whether the screen found it, and not only the comparison with the class's share."""


@dataclass(frozen=True, slots=True, eq=False)
class Trigger:
    """Items that come together and decide the label."""

    items: tuple[Item, ...]
    """By column, one for each."""
    label: int
    """Code of the class that the attacker wants."""
    rows: npt.NDArray[np.int64]
    """Indices of holders with that label, ascending: the rows to set aside."""
    holders: int
    contradicted: int
    """Holders whose other columns speak against the label."""
    against: npt.NDArray[np.int64]
    """Indices of these, ascending."""
    observed: int
    """Contradicted holders that have the label all the same."""
    expected: float
    """How many of them would have it, judged by all other columns."""
    z: float
    """Excess of observed over expected in standard deviations, damped by half a row."""
    ratio: float
    """Observed over expected, the latter at least half a row."""
    commonest: float
    """Share of contradicted holders that look like the class which most of them look like."""


@dataclass(frozen=True, slots=True, eq=False)
class Mining:
    """What the miner found."""

    triggers: tuple[Trigger, ...]
    """Most significant first."""
    z_min: float
    """The significance that was required."""
    items: int
    """How many items were examined."""
    unconfirmed: int
    """Candidates for which the number of confirming models did not suffice."""


def mine(data: Dataset, *, seed: int, progress: Progress) -> Mining:
    """Look for triggers in all columns.

    Memory: the small models keep one float32 for each row, class and model; columns are
    examined one at a time. Time grows with rows times classes times columns.

    Args:
        data: at least two columns and two classes.
        seed: seed of the column subsets and of the simulation.
        progress: told about each fitted model and each examined column.
    """
    import numpy as np

    z = standardised(data.x)
    linear = Discriminants(data, z)
    screen = _Screen(data, linear, np.random.default_rng([seed, 1]), progress)
    found: list[Item] = []
    chance, count, dropped = np.zeros(DRAWS), 0, 0
    uniform = np.random.default_rng([seed, 2]).random((DRAWS, len(data.y)), dtype=np.float32)
    for feature in range(data.mined):
        examined, items = _examine(data, feature, screen.without(feature), uniform, chance)
        count += examined
        found, lost = _strongest([*found, *items])
        dropped += lost
        progress("mining triggers", feature + 1, data.mined)
    z_min = max(MIN_Z, float(np.quantile(chance, FAMILY_QUANTILE)))
    found = [item for item in found if item.z > z_min]
    court = _Court(data, z, linear, z_min, seed)
    confirmed = court.confirm(_candidates(data, found))
    triggers = court.second(confirmed)
    return Mining(triggers, z_min, count, dropped + court.unconfirmed)


class _Screen:
    """Small models on random columns, and what they say without a given one."""

    def __init__(
        self,
        data: Dataset,
        linear: Discriminants,
        generator: np.random.Generator,
        progress: Progress,
    ) -> None:
        import numpy as np

        width = data.x.shape[1]
        size = min(max(round(SUBSET_SHARE * width), 1), MAX_MODEL_COLUMNS)
        self._sees = np.zeros((MODELS, width), dtype=bool)
        self._logs = np.empty((MODELS, len(data.y), len(data.classes)), dtype=np.float32)
        self._priors = data.priors
        for model in range(MODELS):
            columns = np.sort(generator.choice(width, size, replace=False))
            self._sees[model, columns] = True
            probabilities = linear.probabilities(columns)
            self._logs[model] = np.log(np.clip(probabilities, 1e-6, 1.0))
            progress("fitting small models", model + 1, MODELS)

    def without(self, feature: int) -> npt.NDArray[np.float64]:
        """Return the geometric mean of the models that did not see a column."""
        import numpy as np

        blind = np.flatnonzero(~self._sees[:, feature])
        if not len(blind):
            return np.tile(self._priors, (self._logs.shape[1], 1))
        logs = np.zeros(self._logs.shape[1:])
        for model in blind:
            logs += self._logs[model]
        logs /= len(blind)
        mean = np.exp(logs - logs.max(axis=1, keepdims=True))
        result: npt.NDArray[np.float64] = mean / mean.sum(axis=1, keepdims=True)
        return result


def _examine(
    data: Dataset,
    feature: int,
    probabilities: npt.NDArray[np.float64],
    uniform: npt.NDArray[np.float32],
    chance: npt.NDArray[np.float64],
) -> tuple[int, list[Item]]:
    """Count a column's items, collect the unusual ones, and raise ``chance`` to its maxima."""
    import numpy as np

    found: list[Item] = []
    count, classes = 0, len(data.classes)
    steps = np.cumsum(probabilities, axis=1)[:, :-1].astype(np.float32)
    simulated = [(draw[:, None] > steps).sum(axis=1, dtype=np.int16) for draw in uniform]
    for view in views(data, feature):
        counts = tally(view.code, data.y, probabilities)
        count += len(view.items)
        found += _unusual(data, feature, view.kind, view.code, view.items, counts)
        scale = np.sqrt(counts.variance[view.items] + 0.5)
        for draw, labels in enumerate(simulated):
            drawn = observed(view.code, labels, len(counts.holders), classes)[view.items]
            highest = ((drawn - counts.expected[view.items]) / scale).max()
            chance[draw] = max(chance[draw], highest)
    return count, found


def _unusual(
    data: Dataset,
    feature: int,
    kind: str,
    code: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    counts: Tally,
) -> list[Item]:
    """Return items that stand out against the screen, or else against the class shares."""
    import numpy as np

    seen = counts.observed[items]
    alone = counts.z[items] > MIN_Z
    holders, priors = counts.holders[items][:, None], data.priors
    plain = (seen - holders * priors) / np.sqrt(holders * priors * (1 - priors) + 0.5)
    jointly = (plain > MIN_Z) & (2 * seen >= holders)
    score = np.where(alone, counts.z[items], plain)
    return [
        Item(
            feature=feature,
            kind=kind,
            rows=np.flatnonzero(code == items[at]).astype(np.int32),
            label=int(label),
            z=float(score[at, label]),
            alone=bool(alone[at, label]),
        )
        for at, label in np.argwhere(alone | jointly)
    ]


def _strongest(found: list[Item]) -> tuple[list[Item], int]:
    """Keep the most unusual items within bounds; count lost ones that stand out alone."""
    ordered = sorted(found, key=lambda item: (not item.alone, -item.z, item.feature, item.kind))
    kept, held = [], 0
    for item in ordered[:MAX_SEEDS]:
        held += len(item.rows)
        if held > MAX_SEED_ROWS:
            break
        kept.append(item)
    return kept, sum(item.alone for item in ordered[len(kept) :])


def _candidates(data: Dataset, seeds: list[Item]) -> list[tuple[Item, ...]]:
    """Complete unusual items; those that are neither unusual alone nor joint come last."""
    completed = [_complete(data, seed) for seed in seeds]
    return sorted(completed, key=lambda items: not _is_urgent(items))


def _is_urgent(items: tuple[Item, ...]) -> bool:
    """Return whether a candidate must be judged, not only if a model is left for it.

    The others stand out against the class shares alone, as every class feature does. They
    are judged because the small models know little where columns are few.
    """
    return items[0].alone or len(items) > 1


def _complete(data: Dataset, seed: Item) -> tuple[Item, ...]:
    """Return an item and the values of other columns that its labelled rows share.

    A value that at least four fifths of the rows have is the median of each column.
    """
    import numpy as np

    rows = seed.rows[data.y[seed.rows] == seed.label]
    sample = data.x[rows]
    middle = np.partition(sample, len(rows) // 2, axis=0)[len(rows) // 2]
    shared = np.flatnonzero((sample == middle).mean(axis=0) >= SHARED)
    shared = shared[shared < data.mined]
    items = [seed]
    for feature in shared:
        same = (data.x[:, feature] == middle[feature]) & ~data.missing[:, feature]
        holders = np.flatnonzero(same).astype(np.int32)
        if feature != seed.feature and len(holders) <= USUAL * len(data.y):
            items.append(Item(int(feature), "value", holders, seed.label, seed.z, alone=False))
    return tuple(items)


class _Court:
    """Judges candidates by models on all columns but theirs, one for each set of columns."""

    def __init__(
        self,
        data: Dataset,
        z: npt.NDArray[np.float64],
        linear: Discriminants,
        z_min: float,
        seed: int,
    ) -> None:
        self._data = data
        self._z = z
        self._models = linear
        self._z_min = z_min
        self._seed = seed
        self.unconfirmed = 0
        """Candidates for which the number of models did not suffice."""

    def confirm(self, candidates: list[tuple[Item, ...]]) -> list[Trigger]:
        """Return the candidates that a linear model confirms."""
        models: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
        confirmed = []
        for group in candidates:
            columns = tuple(sorted({item.feature for item in group}))
            if len(columns) == len(self._data.features):
                continue  # nothing is left to judge by
            if columns not in models and len(models) == MAX_CONFIRMED:
                self.unconfirmed += _is_urgent(group)
                continue
            if columns not in models:
                models[columns] = self._linear(columns)
            trigger = _judge(self._data, group, models[columns])
            if _holds(trigger, self._z_min) and not self._continues(trigger):
                confirmed.append(trigger)
        return confirmed

    def _continues(self, trigger: Trigger) -> bool:
        """Return whether a trigger in one column only continues what other rows show.

        Where a column decides more and more the larger it is, its largest values decide
        against everything else, honestly. A model of the rows that do not hold the item
        knows that by extrapolation; of a trigger, it knows nothing.
        """
        import numpy as np

        if len({item.feature for item in trigger.items}) > 1:
            return False
        data = self._data
        columns = np.union1d(self._others((trigger.items[0].feature,)), trigger.items[0].feature)
        expected = extrapolated(data, self._z, columns, trigger.against)[:, trigger.label]
        return trigger.observed < MIN_RATIO * max(float(expected.sum()), MIN_EXPECTED)

    def second(self, confirmed: list[Trigger]) -> tuple[Trigger, ...]:
        """Return the triggers that a forest confirms, too, and one for the same rows.

        A trigger in many columns of rows that look like many classes needs no second
        opinion, and gets none that is worth much: a pattern that is blended into whole rows
        shows in the columns that remain, and a forest learns it there.

        Of triggers on nearly the same rows, the one with most items comes first.
        """
        forests: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
        kept: list[Trigger] = []
        for trigger in sorted(confirmed, key=_completeness):
            columns = tuple(item.feature for item in trigger.items)
            if any(_same_rows(trigger, other) for other in kept):
                continue
            if len(columns) >= JOINT and trigger.commonest <= DIVERSE:
                kept.append(_named(trigger))
                continue
            if columns not in forests and len(forests) == MAX_SECONDED:
                self.unconfirmed += 1
                continue
            if columns not in forests:
                forests[columns] = self._forest(columns)
            if self._seconds(trigger, forests[columns]):
                kept.append(_named(trigger))
        return tuple(sorted(kept, key=lambda trigger: -trigger.z))

    def _seconds(self, trigger: Trigger, probabilities: npt.NDArray[np.float64]) -> bool:
        """Return whether a forest finds an excess among contradicted holders, or among all.

        Where a trigger sits in rows of one class only, a forest learns that some rows like
        these have the label, and contradicts none of them strongly; it still expects few.
        A single column may decide some rows honestly, so there this does not count.
        """
        contradicted = _judge(self._data, trigger.items, probabilities)
        if _holds(contradicted, SECOND_Z):
            return True
        if len(trigger.items) == 1:
            return False
        return _holds(_judge(self._data, trigger.items, probabilities, strict=False), SECOND_Z)

    def _linear(self, columns: tuple[int, ...]) -> npt.NDArray[np.float64]:
        probabilities = self._models.probabilities(self._others(columns))
        return _tempered(probabilities, self._data)

    def _forest(self, columns: tuple[int, ...]) -> npt.NDArray[np.float64]:
        probabilities = trees(self._data, self._others(columns), seed=self._seed)
        return _tempered(probabilities, self._data)

    def _others(self, columns: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return all columns but some, or a random choice if those are too many."""
        import numpy as np

        rest = np.setdiff1d(np.arange(len(self._data.features)), columns)
        if len(rest) <= MAX_MODEL_COLUMNS:
            return rest
        generator = np.random.default_rng([self._seed, 3])
        return np.sort(generator.choice(rest, MAX_MODEL_COLUMNS, replace=False))


def _holds(trigger: Trigger, z_min: float) -> bool:
    """Return whether an excess is significant, large, and the rule."""
    rule = trigger.observed >= MIN_PURITY * trigger.contradicted
    return trigger.z > z_min and trigger.ratio >= MIN_RATIO and rule


def _completeness(trigger: Trigger) -> tuple[float, ...]:
    return -len(trigger.items), -trigger.z, trigger.items[0].feature


def _same_rows(one: Trigger, other: Trigger) -> bool:
    import numpy as np

    smaller = min(len(one.rows), len(other.rows))
    return len(np.intersect1d(one.rows, other.rows)) >= SHARED * smaller


def _named(trigger: Trigger) -> Trigger:
    """Name only what nearly all rows of a trigger hold: a seed may be found by its others."""
    import numpy as np

    common = [len(np.intersect1d(item.rows, trigger.rows)) for item in trigger.items]
    return replace(
        trigger,
        items=tuple(
            item
            for item, count in zip(trigger.items, common, strict=True)
            if count >= SHARED * len(trigger.rows)
        ),
    )


def _tempered(probabilities: npt.NDArray[np.float64], data: Dataset) -> npt.NDArray[np.float64]:
    """Move overconfident probabilities towards the class shares, as far as labels ask for.

    A model on columns that know nothing is confident by overfitting: it would contradict
    any label. Of 21 steps between the shares (0) and the model (1), the likeliest is taken.
    """
    import numpy as np

    rows = np.arange(len(data.y))
    shares = np.log(data.priors)
    sure = np.log(np.clip(probabilities, CLIP, 1.0))
    best: tuple[float, npt.NDArray[np.float64]] | None = None
    for step in np.arange(21) / 20:
        logs = shares + step * (sure - shares)
        logs -= logs.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        likelihood = float(logs[rows, data.y].mean())
        if best is None or likelihood > best[0]:
            best = likelihood, logs
    return np.exp(best[1]) if best else probabilities


def _judge(
    data: Dataset,
    group: tuple[Item, ...],
    probabilities: npt.NDArray[np.float64],
    *,
    strict: bool = True,
) -> Trigger:
    """Judge the holders of a group by probabilities that do not know its columns.

    Args:
        data: the rows.
        group: the items.
        probabilities: shape (rows, classes).
        strict: count only holders whose label the probabilities contradict.
    """
    import numpy as np

    label, rows = group[0].label, _holders(data, group)
    limit = data.priors[label] / CONTRADICTION if strict else 1.0
    against = rows[probabilities[rows, label] <= limit]
    p = probabilities[against, label]
    seen = int((data.y[against] == label).sum())
    expected, variance = float(p.sum()), float((p * (1 - p)).sum())
    looks = np.bincount(probabilities[against].argmax(axis=1), minlength=1)
    return Trigger(
        items=tuple(sorted(group, key=lambda item: item.feature)),
        label=label,
        rows=rows[data.y[rows] == label],
        holders=len(rows),
        contradicted=len(against),
        against=against,
        observed=seen,
        expected=expected,
        z=(seen - expected) / math.sqrt(variance + 0.5),
        ratio=seen / max(expected, MIN_EXPECTED),
        commonest=float(looks.max() / max(len(against), 1)),
    )


def _holders(data: Dataset, group: tuple[Item, ...]) -> npt.NDArray[np.int64]:
    """Return the rows that hold nearly all items of a group."""
    import numpy as np

    held = np.zeros(len(data.y), dtype=np.int64)
    for item in group:
        held[item.rows] += 1
    return np.flatnonzero(held >= SHARED * len(group))
