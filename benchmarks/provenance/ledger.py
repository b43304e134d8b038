"""What the ledger in a folder costs, against one fsync for each entry, in one run.

    python benchmarks/provenance/ledger.py [FOLDER] [--million]

FOLDER must lie on a real disk: a sync costs nothing in memory. Rounds of both sides alternate,
and the median of each counts, because other work on the machine slows both. An append answers
only when journal *and* checkpoint are written, so batches pay for tiles and signature as well.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.note import NoteSigner
from sluicegate.ledger.tiles import TileTree

ORIGIN = "ledger.example/benchmark"
ENTRY = 1500
ROUNDS = 5


def fsync_each(folder: Path, count: int) -> float:
    """Append entries to one file, each synced before the next; seconds of wall time each."""
    with (folder / "plain").open("ab", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(count):
            file.write(os.urandom(ENTRY))
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / count


def batches(ledger: FolderLedger, size: int, count: int) -> tuple[float, float]:
    """Append batches; wall and CPU seconds for each entry."""
    work = [[os.urandom(ENTRY) for _ in range(size)] for _ in range(count)]
    started, cpu = time.perf_counter(), time.process_time()
    for batch in work:
        ledger.append_many(batch)
    entries = size * count
    return (time.perf_counter() - started) / entries, (time.process_time() - cpu) / entries


def threads(ledger: FolderLedger, writers: int, count: int, size: int) -> float:
    """Append from many threads at once; seconds of wall time for each entry."""

    def write() -> None:
        for _ in range(count):
            ledger.append_many([os.urandom(ENTRY) for _ in range(size)])

    at_work = [threading.Thread(target=write) for _ in range(writers)]
    started = time.perf_counter()
    for thread in at_work:
        thread.start()
    for thread in at_work:
        thread.join()
    return (time.perf_counter() - started) / (writers * count * size)


def processes(folder: Path, signer: NoteSigner, writers: int, count: int, size: int) -> float:
    """Append from many processes at once; seconds of wall time for each entry."""
    started, children = time.perf_counter(), []
    for _ in range(writers):
        child = os.fork()
        if not child:
            try:
                ledger = FolderLedger(folder, origin=ORIGIN, signer=signer)
                for _ in range(count):
                    ledger.append_many([os.urandom(ENTRY) for _ in range(size)])
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    for child in children:
        if os.waitpid(child, 0)[1]:
            sys.exit("a writer failed")
    return (time.perf_counter() - started) / (writers * count * size)


def compare(folder: Path) -> None:
    signer = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
    ledger = FolderLedger(folder / "ledger", origin=ORIGIN, signer=signer)
    ways = {
        "append, one at a time": lambda: batches(ledger, 1, 60)[0],
        "append_many of 64": lambda: batches(ledger, 64, 40)[0],
        "append_many of 256": lambda: batches(ledger, 256, 16)[0],
        "append_many of 1,024": lambda: batches(ledger, 1024, 6)[0],
        "8 threads, one at a time": lambda: threads(ledger, 8, 30, 1),
        "64 threads, one at a time": lambda: threads(ledger, 64, 8, 1),
        "8 processes, one at a time": lambda: processes(ledger.folder, signer, 8, 30, 1),
        "8 processes, 64 at a time": lambda: processes(ledger.folder, signer, 8, 16, 64),
    }
    plain: list[float] = []
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            plain.append(fsync_each(folder, 50))
            measured[name].append(way())
    each = statistics.median(plain)
    print(f"entries of {ENTRY:,} bytes, folder {folder}")
    print(f"{'one fsync for each entry':<28} {each * 1e6:9.0f} us each")
    for name, values in measured.items():
        found = statistics.median(values)
        print(f"{name:<28} {found * 1e6:9.0f} us each   {each / found:6.1f} x")
    for size in (1, 64, 1024):
        _, cpu = batches(ledger, size, max(2, 512 // size))
        print(f"CPU for an entry in batches of {size:<5} {cpu * 1e6:9.0f} us")
    print(ledger.verify())


def million(folder: Path) -> None:
    ledger, count = FolderLedger(folder / "million"), 10**6
    started, cpu = time.perf_counter(), time.process_time()
    for at in range(0, count, 20_000):
        ledger.append_many([b"%064d" % number for number in range(at, at + 20_000)])
    print(
        f"10^6 entries of 64 bytes: appended in {time.perf_counter() - started:.1f} s, "
        f"{time.process_time() - cpu:.1f} CPU s, in batches of 20,000"
    )
    child = os.fork()
    if not child:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, cpu = time.perf_counter(), time.process_time()
        state = FolderLedger(folder / "million").verify()
        print(
            f"verified {state.size:,} in {time.perf_counter() - started:.1f} s, "
            f"{time.process_time() - cpu:.1f} CPU s"
        )
        tree = TileTree(ledger.tiles, count)
        started = time.process_time()
        for index in range(0, count, 10_000):
            TileTree(ledger.tiles, count).inclusion_proof(index)
        print(f"one inclusion proof: {(time.process_time() - started) * 10:.2f} ms")
        tree.root()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"memory: {after / 1024:.0f} MiB at most, {(after - before) / 1024:.0f} more",
            flush=True,
        )
        os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--million", action="store_true", help="only the ledger of 10^6 entries")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder, prefix="ledger-"))
    try:
        million(folder) if args.million else compare(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
