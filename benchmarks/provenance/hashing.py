"""What hashing a subject costs, beside hashlib, model_signing and a second look with a cache.

All contestants take turns within one process, over the same files, which were read once
before. CPU seconds of the process are compared; the median of the rounds' ratios is printed,
because a busy machine disturbs single rounds.

    python benchmarks/provenance/hashing.py [--rounds 5] [--files 20000] [--bytes 4096 65536]
                                            [--large 1073741824]

Needs ``pip install model-signing pyopenssl`` for the comparison with it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from sluicegate.storage.hash_cache import HashCache
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

Contest = dict[str, Callable[[], object]]


def cpu_seconds(act: Callable[[], object]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


def play(contest: Contest, rounds: int) -> dict[str, list[float]]:
    """Let all take turns, in an order that alternates."""
    spent: dict[str, list[float]] = {name: [] for name in contest}
    for number in range(rounds):
        names = list(contest) if number % 2 == 0 else list(contest)[::-1]
        for name in names:
            spent[name].append(cpu_seconds(contest[name]))
    return spent


def tell(spent: dict[str, list[float]], ours: str, other: str, goal: float) -> None:
    ratios = [b / a for a, b in zip(spent[ours], spent[other], strict=True)]
    print(
        f"  {other} / {ours}: {median(ratios):.2f} (goal {goal}), "
        f"CPU-s {median(spent[other]):.3f} / {median(spent[ours]):.3f}"
    )


def model_signing_hasher(folder: Path) -> Callable[[], object] | None:
    try:
        from model_signing import hashing
    except ImportError:
        print("  model_signing is not installed: not compared")
        return None
    config = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    return lambda: config.hash(folder)


def file_digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def large(root: Path, size: int, rounds: int) -> None:
    path = root / "large.bin"
    with path.open("wb") as out:
        for _ in range(size >> 20):
            out.write(os.urandom(1 << 20))
    print(f"one file of {size >> 20} MiB")
    subject = SubjectUri.parse(path)
    contest: Contest = {
        "sluicegate": lambda: take_snapshot(subject),
        "hashlib.file_digest": lambda: file_digest(path),
    }
    play(contest, 1)
    tell(play(contest, rounds), "sluicegate", "hashlib.file_digest", 0.95)
    path.unlink()


def several(root: Path, size: int, rounds: int) -> None:
    folder = root / "several"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.bin").write_bytes(os.urandom(size >> 3))
    print(f"eight files of {size >> 23} MiB: CPU-seconds for each second of the wall")
    subject = SubjectUri.parse(folder)
    for threads in (1, 2):
        used = []
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            take_snapshot(subject, threads=threads)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            used.append(cpu / wall)
        print(f"  {threads} thread(s): {max(used):.2f} cores at best, {median(used):.2f} median")
    shutil.rmtree(folder)


def small(root: Path, files: int, size: int, rounds: int) -> None:
    folder = root / "small"
    for number in range(files):
        path = folder / f"{number % 20:02}" / f"{number:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    time.sleep(2.1)  # what changed in the last two seconds is not remembered
    print(f"{files} files of {size} bytes")
    subject, cache = SubjectUri.parse(folder), HashCache(root / "cache")
    take_snapshot(subject, cache=cache)
    contest: Contest = {
        "cold": lambda: take_snapshot(subject),
        "warm": lambda: take_snapshot(subject, cache=cache),
    }
    if (other := model_signing_hasher(folder)) is not None:
        contest["model_signing"] = other
    play(contest, 1)
    spent = play(contest, rounds)
    if cache.use.known != files:
        raise SystemExit("the cache did not know the files: the comparison is void")
    if other is not None:
        tell(spent, "cold", "model_signing", 5)
    tell(spent, "warm", "cold", 15)
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, nargs="+", default=[1024, 16_384, 65_536])
    parser.add_argument("--large", type=int, default=1 << 30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        large(Path(root), options.large, options.rounds)
        several(Path(root), options.large, options.rounds)
        for size in options.bytes:
            small(Path(root), options.files, size, options.rounds)


if __name__ == "__main__":
    main()
