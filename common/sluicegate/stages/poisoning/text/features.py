"""Text as a few numbers, for the channels that need a row as a point.

Words and pairs of words, weighted by how rare they are, then reduced to the directions in
which documents differ most (latent semantic analysis). Everything is fitted on a bounded
number of documents in an order that depends on their content.

Source: Deerwester et al. 1990, "Indexing by latent semantic analysis".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["text_features"]

DIRECTIONS: Final = 48
"""Directions that are kept: topics of a few thousand documents need fewer."""

MAX_FITTED: Final = 20_000
"""Documents that directions are fitted on, as many as models learn from."""

HASHED: Final = 1 << 18
"""Columns that words are hashed into: memory does not grow with the vocabulary."""

LONGEST: Final = 20_000
"""Characters of a document that are read: topics show early, and a document of a gigabyte
must not cost more than others."""

DECIMALS: Final = 9
"""Rounds away the last bits of long sums, so that copies have equal numbers."""


def text_features(texts: Sequence[str], *, seed: int) -> npt.NDArray[np.float64]:
    """Return documents as points; equal texts are equal points, in any order of documents.

    Args:
        texts: the documents.
        seed: seed of the reduction, and key of the order.

    Returns:
        Shape (documents, directions): at most :data:`DIRECTIONS` columns; none if the
        documents have fewer than two different words.
    """
    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    short = [text[:LONGEST] for text in texts]
    counts = HashingVectorizer(
        n_features=HASHED,
        ngram_range=(1, 2),
        alternate_sign=False,
        norm=None,
        tokenizer=re.compile(r"\w+").findall,
        token_pattern=None,
        decode_error="replace",
    ).transform([text.encode("utf-8", "replace").decode("utf-8") for text in short])
    order = np.argsort([_key(text, seed) for text in short], kind="stable")[:MAX_FITTED]
    fitted = counts[order]
    used = np.flatnonzero(np.bincount(fitted.indices, minlength=HASHED))
    width = min(DIRECTIONS, len(used) - 1, fitted.shape[0] - 1)
    if width < 1:
        return np.zeros((len(texts), 0))
    fitted, counts = fitted[:, used], counts[:, used]
    weights = TfidfTransformer(sublinear_tf=True).fit(fitted)
    reduction = TruncatedSVD(width, algorithm="randomized", n_iter=4, random_state=seed)
    reduction.fit(weights.transform(fitted))
    points: npt.NDArray[np.float64] = reduction.transform(weights.transform(counts))
    return np.round(points, DECIMALS) + 0.0


def _key(text: str, seed: int) -> bytes:
    """Return a keyed hash of a text."""
    content = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16, key=str(seed).encode()).digest()
