"""Whether packets get from one network namespace to another: over an open connection, a new one, and one by one.

A path that is cut swallows packets: a connection attempt times out. A refused connection shows that the path is open.
Each end is asked where its kernel is, so a path may lead from one node's agent to another's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import msgspec

from steadyset.chaos.agent import probes
from steadyset.chaos.agent.probes import EarAt
from steadyset.chaos.reach import Reach, at_once
from steadyset.errors import InstrumentError

PROBE_TIMEOUT_S = 0.6  # a packet not seen within this is lost: paths take under 10 ms, a SYN is sent again after 1 s
TRIES = 5  # a path that should be open may be slow on a busy machine: only so many failures show that it is not


class Place(msgspec.Struct, kw_only=True, frozen=True):
    """One end of a path: its network namespace (`net`, as verbs name it), how it is worked, and its address.

    A place outside has neither, but a `port` where something listens.
    """

    name: str
    address: str
    net: str = ""
    reach: Reach | None = None
    port: int = 0

    def need_reach(self) -> Reach:
        """How it is worked; AssertionError for a place outside."""
        assert self.reach is not None, f"{self.name} is a place outside"
        return self.reach


class Seen(msgspec.Struct, kw_only=True, frozen=True):
    """One probe's answer: `passes` is whether packets get through."""

    what: str
    passes: bool


def open_ears(places: Iterable[Place]) -> dict[str, EarAt]:
    """An ear at each of these places, by name, opened at the same time."""
    those = list(places)
    ears = at_once([partial(p.need_reach().call, probes.ear_open, p.net) for p in those])
    return {place.name: ear for place, ear in zip(those, ears, strict=True)}


class Line:
    """An ear at each of two places and a connection between them, made before the fault, to be asked while it lasts.

    `ears` are those of its ends where they are open already; whoever opened them closes them.
    """

    def __init__(self, one: Place, other: Place, ears: dict[str, EarAt] | None = None) -> None:
        self.one, self.other = one, other
        self._ears, self._own = (open_ears([one, other]), True) if ears is None else (dict(ears), False)
        try:
            self._line = one.need_reach().call(probes.line_open, one.net, other.address, self._ears[other.name]["tcp"])
        except BaseException:
            self._close_ears()
            raise

    def _ends(self, back: bool) -> tuple[Place, Place]:
        return (self.other, self.one) if back else (self.one, self.other)

    def open_connection(self) -> Seen:
        """Whether the connection opened before still passes a byte there and back."""
        passes = self.one.need_reach().call(probes.line_passes, self._line, PROBE_TIMEOUT_S)
        return Seen(what=f"open connection {self.one.name} -> {self.other.name}", passes=passes)

    def new_connection(self, back: bool = False) -> Seen:
        """Whether a connection can be opened now; `back` from the other end."""
        one, other = self._ends(back)
        return reaches(one, Place(name=other.name, address=other.address, port=self._ears[other.name]["tcp"]))

    def packet(self, back: bool = False) -> Seen:
        """Whether a single datagram arrives; `back` from the other end. Shows one-way cuts."""
        one, other = self._ends(back)
        token, ear = secrets.token_hex(8), self._ears[other.name]
        one.need_reach().call(probes.send, self._ears[one.name]["ear"], ear["address"], ear["udp"], token)
        passes = other.need_reach().call(probes.heard, ear["ear"], token, PROBE_TIMEOUT_S)
        return Seen(what=f"packet {one.name} -> {other.name}", passes=passes)

    def share_lost(self, packets: int, back: bool = False, size: int = 0, over_s: float = 0.0) -> float:
        """Which share of so many datagrams does not arrive; `back` from the other end. Negative: some came twice.

        Each has `size` bytes at least, and they are sent evenly over so many seconds (0: all at once).
        """
        tag = self.send(packets, back, size, over_s)
        _, other = self._ends(back)
        ear = self._ears[other.name]["ear"]
        got = other.need_reach().call(probes.heard_burst, ear, tag, packets, PROBE_TIMEOUT_S)
        return 1 - got / packets

    def send(self, packets: int, back: bool = False, size: int = 0, over_s: float = 0.0) -> str:
        """Send datagrams without a look at how many arrive; their tag."""
        one, other = self._ends(back)
        tag, ear, sender = secrets.token_hex(3), self._ears[other.name], self._ears[one.name]["ear"]
        one.need_reach().call(probes.send_burst, sender, ear["address"], ear["udp"], tag, packets, size, over_s)
        return tag

    def close(self) -> None:
        """Close its sockets."""
        close_at(self.one, self._line)
        self._close_ears()

    def _close_ears(self) -> None:
        for place in (self.one, self.other) if self._own else ():
            close_at(place, self._ears[place.name]["ear"])


class OutsideLine:
    """A connection to a place outside (an API server, a DNS server), opened before the fault."""

    def __init__(self, one: Place, other: Place) -> None:
        self.one, self.other = one, other
        self._line = one.need_reach().call(probes.line_open, one.net, other.address, other.port)

    def open_connection(self, timeout_s: float = PROBE_TIMEOUT_S) -> Seen:
        """Whether the connection opened before still gets an answer. It can be asked once."""
        passes = self.one.need_reach().call(probes.line_answers, self._line, timeout_s)
        return Seen(what=f"open connection {self.one.name} -> {self.other.name}", passes=passes)

    def new_connection(self) -> Seen:
        """Whether a connection can be opened now."""
        return reaches(self.one, self.other)

    def close(self) -> None:
        """Close its socket."""
        close_at(self.one, self._line)


def close_at(place: Place, handle: str) -> None:
    """Close an ear or a line of that place."""
    with suppress(InstrumentError):  # an agent that is gone has closed it
        place.need_reach().call(probes.close, [handle])


def reaches(one: Place, other: Place) -> Seen:
    """Whether a TCP connection from one place to the other is answered, be it by a refusal."""
    passes = one.need_reach().call(probes.reaches, one.net, other.address, other.port, PROBE_TIMEOUT_S)
    return Seen(what=f"new connection {one.name} -> {other.name}", passes=passes)


def ask_all(questions: list[Callable[[], Seen]]) -> list[Seen]:
    """Run probes at the same time."""
    return at_once(questions)


def ask_until_open(questions: list[Callable[[], Seen]]) -> list[Seen]:
    """Run probes at the same time, those that fail again up to TRIES times: an open path passes one of them."""
    answers = ask_all(questions)
    for _ in range(TRIES - 1):
        again = [i for i, seen in enumerate(answers) if not seen.passes]
        if not again:
            break
        for i, seen in zip(again, ask_all([questions[i] for i in again]), strict=True):
            answers[i] = seen
    return answers
