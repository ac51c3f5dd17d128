"""Keep a proven fault in place until it is released."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import Any

import msgspec

from steadyset.chaos.act import acts
from steadyset.errors import InvalidError

__all__ = ["hold"]

BITTEN = "bitten.json"  # written into the control folder once the bite is proven
RELEASE = "release"  # the FIFO whose writer's end keeps the fault in place


def hold(seconds: float, control: str = "") -> dict[str, Any]:
    """Keep the injected faults in place for `seconds` at most; at once over when none of them bites.

    With `control`, a folder that holds a FIFO `release`, the hold also ends when the FIFO's writer closes it or dies,
    and the file `bitten.json` there says that the hold has begun.
    """
    began = time.monotonic_ns()
    if not acts() or not all(act.outcome.bitten_ns for act in acts()):
        raise InvalidError("nothing to hold: the bite is not proven")
    why = "time over"
    if control:
        fd = os.open(Path(control) / RELEASE, os.O_RDONLY | os.O_NONBLOCK)
        outcome = msgspec.json.encode([act.outcome for act in acts()])
        temporary = Path(control) / f"{BITTEN}.tmp"
        temporary.write_bytes(outcome)
        temporary.rename(Path(control) / BITTEN)
    else:
        fd = -1
    try:
        poll = select.poll()
        if fd >= 0:
            poll.register(fd, select.POLLIN | select.POLLHUP)
        if poll.poll(seconds * 1000):
            why = "released"
    finally:
        if fd >= 0:
            os.close(fd)
    return {"held_ns": time.monotonic_ns() - began, "why": why}
