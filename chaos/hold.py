"""Keep a proven fault in place until it is released."""

from __future__ import annotations

import select
import time
from pathlib import Path
from typing import Any

import msgspec

from steadyset.chaos.act import acts
from steadyset.errors import InvalidError

__all__ = ["hold"]

ABORT_POLL_S = 0.1  # how often a hold looks whether it was aborted
BITTEN = "bitten.json"  # written into the control folder once the bite is proven


def hold(seconds: float, control: str = "", release: int = -1) -> dict[str, Any]:
    """Keep the injected faults in place for `seconds` at most; at once over when none of them bites.

    `control` is a folder into which `bitten.json` is written when the hold begins. `release` is the inherited read end
    of a pipe: the hold also ends when its writer closes it or dies, be it before the hold began. It ends as well when
    an observer aborts a fault.
    """
    began = time.monotonic_ns()
    if not acts() or not all(act.outcome.bitten_ns for act in acts()):
        raise InvalidError("nothing to hold: the bite is not proven")
    if control:
        temporary = Path(control) / f"{BITTEN}.tmp"
        temporary.write_bytes(msgspec.json.encode([act.outcome for act in acts()]))
        temporary.rename(Path(control) / BITTEN)
    poll = select.poll()
    if release >= 0:
        poll.register(release, select.POLLIN | select.POLLHUP)
    end, why = time.monotonic() + seconds, "time over"
    while (left := end - time.monotonic()) > 0:
        if poll.poll(1000 * min(left, ABORT_POLL_S)):
            why = "released"
            break
        if any(act.aborted.is_set() for act in acts()):
            why = "aborted"
            break
    return {"held_ns": time.monotonic_ns() - began, "why": why}
