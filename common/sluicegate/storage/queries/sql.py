"""Rows of a database in an order that is the same each time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sluicegate.errors import SubjectError
from sluicegate.storage.queries.spool import Spool

__all__ = ["spooled", "statement_digest"]

_ROWS: Final = 1 << 14
"""Rows that are Python objects at one time."""


def statement_digest(selectable: Any, engine: Any) -> str:
    """Return the SHA-256 of the statement as text; it holds no connection string."""
    text = str(selectable.compile(dialect=engine.dialect))
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def spooled(
    connection: Any, selectable: Any, order_by: Sequence[str] | None, *, most_rows: int
) -> Iterator[Spool]:
    """Run a statement once, ordered, and keep its rows aside.

    Args:
        connection: of SQLAlchemy.
        selectable: what GX made of a batch: a select, or text.
        order_by: columns that tell rows apart; all columns when None. Rows that are equal in
            all columns may change places, which nobody sees.
        most_rows: rows beyond this are refused.

    Raises:
        SubjectError: the statement fails, two columns have one name, there is no such column,
            or rows are equal in the columns of ``order_by``.
    """
    names = _names(connection, selectable)
    order = list(names if order_by is None else order_by)
    if missing := [name for name in order if name not in names]:
        raise SubjectError(f"order_by names {missing[0]!r}, which is no column of the query")
    if not order:
        raise SubjectError("order_by names no column", next_step="name a key, or leave it out")
    spool = Spool(names, most_rows=most_rows)
    try:
        keys = [names.index(name) for name in order] if order_by is not None else []
        before: tuple[Any, ...] | None = None
        for rows in _rows(connection, _ordered(connection, selectable, order)):
            if keys:
                before = _distinct(rows, keys, before)
            spool.add(rows)
        yield spool
    finally:
        spool.close()


def _distinct(
    rows: Sequence[Sequence[Any]], keys: list[int], before: tuple[Any, ...] | None
) -> tuple[Any, ...] | None:
    for row in rows:
        key = tuple(row[at] for at in keys)
        if key == before:
            raise SubjectError(
                "two rows are equal in the columns of order_by: their order is left to chance",
                next_step="add columns to order_by until it tells all rows apart, or leave it out",
            )
        before = key
    return before


def _names(connection: Any, selectable: Any) -> list[str]:
    import sqlalchemy as sa

    nothing = sa.text(f"{_wrapped(connection, selectable)} WHERE 1 = 0")
    with _failures():
        keys = connection.execute(nothing).keys()
        names = [str(name) for name in keys]
    if len(set(names)) != len(names):
        raise SubjectError(
            "two columns of the query have the same name", next_step="name them apart"
        )
    return names


def _wrapped(connection: Any, selectable: Any) -> str:
    """Return ``SELECT * FROM (…)`` as text, whatever GX made of the batch."""
    import sqlalchemy as sa

    if isinstance(selectable, sa.TextClause):
        inner = selectable.text
    else:
        compiled = selectable.compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
        # What is a colon or a percent sign here would be a parameter of the new text.
        inner = str(compiled).replace(":", r"\:")
        if connection.dialect.paramstyle in ("format", "pyformat"):
            inner = inner.replace("%%", "%")
    return f"SELECT * FROM ({inner}) AS batch"  # noqa: S608  GX's own statement


def _ordered(connection: Any, selectable: Any, order: Sequence[str]) -> Any:
    import sqlalchemy as sa

    quote = connection.dialect.identifier_preparer.quote_identifier
    columns = ", ".join(quote(name).replace(":", r"\:") for name in order)
    return sa.text(f"{_wrapped(connection, selectable)} ORDER BY {columns}")


def _rows(connection: Any, statement: Any) -> Iterator[list[Sequence[Any]]]:
    with _failures():
        result = connection.execute(statement.execution_options(stream_results=True))
        try:
            while rows := result.fetchmany(_ROWS):
                yield rows
        finally:
            result.close()


@contextmanager
def _failures() -> Iterator[None]:
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        # Only the class: messages of drivers quote values, statements and hosts.
        raise SubjectError(
            f"the database did not answer the query: {type(error).__name__}",
            next_step="run it by hand; columns of a type without an order need order_by",
        ) from None
