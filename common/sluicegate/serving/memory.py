"""The newest head that a server saw, so that an older one is never served again.

A ledger that was cut short, or a copy of it from last week, is consistent in itself. Only
who remembers more can tell. The file holds one line a model and ledger; it never goes back.
A file that was deleted begins anew with whatever is seen first: keep it where whoever can
write the ledger cannot.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json, parse_json
from sluicegate.errors import ClearanceRefused, LedgerError
from sluicegate.policy.model import Policy
from sluicegate.serving.history import History
from sluicegate.storage.local import open_plain, write_atomically

__all__ = ["remember", "remembered_in"]

VARIABLE: Final = "SLUICEGATE_HEADS_SEEN"
_MAX_BYTES: Final = 4 << 20


def remembered_in(policy: Policy, named: str | os.PathLike[str] | None) -> Path | None:
    """Return the file to remember heads in: named, of the environment, or beside the ledger's.

    None if there is neither: then a ledger that was cut short is not seen.
    """
    if chosen := named or os.environ.get(VARIABLE):
        return Path(chosen)
    checkpoint = policy.ledger_settings.remember
    return checkpoint.with_name(f"{checkpoint.name}.heads.json") if checkpoint else None


def remember(path: Path, ledger: str, history: History) -> None:
    """Compare a history with what was seen before, then remember its newest head.

    Args:
        path: the file.
        ledger: which ledger it is, as text.
        history: the heads that it tells of.

    Raises:
        ClearanceRefused: the history ends earlier than what was seen, or is another one.
        LedgerError: the file cannot be read or written, or is damaged.
    """
    with _locked(path):
        seen = _read(path)
        key = f"{history.model} {ledger}"
        if key in seen:
            _compare(history, *seen[key])
        newest = history.newest
        if newest is not None and seen.get(key) != (history.epoch, newest.digest):
            seen[key] = (history.epoch, newest.digest)
            _write(path, seen)


def _compare(history: History, epoch: int, digest: Digest) -> None:
    at = history.epoch_at(epoch)
    if at is not None and at.digest == digest:
        return
    what = f"was seen at epoch {epoch} (receipt {digest.short})"
    if at is None:
        why = f"the ledger ends at epoch {history.epoch}: it was cut short, or is an old copy"
    else:
        why = f"the ledger has another head there, {at}: it is another history"
    raise ClearanceRefused(
        f"{history.model} {what}, and {why}",
        next_step="do not serve; compare the ledger with other copies of it",
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _failed("lock", path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read(path: Path) -> dict[str, tuple[int, Digest]]:
    try:
        with open_plain(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _failed("read", path, error) from error
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("too large")
        return {name: _seen(value) for name, value in parse_json(data).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LedgerError(
            f"what {path} remembers of heads is damaged",
            next_step="find out which version served last before you remove this file",
        ) from error


def _seen(value: Json) -> tuple[int, Digest]:
    epoch = value["epoch"]
    if type(epoch) is not int or epoch < 1:
        raise ValueError("an epoch is a number from 1")
    return epoch, Digest(value["receipt"])


def _write(path: Path, seen: dict[str, tuple[int, Digest]]) -> None:
    value: Json = {
        name: {"epoch": epoch, "receipt": digest.hex} for name, (epoch, digest) in seen.items()
    }
    try:
        write_atomically(path, canonical_json(value), mode=0o600)
    except OSError as error:
        raise _failed("write", path, error) from error


def _failed(verb: str, path: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"cannot {verb} {path}, which remembers heads: {error.strerror}",
        next_step="check the permissions of this worker",
    )
