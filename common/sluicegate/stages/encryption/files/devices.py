"""Block devices: is dm-crypt somewhere below?

Every device below must be encrypted, whichever way they are put together. Sources: Linux
``Documentation/ABI/testing/sysfs-block*``; libcryptsetup's UUID prefixes; ``ioctl_fs(2)``.
"""

from __future__ import annotations

import array
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

__all__ = ["Answer", "Told", "device", "encrypted_inode", "swap_device"]

_CRYPT: Final = tuple(
    f"CRYPT-{kind}-" for kind in ("LUKS1", "LUKS2", "PLAIN", "TCRYPT", "BITLK", "FVAULT2")
)
"""UUIDs of mappings that encrypt. ``CRYPT-VERITY`` and ``CRYPT-INTEGRITY`` only check."""
_DEEPEST: Final = 12
_MOST: Final = 4096
"""Devices looked at below one volume."""

_GET_FLAGS: Final = 0x80086601
"""``FS_IOC_GETFLAGS`` on machines with longs of 64 bits (``include/uapi/linux/fs.h``)."""
_ENCRYPTED: Final = 0x800
"""``FS_ENCRYPT_FL``: fscrypt encrypts this file or folder."""


class Told(StrEnum):
    """What the system says."""

    ENCRYPTED = "encrypted"
    CLEAR = "in clear"
    UNKNOWN = "cannot be told"
    BACKED = "backed by a file"
    """A loop device: the reason is the path of its file."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found out about one volume."""

    told: Told
    reason: str


def device(number: str, source: str, root: Path) -> Answer:
    """Say whether a mounted block device is encrypted.

    Args:
        number: ``major:minor`` of the file system.
        source: what was mounted, ``/dev/mapper/data``; used where the number is not a device's
            (Btrfs).
        root: the ``sys`` folder.
    """
    node = root / "dev" / "block" / number
    if not node.exists():
        return _many(source, root)
    return _judge(node)


def swap_device(name: str, root: Path) -> Answer:
    """Say whether a swap device is encrypted, or in memory; by its name, ``dm-1``."""
    node = root / "class" / "block" / name
    if name.startswith("zram"):
        backing = _text(node / "backing_dev")
        if backing in ("", "none"):
            return Answer(Told.ENCRYPTED, "compressed memory")
        return swap_device(Path(backing).name, root)
    return _judge(node) if node.exists() else _missing()


def encrypted_inode(path: str) -> bool | None:
    """Return whether fscrypt encrypts a file or folder; None where that cannot be asked."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    import fcntl

    flags = array.array("l", [0])
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return bool(flags[0] & _ENCRYPTED)


def _many(source: str, root: Path) -> Answer:
    """Judge a file system over several devices (Btrfs) by one of them."""
    name = _name(source, root)
    if name is None:
        return _missing()
    folders = (one / "devices" for one in _listed(root / "fs" / "btrfs"))
    members = next((found for one in folders if name in (found := _names(one))), [name])
    answers = [_judge(root / "class" / "block" / member) for member in members]
    return next((one for one in answers if one.told is not Told.ENCRYPTED), answers[0])


def _name(source: str, root: Path) -> str | None:
    if not source.startswith("/dev/"):
        return None
    name = Path(source).name
    if source.startswith("/dev/mapper/"):
        for one in _listed(root / "class" / "block"):
            if _text(one / "dm" / "name") == name:
                return one.name
    return name if (root / "class" / "block" / name).exists() else None


def _judge(node: Path) -> Answer:
    seen: set[Path] = set()
    leaves = list(_leaves(node.resolve(), seen, 0))
    if not leaves or len(seen) > _MOST:
        return _missing()
    if all(one.told is Told.ENCRYPTED for one in leaves):
        return leaves[0]
    if len(leaves) == 1:
        return leaves[0]
    unknown = (one for one in leaves if one.told is Told.UNKNOWN)
    return next(unknown, Answer(Told.UNKNOWN, "several devices below are files"))


def _leaves(node: Path, seen: set[Path], depth: int) -> Iterator[Answer]:
    """Go down to dm-crypt, or to what has nothing below."""
    if node in seen or len(seen) > _MOST:
        return
    seen.add(node)
    if _text(node / "dm" / "uuid").startswith(_CRYPT):
        yield Answer(Told.ENCRYPTED, "dm-crypt encrypts the device")
        return
    if (node / "partition").exists():
        yield from _leaves(node.parent, seen, depth)
        return
    if backing := _text(node / "loop" / "backing_file"):
        yield Answer(Told.BACKED, backing)
        return
    below = [one.resolve() for one in _listed(node / "slaves")]
    if depth > _DEEPEST or not below:
        yield Answer(
            Told.UNKNOWN,
            "this system does not encrypt the device; whether the disk itself or the provider "
            "of the machine does is not told here",
        )
        return
    for one in below:
        yield from _leaves(one, seen, depth + 1)


def _missing() -> Answer:
    return Answer(Told.UNKNOWN, "the block device below is not visible from here")


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:_MOST]
    except OSError:
        return []


def _names(folder: Path) -> list[str]:
    return [one.name for one in _listed(folder)]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            return source.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""
