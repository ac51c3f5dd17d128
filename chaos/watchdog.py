"""The process that undoes a fault when nobody renews its lease: `python -m steadyset.chaos.watchdog RECORD CLUSTER`.

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

from steadyset.chaos.ledger import HostLedger, read_record
from steadyset.clusterinfo import ClusterInfo, load_cluster_info
from steadyset.errors import InstrumentError, SteadysetError
from steadyset.wait import pause

POLL_S = 0.25  # how often the record is looked at
RETRY_S = 1.0  # between two attempts to undo, while the API server is away
START_DEADLINE_S = 15.0  # watchdog_start: until the watchdog says that it watches
READY = b"watching\n"
GO = b"watch\n"


class Watchdog:
    """A watchdog that is being started while its fault is still prepared, for a record that will have this ID.

    It leaves when it is dismissed, or whoever started it dies, before it was told to watch.
    """

    def __init__(self, info: ClusterInfo, record_id: str) -> None:
        ledger = HostLedger(info)
        ledger.folder.mkdir(parents=True, exist_ok=True)
        self._log = ledger.folder / f"{record_id}.log"
        argv = [sys.executable, "-m", "steadyset.chaos.watchdog"]
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


def watch(record_path: Path, info: ClusterInfo) -> None:
    """Look at the record until it is gone; once its lease is over, undo, retrying until that worked."""
    while True:
        record = read_record(record_path)
        if record is None:
            return
        if record.is_expired():
            break
        pause(POLL_S)
    from steadyset.chaos.sweep import undo_record

    while record_path.exists():
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
    """Entry point."""
    record_path, cluster, kubeconfig = argv
    info = open_cluster(cluster, kubeconfig)
    if os.read(0, len(GO)) == GO:
        os.write(1, READY)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        watch(Path(record_path), info)
    log = Path(record_path).with_suffix(".log")
    if log.exists() and log.stat().st_size == 0:
        log.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
