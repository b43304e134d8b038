"""Canonical JSON (RFC 8785) and the digests that depend on it.

Two writers of the same value must produce the same bytes, or digests would not compare.
Parsing is strict in the other direction: a duplicate key, which two readers could resolve
differently, is refused, and so are NaN and the infinities.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from sluicegate.errors import SluicegateError

__all__ = ["Digest", "Json", "canonical_json", "parse_json", "sha256_hex"]

Json = Any
"""A JSON value: ``None``, ``bool``, ``int``, ``float``, ``str``, list or mapping of those."""

_HEX_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest, checked when it is made.

    Raises:
        ValueError: ``hex`` is not 64 lower-case hexadecimal digits.
    """

    hex: str
    """64 lower-case hexadecimal digits."""

    def __post_init__(self) -> None:
        if not isinstance(self.hex, str) or not _HEX_SHA256.fullmatch(self.hex):
            raise ValueError("a digest is 64 lower-case hexadecimal digits of SHA-256")

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the digest of ``data``."""
        return cls(sha256_hex(data))

    @classmethod
    def of_json(cls, value: Json) -> Digest:
        """Return the digest of the canonical JSON of ``value``."""
        return cls.of(canonical_json(value))

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the form that ``str()`` writes: ``sha256:<hex>``.

        Raises:
            ValueError: another algorithm, or not a digest at all.
        """
        algorithm, separator, value = str(text).partition(":")
        if not separator or algorithm != "sha256":
            raise ValueError("a digest is written sha256:<64 hexadecimal digits>")
        return cls(value)

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 digits: enough for a person, never for a comparison."""
        return self.hex[:12]


def canonical_json(value: Json) -> bytes:
    """Serialise ``value`` as canonical JSON, UTF-8 encoded.

    Raises:
        SluicegateError: the value has no canonical form (NaN, an infinity, an integer
            beyond 2**53, a key that is not text, a type JSON does not have, nested too deeply).

    Source: RFC 8785, JSON Canonicalization Scheme.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, TypeError, RecursionError) as error:
        raise SluicegateError(
            f"a value has no canonical JSON form: {type(error).__name__}",
            next_step="use finite numbers, integers below 2**53, text and lists of those",
        ) from error


def parse_json(data: bytes | str) -> Json:
    """Parse JSON strictly.

    Raises:
        ValueError: not JSON, not UTF-8, nested too deeply, a duplicate key, NaN or an
            infinity. The message holds the position and never the data.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_duplicates(pairs: list[tuple[str, Json]]) -> Mapping[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):  # 1e999 is grammatical JSON, and infinity to Python
        raise ValueError("a number is not finite: it is beyond the range of a double")
    return value


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
