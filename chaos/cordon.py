"""Mark a node unschedulable so that several faults, and several runners, can do it and each undo only its own.

Every cordon of ours is an annotation on the node; the node becomes schedulable again when the last of them goes,
unless it was unschedulable before the first.
"""

from __future__ import annotations

from collections.abc import Callable

from steadyset.chaos.kube import Json, Kube, RefusedError
from steadyset.errors import InstrumentError

ANNOTATION = "cordon.steadyset.io/"
BEFORE, ALREADY = "open", "already-cordoned"
CONFLICT_RETRIES = 20  # a node's status is written every few seconds: conflicts are rare and short


def cordon(kube: Kube, node: str, owner: str) -> None:
    """Make the node unschedulable in the name of `owner` (a ledger record's ID)."""

    def change(obj: Json) -> Json:
        closed = bool(obj["spec"].get("unschedulable"))
        ours = [v for k, v in _annotations(obj).items() if k.startswith(ANNOTATION)]
        was = ALREADY if closed and (not ours or ALREADY in ours) else BEFORE
        return {"metadata": {"annotations": {ANNOTATION + owner: was}}, "spec": {"unschedulable": True}}

    _update(kube, node, change)


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

    _update(kube, node, change)
    return done


def our_cordons(node: Json) -> list[str]:
    """IDs of the records in whose name the node is cordoned."""
    return [k.removeprefix(ANNOTATION) for k in _annotations(node) if k.startswith(ANNOTATION)]


def _annotations(obj: Json) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def _update(kube: Kube, node: str, change: Callable[[Json], Json | None]) -> None:
    """Read, change and patch, again when somebody else wrote in between; a node that is gone is left alone."""
    for _ in range(CONFLICT_RETRIES):
        obj = kube.get(f"/api/v1/nodes/{node}")
        patch = change(obj) if obj else None
        if obj is None or patch is None:
            return
        patch["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
        try:
            kube.request("PATCH", f"/api/v1/nodes/{node}", patch)
        except RefusedError as error:
            if error.status != 409:
                raise
        else:
            return
    raise InstrumentError(f"node {node} changes so fast that it could not be updated in {CONFLICT_RETRIES} attempts")
