"""`python -m steadyset.load.worker`: one Locust worker in a pod, and what its owner asks it for.

It runs Locust as a child, and answers below `/<token>/` on its port: `clock` (this machine's monotonic clock, ns),
`state`, `history?from=N` (the file's bytes from N on), `stop` (ops in flight end first) and `end`. When nobody has
asked for OWNER_S, the owner is gone: the load must not go on without anyone to judge it, and the worker ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from steadyset.load.recorder import child_environment, load_params, write_private
from steadyset.wait import pause

PORT = 8472
OWNER_S = 60.0
WATCH_POLL_S = 1.0
STOP_S = 20.0  # until Locust has ended, its ops in flight before it
_LOG_CHARACTERS_SHOWN = 2000


class Worker:
    """The Locust child of this pod, by the parameters of the Secret and the pod's index in its Job."""

    def __init__(self, folder: Path, index: int) -> None:
        given = load_params()
        self.token = str(given["token"])
        self.folder = folder
        self.generator = f"cluster-{index + 1}"
        self.marks = {name: folder / name for name in ("started", "ready")}
        self.asked = time.monotonic()
        params = {**given, "generator": self.generator, "shard": index, "folder": str(folder), "page": False}
        params |= {name: str(path) for name, path in self.marks.items()}
        files = ",".join(str(Path(__file__).parent / name) for name in given["files"])
        argv = [sys.executable, "-m", "locust", "--worker", "--loglevel", "WARNING", "-f", files]
        argv += ["--master-host", str(given["master_host"]), "--master-port", str(given["master_port"])]
        private = write_private(folder / "params.json", params)
        with (folder / "log").open("wb") as log:
            self.child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(private),
            )

    def state(self) -> dict[str, Any]:
        """Whether it has started, had a write acknowledged, or ended; and the end of its log."""
        log = (self.folder / "log").read_text(errors="replace")[-_LOG_CHARACTERS_SHOWN:]
        marks = {name: path.exists() for name, path in self.marks.items()}
        return {**marks, "generator": self.generator, "exit": self.child.poll(), "log": log}

    def history(self, begin: int) -> bytes:
        """The history's bytes from `begin` on."""
        path = self.folder / f"{self.generator}.arrows"
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            file.seek(begin)
            return file.read()

    def stop(self) -> dict[str, Any]:
        """End the child; it is killed when it does not end by itself."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.state()


def serve(worker: Worker, port: int = PORT) -> ThreadingHTTPServer:
    """The server of that worker's answers, not yet running."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            token, _, what = asked.path.lstrip("/").partition("/")
            if token != worker.token:
                self.send_error(404)
                return
            worker.asked = time.monotonic()
            begin = int(parse_qs(asked.query).get("from", ["0"])[0])
            known = {
                "clock": lambda: str(time.monotonic_ns()).encode(),
                "state": lambda: json.dumps(worker.state()).encode(),
                "history": lambda: worker.history(begin),
                "stop": lambda: json.dumps(worker.stop()).encode(),
                "end": lambda: b"{}",
            }
            if what not in known:
                self.send_error(404)
                return
            body: bytes = known[what]()  # type: ignore[no-untyped-call]
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if what == "end":
                threading.Thread(target=server.shutdown, daemon=True).start()

        def log_message(self, format: str, *args: Any) -> None:
            """Every path begins with the token: it belongs into no log."""

    server = ThreadingHTTPServer(("", port), Handler)
    return server


def main() -> int:
    """Run until its owner says `end`, the pod is deleted, or the owner is gone."""
    worker = Worker(Path(os.environ.get("STEADYSET_LOAD_FOLDER", "/history")), int(os.environ["JOB_COMPLETION_INDEX"]))
    server = serve(worker, int(os.environ.get("STEADYSET_LOAD_PORT", PORT)))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())

    def watch() -> None:
        while time.monotonic() - worker.asked < OWNER_S:
            pause(WATCH_POLL_S)
        server.shutdown()

    threading.Thread(target=watch, daemon=True).start()
    server.serve_forever()
    worker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
