"""Cut a pod, or a group around it, from its peers, the API server, its clients or DNS; the kernel ends it by itself."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from steadyset.chaos.act import Act, begin, resume
from steadyset.chaos.agent import networks
from steadyset.chaos.blast import Hits
from steadyset.chaos.cut import Cut, Member, members_of, stop_following
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.nft import table_name
from steadyset.chaos.partition import Partition, one_way, outside, partition_of
from steadyset.chaos.phases import heal_action
from steadyset.chaos.planes import API_SERVER, DNS, PEERS, RIGHTS, all_places, peers_of, planes_named
from steadyset.chaos.proofs import Proofs
from steadyset.chaos.reach import at_once, both, has_reach, reach_of
from steadyset.chaos.targets import pods_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="network-partition",
    lease=Lease.KERNEL,
    summary="cut a pod from its peers and the API server (or clients, DNS) in its own network namespace",
    deadlines={"bite_s": 10.0, "heal_s": 30.0},
    capabilities=("pod-network",),
    rights=RIGHTS[API_SERVER],  # of the planes that are cut unless others are named
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    planes: list[str] | None = None,
    shape: str = "isolate",
    direction: str = "both",
    peers: list[str] | None = None,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Cut pod `target` from `planes` (default peers and api-server; also clients, dns) until healed or not renewed.

    `peers` are pod names (default: the other pods of its controller); `shape` is one of isolate (or one), halves,
    majority, minority-third, bridge, majorities-ring, primaries (each pod of `target` alone); `direction` out or in
    drops only what leaves or enters the target's side. Connections that are not cut stay open.
    """
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    chosen, targets = planes_named(planes), [v.name for v in act.victims]
    names = _names(act.kube, namespace, targets, peers)
    partition = _partition(names, targets, shape, direction, chosen)
    # What is not cut must still work: it is looked at too, where it is.
    looked_at = [*chosen, *((API_SERVER, DNS) if act.info.client_netns else ())]
    outer_planes = [plane for plane in dict.fromkeys(looked_at) if plane != PEERS]
    places, members = both(
        lambda: all_places(act.info, act.kube, outer_planes),
        lambda: members_of(act.info, act.kube.need_pods(namespace, names)),
    )
    outer = {name: [place.address for place in found] for name, found in places.items() if name in chosen}
    cut = Cut(act.info, namespace, members, partition.cuts | outside(partition.side, outer, direction), outer)
    proofs = Proofs(act.info, cut, places, partition.side)
    act.memory.update(cut=cut, proofs=proofs)
    aimed = hits(act.kube, namespace, act.aim, planes, shape, direction, peers)
    with act.injecting({"pods": {m.name: m.home for m in members}}, aimed, ready=proofs.need_open):
        assert act.record is not None
        cut.on_lost, cut.on_replaced = act.lose_bite, lambda member: _note_replaced(act, member)
        cut.apply(table_name(act.record.id), ttl_s)
        act.memory["applied_ns"] = time.monotonic_ns()
    act.renewing.append(cut.renew)
    cut.follow()
    return act.report()


def hits(
    kube: Kube,
    namespace: str,
    target: str,
    planes: list[str] | None = None,
    shape: str = "isolate",
    direction: str = "both",
    peers: list[str] | None = None,
) -> Hits:
    """The cuts among the members; the target's side where a plane outside of them is cut too."""
    chosen, targets = planes_named(planes), [p["metadata"]["name"] for p in pods_of(kube, namespace, target)]
    partition = _partition(_names(kube, namespace, targets, peers), targets, shape, direction, chosen)
    outer = set(chosen) - {PEERS}
    return Hits(pods=partition.side if outer else (), cuts=partition.cuts, verb="cut off")


def _names(kube: Kube, namespace: str, targets: list[str], peers: list[str] | None) -> list[str]:
    others = peers if peers is not None else peers_of(kube, namespace, targets[0])
    return [*targets, *(name for name in others if name not in targets)]


def _partition(names: list[str], targets: list[str], shape: str, direction: str, planes: list[str]) -> Partition:
    if PEERS not in planes:
        return Partition(cuts=frozenset(), side=tuple(targets))
    if len(names) == 1:
        raise InvalidError(f"{names[0]} has no peers to be cut from: the partition is aimed at nothing")
    if len(targets) > 1 and shape != "primaries":
        raise UsageError(
            f"shape {shape} is made around one pod", seen=", ".join(targets), do="name one, or shape=primaries"
        )
    return one_way(partition_of(shape, names, targets), direction)


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Probe every cut direction over an open connection, a new one and single packets, and what must still work."""
    act = resume(FAULT, namespace, target)
    with act.proving_bite() as lines:
        lines.extend(act.memory["proofs"].bite())
        act.memory["bitten_ns"] = act.memory["applied_ns"]
    return act.report()


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Probe that packets and new connections pass again in every direction that was cut."""
    act = resume(FAULT, namespace, target)
    proofs: Proofs = act.memory["proofs"]
    with act.proving_heal() as lines:
        seen = act.until(proofs.healed, "every path that was cut is open again", "heal_s", lambda: proofs.last)
        lines.extend([*act.memory["cut"].remarks, *seen])
        proofs.close()
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the fault's rules from the network namespace of every member that still has them."""

    def remove(name: str, home: dict[str, str]) -> list[str]:
        reach = reach_of(info, home["node"])
        removed = reach.call(networks.remove_table, f"pod:{home['uid']}", table_name(record.id))
        return [f"rules removed from {name} ({home['uid'][:8]})"] if removed else []

    pods: dict[str, dict[str, str]] = record.undo["pods"]
    return [line for lines in at_once([partial(remove, name, home) for name, home in pods.items()]) for line in lines]


def residue(info: ClusterInfo, kube: Kube, live_ids: set[str]) -> list[str]:
    """Tables of ours in the pods of this cluster that belong to no live fault."""
    live, lines = {table_name(i) for i in live_ids}, []
    by_node: dict[str, dict[str, str]] = {}
    for pod in kube.pods():
        if not pod["spec"].get("hostNetwork") and pod["spec"].get("nodeName"):
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            by_node.setdefault(pod["spec"]["nodeName"], {})[pod["metadata"]["uid"]] = name
    for node, names in by_node.items():
        if not has_reach(info, node):
            continue
        for uid, tables in reach_of(info, node).call(networks.tables_of_pods, list(names)).items():
            lines += [f"nftables table {t} in pod {names[uid]}" for t in tables if t not in live]
    return lines


def _note_replaced(act: Act, member: Member) -> None:
    if act.record is not None:
        act.record.undo["pods"][member.name] = member.home
    act.memory["proofs"].replaced(member.name)


heal = heal_action(FAULT, undo, stop_following)
