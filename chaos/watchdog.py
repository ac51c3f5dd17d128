"""The process that undoes a fault when nobody renews its lease: first `vigil.py`, then, overdue, this module.

It has a session of its own, so neither Ctrl-C nor the death of the runner or of Chaos Toolkit reaches it. It leaves
when the record is gone (undone by whoever made it) or when it has undone the fault itself.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from steadyset.chaos import vigil
from steadyset.chaos.kube import shared_client
from steadyset.chaos.ledger import HostLedger, read_record
from steadyset.chaos.vigil import GO, READY
from steadyset.clusterinfo import ClusterInfo, load_cluster_info
from steadyset.errors import InstrumentError, SteadysetError
from steadyset.wait import pause

RETRY_S = 1.0  # between two attempts to undo, while the API server is away
START_DEADLINE_S = 15.0  # watchdog_start: until the watchdog says that it watches


class Watchdog:
    """A watchdog that is being started while its fault is still prepared, for a record that will have this ID.

    It leaves when it is dismissed, or whoever started it dies, before it was told to watch.
    """

    def __init__(self, info: ClusterInfo, record_id: str) -> None:
        ledger = HostLedger(info)
        ledger.folder.mkdir(parents=True, exist_ok=True)
        self._log = ledger.folder / f"{record_id}.log"
        argv = [sys.executable, "-I", "-S", vigil.__file__]
        argv += [str(ledger.path(record_id)), info.path, info.kubeconfig]
        with self._log.open("ab") as err:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, start_new_session=True, cwd="/"
            )

    def watch(self) -> None:
        """Have it watch the record, which is written by now. InstrumentError when it does not say that it does."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):  # it ended: it will not say that it watches
            process.stdin.write(GO)
            process.stdin.close()
        readable, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
        said = os.read(process.stdout.fileno(), len(READY)) if readable else b""
        process.stdout.close()
        if said != READY:
            process.kill()
            raise InstrumentError(
                "the watchdog that would undo the fault did not start, so the fault is not injected",
                expected=f"it watches within watchdog_start = {START_DEADLINE_S:g} s",
                seen=self._log.read_text().strip()[-500:] or "no output",
            )

    def dismiss(self) -> None:
        """It is not needed; nothing happens to one that watches."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def open_cluster(path: str, kubeconfig: str = "") -> ClusterInfo:
    """The cluster file at `path`, or a bare kubeconfig when there is no such file."""
    if path:
        return load_cluster_info(path)
    return ClusterInfo(name="default", provider="kubeconfig", kubeconfig=kubeconfig)


def undo_until_gone(record_path: Path, info: ClusterInfo) -> None:
    """Undo the record, retrying until that worked; nothing happens when it is gone."""
    record = read_record(record_path)
    from steadyset.chaos.sweep import undo_record

    while record is not None and record_path.exists():
        try:
            _say(f"lease of {record.id} is over: undoing")
            for line in undo_record(info, record):
                _say(line)
        except SteadysetError as error:
            _say(f"not undone yet: {error}")
            pause(RETRY_S)


def _say(text: str) -> None:
    print(f"{time.monotonic_ns()} {text}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is this process's log


def main(argv: list[str]) -> None:
    """Entry point, once a renewal is overdue: get ready, then wait on until the lease is over."""
    record_path, info = Path(argv[0]), open_cluster(argv[1], argv[2])
    from steadyset.chaos import sweep  # noqa: F401 - what undoes takes a while to load, with every fault

    with suppress(SteadysetError):  # the undo will say so
        shared_client(info)
    if vigil.is_over(record_path):
        undo_until_gone(record_path, info)
    vigil.leave_no_trace(record_path)


if __name__ == "__main__":
    main(sys.argv[1:])
