"""What proves a cut: every path that it should cut is cut, every other one still passes, and later all pass again.

Paths are lines between every two members, from the clients to the target, and from the target's side to the API
server and to DNS. Both kinds are probed: cut paths once, paths that must pass until they do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from steadyset.chaos.agent.names import resolves
from steadyset.chaos.agent.probes import EarAt
from steadyset.chaos.cut import Cut
from steadyset.chaos.netpath import (
    PROBE_TIMEOUT_S,
    Line,
    OutsideLine,
    Place,
    Seen,
    ask_all,
    ask_until_open,
    close_at,
    open_ears,
)
from steadyset.chaos.planes import CLIENTS, DNS, PEERS, clients_of
from steadyset.chaos.reach import at_once, both
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, InvalidError

Question = Callable[[], Seen]


class Proofs:
    """The paths of a cut, opened before it. `places` are those of every plane, cut or not, `side` the target's side."""

    def __init__(self, info: ClusterInfo, cut: Cut, places: dict[str, list[Place]], side: tuple[str, ...]) -> None:
        self.cut, self.last = cut, ""
        self._places, self._side = places, side
        self._outside: dict[tuple[str, str], list[OutsideLine]] = {}
        self._stale: set[str] = set()
        names = list(cut.members)
        pairs = [(one, other) for i, one in enumerate(names) for other in names[i + 1 :]]
        ends = {pair: (self._place(pair[0]), self._place(pair[1])) for pair in pairs}
        if info.client_netns:
            ends |= {(CLIENTS, name): (clients_of(info), self._place(name)) for name in side}
        self._ears: dict[str, EarAt] = {}
        self._heard: dict[str, Place] = {}  # where each ear is
        self._lines: dict[tuple[str, str], Line] = {}
        both(lambda: self._open_lines(ends), lambda: at_once([partial(self._open_outside, name) for name in side]))

    def _place(self, name: str) -> Place:
        member = self.cut.members[name]
        return Place(name=name, address=member.address, net=member.net, reach=member.reach)

    def _open_lines(self, ends: dict[tuple[str, str], tuple[Place, Place]]) -> None:
        """Lines between these ends; an ear at each place serves all of them."""
        self._heard |= {place.name: place for two in ends.values() for place in two}
        self._ears |= open_ears([place for name, place in self._heard.items() if name not in self._ears])
        lines = at_once([partial(Line, *two, self._ears) for two in ends.values()])
        self._lines |= zip(ends, lines, strict=True)

    def _close_ear(self, name: str) -> None:
        close_at(self._heard.pop(name), self._ears.pop(name)["ear"])

    def _open_outside(self, name: str) -> None:
        for plane, places in self._places.items():
            if plane != CLIENTS:
                self._outside[name, plane] = at_once([partial(OutsideLine, self._place(name), p) for p in places])

    def _end(self, name: str) -> Place:
        return self._place(name) if name in self.cut.members else self._heard[name]

    def _is_free(self, one: str, other: str) -> bool:
        return (one, other) not in self.cut.cuts

    def need_open(self) -> None:
        """InvalidError when packets do not get through before; the connections were opened only a moment ago."""
        packets: list[Question] = [line.packet for line in self._lines.values()]
        packets += [partial(line.packet, True) for line in self._lines.values()]
        names = [partial(self._names, name) for name, plane in self._outside if plane == DNS]
        closed = [s.what for s in ask_until_open([*packets, *names]) if not s.passes]
        if closed:
            raise InvalidError("cannot prove a cut of what is cut already", seen=", ".join(closed))

    def _everything(self) -> list[Question]:
        """Every path once, each way, with questions that can be asked again."""
        asked: list[Question] = []
        for line in self._fresh():
            asked += [line.packet, partial(line.packet, True), line.new_connection]
        for (name, plane), lines in self._outside.items():
            asked += [line.new_connection for line in lines]
            if plane == DNS:
                asked.append(partial(self._names, name))
        return asked

    def _fresh(self) -> list[Line]:
        return [line for line in self._lines.values() if not {line.one.name, line.other.name} & self._stale]

    def _names(self, name: str) -> Seen:
        place, server = self._place(name), self._places[DNS][0]
        passes = place.need_reach().call(resolves, place.net, server.address, PROBE_TIMEOUT_S)
        return Seen(what=f"query {name} -> {server.name}", passes=passes)

    def _wanted(self) -> list[tuple[Question, bool]]:
        """Every question, and whether it should be answered while the cut lasts."""
        wanted: list[tuple[Question, bool]] = []
        for line in self._fresh():
            there, back = self._is_free(line.one.name, line.other.name), self._is_free(line.other.name, line.one.name)
            both = there and back
            wanted += [(line.packet, there), (partial(line.packet, True), back)]
            wanted += [(line.open_connection, both), (line.new_connection, both)]
            if not both:
                wanted.append((partial(line.new_connection, True), False))
        for (name, plane), lines in self._outside.items():
            free = self._is_free(name, plane) and self._is_free(plane, name)
            wanted += [(line.new_connection, free) for line in lines]
            if plane == DNS:
                wanted.append((partial(self._names, name), free))
            elif not free:
                wanted += [(line.open_connection, False) for line in lines]
        return wanted

    def bite(self) -> list[str]:
        """Evidence lines; InvalidError names each path that is not as it should be."""
        wanted = self._wanted()
        cut = ask_all([question for question, passes in wanted if not passes])
        free = ask_until_open([question for question, passes in wanted if passes])
        wrong = [f"{s.what} passes" for s in cut if s.passes] + [f"{s.what} is cut" for s in free if not s.passes]
        if wrong or not cut:
            raise InvalidError(
                "the partition is not the one that was asked for", seen=", ".join(wrong) or f"nothing cut but {PEERS}"
            )
        return [f"{s.what}: cut" for s in cut] + [f"{s.what}: passes, as it must" for s in free]

    def replaced(self, name: str) -> None:
        """A member was replaced: its old sockets say nothing any more."""
        self._stale.add(name)

    def healed(self) -> list[str] | None:
        """Evidence lines once everything passes again; None before. Replaced members get new lines."""
        try:
            for name in self.cut.refresh():
                self.replaced(name)
            self._renew_stale()
            seen = ask_all(self._everything())
        except InstrumentError as error:
            self.last = f"a replaced pod is not reached yet: {error.message}"
            self._stale.update(self.cut.members)  # an agent that was started anew has lost its sockets
            return None
        self.last = ", ".join(s.what for s in seen if not s.passes) or "all open"
        return [f"{s.what}: passes again" for s in seen] if all(s.passes for s in seen) else None

    def _renew_stale(self) -> None:
        stale = set(self._stale)
        own = {pair: line for pair, line in self._lines.items() if stale & set(pair)}
        at_once([line.close for line in own.values()])
        at_once([partial(self._close_ear, name) for name in stale & set(self._ears)])
        self._open_lines({pair: (self._end(pair[0]), self._end(pair[1])) for pair in own})
        at_once([partial(self._open_outside, name) for name in self._side if name in stale])
        self._stale -= stale

    def close(self) -> None:
        """Close every socket."""
        outside = [line.close for lines in self._outside.values() for line in lines]
        at_once([*[line.close for line in self._lines.values()], *outside])
        at_once([partial(self._close_ear, name) for name in list(self._ears)])
