"""What a fault is aimed at: a pod by name or by role, the node of one, or something of the cluster's own.

member-1  pod/member-1     that pod
primary  replica           the pods that bear a primary's label; one drawn from those that do not
random  majority  all      drawn, or every one
ordinal:2                  member 2 of a StatefulSet
random:7  majority:7       a draw by that seed, to be repeated
all@db                     of the workload (StatefulSet, Deployment, …) called db, where the namespace has several
node/node-2                that node, for faults of nodes; for these a pod stands for its node
"""

from __future__ import annotations

import random
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from steadyset.chaos.kube import Json, Kube, controller_of, uid_of
from steadyset.errors import UsageError

NODE_PREFIX, POD_PREFIX = "node/", "pod/"
ROLES = ("primary", "replica", "random", "ordinal", "majority", "all")
NUMBERED = ("random", "replica", "majority")  # a number after the colon is their seed
EXPRESSION = re.compile(rf"({'|'.join(ROLES)})(?::([0-9]+))?(?:@(\S+))?")
SEEDS = 1_000_000

# Labels by which operators mark who acknowledges writes: Patroni, Zalando, CloudNativePG, Crunchy, KubeDB, Percona.
PRIMARY_LABELS = (
    "role",
    "spilo-role",
    "cnpg.io/instanceRole",
    "postgres-operator.crunchydata.com/role",
    "kubedb.com/role",
    "mysql.oracle.com/cluster-role",
    "redis-role",
)
PRIMARY_VALUES = ("primary", "master", "leader")


@dataclass
class Victim:
    """One pod or node that a fault breaks; `seen` is for the fault's functions, to remember what they saw of it."""

    name: str
    obj: Json = field(default_factory=dict)  # the pod or node as it was found
    pods: list[str] = field(default_factory=list)  # of a node: the pods that stood for it
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Its UID as it was found."""
        return uid_of(self.obj) if self.obj else ""


def resolve(kube: Kube, kind: str, namespace: str, target: str) -> list[Victim]:
    """The victims of `target` for a fault on a `kind` (pod, node; anything else stands for itself).

    Errors: UsageError for a target that does not exist or a role that cannot be filled.
    """
    if kind == "pod":
        return [Victim(name=p["metadata"]["name"], obj=p) for p in pods_of(kube, namespace, target)]
    if kind != "node":
        return [Victim(name=target)]
    if target.startswith(NODE_PREFIX):
        name = target.removeprefix(NODE_PREFIX)
        return [Victim(name=name, obj=kube.node(name))]
    found: dict[str, Victim] = {}
    for pod in pods_of(kube, namespace, target):
        node = _node_name(pod)
        victim = found.setdefault(node, Victim(name=node, obj=kube.node(node)))
        victim.pods.append(pod["metadata"]["name"])
    return list(found.values())


def names_node(kube: Kube, namespace: str, target: str) -> bool:
    """Whether the target is a node or a pod on one, rather than something of the cluster's own."""
    by_role = EXPRESSION.fullmatch(target) is not None
    return by_role or target.startswith((NODE_PREFIX, POD_PREFIX)) or kube.pod(namespace, target) is not None


def pods_of(kube: Kube, namespace: str, target: str) -> list[Json]:
    """The pods that `target` names, by ordinal; UsageError when there are none or fewer than it says."""
    matched = EXPRESSION.fullmatch(target)
    if matched is None:
        return [kube.need_pod(namespace, target.removeprefix(POD_PREFIX))]
    role, number, workload = matched.groups()
    members = members_of(kube, namespace, workload or "")
    if role == "all":
        return members
    if role == "ordinal":
        return [_ordinal(members, number)]
    primaries = [m for m in members if is_primary(m)]
    if role == "primary":
        if not primaries:
            raise _unmarked(members)
        return primaries
    if role == "majority" and len(members) < 2:
        raise UsageError("a majority of one is that one", expected="two members or more", do="name the pod itself")
    candidates = members
    if role == "replica":
        if not primaries:
            raise _unmarked(members)
        candidates = [m for m in members if not is_primary(m)]
        if not candidates:
            raise UsageError("every member is a primary: there is no replica to aim at", do="aim at primary")
    draw = random.Random(int(number) if number is not None else secrets.randbelow(SEEDS))
    drawn = draw.sample(candidates, len(members) // 2 + 1 if role == "majority" else 1)
    return [m for m in members if m in drawn]


def with_seed(target: str, seed: int) -> str:
    """The same target with its draw fixed by `seed`, where it is drawn and bears no seed yet."""
    matched = EXPRESSION.fullmatch(target)
    if matched is None or matched[1] not in NUMBERED or matched[2] is not None:
        return target
    return f"{matched[1]}:{seed}" + (f"@{matched[3]}" if matched[3] else "")


def members_of(kube: Kube, namespace: str, workload: str = "") -> list[Json]:
    """The pods of the workload, by ordinal: the controller of that name, or the namespace's only StatefulSet.

    UsageError when there is none, or more than one to choose from.
    """
    by_owner: dict[str, list[Json]] = {}
    for pod in kube.pods(namespace):
        owner = controller_of(pod)
        if owner is not None and (owner["name"] == workload or (not workload and owner["kind"] == "StatefulSet")):
            by_owner.setdefault(owner["name"], []).append(pod)
    if not by_owner:
        what = f"workload {workload}" if workload else "StatefulSet"
        raise UsageError(f"namespace {namespace} has no pods of a {what} to aim at", do="name a pod")
    if len(by_owner) > 1:
        names = ", ".join(sorted(by_owner))
        raise UsageError(
            f"namespace {namespace} has several workloads to aim at", expected=f"one of: {names}", do="add @NAME"
        )
    return sorted(next(iter(by_owner.values())), key=_ordinal_of)


def is_primary(pod: Json) -> bool:
    """Whether the pod bears a label by which operators mark a primary."""
    labels = pod["metadata"].get("labels") or {}
    return any(str(labels.get(key, "")).lower() in PRIMARY_VALUES for key in PRIMARY_LABELS)


def _ordinal_of(pod: Json) -> tuple[int, str]:
    name = str(pod["metadata"]["name"])
    number = name.rpartition("-")[2]
    return (int(number), name) if number.isdigit() else (-1, name)


def _ordinal(members: list[Json], number: str | None) -> Json:
    for member in members:
        if number is not None and _ordinal_of(member)[0] == int(number):
            return member
    known = ", ".join(f"ordinal:{_ordinal_of(m)[0]}" for m in members)
    raise UsageError("there is no such member", expected=f"one of: {known}", seen=f"ordinal:{number or ''}")


def _unmarked(members: list[Json]) -> UsageError:
    names = ", ".join(m["metadata"]["name"] for m in members)
    return UsageError(
        "no member bears a primary's label, so who is primary is unknown",
        expected=f"one of the labels {', '.join(PRIMARY_LABELS)} with the value {' or '.join(PRIMARY_VALUES)}",
        do=f"name the pod: one of {names}",
    )


def _node_name(pod: Json) -> str:
    node = pod["spec"].get("nodeName", "")
    if not node:
        raise UsageError(f"pod {pod['metadata']['name']} is on no node yet", do="wait until it is scheduled")
    return str(node)


def node_of(kube: Kube, namespace: str, target: str) -> str:
    """The one node of `target`. UsageError when there is none, or when it means several."""
    victims = resolve(kube, "node", namespace, target)
    if len(victims) > 1:
        raise UsageError(f"{target} is on several nodes", seen=", ".join(v.name for v in victims), do="name one pod")
    return victims[0].name


def node_ready(kube: Kube, name: str) -> bool:
    """Whether the node has condition Ready."""
    conditions = kube.node(name).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
