"""A local HTTP server that speaks the API server's list and watch from a store in memory: connection cuts, bookmarks,
compaction and refusals on command. Objects go over the wire as the bytes of recorded ones, with versions filled in."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

PLURALS = {
    "Pod": "pods", "PersistentVolumeClaim": "persistentvolumeclaims", "StatefulSet": "statefulsets",
    "ControllerRevision": "controllerrevisions", "EndpointSlice": "endpointslices", "Lease": "leases",
    "Event": "events", "PodDisruptionBudget": "poddisruptionbudgets", "Service": "services",
    "PersistentVolume": "persistentvolumes", "VolumeAttachment": "volumeattachments", "Node": "nodes",
}  # fmt: skip


class ReplayServer:
    """`with ReplayServer() as server:` serves on a free loopback port."""

    def __init__(self) -> None:
        self.rv = 100
        self.log: dict[str, list[tuple[int, str, dict[str, Any]]]] = {p: [] for p in PLURALS.values()}
        self.state: dict[str, dict[str, dict[str, Any]]] = {p: {} for p in PLURALS.values()}
        self.compacted = 0
        self.refused: dict[str, int] = {}
        self.silent: set[str] = set()  # plurals whose watches deliver nothing for now
        self.changed = threading.Condition()
        self.connections: list[Any] = []
        self.requests: list[str] = []
        self.down = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._serve(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    def __enter__(self) -> ReplayServer:
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cut()
        self.http.shutdown()
        self.http.server_close()

    def kubeconfig(self, path: Path) -> Path:
        """A kubeconfig for this server."""
        url = f"http://127.0.0.1:{self.http.server_address[1]}"
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(content))
        return path

    # -- the store
    def put(self, kind: str, name: str, *, uid: str = "", ns: str = "n", **fields: Any) -> int:
        """Create or change an object; returns its resourceVersion."""
        with self.changed:
            plural = PLURALS[kind]
            self.rv += 1
            uid = uid or f"uid-{name}"
            event = "MODIFIED" if uid in self.state[plural] else "ADDED"
            meta = {"name": name, "namespace": ns, "uid": uid, "resourceVersion": str(self.rv)}
            meta["managedFields"] = [{"manager": "x" * 50}]
            obj = {"kind": kind, "apiVersion": "v1", "metadata": meta, **fields}
            self.state[plural][uid] = obj
            self.log[plural].append((self.rv, event, obj))
            self.changed.notify_all()
            return self.rv

    def delete(self, kind: str, name: str, *, uid: str = "") -> None:
        """Delete an object."""
        with self.changed:
            plural = PLURALS[kind]
            self.rv += 1
            old = self.state[plural].pop(uid or f"uid-{name}")
            obj = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.rv)}}
            self.log[plural].append((self.rv, "DELETED", obj))
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget everything older than now: watches from before are answered with 410."""
        with self.changed:
            self.compacted = self.rv
            self.log = {p: [] for p in self.log}

    def cut(self) -> None:
        """Drop every open connection without a word."""
        with self.changed:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(2)
            self.connections.clear()

    def stop_answering(self, down: bool) -> None:
        """503 for every request from now on, and open connections dropped; or answer again."""
        self.down = down
        if down:
            self.cut()

    # -- the wire
    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        plural = url.path.rsplit("/", 1)[1]
        self.requests.append(handler.path)
        self.connections.append(handler.connection)
        code = 503 if self.down else self.refused.get(plural, 200)
        if code != 200:
            return self._reply(handler, code, {"kind": "Status", "code": code, "reason": "Forbidden"})
        if query.get("watch", "").lower() in ("true", "1"):
            return self._watch(handler, plural, int(query["resourceVersion"]), float(query["timeoutSeconds"]))
        with self.changed:
            items = sorted(self.state[plural].values(), key=lambda o: o["metadata"]["name"])
            skip, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
            part = items[skip : skip + limit] if limit else items
            meta: dict[str, Any] = {"resourceVersion": str(self.rv)}
            if limit and skip + limit < len(items):
                meta["continue"] = str(skip + limit)
            body = {"kind": "List", "metadata": meta, "items": part}
        return self._reply(handler, 200, body)

    def _reply(self, handler: BaseHTTPRequestHandler, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _watch(self, handler: BaseHTTPRequestHandler, plural: str, rv: int, timeout_s: float) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        try:
            if rv < self.compacted:
                self._chunk(handler, "ERROR", {"kind": "Status", "code": 410, "message": f"too old: {rv}"})
                handler.wfile.write(b"0\r\n\r\n")
                return
            end = time.monotonic() + timeout_s
            while time.monotonic() < end and handler.connection in self.connections:
                with self.changed:
                    news = [e for e in self.log[plural] if e[0] > rv] if plural not in self.silent else []
                    if not news:
                        self.changed.wait(0.05)
                        continue
                for version, event, obj in news:
                    self._chunk(handler, event, obj)
                    rv = version
            if handler.connection in self.connections:
                handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            return

    def _chunk(self, handler: BaseHTTPRequestHandler, event: str, obj: dict[str, Any]) -> None:
        data = json.dumps({"type": event, "object": obj}).encode() + b"\n"
        handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        handler.wfile.flush()
