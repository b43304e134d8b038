"""Batches of Great Expectations data sources as subjects.

A batch is a question to a database or a folder: asked twice, it may be answered twice in a
different way, and a receipt cannot bind it. :func:`capture` asks once and writes the rows down
as Parquet. The gates examine that file, the receipt binds it, and the consumer trains on it,
not on whatever the table holds by then.

The extract says what it is an extract of: source, asset, batch, parameters, digest of the
statement, order, number of rows. This description is part of the file, so the subject's digest
binds it, and lies beside it as ``….batch.json`` for people. It never holds a connection string.
It is the word of whoever captured, as bound as the rows are, and no proof that the database
held them.

Configuration of a GX project is the user's own code: its data sources are opened with the
user's rights. Sources that unpickle are refused all the same.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError, MissingExtraError, SubjectError
from sluicegate.storage.queries.frames import frame_batches
from sluicegate.storage.queries.parquet import parquet_file, read_description
from sluicegate.storage.queries.sql import spooled, statement_digest
from sluicegate.storage.snapshot import store_for
from sluicegate.storage.uri import SubjectUri

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

__all__ = [
    "MOST_ROWS",
    "batch_definition_of",
    "capture",
    "capture_project",
    "extract",
    "read_description",
]

MOST_ROWS: Final = 1_000_000_000
"""Rows of an extract unless the caller says otherwise: far beyond what one file should hold,
and still an end for a query that joins everything with everything."""

_UNPICKLE: Final = frozenset({"hdf", "pickle"})
"""Kinds of assets whose reader builds objects from the bytes. Source: pandas, IO tools."""

_OWN: Final = ("source", "asset", "batch", "order_by")


def capture(
    batch_definition: BatchDefinition[Any],
    target: str | os.PathLike[str] | SubjectUri,
    *,
    batch_parameters: Mapping[str, Any] | None = None,
    order_by: Sequence[str] | None = None,
    most_rows: int = MOST_ROWS,
) -> SubjectUri:
    """Write the rows of a batch down, and return them as a subject.

    Args:
        batch_definition: of a SQL, pandas or file data source of GX.
        target: path or URI of the extract, ending in ``.parquet``.
        batch_parameters: as for GX; without them GX takes the last batch, and the description
            says which one that was.
        order_by: columns of a SQL batch that tell its rows apart; all columns when None, which
            a large table without an index on them feels.
        most_rows: rows beyond this are refused.

    Returns:
        The subject: what to hand to the gates.

    Raises:
        SubjectError: no rows, a failing query, an order left to chance, columns without one
            plain type, a source that unpickles, or a Spark source.
        MissingExtraError: a library is not installed.
    """
    uri = target if isinstance(target, SubjectUri) else SubjectUri.parse(target)
    if not uri.name.endswith(".parquet"):
        raise SubjectError(
            f"{uri} does not end in .parquet", next_step="readers go by the name of a file"
        )
    beside = SubjectUri(uri.scheme, f"{uri.path.removesuffix('.parquet')}.batch.json")
    with extract(batch_definition, batch_parameters, order_by, most_rows) as (file, said):
        store_for(uri).write(uri, file)
        text = json.dumps(said, indent=2, sort_keys=True) + "\n"
        store_for(beside).write(beside, io.BytesIO(text.encode()))
    return uri


def capture_project(uri: str, target: str | os.PathLike[str] | SubjectUri) -> SubjectUri:
    """Capture a batch that a GX project on this machine defines, named by one text.

    ``gx+file:///srv/gx?source=orders_db&asset=orders&batch=daily&order_by=id&year=2026``: the
    folder of the project; names of data source, asset and batch definition; columns to order
    by, separated by commas; everything else is a batch parameter.

    Raises:
        ConfigurationError: the text is not of this form, or there is no such project or batch.
        SubjectError: as :func:`capture`.
        MissingExtraError: GX is not installed.
    """
    folder, options = _parsed(uri)
    order_by = options.get("order_by")
    with _quiet():
        batch = batch_definition_of(_project(folder), *(options[key] for key in _OWN[:3]))
    # GX deprecates years and the like as texts.
    parameters = {
        key: int(value) if value.isdecimal() else value
        for key, value in options.items()
        if key not in _OWN
    }
    return capture(
        batch,
        target,
        batch_parameters=parameters or None,
        order_by=order_by.split(",") if order_by else None,
    )


def batch_definition_of(context: Any, source: str, asset: str, batch: str) -> BatchDefinition[Any]:
    """Return a batch definition of a GX context by its names.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        made = context.data_sources.get(source).get_asset(asset)
        found: BatchDefinition[Any] = made.get_batch_definition(batch)
    except (KeyError, LookupError, ValueError):
        raise ConfigurationError(
            f"the GX context has no batch definition {batch!r} of asset {asset!r} of data "
            f"source {source!r}",
            next_step="list them with context.data_sources.all()",
        ) from None
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Let GX log nothing meanwhile: it logs the configuration of a project, passwords too."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _parsed(uri: str) -> tuple[Path, dict[str, str]]:
    parts = urlsplit(uri)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if (
        parts.scheme != "gx+file"
        or parts.netloc not in ("", "localhost")
        or parts.fragment
        or len(options) != len(pairs)
        or not all(options.get(key) for key in _OWN[:3])
    ):
        raise ConfigurationError(
            "a batch of a GX project is written gx+file:///folder?source=…&asset=…&batch=…, "
            "each name once",
            next_step="see the guide on moving from the GX provider",
        )
    return Path(unquote(parts.path)), options


def _project(folder: Path) -> Any:
    try:
        import great_expectations as gx
    except ImportError as error:
        raise MissingExtraError("great_expectations", "gx", "a batch of a GX project") from error
    # GX would make a new, empty project where there is none.
    if not any((folder / part / "great_expectations.yml").is_file() for part in ("", "gx")):
        raise ConfigurationError(
            f"{folder} holds no GX project",
            next_step="name the folder that holds gx/great_expectations.yml",
        )
    root = folder if (folder / "gx").is_dir() else folder.parent
    try:
        return gx.get_context(mode="file", project_root_dir=root)
    except Exception as error:  # noqa: BLE001  GX raises anything, and quotes configuration
        raise ConfigurationError(
            f"GX cannot open the project in {root}: {type(error).__name__}",
            next_step="call great_expectations.get_context with this folder to see why",
        ) from None


@contextmanager
def extract(
    batch_definition: BatchDefinition[Any],
    batch_parameters: Mapping[str, Any] | None = None,
    order_by: Sequence[str] | None = None,
    most_rows: int = MOST_ROWS,
) -> Iterator[tuple[IO[bytes], dict[str, Json]]]:
    """Read a batch once; yield its extract, open for reading, and its description.

    Raises:
        SubjectError: as :func:`capture`.
    """
    kind = str(getattr(batch_definition.data_asset, "type", ""))
    if kind in _UNPICKLE:
        raise SubjectError(
            f"the asset {batch_definition.data_asset.name!r} is read by unpickling, which runs "
            "what the file says",
            next_step="store the data as Parquet",
        )
    batch = _get(batch_definition, batch_parameters)
    said = _description(batch_definition, batch)
    if hasattr(batch.data, "dataframe") and "pandas" in type(batch.data).__module__:
        schema, batches, rows = frame_batches(batch.data.dataframe)
        said |= {"rows": rows}
        with parquet_file(schema, batches, said) as file:
            yield file, said
    elif hasattr(batch.data, "selectable"):
        engine, selectable = batch.data.execution_engine, batch.data.selectable
        with (
            engine.get_connection() as connection,
            spooled(connection, selectable, order_by, most_rows=most_rows) as spool,
        ):
            said |= {
                "query": statement_digest(selectable, connection),
                "order_by": None if order_by is None else list(order_by),
                "rows": spool.rows,
            }
            schema = spool.schema()
            with parquet_file(schema, spool.batches(schema), said) as file:
                yield file, said
    else:
        raise SubjectError(
            f"a batch of {type(batch.data).__name__} cannot be captured here",
            next_step="let Spark write it as Parquet, and hand the folder to the gates",
        )


def _get(batch_definition: Any, parameters: Mapping[str, Any] | None) -> Any:
    try:
        with _quiet():
            return batch_definition.get_batch(dict(parameters) if parameters else None)
    except Exception as error:  # noqa: BLE001  drivers raise anything, and quote connections
        raise SubjectError(
            f"GX cannot read the batch {batch_definition.name!r}: {type(error).__name__}",
            next_step="call get_batch with the same parameters to see why",
        ) from None


def _description(batch_definition: Any, batch: Any) -> dict[str, Json]:
    asset = batch_definition.data_asset
    return {
        "version": 1,
        "source": str(asset.datasource.name),
        "source_type": str(asset.datasource.type),
        "asset": str(asset.name),
        "asset_type": str(asset.type),
        "batch": str(batch_definition.name),
        "parameters": {
            str(key): value if isinstance(value, str | int) else str(value)
            for key, value in sorted((batch.metadata or {}).items())
            if key != "dataframe"
        },
    }
