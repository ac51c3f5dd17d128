"""Put one fault into a test: `with inject(info, run_dir, slug, POD_KILL, "pg-0", namespace="pg") as span:`.

Chaos Toolkit installs signal handlers, so `chaos run` is a child process, in a session of its own: Ctrl-C reaches
only the test, which releases the hold. The hold is a pipe whose writer's end is here; when this process dies in any
way, the kernel closes it and the child heals.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from steadyset.chaos.abort import RUN_VARIABLE
from steadyset.chaos.act import Outcome, replaced_deadlines
from steadyset.chaos.blast import VARIABLE, refuse_incapable
from steadyset.chaos.experiment import compile_experiment
from steadyset.chaos.fault import Fault
from steadyset.chaos.hold import BITTEN
from steadyset.chaos.ledger import located
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import DeadlineError, InstrumentError, InvalidError
from steadyset.rundir import FaultSpan, RunDir
from steadyset.wait import wait_for

HOLD_MAX_S = 900.0  # a fault that nobody releases is healed after this
START_DEADLINE_S = 60.0  # chaos_start: until Chaos Toolkit has been loaded and injects
UNDO_DEADLINE_S = 60.0  # chaos_undo: what undoing may take before the heal is waited for
INTERRUPT_DEADLINE_S = 90.0  # chaos_interrupt: until an interrupted child has healed and ended
CHILD_POLL_S = 0.02


class FaultError(InvalidError):
    """The fault did not bite, or did not heal; `span` holds what is known of it."""

    def __init__(self, span: FaultSpan, message: str, **more: str) -> None:
        super().__init__(message, **more)
        self.span = span


@contextmanager
def inject(
    info: ClusterInfo,
    run_dir: RunDir,
    slug: str,
    fault: Fault,
    target: str,
    *,
    namespace: str = "default",
    hold_max_s: float = HOLD_MAX_S,
    max_pods: str = "",
    max_nodes: str = "",
    **params: Any,
) -> Iterator[FaultSpan]:
    """Inject `fault` on `target`, yield its span once the bite is proven, heal on leaving and fill the span.

    `params` go to the fault's `inject` function (`deadlines={"heal_s": 60}` replaces the fault's own). `max_pods` and
    `max_nodes` replace the caps on how much may be out of order at a time (`blast.limits`). The journal is
    journals/<slug>-<fault>.json below the run, beside the experiment and its log.
    Errors: UsageError when the cluster lacks a capability (nothing is started then);
    FaultError (an InvalidError) when the fault did not bite, lost its bite, or its heal was not proven within
    the fault's deadline `heal_s`; InstrumentError when Chaos Toolkit broke. The fault is healed in every case.
    """
    refuse_incapable(fault, info)
    info = located(info)
    deadlines = fault.deadlines | replaced_deadlines(fault, params.get("deadlines"))
    child = _Child(run_dir, slug, fault, target, deadlines)
    given = {RUN_VARIABLE: run_dir.path.name, VARIABLE + "MAX_PODS": max_pods, VARIABLE + "MAX_NODES": max_nodes}
    child.environment |= {name: value for name, value in given.items() if value}
    child.start(info, namespace, hold_max_s, params)
    try:
        child.wait_bitten()
    except BaseException:
        child.interrupt()
        raise
    try:
        yield child.span
    except BaseException as error:
        child.release()
        try:
            child.wait_healed()
        except (InvalidError, InstrumentError) as unhealed:
            error.add_note(f"besides, {unhealed}")
        raise
    child.release()
    child.wait_healed()


class _Child:
    """The `chaos run` process of one fault."""

    def __init__(self, run_dir: RunDir, slug: str, fault: Fault, target: str, deadlines: dict[str, float]) -> None:
        self.fault, self.target, self.deadlines, self._run_dir = fault, target, deadlines, run_dir
        stem = _free_stem(run_dir.path / "journals", f"{slug}-{fault.name}")
        self.journal = run_dir.path / "journals" / f"{stem}.json"
        self.log = self.journal.with_suffix(".log")
        self.span = FaultSpan(fault=fault.name, target=target, journal=str(self.journal.relative_to(run_dir.path)))
        self.control = Path(tempfile.mkdtemp(prefix="steadyset-fault-"))
        self.environment = dict(os.environ)
        self._held, self._keep = os.pipe()  # the child polls one end; while this process keeps the other, it holds

    def start(self, info: ClusterInfo, namespace: str, hold_max_s: float, params: dict[str, Any]) -> None:
        """Write the experiment and start Chaos Toolkit on it."""
        hold = {"seconds": hold_max_s, "control": str(self.control), "release": self._held}
        experiment = compile_experiment(self.fault, info.path, namespace, self.target, params=params, hold=hold)
        source = self.journal.with_suffix(".experiment.json")
        self._run_dir.write_json(str(source.relative_to(self._run_dir.path)), experiment)
        argv = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--settings", os.devnull]
        argv += ["--log-file", str(self.log), "--log-file-level", "info", "run", "--rollback-strategy", "always"]
        argv += ["--journal-path", str(self.journal), str(source)]
        with self.journal.with_suffix(".out").open("wb") as out:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                start_new_session=True,
                pass_fds=(self._held,),
            )
        os.close(self._held)

    def wait_bitten(self) -> None:
        """Until the hold has begun; FaultError when the child ended without it."""
        deadline_s = START_DEADLINE_S + self.deadlines["bite_s"]
        wait_for(
            lambda: (self.control / BITTEN).exists() or self.process.poll() is not None,
            what=f"{self.fault} on {self.target} bites",
            deadline_name="chaos_start + bite_s",
            deadline_s=deadline_s,
            poll_s=CHILD_POLL_S,
        )
        if (self.control / BITTEN).exists():
            outcomes = msgspec.json.decode((self.control / BITTEN).read_bytes(), type=list[Outcome])
            self._fill(outcomes[-1])
            return
        self.wait_healed()
        raise FaultError(self.span, f"{self.fault} on {self.target} did not bite: it ended before its hold began")

    def release(self) -> None:
        """Let go of the hold."""
        if self._keep >= 0:
            os.close(self._keep)
            self._keep = -1

    def interrupt(self) -> None:
        """End the experiment now: its rollback heals. If it does not end, the watchdog of the fault undoes."""
        self.release()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(INTERRUPT_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._clean()

    def wait_healed(self) -> None:
        """Until the child has ended; fills the span from its journal. FaultError when it holds an error."""
        deadline_s = self.deadlines["heal_s"] + UNDO_DEADLINE_S
        try:
            self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.interrupt()
            raise DeadlineError(
                f"{self.fault} on {self.target}: the heal did not end within heal_s + chaos_undo = {deadline_s:g} s",
                do=f"read {self.log}; then: steadyset sweep",
            ) from None
        self._clean()
        began = time.monotonic_ns()
        self._read_journal(began)
        if self.span.error:
            verb = "did not bite" if not self.span.bitten_ns else "did not end as it should"
            raise FaultError(
                self.span, f"{self.fault} on {self.target} {verb}: {self.span.error}", do=f"read {self.log}"
            )

    def _read_journal(self, now_ns: int) -> None:
        try:
            journal = msgspec.json.decode(self.journal.read_bytes())
        except FileNotFoundError:
            said = self.journal.with_suffix(".out").read_text().strip()[-1000:]
            self.span.error = f"Chaos Toolkit ended with code {self.process.returncode} and left no journal"
            raise InstrumentError(
                self.span.error, seen=said, do="the fault's watchdog undoes it; steadyset sweep shows"
            ) from None
        runs = journal["run"] + journal["rollbacks"]
        for run in runs:
            if run["activity"]["name"] != "hold" and run["output"] is not None:
                self._fill(msgspec.convert(run["output"], Outcome))
        failures = [run for run in runs if run["status"] == "failed"]
        if failures and not self.span.error:
            self.span.error = f"{failures[0]['activity']['name']}: {_last_words(failures[0])}"
        if journal["status"] != "completed" and not self.span.error:
            self.span.error = f"the experiment was {journal['status']}"
        if not self.span.healed_ns and not self.span.error:
            self.span.error = f"no proof of its heal by {now_ns}"

    def _fill(self, outcome: Outcome) -> None:
        for field in ("inject_ns", "bitten_ns", "heal_ns", "healed_ns", "bite", "healing", "error"):
            value = getattr(outcome, field)
            if value:
                setattr(self.span, field, value)

    def _clean(self) -> None:
        self.release()
        shutil.rmtree(self.control, ignore_errors=True)
        out = self.journal.with_suffix(".out")
        if self.journal.exists():
            out.unlink(missing_ok=True)


def _last_words(run: dict[str, Any]) -> str:
    """The message of a failed activity's exception, without the names of exception classes."""
    text = str(run.get("exception", [""])[-1]).strip()
    return re.sub(r"^(([a-z_]+\.)+[A-Za-z]+: )+", "", text)


def _free_stem(folder: Path, stem: str) -> str:
    """`stem`, or `stem-2`, `stem-3`, … when the same fault was injected before in the same scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    number, candidate = 1, stem
    while (folder / f"{candidate}.experiment.json").exists():
        number += 1
        candidate = f"{stem}-{number}"
    return candidate
