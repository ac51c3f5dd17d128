"""A watchdog's wait until its lease is over: run by path, with the standard library alone, so that it stands at once.

    python -I -S vigil.py RECORD CLUSTER KUBECONFIG

It waits to be told that the record is written, answers that it watches, and looks at the record until that is gone
(undone by whoever made it). Once a renewal is overdue it becomes `python -m steadyset.chaos.watchdog`, which loads what
it takes to undo, seconds on a busy machine, and does so when the lease is over. Nothing of steadyset is imported
before: that takes longer than all that is done before a fault.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from select import select

POLL_S = 0.25  # how often the record is looked at
OVERDUE = 0.5  # a lease with less than this share of its time-to-live left should have been renewed
READY = b"watching\n"
GO = b"watch\n"


def is_over(record: Path, left: float = 0.0) -> bool:
    """Wait until no more than this share of the lease is left (True), or the record is gone (False)."""
    while True:
        try:
            found = json.loads(record.read_bytes())
            end_ns = found["expires_ns"] - int(left * found["ttl_s"] * 1e9)
        except FileNotFoundError:
            return False
        except (ValueError, KeyError):
            return True  # whoever undoes says what is wrong with it
        wait_s = (end_ns - time.monotonic_ns()) / 1e9
        if wait_s <= 0:
            return True
        select([], [], [], min(wait_s, POLL_S))


def leave_no_trace(record: Path) -> None:
    """Whoever watched had nothing to say: its log goes."""
    log = record.with_suffix(".log")
    if log.exists() and log.stat().st_size == 0:
        log.unlink()


def main(argv: list[str]) -> None:
    """Entry point."""
    record = Path(argv[0])
    if os.read(0, len(GO)) == GO:
        os.write(1, READY)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        if is_over(record, OVERDUE):
            os.execv(sys.executable, [sys.executable, "-m", "steadyset.chaos.watchdog", *argv])
    leave_no_trace(record)


if __name__ == "__main__":
    main(sys.argv[1:])
