"""The one place that sleeps: wait for a condition with a named deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from steadyset.errors import DeadlineError

T = TypeVar("T")


def pause(seconds: float) -> None:
    """Let `seconds` pass. For pacing a poll only; never instead of a condition."""
    time.sleep(seconds)


def wait_for(
    condition: Callable[[], T | None],
    *,
    what: str,
    deadline_name: str,
    deadline_s: float,
    poll_s: float = 0.1,
    describe: Callable[[], str] | None = None,
    do: str = "",
) -> T:
    """Poll `condition` until it returns something truthy and return that.

    Exceptions of `condition` propagate. After `deadline_s` seconds raises DeadlineError naming the deadline and,
    when given, what `describe()` sees at that moment.
    """
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise DeadlineError(
                f"{what}: not reached within {deadline_name} = {deadline_s:g} s",
                expected=what,
                seen=describe() if describe else "",
                do=do,
            )
        pause(min(poll_s, max(0.0, end - time.monotonic())))
