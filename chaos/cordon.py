"""Mark a node unschedulable so that several faults, and several runners, can do it and each undo only its own.

Every cordon of ours is an annotation on the node; the node becomes schedulable again when the last of them goes,
unless it was unschedulable before the first.
"""

from __future__ import annotations

from steadyset.chaos.kube import Json, Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError

ANNOTATION = "cordon.steadyset.io/"
BEFORE, ALREADY = "open", "already-cordoned"
NODES = "/api/v1/nodes"


def need_open(victim: Victim) -> None:
    """InvalidError when the node takes no pods as it is."""
    if victim.obj["spec"].get("unschedulable"):
        raise InvalidError(f"node {victim.name} is cordoned already: cordoning it would change nothing")


def cordon(kube: Kube, node: str, owner: str) -> None:
    """Make the node unschedulable in the name of `owner` (a ledger record's ID)."""

    def change(obj: Json) -> Json:
        closed = bool(obj["spec"].get("unschedulable"))
        ours = [v for k, v in _annotations(obj).items() if k.startswith(ANNOTATION)]
        was = ALREADY if closed and (not ours or ALREADY in ours) else BEFORE
        return {"metadata": {"annotations": {ANNOTATION + owner: was}}, "spec": {"unschedulable": True}}

    kube.update(f"{NODES}/{node}", change)


def uncordon(kube: Kube, node: str, owner: str) -> list[str]:
    """Take back the cordon of `owner`; one line that says what that changed, none when it was not there."""
    done: list[str] = []

    def change(obj: Json) -> Json | None:
        annotations = {k: v for k, v in _annotations(obj).items() if k.startswith(ANNOTATION)}
        was = annotations.pop(ANNOTATION + owner, None)
        done.clear()
        if was is None:
            return None
        patch: Json = {"metadata": {"annotations": {ANNOTATION + owner: None}}}
        if annotations or was == ALREADY:
            done.append(f"node {node}: cordon of {owner} taken back; it stays cordoned by others")
        else:
            patch["spec"] = {"unschedulable": None}
            done.append(f"node {node}: uncordoned")
        return patch

    kube.update(f"{NODES}/{node}", change)
    return done


def uncordon_all(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Take back the cordons of this record."""
    return [line for node in record.undo["nodes"] for line in uncordon(kube, node, record.id)]


def found_schedulable(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """Whether the nodes of a record take pods."""
    found = {}
    for name in undo["nodes"]:
        node = kube.get(f"{NODES}/{name}")
        found[f"node {name} unschedulable"] = str(bool(node and node["spec"].get("unschedulable")))
    return found


def stray_cordons(info: ClusterInfo, kube: Kube, live_ids: set[str]) -> list[str]:
    """Cordons of ours that belong to no live fault."""
    return [
        f"node {node['metadata']['name']}: cordon of {owner}"
        for node in kube.items(NODES)
        for owner in our_cordons(node)
        if owner not in live_ids
    ]


def our_cordons(node: Json) -> list[str]:
    """IDs of the records in whose name the node is cordoned."""
    return [k.removeprefix(ANNOTATION) for k in _annotations(node) if k.startswith(ANNOTATION)]


def _annotations(obj: Json) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found
