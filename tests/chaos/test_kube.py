"""The client of the API server: what it does when nobody answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steadyset.chaos.kube import Kube, UnreachableError, shared_client
from steadyset.chaos.reach import at_once
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


@pytest.fixture
def counts() -> Iterator[tuple[int, list[str]]]:
    """A port that answers each request with its number, and the requests that there were."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.path)
            raw = b'{"items": [%d]}' % len(seen)
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], seen
        server.shutdown()
        thread.join()


def test_one_look_around_reads_each_thing_once(counts: tuple[int, list[str]], tmp_path: Path) -> None:
    """Also when it is asked for at the same time; and what one reader does to the answer is not seen by another."""
    port, seen = counts
    kube = client_of(port, tmp_path)
    kube.remember()
    answers = at_once([lambda: kube.items("/a")] * 8)
    assert answers == [[1]] * 8 and seen == ["/a"]
    answers[0].clear()
    assert kube.items("/a") == [1] and kube.items("/a", labelSelector="x=y") == [2]
    kube.forget()
    assert kube.items("/a") == [3]


def test_an_error_is_not_remembered(tmp_path: Path) -> None:
    """The API server may be back at the next look."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    kube = client_of(port, tmp_path)
    kube.remember()
    for _ in range(2):
        with pytest.raises(UnreachableError):
            kube.items("/a")


def test_clients_of_one_kubeconfig_share_their_connections(tmp_path: Path) -> None:
    """Until the kubeconfig is written anew."""
    info = ClusterInfo(name="it", provider="kubeconfig", kubeconfig=str(tmp_path / "kubeconfig"))
    assert client_of(1, tmp_path).server == "http://127.0.0.1:1"
    shared = shared_client(info)
    assert shared_client(info) is shared
    assert client_of(23456, tmp_path).server == "http://127.0.0.1:23456"
    assert shared_client(info) is not shared
