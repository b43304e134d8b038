"""Counting what readers decode, against the limits that came with the question."""

from __future__ import annotations

from typing import Any

__all__ = ["Counter", "Refused", "decoded_size"]


class Refused(Exception):  # noqa: N818  an answer, not an error
    """The question is answered with a refusal."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer


class Counter:
    """Bytes and rows so far."""

    def __init__(self, question: dict[str, Any]) -> None:
        self._limits = question
        self.bytes = 0
        self.rows = 0

    def spend(self, count: int) -> None:
        """Count decoded bytes.

        Raises:
            Refused: more than are allowed.
        """
        self.bytes += count
        if self.bytes > self._limits["allowed"]:
            raise Refused({"exceeded": "expansion", "counted": self.bytes})

    def batch(self, batch: Any) -> None:
        """Count a record batch: a byte for each row at least, so that empty rows count too.

        Raises:
            Refused: more than is allowed.
        """
        self.rows += batch.num_rows
        columns = sum(decoded_size(column) for column in batch.columns)
        self.spend(max(batch.num_rows, columns))

    def views(self, batch: Any) -> None:
        """Check texts that share their bytes, before anything reads each of them in full.

        Raises:
            Refused: they are more bytes than are allowed.
        """
        lengths = [_lengths(column).clip(0) for column in batch.columns if _is_view(column.type)]
        total = self.bytes + sum(int(each.sum(dtype="int64")) for each in lengths)
        if total > self._limits["allowed"]:
            raise Refused({"exceeded": "expansion", "counted": total})

    def shape(self, *, columns: int, groups: int) -> None:
        """Check how wide a table is, and in how many parts.

        Raises:
            Refused: wider, or in more parts, than is allowed.
        """
        for what, found in (("columns", columns), ("row_groups", groups)):
            if found > self._limits[what]:
                raise Refused({"exceeded": what, "counted": found})

    def pixels(self, count: int) -> None:
        """Check the size of a picture before it is decoded.

        Raises:
            Refused: larger than is allowed.
        """
        if count > self._limits["pixels"]:
            raise Refused({"exceeded": "pixels", "counted": count})

    def rows_equal(self, claimed: int) -> None:
        """Compare how many rows came out with how many there should be.

        Raises:
            Refused: another number.
        """
        if self.rows != claimed:
            raise Refused({"broken": f"it claims {claimed} rows and holds {self.rows}"})

    def facts(self) -> dict[str, Any]:
        """Return the answer."""
        return {"expanded": self.bytes, "rows": self.rows}


def decoded_size(array: Any) -> int:
    """Return how many bytes an array takes once nothing in it is shared.

    A dictionary stands for its values as often as they are used: a text of a kilobyte in a
    million rows is a gigabyte to whoever turns the column into text.

    Raises:
        Refused: an encoding whose expansion cannot be told without expanding it.
    """
    import numpy as np
    from pyarrow import ExtensionArray, types

    kind = array.type
    if isinstance(array, ExtensionArray):
        return decoded_size(array.storage)
    if types.is_dictionary(kind):
        return _dictionary_size(array)
    if _is_view(kind):
        return 16 * len(array) + int(_lengths(array)[_valid(array)].sum(dtype=np.int64))
    if types.is_struct(kind):
        return sum(decoded_size(part) for part in array.flatten())
    if types.is_map(kind):
        return 4 * len(array) + decoded_size(array.keys) + decoded_size(array.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return 8 * len(array) + decoded_size(array.flatten())
    if _shares(kind):
        raise Refused({"unreadable": "an encoding that shares values, which cannot be counted"})
    return int(array.nbytes)


def _shares(kind: Any) -> bool:
    """Whether an encoding lets many values be the same bytes."""
    name = str(kind)
    return any(word in name for word in ("view", "run_end", "union", "extension"))


def _dictionary_size(array: Any) -> int:
    from pyarrow import types

    kind = array.type.value_type
    if types.is_primitive(kind):
        return len(array) * max(1, int(kind.bit_width) // 8)
    if _is_text(kind):
        return _texts(array) + 4 * len(array)
    raise Refused({"unreadable": "a dictionary of nested values, which cannot be counted"})


def _lengths(texts: Any) -> Any:
    """Return the bytes of each text. A view of one is 16 bytes, which begin with its length."""
    import numpy as np

    if _is_view(texts.type):
        views = np.frombuffer(texts.buffers()[1], dtype=np.int32)[::4]
        return views[texts.offset : texts.offset + len(texts)]
    wide = "large" in str(texts.type)
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64 if wide else np.int32)
    return np.diff(offsets[texts.offset : texts.offset + len(texts) + 1])


def _valid(array: Any) -> Any:
    """Return for each value whether it is there, or a slice of all if none is missing."""
    import numpy as np

    if not array.null_count:
        return slice(None)
    bits = np.frombuffer(array.buffers()[0], dtype=np.uint8)
    valid = np.unpackbits(bits, bitorder="little")[array.offset :][: len(array)]
    return valid.astype(bool)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return (
        types.is_string(kind)
        or types.is_binary(kind)
        or types.is_large_string(kind)
        or types.is_large_binary(kind)
        or _is_view(kind)
    )


def _is_view(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string_view(kind) or types.is_binary_view(kind))


def _texts(array: Any) -> int:
    """Return the bytes of all texts of a dictionary array.

    Done on the buffers: the module of Arrow's functions takes longer to import than most
    files take to read.
    """
    import numpy as np

    words = array.dictionary
    if not len(words) or not len(array):
        return 0
    indices = array.indices
    numbers = np.frombuffer(indices.buffers()[1], dtype=indices.type.to_pandas_dtype())
    numbers = numbers[indices.offset : indices.offset + len(indices)]
    numbers = numbers[_valid(indices)]
    used = np.bincount(numbers.astype(np.int64), minlength=len(words))
    return int(used @ _lengths(words).astype(np.int64))
