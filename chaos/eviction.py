"""The eviction API: a deletion that disruption budgets may refuse."""

from __future__ import annotations

from steadyset.chaos.kube import Json, Kube, RefusedError

REFUSED_BY_BUDGET = 429


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
