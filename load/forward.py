"""Reach pods of a cluster that gives no client namespace: local ports forwarded through the API server.

`python -m steadyset.load.forward` is the process that does it; `Forwarder` is its owner. A connection accepted here
and refused there ends without an answer, so an op over it is of unknown outcome, never wrongly a definite failure.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.stream import portforward
from urllib3.exceptions import HTTPError

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError

START_S = 20.0  # until the process has bound its ports
API_REQUEST_S = 5.0
_CHUNK_BYTES = 65536
_LOOPBACK = "127.0.0.1"


class Forwarder:
    """Owns the forwarding process. `rewrite` turns cluster addresses in a load's parameters into local ones."""

    def __init__(self, info: ClusterInfo, log: Path) -> None:
        self._info, self._log = info, log
        self._process: subprocess.Popen[str] | None = None

    def rewrite(self, params: dict[str, Any]) -> dict[str, Any]:
        """`params` with every endpoint (a dict with host, port and pod or service) replaced by a forwarded one."""
        endpoints = list(_endpoints(params))
        request = {
            "kubeconfig": self._info.kubeconfig,
            "context": self._info.context,
            "namespace": params["namespace"],
            "endpoints": endpoints,
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "steadyset.load.forward"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], START_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            raise InstrumentError(
                "the port forwarder did not start", seen=self._log.read_text()[-1000:], do="check the kubeconfig"
            )
        ports = iter(json.loads(line))
        copy: dict[str, Any] = json.loads(json.dumps(params))
        for endpoint in _endpoints(copy):
            endpoint |= {"host": _LOOPBACK, "port": next(ports)}
        return copy

    def close(self) -> None:
        """End the process: it stops when its standard input closes."""
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=API_REQUEST_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
            self._process = None


def _endpoints(value: Any) -> Any:
    """Every endpoint below `value`, in a fixed order."""
    if isinstance(value, dict):
        if "host" in value and "port" in value:
            yield value
        else:
            for key in sorted(value):
                yield from _endpoints(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _endpoints(item)


def resolve(discovery: Any, namespace: str, endpoint: dict[str, Any]) -> str:
    """The pod to forward to: the endpoint's own, or the first ready one behind its Service; "" when there is none."""
    if "pod" in endpoint:
        return str(endpoint["pod"])
    slices = discovery.list_namespaced_endpoint_slice(
        namespace, label_selector=f"kubernetes.io/service-name={endpoint['service']}", _request_timeout=API_REQUEST_S
    )
    for found in slices.items:
        for candidate in found.endpoints or []:
            if candidate.conditions.ready and candidate.target_ref and candidate.target_ref.kind == "Pod":
                return str(candidate.target_ref.name)
    return ""


def _pump(source: Any, target: Any) -> None:
    """Copy until either side ends, then end both: shut down first, since a close does not wake who still receives."""
    try:
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    except OSError as error:
        print(f"forward: connection ended: {error}", file=sys.stderr)  # noqa: T201 - the process's log
    finally:
        for side in (source, target):
            with suppress(OSError):  # the other direction was faster
                side.shutdown(socket.SHUT_RDWR)
            side.close()


def _new_client(request: dict[str, Any]) -> Any:
    new_client: Any = config.new_client_from_config
    return new_client(config_file=request["kubeconfig"], context=request["context"] or None)


def _serve(request: dict[str, Any], discovery: Any, endpoint: dict[str, Any], local: socket.socket) -> None:
    """One accepted connection, through the API server to the pod."""
    # portforward replaces the client's request method for the call: it gets a client of its own.
    core: Any = client.CoreV1Api(_new_client(request))
    namespace, port = request["namespace"], int(endpoint["port"])
    try:
        pod = resolve(discovery, namespace, endpoint)
        if not pod:
            local.close()
            return
        forward = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
        remote = forward.socket(port)
    except (client.ApiException, HTTPError, OSError) as error:
        print(f"forward: {endpoint}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        local.close()
        return
    remote.setblocking(True)
    threading.Thread(target=_pump, args=(local, remote), daemon=True).start()
    _pump(remote, local)


def _accept(request: dict[str, Any], discovery: Any, endpoint: dict[str, Any], listener: socket.socket) -> None:
    while True:
        local, _ = listener.accept()
        threading.Thread(target=_serve, args=(request, discovery, endpoint, local), daemon=True).start()


def main() -> None:
    """Read the request from stdin, print the local ports, forward until stdin closes."""
    request = json.loads(sys.stdin.readline())
    discovery, ports = client.DiscoveryV1Api(_new_client(request)), []
    for endpoint in request["endpoints"]:
        listener = socket.create_server((_LOOPBACK, 0))
        ports.append(listener.getsockname()[1])
        threading.Thread(target=_accept, args=(request, discovery, endpoint, listener), daemon=True).start()
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
