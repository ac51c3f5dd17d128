"""Lose a share of the packets between a pod and its peers; the kernel ends it by itself."""

from __future__ import annotations

import math
import time
from typing import Any

from steadyset.chaos.act import Act, begin, resume
from steadyset.chaos.cut import Cut, Member, members_of
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.faults.network_partition import peers_of, undo
from steadyset.chaos.netpath import Line, Place
from steadyset.chaos.nft import table_name
from steadyset.chaos.partition import isolate
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="network-loss",
    lease=Lease.KERNEL,
    summary="lose a share of the packets between a pod and its peers, at random",
    deadlines={"bite_s": 15.0, "heal_s": 30.0},
    capabilities=("pod-network",),
)
PACKETS = 400  # datagrams that measure the loss on a path
SIGMAS = 5.0  # how far a measured loss may be from the expected one: a false alarm in a million
CLEAN = 0.01  # what may be lost on a path that is well: queues overflow on a busy machine


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    percent: float = 30.0,
    peers: list[str] | None = None,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Lose `percent` of the packets between pod `target` and its `peers` (default: the other pods of its controller),
    in each direction."""
    if not 1 <= percent < 100:
        raise UsageError(
            f"a loss of {percent:g} % cannot be made", expected="1 to 99", do="use network-partition for 100"
        )
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    names = [target, *(peers if peers is not None else peers_of(act.kube, namespace, target))]
    if len(names) == 1:
        raise InvalidError(f"{target} has no peers: the loss is aimed at nothing")
    members = members_of(act.info, [act.kube.need_pod(namespace, n) for n in names])
    cut = Cut(act.info, namespace, members, isolate(names, target).cuts, {})
    lines = [Line(_place(members[0]), _place(m)) for m in members[1:]]
    act.memory.update(cut=cut, lines=lines, percent=percent)
    for line in lines:
        if line.share_lost(PACKETS) > CLEAN:
            raise InvalidError(f"the path {line.one.name} -> {line.other.name} loses packets already")
    with act.injecting({"pods": {m.name: m.home for m in members}}):
        assert act.record is not None
        cut.on_lost = act.lose_bite
        # Both ends drop: each a share such that together they lose what was asked for.
        cut.apply(table_name(act.record.id), ttl_s, 1 - math.sqrt(1 - percent / 100))
        act.memory["applied_ns"] = time.monotonic_ns()
    act.renewing.append(cut.renew)
    cut.follow()
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Measure the loss on every path in both directions; it must be what was asked for, within chance."""
    act = resume(FAULT, namespace, target)
    with act.proving_bite() as lines:
        wanted = act.memory["percent"] / 100
        slack = SIGMAS * math.sqrt(wanted * (1 - wanted) / PACKETS)
        for what, lost in _measure(act):
            if abs(lost - wanted) > slack:
                raise InvalidError(f"{what}: lost {lost:.1%}", expected=f"{wanted:.1%} +- {slack:.1%}")
            lines.append(f"{what}: {lost:.1%} of {PACKETS} packets lost")
        act.memory["bitten_ns"] = act.memory["applied_ns"]
    return act.report()


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Remove the rules from every member's network namespace."""
    act = resume(FAULT, namespace, target)
    if "cut" in act.memory:
        act.memory["cut"].stop()
    act.healing(undo)
    return act.report()


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Measure that no path loses packets any more."""
    act = resume(FAULT, namespace, target)
    with act.proving_heal() as lines:
        lines.extend(act.until(lambda: _clean(act), "no packet is lost", "heal_s", lambda: str(_measure(act))))
        for line in act.memory["lines"]:
            line.close()
    return act.report()


def _place(member: Member) -> Place:
    return Place(name=member.name, address=member.address, net=member.net, reach=member.reach)


def _measure(act: Act) -> list[tuple[str, float]]:
    found = []
    for line in act.memory["lines"]:
        one, other = line.one.name, line.other.name
        found.append((f"{one} -> {other}", line.share_lost(PACKETS)))
        found.append((f"{other} -> {one}", line.share_lost(PACKETS, back=True)))
    return found


def _clean(act: Act) -> list[str] | None:
    if act.memory["cut"].refresh():
        return ["a member was replaced meanwhile, and the rules went with it"]
    measured = _measure(act)
    if any(lost > CLEAN for _, lost in measured):
        return None
    return [f"{what}: {lost:.1%} lost" for what, lost in measured]
