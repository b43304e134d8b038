"""Scan a labelled table for poisoned rows, in channels that are kept apart.

``stage`` is the stage and its options; ``scan`` decides which channels a table allows, and in
which order. Every channel returns a :class:`~.channel.Channel`: scores, and groups of flagged
rows. ``results`` and ``pictures`` word and draw them.

What channels work on:

* ``labels`` reads the label column and compares its classes with the expected ones;
* ``columns`` turns feature columns into numbers that one wild value cannot distort;
* ``data`` puts rows into an order and into folds that depend on their content alone;
* ``crossfit`` predicts every row's class with models that never saw the row, and
  ``discriminant`` does so for linear models on many choices of columns.

Channels:

* ``issues``: labels against predictions; ``confident`` does that in any size, without models;
* ``items`` and ``triggers``: what decides a label against everything else in the row;
* ``duplicates``, ``outliers``: floods of copies, rows that are like no class;
* ``sources``: uploads and hours with too many contradicted labels;
* ``representations``: second clusters in embeddings;
* ``text``: what can be hidden in free text;
* ``split_view``: content that is not what was published;
* ``tasks``: labels that are no single class.

``detector`` is the seam for data that is larger than memory or than one machine. Importing
this package loads no numerical library: they load inside ``run``.
"""

from __future__ import annotations

from sluicegate.stages.poisoning.stage import ScanForPoisoning

__all__ = ["ScanForPoisoning"]
