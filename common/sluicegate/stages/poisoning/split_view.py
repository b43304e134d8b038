"""Content that is not what its publisher hashed: found with certainty.

A data set that is a list of addresses shows different content to whoever builds it and to
whoever downloads it later. Published hashes close that gap: a file or a cell that does not
have its published hash was changed, and no model has to guess.

Source: Carlini et al. 2024, "Poisoning Web-Scale Training Datasets is Practical",
arXiv:2302.10149 (split-view poisoning, and hashes as the defence).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError, ReceiptError
from sluicegate.model import Check, Finding
from sluicegate.receipts.published import read_checksums
from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    from sluicegate.storage.manifest import Manifest

__all__ = ["SPLIT_VIEW", "changed_cells", "changed_files", "read_published"]

SPLIT_VIEW: Final = "poisoning.split_view"

_HASH: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


def read_published(content: bytes) -> dict[str, str]:
    """Read published hashes: a checksum file, as ``sha256sum`` writes it.

    Returns:
        The hash in lower case by path; a leading ``./`` is dropped.

    Raises:
        ConfigurationError: not a checksum file, or a path without one SHA-256.
    """
    try:
        published = read_checksums(content)
    except ReceiptError as error:
        raise ConfigurationError(
            f"published hashes: {error.what}",
            next_step=error.next_step or "write them with: sha256sum FILE… > SHA256SUMS",
        ) from error
    if published.weak:
        raise ConfigurationError(
            f"published hashes: {min(published.weak)!a} has no SHA-256",
            next_step="write them with: sha256sum FILE… > SHA256SUMS",
        )
    return {path: file.sha256.hex for path, file in published.files.items()}


def changed_files(manifest: Manifest, published: dict[str, str]) -> Check:
    """Compare the files of a snapshot with published hashes.

    Every file must be listed and every listed file must be there: what nobody published is
    as foreign as what was changed, and what is missing changes the data, too.
    """
    found = {file.path: file.sha256.hex for file in manifest.files}
    changed = sorted(path for path in found if published.get(path, found[path]) != found[path])
    added = sorted(found.keys() - published.keys())
    missing = sorted(published.keys() - found.keys())
    findings = [
        Finding(
            message=f"{path} is not what was published",
            files=(path,),
            evidence={"published": published[path], "found": found[path]},
        )
        for path in changed
    ]
    if added:
        findings.append(
            Finding(message=f"{len(added)} files were never published", files=tuple(added))
        )
    if missing:
        findings.append(
            Finding(
                message=f"{len(missing)} published files are missing",
                evidence={"files": list(missing[:100])},
            )
        )
    if findings:
        return Check.failed(SPLIT_VIEW, findings, target="files")
    return Check.passed(SPLIT_VIEW, target="files")


def changed_cells(contents: Sequence[Any], hashes: Sequence[Any]) -> Channel:
    """Compare cells with the SHA-256 that their rows carry.

    Args:
        contents: text (hashed as UTF-8) or bytes, one for each row.
        hashes: SHA-256 in hex, with or without ``sha256:``, one for each row.

    Returns:
        Scores are 1 where content and hash differ, or one of them is none.
    """
    import numpy as np

    verdicts = [_differs(content, stated) for content, stated in zip(contents, hashes, strict=True)]
    codes = np.array([0 if one is None else 1 for one in verdicts], dtype=np.int64)
    groups = []
    for reason in sorted({one for one in verdicts if one}):
        rows = np.array([at for at, one in enumerate(verdicts) if one == reason], dtype=np.int64)
        groups.append(
            Group(
                message=f"{len(rows)} rows: {reason}",
                rows=rows,
                evidence={"reason": reason, "count": len(rows)},
            )
        )
    return Channel(
        id=SPLIT_VIEW,
        scores=codes.astype(np.float64),
        p_values=np.full(len(codes), np.nan),
        groups=tuple(groups),
    )


def _differs(content: Any, stated: Any) -> str | None:
    known = _HASH.fullmatch(stated) if isinstance(stated, str) else None
    if known is None:
        return "the row states no SHA-256"
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    if not isinstance(content, bytes):
        return "the row has no content to hash"
    if hashlib.sha256(content).hexdigest() != known[1].lower():
        return "the content does not have the stated SHA-256"
    return None
