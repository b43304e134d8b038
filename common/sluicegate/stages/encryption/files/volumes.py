"""Is the volume under a local path encrypted, as far as this system tells?

Linux says what lies under a path: the mount, its block device, and through device-mapper's
UUIDs whether dm-crypt is between (LUKS, plain, BitLocker, VeraCrypt), also below LVM, RAID,
partitions and loop devices. What encrypts *below* the system (a self-encrypting disk, a cloud
provider's volume, the host of a container) cannot be seen from inside: there the answer is that
it cannot be told, never that all is well. The UUID does not name the cipher: the null cipher of
``cryptsetup`` cannot be told from a real one without being root. The kernel of this machine is
believed; whoever controls it can read the data anyway.

Sources: ``proc_pid_mountinfo(5)``, Linux ``Documentation/ABI/testing/sysfs-block-dm``,
libcryptsetup's UUID prefixes, ``nfs(5)``, ``mount.cifs(8)``, ``zfsprops(7)``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sluicegate.stages.encryption.files import devices
from sluicegate.stages.encryption.files.devices import Answer, Told

__all__ = ["Mount", "System", "mount_of", "mounts_of", "read_mounts", "volume"]

_MOUNTS: Final = 1 << 20
"""Longest list of mounts read, in bytes; hosts with thousands of containers stay below."""
_SECONDS: Final = 5.0
"""Wait for ``zfs get``, which asks the kernel only."""
_DEEPEST: Final = 4
"""Loop devices and swap files lead to other mounts so many times at most."""

_STACKED: Final = frozenset({"ecryptfs", "fuse.gocryptfs", "fuse.cryfs", "fuse.securefs"})
"""File systems that encrypt by themselves, by type; all that is written through them."""
_DATASET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/ -]*")
_ZFS: Final = re.compile(r"aes-(128|192|256)-(ccm|gcm)")
_REMOTE: Final = frozenset(
    {"9p", "virtiofs", "ceph", "fuse.ceph", "lustre", "glusterfs", "fuse.glusterfs", "beegfs"}
    | {"fuse.s3fs", "fuse.sshfs", "fuse.rclone", "afs", "gpfs", "vboxsf", "fuse.mount-s3"}
)
_NFS: Final = ("nfs", "nfs4")
_SMB: Final = ("cifs", "smb3")
_FSCRYPT: Final = frozenset({"ext4", "f2fs", "ubifs"})


def _run(words: Sequence[str]) -> str | None:
    """Return what a command prints; None if it is not there, fails or takes too long."""
    try:
        result = subprocess.run(  # noqa: S603  fixed words, and a checked name of a data set
            words, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return result.stdout if result.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class System:
    """Where this machine says what it is made of."""

    platform: str = sys.platform
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    run: Callable[[Sequence[str]], str | None] = field(default=_run, repr=False)
    encrypted_inode: Callable[[str], bool | None] = field(
        default=devices.encrypted_inode, repr=False
    )
    """Tells of one file or folder whether fscrypt encrypts it."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    device: str
    """``major:minor``."""
    point: str
    kind: str
    """Type of the file system, ``ext4``."""
    source: str
    options: frozenset[str]
    """Of the mount and of its superblock."""


def read_mounts(system: System) -> tuple[Mount, ...]:
    """Return the mounts that this process sees, in the kernel's order; empty if not readable."""
    try:
        with (system.proc / "self" / "mountinfo").open("rb") as lines:
            text = lines.read(_MOUNTS).decode("utf-8", "surrogateescape")
    except OSError:
        return ()
    return tuple(mount for line in text.splitlines() if (mount := _mount(line)) is not None)


def _mount(line: str) -> Mount | None:
    left, separator, right = line.partition(" - ")
    before, after = left.split(" "), right.split(" ")
    if not separator or len(before) < 6 or len(after) < 3:
        return None
    options = frozenset(before[5].split(",")) | frozenset(after[2].split(","))
    return Mount(before[2], _unescape(before[4]), after[0], _unescape(after[1]), options)


def _unescape(text: str) -> str:
    """Undo the octal escapes of space, tab, line end and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that an absolute, resolved path lies on; of equals the last, on top."""
    found = None
    for mount in mounts:
        if _below(path, mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def mounts_of(root: str, files: Sequence[str], mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """Return the mounts under a subject: its root's, and those that its files lie on."""
    found = {} if (top := mount_of(root, mounts)) is None else {top.point: top}
    for inner in (one for one in mounts if _below(one.point, root)):
        if any(_below(f"{root.rstrip('/')}/{file}", inner.point) for file in files):
            found[inner.point] = inner
    return tuple(found[point] for point in sorted(found))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def volume(mount: Mount, system: System, *, paths: Sequence[str] = (), depth: int = 0) -> Answer:
    """Say whether what lies on a mount is encrypted at rest.

    Args:
        mount: from :func:`mount_of`.
        system: this machine.
        paths: the files in question, for file systems that encrypt single folders.
        depth: how many loop devices and swap files led here.
    """
    if depth > _DEEPEST:
        return Answer(Told.UNKNOWN, "loop devices and swap files lead around in a circle")
    kind = mount.kind
    if kind in _STACKED:
        return Answer(Told.ENCRYPTED, f"{kind} encrypts what is written")
    if kind == "fuse.encfs":
        return Answer(Told.CLEAR, "EncFS is unmaintained and its encryption has known weaknesses")
    if kind == "zfs":
        return _zfs(mount, system)
    if kind == "ramfs":
        return Answer(Told.ENCRYPTED, "ramfs lives in memory only and is never swapped")
    if kind in ("tmpfs", "devtmpfs"):
        return _memory(mount, system, depth)
    if kind in (*_NFS, *_SMB):
        return _wire(mount)
    if kind in _REMOTE:
        return Answer(Told.UNKNOWN, f"{kind}: how the server or host stores it is not told here")
    if kind in ("overlay", "aufs", "fuse.fuse-overlayfs"):
        reason = f"{kind}: the folders below belong to the container's host, which must be asked"
        return Answer(Told.UNKNOWN, reason)
    return _block(mount, system, paths, depth)


def _zfs(mount: Mount, system: System) -> Answer:
    if not _DATASET.fullmatch(mount.source):
        return Answer(Told.UNKNOWN, "ZFS: the name of the data set is not understood")
    words = ("zfs", "get", "-H", "-p", "-o", "value", "encryption", mount.source)
    text = system.run(words)
    if text is None:
        return Answer(Told.UNKNOWN, "ZFS: 'zfs get encryption' is missing, failed or hung")
    if _ZFS.fullmatch(text.strip()):
        return Answer(Told.ENCRYPTED, f"ZFS encrypts the data set ({text.strip()})")
    reason = "ZFS does not encrypt the data set; whether its disks are encrypted was not looked at"
    return Answer(Told.UNKNOWN, reason)


def _wire(mount: Mount) -> Answer:
    """Judge a network file system: at rest it is the server's, in transit there are options."""
    unseen = "how the server stores it is not told here"
    if mount.kind in _SMB:
        seal = "sealed" if "seal" in mount.options else "not sealed by an option of the mount"
        return Answer(Told.UNKNOWN, f"{mount.kind}: traffic is {seal}; {unseen}")
    private = {"sec=krb5p", "xprtsec=tls", "xprtsec=mtls"} & mount.options
    if private:
        return Answer(Told.UNKNOWN, f"{mount.kind}: traffic is encrypted; {unseen}")
    tunnel = {"addr=127.0.0.1", "addr=::1"} & mount.options
    if tunnel:
        return Answer(Told.UNKNOWN, f"{mount.kind} through a tunnel on this machine; {unseen}")
    return Answer(
        Told.CLEAR,
        f"{mount.kind} without sec=krb5p or xprtsec=tls: files travel over the network in clear",
    )


def _memory(mount: Mount, system: System, depth: int) -> Answer:
    """Judge a file system in memory: it is as safe as the swap space it may go to."""
    if "noswap" in mount.options:
        return Answer(Told.ENCRYPTED, f"{mount.kind} lives in memory and is mounted with noswap")
    try:
        lines = (system.proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return Answer(Told.UNKNOWN, f"{mount.kind} lives in memory; swap space could not be listed")
    for line in lines:
        words = line.split()
        if len(words) < 2 or not _swap_is_safe(_unescape(words[0]), words[1], system, depth):
            reason = f"{mount.kind} lives in memory and may be swapped to a device in clear"
            return Answer(Told.UNKNOWN, reason)
    where = "swap space is encrypted" if lines else "there is no swap space"
    return Answer(Told.ENCRYPTED, f"{mount.kind} lives in memory; {where}")


def _swap_is_safe(name: str, kind: str, system: System, depth: int) -> bool:
    if kind == "partition":
        return devices.swap_device(Path(name).name, system.sys).told is Told.ENCRYPTED
    below = mount_of(name, read_mounts(system))
    if below is None or below.kind in ("tmpfs", "devtmpfs"):
        return False
    return volume(below, system, paths=(name,), depth=depth + 1).told is Told.ENCRYPTED


def _block(mount: Mount, system: System, paths: Sequence[str], depth: int) -> Answer:
    answer = devices.device(mount.device, mount.source, system.sys)
    if answer.told is Told.BACKED:
        below = mount_of(answer.reason, read_mounts(system))
        if below is None:
            return Answer(Told.UNKNOWN, "a loop device whose file lies on no known mount")
        return volume(below, system, paths=(answer.reason,), depth=depth + 1)
    asked = answer.told is Told.UNKNOWN and mount.kind in _FSCRYPT and bool(paths)
    if asked and all(system.encrypted_inode(path) for path in paths):
        return Answer(Told.ENCRYPTED, f"fscrypt of {mount.kind} encrypts every file")
    return answer
