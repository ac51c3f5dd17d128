"""A forwarded connection: whoever leaves ends both directions, whatever the other side does."""

from __future__ import annotations

import socket
import threading

import pytest

from steadyset.load.forward import _pump

WAIT_S = 5.0


@pytest.mark.parametrize("leaves", ["client", "pod"])
def test_one_side_that_leaves_ends_the_other(leaves: str) -> None:
    """A frozen pod sends nothing: its end must be closed all the same, or descriptors run out."""
    ends = {}
    ends["client"], local = socket.socketpair()
    remote, ends["pod"] = socket.socketpair()
    threads = [threading.Thread(target=_pump, args=pair, daemon=True) for pair in ((local, remote), (remote, local))]
    for thread in threads:
        thread.start()
    ends["client"].sendall(b"hello")
    assert ends["pod"].recv(16) == b"hello"  # both directions stand
    other = ends["pod" if leaves == "client" else "client"]
    other.settimeout(WAIT_S)
    ends[leaves].close()
    assert other.recv(16) == b""
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
