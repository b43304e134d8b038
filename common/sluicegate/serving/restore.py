"""Bring a version back from the vault: every byte verified, all of it or nothing.

Files are written into a new folder beside the target, which takes the target's name once it
is whole. A restore that fails removes it; one that is killed leaves a folder whose name
begins with ``.sluicegate-restore-``, and nothing at the target.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.clearance import PolicySource
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    SubjectChangedError,
    SubjectError,
)
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.serving.current import current, recall
from sluicegate.serving.history import read_history
from sluicegate.serving.meaning import find_version
from sluicegate.signing import open_evidence
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.local import fsync_directory
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import Vault, check_name, open_vault
from sluicegate.storage.vault_base import in_order
from sluicegate.testimony import LedgerRecords

__all__ = ["restore"]

_PREFIX: Final = ".sluicegate-restore-"


def restore(
    model: str,
    target: str | os.PathLike[str],
    policy: PolicySource = None,
    *,
    version: str | None = None,
    vault: str | None = None,
    seen: str | os.PathLike[str] | None = None,
    max_age: timedelta | None = None,
    purpose: str | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Copy a version of a model out of the vault and verify it.

    Args:
        model: name of the model.
        target: folder to make; it must not exist, or be empty. Readable by its owner only.
        policy: the consumer's own policy.
        version: which version; by default the one that serves. Another one is identified by
            the head or back-up receipt that names it, and need not serve.
        vault: the vault, if it is another one (a copy) than the receipts name.
        seen: as for :func:`~sluicegate.serving.current.current`.
        max_age: as for :func:`~sluicegate.serving.current.current`; only without ``version``.
        purpose: as for :func:`~sluicegate.serving.current.current`; only without ``version``.
        progress: told how many bytes are done.

    Returns:
        The folder.

    Raises:
        ClearanceRefused: no version may be served, or the vault does not hold its bytes.
        ConfigurationError: the target is not free, or the options contradict each other.
        SluicegateError: could not tell, or not written.
    """
    folder = _free(Path(target))
    rules = load_policy(policy)
    if version is None:
        served = current(model, rules, vault=vault, seen=seen, max_age=max_age, purpose=purpose)
        digest, place, name = served.subject.digest, served.vault, served.version
    else:
        if max_age is not None or purpose is not None:
            raise ConfigurationError(
                "max_age and purpose are about the version that serves, not about a named one",
                next_step="restore it, then verify the folder for its purpose",
            )
        digest, place = _identify(rules, model, version, seen)
        name = version
    store = open_vault(vault) if vault else open_vault(place)
    try:
        manifest = store.manifest(model, name, digest)
        _fill(store, manifest, folder, progress)
    except SubjectChangedError as error:
        raise ClearanceRefused(error.what, next_step=error.next_step) from error
    return folder


def _identify(
    rules: Policy, model: str, version: str, seen: str | os.PathLike[str] | None
) -> tuple[Digest, SubjectUri]:
    """Return what a version's name means, by its head or its back-up receipt."""
    check_name("model", model)
    check_name("version", version)
    evidence = open_evidence(rules)
    records = LedgerRecords(evidence, rules, datetime.now(UTC))
    history = read_history(records, model)
    recall(rules, history, seen)
    meant = find_version(records, evidence, history, version)
    return meant.subject.digest, meant.vault


def _free(folder: Path) -> Path:
    """Return a folder that can be made.

    Raises:
        ConfigurationError: a link or something else is there, or the folder holds something.
    """
    where = folder.absolute()
    if where.is_symlink() or (where.exists() and not where.is_dir()):
        raise ConfigurationError(
            f"{where} is a link or a file", next_step="name a folder that does not exist yet"
        )
    if where.exists() and any(where.iterdir()):
        raise ConfigurationError(
            f"{where} is not empty", next_step="restore into a new folder of your own"
        )
    return where


def _fill(vault: Vault, manifest: Manifest, folder: Path, progress: Progress) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder.parent))
    except OSError as error:
        raise _failed(folder, error) from error
    try:
        done = 0
        for size in in_order(
            lambda record: _copy(vault, record, aside),
            manifest.files,
            threads=vault.shelf.threads,
        ):
            done += size
            progress("restoring", done, manifest.size)
        # Takes the place of an empty folder only: not of a link, a file or a full one.
        aside.rename(folder)
        fsync_directory(folder.parent)
    except OSError as error:
        raise _failed(folder, error) from error
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def _copy(vault: Vault, record: FileRecord, folder: Path) -> int:
    path = folder.joinpath(*record.path.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "w+b") as out:
        vault.copy_blob(record, out)
        out.flush()
        os.fsync(out.fileno())
    return record.size


def _failed(folder: Path, error: OSError) -> SubjectError:
    return SubjectError(
        f"cannot restore to {folder}: {error.strerror}",
        next_step="check permissions and free space; nothing was left there",
    )
