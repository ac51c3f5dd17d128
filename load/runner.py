"""Run a workload as Locust processes of their own, and read everything back afterwards."""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError
from steadyset.history import load_history
from steadyset.load.forward import Forwarder
from steadyset.load.recorder import child_environment, write_private
from steadyset.wait import wait_for

WORKLOADS = Path(__file__).parent / "workloads"
START_S = 90.0  # from the start of the process until its users start: imports, schema
FIRST_ACK_S = 30.0  # from then to the first acknowledged write
DRAIN_S = 5.0  # from SIGTERM until every op in flight has ended
EXIT_S = 10.0  # from SIGTERM, after DRAIN_S, until the process has written its statistics
READ_BACK_S = 120.0  # all final reads
LOAD_MAX_S = 3600  # a load ends by itself after this long
USERS = 6
RATE_OPS_S = 15.0  # per user
_LOG_LINES_SHOWN = 15
_ERRORS_SHOWN = 5


class LoadRun:
    """A context manager that runs `workload` with `users` users against the addresses in `params`.

    Entering returns once the first write was acknowledged. Leaving stops the load: ops in flight end first. The
    history lies in `folder` as `<generator>.arrows`, beside Locust's own statistics and log. Each load has its own
    `tag`, by which stores keep its keys apart from other loads'. Raises UsageError for an unknown workload,
    DeadlineError when nothing is acknowledged in time, InstrumentError when the process dies.
    """

    def __init__(
        self,
        info: ClusterInfo,
        workload: str,
        folder: Path,
        params: dict[str, Any],
        users: int = USERS,
        *,
        rate_ops_s: float = RATE_OPS_S,
        seed: int = 0,
        first_ack_s: float = FIRST_ACK_S,
    ) -> None:
        if not (WORKLOADS / f"{workload}.py").is_file():
            known = ", ".join(sorted(p.stem for p in WORKLOADS.glob("[a-z]*.py")))
            raise UsageError(f"no workload is called {workload}", expected=f"one of: {known}", seen=workload)
        self.info, self.workload, self.users = info, workload, users
        self.folder = folder.resolve()
        self.first_ack_s = first_ack_s
        self._params = {
            **params,
            "folder": str(self.folder),
            "users": users,
            "rate_ops_s": rate_ops_s,
            "seed": seed,
            "tag": secrets.token_hex(4),
        }
        self._private: Path | None = None  # holds the parameters with their secrets, for the children only
        self._forwarder: Forwarder | None = None
        self._locust: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._reader_numbers = itertools.count(1)
        self._reader: tuple[str, subprocess.Popen[bytes]] | None = None  # has its imports behind it; waits to be told

    @property
    def pid(self) -> int:
        """The Locust process, 0 before it runs."""
        return self._locust.pid if self._locust else 0

    def __enter__(self) -> LoadRun:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._private = Path(tempfile.mkdtemp(prefix="steadyset-load-"))
        try:
            if not self.info.client_netns:
                self._forwarder = Forwarder(self.info, self.folder / "forward.log")
                self._params = self._forwarder.rewrite(self._params)
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop(check=kind is None)
        finally:
            self.close()

    def _start(self) -> None:
        generator = "locust-1"
        started, ready = self._folder_private() / "started", self._folder_private() / "ready"
        command = [
            *(sys.executable, "-m", "locust", "--headless", "--loglevel", "WARNING"),
            *("-f", str(WORKLOADS / f"{self.workload}.py")),
            *("--users", str(self.users), "--spawn-rate", str(self.users)),
            *("--run-time", str(LOAD_MAX_S), "--stop-timeout", f"{DRAIN_S:.0f}s"),
            *("--csv", str(self.folder / "locust"), "--only-summary", "--exit-code-on-error", "0"),
        ]
        self._locust = self._spawn(generator, command, {"started": str(started), "ready": str(ready)})
        self._wait_for(started, f"start of {self.workload}", "start_s", START_S, generator)
        begun = time.monotonic()
        self._wait_for(
            ready, f"first acknowledged write of {self.workload}", "first_ack_s", self.first_ack_s, generator
        )
        self.first_ack_took_s = time.monotonic() - begun
        self._reader = self._spawn_reader()

    def _spawn_reader(self) -> tuple[str, subprocess.Popen[bytes]]:
        generator = f"final-{next(self._reader_numbers)}"
        command = [sys.executable, "-m", "steadyset.load.child", self.workload]
        return generator, self._spawn(generator, command, {}, stdin=subprocess.PIPE)

    def _wait_for(self, mark: Path, what: str, deadline_name: str, deadline_s: float, generator: str) -> None:
        def marked() -> bool:
            self.check()
            return mark.exists()

        wait_for(
            marked,
            what=what,
            deadline_name=deadline_name,
            deadline_s=deadline_s,
            describe=lambda: f"{self._errors(generator)}\n{self._log_tail(generator)}",
            do=f"see {self.folder / f'{generator}.log'} and whether the stack is in steady state",
        )

    def _spawn(
        self, generator: str, command: list[str], extra: dict[str, Any], stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        parameters = {**self._params, **extra, "generator": generator}
        public = {key: value for key, value in parameters.items() if key != "secrets"}
        (self.folder / f"{generator}.json").write_text(json.dumps(public, indent=1))
        private = write_private(self._folder_private() / f"{generator}.json", parameters)
        with (self.folder / f"{generator}.log").open("wb") as log:
            return subprocess.Popen(
                self.info.client_command(command),
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(private),
                start_new_session=True,
            )

    def check(self) -> None:
        """InstrumentError when the Locust process has died."""
        if self._locust is not None and not self._stopped and self._locust.poll() is not None:
            raise self._dead()

    def _dead(self) -> InstrumentError:
        assert self._locust is not None
        return InstrumentError(
            f"the load generator died with exit code {self._locust.returncode}",
            expected="a process that runs until it is stopped",
            seen=self._log_tail("locust-1"),
            do=f"see {self.folder / 'locust-1.log'}",
        )

    def stop(self, *, check: bool = True) -> None:
        """End the load: ops in flight end first. Nothing happens the second time. With `check`, a dead one raises."""
        if self._locust is None or self._stopped:
            return
        try:
            if check:
                self.check()
        finally:
            self._stopped = True
            hung = _end(self._locust, signal.SIGTERM)
        if check and not hung and self._locust.returncode < 0 and self._locust.returncode != -signal.SIGTERM:
            raise self._dead()  # it was dying while it was asked
        if hung and check:
            raise InstrumentError(
                f"the load generator did not end within {DRAIN_S + EXIT_S:g} s and was killed",
                seen=self._log_tail("locust-1"),
                do="the history is readable up to its last batch; see the log for what hung",
            )

    def read_back(self) -> None:
        """Stop the load, then read every key once more into the same folder (session "final").

        Raises InstrumentError with the child's message when a key cannot be read within its deadline.
        """
        self.stop()
        generator, child = self._reader or self._spawn_reader()
        self._reader = None
        try:
            child.communicate(b"read\n", timeout=READ_BACK_S)
            code = child.returncode
        except subprocess.TimeoutExpired:
            _end(child, signal.SIGTERM)
            code = -1
        if code:
            raise InstrumentError(
                f"final reads of {self.workload} failed with exit code {code}",
                expected=f"every key read within read_back_s = {READ_BACK_S:g} s",
                seen=self._log_tail(generator),
                do="see whether the stack is in steady state",
            )

    def close(self) -> None:
        """Stop whatever still runs and forget the secrets."""
        self.stop(check=False)
        if self._reader is not None:
            child, self._reader = self._reader[1], None
            try:
                child.communicate(timeout=EXIT_S)  # the end of its stdin tells it that it is not needed
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None
        if self._private is not None:
            shutil.rmtree(self._private)
            self._private = None

    def _folder_private(self) -> Path:
        if self._private is None:
            raise UsageError("the load is not running", do="use it as a context manager: with LoadRun(…) as load")
        return self._private

    def _errors(self, generator: str) -> str:
        """What the ops recorded so far were told, the most frequent first."""
        path = self.folder / f"{generator}.arrows"
        if not path.is_file():
            return "no op was sent yet"
        history = load_history(path)
        told = Counter(history.name("error", i) or "acknowledged" for i in range(len(history)))
        return "\n".join(f"{count} ops: {error}" for error, count in told.most_common(_ERRORS_SHOWN)) or "no op yet"

    def _log_tail(self, generator: str) -> str:
        path = self.folder / f"{generator}.log"
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        return "\n".join(lines[-_LOG_LINES_SHOWN:]) or "(its log is empty)"


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> bool:
    """Signal a child and wait; kill it when it does not end. Whether it had to be killed."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout=DRAIN_S + EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
    return False
