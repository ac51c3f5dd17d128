"""What is watched: each kind with its path in the API. Secrets are not among them.

The client's classes for the API's groups are not used: to load them takes seconds of processor time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, ApiException

JSON = {"Accept": "application/json"}


@dataclass(frozen=True)
class Kind:
    """One watched kind: `api` is its group and version as a path, `plural` its name there."""

    name: str
    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str) -> str:
        """Of its list, in the namespace where the kind has one; an empty namespace means all of them."""
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"/{self.api}{where}/{self.plural}"

    def call(self, api_client: ApiClient, namespace: str) -> Callable[..., Any]:
        """A function of (connect and read time-out in s, query) that asks for the list and returns urllib3's response,
        not read yet. ApiException for an HTTP error."""

        def ask(timeout: tuple[float, float], query: dict[str, str]) -> Any:
            request = api_client.param_serialize(
                "GET",
                self.path(namespace),
                header_params=dict(JSON),
                query_params=list(query.items()),
                auth_settings=["BearerToken"],
            )
            answer = api_client.call_api(*request, _request_timeout=timeout)
            if not 200 <= answer.status < 300:
                answer.read()  # type: ignore[no-untyped-call]
                raise ApiException(http_resp=answer)
            return answer.response

        return ask


KINDS = (
    Kind("Pod", "api/v1", "pods"),
    Kind("PersistentVolumeClaim", "api/v1", "persistentvolumeclaims"),
    Kind("StatefulSet", "apis/apps/v1", "statefulsets"),
    Kind("ControllerRevision", "apis/apps/v1", "controllerrevisions"),
    Kind("EndpointSlice", "apis/discovery.k8s.io/v1", "endpointslices"),
    Kind("Lease", "apis/coordination.k8s.io/v1", "leases"),
    Kind("Event", "api/v1", "events"),
    Kind("PodDisruptionBudget", "apis/policy/v1", "poddisruptionbudgets"),
    Kind("Service", "api/v1", "services"),
    Kind("PersistentVolume", "api/v1", "persistentvolumes", namespaced=False),
    Kind("VolumeAttachment", "apis/storage.k8s.io/v1", "volumeattachments", namespaced=False),
    Kind("Node", "api/v1", "nodes", namespaced=False),
)
