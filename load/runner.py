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
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError
from steadyset.history import load_history
from steadyset.load import commands
from steadyset.load.forward import Forwarder
from steadyset.load.recorder import child_environment, write_private
from steadyset.load.remote import Remote
from steadyset.load.shape import SOAK, STEADY, LoadOptions
from steadyset.wait import wait_for

WORKLOADS = Path(__file__).parent / "workloads"
SHAPE_FILE = Path(__file__).parent / "shapefile.py"
START_S = 90.0  # from the start of the process until its users start: imports, schema
FIRST_ACK_S = 30.0  # from then to the first acknowledged write
DRAIN_S = commands.DRAIN_S
EXIT_S = 10.0  # from SIGTERM, after DRAIN_S, until the process has written its statistics
READ_BACK_S = 120.0  # all final reads
LOAD_MAX_S = commands.LOAD_MAX_S
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
        options: LoadOptions | None = None,
        remote: Remote | None = None,
        master_host: str = "",
    ) -> None:
        if not (WORKLOADS / f"{workload}.py").is_file():
            known = ", ".join(sorted(p.stem for p in WORKLOADS.glob("[a-z]*.py")))
            raise UsageError(f"no workload is called {workload}", expected=f"one of: {known}", seen=workload)
        self.info, self.workload, self.users = info, workload, users
        self.options = options or LoadOptions()
        self._remote, self._master_host = remote, master_host
        if bool(remote) != bool(self.options.in_cluster):
            raise UsageError("workers in the cluster need who runs them", do="LoadRun(…, remote=WorkerJob(…))")
        self.folder = folder.resolve()
        self.first_ack_s = first_ack_s
        self._params = {
            **params,
            "folder": str(self.folder),
            "users": users,
            "rate_ops_s": rate_ops_s,
            "seed": seed,
            "tag": secrets.token_hex(4),
            "start_ms": int(time.time() * 1000),
            "shape": self.options.shape,
            "few": len(params.get("members", ())) + 1,  # a session to each member, and one through the Service
            "load_max_s": LOAD_MAX_S,
        }
        self._elsewhere = self._params  # by the names that hold within the cluster
        self._private: Path | None = None  # holds the parameters with their secrets, for the children only
        self._forwarder: Forwarder | None = None
        self._locust: subprocess.Popen[bytes] | None = None  # alone, or the master
        self._workers: dict[str, subprocess.Popen[bytes]] = {}  # by generator
        self._began = 0.0
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
        if self._remote is not None:
            self._start_elsewhere(self._remote)
            return
        generators = [f"locust-{n + 1}" for n in range(self.options.workers)]
        shards = {name: {"shard": n, "shards": len(generators)} for n, name in enumerate(generators)}
        marks = {name: self._folder_private() / f"started-{name}" for name in generators}
        ready = self._folder_private() / "ready"
        extra = {name: {**shards[name], "started": str(marks[name]), "ready": str(ready)} for name in generators}
        locust = commands.Locust(self.info, self._files(), self.folder, self.options)
        if self.options.alone:
            (name,) = generators
            self._locust = self._spawn(name, locust.alone(self.users), extra[name])
        else:
            self._locust = self._spawn("master", locust.master(self.users), {}, where=commands.HERE)
            for name in generators:
                command = locust.worker()
                self._workers[name] = self._spawn(name, command, {**extra[name], "page": False})
        for name in generators:
            self._wait_for(marks[name], f"start of {self.workload}", "start_s", START_S, name)
        begun = self._began = time.monotonic()
        self._wait_for(
            ready, f"first acknowledged write of {self.workload}", "first_ack_s", self.first_ack_s, generators[0]
        )
        self.first_ack_took_s = time.monotonic() - begun
        self._reader = self._spawn_reader()

    def _start_elsewhere(self, remote: Remote) -> None:
        """A master here, and its workers where `remote` runs them."""
        locust = commands.Locust(self.info, self._files(), self.folder, self.options, self._master_host)
        self._locust = self._spawn("master", locust.master(self.users), {}, where=commands.HERE)
        where = {"master_host": locust.host, "master_port": locust.port, "files": [f"workloads/{self.workload}.py"]}
        remote.begin({**self._elsewhere, **where}, self.folder)
        for condition, what, name, deadline_s in (
            (remote.started, f"start of {self.workload} in the cluster", "start_s", START_S),
            (remote.ready, f"first acknowledged write of {self.workload}", "first_ack_s", self.first_ack_s),
        ):
            self._began = time.monotonic()

            def reached(condition: Callable[[], bool] = condition) -> bool:
                self.check()
                return condition()

            wait_for(
                reached,
                what=what,
                deadline_name=name,
                deadline_s=deadline_s,
                do="see whether the stack is in steady state, and whether pods reach this machine",
            )
        self.first_ack_took_s = time.monotonic() - self._began
        self._reader = self._spawn_reader()

    def refresh(self) -> None:
        """Bring what is recorded elsewhere into the folder; what is recorded here lies there already."""
        if self._remote is not None and not self._stopped:
            self._remote.pull()

    def _files(self) -> list[Path]:
        """The locustfiles: the workload's, and the shape's unless all users are there from the start."""
        files = [WORKLOADS / f"{self.workload}.py"]
        return files if self.options.shape in (STEADY, SOAK) else [*files, SHAPE_FILE]

    def last(self) -> None:
        """Return once the load has lasted as long as its options want; InstrumentError when it dies meanwhile."""

        def lasted() -> bool:
            self.check()
            return time.monotonic() - self._began >= self.options.least_s

        wait_for(
            lasted,
            what=f"a {self.options.shape} load of {self.options.least_s:g} s",
            deadline_name="load_max_s",
            deadline_s=LOAD_MAX_S,
            poll_s=1.0,
        )

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
        self,
        generator: str,
        command: list[str],
        extra: dict[str, Any],
        stdin: int = subprocess.DEVNULL,
        where: str = commands.CLIENT,
    ) -> subprocess.Popen[bytes]:
        parameters = {**self._params, **extra, "generator": generator}
        public = {key: value for key, value in parameters.items() if key != "secrets"}
        (self.folder / f"{generator}.json").write_text(json.dumps(public, indent=1))
        private = write_private(self._folder_private() / f"{generator}.json", parameters)
        with (self.folder / f"{generator}.log").open("wb") as log:
            return subprocess.Popen(
                self.info.client_command(command) if where == commands.CLIENT else command,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(private),
                start_new_session=True,
            )

    def check(self) -> None:
        """InstrumentError when a Locust process has died."""
        for name, process in self._processes().items():
            if not self._stopped and process.poll() is not None:
                raise self._dead(name, process)

    def _processes(self) -> dict[str, subprocess.Popen[bytes]]:
        """Every Locust process by the name of its log, the master last."""
        if self._locust is None:
            return {}
        return {**self._workers, "locust-1" if self.options.alone else "master": self._locust}

    def _dead(self, name: str, process: subprocess.Popen[bytes]) -> InstrumentError:
        return InstrumentError(
            f"the load generator died with exit code {process.returncode}",
            expected="a process that runs until it is stopped",
            seen=self._log_tail(name),
            do=f"see {self.folder / f'{name}.log'}",
        )

    def stop(self, *, check: bool = True) -> None:
        """End the load: ops in flight end first. Nothing happens the second time. With `check`, a dead one raises."""
        if self._locust is None or self._stopped:
            return
        processes = self._processes()
        try:
            if check:
                self.check()
        finally:
            self._stopped = True
            # The master first: it has its workers stop, and waits for their figures.
            hung = _end([self._locust], signal.SIGTERM)
            hung = _end(list(self._workers.values()), signal.SIGTERM) or hung
            if self._remote is not None:
                self._remote.stop()
        dying = [n for n, p in processes.items() if p.returncode < 0 and p.returncode != -signal.SIGTERM]
        if check and dying and not hung:
            raise self._dead(dying[0], processes[dying[0]])  # it was dying while it was asked
        if hung and check:
            raise InstrumentError(
                f"the load generator did not end within {DRAIN_S + EXIT_S:g} s and was killed",
                seen=self._log_tail(next(iter(processes))),
                do="the history is readable up to its last batch; see the log for what hung",
            )

    def read_back(self) -> None:
        """Let the load last, stop it, then read every key once more into the same folder (session "final").

        Raises InstrumentError with the child's message when a key cannot be read within its deadline.
        """
        if not self._stopped:
            self.last()
        self.stop()
        generator, child = self._reader or self._spawn_reader()
        self._reader = None
        try:
            child.communicate(b"read\n", timeout=READ_BACK_S)
            code = child.returncode
        except subprocess.TimeoutExpired:
            _end([child], signal.SIGTERM)
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
        try:
            self.stop(check=False)
        finally:
            self._close_children()

    def _close_children(self) -> None:
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
        if self._remote is not None:
            self._remote.close()
            self._remote = None

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


def _end(processes: list[subprocess.Popen[bytes]], how: signal.Signals) -> bool:
    """Signal children and wait; kill those that do not end. Whether one had to be killed."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(how)
    end, hung = time.monotonic() + DRAIN_S + EXIT_S, False
    for process in processes:
        try:
            process.wait(timeout=max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hung = True
    return hung
