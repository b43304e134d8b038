"""How fast a report of S3 Inventory is read, in what memory, and whether it misses any.

A synthetic report of 10**6 rows in Parquet and in gzipped CSV, of which one in a thousand of
the subject's objects is not encrypted. Printed are rows a second with the MD5 check (target
for Parquet: 10**6 rows in two seconds), what is missed or flagged wrongly, and the peak
memory of a process that does nothing else (target: below 500 MB). The listing that the rows
are compared with is given: S3 takes about a second for 10**4 objects of it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROWS = 1_000_000
STARTED = 1_700_000_000
COLUMNS = ("bucket", "key", "size", "last_modified_date", "e_tag", "encryption_status")


def key(at):
    return f"datasets/images/train/shard-{at:07}.tar"


def etag(at):
    return f"{at * 2654435761 % (1 << 128):032x}"


def status(at):
    return "NOT-SSE" if at % 1000 == 0 else "SSE-KMS"


def write(folder):
    """Write the same rows in both formats, in an order of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    order = [at * 7919 % ROWS for at in range(ROWS)]
    table = pa.table(
        {
            "bucket": pa.array(["data"] * ROWS),
            "key": [key(at) for at in order],
            "size": pa.array(order, pa.int64()),
            "last_modified_date": pa.array(
                [(STARTED + at) * 1000 for at in order], pa.timestamp("ms", "UTC")
            ),
            "e_tag": [etag(at) for at in order],
            "encryption_status": [status(at) for at in order],
        }
    )
    pq.write_table(table, folder / "rows.parquet", row_group_size=200_000)
    with gzip.open(folder / "rows.csv.gz", "wt", compresslevel=6, newline="") as out:
        rows = csv.writer(out, quoting=csv.QUOTE_ALL)
        for at in order:
            when = datetime.fromtimestamp(STARTED + at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            rows.writerow(("data", key(at), at, when, etag(at), status(at)))


def measure(folder, name, objects):
    """Read one report for a subject of so many objects and print what came out."""
    import numpy as np
    import pyarrow.parquet  # noqa: F401  imported by any worker that reads tables

    from sluicegate.stages.encryption.aws import Aws
    from sluicegate.stages.encryption.s3.head import Head, Miss
    from sluicegate.stages.encryption.s3.inventory import DataFile, Report, source_of
    from sluicegate.stages.encryption.s3.inventory_rows import modes_in
    from sluicegate.stages.encryption.s3.listing import Listing

    with (folder / name).open("rb") as content:
        digest = hashlib.file_digest(content, "md5").hexdigest()
    file = DataFile(name, (folder / name).stat().st_size, digest)
    kind = "Parquet" if name.endswith("parquet") else "CSV"
    columns = tuple(column.replace("_", "") for column in COLUMNS)
    report = Report("data", datetime.now(UTC), kind, columns, (file,))
    wanted = range(0, ROWS, ROWS // objects)
    keys, sizes = [key(at) for at in wanted], list(wanted)
    listing = Listing(
        np.array(sizes), STARTED + np.array(sizes), np.array([etag(at) for at in wanted], object)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    found = modes_in(report, source_of(str(folder), Aws()), keys, sizes, listing)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert isinstance(found, list)
    bad = {at for at in wanted if status(at) == "NOT-SSE"}
    flagged = {
        at
        for at, one in zip(wanted, found, strict=True)
        if isinstance(one, Head) and one.mode == "none"
    }
    unknown = sum(isinstance(one, Miss) for one in found)
    print(
        f"{kind:7} {ROWS} rows, {objects} objects asked about: {wall:.2f} s, {cpu:.2f} s CPU, "
        f"{ROWS / wall:.0f} rows/s, peak {peak:.0f} MB ({before:.0f} MB before); bad "
        f"{len(bad)}, missed {len(bad - flagged)}, wrongly flagged {len(flagged - bad)}, "
        f"unknown {unknown}",
        flush=True,
    )


def main():
    """Measure each case in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "write", folder], check=True)
        for name in ("rows.parquet", "rows.csv.gz"):
            for objects in (100_000, 1_000_000):
                command = [sys.executable, __file__, "measure", folder, name, str(objects)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["measure"]:
        measure(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()
