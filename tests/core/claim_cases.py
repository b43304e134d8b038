"""The differential corpus: what Great Expectations answers, type by type and column by column.

Every case is one expectation about one table. What counts as right is the whole present path:
the table as pandas reads it, Great Expectations' answer to it, and the stricter rules on top.
Two halves, told apart by a digest of the case, kept the translators honest: they were written
against one half, and met the other half when they were done.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import hashlib
import io
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from sluicegate.errors import SluicegateError, StageError
from sluicegate.stages.validation.answers import GX, OWN, SCAN, Answer
from sluicegate.stages.validation.gx.engine import GxEngine
from sluicegate.stages.validation.scan.claims import CLAIMS
from sluicegate.stages.validation.scan.columns import scan_columns
from sluicegate.stages.validation.scan.plan import plan
from sluicegate.stages.validation.scan.run import Outcome, run
from sluicegate.stages.validation.strict import judge, settled
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.stages.validation.suites.parse import parse_suite
from sluicegate.storage.batches import BatchReader
from sluicegate.storage.formats.base import Limits
from sluicegate.storage.formats.parquet import Parquet
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

CORPUS = Path(__file__).with_name("claim_corpus.jsonl.gz")
"""The corpus as it was recorded with GX 1.24.1, pandas 3.1 and pyarrow 26."""

ROWS = 12
PER_TYPE = 44
"""Cases of one expectation type, drawn from all combinations."""

_DAY = dt.datetime(2025, 1, 1)  # noqa: DTZ001  naive, as some columns are
_HOURS = [_DAY + dt.timedelta(hours=7 * at, microseconds=at % 3) for at in range(ROWS)]

_VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "i64": (pa.int64(), [1, 2, 3, 3, 5, 8, 13, 0, -4, 10, 11, 12]),
    "u8": (pa.uint8(), [0, 255, 7, 7, 1, 2, 3, 4, 5, 6, 8, 9]),
    "i32up": (pa.int32(), list(range(ROWS))),
    "big": (pa.int64(), [2**53, 2**53 + 1, 5, 7, 2**60, -(2**53) - 1, 1, 2, 3, 4, 6, 8]),
    "f32": (pa.float32(), [0.1, 0.5, 1.5, 2.5, -3.25, 0.0, 7.0, 9.5, 2.5, 4.0, 6.0, 8.0]),
    "f64": (pa.float64(), [0.1, 0.2, 0.3, 1.0, 2.0, -0.0, 0.0, 5.5, 100.25, 3.0, 3.0, 1e-9]),
    "inf": (pa.float64(), [1.0, float("inf"), 2.0, 3.0, -1.0, 4.0, 5.0, 2.5, 0.0, 6.0, 7.0, 8.0]),
    "nan": (pa.float64(), [1.0, float("nan"), 2.0, 3.0, 3.0, 4.0, 5.0, 2.5, 0.0, 6.0, 7.0, 8.0]),
    "bool": (pa.bool_(), [True, False, True, True, False, True] * 2),
    "yes": (pa.bool_(), [True] * ROWS),
    "str": (
        pa.string(),
        ["a", "b", "ab", "abc", "A1", "z9", "x-y", "hello", "a", "b", "foo", "bar"],
    ),
    "uni": (pa.string(), ["é", "naïve", "日本", "a", "b", "٣", "ß", "a b", "x", "y", "Å", "z"]),
    "line": (
        pa.string(),
        ["ab\n", "ab", "c", "d\n\n", "\n", "", " ", "x\ty", "a\r", "q", "ab", "z"],
    ),
    "num": (pa.string(), ["1", "2", "10", "3.5", "-4", "1e3", "0x1", " 7", "8 ", "9", "1", "٣"]),
    "day": (
        pa.string(),
        [
            "2024-01-02",
            "2024-1-2",
            "2024-02-30",
            "2024-12-31",
            "x",
            "",
            "2024-01-02 03:04:05",
            "2024-01-02T03:04:05Z",
            "Jan 2 2024",
            "20240102",
            "12/31/2024",
            "2024-01-02",
        ],
    ),
    "json": (
        pa.string(),
        [
            '{"a": 1}',
            '{"a": 1.0}',
            '{"a": "x"}',
            "[]",
            "[1, 2]",
            "NaN",
            "null",
            '{"a":1,"a":"z"}',
            '"é"',
            "12345678901234567890123",
            "1e400",
            '{"a": true, "b": [1, 1]}',
        ],
    ),
    "badjson": (pa.string(), ["{", "1", "", "nul", "[1,]", '"a', "{}", "[]", "0", "-", "1", "2"]),
    "ts_us": (pa.timestamp("us"), _HOURS),
    "ts_ns": (pa.timestamp("ns"), _HOURS),
    "ts_ms": (pa.timestamp("ms"), [one.replace(microsecond=0) for one in _HOURS]),
    "ts_up": (pa.timestamp("us"), [_DAY + dt.timedelta(days=at) for at in range(ROWS)]),
    "tz_us": (pa.timestamp("us", tz="UTC"), _HOURS),
    "tz_ns": (pa.timestamp("ns", tz="Europe/Zurich"), _HOURS),
    "date": (pa.date32(), [(_DAY + dt.timedelta(days=at // 2)).date() for at in range(ROWS)]),
    "list": (pa.list_(pa.int64()), [[1], [], [1, 2], [3]] * 3),
    "struct": (pa.struct([("a", pa.int64())]), [{"a": at % 4} for at in range(ROWS)]),
    "cat": (pa.dictionary(pa.int32(), pa.string()), list("abcabcabcabd")),
    "dec": (pa.decimal128(8, 2), [Decimal(at) / 4 for at in range(ROWS)]),
    "bin": (pa.binary(), [b"a", b"b", b"\xff"] * 4),
    "time": (pa.time64("us"), [dt.time(at) for at in range(ROWS)]),
    "dur": (pa.duration("us"), [dt.timedelta(hours=at) for at in range(ROWS)]),
    "void": (pa.null(), [None] * ROWS),
}
_GAPS = (2, 5, 6)
_KEYS = list("aabbaabbabab")


@cache
def corpus_table() -> pa.Table:
    """Return the table: each kind of column full, with gaps (``_g``), and empty (``_n``)."""
    columns: dict[str, Any] = {"key": pa.array(_KEYS), "rank": pa.array(range(ROWS))}
    for name, (kind, values) in _VALUES.items():
        columns[name] = pa.array(values, type=kind)
        gaps = [None if at in _GAPS else one for at, one in enumerate(values)]
        columns[f"{name}_g"] = pa.array(gaps, type=kind)
        columns[f"{name}_n"] = pa.array([None] * ROWS, type=kind)
    return pa.table(columns)


_NUMBERS: list[dict[str, Any]] = [
    {"min_value": 0},
    {"max_value": 5},
    {"min_value": 0.1, "max_value": 5.5},
    {"min_value": 1, "max_value": 8, "strict_min": True},
    {"min_value": 1, "max_value": 8, "strict_max": True},
    {"min_value": -4, "max_value": 13, "strict_min": True, "strict_max": True},
    {"min_value": 5, "max_value": 1},
    {"min_value": -1000, "max_value": 1000},
    {"max_value": 2**53},
    {"min_value": "2025-01-01T00:00:00"},
    {"min_value": "2025-01-01T07:00:00Z", "max_value": "2025-01-03T00:00:00Z"},
    {"min_value": "2025-01-02", "max_value": "2025-01-05"},
    {"min_value": "2025-01-01T07:00:00", "max_value": "2025-01-03T12:00:00", "strict_min": True},
    {"max_value": "2025-06-01T00:00:00+02:00"},
    {"min_value": 0, "max_value": 0},
    {"min_value": True, "max_value": False},
    {"max_value": 1e308},
]
_COUNTS: list[dict[str, Any]] = [
    {"min_value": 1},
    {"max_value": 5},
    {"min_value": 2, "max_value": 9},
    {"min_value": 12, "max_value": 12},
    {"min_value": 3, "strict_min": True},
    {"max_value": 3, "strict_max": True},
    {"min_value": 9, "max_value": 2},
    {"max_value": 0},
]
_SHARES: list[dict[str, Any]] = [
    {"min_value": 0.5},
    {"max_value": 0.75},
    {"min_value": 0.75, "max_value": 1.0},
    {"min_value": 0.75, "strict_min": True},
    {"min_value": 1, "max_value": 1},
    {"min_value": 0.0, "max_value": 0.0},
]
_SETS: list[list[Any]] = [
    [1, 2, 3],
    [0, 1],
    [1.0, 2.0, 3.0, 0.1],
    [True],
    [True, False],
    ["a", "b", "c", "d"],
    ["1", "2"],
    ["2025-01-01", "2025-01-02"],
    ["2025-01-01T00:00:00", "2025-01-01T07:00:00.000001"],
    [1, "a"],
    [None, "a", "b"],
    [None, 1, 2],
    [None],
    [2**53, 2**53 + 1],
    [2.0**53],
    ["a", 1, None, True, 2.5],
    ["é", "日本", ""],
    [[1], [1, 2]],
    list(range(-10, 300)),
    [0.1, 0.2, 0.3, -0.0],
    ["ab\n", "ab"],
]
_REGEXES = [
    "a",
    "^a",
    "b$",
    "^[a-z]+$",
    r"^\d+$",
    r"\w+",
    r"\s",
    r"\bab\b",
    "a|b$",
    "^(a+)+$",
    "(?i)A",
    r"^.$",
    r"^ab\Z",
    "[^a]",
    "",
    "(",
    r"[[:alpha:]]",
    r"a{2,3}",
    r"^\S+$",
    r"é",
    r"(?P<x>a)b",
    r"(a)\1",
    r"a(?=b)",
    r"\.",
    r"^-?\d+(\.\d+)?$",
    r"^(?:a|b)$",
    r"a*?b",
    r"\x41",
    r"\u00e9",
    r"[\w.-]+",
    r"^$",
    r"$^",
    r"(^a|b$)",
    r"\D",
    r"\W",
    r"[\d]",
    r"(?s).*",
    r"(?:a$)b",
    "True",
    r"^\d+\.0$",
    r"[a\]b]",
    r"a++",
    r"^[\s\S]*$",
    r"\Aab",
    r"[a-c&&b]",
    "~",
    "a{,3}",
    r"\N{BULLET}",
]
_TYPES = [
    "int64",
    "int",
    "float64",
    "float",
    "str",
    "object",
    "bool",
    "datetime64",
    "datetime64[ns]",
    "Timestamp",
    "StringDtype",
    "string",
    "CategoricalDtype",
    "category",
    "date",
    "Nope",
    "int32",
    "uint8",
    "float32",
    "INTEGER",
    "O",
    "list",
    "dict",
    "Decimal",
    "bytes",
    "object_",
    "DatetimeTZDtype",
    "datetime",
    "Int64Dtype",
    "number",
    "U",
    "<U1",
    "timedelta64",
    "BooleanDtype",
]
_FORMATS = ["%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "%b %d %Y", "%Y-%m-%d %H:%M:%S", "%Q", "", "%H"]
_SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    {"type": "array", "items": {"type": "number"}, "minItems": 1},
    {"type": ["object", "array", "null"]},
    {},
    {"enum": [1, "x", None, [1, 2], {"a": 1}]},
    {"const": {"a": 1}},
    {"type": "object", "additionalProperties": False, "properties": {"a": {}}},
    {"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"},
    {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"},
    {"type": "string", "pattern": "^[a-z]$"},
    {"type": "string", "minLength": 1, "maxLength": 1},
    {"anyOf": [{"type": "array"}, {"required": ["b"]}]},
    {"not": {"type": "object"}},
    {"$defs": {"n": {"type": "number"}}, "properties": {"a": {"$ref": "#/$defs/n"}}},
    {"type": "integer", "multipleOf": 3},
    {"uniqueItems": True, "properties": {"b": {"uniqueItems": True}}},
    {"type": "nonsense"},
    {"minimum": 2, "maximum": 1e30},
    {"type": "string", "format": "date"},
    {"if": {"type": "object"}, "then": {"minProperties": 2}, "else": {"type": "array"}},
    {"type": "array", "prefixItems": [{"type": "integer"}], "contains": {"const": 2}},
]
_QUANTILES: list[dict[str, Any]] = [
    {"quantiles": [0.0, 0.5, 1.0], "value_ranges": [[-10, 5], [0, 10], [5, None]]},
    {"quantiles": [0.25], "value_ranges": [[None, 3]]},
    {"quantiles": [0.1, 0.9], "value_ranges": [[0, 3], [7, 300]]},
    {"quantiles": [0.5], "value_ranges": [[3, 3]]},
]
_PARTITIONS: list[dict[str, Any]] = [
    {"values": ["a", "b", "c", "d"], "weights": [0.25, 0.25, 0.25, 0.25]},
    {"values": ["a", "b"], "weights": [0.5, 0.5]},
    {"values": [True, False], "weights": [0.6, 0.4]},
    {"values": [1, 2, 3, 5, 8], "weights": [0.2] * 5},
    {"bins": [-10, 0, 5, 10, 20], "weights": [0.1, 0.5, 0.2, 0.2]},
    {"bins": [0, 5, 10], "weights": [0.4, 0.4], "tail_weights": [0.1, 0.1]},
    {"bins": [1, 2, 3], "weights": [0.5, 0.5]},
    {"bins": [1, 2, 3], "weights": [0.5, 0.2]},
]
_PAIRS = [
    tuple(one.split(":"))
    for one in [
        "i64:rank",
        "i64_g:rank",
        "i64:f64",
        "f64_g:f64",
        "str:uni",
        "str:cat",
        "str_g:str",
        "i64_n:i64",
        "i64_n:f64_n",
        "ts_us:ts_up",
        "ts_us:tz_us",
        "date:ts_us",
        "bool:yes",
        "bool_g:bool",
        "i64:str",
        "u8:i64",
        "big:i64",
        "big:f64",
        "inf:f64",
        "date:date_g",
        "f32:f64",
        "i64:i64",
        "bool:i64",
        "ts_us:ts_ns",
        "list:list_g",
        "tz_us:tz_ns",
        "big_g:big",
        "str:str_n",
        "key:str",
        "u8_g:u8",
        "dec:i64",
        "i64:u8_g",
    ]
]
_LISTS = [
    one.split("+")
    for one in [
        "i64+rank",
        "i64_g+f64_g",
        "str+key",
        "str_g+key",
        "i64+i64",
        "bool+yes",
        "f64+rank+u8",
        "i64_n+f64_n",
        "ts_us+ts_up",
        "str+i64",
        "u8+u8_g",
        "key+cat",
        "key+yes",
        "date+key",
        "inf+i64",
        "big+i64",
        "bool_g+i64",
        "f32+f32_g",
        "list+i64",
        "i64+i64_g+rank",
        "i64",
        "str_g+str_n",
        "dec+i64",
        "nan+i64_g",
        "bool+i64",
        "u8+i64",
        "uni+str",
        "tz_us+ts_us",
        "f64+f64_g",
    ]
]

_ANY = ({},)
_COLUMN: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "values_to_be_null": _ANY,
    "values_to_not_be_null": _ANY,
    "values_to_be_unique": _ANY,
    "values_to_be_increasing": ({}, {"strictly": True}, {"strictly": False}),
    "values_to_be_decreasing": ({}, {"strictly": True}),
    "values_to_be_json_parseable": _ANY,
    "values_to_be_dateutil_parseable": _ANY,
    "values_to_be_between": _NUMBERS,
    "max_to_be_between": _NUMBERS,
    "min_to_be_between": _NUMBERS,
    "mean_to_be_between": _NUMBERS,
    "median_to_be_between": _NUMBERS,
    "sum_to_be_between": _NUMBERS,
    "stdev_to_be_between": _NUMBERS[:9],
    "unique_value_count_to_be_between": _COUNTS,
    "proportion_of_unique_values_to_be_between": _SHARES,
    "proportion_of_non_null_values_to_be_between": _SHARES,
    "value_lengths_to_be_between": _COUNTS,
    "value_lengths_to_equal": [{"value": at} for at in (0, 1, 2, 3, 10, 1.0, 2.5)],
    "values_to_be_in_set": [{"value_set": one} for one in _SETS],
    "values_to_not_be_in_set": [{"value_set": one} for one in _SETS],
    "distinct_values_to_be_in_set": [{"value_set": one} for one in _SETS],
    "distinct_values_to_equal_set": [{"value_set": one} for one in _SETS],
    "distinct_values_to_contain_set": [{"value_set": one} for one in _SETS],
    "most_common_value_to_be_in_set": [
        {"value_set": one, "ties_okay": ties} for one in _SETS for ties in (None, True, False)
    ],
    "values_to_match_regex": [{"regex": one} for one in _REGEXES],
    "values_to_not_match_regex": [{"regex": one} for one in _REGEXES],
    "values_to_match_regex_list": [
        {"regex_list": [one, other], "match_on": on}
        for one, other in itertools.pairwise(_REGEXES)
        for on in ("any", "all")
    ],
    "values_to_not_match_regex_list": [
        {"regex_list": [one, other]} for one, other in itertools.pairwise(_REGEXES)
    ],
    "values_to_match_strftime_format": [{"strftime_format": one} for one in _FORMATS],
    "values_to_match_json_schema": [{"json_schema": one} for one in _SCHEMAS],
    "values_to_be_of_type": [{"type_": one} for one in _TYPES],
    "type_to_be": [{"type_": one} for one in _TYPES],
    "values_to_be_in_type_list": [
        {"type_list": [one, other]} for one, other in itertools.pairwise(_TYPES)
    ],
    "value_z_scores_to_be_less_than": [
        {"threshold": level, "double_sided": both}
        for level in (0.5, 1, 2, 3.5)
        for both in (True, False)
    ],
    "values_to_not_be_outliers": [
        {}, {"method": "std"}, {"method": "std", "multiplier": 1}, {"multiplier": 0.5}
    ],
    "quantile_values_to_be_between": [{"quantile_ranges": one} for one in _QUANTILES],
    "kl_divergence_to_be_less_than": [
        {"partition_object": one, "threshold": level, **more}
        for one in _PARTITIONS
        for level in (0.0, 0.1, 0.5, 10)
        for more in ({}, {"tail_weight_holdout": 0.01}, {"internal_weight_holdout": 0.01})
    ],
    "to_exist": [{}, {"column_index": 0}, {"column_index": 3}, {"column_index": 10**6}],
}  # fmt: skip
_TABLE: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "row_count_to_equal": [{"value": ROWS}, {"value": 7}, {"value": 0}],
    "row_count_to_be_between": _COUNTS,
    "column_count_to_equal": [{"value": 3 * len(_VALUES) + 2}, {"value": 4}],
    "column_count_to_be_between": _COUNTS,
    "columns_to_match_ordered_list": [
        {"column_list": ["key", "rank"]},
        {"column_list": ["key", "rank", *(f"{n}{s}" for n in _VALUES for s in ("", "_g", "_n"))]},
    ],
    "columns_to_match_set": [
        {"column_set": ["key", "rank"], "exact_match": exact} for exact in (True, False)
    ]
    + [{"column_set": ["rank", *(f"{n}{s}" for n in _VALUES for s in ("", "_g", "_n")), "key"]}],
}
_CONDITIONS: Sequence[Any] = (
    {"type": "comparison", "column": {"name": "key"}, "operator": "==", "parameter": "a"},
    {"type": "comparison", "column": {"name": "rank"}, "operator": "<", "parameter": 6},
    {"type": "comparison", "column": {"name": "key"}, "operator": "==", "parameter": "zz"},
    {"type": "comparison", "column": {"name": "rank"}, "operator": "IN", "parameter": [2, 5]},
    {"type": "nullity", "column": {"name": "i64_g"}, "is_null": False},
    {"type": "comparison", "column": {"name": "rank"}, "operator": "==", "parameter": 3},
)
_MOSTLY = (0.5, 0.75, 0.9, 0.95, 11 / 12)
_BASICS = ("i64", "f64", "str", "i64_g", "f64_g", "str_g", "ts_us", "bool")


def corpus_entries(per_type: int = PER_TYPE, seed: int = 7) -> list[dict[str, Any]]:
    """Return the expectations of the corpus, the same ones every time."""
    entries = []
    names = [f"{name}{suffix}" for name in _VALUES for suffix in ("", "_g", "_n")]
    for kind, choices in _COLUMN.items():
        domains = [{"column": name} for name in names]
        entries += _drawn(f"expect_column_{kind}", domains, choices, per_type, seed)
    rows_if = [None, "both_values_are_missing", "either_value_is_missing", "neither"]
    pairs = [
        {"column_A": a, "column_B": b, **({"ignore_row_if": rule} if rule else {})}
        for a, b in _PAIRS
        for rule in rows_if
    ]
    sets = [
        {"value_pairs_set": one}
        for one in ([[1, 0], [2, 1], [3, 2]], [["a", "a"], ["b", "a"]], [[None, 1], [True, True]])
    ]
    for kind, choices in {
        "pair_values_to_be_equal": _ANY,
        "pair_values_a_to_be_greater_than_b": ({}, {"or_equal": True}),
        "pair_values_to_be_in_set": sets,
    }.items():
        entries += _drawn(f"expect_column_{kind}", pairs, choices, per_type, seed)
    rows_if = [None, "all_values_are_missing", "any_value_is_missing", "never"]
    lists = [
        {"column_list": names, **({"ignore_row_if": rule} if rule else {})}
        for names in _LISTS
        for rule in rows_if
    ]
    for kind, choices in {
        "compound_columns_to_be_unique": _ANY,
        "select_column_values_to_be_unique_within_record": _ANY,
        "multicolumn_sum_to_equal": [{"sum_total": one} for one in (0, 1, 3, 5.1)],
        "multicolumn_values_to_be_equal": _ANY,
    }.items():
        entries += _drawn(f"expect_{kind}", lists, choices, per_type, seed)
    for kind, choices in _TABLE.items():
        entries += _drawn(f"expect_table_{kind}", [{}], choices, per_type, seed)
    return entries + [{**entry, "meta": {}} for entry in _stricter()]


def case_key(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Return the text that identifies a case."""
    return json.dumps([kind, kwargs], sort_keys=True)


def recorded() -> list[tuple[dict[str, Any], Answer]]:
    """Return the corpus with the answers that Great Expectations gave when it was recorded."""
    found = []
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            given = case["answer"]
            given["positions"] = frozenset(given.get("positions", ()))
            given["problems"] = tuple(given.get("problems", ()))
            found.append((case, Answer(**given)))
    return found


def record() -> int:
    """Ask Great Expectations about the whole corpus, which takes minutes; keep its answers."""
    expectations = parsed(corpus_entries())
    answers = reference(as_parquet(corpus_table()), expectations)
    with gzip.GzipFile(CORPUS, "wb", mtime=0) as out:
        for one in expectations:
            given = {
                field.name: value
                for field in dataclasses.fields(Answer)
                if (value := getattr(answers[one.index], field.name)) not in (field.default, ())
                and value != frozenset()
            }
            given["positions"] = sorted(given.get("positions", ()))
            case = {"type": one.type, "kwargs": dict(one.kwargs), "answer": given}
            out.write(json.dumps(case, sort_keys=True).encode() + b"\n")
    return len(expectations)


def _stricter() -> Iterator[dict[str, Any]]:
    """Yield questions that Great Expectations answers yes, and a stricter rule does not."""
    limits = [{"max_value": 2**53}, {"min_value": -(2**53), "max_value": 2**61}, {"max_value": 6.5}]
    limits += [{"min_value": -2}, {"max_value": 2**60, "strict_max": True}, {"max_value": 1e300}]
    families = ("values_to_be", "max_to_be", "min_to_be", "sum_to_be", "mean_to_be", "median_to_be")
    for column, bounds, family in itertools.product(
        ("big", "big_g", "inf", "inf_g"), limits, families
    ):
        yield {"type": f"expect_column_{family}_between", "kwargs": {"column": column, **bounds}}
    for column, share in itertools.product(("big", "inf", "inf_g"), (0.5, 0.9)):
        kwargs = {"column": column, "max_value": 2**53, "mostly": share}
        yield {"type": "expect_column_values_to_be_between", "kwargs": kwargs}
    for column, pattern in itertools.product(
        ("line", "line_g", "str"), ("^[a-z]+$", "b$", "^$", "^(a|b)*$|c$", r"^\w+$", "^[a-z ]*$")
    ):
        kwargs = {"column": column, "regex": pattern}
        yield {"type": "expect_column_values_to_match_regex", "kwargs": kwargs}
        kwargs = {"column": column, "regex": pattern, "mostly": 0.4}
        yield {"type": "expect_column_values_to_match_regex", "kwargs": kwargs}
        for how in ("any", "all"):
            kwargs = {"column": column, "regex_list": [pattern, "a"], "match_on": how}
            yield {"type": "expect_column_values_to_match_regex_list", "kwargs": kwargs}


def _drawn(
    kind: str, domains: Sequence[Any], choices: Sequence[Any], count: int, seed: int
) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"{kind} {seed}")
    seen = set()
    for at in range(count):
        domain = rng.choice(domains)
        if "column" in domain and at % 3 == 0:
            # Columns that the type is likely to be about.
            domain = {"column": rng.choice(_LIKELY.get(kind, _BASICS))}
        kwargs = {**domain, **rng.choice(choices)}
        if rng.random() < 0.3 and "to_be_between" not in kind.replace("values_to_be", ""):
            kwargs["mostly"] = rng.choice(_MOSTLY)
        if rng.random() < 0.25 and kind.startswith(
            ("expect_column", "expect_multi", "expect_comp")
        ):
            kwargs |= {
                "row_condition": rng.choice(_CONDITIONS),
                "condition_parser": "great_expectations",
            }
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        key = json.dumps(kwargs, sort_keys=True)
        if key not in seen:
            seen.add(key)
            yield {"type": kind, "kwargs": kwargs, "meta": {}}


_TEXTS = ("str", "uni", "line", "num", "day", "str_g", "uni_g", "line_g")
_LIKELY: Mapping[str, Sequence[str]] = {
    "expect_column_values_to_match_regex": _TEXTS,
    "expect_column_values_to_not_match_regex": _TEXTS,
    "expect_column_values_to_match_regex_list": _TEXTS,
    "expect_column_values_to_not_match_regex_list": _TEXTS,
    "expect_column_values_to_match_strftime_format": ("day", "day_g", "num"),
    "expect_column_values_to_be_dateutil_parseable": ("day", "day_g", "num"),
    "expect_column_values_to_match_json_schema": ("json", "json_g"),
    "expect_column_values_to_be_json_parseable": ("json", "badjson", "badjson_g", "num"),
    "expect_column_values_to_be_increasing": ("i32up", "ts_up", "i32up_g", "i64", "ts_us", "f64"),
    "expect_column_kl_divergence_to_be_less_than": ("cat", "bool", "i64", "f64", "key", "i64_g"),
}


@cache
def held_out(text: str) -> bool:
    """Whether a case, as canonical text, belongs to the half that was kept aside."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


def parsed(entries: Sequence[Mapping[str, Any]]) -> list[Expectation]:
    """Return those expectations that the loader and Great Expectations take."""
    found = []
    for entry in entries:
        text = json.dumps({"name": "corpus", "expectations": [entry], "meta": {}}).encode()
        try:
            suite = parse_suite(text)
            GxEngine(suite)
        except SluicegateError:
            continue
        found.append(dataclasses.replace(suite.expectations[0], index=len(found)))
    return found


def as_parquet(table: pa.Table, row_group_size: int | None = None) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=row_group_size)
    return out.getvalue()


def reference(data: bytes, expectations: Sequence[Expectation]) -> dict[int, Answer]:
    """Return what Great Expectations and the stricter rules answer about a Parquet file."""
    frame = Parquet().read(io.BytesIO(data), name="corpus.parquet", limits=Limits())
    engine = GxEngine(Suite(name="corpus", expectations=tuple(expectations)))
    answers: dict[int, Answer] = {}
    groups: dict[object, tuple[Any, list[Expectation]]] = {}
    for one in expectations:
        before = settled(one, frame)
        if before is not None:
            answers[one.index] = before
            continue
        rows = frame if one.condition is None else frame.loc[one.condition.selects(frame)]
        # By type: an expectation on which Great Expectations fails as a whole spoils few others.
        # Quantiles one by one: it answers a second list of them with the values of the first.
        alone = one.index if "quantile" in one.type else -1
        groups.setdefault((one.type, one.condition, alone), (rows, []))[1].append(one)
    for rows, asked in groups.values():
        if not len(rows):
            asked_now = [one for one in asked if one.counts_rows]
            for one in asked:
                answers[one.index] = Answer.unknown(
                    "the row condition selects no row: nothing was examined"
                )
            asked = asked_now
        given = _asked(engine, rows, asked)
        answers.update({one.index: judge(one, rows, given[one.index]) for one in asked})
    return answers


def _asked(engine: GxEngine, rows: Any, asked: Sequence[Expectation]) -> dict[int, Answer]:
    """Ask all at once; some expectations make Great Expectations fail as a whole."""
    if not asked:
        return {}
    try:
        return engine.answer(rows, asked)
    except StageError:
        if len(asked) == 1:
            return {asked[0].index: Answer.unknown("Great Expectations failed", engine=GX)}
    half = len(asked) // 2
    return _asked(engine, rows, asked[:half]) | _asked(engine, rows, asked[half:])


def scanned(
    folder: Path, data: bytes, expectations: Sequence[Expectation], *, batch_rows: int = 7
) -> Outcome:
    """Return what the scan makes of a Parquet file; small batches, so that there are several."""
    path = folder / "corpus.parquet"
    path.write_bytes(data)
    suite = Suite(name="corpus", expectations=tuple(expectations))
    with BatchReader(take_snapshot(SubjectUri.parse(str(path)))) as reader:
        planned = plan(suite, scan_columns(reader), makers=CLAIMS)
        return run(reader, planned, batch_rows=batch_rows)


def differences(expected: Answer, got: Answer) -> list[str]:
    """Return in what an answer of the scan differs from the reference; the better, the fewer."""
    engine = SCAN if expected.engine == GX else OWN
    found = [
        f"{field}: {getattr(expected, field)!r} expected, {getattr(got, field)!r} found"
        for field in ("success", "elements", "missing", "unexpected", "reason", "problems")
        if getattr(expected, field) != getattr(got, field)
    ]
    if got.engine != engine:
        found.append(f"engine: {engine} expected, {got.engine} found")
    if not _same(expected.observed, got.observed):
        found.append(f"observed: {expected.observed!r} expected, {got.observed!r} found")
    return found


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return bool(one == other)


_POOLS: Mapping[str, tuple[pa.DataType, list[Any]]] = {
    "int64": (pa.int64(), [0, 1, 2, 3, -1, 10, 11]),
    "large": (pa.int64(), [0, 2**53, 2**53 + 1, -(2**53) - 1, 2**62]),
    "int8": (pa.int8(), [0, 1, 2, 127, -128]),
    "uint64": (pa.uint64(), [0, 1, 2, 2**63]),
    "float64": (pa.float64(), [0.0, -0.0, 0.1, 0.2, 1.0, 2.0, 3.5, float("nan")]),
    "infinite": (pa.float64(), [0.5, 1.0, 2.0, float("inf"), float("-inf")]),
    "float32": (pa.float32(), [0.0, 0.1, 0.5, 1.5, 2.0]),
    "bool": (pa.bool_(), [True, False]),
    "text": (pa.string(), ["a", "b", "ab", "abc", "", "1", "2.0", "a b", "A_1", "a"]),
    "lines": (pa.string(), ["a", "a\n", "\n", "ab\n\n", "b\r", "x"]),
    "unicode": (pa.large_string(), ["a", "é", "ß", "日本", "\U0001f600", "٣", "a"]),
    "days": _VALUES["day"],
    "json": _VALUES["json"],
    "us": (pa.timestamp("us"), _HOURS),
    "ms": (pa.timestamp("ms"), [one.replace(microsecond=0) for one in _HOURS]),
    "utc": (pa.timestamp("ns", tz="UTC"), _HOURS),
    "date": _VALUES["date"],
    "category": _VALUES["cat"],
    "decimal": _VALUES["dec"],
}


@st.composite
def questions(draw: st.DrawFn) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Draw a small table, and expectations about it."""
    rows = draw(st.integers(1, 14))
    columns = {}
    for name in "abc":
        kind, pool = _POOLS[draw(st.sampled_from(sorted(_POOLS)))]
        values = st.sampled_from(pool)
        cells = st.none() | values if draw(st.booleans()) else values
        columns[name] = pa.array(draw(st.lists(cells, min_size=rows, max_size=rows)), type=kind)
    count = draw(st.integers(6, 12))
    return pa.table(columns), [draw(_question()) for _ in range(count)]


@st.composite
def _question(draw: st.DrawFn) -> dict[str, Any]:
    several = {
        "column_pair_values_to_be_equal": [{}],
        "column_pair_values_a_to_be_greater_than_b": [{}, {"or_equal": True}],
        "column_pair_values_to_be_in_set": [{"value_pairs_set": [[1, 1], ["a", "b"], [None, 2]]}],
        "compound_columns_to_be_unique": [{}],
        "select_column_values_to_be_unique_within_record": [{}],
        "multicolumn_sum_to_equal": [{"sum_total": 3}],
        "multicolumn_values_to_be_equal": [{}],
    }
    kind = draw(st.sampled_from([*(f"column_{one}" for one in _COLUMN), *several]))
    choices = several.get(kind) or _COLUMN[kind.removeprefix("column_")]
    kwargs = dict(draw(st.sampled_from(list(choices))))
    if kind.startswith("column_pair"):
        kwargs |= {"column_A": "a", "column_B": draw(st.sampled_from("bc"))}
        how = ("both_values_are_missing", "either_value_is_missing", "neither")
        kwargs["ignore_row_if"] = draw(st.sampled_from(how))
    elif kind in several:
        kwargs["column_list"] = draw(st.sampled_from([["a", "b"], ["c", "a"], ["a", "b", "c"]]))
        rules = ("all_values_are_missing", "any_value_is_missing", "never")
        kwargs["ignore_row_if"] = draw(st.sampled_from(rules))
    else:
        kwargs["column"] = draw(st.sampled_from("abc"))
    if draw(st.booleans()) and kind.startswith(("column_value", "column_pair", "compound")):
        kwargs["mostly"] = draw(st.sampled_from(_MOSTLY))
    if draw(st.integers(0, 3)) == 0:
        condition = {"type": "nullity", "column": {"name": "b"}, "is_null": draw(st.booleans())}
        kwargs |= {"row_condition": condition, "condition_parser": "great_expectations"}
    kwargs = {key: value for key, value in kwargs.items() if value is not None}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": {}}
