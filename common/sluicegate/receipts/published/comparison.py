"""What of a subject a publisher vouches for, file by file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sluicegate.canonical import Json
from sluicegate.receipts.published.model import Published
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.snapshot import Snapshot

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every name of subject and list, in exactly one of five groups, each sorted."""

    matching: tuple[str, ...]
    """The bytes that the publisher vouches for."""
    changed: tuple[str, ...]
    """Other bytes than those."""
    missing: tuple[str, ...]
    """Listed, and not in the subject."""
    unlisted: tuple[str, ...]
    """In the subject, and not listed."""
    weak: tuple[str, ...]
    """Listed without a digest that counts, whether in the subject or not."""

    @property
    def vouched(self) -> bool:
        """Whether there are files and the publisher vouches for each, and none is missing."""
        others = (self.changed, self.missing, self.unlisted, self.weak)
        return bool(self.matching) and not any(others)

    def to_json(self) -> dict[str, Json]:
        """Return the groups as lists of names."""
        groups = ("matching", "changed", "missing", "unlisted", "weak")
        return {group: list(getattr(self, group)) for group in groups}


def compare(
    subject: Snapshot | Manifest, published: Published, *, lists: Collection[str] = ()
) -> Comparison:
    """Compare the files of a subject with a publisher's list.

    Args:
        subject: what was fetched.
        published: what its publisher vouches for.
        lists: paths in the subject of the list itself and its signature, which no list can
            hold; they are left out unless the list does name them.
    """
    manifest = subject.manifest if isinstance(subject, Snapshot) else subject
    groups: dict[str, list[str]] = {name: [] for name in ("matching", "changed", "unlisted")}
    weak, seen = set(published.weak), set[str]()
    for path, size, digest in manifest.files.rows():
        seen.add(path)
        listed = published.files.get(path)
        if listed is not None:
            same = digest == listed.sha256.hex and listed.size in (None, size)
            groups["matching" if same else "changed"].append(path)
        elif path not in weak and path not in lists:
            groups["unlisted"].append(path)
    return Comparison(
        matching=tuple(groups["matching"]),
        changed=tuple(groups["changed"]),
        missing=tuple(sorted(path for path in published.files if path not in seen)),
        unlisted=tuple(groups["unlisted"]),
        weak=tuple(sorted(weak)),
    )
