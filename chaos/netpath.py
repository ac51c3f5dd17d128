"""Whether packets get from one network namespace to another: over an open connection, a new one, and one by one.

A path that is cut swallows packets: a connection attempt times out. A refused connection shows that the path is open.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from steadyset.chaos.inside import in_netns

PROBE_TIMEOUT_S = 0.6  # a packet not seen within this is lost: paths take under 10 ms, a SYN is sent again after 1 s
OPEN_TIMEOUT_S = 5.0  # line_open: for connections that are opened before a fault
TRIES = 5  # a path that should be open may be slow on a busy machine: only so many failures show that it is not
PLAIN_REQUEST = b"GET / HTTP/1.0\r\n\r\n"  # a TLS server answers it too: with an error


class Place(msgspec.Struct, kw_only=True, frozen=True):
    """One end of a path: its network namespace (a file descriptor; -1 for a place outside) and its address."""

    name: str
    address: str
    netns: int = -1
    port: int = 0  # for a place outside: where something listens


class Seen(msgspec.Struct, kw_only=True, frozen=True):
    """One probe's answer: `passes` is whether packets get through."""

    what: str
    passes: bool


class Line:
    """Sockets between two places, opened before the fault, to be asked again while it lasts."""

    def __init__(self, one: Place, other: Place) -> None:
        self.one, self.other = one, other
        listener = in_netns(other.netns, lambda: _listen(other.address))
        try:
            self._client = in_netns(
                one.netns, lambda: _connect(other.address, listener.getsockname()[1], OPEN_TIMEOUT_S)
            )
            listener.settimeout(OPEN_TIMEOUT_S)
            self._server, _ = listener.accept()
        finally:
            listener.close()
        self._server.settimeout(PROBE_TIMEOUT_S)
        self._udp = {place.name: in_netns(place.netns, lambda p=place: _datagram(p.address)) for place in (one, other)}  # type: ignore[misc]

    def open_connection(self) -> Seen:
        """Whether the connection opened before still passes a byte."""
        what = f"open connection {self.one.name} -> {self.other.name}"
        token = str(time.monotonic_ns()).encode() + b"\n"
        try:
            self._client.sendall(token)
            end = time.monotonic() + PROBE_TIMEOUT_S
            got = b""
            while token not in got and time.monotonic() < end:
                got += self._server.recv(1024)
        except (TimeoutError, OSError):
            return Seen(what=what, passes=False)
        return Seen(what=what, passes=token in got)

    def new_connection(self, back: bool = False) -> Seen:
        """Whether a connection can be opened now; `back` from the other end."""
        one, other = (self.other, self.one) if back else (self.one, self.other)
        listener = in_netns(other.netns, lambda: _listen(other.address))
        try:
            return reaches(one, Place(name=other.name, address=other.address, port=listener.getsockname()[1]))
        finally:
            listener.close()

    def packet(self, back: bool = False) -> Seen:
        """Whether a single datagram arrives; `back` from the other end. Shows one-way cuts."""
        one, other = (self.other, self.one) if back else (self.one, self.other)
        sender, receiver = self._udp[one.name], self._udp[other.name]
        token = str(time.monotonic_ns()).encode()
        end, passes = time.monotonic() + PROBE_TIMEOUT_S, False
        try:
            sender.sendto(token, receiver.getsockname())
        except OSError:
            return Seen(what=f"packet {one.name} -> {other.name}", passes=False)  # a drop on output is EPERM here
        while not passes and (left := end - time.monotonic()) > 0:
            if select.select([receiver], [], [], left)[0]:
                passes = receiver.recv(1024) == token
        return Seen(what=f"packet {one.name} -> {other.name}", passes=passes)

    def share_lost(self, packets: int, back: bool = False) -> float:
        """Which share of so many datagrams does not arrive; `back` from the other end."""
        one, other = (self.other, self.one) if back else (self.one, self.other)
        sender, receiver = self._udp[one.name], self._udp[other.name]
        address, got = receiver.getsockname(), 0
        for number in range(packets):
            with suppress(OSError):  # a drop on output is EPERM here
                sender.sendto(number.to_bytes(4, "big"), address)
            while select.select([receiver], [], [], 0)[0]:
                got += len(receiver.recv(16)) == 4
        while select.select([receiver], [], [], PROBE_TIMEOUT_S)[0]:
            got += len(receiver.recv(16)) == 4
        return 1 - got / packets

    def close(self) -> None:
        """Close its sockets."""
        for sock in (self._client, self._server, *self._udp.values()):
            sock.close()


class OutsideLine:
    """A connection to a place outside (an API server, a DNS server), opened before the fault."""

    def __init__(self, one: Place, other: Place) -> None:
        self.one, self.other = one, other
        self._client = in_netns(one.netns, lambda: _connect(other.address, other.port, OPEN_TIMEOUT_S))

    def open_connection(self, timeout_s: float = PROBE_TIMEOUT_S) -> Seen:
        """Whether the connection opened before still gets an answer. It can be asked once."""
        self._client.settimeout(timeout_s)
        try:
            self._client.sendall(PLAIN_REQUEST)
            self._client.recv(1024)
            passes = True
        except TimeoutError:
            passes = False
        except ConnectionError:
            passes = True  # reset by the other end: it is reached
        except OSError:
            passes = False
        return Seen(what=f"open connection {self.one.name} -> {self.other.name}", passes=passes)

    def new_connection(self) -> Seen:
        """Whether a connection can be opened now."""
        return reaches(self.one, self.other)

    def close(self) -> None:
        """Close its socket."""
        self._client.close()


def reaches(one: Place, other: Place) -> Seen:
    """Whether a TCP connection from one place to the other is answered, be it by a refusal."""
    what = f"new connection {one.name} -> {other.name}"
    try:
        in_netns(one.netns, lambda: _connect(other.address, other.port)).close()
    except ConnectionRefusedError:
        return Seen(what=what, passes=True)
    except OSError:
        return Seen(what=what, passes=False)
    return Seen(what=what, passes=True)


def ask_all(probes: list[Callable[[], Seen]]) -> list[Seen]:
    """Run probes at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(probes))) as pool:
        return list(pool.map(lambda probe: probe(), probes))


def ask_until_open(probes: list[Callable[[], Seen]]) -> list[Seen]:
    """Run probes at the same time, those that fail again up to TRIES times: an open path passes one of them."""
    answers = ask_all(probes)
    for _ in range(TRIES - 1):
        again = [i for i, seen in enumerate(answers) if not seen.passes]
        if not again:
            break
        for i, seen in zip(again, ask_all([probes[i] for i in again]), strict=True):
            answers[i] = seen
    return answers


def _listen(address: str) -> socket.socket:
    listener = socket.socket()
    listener.bind((address, 0))
    listener.listen(4)
    return listener


def _connect(address: str, port: int, timeout_s: float = PROBE_TIMEOUT_S) -> socket.socket:
    return socket.create_connection((address, port), timeout_s)


def _datagram(address: str) -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock
