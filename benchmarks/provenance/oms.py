"""Sign and verify a folder of many small files: sluicegate next to model_signing.

Both sign and verify the same folder with the same key in one process, turn by turn. CPU
seconds count all threads of the process; the ratio is what carries over to other machines.

    python benchmarks/provenance/oms.py [FILES] [BYTES_EACH]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying

from sluicegate.receipts.keys import FileSigner
from sluicegate.receipts.oms import KeyTrust, sign, verify

ROUNDS = 3


def fill(folder: Path, files: int, size: int) -> None:
    for number in range(files):
        path = folder / f"shard-{number // 256:03d}" / f"file-{number:06d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def timed(action) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = work / "model"
        fill(model, files, size)
        key = ec.generate_private_key(ec.SECP256R1())
        (work / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        signer = FileSigner(key)
        (work / "key.pub").write_bytes(signer.public_key.pem)
        trust = KeyTrust((signer.public_key.pem,))
        every = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
        theirs = signing.Config().use_elliptic_key_signer(private_key=work / "key.pem")
        theirs.set_hashing_config(every)
        checker = verifying.Config().use_elliptic_key_verifier(public_key=work / "key.pub")
        ours_sig, theirs_sig = work / "ours.sig", work / "theirs.sig"
        actions = {
            "sign, sluicegate": lambda: ours_sig.write_bytes(sign(model, signer)),
            "sign, model_signing": lambda: theirs.sign(model, theirs_sig),
            "verify, sluicegate": lambda: verify(model, ours_sig.read_bytes(), trust),
            "verify, model_signing": lambda: checker.verify(model, theirs_sig),
            "verify theirs, sluicegate": lambda: verify(model, theirs_sig.read_bytes(), trust),
        }
        best = dict.fromkeys(actions, float("inf"))
        for _ in range(ROUNDS):
            for what, action in actions.items():
                best[what] = min(best[what], timed(action))
        print(f"{files} files of {size} bytes, CPU seconds, best of {ROUNDS}")
        for what, seconds in best.items():
            print(f"  {what:<28} {seconds:8.3f}")
        ours = best["sign, sluicegate"] + best["verify, sluicegate"]
        other = best["sign, model_signing"] + best["verify, model_signing"]
        print(f"  sign + verify: {other / ours:.1f}x less CPU than model_signing")
        print(f"  bundle: {ours_sig.stat().st_size} bytes, theirs {theirs_sig.stat().st_size}")


if __name__ == "__main__":
    main()
