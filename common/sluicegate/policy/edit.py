"""Change the keys of a policy file, and nothing else in it.

People keep policies in git, with comments. So a change is made in the text: lines are put in
where the parsed nodes say, and every line that was there stays as it was. Then the result is
read as a policy and compared with the one from before: it must differ in exactly the change
that was meant. Only then does it replace the file, at once and whole.

Where the file is written in a way that lines cannot be put into safely (flow style, odd line
ends, several documents), nothing is written: the error holds the lines to paste.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from sluicegate.errors import PolicyError
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy, TrustedKey
from sluicegate.policy.reader import near_miss, read_yaml
from sluicegate.policy.text import KeyEntry, PolicyText
from sluicegate.storage.local import write_atomically

__all__ = ["add_key", "edit_keys", "find_key", "revoke_key", "rotate_key"]

_LOCK_SECONDS: Final = 10
"""Longest wait for another edit, which takes a fraction of a second."""


def add_key(path: Path, entry: KeyEntry) -> bytes:
    """List a key in a policy file; return the file's new content.

    Raises:
        PolicyError: the name or the key is listed already, or the file cannot be edited safely.
        KeyFileError: the public key cannot be read.
    """
    return edit_keys(path, add=entry)


def revoke_key(path: Path, name: str, index: int) -> bytes:
    """Revoke a key from a ledger index on; return the file's new content.

    Raises:
        PolicyError: no such key, it is revoked already as early, or the file cannot be edited.
    """
    return edit_keys(path, revoke=name, at=index)


def rotate_key(path: Path, name: str, index: int, entry: KeyEntry) -> bytes:
    """List a new key and revoke the one that it follows, in one change.

    Raises:
        PolicyError: as :func:`add_key` and :func:`revoke_key` say.
        KeyFileError: the public key cannot be read.
    """
    return edit_keys(path, add=entry, revoke=name, at=index)


def edit_keys(
    path: Path, *, add: KeyEntry | None = None, revoke: str | None = None, at: int = 0
) -> bytes:
    """Add an entry, revoke another, or both at once; return the file's new content.

    Args:
        path: the policy file; a symbolic link is followed, and stays one.
        add: the entry to add.
        revoke: name of the key to revoke.
        at: ledger index from which on the revoked key counts for nothing.

    Raises:
        PolicyError: the change contradicts the policy, the file cannot be edited safely, or
            somebody else changed it meanwhile. The file is as it was.
        KeyFileError: the public key cannot be read.
    """
    path = path.resolve()
    with _alone(path.parent):
        old = load_policy(path)
        before = _read(path)
        text = PolicyText(path, before)
        keys = old.keys
        if revoke is not None:
            trusted = find_key(old, revoke)
            _check_earlier(old, trusted, at)
            text.revoke(keys.index(trusted), at)
            keys = tuple(replace(key, revoked_at=at) if key is trusted else key for key in keys)
        if add is not None:
            new = add.trusted(path.parent)
            _check_new(old, new)
            text.add(add)
            keys = (*keys, new)
        content = text.content()
        _prove(path, content, replace(old, keys=keys), text)
        if _read(path) != before:
            raise PolicyError(f"{path} was changed meanwhile", next_step="try again")
        _replace(path, content)
    return content


def find_key(policy: Policy, name: str) -> TrustedKey:
    """Return the one key of a policy that has a name.

    Raises:
        PolicyError: none has it, or several.
    """
    found = [key for key in policy.keys if key.name == name]
    if len(found) != 1:
        names = [key.name for key in policy.keys]
        raise PolicyError(
            f"{policy.source} lists {len(found)} keys named {name!r}{near_miss(name, names)}",
            next_step="names must be unique for this; edit the file by hand"
            if found
            else f"keys: {', '.join(names) or 'none'}",
        )
    return found[0]


def _check_earlier(policy: Policy, key: TrustedKey, at: int) -> None:
    """Refuse to move a revocation to a later entry: what is in between would count again."""
    if key.revoked_at is not None and key.revoked_at <= at:
        raise PolicyError(
            f"the key {key.name!r} was revoked at ledger entry {key.revoked_at} already",
            next_step=f"a revocation is never moved to a later entry; see {policy.source}",
        )


def _check_new(policy: Policy, new: TrustedKey) -> None:
    for key in policy.keys:
        if key.key.id == new.key.id:
            raise PolicyError(f"{policy.source} lists this key already, as {key.name!r}")
        if key.name == new.name:
            raise PolicyError(
                f"{policy.source} lists another key as {new.name!r}",
                next_step="choose another name",
            )


def _prove(path: Path, content: bytes, expected: Policy, text: PolicyText) -> None:
    """Return if the new content, read as a policy, says exactly what was meant.

    Raises:
        PolicyError: it does not.
    """
    # In the same folder, because relative paths start from there.
    try:
        with tempfile.NamedTemporaryFile(
            prefix=".sluicegate-", suffix=".yaml", dir=path.parent
        ) as trial:
            trial.write(content)
            trial.flush()
            found = replace(load_policy(trial.name), source=expected.source)
    except OSError as error:
        raise PolicyError(f"cannot write beside {path}: {error.strerror}") from error
    except PolicyError as error:
        raise PolicyError(
            f"{path} is unchanged: with this change it would be no policy: "
            f"{error.what.replace(trial.name, path.name)}",
            next_step=error.next_step,
        ) from error
    if found != expected:
        raise PolicyError(
            f"{path} is unchanged: its style cannot be edited safely", next_step=text.paste()
        )


def _read(path: Path) -> bytes:
    read_yaml(path)  # refuses what would expand or nest without end, before it is composed
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content, mode=path.stat().st_mode & 0o777)
    except OSError as error:
        raise PolicyError(
            f"cannot write the policy {path}: {error.strerror}", next_step="it is unchanged"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other edits of this folder's policies waiting."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PolicyError(f"cannot open {folder}: {error.strerror}") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK or time.monotonic() > deadline:
                raise PolicyError(
                    f"cannot lock {folder}: {error.strerror}",
                    next_step="somebody else edits a policy there; nothing was changed",
                ) from error
        time.sleep(0.01)
