"""A watchdog's wait until its lease is over: run by path, with the standard library alone, so that it stands at once.

    python -I -S vigil.py RECORD CLUSTER KUBECONFIG

It waits to be told that the record is written, answers that it watches, and looks at the record until that is gone
(undone by whoever made it). Once its lease is over it becomes `python -m steadyset.chaos.watchdog`, which undoes.
Nothing of steadyset is imported before: that takes longer than all that is done before a fault.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from select import select

POLL_S = 0.25  # how often the record is looked at
READY = b"watching\n"
GO = b"watch\n"


def is_over(record: Path) -> bool:
    """Wait until the record's lease is over (True) or the record is gone (False)."""
    while True:
        try:
            expires_ns = json.loads(record.read_bytes())["expires_ns"]
        except FileNotFoundError:
            return False
        except (ValueError, KeyError):
            return True  # whoever undoes says what is wrong with it
        if time.monotonic_ns() > expires_ns:
            return True
        select([], [], [], POLL_S)


def main(argv: list[str]) -> None:
    """Entry point."""
    record = Path(argv[0])
    if os.read(0, len(GO)) == GO:
        os.write(1, READY)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        if is_over(record):
            os.execv(sys.executable, [sys.executable, "-m", "steadyset.chaos.watchdog", *argv])
    log = record.with_suffix(".log")
    if log.exists() and log.stat().st_size == 0:
        log.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
