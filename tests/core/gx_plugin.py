"""A plug-in for Great Expectations whose one expectation misbehaves as it is told."""

from __future__ import annotations

import ctypes
import os
import pickle
import socket
import time
from pathlib import Path
from typing import Any

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider
from great_expectations.expectations.metrics.map_metric_provider import column_condition_partial


def misbehave(what: str, argument: str) -> bool:
    """Do it; return whether the values are as expected afterwards."""
    if what == "abort":
        os.abort()
    elif what == "read null":
        ctypes.string_at(0)
    elif what == "exit":
        os._exit(0)
    elif what == "spin":
        while True:
            pass
    elif what == "sleep":
        time.sleep(120)
    elif what == "memory":
        return len(bytearray(1 << 35)) == 0
    elif what == "connect":
        socket.create_connection(("127.0.0.1", int(argument)), timeout=5).close()
    elif what == "system":
        os.system(f"touch {argument}")
    elif what == "write":
        Path(argument).write_text("x")
    elif what == "unpickle":
        pickle.loads(b"cos\nsystem\n(S'true'\ntR.")
    elif what == "print":
        os.write(1, b'{"answer": 0, "success": true}\n')
        print('{"done": true}', flush=True)
    elif what == "environment":
        return argument not in os.environ
    return True


class ColumnValuesMisbehave(ColumnMapMetricProvider):
    """Whether the values are as expected after misbehaving."""

    condition_metric_name = "column_values.toy_misbehave"
    condition_value_keys = ("what", "argument")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Any, what: str, argument: str, **kwargs: Any) -> Any:  # noqa: N805
        good = misbehave(what, argument)
        return column.map(lambda _: good)


class ExpectColumnValuesToMisbehave(ColumnMapExpectation):
    """Expect column values to misbehave."""

    what: str
    argument: str = ""
    map_metric = "column_values.toy_misbehave"
    success_keys = ("what", "argument", "mostly")
    args_keys = ("column", "what", "argument")
