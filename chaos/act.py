"""One fault being done, from its injection to its proven heal: lease, ledger, times and evidence.

`chaos run` executes every activity of an experiment in one process, so an Act is kept here between them, by fault
and target. A fault's functions say what to change and what to look at; the rest is here.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import msgspec

from steadyset.chaos.abort import AbortedError, stop_here, stop_in_cluster, this_run
from steadyset.chaos.blast import (
    Hits,
    Reach,
    admit,
    default_hits,
    look_around,
    refuse_beyond,
    refuse_incapable,
    refuse_newcomers,
)
from steadyset.chaos.fault import RENEW_S, TTL_S, Fault
from steadyset.chaos.kube import Kube, RefusedError, UnreachableError
from steadyset.chaos.ledger import ClusterLedger, HostLedger, Record, located, new_id, new_record
from steadyset.chaos.reach import both
from steadyset.chaos.targets import SEEDS, Victim, resolve, with_seed
from steadyset.chaos.watchdog import Watchdog, open_cluster
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import DeadlineError, InvalidError, SteadysetError, UsageError
from steadyset.wait import wait_for

CLUSTER_VARIABLE = "STEADYSET_CLUSTER"
BITE_POLL_S = 0.05  # how often a condition of a proof is looked at
JOIN_DEADLINE_S = 10.0  # act_join: until the renewing thread has ended

FORGET_DEADLINE_S = 60.0  # act_forget: until the ledgers have forgotten a fault that was undone

T = TypeVar("T")
Json = dict[str, Any]


class Outcome(msgspec.Struct, kw_only=True):
    """What is known of an act so far; the same fields as `rundir.FaultSpan`, times CLOCK_MONOTONIC ns.

    `called_ns`, which a span has not, is when its `inject` was called, `inject_ns` when all was ready for it.
    """

    fault: str
    target: str
    called_ns: int = 0
    inject_ns: int = 0
    bitten_ns: int = 0
    heal_ns: int = 0
    healed_ns: int = 0
    bite: list[str] = []
    healing: list[str] = []
    error: str = ""


class Act:
    """A fault on a target. `memory` is for the fault's own functions, to remember what they saw."""

    def __init__(self, fault: Fault, info: ClusterInfo, namespace: str, target: str, ttl_s: float) -> None:
        self.fault, self.info, self.namespace, self.target, self.ttl_s = fault, info, namespace, target, ttl_s
        self.deadlines = dict(fault.deadlines)
        self.kube = Kube(info)
        self.victims: list[Victim] = []
        self.aim = with_seed(target, secrets.randbelow(SEEDS))  # the target, a draw fixed by its seed
        self.memory: dict[str, Any] = {}
        self.outcome = Outcome(fault=fault.name, target=target)
        self.record: Record | None = None
        self.record_id = new_id(fault.name)
        self._watchdog: Watchdog | None = None
        self.renewing: list[Callable[[], None]] = []  # what else is to be done at each renewal
        self.aborted = threading.Event()
        self._stop = threading.Event()
        self._renewers: list[threading.Thread] = []

    @contextmanager
    def injecting(
        self, undo: Json | None = None, hits: Hits | None = None, ready: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """The fault is injected in this block. With `undo`, the ledger and the watchdog stand before it starts.

        `hits` is what it does harm to; by default its target, or the target's node with the pods on it. UsageError,
        before anything is done, when that goes beyond the blast radius. `ready` takes time and raises when the fault
        could not be proven; it is called at the same time.
        """
        try:
            both(lambda: self._stand_ready(undo, hits), ready or (lambda: None))
        except BaseException:
            self._end_renewing()
            self.forget()
            self.dismiss_watchdog()
            raise
        self.outcome.inject_ns = time.monotonic_ns()
        with self._noting_errors():
            yield

    def _stand_ready(self, undo: Json | None, hits: Hits | None) -> None:
        """Refuse what goes beyond the blast radius; with `undo`, the record is written and watched after that."""
        aimed = hits or default_hits(self.fault, self.kube, self.namespace, self.aim)
        before = refuse_beyond(self.info, self.kube, self.fault, self.namespace, aimed)
        self.kube.forget()  # what is done from here on is not done on what was seen before
        if undo is not None:
            self._write_ahead(undo, before)
        for work in (self._renew, self._renew_in_cluster) if self.record else (self._look_for_stops,):
            self._start(work)

    def start_watchdog(self) -> None:
        """Where there will be something to undo: it takes longer to start than all else, so it starts meanwhile."""
        if hasattr(self.fault.load(), "undo"):
            self._watchdog = Watchdog(self.info, self.record_id)

    def dismiss_watchdog(self) -> None:
        """The fault is not injected after all."""
        if self._watchdog is not None:
            self._watchdog.dismiss()

    def _write_ahead(self, undo: Json, before: Reach) -> None:
        hits = before.hits
        record = new_record(self.fault.name, self.namespace, self.target, self.ttl_s, undo, self.record_id)
        record.pods, record.nodes, record.run = hits.pods, hits.nodes, this_run()
        found = getattr(self.fault.load(), "found", None)
        record.found = found(self.info, self.kube, undo) if found else {}
        HostLedger(self.info).write(record)
        self.record = record
        watchdog = self._watchdog or Watchdog(self.info, record.id)
        both(lambda: ClusterLedger(self.info, self.kube, self.namespace).write(record), watchdog.watch)
        refuse_newcomers(self.info, self.kube, self.fault, self.namespace, before, record.id)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"lease of {self.fault} on {self.target}", daemon=True)
        thread.start()
        self._renewers.append(thread)

    def _end_renewing(self) -> None:
        self._stop.set()
        for thread in self._renewers:
            thread.join(JOIN_DEADLINE_S)

    def _renew(self) -> None:
        """Renew the machine's record, and what else the fault has to renew; this is what the watchdog looks at."""
        assert self.record is not None
        host = HostLedger(self.info)
        while not self._stop.wait(RENEW_S):
            try:
                for renew in self.renewing:
                    renew()
                if self.record.is_expired() or not host.renew(self.record):
                    self.lose_bite("the lease ran out and the fault was undone by its watchdog")
                    return
                if stop := stop_here(self.info, self.record.run):
                    self.abort(str(stop))
            except SteadysetError as error:
                self.lose_bite(f"the lease could not be renewed: {error}")
                return

    def _renew_in_cluster(self) -> None:
        """Renew the cluster's copy: apart, since the API server may be what the fault has stopped."""
        assert self.record is not None
        kube = Kube(self.info)
        ledger = ClusterLedger(self.info, kube, self.namespace)
        while not self._stop.wait(RENEW_S):
            with suppress(UnreachableError, RefusedError):
                if why := ledger.renew(self.record):
                    self.abort(f"aborted by an observer: {why}")
                if stop := stop_in_cluster(self.info, kube, self.namespace, self.record.run):
                    self.abort(str(stop))

    def _look_for_stops(self) -> None:
        """For faults without a lease: whether an observer stops what is still going on, its proof for example."""
        kube = Kube(self.info)
        while not self._stop.wait(RENEW_S):
            with suppress(UnreachableError, RefusedError):
                if stop := stop_here(self.info, this_run()) or stop_in_cluster(
                    self.info, kube, self.namespace, this_run()
                ):
                    self.abort(str(stop))

    def abort(self, why: str) -> None:
        """An observer wants the fault healed now: whatever waits on it ends, and the run says so."""
        if not self.outcome.heal_ns and not self.outcome.error:
            self.outcome.error = why
        self.aborted.set()

    def lose_bite(self, why: str) -> None:
        """Say that the fault no longer bites as claimed; the run is then INVALID."""
        if not self.outcome.heal_ns and not self.outcome.error:
            self.outcome.error = f"bite lost: {why}"

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.outcome.error = self.outcome.error or str(error) or type(error).__name__
            raise

    def need_injected(self) -> None:
        """Raise InvalidError when there is nothing to prove, since the injection failed."""
        if not self.outcome.inject_ns or self.outcome.error:
            raise InvalidError(f"{self.fault} was not injected: {self.outcome.error or 'inject was not called'}")

    @contextmanager
    def proving_bite(self) -> Iterator[list[str]]:
        """The bite is proven in this block: append evidence lines, or raise. A deadline missed is InvalidError."""
        self.need_injected()
        lines: list[str] = []
        with self._noting_errors():
            try:
                yield lines
            except DeadlineError as error:
                raise InvalidError(
                    f"{self.fault} on {self.target} did not bite: {error.message}",
                    expected=error.expected,
                    seen=error.seen,
                    do="look at the journal; a fault that changes nothing proves nothing",
                ) from None
            if not lines:
                raise InvalidError(f"{self.fault} on {self.target}: no evidence that it bit")
        self.outcome.bitten_ns = self.memory.pop("bitten_ns", 0) or time.monotonic_ns()
        self.outcome.bite = lines

    def healing(self, undo: Callable[[ClusterInfo, Kube, Record], list[str]]) -> list[str]:
        """Undo the fault by its record and forget the record; the second call does nothing."""
        if self.outcome.inject_ns and not self.outcome.heal_ns:
            self.outcome.heal_ns = time.monotonic_ns()
        # The lease is renewed until the undo is done: it may take longer than the time-to-live, and the watchdog would
        # undo at the same time.
        try:
            lines = undo(self.info, self.kube, self.record) if self.record else []
        finally:
            self._end_renewing()
        if self.record is None:
            return lines
        wait_for(
            self._forgotten,
            what="the fault's record out of the ledger",
            deadline_name="act_forget",
            deadline_s=FORGET_DEADLINE_S,
            do="steadyset sweep",
        )
        return lines

    def _forgotten(self) -> bool:
        with suppress(UnreachableError):  # an API server that was down takes a while to answer
            self.forget()
        return self.record is None

    def forget(self) -> None:
        """Take the record out of both ledgers: the cluster's first, so that a crash in between leaves the watchdog."""
        if self.record is None:
            return
        ClusterLedger(self.info, self.kube, self.namespace).remove(self.record.id)
        HostLedger(self.info).remove(self.record.id)
        self.record = None

    @contextmanager
    def proving_heal(self) -> Iterator[list[str]]:
        """The heal is proven in this block: append evidence lines, or raise. InvalidError when it never bit."""
        if not self.outcome.bitten_ns:
            raise InvalidError(f"{self.fault} on {self.target}: no heal to prove, since the bite was not proven")
        lines: list[str] = []
        with self._noting_errors():
            yield lines
        self.outcome.healed_ns = time.monotonic_ns()
        self.outcome.healing = lines

    def until(self, condition: Callable[[], T | None], what: str, deadline: str, describe: Callable[[], str]) -> T:
        """Wait for a condition of a proof within the fault's deadline of that name; AbortedError when one aborts it."""

        def unless_aborted() -> T | None:
            if self.aborted.is_set() and not self.outcome.heal_ns:
                raise AbortedError(self.outcome.error)
            return _reachable(condition)

        return wait_for(
            unless_aborted,
            what=what,
            deadline_name=f"{self.fault}.{deadline}",
            deadline_s=self.deadlines[deadline],
            poll_s=BITE_POLL_S,
            describe=describe,
        )

    def report(self) -> Json:
        """The activity's output, for the journal."""
        done: Json = msgspec.to_builtins(self.outcome)
        return done


def _reachable(condition: Callable[[], T | None]) -> T | None:
    try:
        return condition()
    except UnreachableError:
        return None  # a cluster that breaks may not answer for a while; the deadline decides


_ACTS: dict[tuple[str, str, str], Act] = {}


def cluster_named(path: str) -> ClusterInfo:
    """The cluster of that file, "" for $STEADYSET_CLUSTER; without either the one that $KUBECONFIG names."""
    return open_cluster(path or os.environ.get(CLUSTER_VARIABLE, ""), os.environ.get("KUBECONFIG", ""))


def begin(
    fault: Fault,
    cluster: str,
    namespace: str,
    target: str,
    *,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> Act:
    """Start an act, refusing before anything is done what cannot work, and find its victims.

    `cluster` is a file, "" for $STEADYSET_CLUSTER.

    `deadlines` replace the fault's own by name, in seconds.
    Errors: UsageError for an unknown deadline, a TTL that cannot be renewed in time, a cluster without what the fault
    needs or that nobody confirmed, a namespace that has not opted in, an account without the rights, a target that does
    not exist, or the same fault on the same target still going on in this process; AbortedError while an observer has
    stopped faults.
    """
    called_ns = time.monotonic_ns()
    if ttl_s <= RENEW_S:
        raise UsageError(
            f"{fault}: a lease of {ttl_s:g} s would run out before it is renewed",
            expected=f"more than {RENEW_S:g} s",
            do=f"leave ttl_s at {TTL_S:g}",
        )
    info = cluster_named(cluster)
    refuse_incapable(fault, info)
    info = located(info)
    key = (fault.name, namespace, target)
    before = _ACTS.pop(key, None)
    if before is not None and before.outcome.inject_ns and not before.outcome.heal_ns:
        _ACTS[key] = before
        raise UsageError(f"{fault} on {namespace}/{target} is still going on", do="heal it first")
    if before is not None:
        before.dismiss_watchdog()
    act = Act(fault, info, namespace, target, ttl_s)
    act.outcome.called_ns = called_ns
    act.deadlines |= replaced_deadlines(fault, deadlines)
    act.start_watchdog()
    act.kube.remember()
    try:
        _, (act.victims, _) = both(
            lambda: admit(fault, info, act.kube, namespace, target),
            lambda: both(
                lambda: resolve(act.kube, fault.target, namespace, act.aim),
                lambda: look_around(fault, info, act.kube, namespace),
            ),
        )
    except BaseException:
        act.dismiss_watchdog()
        raise
    _ACTS[key] = act
    return act


def replaced_deadlines(fault: Fault, deadlines: dict[str, float] | None) -> dict[str, float]:
    """The deadlines given, in seconds; UsageError when the fault has none of that name."""
    if unknown := set(deadlines or {}) - set(fault.deadlines):
        raise UsageError(
            f"{fault} has no deadline {', '.join(unknown)}", expected=f"some of: {', '.join(fault.deadlines)}"
        )
    return deadlines or {}


def resume(fault: Fault, namespace: str, target: str) -> Act:
    """The act that `inject` began in this process; UsageError when there is none."""
    act = _ACTS.get((fault.name, namespace, target))
    if act is None:
        raise UsageError(
            f"{fault} on {namespace}/{target} was not injected by this experiment",
            do="call inject with the same namespace and target first; what an earlier run left: steadyset sweep",
        )
    return act


def acts() -> list[Act]:
    """Every act of this process, in order of beginning."""
    return list(_ACTS.values())
