"""What a tabular file format must do: read all rows, and split rows in two."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol

from sluicegate.errors import SubjectError

if TYPE_CHECKING:
    import pandas

__all__ = ["Format", "Limits", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may cost once it is decoded."""

    max_decoded_bytes: int = 4 << 30
    """Most memory that one file's rows may take. A 2 MB Parquet file can decode to 20 GB."""


DEFAULT_LIMITS: Final = Limits()


class Format(Protocol):
    """One file format. Row ordinals count data rows from 0, in file order."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings, lower case, with the dot."""
        ...

    def read(self, source: IO[bytes], *, name: str, limits: Limits) -> pandas.DataFrame:
        """Return all rows with a fresh 0-based index.

        Raises:
            SubjectError: the content is not of this format, or is beyond the limits.
        """
        ...

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Write the rows in ``drop`` to ``removed`` and all others to ``kept``.

        Returns:
            How many rows the file has.

        Raises:
            SubjectError: the content is not of this format, or an ordinal is beyond it.
        """
        ...

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield the columns as bytes, then each row: what a tree over rows is built from.

        A row has the same bytes in every file of this format with the same columns, so also
        after :meth:`split`; and other bytes if any of its values is another.

        Raises:
            SubjectError: the content is not of this format.
        """
        ...


def unreadable(name: str, what: str, why: str) -> SubjectError:
    """Return the error for content that is not what its name says."""
    return SubjectError(
        f"{name} cannot be read as {what}: {why}",
        next_step="repair the file, or find out who wrote it",
    )


def check_ordinals(drop: Collection[int], rows: int, name: str) -> None:
    """Refuse to split rows that are not there.

    Raises:
        SubjectError: an ordinal is outside of the file.
    """
    if drop and not 0 <= min(drop) <= max(drop) < rows:
        raise SubjectError(f"{name} has {rows} rows; asked to set aside row {max(drop)}")
