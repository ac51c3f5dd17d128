"""The client of the API server: what it does when nobody answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.chaos.kube import Kube, UnreachableError
from steadyset.clusterinfo import ClusterInfo

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: it, user: {{token: none}}}}]
"""


@pytest.fixture
def hangs_up() -> Iterator[tuple[int, list[int]]]:
    """A port whose every connection is closed without an answer, and the connections that there were."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, (_, port) = server.accept()
                except OSError:
                    return
                seen.append(port)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], seen
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def client_of(port: int, folder: Path) -> Kube:
    """A client of an API server on that local port."""
    (folder / "kubeconfig").write_text(KUBECONFIG.format(port=port))
    return Kube(ClusterInfo(name="it", provider="kubeconfig", kubeconfig=str(folder / "kubeconfig")))


def test_a_request_is_sent_once(hangs_up: tuple[int, list[int]], tmp_path: Path) -> None:
    """Retries belong to whoever waits, with a deadline: the library's own three would make four time-outs of one."""
    port, seen = hangs_up
    with pytest.raises(UnreachableError):
        client_of(port, tmp_path).request("GET", "/version")
    assert len(seen) == 1


def test_a_dead_port_is_unreachable(tmp_path: Path) -> None:
    """And the error says what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match="did not answer") as caught:
        client_of(port, tmp_path).get("/version")
    assert "cluster status" in caught.value.do
