"""What is watched: each kind with the client call that lists and watches it. Secrets are not among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes import client


@dataclass(frozen=True)
class Kind:
    """One watched kind: `api` is a class of the kubernetes client and `method` its list call."""

    name: str
    api: str
    method: str
    namespaced: bool = True

    def call(self, api_client: client.ApiClient, namespace: str) -> Callable[..., Any]:
        """The list call, bound to the namespace where the kind has one; an empty namespace means all of them."""
        api = getattr(client, self.api)(api_client)
        if self.namespaced and not namespace:
            everywhere = self.method.replace("list_namespaced_", "list_") + "_for_all_namespaces"
            return partial(getattr(api, everywhere))
        method = getattr(api, self.method)
        return partial(method, namespace) if self.namespaced else partial(method)


KINDS = (
    Kind("Pod", "CoreV1Api", "list_namespaced_pod"),
    Kind("PersistentVolumeClaim", "CoreV1Api", "list_namespaced_persistent_volume_claim"),
    Kind("StatefulSet", "AppsV1Api", "list_namespaced_stateful_set"),
    Kind("ControllerRevision", "AppsV1Api", "list_namespaced_controller_revision"),
    Kind("EndpointSlice", "DiscoveryV1Api", "list_namespaced_endpoint_slice"),
    Kind("Lease", "CoordinationV1Api", "list_namespaced_lease"),
    Kind("Event", "CoreV1Api", "list_namespaced_event"),
    Kind("PodDisruptionBudget", "PolicyV1Api", "list_namespaced_pod_disruption_budget"),
    Kind("Service", "CoreV1Api", "list_namespaced_service"),
    Kind("PersistentVolume", "CoreV1Api", "list_persistent_volume", namespaced=False),
    Kind("VolumeAttachment", "StorageV1Api", "list_volume_attachment", namespaced=False),
    Kind("Node", "CoreV1Api", "list_node", namespaced=False),
)
