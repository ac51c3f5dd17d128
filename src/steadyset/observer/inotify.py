"""inotify(7), the few calls that node evidence needs; Python's standard library has none."""

from __future__ import annotations

import ctypes
import os
import struct

CREATE, MOVED_TO, DELETE = 0x100, 0x80, 0x200
_HEADER = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One inotify instance; `fd` can be polled."""

    def __init__(self) -> None:
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, path: str, mask: int) -> int:
        """Watch a folder; returns the watch's number. OSError when there is no such folder."""
        number = int(_libc.inotify_add_watch(self.fd, path.encode(), mask))
        if number < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        return number

    def read(self) -> list[tuple[int, int, str]]:
        """Events that wait, as (watch, mask, name); empty when there are none."""
        try:
            data = os.read(self.fd, _BUFFER_BYTES)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            found.append((watch, mask, data[at : at + length].rstrip(b"\0").decode()))
            at += length
        return found

    def close(self) -> None:
        """Close it; its watches end with it."""
        os.close(self.fd)
