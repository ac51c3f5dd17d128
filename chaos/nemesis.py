"""Carries out a schedule: faults begin at their times, may overlap, and never go beyond the blast radius together.

What may not be begun when its time has come (the caps, a target that is being replaced) is skipped with its reason, or
is an error in a strict schedule. One fault begins at a time: each sees what those before it hold.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from steadyset.chaos.abort import AbortedError, refuse_stopped
from steadyset.chaos.blast import limits, refuse_beyond
from steadyset.chaos.faults import fault_named
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import located
from steadyset.chaos.plan import hits_of
from steadyset.chaos.runner import FaultError, inject
from steadyset.chaos.schedule import Step
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, SteadysetError, UsageError
from steadyset.rundir import FaultSpan, RunDir

JOIN_DEADLINE_S = 600.0  # nemesis_join: until the last fault has healed

Say = Callable[[str], None]


class Skipped(msgspec.Struct, kw_only=True):
    """A step that was not begun, and why."""

    step: Step
    why: str


class Carried(msgspec.Struct, kw_only=True):
    """What came of a schedule; saved as journals/<slug>.schedule.json. `done` are the steps that were begun."""

    seed: int = 0
    namespace: str = ""
    planned: list[Step] = []  # those whose time came; a nemesis has no end of its own
    done: list[Step] = []
    skipped: list[Skipped] = []
    spans: list[FaultSpan] = []
    aborted: str = ""

    def problem(self, *, strict: bool) -> str:
        """Why this proves nothing, "" when every fault that was begun bit and healed and at least one did."""
        if self.aborted:
            return self.aborted
        if wrong := [f"{span.fault} on {span.target}: {span.error}" for span in self.spans if span.error]:
            return "; ".join(wrong)
        if self.skipped and (strict or not self.done):
            first = self.skipped[0]
            what = f"{first.step.fault} on {first.step.target}: {first.why}"
            return f"{len(self.skipped)} faults were not begun, the first {what}"
        return "" if self.done else "no fault was begun before it ended"


class Nemesis:
    """Faults of one schedule on one namespace. `say` gets a line for whatever happens; `add` gets each span.

    `params` go to every `runner.inject` (`max_pods`, `max_nodes`), besides each step's own.
    """

    def __init__(
        self,
        info: ClusterInfo,
        run_dir: RunDir,
        slug: str,
        namespace: str,
        *,
        say: Say,
        add: Callable[[FaultSpan], None] = lambda span: None,
        **params: Any,
    ) -> None:
        self._info, self._run_dir, self._slug, self._namespace = located(info), run_dir, slug, namespace
        self._say, self._add, self._params = say, add, params
        self._kube = Kube(info)
        self._threads: list[threading.Thread] = []
        self.ended = threading.Event()  # set it, and what is held is released
        self.carried = Carried(namespace=namespace)

    def carry_out(self, steps: Iterable[Step], seed: int = 0) -> Carried:
        """Begin each step at its time until they are over or `ended` is set; returns when everything has healed.

        The result is saved after every step, so that a run that is cut short says what it did.
        """
        self.carried.seed, start = seed, time.monotonic()
        try:
            for number, step in enumerate(steps, 1):
                if self.ended.wait(max(0.0, start + step.at_s - time.monotonic())):
                    break
                self.carried.planned.append(step)
                self._begin(number, step)
                self._save()
            for thread in self._threads:
                thread.join(JOIN_DEADLINE_S)
        finally:
            self.ended.set()
            for thread in self._threads:
                thread.join(JOIN_DEADLINE_S)
            self._save()
        return self.carried

    def _begin(self, number: int, step: Step) -> None:
        """Begin one step and leave it to a thread that holds and heals it; or note why it was not begun."""
        fault = fault_named(step.fault)
        params, held = {**self._params, **step.params}, ExitStack()
        try:
            refuse_stopped(self._info, self._kube, self._namespace, self._run_dir.path.name)
            aimed = hits_of(fault, self._kube, self._namespace, step.target, step.params)
            caps = limits(**{name: params[name] for name in ("max_pods", "max_nodes") if name in params})
            refuse_beyond(self._info, self._kube, fault, self._namespace, aimed, caps=caps)
            slug = f"{self._slug}-{number:03d}"
            span = held.enter_context(
                inject(self._info, self._run_dir, slug, fault, step.target, namespace=self._namespace, **params)
            )
        except AbortedError as error:
            self._abort(str(error))
        except FaultError as error:
            if error.span.inject_ns:
                self._note(step, error.span)
            else:
                self._skip(step, error.span.error)
            self._look_for_stop()
        except UsageError as error:
            self._skip(step, f"{error.message}: {error.seen}" if error.seen else error.message)
        except SteadysetError as error:
            self._note(step, FaultSpan(fault=step.fault, target=step.target, error=str(error)))
        else:
            self._note(step, span)
            self._say(f"{step.fault} on {step.target} bit: {span.bite[0] if span.bite else ''}")
            thread = threading.Thread(target=self._hold, args=(held, span, step), name=f"{step.fault} {number}")
            self._threads.append(thread)
            thread.start()

    def _hold(self, held: ExitStack, span: FaultSpan, step: Step) -> None:
        self.ended.wait(step.hold_s)
        try:
            held.close()
            self._say(f"{step.fault} on {step.target} healed: {span.healing[0] if span.healing else ''}")
        except SteadysetError as error:
            span.error = span.error or str(error)
            self._say(f"{step.fault} on {step.target}: {span.error}")
            self._look_for_stop()

    def _note(self, step: Step, span: FaultSpan) -> None:
        self.carried.done.append(step)
        self.carried.spans.append(span)
        self._add(span)
        if span.error:
            self._say(f"{step.fault} on {step.target}: {span.error}")

    def _skip(self, step: Step, why: str) -> None:
        self.carried.skipped.append(Skipped(step=step, why=why))
        self._say(f"{step.fault} on {step.target} skipped: {why.splitlines()[0]}")

    def _look_for_stop(self) -> None:
        try:
            refuse_stopped(self._info, self._kube, self._namespace, self._run_dir.path.name)
        except AbortedError as error:
            self._abort(str(error))
        except SteadysetError:
            return  # a cluster that does not answer is what the next step will say

    def _abort(self, why: str) -> None:
        self.carried.aborted = why
        self.ended.set()
        self._say(why)

    def _save(self) -> None:
        self._run_dir.write_json(f"journals/{self._slug}.schedule.json", self.carried)


@contextmanager
def background(
    nemesis: Nemesis, steps: Iterable[Step], seed: int = 0, *, strict: bool = False, complete: bool = False
) -> Iterator[Carried]:
    """Carry the steps out beside the body. When it ends they end too and what is held heals; with `complete` the
    remaining steps are waited for first, unless the body raised.

    InvalidError when all that proves nothing (`Carried.problem`), unless the body raised something itself.
    """
    failed: list[BaseException] = []

    def work() -> None:
        try:
            nemesis.carry_out(steps, seed)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="nemesis")
    thread.start()
    try:
        yield nemesis.carried
        if complete:
            thread.join()
    finally:
        nemesis.ended.set()
        thread.join(JOIN_DEADLINE_S)
    if failed:
        raise failed[0]
    if problem := nemesis.carried.problem(strict=strict):
        raise InvalidError(f"the schedule proves nothing: {problem}")
