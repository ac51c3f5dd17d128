"""Take the cluster's DNS down: its Deployment is scaled to none, so that no name is resolved for anybody."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.dns import KUBE_SYSTEM, SERVICE, answers, deployment_of, ready_endpoints
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="dns-down",
    lease=Lease.WATCHDOG,
    summary="scale the cluster's DNS to none, so that no name is resolved for anybody",
    deadlines={"bite_s": 60.0, "heal_s": 120.0},
    target="cluster",
    rights=(
        Right("", "services", ("get",), "find the cluster's DNS", space=KUBE_SYSTEM),
        Right("", "pods", ("list",), "find what runs it", space=KUBE_SYSTEM),
        Right("apps", "replicasets", ("get",), "find what runs it", space=KUBE_SYSTEM),
        Right("apps", "deployments", ("get", "patch"), "scale it to none and back", space=KUBE_SYSTEM),
        Right("discovery.k8s.io", "endpointslices", ("list",), "see whether it is down", space=KUBE_SYSTEM),
    ),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Scale the Deployment behind Service kube-system/`target` (kube-dns, as every cluster calls it) to none. For one
    pod alone: network-partition with planes=["dns"]."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    service = act.kube.get(f"/api/v1/namespaces/{KUBE_SYSTEM}/services/{target}")
    if service is None:
        raise UsageError(f"no Service {KUBE_SYSTEM}/{target}", expected=SERVICE, seen=target)
    path = deployment_of(act.kube, service)
    replicas = (act.kube.get(path) or {"spec": {}})["spec"].get("replicas", 0)
    act.memory["path"] = path
    act.memory["address"] = service["spec"]["clusterIP"] if act.info.client_netns else ""
    if not replicas or not _resolves(act):
        raise InvalidError("DNS answers nothing as it is: taking it down would prove nothing")
    with act.injecting({"path": path, "replicas": replicas}):
        act.kube.request("PATCH", path, {"spec": {"replicas": 0}})
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Scale back to what it was; what somebody else scaled up meanwhile stays."""

    def change(obj: Json) -> Json | None:
        return None if obj["spec"].get("replicas") else {"spec": {"replicas": record.undo["replicas"]}}

    kube.update(record.undo["path"], change)
    return [f"{record.undo['path'].rpartition('/')[2]}: {record.undo['replicas']} replicas again"]


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """The number of replicas."""
    obj = kube.get(undo["path"])
    return {f"replicas of {undo['path'].rpartition('/')[2]}": str(obj["spec"].get("replicas")) if obj else "gone"}


def _resolves(act: Act) -> bool:
    """Whether there are endpoints, and a query from where load runs (where that can be asked) is answered."""
    if not ready_endpoints(act.kube, act.target):
        return False
    return not act.memory["address"] or answers(act.info, act.memory["address"])


def _down(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the Service has no ready endpoints and a query gets no answer, while its Deployment wants no pods.

    One that is scaled up again is without endpoints for a moment, too.
    """
    deployment = act.kube.get(act.memory["path"])
    if deployment is None or deployment["spec"].get("replicas") or ready_endpoints(act.kube, act.target):
        return None
    lines = [f"Service {act.target} has no ready endpoints, and its Deployment wants none"]
    if act.memory["address"]:
        if answers(act.info, act.memory["address"]):
            return None
        lines.append(f"a query to {act.memory['address']} gets no answer")
    return lines


def _up(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the Service has ready endpoints and a query is answered."""
    return [f"Service {act.target} answers"] if _resolves(act) else None


def _seen(act: Act, victim: Victim) -> str:
    wanted = (act.kube.get(act.memory["path"]) or {"spec": {}})["spec"].get("replicas")
    return f"replicas wanted: {wanted}; ready endpoints: {ready_endpoints(act.kube, act.target) or 'none'}"


prove_bite = bite_probe(FAULT, _down, "DNS gives no answer", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _up, "DNS answers", _seen)
