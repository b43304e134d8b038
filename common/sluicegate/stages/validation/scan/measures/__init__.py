"""What a scan can measure. Every measure is exact, whatever batches the rows come in.

All take ``rows`` (:class:`~sluicegate.stages.validation.scan.base.Rows`, by default all of
them) and expressions of polars over the rows of a batch. ``finish()`` of the state gives:

=====================================  ======================================================
measure                                what it comes to
=====================================  ======================================================
``Total(rows)``                        int: rows
``Count(mask, rows)``                  int: rows where the mask is true (null is false)
``Present(column, rows)``              int: rows with a value in the column
``Minimum(expr, rows)``                Python value of the polars type, or None without values
``Maximum(expr, rows)``                the same (dates and timestamps: ``datetime`` objects,
                                       nanoseconds cut; cast to Int64 to compare exactly)
``ExactSum(expr, rows)``               :class:`SumFound`
``Moments(expr, rows)``                :class:`MomentsFound`: count, exact sum and sum of squares
``Distinct(columns, most, mask, rows)``  :class:`DistinctFound`: values with their counts
``Duplicated(columns, mask, rows)``    :class:`DuplicatesFound`: rows whose value occurs twice
                                       or more, number of different values, a row finder
``Quantiles(expr, at, rows)``          :class:`QuantilesFound`: exact neighbours of each quantile
``Histogram(expr, edges, rows)``       :class:`HistogramFound`: counts as ``numpy.histogram``
``FirstRows(mask, most, rows)``        tuple of ints: positions in the data set, ascending
``PythonCheck(column, function, rows)``  int: rows whose present text satisfies the function
``OutOfOrder(expr, ..., rows)``        int: values that do not follow the one before them
=====================================  ======================================================

Numeric expressions may be of any integer, float or boolean type; NaN must be null by then,
as it is in every column of a batch; infinities are counted apart where sums are taken.

A measure whose computation fails on the data (overflow, types that do not combine, a function
that raises) makes the claims that need it ``Unclaimed``, and no others.
"""

from __future__ import annotations

from sluicegate.stages.validation.scan.measures.checks import FirstRows, PythonCheck, python_mask
from sluicegate.stages.validation.scan.measures.counting import (
    Count,
    Maximum,
    Minimum,
    Present,
    Total,
)
from sluicegate.stages.validation.scan.measures.distinct import Distinct, DistinctFound
from sluicegate.stages.validation.scan.measures.duplicates import Duplicated, DuplicatesFound
from sluicegate.stages.validation.scan.measures.order import (
    OutOfOrder,
    Quantiles,
    QuantilesFound,
)
from sluicegate.stages.validation.scan.measures.shape import Histogram, HistogramFound
from sluicegate.stages.validation.scan.measures.sums import (
    ExactSum,
    Moments,
    MomentsFound,
    SumFound,
)

__all__ = [
    "Count",
    "Distinct",
    "DistinctFound",
    "Duplicated",
    "DuplicatesFound",
    "ExactSum",
    "FirstRows",
    "Histogram",
    "HistogramFound",
    "Maximum",
    "Minimum",
    "Moments",
    "MomentsFound",
    "OutOfOrder",
    "Present",
    "PythonCheck",
    "Quantiles",
    "QuantilesFound",
    "SumFound",
    "Total",
    "python_mask",
]
