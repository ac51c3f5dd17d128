"""Blast radius: what every fault must pass before it does anything.

`act.begin` calls `admit` (whether faults may be done here at all) and `Act.injecting` calls `refuse_beyond` (how much
this one would hit), so no fault gets around either. Both only read.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from steadyset.chaos.abort import refuse_stopped
from steadyset.chaos.fault import Fault
from steadyset.chaos.kube import Json, Kube, RefusedError, controller_of, is_ready
from steadyset.chaos.ledger import SYSTEM, ClusterLedger, HostLedger, Record
from steadyset.chaos.partition import Cuts
from steadyset.chaos.quorum import MINORITY, Loss, loss, share_of
from steadyset.chaos.reach import at_once, both
from steadyset.chaos.rights import LEDGER, LOOK, LOOK_AT_NODES, Right, lacking
from steadyset.chaos.targets import NODE_PREFIX, names_node, pods_of, resolve
from steadyset.chaos.vantage import own_addresses, server_addresses
from steadyset.clusterinfo import AGENT_CAPABILITIES, ClusterInfo
from steadyset.errors import SteadysetError, UsageError

OPT_IN, ALLOWED = "steadyset.dev/chaos", "allowed"  # label of namespaces, and of nodes of clusters that are not ours
VARIABLE = "STEADYSET_CHAOS_"
SETTINGS = {"max-pods": MINORITY, "max-nodes": MINORITY, "confirm-uid": ""}
FILE, TABLE = Path("steadyset.toml"), "chaos"


class Hits(msgspec.Struct, kw_only=True, frozen=True):
    """What a fault does harm to: pods by name in the target's namespace, nodes, and cuts between pods."""

    pods: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    cuts: Cuts = frozenset()
    verb: str = "hit"


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """The caps in force, and which foreign cluster was confirmed; see `quorum.share_of` for what a share may be."""

    max_pods: str = MINORITY
    max_nodes: str = MINORITY
    confirm_uid: str = ""


def limits(**given: str) -> Limits:
    """As given by name, else from the environment (STEADYSET_CHAOS_MAX_PODS, _MAX_NODES, _CONFIRM_UID), else from
    `[chaos]` of steadyset.toml. "" is as good as not given."""
    table: dict[str, object] = {}
    if FILE.is_file():
        try:
            table = tomllib.loads(FILE.read_text()).get(TABLE, {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{FILE} is not TOML: {error}") from None
        if unknown := set(table) - set(SETTINGS):
            raise UsageError(
                f"{FILE}: [{TABLE}] has no setting {', '.join(sorted(unknown))}", expected=", ".join(SETTINGS)
            )
    values = {
        name.replace("-", "_"): given.get(name.replace("-", "_"), "")
        or os.environ.get(VARIABLE + name.replace("-", "_").upper(), "")
        or str(table.get(name, default))
        for name, default in SETTINGS.items()
    }
    for name in ("max_pods", "max_nodes"):
        share_of(values[name], 1, name)
    return Limits(**values)


def ours(info: ClusterInfo) -> bool:
    """Whether the cluster is one that steadyset made: its nodes and control plane are then ours to break."""
    return info.provider == "embedded"


def refuse_incapable(fault: Fault, info: ClusterInfo) -> None:
    """UsageError when the cluster lacks a capability that the fault needs."""
    missing = [c for c in fault.capabilities if not info.can(c)]
    if missing:
        raise UsageError(
            f"{fault} needs what cluster {info.name} ({info.provider}) does not offer",
            expected=", ".join(fault.capabilities),
            seen=", ".join(info.capabilities) or "no capabilities",
            do="report it as not tested, or use the embedded cluster"
            + ("; steadyset agent install adds it" if set(missing) <= set(AGENT_CAPABILITIES) else ""),
        )


def admission(
    fault: Fault, info: ClusterInfo, kube: Kube, namespace: str, target: str
) -> list[tuple[str, Callable[[], None]]]:
    """What is looked at before a fault may begin, by name, each a function that raises when it may not."""
    return [
        ("cluster confirmed", lambda: _refuse_unconfirmed(info, kube)),
        ("not aborted", lambda: refuse_stopped(info, kube, namespace)),
        ("opted in", lambda: _refuse_not_opted_in(fault, info, kube, namespace, target)),
        ("rights", lambda: _refuse_without_rights(fault, info, kube, namespace)),
    ]


def admit(fault: Fault, info: ClusterInfo, kube: Kube, namespace: str, target: str) -> None:
    """Raise when no such fault may be begun there: UsageError, AbortedError, or UnreachableError."""
    at_once([refuse for _, refuse in admission(fault, info, kube, namespace, target)])


def _refuse_unconfirmed(info: ClusterInfo, kube: Kube) -> None:
    if ours(info):
        return
    system = _readable(kube, f"/api/v1/namespaces/{SYSTEM}") or {"metadata": {"uid": ""}}
    uid = system["metadata"]["uid"]
    given = limits().confirm_uid or info.confirmed
    if given != uid or not uid:
        raise UsageError(
            f"cluster {info.name} is not ours and is not confirmed: things will be broken in it",
            expected=f"its UID: {uid}",
            seen=given or "nothing",
            do=f"if this is the cluster you mean: --confirm-uid {uid}, or {VARIABLE}CONFIRM_UID={uid}",
        )


def _refuse_not_opted_in(fault: Fault, info: ClusterInfo, kube: Kube, namespace: str, target: str) -> None:
    """Namespaces opt in on every cluster; nodes and the control plane on clusters that are not ours."""
    on_node = target.startswith(NODE_PREFIX)
    in_namespace = fault.target in ("pod", "namespace") or (
        not on_node and (fault.target == "node" or names_node(kube, namespace, target))
    )
    if in_namespace:
        _need_label(kube, "namespace", f"/api/v1/namespaces/{namespace}")
    if ours(info):
        return
    if fault.target == "node" or (fault.target == "cluster" and (on_node or in_namespace)):
        for victim in resolve(kube, "node", namespace, target):
            _need_label(kube, "node", f"/api/v1/nodes/{victim.name}")
    elif fault.target == "cluster":
        _need_label(kube, "namespace", f"/api/v1/namespaces/{SYSTEM}")


def _need_label(kube: Kube, kind: str, path: str) -> None:
    name, found = path.rpartition("/")[2], _readable(kube, path)
    if found is None:
        raise UsageError(f"no {kind} {name} to aim at", do=f"kubectl get {kind}s")
    value = (found["metadata"].get("labels") or {}).get(OPT_IN, "")
    if value != ALLOWED:
        raise UsageError(
            f"{kind} {name} is not open to faults",
            expected=f"its label {OPT_IN}={ALLOWED}",
            seen=f"{OPT_IN}={value}" if value else "no such label",
            do=f"if it may be broken: kubectl label {kind} {name} {OPT_IN}={ALLOWED}",
        )


def _readable(kube: Kube, path: str) -> Json | None:
    try:
        return kube.get(path)
    except RefusedError as error:
        raise UsageError(
            f"the account may not read {path}",
            expected="the rights of docs/rbac.yaml",
            seen=error.message,
            do="kubectl apply -f docs/rbac.yaml, and use the account steadyset/steadyset that it makes",
        ) from None


def _refuse_without_rights(fault: Fault, info: ClusterInfo, kube: Kube, namespace: str) -> None:
    """The account of an embedded cluster is its administrator's; others are asked right by right."""
    if ours(info):
        return
    missing = lacking(kube, rights_of(fault), [namespace])
    if missing:
        raise UsageError(
            f"the account of {info.kubeconfig} may not do what {fault} does",
            expected="the rights of docs/rbac.yaml",
            seen="not allowed: " + "; ".join(f"{right} ({right.why})" for right in missing),
            do="kubectl apply -f docs/rbac.yaml, and use the account steadyset/steadyset that it makes",
        )


def rights_of(fault: Fault) -> tuple[Right, ...]:
    """All that an account needs for that fault: to look around, to write ahead, and for the fault itself."""
    nodes = LOOK_AT_NODES if fault.target == "node" else ()
    ledger = LEDGER if hasattr(fault.load(), "undo") else ()
    return (*LOOK, *nodes, *ledger, *fault.rights)


def look_around(fault: Fault, info: ClusterInfo, kube: Kube, namespace: str) -> None:
    """Read what will be needed anyway, where `kube` remembers it, while the admission is still asked for."""
    if fault.target == "pod":
        with suppress(SteadysetError):  # whoever needs it will say so
            both(lambda: kube.pods(namespace), ClusterLedger(info, kube, namespace).records)


def default_hits(fault: Fault, kube: Kube, namespace: str, target: str) -> Hits:
    """What a fault hits that does not say so itself: its pod, or its node with the pods of `namespace` on it."""
    if fault.target == "pod":
        return Hits(pods=tuple(p["metadata"]["name"] for p in pods_of(kube, namespace, target)))
    if fault.target == "namespace" or (fault.target == "cluster" and not names_node(kube, namespace, target)):
        return Hits()
    victims = resolve(kube, "node", namespace, target)
    nodes = tuple(v.name for v in victims)
    if not fault.disturbs:
        return Hits(nodes=nodes)
    pods = {n: p for n, p in _pods(kube, namespace).items() if p["spec"].get("nodeName") in nodes}
    if not target.startswith(NODE_PREFIX):
        owners = {_owner_uid(pods[name]) for victim in victims for name in victim.pods if name in pods}
        pods = {n: p for n, p in pods.items() if _owner_uid(p) in owners}
    return Hits(pods=tuple(sorted(pods)), nodes=nodes)


class Reach(msgspec.Struct, kw_only=True):
    """How far `hits` would go: losses of the workloads hit, nodes out of order with them, and whether that is much.

    `pods_allowed` has one number for each loss.
    """

    hits: Hits
    losses: list[Loss] = []
    pods_allowed: list[int] = []
    nodes: int = 0
    nodes_hit: list[str] = []
    nodes_down: list[str] = []
    nodes_allowed: int = 0
    live: set[str] = set()  # IDs of the other live faults that were counted

    def lines(self) -> list[str]:
        """The arithmetic, one line for each workload and one for the nodes."""
        lines = [str(each) for each in self.losses]
        if self.nodes_hit:
            down = f", {len(self.nodes_down)} down already ({', '.join(self.nodes_down)})" if self.nodes_down else ""
            lines.append(f"nodes: {self.nodes}, {len(self.nodes_hit)} hit ({', '.join(self.nodes_hit)}){down}")
        return lines


def reach(
    info: ClusterInfo,
    kube: Kube,
    namespace: str,
    hits: Hits,
    *,
    caps: Limits | None = None,
    own: str = "",
    pods: dict[str, Json] | None = None,
) -> Reach:
    """What `hits` add to what is down already: pods that are not Ready, nodes too, and what live faults hold.

    `own` is the ID of the fault's own record, which is not counted; `pods` are those of the namespace where they are
    known already. UsageError when a pod or node does not exist.
    """
    caps = caps or limits()
    live = [r for r in _live(info, kube, namespace) if r.id != own]
    found = Reach(hits=hits, live={r.id for r in live})
    if hits.pods or hits.cuts:
        pods = _pods(kube, namespace) if pods is None else pods
        named = [*hits.pods, *sorted(end for cut in hits.cuts for end in cut if end in pods)]
        for name in named:
            if name not in pods:
                kube.need_pod(namespace, name)
        down = {name for name, pod in pods.items() if not is_ready(pod)}
        down |= {name for r in live if r.namespace == namespace for name in r.pods}
        owned = [name for name in named if name in pods and controller_of(pods[name])]  # others are no workload's
        for owner in dict.fromkeys(_owner_uid(pods[name]) for name in owned):
            members = sorted(name for name, pod in pods.items() if _owner_uid(pod) == owner)
            title, wanted = _workload(kube, namespace, pods[members[0]])
            each = loss(title, members, hits.pods, down, cuts=hits.cuts, verb=hits.verb, wanted=wanted)
            found.losses.append(each)
            found.pods_allowed.append(share_of(caps.max_pods, each.members, "max-pods"))
    if hits.nodes:
        nodes = kube.items("/api/v1/nodes")
        down_nodes = {n["metadata"]["name"] for n in nodes if not is_ready(n)} | {n for r in live for n in r.nodes}
        found.nodes, found.nodes_hit = len(nodes), sorted(hits.nodes)
        found.nodes_down = sorted(down_nodes - set(hits.nodes))
        found.nodes_allowed = share_of(caps.max_nodes, len(nodes), "max-nodes")
    return found


def refuse_beyond(
    info: ClusterInfo,
    kube: Kube,
    fault: Fault,
    namespace: str,
    hits: Hits,
    *,
    caps: Limits | None = None,
    own: str = "",
) -> Reach:
    """UsageError when the fault would go beyond the caps, or hit what steadyset itself needs."""
    caps = caps or limits()
    pods = _pods(kube, namespace) if hits.pods or hits.cuts else {}
    _refuse_self(kube, fault, hits, pods)
    found = reach(info, kube, namespace, hits, caps=caps, own=own, pods=pods)
    for each, allowed in zip(found.losses, found.pods_allowed, strict=True):
        if hits.nodes and each.members == 1:
            continue  # a node takes along what is on it, and one member has no quorum to keep
        if each.hit and each.lost > allowed:
            raise _beyond(
                fault, f"{allowed} of the {each.members} pods", "max-pods", caps.max_pods, str(each), each.lost
            )
    lost = len(found.nodes_hit) + len(found.nodes_down)
    if found.nodes_hit and lost > found.nodes_allowed:
        seen = next(line for line in found.lines() if line.startswith("nodes:"))
        raise _beyond(
            fault, f"{found.nodes_allowed} of the {found.nodes} nodes", "max-nodes", caps.max_nodes, seen, lost
        )
    return found


def _beyond(fault: Fault, allowed: str, name: str, share: str, seen: str, lost: int) -> SteadysetError:
    key = name.replace("-", "_")
    allow = f'--{name} {lost}; in a test {key}="{lost}"; else {VARIABLE}{key.upper()}={lost}'
    return UsageError(
        f"{fault} would go beyond the blast radius",
        expected=f"at most {allowed} out of order at a time ({name} = {share})",
        seen=seen,
        do=f"choose another target, wait until what is down has recovered, or allow it: {allow}",
    )


def refuse_newcomers(info: ClusterInfo, kube: Kube, fault: Fault, namespace: str, before: Reach, own: str) -> None:
    """Once the fault's own record stands: look at the caps again if other faults began since `before`.

    Of two that begin at the same moment each sees the other, so at most one goes on.
    """
    if {r.id for r in _live(info, kube, namespace)} - before.live - {own}:
        refuse_beyond(info, kube, fault, namespace, before.hits, own=own)


def _refuse_self(kube: Kube, fault: Fault, hits: Hits, pods: dict[str, Json]) -> None:
    """UsageError when the fault would hit the pod or node that steadyset runs in, or that its API server answers at."""
    if not fault.disturbs:
        return
    names = set(hits.pods) | {end for cut in hits.cuts for end in cut}
    places = [(f"pod {n}", [p.get("status", {}).get("podIP", "")]) for n, p in pods.items() if n in names]
    for name in hits.nodes:
        places.append((f"node {name}", [a["address"] for a in kube.node(name).get("status", {}).get("addresses", [])]))
    mine = (
        ("steadyset itself runs there", own_addresses()),
        ("the API server it talks to answers there", server_addresses(kube)),
    )
    for what, addresses in places:
        for why, needed in mine:
            if both := set(addresses) & needed:
                raise UsageError(
                    f"{fault} on {what} would cut steadyset off: {why}",
                    expected="a target that neither steadyset nor its way to the API server depends on",
                    seen=", ".join(sorted(both)),
                    do="choose another target, or run steadyset from elsewhere",
                )


def _live(info: ClusterInfo, kube: Kube, namespace: str) -> Iterable[Record]:
    """Faults that are in the ledgers: not undone yet, be their lease over or not."""
    records = {r.id: r for r in HostLedger(info).records()}
    records |= {r.id: r for r, _ in ClusterLedger(info, kube, namespace).records()}
    return records.values()


def _pods(kube: Kube, namespace: str) -> dict[str, Json]:
    """The namespace's pods by name, finished ones aside."""
    unfinished = [p for p in kube.pods(namespace) if p.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    return {p["metadata"]["name"]: p for p in unfinished}


def _owner_uid(pod: Json) -> str:
    owner = controller_of(pod)
    return str(owner["uid"]) if owner else str(pod["metadata"]["uid"])


def _workload(kube: Kube, namespace: str, pod: Json) -> tuple[str, int]:
    """Its controller's kind and name, and how many replicas that wants (0 where it does not say)."""
    owner, wanted = controller_of(pod) or {"kind": "", "name": ""}, 0
    if owner["kind"] == "StatefulSet":
        with suppress(RefusedError):
            found = kube.get(f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{owner['name']}")
            wanted = int(found["spec"].get("replicas", 1)) if found else 0
    return f"{owner['kind']} {owner['name']}", wanted
