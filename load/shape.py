"""How many users there are at which moment of a load. Pure: `load.shapefile` is the Locust side of it."""

from __future__ import annotations

from dataclasses import dataclass

from steadyset.errors import UsageError

SHAPES = {
    "steady": "all users from the start",
    "ramp": "from few to all within a minute, then all",
    "spike": "few, and all for the last ten seconds of every half minute",
    "soak": "all users from the start, for ten minutes at least",
}
STEADY, SOAK = "steady", "soak"
RAMP_S = 60.0
SPIKE_EVERY_S, SPIKE_S = 30.0, 10.0
SOAK_S = 600.0
WORKERS_MAX = 16


@dataclass(frozen=True)
class LoadOptions:
    """What a person chooses of a load: its shape, how long it lasts at least, and the processes that make it.

    `seconds`: the test waits so long before it reads back (0: as long as it needs; a soak SOAK_S). `workers` are Locust
    workers beside a master (1: one process alone, unless there is a web UI), `in_cluster` those that run as a Job.
    `web_ui` is a port on loopback for Locust's own pages, 0 for none. UsageError for values out of range.
    """

    shape: str = STEADY
    seconds: float = 0.0
    workers: int = 1
    web_ui: int = 0
    in_cluster: int = 0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UsageError(
                f"no load shape is called {self.shape}", expected=f"one of: {', '.join(SHAPES)}", seen=self.shape
            )
        for name, value, low, high in (
            ("--load-workers", self.workers, 1, WORKERS_MAX),
            ("--workers-in-cluster", self.in_cluster, 0, WORKERS_MAX),
            ("--load-web-ui", self.web_ui, 0, 65535),
            ("--load-seconds", self.seconds, 0, 3000),
        ):
            if not low <= value <= high:
                raise UsageError(f"{name} {value:g}", expected=f"{low} to {high}", seen=f"{value:g}")
        if self.in_cluster and self.workers > 1:
            raise UsageError("--workers-in-cluster with --load-workers", do="workers run here or there: leave one out")

    def __str__(self) -> str:
        """What differs from the default, in words: ", ramp, 2 workers"."""
        workers = self.in_cluster or self.workers
        parts = [
            self.shape if self.shape != STEADY else "",
            f"{workers} workers" + (" in the cluster" if self.in_cluster else "") if not self.alone else "",
            f"http://127.0.0.1:{self.web_ui}" if self.web_ui else "",
        ]
        return "".join(f", {part}" for part in parts if part)

    @property
    def least_s(self) -> float:
        """How long the load lasts at least."""
        return self.seconds or (SOAK_S if self.shape == SOAK else 0.0)

    @property
    def alone(self) -> bool:
        """Whether one process makes the load, without a master."""
        return self.workers == 1 and not self.web_ui and not self.in_cluster


def users_at(shape: str, seconds: float, users: int, few: int) -> int:
    """How many of `users` there are `seconds` after the start; `few`, at least, keep a session to each member."""
    low = min(few, users)
    if shape == "ramp":
        return min(users, low + int((users - low) * seconds / RAMP_S))
    if shape == "spike":
        return users if seconds % SPIKE_EVERY_S >= SPIKE_EVERY_S - SPIKE_S else low
    return users
