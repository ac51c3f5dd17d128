"""Paths that get worse but stay open: losing or exceeding packets between a pod and its peers, measured both ways."""

from __future__ import annotations

import time
from collections.abc import Callable

from steadyset.chaos.act import Act
from steadyset.chaos.cut import Cut, Member, members_of
from steadyset.chaos.netpath import Line, Place
from steadyset.chaos.nft import table_name
from steadyset.chaos.partition import isolate
from steadyset.chaos.planes import peers_of
from steadyset.errors import InvalidError, UsageError

PACKETS = 400  # datagrams that measure a path
CLEAN = 0.01  # what may be lost on a path that is well: queues overflow on a busy machine

Measure = Callable[[Line, bool], float]  # a path, and whether it is measured from its other end


def open_paths(act: Act, peers: list[str] | None) -> None:
    """Note the paths between the act's pod and its peers (default: the other pods of its controller).

    UsageError for more than one pod, InvalidError when it has no peers or a path loses packets as it is.
    """
    if len(act.victims) > 1:
        several = ", ".join(v.name for v in act.victims)
        raise UsageError(f"{act.fault} is aimed at one pod", seen=several, do="name one of them")
    name = act.victims[0].name
    names = [name, *(peers if peers is not None else peers_of(act.kube, act.namespace, name))]
    if len(names) == 1:
        raise InvalidError(f"{name} has no peers: {act.fault} is aimed at nothing")
    members = members_of(act.info, act.kube.need_pods(act.namespace, names))
    cut = Cut(act.info, act.namespace, members, isolate(names, name).cuts, {})
    act.memory.update(cut=cut, lines=[Line(_place(members[0]), _place(m)) for m in members[1:]])
    for what, lost in each_way(act, lost_share):
        if lost > CLEAN:
            raise InvalidError(f"the path {what} loses packets already: {lost:.1%}")


def impair(act: Act, only: str) -> None:
    """Drop some of the packets, as `nft.cut_script` says, on every path and both ways, under a kernel lease."""
    cut: Cut = act.memory["cut"]
    with act.injecting({"pods": {m.name: m.home for m in cut.members.values()}}):
        assert act.record is not None
        cut.on_lost, cut.on_replaced = act.lose_bite, lambda member: _note_replaced(act, member)
        cut.apply(table_name(act.record.id), act.ttl_s, only)
        act.memory["bitten_ns"] = time.monotonic_ns()
    act.renewing.append(cut.renew)
    cut.follow()


def _note_replaced(act: Act, member: Member) -> None:
    if act.record is not None:
        act.record.undo["pods"][member.name] = member.home


def each_way(act: Act, measure: Measure) -> list[tuple[str, float]]:
    """Every path's measure, in both directions."""
    found = []
    for line in act.memory["lines"]:
        one, other = line.one.name, line.other.name
        found.append((f"{one} -> {other}", measure(line, False)))
        found.append((f"{other} -> {one}", measure(line, True)))
    return found


def lost_share(line: Line, back: bool) -> float:
    """The share of PACKETS small datagrams that does not arrive."""
    return line.share_lost(PACKETS, back)


def clean_again(act: Act) -> list[str] | None:
    """Evidence that no path loses packets any more; the paths are closed then."""
    if act.memory["cut"].refresh():
        return ["a member was replaced meanwhile, and the rules went with it"]
    measured = each_way(act, lost_share)
    act.memory["last"] = ", ".join(f"{what}: {lost:.1%} lost" for what, lost in measured)
    if any(lost > CLEAN for _, lost in measured):
        return None
    for line in act.memory["lines"]:
        line.close()
    return [f"{what}: {lost:.1%} lost" for what, lost in measured]


def _place(member: Member) -> Place:
    return Place(name=member.name, address=member.address, net=member.net, reach=member.reach)
