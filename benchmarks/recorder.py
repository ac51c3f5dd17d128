"""What recording costs a load process: Locust at full speed with and without the recorder, in turns, in one process.

    python benchmarks/recorder.py [--rounds 12] [--seconds 2] [--users 20]

A small HTTP server has one core, Locust the other. Both kinds of user draw the same ops and send them with Locust's own
FastHttpUser; one of them records each op before it is sent and after it is answered. Goal: 95 % of the ops per second.
What is loaded is frozen for both, as in a load process of ours: the garbage collector does not walk it.
Ops per second of Locust's CPU time stand beside it: on a machine that does other work too they vary less.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from locust import FastHttpUser, constant, task
from locust.env import Environment

from steadyset.history import HistoryWriter, load_history
from steadyset.load.recorder import Answer, Op, Recorder
from steadyset.wait import pause

GOAL = 0.95
WARM_UP_S = 0.5
BODY = b'{"epoch": 3, "pod": "b-0"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nServer: bench\r\n\r\n%s" % (len(BODY), BODY)
_indexes = itertools.count()


class Server(asyncio.Protocol):
    """Answers every request alike."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def serve() -> None:
    """Print the port, then serve until killed."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


class Plain(FastHttpUser):
    """Sends what it draws."""

    wait_time = constant(0)
    values = itertools.count(1)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.index = next(_indexes)

    def send(self, op: Op) -> Answer:
        """One request, classified as workloads do."""
        with self.client.get(f"/{op.f}", name=op.f, catch_response=True) as response:
            return Answer("ok" if response.status_code == 200 else "info", server="b-0", epoch=3)

    def run_op(self, op: Op) -> None:
        """What `Recorded` does otherwise."""
        self.send(op)

    @task
    def step(self) -> None:
        """One op."""
        self.run_op(Op("write", "k", next(self.values)))


class Recorded(Plain):
    """Records it as well."""

    recorder: Recorder

    def run_op(self, op: Op) -> None:
        self.recorder.run(self.index, "direct:b-0#1", op, self.send)


class Rate(NamedTuple):
    """Ops per second, and per second of this process's CPU time."""

    wall: float
    cpu: float


def measure(kind: type[Plain], host: str, users: int, seconds: float) -> Rate:
    """The rate of `users` users of this kind."""
    environment = Environment(user_classes=[kind], host=host)
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    pause(WARM_UP_S)
    before, begin, used = environment.stats.total.num_requests, time.perf_counter(), time.process_time()
    pause(seconds)
    count = environment.stats.total.num_requests - before
    wall, used = time.perf_counter() - begin, time.process_time() - used
    failures = environment.stats.total.num_failures
    runner.quit()
    if failures:
        raise SystemExit(f"{failures} requests failed")
    return Rate(count / wall, count / used)


def main() -> None:
    """Print each round and the median share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve())
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    child = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, {cores[-1]})
    assert child.stdout is not None
    host = f"http://127.0.0.1:{int(child.stdout.readline())}"
    shares = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bench.arrows"
            with HistoryWriter(path) as writer:
                Recorded.recorder = Recorder(writer)
                gc.collect()
                gc.freeze()
                for number in range(args.rounds):
                    kinds = [Plain, Recorded] if number % 2 == 0 else [Recorded, Plain]  # neither is always first
                    rate = {kind: measure(kind, host, args.users, args.seconds) for kind in kinds}
                    plain, ours = rate[Plain], rate[Recorded]
                    shares.append(Rate(ours.wall / plain.wall, ours.cpu / plain.cpu))
                    sys.stdout.write(
                        f"round {number + 1}: {plain.wall:.0f} ops/s without, {ours.wall:.0f} with recording: "
                        f"{shares[-1].wall:.1%}; "
                        f"per CPU second {plain.cpu:.0f} and {ours.cpu:.0f}: {shares[-1].cpu:.1%}\n"
                    )
                    sys.stdout.flush()
            recorded = len(load_history(path))
    finally:
        child.terminate()
        child.wait()
    median = statistics.median(share.wall for share in shares)
    per_cpu = statistics.median(share.cpu for share in shares)
    sys.stdout.write(
        f"median {median:.1%} of the ops/s (goal {GOAL:.0%}), {per_cpu:.1%} of the ops per CPU second; "
        f"{recorded} ops recorded; load {os.getloadavg()[0]:.1f}\n"
    )
    sys.exit(0 if median >= GOAL else 1)


if __name__ == "__main__":
    main()
