"""Slow a pod's disk down: what its containers write to it is limited to so many bytes a second."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.disks import mounted_as, throttle, write_time_s
from steadyset.chaos.agent.memory import mains
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, container_ids
from steadyset.chaos.leased import end_on_node, lease_on_node
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import ready
from steadyset.chaos.reach import reach_of
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import aim_at_volumes, see_volume
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-slow",
    lease=Lease.WATCHDOG,
    summary="limit what a pod writes to its disk, in bytes per second (the kernel's block I/O throttle)",
    deadlines={"bite_s": 60.0, "heal_s": 180.0},
    capabilities=("pod-volumes", "disk-throttle"),
)
SLOWER = 0.5  # a measured write may take so much less than the limit says: a small burst passes
PROBE_S = 1.0  # how long the probe's write should take under the limit


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    bytes_s: int = 128 * 1024,
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Limit the writes of the containers of the pods of `target` to their volume to `bytes_s` bytes per second."""
    if bytes_s < 1024:
        raise UsageError(f"a disk of {bytes_s} bytes/s is not slow but dead", expected="1024 or more", do="volume-yank")
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    aim_at_volumes(act, claim)
    for victim in act.victims:
        reach = victim.seen["mount"].reach
        _, major, minor = reach.call(mounted_as, victim.seen["mount"].path)
        cgroups = sorted({p["cgroup"] for p in reach.call(mains, container_ids(victim.obj))})
        limits = [(cgroup, major, minor) for cgroup in cgroups]
        victim.seen.update(cgroup=cgroups[0], size=int(bytes_s * PROBE_S), limits=limits)
        before = _measure(victim)
        if before > SLOWER * PROBE_S:
            raise InvalidError(
                f"the disk of pod {victim.name} is slow already",
                expected=f"{victim.seen['size']} bytes within {SLOWER * PROBE_S:g} s",
                seen=f"{before:.2f} s",
            )
    undos = [[v.seen["mount"].reach.node, v.seen["limits"]] for v in act.victims]
    with act.injecting({"limits": undos}):
        for number, victim in enumerate(act.victims):
            reach, limits = victim.seen["mount"].reach, victim.seen["limits"]
            lease_on_node(act, number, reach, throttle, limits, 0)
            reach.call(throttle, limits, bytes_s)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Lift the limits of this record; those of containers that are gone went with them."""
    for number, (node, limits) in enumerate(record.undo["limits"]):
        reach_of(info, node).call(throttle, limits, 0)
        end_on_node(info, record, number, node)
    return [f"{record.target}: the disk is as fast as before"]


def _measure(victim: Victim) -> float:
    mount = victim.seen["mount"]
    took_s: float = mount.reach.call(write_time_s, mount.path, victim.seen["cgroup"], victim.seen["size"])
    return took_s


def _slow(act: Act, victim: Victim) -> list[str] | None:
    """Measure a write with fsync as the container would do it: it takes as long as the limit says."""
    took_s, size = _measure(victim), victim.seen["size"]
    if took_s < SLOWER * PROBE_S:
        return None
    return [f"volume {victim.seen['volume']}: {size} bytes took pod {victim.name}'s container {took_s:.2f} s"]


def _fast(act: Act, victim: Victim) -> list[str] | None:
    """Measure that the same write is fast again, and wait until the pod is Ready."""
    took_s, lines = _measure(victim), ready(act, victim)
    if took_s > SLOWER * PROBE_S or lines is None:
        return None
    return [f"volume {victim.seen['volume']}: {victim.seen['size']} bytes took {took_s:.3f} s", *lines]


prove_bite = bite_probe(FAULT, _slow, "the disk is slow", see_volume)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _fast, "the disk is fast, and the pod Ready", see_volume)
