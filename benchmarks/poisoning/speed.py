"""Confident learning in batches against cleanlab: CPU time of one thread, memory, same rows.

Time is the median of alternating runs on arrays in memory, with the compiled loops (numba)
and with the numpy ones; compiling is done before, on small data. Two sweeps of ``P.max()``
are the cost of merely reading the probabilities twice.

Memory (Linux) is that of one call on a memory-mapped file, each in a process of its own and
above what it had after calls on small data. "Process" is the high-water mark of resident
pages; those of mapped files count, too, although the system can drop them at any time.
"Allocated" and "kept" after the call are what Python and numpy asked for, without mapped
files. Measured as called by default, with a folder for candidates, and as the command line
does it, which reads the file and writes a score for every row.

    python benchmarks/poisoning/speed.py
    python benchmarks/poisoning/speed.py --quick
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt

from sluicegate.stages.poisoning.confident import learning, rule
from sluicegate.stages.poisoning.confident.files import open_samples
from sluicegate.stages.poisoning.confident.kernels import kernels, numpy_kernels
from sluicegate.stages.poisoning.confident.scan import find_label_issues, scan_labels

RULE = "confident-learning"
FLIPPED = 0.1
CHUNK = 1 << 16
MEGABYTE = 1 << 20
MEMORY_WAYS = {
    "cleanlab": "cleanlab",
    "mapped": "sluicegate",
    "spilling": "with folder=…",
    "read": "file to file",
}

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.floating]


class StableNumpy:
    """numpy, but sorts are stable: ties in cleanlab then fall by row, not by processor."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def argsort(array, *args, **options):
        return np.argsort(array, *args, **{**options, "kind": "stable"})


def fill(p: Probabilities, y: Labels, seed: int) -> None:
    """Draw a model's softmax output, right for about nine in ten, and flip a tenth of labels."""
    rng = np.random.default_rng(seed)
    rows, classes = p.shape
    strength = 1.5 * np.sqrt(2 * np.log(classes)) + 2.2
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        at, true = np.arange(count), rng.integers(0, classes, count)
        logits = rng.normal(0, 1.5, (count, classes))
        logits[at, true] += strength * rng.uniform(0.5, 1.5, count)
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        p[start : start + count] = logits / logits.sum(axis=1, keepdims=True)
        flipped = rng.random(count) < FLIPPED
        moved = (true + rng.integers(1, classes, count)) % classes
        y[start : start + count] = np.where(flipped, moved, true)


def made(rows: int, classes: int, dtype: str) -> tuple[Labels, Probabilities]:
    """Return labels and probabilities in memory."""
    y, p = np.empty(rows, dtype=np.int64), np.empty((rows, classes), dtype=dtype)
    fill(p, y, seed=rows + classes)
    return y, p


def with_cleanlab(y: Labels, p: Probabilities) -> Mask:
    """Return what cleanlab's default filter flags."""
    from cleanlab.filter import find_label_issues as default_filter

    return np.asarray(default_filter(y, p, n_jobs=1))


def with_stable_cleanlab(y: Labels, p: Probabilities) -> Mask:
    """Return what it flags if its sorts are stable."""
    with (
        mock.patch("cleanlab.filter.np", StableNumpy()),
        mock.patch("cleanlab.internal.util.np", StableNumpy()),
    ):
        return with_cleanlab(y, p)


def compiled(y: Labels, p: Probabilities) -> Mask:
    """Return what the same rule in batches flags, with the fastest loops there are."""
    return find_label_issues(y, p, rule=RULE)


def plain(y: Labels, p: Probabilities) -> Mask:
    """Return the same with the loops that need numpy alone."""
    with ExitStack() as stack:
        for module in (learning, rule):
            stack.enter_context(mock.patch.object(module, "kernels", numpy_kernels))
        return find_label_issues(y, p, rule=RULE)


def sweeps(_: Labels, p: Probabilities) -> Mask:
    """Read all probabilities twice."""
    p.max()
    p.max()
    return np.empty(0, dtype=bool)


def warm_up() -> None:
    """Compile and import everything that the measured calls need."""
    for dtype in ("f4", "f8"):
        y, p = made(2_000, 5, dtype)
        for way in (with_cleanlab, compiled, plain):
            way(y, p)


def speed(rows: int, classes: int, rounds: int) -> None:
    """Time all ways in turn, compare their rows, and print a line."""
    y, p = made(rows, classes, "f4")
    ways: tuple[Callable[[Labels, Probabilities], Mask], ...]
    ways = (with_cleanlab, compiled, plain, sweeps)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    masks = {}
    for _ in range(rounds):
        for way in ways:
            started = time.process_time()
            masks[way.__name__] = way(y, p)
            seconds[way.__name__].append(time.process_time() - started)
    peer, fast, slow, twice = (statistics.median(seconds[way.__name__]) for way in ways)
    ours = masks["compiled"]
    assert (ours == masks["plain"]).all(), "the loops disagree"
    differ = int((ours != masks["with_cleanlab"]).sum())
    stable = int((ours != with_stable_cleanlab(y, p)).sum())
    print(
        f"{rows:>9,} x {classes:<4} {peer:8.3f} {fast:8.3f} {slow:8.3f} {peer / fast:8.1f}x"
        f" {peer / slow:8.1f}x {fast / twice:9.1f}x {int(ours.sum()):>9,} {differ:>9} {stable:>9}",
        flush=True,
    )


def write(folder: Path, rows: int, classes: int) -> None:
    """Write probabilities (float64) and labels to files, without holding them."""
    shape = (rows, classes)
    p = np.lib.format.open_memmap(folder / "p.npy", mode="w+", dtype=np.float64, shape=shape)
    y = np.empty(rows, dtype=np.int64)
    fill(p, y, seed=rows + classes)
    p.flush()
    np.save(folder / "y.npy", y)


def memory_of(what: str) -> float:
    """Return a line of this process's status in MB: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what + ":"))


def measured(way: str, folder: Path, *, traced: bool) -> dict[str, float]:
    """Call one way once, and return its memory in MB."""
    warm_up()
    (folder / "small").mkdir()
    write(folder / "small", 2_000, 5)
    from_files(folder / "small")
    y = np.load(folder / "y.npy")
    p = np.load(folder / "p.npy", mmap_mode="r")
    gc.collect()
    if traced:
        tracemalloc.start()
    before = memory_of("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the mark so far is that of the imports
    if way == "read":
        from_files(folder)
    elif way == "spilling":
        find_label_issues(y, p, rule=RULE, folder=folder)
    else:
        {"cleanlab": with_cleanlab, "mapped": compiled}[way](y, p)
    if not traced:
        return {"process": memory_of("VmHWM") - before}
    gc.collect()
    kept, high = tracemalloc.get_traced_memory()
    return {"kept": kept / MEGABYTE, "allocated": high / MEGABYTE}


def from_files(folder: Path) -> None:
    """Scan files as the command line does, scores written to a file."""
    samples = open_samples(str(folder / "y.npy"), [str(folder / "p.npy")], folder)
    scan_labels(samples, folder / "scores.parquet", rule=RULE)


def memory(rows: int, classes: int) -> None:
    """Print what each way takes, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), rows, classes)
        size = (Path(name) / "p.npy").stat().st_size / MEGABYTE
        for way, label in MEMORY_WAYS.items():
            found: dict[str, float] = {}
            for traced in (False, True):
                with tempfile.TemporaryDirectory() as place:
                    for file in ("p.npy", "y.npy"):
                        (Path(place) / file).symlink_to(Path(name) / file)
                    command = [sys.executable, __file__, "--child", way, place]
                    command += ["--traced"] if traced else []
                    output = subprocess.run(command, check=True, capture_output=True, text=True)
                    found |= json.loads(output.stdout)
            print(
                f"{rows:>9,} x {classes:<4} {label:<20} {found['process']:9.0f}"
                f" {found['allocated']:9.0f} {found['allocated'] / size:9.2f}x"
                f" {found['kept']:9.0f}",
                flush=True,
            )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way (3)")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.child:
        way, folder = args.child
        print(json.dumps(measured(way, Path(folder), traced=args.traced)))
        return 0
    rows = 100_000 if args.quick else 1_000_000
    warm_up()
    loops = "numba" if type(kernels()) is not type(numpy_kernels()) else "numpy (no numba here)"
    print(f"CPU seconds, median of {args.rounds}, float32; fastest loops: {loops}")
    print(
        f"{'rows x classes':>16} {'cleanlab':>8} {'fastest':>8} {'numpy':>8} {'ratio':>9}"
        f" {'ratio':>9} {'of sweeps':>10} {'flagged':>9} {'differ':>9} {'stable':>9}"
    )
    for classes in (10, 100):
        speed(rows, classes, args.rounds)
    print("differ, stable: rows flagged otherwise than by cleanlab, as it is and with stable sorts")
    print("\nMB above the start of the call, float64 in a mapped file")
    print(
        f"{'rows x classes':>16} {'':<20} {'process':>9} {'allocated':>9} {'of data':>10}"
        f" {'kept':>9}"
    )
    for count in (rows, 2 * rows):
        memory(count, 100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
