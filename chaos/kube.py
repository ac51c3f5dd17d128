"""The API server as plain JSON: what faults read and write, without the cost of decoding models."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError

REQUEST_TIMEOUT_S = 5.0  # one request to the API server
CONNECTIONS_MAX = 32
FORBIDDEN = 403
MERGE_PATCH = "application/merge-patch+json"
CONFLICT_RETRIES = 20  # others write an object every few seconds at most: conflicts are rare and short

Json = dict[str, Any]


class RefusedError(InstrumentError):
    """The API server answered with an error; `status` is the HTTP status, `reason` the Status object's reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"the API server refused ({status} {reason}): {message}")
        self.status, self.reason = status, reason

    @property
    def unauthorized(self) -> bool:
        """Whether the account lacks the right, in RBAC's words; admission and quotas answer 403 too."""
        return self.status == FORBIDDEN and 'User "' in self.message and '" cannot ' in self.message


class UnreachableError(InstrumentError):
    """The API server did not answer, or only with an error of its own (5xx)."""


_SHARED: dict[tuple[str, str], tuple[object, Any]] = {}  # by kubeconfig and context: what the file was, its client
_SHARING = threading.Lock()


def shared_client(info: ClusterInfo) -> Any:
    """The process's one client of that cluster, and its connections: to read a kubeconfig and shake hands takes long.

    A kubeconfig that was written anew gets another one.
    """
    with _SHARING:
        key, stamp = (info.kubeconfig, info.context), _stamp(info.kubeconfig)
        known = _SHARED.get(key)
        if known is None or stamp is None or known[0] != stamp:
            known = _SHARED[key] = stamp, _new_client(info)
        return known[1]


def _stamp(path: str) -> object:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _new_client(info: ClusterInfo) -> Any:
    from kubernetes import config  # takes most of a second
    from kubernetes.client.rest import RESTClientObject

    try:
        load = config.new_client_from_config
        api: Any = load(info.kubeconfig, context=info.context or None)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise UsageError(f"kubeconfig {info.kubeconfig} cannot be used: {error}") from None
    # Calls are made many at a time; beyond the pool's size each would be a connection of its own, TLS and all.
    api.configuration.connection_pool_maxsize = CONNECTIONS_MAX
    api.configuration.retries = False  # whoever waits tries again, by a deadline of its own
    api.rest_client = RESTClientObject(api.configuration)  # reads the configuration now or never
    return api


class Kube:
    """A client of one cluster. Errors: RefusedError for an HTTP error, UnreachableError when there was no answer."""

    def __init__(self, info: ClusterInfo) -> None:
        self._api: Any = shared_client(info)
        self.server = str(self._api.configuration.host)  # its URL
        self._known: dict[str, Future[bytes]] | None = None
        self._lock = threading.Lock()

    def remember(self) -> None:
        """From now on read every object and every list once, and answer from memory after that: one look around."""
        self._known = {}

    def forget(self) -> None:
        """Ask the API server again."""
        self._known = None

    def request(
        self, method: str, path: str, body: Json | None = None, *, content_type: str = "", **query: str
    ) -> Json:
        """Send one request and decode the answer. `query` becomes the query string; a PATCH is a merge patch."""
        kind = content_type or (MERGE_PATCH if method == "PATCH" else "application/json")
        headers = {} if body is None else {"Content-Type": kind}
        resource = path + ("?" + urlencode(query) if query else "")
        if method == "GET" and self._known is not None:
            return _decoded(self._read_once(self._known, resource))
        return _decoded(self._send(method, resource, body, headers, REQUEST_TIMEOUT_S))

    def _read_once(self, known: dict[str, Future[bytes]], resource: str) -> bytes:
        with self._lock:
            answer, first = known.get(resource), resource not in known
            if answer is None:
                answer = known[resource] = Future()
        if first:
            try:
                answer.set_result(self._send("GET", resource, None, {}, REQUEST_TIMEOUT_S))
            except BaseException as error:
                known.pop(resource)  # the next one asks again
                answer.set_exception(error)
        return answer.result()

    def post_bytes(self, path: str, content: str, headers: dict[str, str], timeout_s: float) -> Json:
        """Post a body of the caller's own making, which is sent as it is, and decode the answer."""
        kind = {"Content-Type": "application/octet-stream"}
        return _decoded(self._send("POST", path, content, {**kind, **headers}, timeout_s))

    def _send(
        self, method: str, resource: str, body: Json | str | None, headers: dict[str, str], timeout_s: float
    ) -> bytes:
        headers = {"Accept": "application/json", **headers}
        call = self._api.param_serialize(
            method, resource, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        from kubernetes.client.exceptions import ApiException

        try:
            answer = self._api.call_api(*call, _request_timeout=timeout_s)
            raw: bytes = answer.read() or b""
        except (HTTPError, ApiException, OSError) as error:
            raise UnreachableError(f"the API server did not answer: {error}", do="steadyset cluster status") from None
        if 200 <= answer.status < 300:
            return raw
        decoded = _decoded(raw)
        if answer.status >= 500:
            raise UnreachableError(f"the API server is not well ({answer.status}): {decoded.get('message', '')}")
        raise RefusedError(answer.status, str(decoded.get("reason", "")), str(decoded.get("message", raw[:200])))

    def get(self, path: str) -> Json | None:
        """The object at `path`, or None when there is none."""
        try:
            return self.request("GET", path)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def update(self, path: str, change: Callable[[Json], Json | None]) -> bool:
        """Read, change and patch, again when somebody else wrote in between; False when it is gone.

        `change` makes the merge patch from the object, None when there is nothing to change.
        """
        for _ in range(CONFLICT_RETRIES):
            obj = self.get(path)
            if obj is None:
                return False
            patch = change(obj)
            if patch is None:
                return True
            patch.setdefault("metadata", {})["resourceVersion"] = obj["metadata"]["resourceVersion"]
            try:
                self.request("PATCH", path, patch)
            except RefusedError as error:
                if error.status == 404:
                    return False
                if error.status != 409:
                    raise
            else:
                return True
        raise InstrumentError(f"{path} changes so fast that it could not be updated in {CONFLICT_RETRIES} attempts")

    def delete(self, path: str, uid: str = "") -> bool:
        """Delete the object (of that UID); False when it is gone, or another by now."""
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", **({"preconditions": {"uid": uid}} if uid else {})}
        try:
            self.request("DELETE", path, body)
        except RefusedError as error:
            if error.status not in (404, 409):
                raise
            return False
        return True

    def items(self, path: str, **query: str) -> list[Json]:
        """The list at `path`; `query` may hold labelSelector and fieldSelector."""
        found: list[Json] = self.request("GET", path, None, **query)["items"]
        return found

    def pod(self, namespace: str, name: str) -> Json | None:
        """The pod, or None."""
        return self.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def need_pod(self, namespace: str, name: str) -> Json:
        """The pod; UsageError when there is none, naming those there are."""
        pod = self.pod(namespace, name)
        if pod is None:
            names = ", ".join(sorted(p["metadata"]["name"] for p in self.pods(namespace))) or "none"
            raise UsageError(f"no pod {namespace}/{name} to aim at", expected=f"one of: {names}", seen=name)
        return pod

    def need_pods(self, namespace: str, names: list[str]) -> list[Json]:
        """The pods of these names, in that order, by one list; UsageError when one is missing."""
        found = {p["metadata"]["name"]: p for p in self.pods(namespace)}
        return [found.get(name) or self.need_pod(namespace, name) for name in names]

    def pods(self, namespace: str = "", **query: str) -> list[Json]:
        """The pods of a namespace, or of all of them."""
        return self.items(f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods", **query)

    def node(self, name: str) -> Json:
        """The node; UsageError when there is none."""
        node = self.get(f"/api/v1/nodes/{name}")
        if node is None:
            names = ", ".join(sorted(n["metadata"]["name"] for n in self.items("/api/v1/nodes"))) or "none"
            raise UsageError(f"no node {name} to aim at", expected=f"one of: {names}", seen=name)
        return node

    def delete_pod(self, namespace: str, name: str, uid: str, grace_s: int | None = None) -> None:
        """Delete that very pod (by UID); a pod already gone, or replaced, is left alone."""
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body)
        except RefusedError as error:
            if error.status not in (404, 409):
                raise


def _decoded(raw: bytes) -> Json:
    try:
        decoded: Json = json.loads(raw) if raw else {}
    except ValueError:
        decoded = {"message": raw[:200].decode(errors="replace")}
    return decoded


def uid_of(obj: Json | None) -> str:
    """The object's UID, "" for None."""
    return str(obj["metadata"]["uid"]) if obj else ""


def container_ids(pod: Json | None) -> list[str]:
    """IDs of the pod's containers that have been started, sorted, without the runtime's prefix."""
    if pod is None:
        return []
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return sorted(s["containerID"].partition("://")[2] for s in statuses if s.get("containerID"))


def is_ready(pod: Json | None) -> bool:
    """Whether the pod has condition Ready and is not being deleted."""
    if pod is None or "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def controller_of(pod: Json) -> Json | None:
    """The owner reference of the pod's controller, or None for an unowned pod."""
    owners: list[Json] = pod["metadata"].get("ownerReferences", [])
    return next((o for o in owners if o.get("controller")), None)


def short(uid: str) -> str:
    """The first 8 characters of an ID, for evidence lines."""
    return uid[:8] or "none"
