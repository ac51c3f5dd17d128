"""Replays recorded watch bytes at a fixed rate over HTTP, as an API server would send them; used by lag.py.

    python benchmarks/observer/replay.py --rate 2000 --seconds 10 --live 500 --sent sent.jsonl

Prints its port, serves one client until it hangs up, then writes `[resourceVersion, monotonic ns, wall ns]` of every
event sent. The recorded lines keep their bytes but for name, uid and resourceVersion. One event in ten ends a pod and
another makes a new one in its place, so the number of live pods stays at `--live`.
"""

from __future__ import annotations

import argparse
import json
import re
import socketserver
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from steadyset.wait import pause

RECORDED = Path(__file__).with_name("pods.watch.jsonl")
FIRST_RV = 1000
IDLE_S = 0.2
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MARKS = ((rb'"name":"[^"]*"', b"\0n"), (rb'"uid":"[^"]*"', b"\0u"), (rb'"resourceVersion":"[^"]*"', b"\0r"))


class Template:
    """A recorded event with holes for name, uid and resourceVersion."""

    def __init__(self, line: bytes) -> None:
        for pattern, mark in MARKS:
            line = re.sub(pattern, mark, line, count=1)
        self.event = json.loads(re.search(rb'"type":("\w+")', line)[1])  # type: ignore[index]
        self.parts = re.split(rb"(\0[nur])", line)

    def fill(self, name: str, uid: str, rv: int) -> bytes:
        """The event's bytes for one object."""
        holes = {
            b"\0n": f'"name":"{name}"'.encode(),
            b"\0u": f'"uid":"{uid}"'.encode(),
            b"\0r": f'"resourceVersion":"{rv}"'.encode(),
        }
        return b"".join(holes.get(part, part) for part in self.parts)


class Script:
    """What to send: `total` events on `live` pods, at `rate` per second."""

    def __init__(self, rate: int, total: int, live: int) -> None:
        self.rate, self.total, self.live = rate, total, live
        by_event: dict[str, list[Template]] = {}
        for line in RECORDED.read_bytes().splitlines():
            template = Template(line)
            by_event.setdefault(template.event, []).append(template)
        self.by_event = by_event
        self.sent: list[tuple[int, int, int]] = []
        self.done = threading.Event()

    def uid(self, slot: int, generation: int) -> str:
        """A UID for the pod in a slot."""
        return f"{slot:08x}-0000-4000-8000-{generation:012x}"

    def initial(self) -> bytes:
        """The list that the watch continues from."""
        template = self.by_event["MODIFIED"][0]
        items = []
        for slot in range(self.live):
            line = template.fill(f"pod-{slot}", self.uid(slot, 0), FIRST_RV)
            items.append(line[line.index(b'"object":') + 9 : line.rindex(b"}")])
        head = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":[' % FIRST_RV
        return head + b",".join(items) + b"]}"

    def stream(self, write: object) -> None:
        """Send every event when it is due; never ahead of time."""
        generation = [0] * self.live
        gone = [False] * self.live
        start = time.monotonic_ns()
        for number in range(self.total):
            slot = (number // 2 if number % 10 in (8, 9) else number * 7) % self.live
            event = "DELETED" if number % 10 == 8 and not gone[slot] else "MODIFIED"
            if gone[slot]:
                event, gone[slot] = "ADDED", False
                generation[slot] += 1
            elif event == "DELETED":
                gone[slot] = True
            templates = self.by_event[event]
            rv = FIRST_RV + 1 + number
            line = templates[number % len(templates)].fill(f"pod-{slot}", self.uid(slot, generation[slot]), rv) + b"\n"
            ahead = start + number * 1_000_000_000 // self.rate - time.monotonic_ns()
            if ahead > 0:
                pause(ahead / 1e9)
            self.sent.append((rv, time.monotonic_ns(), time.time_ns()))
            write(b"%x\r\n%s\r\n" % (len(line), line))  # type: ignore[operator]
        self.done.set()


class Handler(socketserver.StreamRequestHandler):
    """Just enough HTTP: lists, and chunked watches."""

    script: Script

    def handle(self) -> None:
        """Answer requests until the client hangs up."""
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            url = urlsplit(line.split()[1].decode())
            pods = url.path.endswith("/pods")
            if parse_qs(url.query).get("watch"):
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                if pods and not self.script.sent:
                    self.script.stream(self.wfile.write)
                while not self.rfile.closed:
                    pause(IDLE_S)  # until the client's end of the process
            body = self.script.initial() if pods else b'{"metadata":{"resourceVersion":"1"},"items":[]}'
            self.wfile.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)


class Server(socketserver.ThreadingTCPServer):
    """Loopback only."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def main() -> None:
    """Serve until every event is sent and standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2000, help="events per second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--live", type=int, default=500, help="pods alive at any time")
    parser.add_argument("--sent", type=Path, required=True)
    args = parser.parse_args()
    script = Handler.script = Script(args.rate, args.rate * args.seconds, args.live)
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)  # noqa: T201
        script.done.wait()
        args.sent.write_text("\n".join(map(json.dumps, script.sent)))
        print("sent", flush=True)  # noqa: T201
        input()


if __name__ == "__main__":
    main()
