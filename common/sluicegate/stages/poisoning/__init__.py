"""Scan a labelled table for poisoned rows: wrong labels, and triggers of a backdoor.

The modules, in the order in which a run passes through them:

* ``labels`` reads the label column and compares its classes with the expected ones;
* ``columns`` turns feature columns into numbers that one wild value cannot distort;
* ``data`` puts rows into an order and into folds that depend on their content alone;
* ``crossfit`` predicts every row's class with models that never saw the row;
* ``discriminant`` does so for linear models on many choices of columns;
* ``issues``, channel 1, compares these predictions with the labels;
* ``items`` lists what rows have in common: a value of a feature, a range, a gap;
* ``triggers``, channel 2, looks for items that decide the label against everything else
  in the row, which is what a backdoor does and what no label check can see;
* ``results`` words checks, findings and tables; ``stage`` is the stage itself.

A further channel is one module that takes a :class:`~.data.Dataset` and one check in
``results``. Importing this package loads no numerical library: they load inside ``run``.
"""

from __future__ import annotations

from sluicegate.stages.poisoning.stage import ScanForPoisoning

__all__ = ["ScanForPoisoning"]
