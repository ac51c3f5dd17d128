"""Limit the bandwidth between a pod and its peers: what exceeds it is dropped; the kernel ends it by itself."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cut import stop_following
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.faults.network_partition import undo
from steadyset.chaos.impair import clean_again, each_way, impair, open_paths
from steadyset.chaos.netpath import Line
from steadyset.chaos.nft import exceeding
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.targets import Victim
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="network-bandwidth",
    lease=Lease.KERNEL,
    summary="limit the bandwidth between a pod and its peers, in bytes per second",
    deadlines={"bite_s": 60.0, "heal_s": 30.0},
    capabilities=("pod-network",),
)
SIZE = 1000  # bytes of a measuring datagram
OFFERED = 5  # so many times the limit is sent to measure what passes
MEASURED_S = 1.0
SLACK = 0.35  # how far from the limit a measurement may be: headers count too, and the kernel's buckets are coarse


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    bytes_s: int = 64 * 1024,
    peers: list[str] | None = None,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Let no more than `bytes_s` bytes per second pass from pod `target` to all of its `peers` together (default: the
    other pods of its controller), and no more from them to it. A second's worth may pass at once after a pause."""
    if not 8 * SIZE <= bytes_s <= 10_000_000:
        raise UsageError(f"a limit of {bytes_s} bytes/s cannot be proven", expected=f"{8 * SIZE} to 10000000")
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    open_paths(act, peers)
    act.memory["bytes_s"] = bytes_s
    impair(act, exceeding(bytes_s))
    return act.report()


def _narrow(act: Act, victim: Victim) -> list[str] | None:
    """Measure what passes on every path in both directions: about the limit, of several times as much that is sent."""
    limit, lines = act.memory["bytes_s"], []
    packets: int = OFFERED * limit // SIZE

    def passed(line: Line, back: bool) -> float:
        line.send(packets, back, SIZE)  # what may pass at once is used up
        return (1 - line.share_lost(packets, back, SIZE, MEASURED_S)) * packets * SIZE / MEASURED_S

    for what, bytes_s in each_way(act, passed):
        if abs(bytes_s - limit) > SLACK * limit:
            raise InvalidError(f"{what}: {bytes_s:.0f} bytes/s pass", expected=f"about {limit}")
        lines.append(f"{what}: {bytes_s:.0f} of {packets * SIZE} bytes/s sent pass")
    return lines


def _wide(act: Act, victim: Victim) -> list[str] | None:
    """Measure that no path loses packets any more."""
    return clean_again(act)


def _seen(act: Act, victim: Victim) -> str:
    return str(act.memory.get("last", "nothing measured"))


prove_bite = bite_probe(FAULT, _narrow, "bandwidth is limited", _seen)
heal = heal_action(FAULT, undo, stop_following)
prove_heal = heal_probe(FAULT, _wide, "no packet is lost", _seen)
