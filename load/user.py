"""The Locust user every workload is made of: one session, one op at a time, a bounded rate.

Importing this module imports Locust, which patches the process with gevent: only load processes do so.
"""

from __future__ import annotations

import itertools
import os
import random
import traceback
from pathlib import Path
from typing import Any

import gevent
from locust import User, constant_throughput, events, task
from locust.html import get_html_report

from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op, Recorder, load_params
from steadyset.wait import pause

PARENT_POLL_S = 1.0
FLUSH_S = 0.1
EXIT_NOT_PREPARED = 4
_indexes = itertools.count()


class Shared:
    """What all users of this process share; set up when Locust starts the test."""

    params: dict[str, Any]
    recorder: Recorder
    users: int
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
        self.index = next(_indexes)
        self.process = self.index
        self.random = random.Random(f"{Shared.params['seed']}-{self.index}")
        self.session = ""

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """Make what the ops need (a schema, say) before the first user starts; any error ends the process."""

    def wait_time(self) -> float:
        """Seconds until the next op, so that the rate is at most `rate_ops_s` per user."""
        return float(constant_throughput(Shared.rate_ops_s)(self))

    def on_start(self) -> None:
        """Open the session before the first op (and so before any fault)."""
        self.open_session()

    def on_stop(self) -> None:
        """Close the session."""
        self.close_session()

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
            self.process += Shared.users
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
    Shared.users = int(params["users"])
    Shared.rate_ops_s = float(params["rate_ops_s"])
    for user_class in environment.user_classes:
        user_class.prepare(params)
    writer = HistoryWriter(Path(params["folder"]) / f"{params['generator']}.arrows", generator=params["generator"])
    Shared.recorder = Recorder(writer, Path(params["ready"]))
    parent = os.getppid()

    def watch_parent() -> None:
        """Stop when the runner has died: load must not go on without anyone to judge it."""
        while os.getppid() == parent:
            pause(PARENT_POLL_S)
        environment.runner.quit()

    def flush() -> None:
        """Events reach the file even when no later op pushes them out."""
        while True:
            pause(FLUSH_S)
            writer.flush()

    gevent.spawn(watch_parent)
    gevent.spawn(flush)
    Path(params["started"]).touch()


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


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _on_quitting(environment: Any, **_: Any) -> None:
    # Locust writes its page at the end of its run time and at Ctrl-C, but not at SIGTERM.
    render: Any = get_html_report
    page: str = render(environment, show_download_link=False)
    (Path(Shared.params["folder"]) / "locust.html").write_text(page, encoding="utf-8")


@events.quit.add_listener  # type: ignore[untyped-decorator]
def _on_quit(**_: Any) -> None:
    Shared.recorder.writer.close()
