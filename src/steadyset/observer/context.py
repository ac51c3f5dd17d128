"""The observer as the tests use it: a child process with a context manager around it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from steadyset import wait
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import DeadlineError, InstrumentError
from steadyset.trace import NOTE_SNAPSHOT, Trace, TraceWriter, load_trace

SYNC_DEADLINE_S = 60.0  # every kind listed once
STOP_DEADLINE_S = 10.0  # SIGTERM to exit
SETTLE_S = 0.3  # events already sent by the server arrive within this
SYNCED = b"synced\n"


class Observer:
    """`with Observer(info, path, namespace=…) as observer:` records a trace of `namespace` at `path` meanwhile.

    `namespace` is where the workload lives, "" for every namespace; PersistentVolumes, VolumeAttachments and Nodes are
    watched cluster-wide.
    A child that dies early is an InstrumentError with its last words, on the next call or on leaving the block.
    """

    def __init__(self, info: ClusterInfo, path: Path | str, *, namespace: str) -> None:
        self.info, self.path, self.namespace = info, Path(path), namespace
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._synced = False

    def __enter__(self) -> Observer:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._errors = tempfile.TemporaryFile()
        argv = [sys.executable, "-m", "steadyset.observer", "--cluster", self.info.path]
        argv += ["--out", str(self.path), "--namespace", self.namespace]
        # A session of its own: Ctrl-C in a terminal reaches the test, which stops the observer when it has cleaned up.
        self._child = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=self._errors, stdin=subprocess.DEVNULL, start_new_session=True
        )
        return self

    def wait_synced(self, deadline_s: float = SYNC_DEADLINE_S) -> None:
        """Return once every kind has been listed; DeadlineError or InstrumentError with the child's words otherwise."""
        if self._synced:
            return
        child = self._running()
        assert child.stdout is not None
        end = time.monotonic() + deadline_s
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise DeadlineError(
                    f"the observer has not listed every kind within {deadline_s:g} s",
                    expected="synced",
                    seen=self.last_words(),
                    do=f"kubectl --kubeconfig {self.info.kubeconfig} get --raw /readyz",
                )
            if select.select([child.stdout], [], [], left)[0]:
                line = child.stdout.readline()
                if line == SYNCED:
                    self._synced = True
                    return
                if not line:
                    child.wait()
                    self._running()

    def snapshot(self) -> None:
        """Vouch for the trace up to now: call it before judging while the observer still runs."""
        self._running()
        wait.pause(SETTLE_S)
        self._running()
        with TraceWriter(self.path) as writer:
            writer.note(NOTE_SNAPSHOT)

    @property
    def trace(self) -> Trace:
        """The trace so far, vouched for by a snapshot while the observer runs."""
        if self._child is not None and self._child.returncode is None:
            self.snapshot()
        return load_trace(self.path)

    def last_words(self) -> str:
        """The child's standard error, its last lines."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return "\n".join(self._errors.read().decode(errors="replace").splitlines()[-10:])

    @property
    def pid(self) -> int:
        """The child's process id; 0 when it does not run."""
        return self._child.pid if self._child is not None else 0

    def stop(self) -> None:
        """End the child in good order; InstrumentError when it had died or does not end. Idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        died = child.poll()
        try:
            if died is None:
                child.terminate()
                try:
                    code = child.wait(STOP_DEADLINE_S)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                    raise InstrumentError(
                        f"the observer did not end within {STOP_DEADLINE_S:g} s of SIGTERM", seen=self.last_words()
                    ) from None
            else:
                code = died
            if code != 0 or died is not None:
                raise self._dead(code)
        finally:
            if child.stdout is not None:
                child.stdout.close()
            if self._errors is not None:
                self._errors.close()
                self._errors = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise InstrumentError("the observer is not running", do="enter its context first")
        code = self._child.poll()
        if code is not None:
            raise self._dead(code)
        return self._child

    def _dead(self, code: int) -> InstrumentError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return InstrumentError(
            f"the observer died ({how}): the trace {os.fspath(self.path)} is not complete",
            expected="an observer that runs until the end of the scenario",
            seen=self.last_words() or "no message",
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
