"""The agent: verbs over HTTP on one node, for callers that know the installation's token: `python3 -m agent.server`.

    GET  /hello   {"instance", "now_s"}: unsigned; what a caller has to name in its calls
    POST /call    {"instance", "until_s", "nonce", "verb", "args", "kwargs"}, signed; {"result"} or {"error", "do"}

It is reached through the API server's pod proxy, so the API server's own authorization comes first.
"""

from __future__ import annotations

import ctypes
import hmac
import json
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

from .leases import adopt_orphans
from .node import Node, VerbError
from .signing import HEADER, Done, sign
from .verbs import VERBS

PORT = 8471
TOKEN_FILE = Path("/etc/steadyset/token")
BODY_MAX = 1 << 20
CLONE_NEWCGROUP = 0x02000000
INSTANCE = secrets.token_hex(8)
NODE = Node(1)
DONE = Done()


class Handler(BaseHTTPRequestHandler):
    """One connection; kept open between calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300

    def do_GET(self) -> None:
        """/hello, also for the readiness probe."""
        if self.path != "/hello":
            self._answer(404, {"error": f"no {self.path}"})
            return
        self._answer(200, {"instance": INSTANCE, "now_s": time.monotonic()})

    def do_POST(self) -> None:
        """/call."""
        length = int(self.headers.get("Content-Length", 0))
        if self.path != "/call" or not 0 < length <= BODY_MAX:
            self._answer(400, {"error": f"POST /call with up to {BODY_MAX} bytes"})
            return
        body = self.rfile.read(length)
        if not hmac.compare_digest(sign(self._token(), body), self.headers.get(HEADER, "")):
            self._answer(403, {"error": "the call is not signed with this installation's token"})
            return
        call = json.loads(body)
        if call["instance"] != INSTANCE:
            self._answer(200, {"stale": True})
            return
        if not DONE.first(call["nonce"], call["until_s"], time.monotonic()):
            self._answer(403, {"error": "the call came too late, or twice"})
            return
        self._answer(200, _do(call))

    def _token(self) -> bytes:
        return TOKEN_FILE.read_bytes().strip()

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Calls are logged by name where they are done."""


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64


def _do(call: dict[str, Any]) -> dict[str, Any]:
    name, began = str(call["verb"]), time.monotonic()
    if name not in VERBS:
        return {"error": f"this agent has no verb {name}", "do": "steadyset agent install"}
    try:
        answer: dict[str, Any] = {"result": VERBS[name].function(NODE, *call["args"], **call["kwargs"])}
    except VerbError as error:
        answer = {"error": error.message, "do": error.do}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}", "do": ""}
    _say(
        f"{name} {1000 * (time.monotonic() - began):.0f} ms {'error: ' + answer['error'] if 'error' in answer else ''}"
    )
    return answer


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _enter_cgroup_namespace() -> None:
    """See cgroups as the node does, so that their paths can be found below its /sys/fs/cgroup."""
    with suppress(OSError):
        fd = os.open(f"/proc/{NODE.pid}/ns/cgroup", os.O_RDONLY)
        ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWCGROUP)
        os.close(fd)


def main() -> None:
    """Entry point."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)  # faults in force end by their leases

    signal.signal(signal.SIGTERM, end)
    _enter_cgroup_namespace()
    for lease in adopt_orphans(NODE):
        _say(f"lease {lease} had no timer: it has one again")
    _say(f"agent {INSTANCE} listens on port {PORT}")
    Server(("", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
