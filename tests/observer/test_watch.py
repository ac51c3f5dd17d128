"""One kind's watch in this process: ends in good order, ends at once, torn events, garbage."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from steadyset.observer import watch
from steadyset.observer.kinds import KINDS
from steadyset.trace import Trace, TraceWriter, load_trace
from steadyset.wait import wait_for

SEEN_S = 30.0  # on a machine that is busy with other things


def line(event: str, name: str, rv: int) -> bytes:
    meta = {"name": name, "namespace": "n", "uid": f"u-{name}", "resourceVersion": str(rv)}
    return json.dumps({"type": event, "object": {"metadata": meta}}).encode() + b"\n"


class Server:
    """Answers the first list with nothing, later ones with `later`, and each watch with the next of `watches`: its
    bytes, then a good end; further ones stay silent.
    """

    def __init__(self, watches: list[bytes], later: list[bytes]) -> None:
        self.watches, self.later = watches, later
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                if "watch=true" not in self.path.lower():
                    items = [json.loads(item)["object"] for item in server.later if server.asked]
                    body = json.dumps({"metadata": {"resourceVersion": "10"}, "items": items}).encode()
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                server.asked.append(self.path)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                body = server.watches.pop(0) if server.watches else None
                if body:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
                server.idle.wait(None if body is None else 0.01)  # a moment, as no real watch ends at once
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *args: object) -> None:
                pass

        self.idle = threading.Event()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.idle.set()
        self.http.shutdown()
        self.http.server_close()


Run = Callable[..., tuple[Trace, Server]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs the watch of Pods against a server until the condition holds for the trace."""
    stopping = threading.Event()
    servers: list[Server] = []
    threads: list[watch.KindWatch] = []

    def start(
        watches: list[bytes], condition: Callable[[Trace], Any], later: list[bytes] | None = None
    ) -> tuple[Trace, Server]:
        servers.append(Server(watches, later or []))
        settings = client.Configuration(host=f"http://127.0.0.1:{servers[0].http.server_address[1]}")
        path = tmp_path / "trace"
        threads.append(watch.KindWatch(KINDS[0], client.ApiClient(settings), "n", TraceWriter(path), stopping))
        threads[0].start()
        wait_for(
            lambda: threads[0].crash or condition(load_trace(path)),
            what="the trace", deadline_name="SEEN_S", deadline_s=SEEN_S, describe=path.read_text,
        )  # fmt: skip
        assert threads[0].crash is None
        return load_trace(path), servers[0]

    yield start
    stopping.set()
    servers[0].close()
    threads[0].join(SEEN_S)


def pods(trace: Trace) -> list[tuple[str, str, str]]:
    return [(r.e, r.name, r.rv) for r in trace.of("Pod")]


def test_a_watch_that_ends_in_good_order_is_resumed_without_a_gap(run: Run) -> None:
    """The next watch continues from the last version seen, a bookmark's included; nothing is listed again."""
    watches = [line("ADDED", "a", 11), line("BOOKMARK", "", 20), line("MODIFIED", "a", 21)]
    trace, server = run(watches, lambda t: len(t.of("Pod")) == 2)
    assert pods(trace) == [("ADDED", "a", "11"), ("MODIFIED", "a", "21")]
    assert trace.gaps(lossless=True) == []
    versions = [path.partition("resourceVersion=")[2].partition("&")[0] for path in server.asked]
    assert versions[:3] == ["10", "11", "20"]
    assert all("allowwatchbookmarks=true" in path.lower() for path in server.asked)


def test_events_that_come_again_are_written_once(run: Run) -> None:
    """A server that repeats what was already seen does not repeat it in the trace."""
    trace, _ = run(
        [line("ADDED", "a", 11), line("ADDED", "a", 11) + line("MODIFIED", "a", 12)], lambda t: len(t.of("Pod")) == 2
    )
    assert pods(trace) == [("ADDED", "a", "11"), ("MODIFIED", "a", "12")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (line("ADDED", "b", 12)[:-20], "inside an event"),
        (b"<html>not a watch</html>\n", "no watch event"),
        (line("ERROR", "", 0).replace(b'"object": {', b'"object": {"code": 500, "message": "boom", '), "500"),
    ],
    ids=["torn", "garbage", "error"],
)
def test_a_broken_stream_is_a_gap_never_an_event(run: Run, body: bytes, reason: str) -> None:
    """What is no whole event is not recorded; the gap names why."""
    a = line("ADDED", "a", 11)
    trace, _ = run([a, body], lambda t: t.gaps(lossless=True), later=[a])
    (gap,) = trace.gaps(lossless=True)
    assert reason in gap.reason
    assert ("ADDED", "b", "12") not in pods(trace)


def test_410_in_the_stream_lists_again(run: Run) -> None:
    """The object that is gone meanwhile is deleted by inference, behind a lossy gap."""
    gone = line("ERROR", "", 0).replace(b'"object": {', b'"object": {"code": 410, "message": "too old", ')
    trace, _ = run([line("ADDED", "a", 11), gone], lambda t: t.gaps())
    assert [(r.e, r.inferred) for r in trace.of("Pod")] == [("ADDED", False), ("DELETED", True)]
    assert "too old" in trace.gaps()[0].reason and not trace.gaps()[0].lossless
