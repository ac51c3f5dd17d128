"""A locustfile beside a workload's: the load's shape as Locust's own LoadTestShape. Only load processes import this."""

from __future__ import annotations

from locust import LoadTestShape

from steadyset.load.recorder import load_params
from steadyset.load.shape import users_at


class Shape(LoadTestShape):
    """Reads `shape`, `users`, `few` and `load_max_s` of the load's parameters."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._params = load_params()

    def tick(self) -> tuple[int, float] | None:
        """Users that there are to be now, and how many to start or stop a second; None ends the load."""
        seconds: float = self.get_run_time()  # type: ignore[no-untyped-call]
        users = int(self._params["users"])
        if seconds > float(self._params["load_max_s"]):
            return None
        return users_at(self._params["shape"], seconds, users, int(self._params["few"])), float(users)
