"""Which code a session ran: the commit of the working tree, and whether it was changed.

Git is asked, without hooks, file system monitors, optional locks or questions on the
terminal, and for seconds at most. Filters that the repository's own configuration names
(large file storage) do run, as with any ``git status``. Where there is no answer, that is
what is recorded.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sluicegate.canonical import Json

__all__ = ["describe_code", "without_credentials"]

_SECONDS: Final = 20.0
"""For one question to git; the status of a large tree takes a few."""
_OPTIONS: Final = (
    "--no-optional-locks",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.untrackedCache=false",
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def describe_code(folder: Path) -> dict[str, Json]:
    """Return commit, whether tracked or new files differ from it, and the remote.

    Never raises: the member ``absent`` says why there is no answer.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD^{commit}")
    if commit is None or not _COMMIT.fullmatch(commit):
        return {"absent": "no commit, no repository or no git"}
    # The exit code and not the names: those of files may be secrets, and may be many.
    status = _git(folder, "status", "--porcelain", "--ignore-submodules=dirty", "--no-renames")
    remote = _git(folder, "config", "--get", "remote.origin.url")
    return {
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "remote": without_credentials(remote) if remote else None,
    }


def without_credentials(remote: str) -> str:
    """Return a remote's URL without user, password, query and fragment."""
    if "://" in remote:
        try:
            parts = urlsplit(remote)
        except ValueError:
            return "(not a URL)"
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"[:500]
    before, colon, path = remote.partition(":")
    if colon and "/" not in before:  # the form of scp: user@host:path
        return f"{before.rpartition('@')[2]}:{path}"[:500]
    return remote[:500]


def _git(folder: Path, *question: str) -> str | None:
    """Return what git answers; None for no answer."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_", "SLUICEGATE"))
    }
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_PAGER": "cat", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *_OPTIONS, *question],  # noqa: S607  the user's own git
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
