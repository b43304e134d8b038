"""A small world of ledger writers: processes that append, and are killed while they do.

Run as a script, it starts writers, kills them at random moments, starts them again, and
prints as JSON how often it did so, and every checkpoint that it saw meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.ledger import folder_writer
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.note import NoteSigner, SignedCheckpoint

ORIGIN = "ledger.example/tests"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BATCH = 8


def open_ledger(folder):
    return FolderLedger(folder, origin=ORIGIN, signer=SIGNER)


def entry_of(writer, number, life):
    return f"{writer} {number} {life} ".encode() + b"x" * (number * 37 % 3000)


def write(folder, writer, start, count, life, seed):
    """Append in batches, and say after each what was acknowledged."""
    chance, ledger, number = random.Random(seed), open_ledger(folder / "ledger"), start
    acks = os.open(folder / f"acks-{writer}-{life}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while number < count:
        batch = range(number, min(number + chance.choice([1, 1, 2, BATCH]), count))
        indices = ledger.append_many([entry_of(writer, at, life) for at in batch])
        lines = [
            f"{index} {writer} {at} {life}\n" for index, at in zip(indices, batch, strict=True)
        ]
        os.write(acks, "".join(lines).encode())
        number = batch.stop


def acknowledged(folder):
    """Return ``{index: (writer, number, life)}`` of all that was acknowledged."""
    found = {}
    for path in folder.glob("acks-*"):
        for line in path.read_text().splitlines():
            index, *key = map(int, line.split())
            assert index not in found, f"entry {index} was promised twice"
            found[index] = tuple(key)
    return found


def fork(act):
    child = os.fork()
    if child:
        return child
    try:
        act()
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def next_number(folder, writer):
    done = [number for who, number, _ in acknowledged(folder).values() if who == writer]
    return max(done, default=-1) + 1


def main(folder, writers, count, kills, seed):
    folder_writer._JOURNAL_ENTRIES = 512  # more rotations
    chance, lives, killed, seen = random.Random(seed), dict.fromkeys(range(writers), 0), 0, {}
    alive = {}

    def start(writer):
        lives[writer] += 1
        first, life = next_number(folder, writer), lives[writer]
        seed = chance.random()
        alive[fork(lambda: write(folder, writer, first, count, life, seed))] = writer

    for writer in range(writers):
        start(writer)
    begun, until = time.monotonic(), 0.0
    spread = count * writers / 1600 / kills  # about as long as all the appends take
    while alive:
        time.sleep(0.002)
        if (folder / "ledger" / "checkpoint").exists():
            note = (folder / "ledger" / "checkpoint").read_text()
            seen.setdefault(SignedCheckpoint.parse(note.encode()).checkpoint.size, note)
        if killed < kills and time.monotonic() - begun > until:
            until += chance.random() * 2 * spread
            os.kill(chance.choice(list(alive)), signal.SIGKILL)
            killed += 1
        while alive and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            child, status = ended
            writer = alive.pop(child)
            if os.WIFSIGNALED(status):
                start(writer)
            elif os.WEXITSTATUS(status):
                sys.exit("a writer failed")
    print(json.dumps({"kills": killed, "batch": BATCH, "checkpoints": list(seen.values())}))


STEPS = (
    (os, "pwrite"), (os, "replace"), (os, "fsync"), (os, "fdatasync"), (os, "ftruncate"),
    (os, "fchmod"), (Path, "unlink"), (Path, "mkdir"), (Path, "replace"), (shutil, "rmtree"),
)  # fmt: skip


def die_at_step(folder, entries, step, *, half):
    """Append in a child that dies before its ``step``-th change of the disk.

    With ``half``, a write of that number goes half the way first. Returns the index if the
    child got through, else None.
    """
    count = [0]

    def dying(real, name):
        def call(*args, **kwargs):
            if count[0] == step:
                if half and name == "pwrite":
                    real(args[0], args[1][: len(args[1]) // 2], args[2])
                os._exit(77)
            count[0] += 1
            return real(*args, **kwargs)

        return call

    def act():
        for owner, name in STEPS:
            setattr(owner, name, dying(getattr(owner, name), name))
        open_ledger(folder).append_many(entries)

    _, status = os.waitpid(fork(act), 0)
    code = os.WEXITSTATUS(status)
    assert code in (0, 77), code
    return True if code == 0 else None


def unsynced(folder, *, checkpoint):
    """Return the files of a ledger that were never synced, by what it promises to sync."""
    journal = (folder / "journal").read_bytes()
    base = int.from_bytes(journal[4:12], "little")
    names = []
    for path in sorted((folder / "tile").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            continue
        _, level, index = name.split(".p")[0].split("/", 2)
        partial = ".p/" in name
        height = 0 if level == "entries" else int(level)
        end = int(index.replace("x", "").replace("/", "")) + 1
        synced = end << 8 * (height + 1) <= base
        if partial and height:
            width = int(name.split(".p/")[1])
            synced = ((end - 1 << 8) + width) << 8 * height <= base
        if not synced:
            names.append(name)
    return [*names, "checkpoint"] if checkpoint else names


if __name__ == "__main__":
    where, *numbers = sys.argv[1:]
    main(Path(where), *map(int, numbers))
