"""A pod's volume on its node: where it is mounted, whether it takes writes, and how it is filled or shut down."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from .node import Node, VerbError

NOT_MOUNTED = "nothing is mounted there"
FULL = errno.errorcode[errno.ENOSPC]
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN of linux/fs/ext4/ext4.h; XFS understands it too
NO_LOG_FLUSH = 2
CHUNK = 1 << 20
SMALLEST = 4096
FILL_PREFIX = ".steadyset-fill-"


def mounts(node: Node, volume: str, pod_uid: str = "") -> list[str]:
    """Where the kubelet has mounted that PersistentVolume for the pod (for any pod), as paths of the node.

    CSI volumes are at `…/pods/UID/volumes/kubernetes.io~csi/NAME/mount`, in-tree ones without the last part.
    """
    pattern = re.compile(rf"/pods/{re.escape(pod_uid) or '[^/]+'}/volumes/[^/]+/{re.escape(volume)}(?:/mount)?$")
    return [point for point in _mount_points(node) if pattern.search(point)]


def _mount_points(node: Node) -> list[str]:
    try:
        text = Path(f"/proc/{node.pid}/mountinfo").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return list(dict.fromkeys(line.split()[4] for line in text.splitlines()))


def _need_own_disk(node: Node, mount: str) -> None:
    """VerbError when the volume is a folder of a file system that others use too: what breaks it would hit them."""
    lines = [line.split() for line in Path(f"/proc/{node.pid}/mountinfo").read_text().splitlines()]
    roots = [fields[3] for fields in lines if fields[4] == mount]
    if not roots:
        raise VerbError(f"{mount}: {NOT_MOUNTED}")
    if roots[-1] != "/":
        raise VerbError(
            f"{mount} is folder {roots[-1]} of a file system that others use too",
            do="aim at a volume with a file system of its own",
        )


def write_error(node: Node, mount: str) -> str:
    """Write to the volume mounted there and fsync: "" when that worked, else the errno's name.

    The file has no name (O_TMPFILE, as ext4 and XFS have it) where that is possible, so nothing is left however this
    ends.
    """
    if mount not in _mount_points(node):
        return NOT_MOUNTED
    folder = node.inside(mount)
    try:
        fd = _unnamed_file(folder)
        try:
            os.write(fd, b"steadyset probes this volume\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return ""


def _unnamed_file(folder: Path) -> int:
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
    path = folder / f".steadyset-probe-{secrets.token_hex(4)}"  # NFS and the like
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    path.unlink()
    return fd


def fill(node: Node, mount: str, name: str) -> int:
    """Make a file of that name in the volume that takes all of its space; its size in bytes.

    Space is allocated where the file system can do that at once, and written where it cannot.
    """
    _need_own_disk(node, mount)
    folder = node.inside(mount)
    fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        size = _allocate(fd, os.fstatvfs(fd).f_bavail * os.fstatvfs(fd).f_frsize)
        os.lseek(fd, size, os.SEEK_SET)
        chunk = CHUNK
        while chunk:
            try:
                size += os.write(fd, bytes(chunk))
                os.fsync(fd)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                chunk //= 4
    finally:
        os.close(fd)
    return size


def _allocate(fd: int, free: int) -> int:
    """Allocate as much of `free` bytes as there is; 0 where the file system cannot (it would write them one by one)."""
    size, step = 0, free
    while step >= SMALLEST:
        try:
            os.posix_fallocate(fd, size, step)
            size += step
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                return size
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            step //= 2
    return size


def remove_file(node: Node, volume: str, name: str) -> bool:
    """Remove that file from the volume, wherever it is mounted; whether it is mounted anywhere on this node."""
    found = mounts(node, volume)
    for mount in found[:1]:
        node.inside(mount).joinpath(name).unlink(missing_ok=True)
    return bool(found)


def left_files(node: Node) -> list[str]:
    """Files of ours that fill a volume of this node."""
    found = []
    for point in _mount_points(node):
        if "/volumes/" in point:
            with suppress(OSError):
                found += [f"{point}/{p.name}" for p in node.inside(point).glob(f"{FILL_PREFIX}*")]
    return found


def shut_down(node: Node, mount: str) -> None:
    """Shut the file system down without flushing its log, as if its disk were yanked. VerbError where it cannot be."""
    _need_own_disk(node, mount)
    fd = os.open(node.inside(mount), os.O_RDONLY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, NO_LOG_FLUSH.to_bytes(4, "little"))
    except OSError as error:
        raise VerbError(
            f"the file system of {mount} cannot be shut down: {error.strerror}", do="use a volume with ext4 or XFS"
        ) from None
    finally:
        os.close(fd)
