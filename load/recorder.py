"""Recording of ops in a load process: invoke before the request, completion after it, Locust's statistics beside."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from steadyset.errors import UsageError
from steadyset.history import Answer, HistoryWriter

__all__ = ["PARAMS_VARIABLE", "READS", "Answer", "Op", "Recorder", "child_environment", "load_params", "write_private"]

PARAMS_VARIABLE = "STEADYSET_LOAD_PARAMS"
READS = ("read", "read-all", "poll", "dequeue", "drain")  # an acknowledged one is no acknowledged write


class Op(NamedTuple):
    """One op to send. `value2` is the new value of a cas."""

    f: str
    key: str
    value: int | None = None
    value2: int | None = None


def load_params(path: str = "") -> dict[str, Any]:
    """The parameters the runner wrote for this process; UsageError when they are not there."""
    path = path or os.environ.get(PARAMS_VARIABLE, "")
    if not path:
        raise UsageError(
            f"{PARAMS_VARIABLE} is not set", expected="a JSON file of parameters", do="start it through load.runner"
        )
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def write_private(path: Path, params: dict[str, Any]) -> Path:
    """Write a child's parameters, secrets among them, so that only its user can read them."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(params))
    return path


def child_environment(params: Path) -> dict[str, str]:
    """The environment of a child that reads its parameters from `params`; no setting of Locust's gets in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    return {**kept, PARAMS_VARIABLE: str(params), "PYTHONUNBUFFERED": "1"}


class Recorder:
    """One load process's history, its counter of unique values, and the mark of its first acknowledged write.

    `ready` is a file created when the first write has been acknowledged. Values are 1, 2, 3, …, or with several load
    processes `first`, `first + step`, …: unique in the history; stores keep the loads of several histories apart by
    the parameter `tag`.
    """

    def __init__(self, writer: HistoryWriter, ready: Path | None = None, *, first: int = 1, step: int = 1) -> None:
        self.writer = writer
        self._ready = ready
        self._values = itertools.count(first, step)

    def next_value(self) -> int:
        """A value nobody else writes in this history."""
        return next(self._values)

    def run(self, process: int, session: str, op: Op, send: Callable[[Op], Answer]) -> tuple[Answer, float]:
        """Record `op`, send it, record its answer; returns the answer and the latency in ms.

        An exception out of `send` is a defect of the workload: the op stays unknown, the exception goes on.
        """
        begun = self.writer.invoke(process, op.f, op.key, op.value, op.value2, session)
        try:
            answer = send(op)
        except BaseException as error:
            self.writer.complete(begun, "info", error=f"load generator: {type(error).__name__}: {error}")
            raise
        latency_ns = self.writer.answered(begun, answer)
        if self._ready is not None and answer.outcome == "ok" and op.f not in READS:
            self.writer.flush()
            self._ready.touch()
            self._ready = None
        return answer, latency_ns / 1e6
