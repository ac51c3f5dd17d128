"""Delay, duplicate or corrupt what a pod sends to anybody, where the kernel has netem. tc never expires: a watchdog."""

from __future__ import annotations

import time
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.shaping import netem, plain, shaped
from steadyset.chaos.cut import stop_following
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.impair import PACKETS, clean_again, each_way, lost_share, open_paths
from steadyset.chaos.kube import Kube
from steadyset.chaos.leased import end_on_node, lease_on_node
from steadyset.chaos.ledger import Record
from steadyset.chaos.netpath import Line
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.reach import reach_of
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="network-netem",
    lease=Lease.WATCHDOG,
    summary="delay (with jitter), duplicate or corrupt what a pod sends, where the kernel has netem",
    deadlines={"bite_s": 30.0, "heal_s": 30.0},
    capabilities=("pod-network", "netem"),
)
SHOWN = 0.5  # the least share of what was asked for that must be measured


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    delay_ms: float = 100.0,
    jitter_ms: float = 0.0,
    duplicate_percent: float = 0.0,
    corrupt_percent: float = 0.0,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Have pod `target` send everything `delay_ms` late (plus or minus `jitter_ms`), a share of its packets twice, and
    a share with a bit flipped, which a receiver drops."""
    if min(delay_ms, jitter_ms, duplicate_percent, corrupt_percent) < 0 or not (
        delay_ms or duplicate_percent or corrupt_percent
    ):
        raise UsageError("nothing is asked of netem", expected="delay_ms, duplicate_percent or corrupt_percent > 0")
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    open_paths(act, None)
    member = act.memory["cut"].members[act.victims[0].name]
    words = ["delay", f"{delay_ms:g}ms", f"{jitter_ms:g}ms"]
    words += ["duplicate", f"{duplicate_percent:g}%"] if duplicate_percent else []
    words += ["corrupt", f"{corrupt_percent:g}%"] if corrupt_percent else []
    act.memory.update(member=member, before=dict(each_way(act, _echo_ms)))
    act.memory["asked"] = delay_ms, duplicate_percent / 100, corrupt_percent / 100
    with act.injecting(member.home):
        lease_on_node(act, 0, member.reach, plain, member.net)
        member.reach.call(netem, member.net, words)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the netem qdisc from the pod's interface; it went with a pod that is gone."""
    node, net = record.undo["node"], f"pod:{record.undo['uid']}"
    removed = reach_of(info, node).call(plain, net)
    end_on_node(info, record, 0, node)
    return [f"netem removed from {record.target}"] if removed else []


def _echo_ms(line: Line, back: bool) -> float:
    """How long a byte takes there and back over the open connection."""
    began = time.monotonic()
    return (time.monotonic() - began) * 1000 if line.open_connection().passes else float("inf")


def _shaped(act: Act, victim: Victim) -> list[str] | None:
    """Measure delay, duplicates and losses on every path; each must be at least half of what was asked for."""
    delay_ms, duplicated, corrupted = act.memory["asked"]
    lines = [f"tc: {act.memory['member'].reach.call(shaped, act.memory['member'].net).strip()}"]
    for what, echo_ms in each_way(act, _echo_ms):
        if echo_ms - act.memory["before"][what] < SHOWN * delay_ms:
            return None
        lines.append(f"{what} and back: {act.memory['before'][what]:.1f} -> {echo_ms:.1f} ms")
    if duplicated or corrupted:
        sent = [(what, lost) for what, lost in each_way(act, lost_share) if what.startswith(f"{victim.name} ->")]
        for what, lost in sent:
            if abs(lost) < SHOWN * abs(corrupted - duplicated):
                return None
            lines.append(f"{what}: {(1 - lost) * PACKETS:.0f} packets of {PACKETS} arrive")
    return lines


def _plain(act: Act, victim: Victim) -> list[str] | None:
    """Measure that a byte takes no longer than before, and no packet is lost."""
    slowest = max(echo_ms - act.memory["before"][what] for what, echo_ms in each_way(act, _echo_ms))
    return None if slowest > max(SHOWN * act.memory["asked"][0], 1.0) else clean_again(act)


def _seen(act: Act, victim: Victim) -> str:
    return ", ".join(f"{what}: {echo_ms:.1f} ms" for what, echo_ms in each_way(act, _echo_ms))


prove_bite = bite_probe(FAULT, _shaped, "netem shows in what is measured", _seen)
heal = heal_action(FAULT, undo, stop_following)
prove_heal = heal_probe(FAULT, _plain, "paths as before", _seen)
