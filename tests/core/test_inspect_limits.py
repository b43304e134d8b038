"""The five files that take readers down: refused within a second and 200 MB, parent alive.

Each is inspected by a process of its own, which says how long the stage took (without the
hashing of the snapshot) and how much memory it and its child ever used, as the kernel counts
it (``VmHWM``). The time is that of the processor, of both: nothing here waits, and what else
the machine does is no property of the stage.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core import hostile_files as make

SECONDS = 1.0
MEGABYTES = 200

_CODE = """
import json, os, sys, time
from pathlib import Path
from sluicegate.stages.base import Context
from sluicegate.stages.files import InspectFiles
from sluicegate.stages.files.child.nursery import Nursery
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

def peak(pid):
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(l.split()[1]) for l in text.splitlines() if l.startswith("VmHWM")), 0)

child, used, close = [0], [0.0], Nursery.close
def closing(self):
    if self.pid:
        child[0] = max(child[0], peak(self.pid))
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        used[0] += (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    close(self)
Nursery.close = closing

snapshot = take_snapshot(SubjectUri.parse(sys.argv[1]))
began, cpu = time.perf_counter(), time.process_time()
report = InspectFiles().run(snapshot, Context())
took = time.perf_counter() - began
print(json.dumps({
    "wall": took,
    "cpu": time.process_time() - cpu + used[0],
    "parent": peak("self") / 1024,
    "child": child[0] / 1024,
    "failed": [c.id for c in report.checks if c.outcome == "failed"],
}))
"""


def measured(path: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(path)], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def long_line(path: Path) -> None:
    """Write a CSV with a line of a gigabyte: sparse, so the disk is spared, and full of text."""
    with path.open("wb") as file:
        file.write(b"id,text\n1,")
        file.write(b"x" * (40 << 20))
        file.truncate(1 << 30)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("bomb.parquet", "files.expansion"),
        ("deep.json", "files.nesting"),
        ("zips.zip", "files.nesting"),
        ("large.png", "files.expansion"),
        ("line.csv", "files.lines"),
    ],
)
def test_refused_fast_and_small(name: str, check: str, tmp_path: Path) -> None:
    path = tmp_path / name
    makers = {
        "bomb.parquet": make.parquet_bomb,
        "deep.json": lambda: b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        "zips.zip": lambda: make.nested_zips(4),
        "large.png": lambda: make.png_header(50_000, 50_000),
    }
    if name == "line.csv":
        long_line(path)
    else:
        path.write_bytes(makers[name]())
    result = measured(path)
    print(name, path.stat().st_size, result)
    assert result["failed"] == [check]
    assert float(str(result["parent"])) + float(str(result["child"])) < MEGABYTES
    assert float(str(result["cpu"])) < SECONDS
