"""The cluster's DNS: what runs it, and whether it answers."""

from __future__ import annotations

from steadyset.chaos.agent.names import resolves
from steadyset.chaos.kube import Json, Kube, controller_of
from steadyset.chaos.reach import Here
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

KUBE_SYSTEM, SERVICE = "kube-system", "kube-dns"
QUERY_TIMEOUT_S = 1.0  # dns_query: DNS answers within milliseconds


def deployment_of(kube: Kube, service: Json) -> str:
    """Path of the Deployment whose pods the Service selects; UsageError when there is none."""
    labels = ",".join(f"{k}={v}" for k, v in service["spec"].get("selector", {}).items())
    for pod in kube.pods(KUBE_SYSTEM, labelSelector=labels):
        owner = controller_of(pod) or {}
        if owner.get("kind") == "ReplicaSet":
            replicas = kube.get(f"/apis/apps/v1/namespaces/{KUBE_SYSTEM}/replicasets/{owner['name']}")
            deployment = controller_of(replicas) if replicas else None
            if deployment is not None and deployment["kind"] == "Deployment":
                return f"/apis/apps/v1/namespaces/{KUBE_SYSTEM}/deployments/{deployment['name']}"
    raise UsageError(f"no Deployment runs Service {service['metadata']['name']}", do="cut DNS with network-partition")


def ready_endpoints(kube: Kube, service: str) -> list[str]:
    """Addresses of the Service's endpoints that are ready."""
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{KUBE_SYSTEM}/endpointslices"
    return [
        address
        for found in kube.items(slices, labelSelector=f"kubernetes.io/service-name={service}")
        for endpoint in found.get("endpoints") or []
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    ]


def answers(info: ClusterInfo, server: str) -> bool:
    """Whether a query sent from where load runs to `server` gets any answer."""
    return Here().call(resolves, f"name:{info.client_netns}", server, QUERY_TIMEOUT_S)
