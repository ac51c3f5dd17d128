"""The Locust user every workload is made of: one session, one op at a time, a bounded rate.

Importing this module imports Locust, which patches the process with gevent: only load processes do so.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import os
import random
import traceback
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import User, constant_throughput, events, task
from locust.html import get_html_report
from locust.runners import MasterRunner, WorkerRunner

from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op, Recorder, load_params
from steadyset.wait import pause

PARENT_POLL_S = 1.0
FLUSH_S = 0.1
EXIT_NOT_PREPARED = 4


class Places:
    """Numbers of users and of processes, different in each of `shards` Locust workers.

    A user that goes leaves its number to the next one that comes: the first numbers keep a session to each member.
    """

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        self._shard, self._shards = shard, shards
        self._free: list[int] = []
        self._indexes, self._processes = itertools.count(), itertools.count()

    def take(self) -> int:
        """The smallest number that nobody has."""
        local = heapq.heappop(self._free) if self._free else next(self._indexes)
        return local * self._shards + self._shard

    def leave(self, index: int) -> None:
        """Give a number back."""
        heapq.heappush(self._free, index // self._shards)

    def process(self) -> int:
        """A process number that nobody ever had."""
        return next(self._processes) * self._shards + self._shard


class Shared:
    """What all users of this process share; set up when Locust starts the test."""

    places = Places()
    prepared = Event()  # a master may spawn users while its workers still prepare
    params: dict[str, Any]
    recorder: Recorder
    rate_ops_s: float
    stopping = False


class WorkloadUser(User):
    """One client process: draws an op, sends it over its session, records it.

    A subclass implements `prepare`, `open_session`, `draw` and `send`. After an unknown outcome the process number
    changes, since the old one may still be acting.
    """

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.index = self.process = -1
        self.session = ""

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """Make what the ops need (a schema, say) before the first user starts; any error ends the process."""

    def wait_time(self) -> float:
        """Seconds until the next op, so that the rate is at most `rate_ops_s` per user."""
        return float(constant_throughput(Shared.rate_ops_s)(self))

    def on_start(self) -> None:
        """Open the session before the first op (and so before any fault)."""
        Shared.prepared.wait()
        self.index, self.process = Shared.places.take(), Shared.places.process()
        self.random = random.Random(f"{Shared.params['seed']}-{self.index}")
        self.open_session()

    def on_stop(self) -> None:
        """Close the session."""
        self.close_session()
        Shared.places.leave(self.index)

    def open_session(self) -> None:
        """Choose the route by `self.index` and connect if the session is one that is kept."""
        raise NotImplementedError

    def close_session(self) -> None:
        """Close what `open_session` and `send` opened."""
        raise NotImplementedError

    def draw(self) -> Op:
        """The next op."""
        raise NotImplementedError

    def send(self, op: Op) -> Answer:
        """Send it and classify what came back; never raises for what a server or a network may do."""
        raise NotImplementedError

    @task
    def step(self) -> None:
        """One op."""
        if Shared.stopping:  # Locust kills users between two ops: do not begin one now
            return
        op = self.draw()
        answer, latency_ms = Shared.recorder.run(self.process, self.session, op, self.send)
        if answer.outcome == "info":
            self.process = Shared.places.process()
        self.environment.events.request.fire(
            request_type=self.session.partition("#")[0],
            name=op.f,
            response_time=latency_ms,
            response_length=0,
            exception=None if answer.outcome == "ok" else f"{answer.outcome}: {answer.error}",
            context={},
        )


def _start(environment: Any) -> None:
    params = load_params()
    Shared.params = params
    _watch_parent(environment)
    if isinstance(environment.runner, MasterRunner):
        return
    shard, shards = int(params["shard"]), int(params["shards"])
    Shared.places = Places(shard, shards)
    Shared.rate_ops_s = float(params["rate_ops_s"])
    for user_class in environment.user_classes:
        user_class.prepare(params)
    writer = HistoryWriter(
        Path(params["folder"]) / f"{params['generator']}.arrows",
        generator=params["generator"],
        clock_uncertainty_ns=int(params.get("clock_uncertainty_ns", 0)),
    )
    Shared.recorder = Recorder(writer, Path(params["ready"]), first=shard + 1, step=shards)
    gc.collect()
    gc.freeze()  # a walk over all that is loaded takes 70 ms, and no op goes out meanwhile
    Shared.prepared.set()

    def flush() -> None:
        """Events reach the file even when no later op pushes them out."""
        while True:
            pause(FLUSH_S)
            writer.flush()

    gevent.spawn(flush)
    Path(params["started"]).touch()


def _watch_parent(environment: Any) -> None:
    parent = os.getppid()

    def watch_parent() -> None:
        """Stop when the runner has died: load must not go on without anyone to judge it."""
        while os.getppid() == parent:
            pause(PARENT_POLL_S)
        environment.runner.quit()

    gevent.spawn(watch_parent)


@events.init.add_listener  # type: ignore[untyped-decorator]
def _on_init(environment: Any, **_: Any) -> None:
    try:
        _start(environment)
    except Exception:
        # Locust would log it and go on with users that cannot work.
        traceback.print_exc()
        raise SystemExit(EXIT_NOT_PREPARED) from None


@events.test_stopping.add_listener  # type: ignore[untyped-decorator]
def _on_stopping(**_: Any) -> None:
    Shared.stopping = True


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _on_stopped(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        environment.runner._send_stats()  # as it does when it quits: its master would lack the last three seconds


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _on_quitting(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        environment.runner.stop()  # and so all workers, whose last figures come before the page is written
    # Locust writes its page at the end of its run time and at Ctrl-C, but not at SIGTERM. The master's has all figures.
    if not Shared.params.get("page", True):
        return
    render: Any = get_html_report
    page: str = render(environment, show_download_link=False)
    (Path(Shared.params["folder"]) / "locust.html").write_text(page, encoding="utf-8")


@events.quit.add_listener  # type: ignore[untyped-decorator]
def _on_quit(**_: Any) -> None:
    if Shared.prepared.is_set():  # a master records nothing
        Shared.recorder.writer.close()
