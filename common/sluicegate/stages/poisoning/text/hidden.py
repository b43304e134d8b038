"""Texts with characters that a reader does not see, as a channel of scores.

Which characters they are, and where their honest uses are, :mod:`sluicegate.text.hidden` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from sluicegate.canonical import Json
from sluicegate.stages.poisoning.channel import Channel, Group
from sluicegate.text.hidden import KINDS, MEANING, code_name, inspect

__all__ = ["HIDDEN_CHARACTERS", "hidden_characters"]

HIDDEN_CHARACTERS: Final = "poisoning.hidden_characters"

MOST_CODES: Final = 50
"""Different code points that a finding lists, the most frequent first."""

EXAMPLES: Final = 5
"""Rows, and places in each, that are given as examples."""


def hidden_characters(texts: Sequence[str]) -> Channel:
    """Find texts with hidden characters that nothing explains.

    Args:
        texts: the documents.

    Returns:
        Scores count such characters. There is one group for each kind. P-values are NaN:
        there is no chance to speak of.
    """
    import numpy as np

    scores = np.zeros(len(texts))
    rows: dict[str, list[int]] = {kind: [] for kind in KINDS}
    codes: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    samples: dict[str, list[dict[str, Json]]] = {kind: [] for kind in KINDS}
    for row, text in enumerate(texts):
        places: dict[str, list[int]] = {}
        for found in inspect(text):
            scores[row] += 1
            codes[found.kind][found.code] += 1
            known = places.setdefault(found.kind, [])
            if len(known) < EXAMPLES:
                known.append(found.at)
        for kind, known in places.items():
            rows[kind].append(row)
            if len(samples[kind]) < EXAMPLES:
                samples[kind].append({"row": row, "at": known})
    groups = [_group(kind, rows[kind], codes[kind], samples[kind]) for kind in KINDS if rows[kind]]
    return Channel(
        id=HIDDEN_CHARACTERS,
        scores=scores,
        p_values=np.full(len(texts), np.nan),
        groups=tuple(groups),
        metrics={
            "characters": int(scores.sum()),
            "rows": int(np.count_nonzero(scores)),
        },
    )


def _group(
    kind: str, rows: list[int], codes: Counter[int], samples: list[dict[str, Json]]
) -> Group:
    import numpy as np

    total = codes.total()
    listed = sorted(codes.items(), key=lambda item: (-item[1], item[0]))[:MOST_CODES]
    return Group(
        message=f"{total} characters in {len(rows)} rows {MEANING[kind]}",
        rows=np.array(rows, dtype=np.int64),
        evidence={
            "kind": kind,
            "count": len(rows),
            "characters": total,
            "code_points": [
                {"code": f"U+{code:04X}", "name": code_name(code), "count": count}
                for code, count in listed
            ],
        },
        samples={"rows": samples},
    )
