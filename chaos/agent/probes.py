"""Ends of probed paths: *ears*, which answer and remember what reached them, and *lines*, connections kept open.

An ear is a UDP socket and a TCP listener in one network namespace; on a connection it sends back what it gets. A path
that is cut swallows packets: a connection attempt times out. A refused connection shows that the path is open.
"""

from __future__ import annotations

import secrets
import select
import socket
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from typing import TypedDict

from .networks import first_address, opened, within
from .node import Node, VerbError

OPEN_TIMEOUT_S = 5.0  # line_open: for connections that are opened before a fault
REMEMBERED = 4096  # the last so many tokens that reached an ear
RECEIVE_BUFFER = 4 << 20  # bytes: a burst of packets must not overflow it
IDLE_S = 1800.0  # what was not used for so long belongs to a runner that died: longer than any fault is held
POLL_S = 0.5
PLAIN_REQUEST = b"GET / HTTP/1.0\r\n\r\n"  # a TLS server answers it too: with an error
BURST_TAG = 8  # bytes
PACE_S = 0.002  # packets that are sent apart may be early by this much


class EarAt(TypedDict):
    """An ear's handle, and where it listens."""

    ear: str
    address: str
    tcp: int
    udp: int


class _Ear:
    def __init__(self, address: str) -> None:
        self.used_s = time.monotonic()
        self.listener = socket.create_server((address, 0), backlog=16)
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError):  # SO_RCVBUFFORCE needs CAP_NET_ADMIN; without it the kernel's limit holds
            self.udp.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), RECEIVE_BUFFER)
        self.udp.bind((address, 0))
        self.tokens: deque[bytes] = deque(maxlen=REMEMBERED)
        self.bursts: Counter[bytes] = Counter()
        self.changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._closing = threading.Event()
        threading.Thread(target=self._listen, name="ear", daemon=True).start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                ready, _, _ = select.select([self.listener, self.udp, *self._connections], [], [], POLL_S)
                for sock in ready:
                    self._take(sock)
            except (OSError, ValueError):  # closed meanwhile
                if self._closing.is_set():
                    break
        for sock in (self.listener, self.udp, *self._connections):
            sock.close()

    def _take(self, sock: socket.socket) -> None:
        if sock is self.listener:
            connection, _ = sock.accept()
            connection.setblocking(False)
            self._connections.append(connection)
            return
        try:
            data = sock.recv(2048)
            if sock is not self.udp and data:
                sock.send(data)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data and sock is not self.udp:
            self._connections.remove(sock)
            sock.close()
            return
        with self.changed:
            if sock is self.udp and len(data) > BURST_TAG and data[:1] == b"#":
                self.bursts[data[:BURST_TAG]] += 1
            else:
                self.tokens.append(data)
            self.changed.notify_all()

    def close(self) -> None:
        """Its thread closes the sockets."""
        self._closing.set()


class _Line:
    def __init__(self, sock: socket.socket) -> None:
        self.used_s, self.sock = time.monotonic(), sock

    def close(self) -> None:
        self.sock.close()


_OPEN: dict[str, _Ear | _Line] = {}
_LOCK = threading.Lock()


def ear_open(node: Node, net: str) -> EarAt:
    """Make an ear on that namespace's first address."""
    with opened(node, net) as fd:
        address = within(fd, first_address)
        if not address:
            raise VerbError(f"network namespace {net} has no IPv4 address")
        ear = within(fd, lambda: _Ear(address))
    return EarAt(ear=_keep(ear), address=address, tcp=ear.listener.getsockname()[1], udp=ear.udp.getsockname()[1])


def line_open(node: Node, net: str, address: str, port: int) -> str:
    """Open a connection from that namespace, to be asked later; its handle. VerbError when it cannot be opened."""
    try:
        with opened(node, net) as fd:
            return _keep(_Line(within(fd, lambda: socket.create_connection((address, port), OPEN_TIMEOUT_S))))
    except OSError as error:
        raise VerbError(f"no connection from {net} to {address}:{port}: {error}") from None


def line_passes(node: Node, line: str, timeout_s: float) -> bool:
    """Whether a token sent over the open connection to an ear comes back."""
    sock = _line(line).sock
    token = secrets.token_hex(8).encode() + b"\n"
    end, got = time.monotonic() + timeout_s, b""
    with suppress(OSError):
        sock.settimeout(timeout_s)
        sock.sendall(token)
        while token not in got and (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            data = sock.recv(1024)
            if not data:
                break
            got += data
    return token in got


def line_answers(node: Node, line: str, timeout_s: float) -> bool:
    """Whether anything comes back over the open connection to a server that is not an ear. It can be asked once."""
    sock = _line(line).sock
    try:
        sock.settimeout(timeout_s)
        sock.sendall(PLAIN_REQUEST)
        sock.recv(1024)
    except ConnectionError:
        return True  # reset by the other end: it is reached
    except OSError:
        return False
    return True


def reaches(node: Node, net: str, address: str, port: int, timeout_s: float) -> bool:
    """Whether a new connection from that namespace is answered, be it by a refusal."""
    with opened(node, net) as fd:
        try:
            within(fd, lambda: socket.create_connection((address, port), timeout_s)).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return True


def send(node: Node, ear: str, address: str, port: int, token: str) -> None:
    """Send one datagram out of the ear; a drop on output is no error."""
    with suppress(OSError):  # a drop on output is EPERM here
        _ear(ear).udp.sendto(token.encode(), (address, port))


def heard(node: Node, ear: str, token: str, timeout_s: float) -> bool:
    """Whether that datagram reached the ear, now or within the time-out."""
    found, wanted = _ear(ear), token.encode()
    with found.changed:
        return found.changed.wait_for(lambda: wanted in found.tokens, timeout_s)


def send_burst(
    node: Node, ear: str, address: str, port: int, tag: str, packets: int, size: int = 0, over_s: float = 0.0
) -> None:
    """Send so many datagrams that bear a tag out of the ear; drops on output are no errors.

    Each has `size` bytes at least, and they are spread evenly over so many seconds (0: all at once).
    """
    sock, head, idle, began = _ear(ear).udp, _burst_tag(tag), threading.Event(), time.monotonic()
    for number in range(packets):
        early_s = began + over_s * number / packets - time.monotonic()
        if early_s > PACE_S:
            idle.wait(early_s)
        with suppress(OSError):
            sock.sendto((head + number.to_bytes(4, "big")).ljust(size, b"-"), (address, port))


def heard_burst(node: Node, ear: str, tag: str, packets: int, timeout_s: float) -> int:
    """How many datagrams of that tag reached the ear; answers when all have, or none came for the time-out."""
    found, head = _ear(ear), _burst_tag(tag)
    with found.changed:
        while (count := found.bursts[head]) < packets:
            if not found.changed.wait_for(lambda before=count: found.bursts[head] > before, timeout_s):  # type: ignore[misc]
                break
        return found.bursts.pop(head, 0)


def close(node: Node, handles: list[str]) -> None:
    """Close these ears and lines."""
    with _LOCK:
        gone = [_OPEN.pop(handle) for handle in handles if handle in _OPEN]
    for each in gone:
        each.close()


def _burst_tag(tag: str) -> bytes:
    return b"#" + tag.encode()[: BURST_TAG - 1].rjust(BURST_TAG - 1, b"-")


def _keep(thing: _Ear | _Line) -> str:
    handle, now = secrets.token_hex(8), time.monotonic()
    with _LOCK:
        idle = [h for h, t in _OPEN.items() if now - t.used_s > IDLE_S]
        gone = [_OPEN.pop(h) for h in idle]
        _OPEN[handle] = thing
    for each in gone:
        each.close()
    return handle


def _used(handle: str) -> _Ear | _Line:
    with _LOCK:
        thing = _OPEN.get(handle)
    if thing is None:
        raise VerbError(f"no socket {handle}: the agent was started anew since it was opened")
    thing.used_s = time.monotonic()
    return thing


def _ear(handle: str) -> _Ear:
    thing = _used(handle)
    assert isinstance(thing, _Ear)
    return thing


def _line(handle: str) -> _Line:
    thing = _used(handle)
    assert isinstance(thing, _Line)
    return thing
