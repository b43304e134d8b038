"""Security expectations: types of our own for the same suite files.

All that they compare with is written in their arguments. So the suite file itself is the
baseline, and one signature over the file covers it.

The one-scan engine claims every type; :mod:`sluicegate.expectations` registers them in Great
Expectations, so that GX by itself runs the same file. Nothing heavy is imported before data
is examined.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sluicegate.stages.validation.expectations import (
    categories,
    drift,
    duplicates,
    logical,
    numbers,
    schema,
    shares,
    texts,
    timestamps,
)
from sluicegate.stages.validation.expectations.spec import Question, Shape, Spec

__all__ = ["SPECS", "Question", "Shape", "Spec"]

SPECS: Final[Mapping[str, Spec]] = MappingProxyType(
    {
        one.type: one
        for family in (
            schema,
            logical,
            categories,
            numbers,
            shares,
            drift,
            duplicates,
            timestamps,
            texts,
        )
        for one in family.SPECS
    }
)
"""Every security expectation by its type."""
