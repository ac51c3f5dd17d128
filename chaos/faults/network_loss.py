"""Lose a share of the packets between a pod and its peers; the kernel ends it by itself."""

from __future__ import annotations

import math
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cut import stop_following
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.faults.network_partition import undo
from steadyset.chaos.impair import PACKETS, clean_again, each_way, impair, lost_share, open_paths
from steadyset.chaos.nft import losing
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.targets import Victim
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="network-loss",
    lease=Lease.KERNEL,
    summary="lose a share of the packets between a pod and its peers, at random",
    deadlines={"bite_s": 15.0, "heal_s": 30.0},
    capabilities=("pod-network",),
)
SIGMAS = 5.0  # how far a measured loss may be from the expected one: a false alarm in a million


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
    open_paths(act, peers)
    act.memory["wanted"] = percent / 100
    # Both ends drop: each a share such that together they lose what was asked for.
    impair(act, losing(1 - math.sqrt(1 - percent / 100)))
    return act.report()


def _lossy(act: Act, victim: Victim) -> list[str] | None:
    """Measure the loss on every path in both directions; it must be what was asked for, within chance."""
    wanted, lines = act.memory["wanted"], []
    slack = SIGMAS * math.sqrt(wanted * (1 - wanted) / PACKETS)
    for what, lost in each_way(act, lost_share):
        if abs(lost - wanted) > slack:
            raise InvalidError(f"{what}: lost {lost:.1%}", expected=f"{wanted:.1%} +- {slack:.1%}")
        lines.append(f"{what}: {lost:.1%} of {PACKETS} packets lost")
    return lines


def _clean(act: Act, victim: Victim) -> list[str] | None:
    """Measure that no path loses packets any more."""
    return clean_again(act)


def _seen(act: Act, victim: Victim) -> str:
    return str(act.memory.get("last", "nothing measured"))


prove_bite = bite_probe(FAULT, _lossy, "packets are lost", _seen)
heal = heal_action(FAULT, undo, stop_following)
prove_heal = heal_probe(FAULT, _clean, "no packet is lost", _seen)
