"""Cut a pod, or a group around it, from its peers, the API server, its clients or DNS; the kernel ends it by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from steadyset.chaos.act import Act, begin, resume
from steadyset.chaos.agent import networks
from steadyset.chaos.blast import Hits
from steadyset.chaos.cut import Cut, Member, members_of
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, controller_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.netpath import Line, OutsideLine, Place, Seen, ask_all, ask_until_open
from steadyset.chaos.nft import table_name
from steadyset.chaos.partition import one_way, outside, shape_named
from steadyset.chaos.reach import Here, at_once, has_reach, reach_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="network-partition",
    lease=Lease.KERNEL,
    summary="cut a pod from its peers and the API server (or clients, DNS) in its own network namespace",
    deadlines={"bite_s": 10.0, "heal_s": 30.0},
    capabilities=("pod-network",),
)
PLANES = ("peers", "api-server", "clients", "dns")


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

    `peers` are pod names (default: the other pods of its controller); `shape` is one of isolate, halves, majority,
    minority-third, bridge, majorities-ring; `direction` out or in drops only what leaves or enters the target's
    side. Connections that are not cut stay open.
    """
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    chosen = planes or ["peers", "api-server"]
    if unknown := set(chosen) - set(PLANES):
        raise UsageError(f"no plane {', '.join(unknown)}", expected=f"some of: {', '.join(PLANES)}")
    names = [target, *(peers if peers is not None else peers_of(act.kube, namespace, target))]
    if "peers" in chosen and len(names) == 1:
        raise InvalidError(f"{target} has no peers to be cut from: the partition is aimed at nothing")
    partition = one_way(shape_named(shape)(names, target), direction) if "peers" in chosen else None
    side = partition.side if partition else (target,)
    chosen_pods = [act.kube.need_pod(namespace, n) for n in names if partition or n == target]
    members = members_of(act.info, chosen_pods)
    places = _places(act, [p for p in chosen if p != "peers"])
    cuts = (partition.cuts if partition else frozenset()) | outside(side, places, direction)
    cut = Cut(act.info, namespace, members, cuts, {name: [p.address for p in ps] for name, ps in places.items()})
    act.memory.update(cut=cut, direction=direction, places=places, proofs=_Proofs(act, cut, places))
    act.memory["proofs"].need_open()
    aimed = hits(act.kube, namespace, target, planes, shape, direction, peers)
    with act.injecting({"pods": {m.name: m.home for m in members}}, aimed):
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
    names = [target, *(peers if peers is not None else peers_of(kube, namespace, target))]
    inner = one_way(shape_named(shape)(names, target), direction) if "peers" in (planes or PLANES) else None
    side = inner.side if inner else (target,)
    outer = set(planes or ("api-server",)) - {"peers"}
    return Hits(pods=side if outer else (), cuts=inner.cuts if inner else frozenset(), verb="cut off")


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Probe every cut direction over an open connection, a new one and single packets, and what must still work."""
    act = resume(FAULT, namespace, target)
    with act.proving_bite() as lines:
        lines.extend(act.memory["proofs"].bite())
        act.memory["bitten_ns"] = act.memory["applied_ns"]
    return act.report()


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Remove the rules from every member's network namespace."""
    act = resume(FAULT, namespace, target)
    cut: Cut | None = act.memory.get("cut")
    if cut is not None:
        cut.stop()
    act.healing(undo)
    return act.report()


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Probe that packets and new connections pass again in every direction that was cut."""
    act = resume(FAULT, namespace, target)
    proofs: _Proofs = act.memory["proofs"]
    with act.proving_heal() as lines:
        seen = act.until(proofs.healed, "every path that was cut is open again", "heal_s", lambda: proofs.last)
        lines.extend([*act.memory["cut"].remarks, *seen])
        proofs.close()
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the fault's table wherever one of its pods still has it."""

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


def peers_of(kube: Kube, namespace: str, target: str) -> list[str]:
    """Names of the other pods of the target's controller; UsageError when it has none."""
    owner = controller_of(kube.need_pod(namespace, target))
    if owner is None:
        raise UsageError(f"pod {target} has no controller, so its peers are unknown", do="name them with peers=")
    own = [p for p in kube.pods(namespace) if (controller_of(p) or {}).get("uid") == owner["uid"]]
    return sorted(p["metadata"]["name"] for p in own if p["metadata"]["name"] != target)


def _places(act: Act, planes: list[str]) -> dict[str, list[Place]]:
    """Addresses outside by plane: a Service's own and its endpoints', since the pod sees either."""
    found: dict[str, list[Place]] = {}
    for plane in planes:
        if plane == "clients":
            found[plane] = [_clients(act.info)]
        else:
            namespace, service = ("default", "kubernetes") if plane == "api-server" else ("kube-system", "kube-dns")
            found[plane] = _service_places(act.kube, plane, namespace, service)
            if plane == "api-server" and act.info.api_server:
                address, _, port = act.info.api_server.rpartition(":")
                found[plane].append(Place(name=f"{plane} {address}", address=address, port=int(port)))
    return {plane: list({p.address: p for p in places}.values()) for plane, places in found.items()}


def _service_places(kube: Kube, plane: str, namespace: str, name: str) -> list[Place]:
    service = kube.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    if service is None:
        raise UsageError(f"no Service {namespace}/{name}, so plane {plane} cannot be cut", do="leave the plane out")
    port, address = service["spec"]["ports"][0]["port"], service["spec"]["clusterIP"]
    places = [Place(name=f"{plane} {address}", address=address, port=port)]
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    for endpoints in kube.items(slices, labelSelector=f"kubernetes.io/service-name={name}"):
        for endpoint in endpoints.get("endpoints") or []:
            target_port = (endpoints.get("ports") or [{"port": port}])[0]["port"]
            places += [Place(name=f"{plane} {a}", address=a, port=target_port) for a in endpoint["addresses"]]
    return places


def _clients(info: ClusterInfo) -> Place:
    """The load's namespace on this machine."""
    if not info.client_netns:
        raise UsageError("this cluster has no client namespace, so the clients cannot be cut", do="leave out clients")
    here, net = Here(), f"name:{info.client_netns}"
    return Place(name="clients", address=here.call(networks.net_address, net), net=net, reach=here)


class _Proofs:
    """The lines between every two ends of a partition, opened before it."""

    def __init__(self, act: Act, cut: Cut, places: dict[str, list[Place]]) -> None:
        self.cut, self.last = cut, ""
        self._places = places
        self.outside: list[OutsideLine] = []
        self._stale: set[str] = set()
        names = list(cut.members)
        pairs = [(one, other) for i, one in enumerate(names) for other in names[i + 1 :]]
        ends = {pair: (self._place(pair[0]), self._place(pair[1])) for pair in pairs}
        if act.info.client_netns:
            ends["clients", act.target] = _clients(act.info), self._place(act.target)
        lines = at_once([partial(Line, *places) for places in ends.values()])
        self.lines = dict(zip(ends, lines, strict=True))
        for name in names:
            self._open_outside(name)

    def _place(self, name: str) -> Place:
        member = self.cut.members[name]
        return Place(name=name, address=member.address, net=member.net, reach=member.reach)

    def _open_outside(self, name: str) -> None:
        for plane, places in self._places.items():
            if plane != "clients" and (name, plane) in self.cut.cuts | {(b, a) for a, b in self.cut.cuts}:
                self.outside += [OutsideLine(self._place(name), place) for place in places]

    def _is_cut(self, one: str, other: str) -> bool:
        return (one, other) in self.cut.cuts

    def need_open(self) -> None:
        """InvalidError when something that is to be cut does not work before."""
        closed = [s.what for s in ask_until_open(self._packets() + self._connections()) if not s.passes]
        if closed:
            raise InvalidError("cannot prove a cut of what is cut already", seen=", ".join(closed))

    def _packets(self) -> list[Callable[[], Seen]]:
        return [probe for line in self._lines() for probe in (line.packet, partial(line.packet, True))]

    def _connections(self) -> list[Callable[[], Seen]]:
        inner: list[Callable[[], Seen]] = [line.new_connection for line in self._lines()]
        return inner + [line.new_connection for line in self.outside]

    def _lines(self) -> list[Line]:
        return [line for line in self.lines.values() if not {line.one.name, line.other.name} & self._stale]

    def bite(self) -> list[str]:
        """Evidence lines; InvalidError names each path that is not as it should be."""
        wanted: list[tuple[Callable[[], Seen], bool]] = []
        for line in self._lines():
            there, back = line.one.name, line.other.name
            free = [not self._is_cut(there, back), not self._is_cut(back, there)]
            wanted += [(line.packet, free[0]), (partial(line.packet, True), free[1])]
            wanted += [(line.open_connection, all(free)), (line.new_connection, all(free))]
            if not all(free):
                wanted.append((partial(line.new_connection, True), False))
        for out in self.outside:
            wanted += [(out.open_connection, False), (out.new_connection, False)]
        seen = ask_all([probe for probe, passes in wanted if not passes])
        wrong = [s.what for s in seen if s.passes]
        free_paths = ask_until_open([probe for probe, passes in wanted if passes])
        wrong += [s.what for s in free_paths if not s.passes]
        seen += free_paths
        if wrong:
            raise InvalidError("the partition is not the one that was asked for", seen="wrong: " + ", ".join(wrong))
        return [f"{s.what}: {'passes, as it must' if s.passes else 'cut'}" for s in seen]

    def replaced(self, name: str) -> None:
        """A member was replaced: its old sockets say nothing any more."""
        self._stale.add(name)

    def healed(self) -> list[str] | None:
        """Evidence lines once everything passes again; None before. Replaced members get new lines."""
        try:
            for name in self.cut.refresh():
                self.replaced(name)
            self._renew_stale()
            seen = ask_all(self._packets() + self._connections())
        except InstrumentError as error:
            self.last = f"a replaced pod is not reached yet: {error.message}"
            self._stale.update(self.cut.members)  # an agent that was started anew has lost its sockets
            return None
        self.last = ", ".join(s.what for s in seen if not s.passes) or "all open"
        return [f"{s.what}: passes again" for s in seen] if all(s.passes for s in seen) else None

    def _renew_stale(self) -> None:
        for name in list(self._stale):
            for pair, line in list(self.lines.items()):
                if name in pair:
                    ends = [self._place(n) if n in self.cut.members else line.one for n in pair]
                    line.close()
                    self.lines[pair] = Line(*ends)
            self.outside = [line for line in self.outside if line.one.name != name]
            self._open_outside(name)
            self._stale.discard(name)

    def close(self) -> None:
        """Close every socket."""
        at_once([*[line.close for line in self.lines.values()], *[line.close for line in self.outside]])
