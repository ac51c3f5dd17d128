"""The eviction API: a deletion that disruption budgets may refuse, and the pods that a drain asks it for."""

from __future__ import annotations

from steadyset.chaos.kube import Json, Kube, RefusedError, controller_of

REFUSED_BY_BUDGET = 429
MIRROR = "kubernetes.io/config.mirror"


def evict(kube: Kube, namespace: str, name: str, uid: str) -> str:
    """Ask for the eviction of that very pod. "" when under way (or the pod is gone), else the budget's refusal."""
    body: Json = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": uid}},
    }
    try:
        kube.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)
    except RefusedError as error:
        if error.status == REFUSED_BY_BUDGET:
            return error.message
        if error.status not in (404, 409):
            raise
    return ""


def evictable(kube: Kube, node: str) -> list[Json]:
    """The node's pods that a drain evicts: all but those of DaemonSets, mirror pods and finished ones."""
    return [
        pod
        for pod in kube.pods(fieldSelector=f"spec.nodeName={node}")
        if (controller_of(pod) or {}).get("kind") != "DaemonSet"
        and MIRROR not in (pod["metadata"].get("annotations") or {})
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]
