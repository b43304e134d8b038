"""What the process does: let real readers decode, and count what comes out.

Nothing is kept of what they decode. The answer holds numbers, and of an error its class:
messages of readers may quote the data.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from typing import IO, Any, Final

from sluicegate.stages.files.child.avro import read_avro
from sluicegate.stages.files.child.counting import Counter, Refused
from sluicegate.stages.files.child.markup import read_xml

__all__ = ["TASKS", "Refused", "warm"]

BATCH: Final = 1 << 16
"""Rows of a table decoded at once: few enough to stop in time, enough to be fast."""

PIECE: Final = 1 << 20
"""Bytes inflated at once."""

THRIFT_STRING: Final = 16 << 20
"""Longest text in a Parquet footer, in bytes: the schema of the widest table is shorter."""

THRIFT_ITEMS: Final = 1_000_000
"""Longest list in a Parquet footer: ten thousand columns in a hundred row groups."""

_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "parquet": ("pyarrow", "numpy", "pyarrow.parquet"),
    "arrow": ("pyarrow", "numpy", "pyarrow.ipc"),
    "orc": ("pyarrow", "numpy", "pyarrow.orc"),
    "avro": ("pyarrow",),
    "inflate": ("pyarrow",),
    "image": ("PIL.Image",),
    "xml": ("pyexpat",),
}


def warm(task: str) -> None:
    """Import what a task needs, before memory is limited.

    Raises:
        Refused: a library is missing.
    """
    for name in _LIBRARIES[task]:
        try:
            module = importlib.import_module(name)
        except ImportError:
            library = "Pillow" if name.startswith("PIL") else "pyarrow"
            raise Refused({"missing": library}) from None
        if name == "pyarrow":
            module.set_cpu_count(1)
            module.set_io_thread_count(1)


def _file(descriptor: int, mode: str = "rb") -> IO[Any]:
    return os.fdopen(os.dup(descriptor), mode)


def read_parquet(question: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Decode every row group in batches; texts stay dictionaries, and are counted as texts.

    The footer is the writer's word. What it says of sizes is not used.
    """
    from pyarrow import parquet

    with _file(descriptor) as source:
        opened = parquet.ParquetFile(
            source,
            thrift_string_size_limit=THRIFT_STRING,
            thrift_container_size_limit=THRIFT_ITEMS,
        )
        footer = opened.metadata
        counter = Counter(question)
        counter.shape(columns=footer.num_columns, groups=footer.num_row_groups)
        texts = [
            footer.schema.column(at).path
            for at in range(footer.num_columns)
            if footer.schema.column(at).physical_type == "BYTE_ARRAY"
            and footer.schema.column(at).logical_type.type in ("NONE", "STRING", "JSON", "ENUM")
        ]
        source.seek(0)
        opened = parquet.ParquetFile(
            source,
            read_dictionary=texts,
            thrift_string_size_limit=THRIFT_STRING,
            thrift_container_size_limit=THRIFT_ITEMS,
        )
        for batch in opened.iter_batches(batch_size=_batch(footer), use_threads=False):
            counter.batch(batch)
        counter.rows_equal(footer.num_rows)
        return counter.facts()


def _batch(footer: Any) -> int:
    """Return rows to decode at once: fewer for wide tables, so that a batch stays small."""
    return max(256, min(BATCH, (1 << 22) // max(1, int(footer.num_columns))))


def read_arrow(question: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Read every record batch of an IPC file or stream, and check its offsets."""
    from pyarrow import ipc

    counter = Counter(question)
    with _file(descriptor) as source:
        if source.read(6) == b"ARROW1":
            source.seek(0)
            opened = ipc.open_file(source)
            counter.shape(columns=len(opened.schema), groups=opened.num_record_batches)
            batches = (opened.get_batch(at) for at in range(opened.num_record_batches))
        else:
            source.seek(0)
            stream = ipc.open_stream(source)
            counter.shape(columns=len(stream.schema), groups=0)
            batches = iter(stream)
        for batch in batches:
            counter.views(batch)
            batch.validate(full=True)
            counter.batch(batch)
        return counter.facts()


def read_orc(question: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Decode every stripe."""
    from pyarrow import orc

    counter = Counter(question)
    with _file(descriptor) as source:
        opened = orc.ORCFile(source)
        counter.shape(columns=len(opened.schema), groups=opened.nstripes)
        for at in range(opened.nstripes):
            counter.batch(opened.read_stripe(at))
        counter.rows_equal(opened.nrows)
        return counter.facts()


def inflate(question: dict[str, Any], descriptor: int, target: int) -> dict[str, Any]:
    """Inflate a stream of zstd or lz4 frames into a file, and stop at the limit."""
    import pyarrow

    counter = Counter(question)
    with _file(descriptor) as source, _file(target, "wb") as sink:
        stream = pyarrow.input_stream(source, compression=question["kind"])
        while piece := stream.read(PIECE):
            counter.spend(len(piece))
            sink.write(piece)
    return counter.facts()


def read_image(question: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Decode every frame of a picture in exactly the format that its first bytes tell."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the limit is checked here, and is an answer, not a warning
    warnings.simplefilter("ignore")
    counter = Counter(question)
    frames = 0
    with _file(descriptor) as source, Image.open(source, formats=[question["kind"]]) as picture:
        while True:
            width, height = picture.size
            counter.pixels(width * height)
            picture.load()
            counter.spend(width * height * len(picture.getbands()))
            frames += 1
            try:
                picture.seek(frames)
            except EOFError:
                break
        return counter.facts() | {"width": width, "height": height, "frames": frames}


TASKS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "parquet": read_parquet,
    "arrow": read_arrow,
    "orc": read_orc,
    "avro": read_avro,
    "inflate": inflate,
    "image": read_image,
    "xml": read_xml,
}
"""What can be asked, by name."""
