"""What a manifest costs: built and signed, its root, read back, and the memory it takes.

Every measurement runs in a fresh process, so that the peak of its memory is its own. The
contestants take turns. model_signing signs a list of all files; sluicegate signs a statement
that holds the manifest's digests.

    python benchmarks/provenance/manifest.py [--rounds 5] [--files 200000]

Needs ``pip install model-signing pyopenssl`` for the comparison with it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

LEAVES = 1_000_000


def records(count: int) -> Iterator[object]:
    from sluicegate.canonical import Digest
    from sluicegate.storage.manifest import FileRecord

    for at in range(count):
        digest = Digest(f"{at:064x}")
        yield FileRecord(path=f"train/part-{at:08d}.parquet", size=at, sha256=digest)


def ours(count: int, root: Path) -> Callable[[], object]:
    from sluicegate.canonical import canonical_json
    from sluicegate.receipts.bundle import seal
    from sluicegate.receipts.keys import new_key_pair
    from sluicegate.storage.manifest import Manifest

    given = list(records(count))
    signer = new_key_pair(root / "key", root / "key.pub")
    return lambda: seal(canonical_json(Manifest.of(given).summary()), signer)  # type: ignore[arg-type]


def model_signing(count: int, root: Path) -> Callable[[], object]:
    from pathlib import PurePosixPath

    from model_signing import manifest
    from model_signing._hashing.hashing import Digest
    from model_signing._signing.sign_ec_key import Signer
    from model_signing._signing.signing import Payload

    from sluicegate.receipts.keys import new_key_pair

    new_key_pair(root / "key", root / "key.pub")
    signer = Signer(root / "key")
    given = [
        manifest.FileManifestItem(
            path=PurePosixPath(f"train/part-{at:08d}.parquet"),
            digest=Digest("sha256", at.to_bytes(32, "big")),
        )
        for at in range(count)
    ]
    kind = manifest._FileSerialization("sha256")  # noqa: SLF001

    def act() -> object:
        signed = signer.sign(Payload(manifest.Manifest("m", given, kind)))
        signed.write(root / "m.sig")
        return signed

    return act


def root_of_leaves(count: int, root: Path) -> Callable[[], object]:
    from sluicegate.merkle import merkle_root

    del root
    leaves = [at.to_bytes(32, "big") for at in range(count)]
    return lambda: merkle_root(leaves)


def streamed(count: int, root: Path) -> Callable[[], object]:
    from sluicegate.storage.manifest import Manifest

    del root
    return lambda: Manifest.of(records(count))  # type: ignore[arg-type]


def parsed(count: int, root: Path) -> Callable[[], object]:
    from sluicegate.storage.manifest import Manifest

    path = root / "m.ndjson"
    path.write_bytes(Manifest.of(records(count)).ndjson())  # type: ignore[arg-type]

    def act() -> object:
        with path.open("rb") as source:
            return Manifest.parse(source)

    return act


CONTESTANTS = {
    "ours": ours,
    "model_signing": model_signing,
    "root": root_of_leaves,
    "streamed": streamed,
    "parsed": parsed,
}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        act = CONTESTANTS[name](count, Path(root))
        start = time.process_time()
        act()
        print(time.process_time() - start, peak_mb())


def ask(name: str, count: int) -> tuple[float, float]:
    answer = subprocess.run(
        [sys.executable, __file__, "--measure", name, "--files", str(count)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return float(answer[0]), float(answer[1])


def tell(what: str, spent: list[tuple[float, float]], goal: str) -> None:
    cpu = [one[0] for one in spent]
    print(
        f"{what}: {median(cpu):.2f} CPU-s (best {min(cpu):.2f}), "
        f"peak {max(one[1] for one in spent):.0f} MB; goal {goal}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--measure", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.files)
        return
    compared = find_spec("model_signing") is not None
    a, b = [], []
    for _ in range(options.rounds):
        a.append(ask("ours", options.files))
        if compared:
            b.append(ask("model_signing", options.files))
    tell(f"{options.files} records built and signed", a, "0.6 CPU-s, 200 MB")
    if compared:
        tell("  the same by model_signing", b, "-")
        ratio = median(y[0] / x[0] for x, y in zip(a, b, strict=True))
        print(f"  ratio {ratio:.1f}")
    for what, name, goal in (
        (f"root of {LEAVES} leaves", "root", "1.5 CPU-s"),
        (f"{LEAVES} records streamed, made on the way", "streamed", "300 MB"),
        (f"{LEAVES} records read back", "parsed", "-"),
    ):
        tell(what, [ask(name, LEAVES) for _ in range(min(options.rounds, 3))], goal)


if __name__ == "__main__":
    main()
