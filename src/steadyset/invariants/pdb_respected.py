"""Rule `pdb-respected`: evictions never take healthy pods below what a PodDisruptionBudget demands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import Obj, condition, labels, matches, ready, short, spec, status, terminating
from steadyset.trace import Record, Trace
from steadyset.verdict import Judgement

EVICTED = "EvictionByEvictionAPI"


@dataclass
class _Pod:
    """A pod at the moment of the walk; `healthy_until` is when it ceased to be Ready, -1 while it never was."""

    record: Record
    healthy: bool = False
    healthy_until: int = -1
    evicted: bool = False


@dataclass
class _Walk:
    pods: dict[str, _Pod] = field(default_factory=dict)
    budgets: dict[str, Record] = field(default_factory=dict)
    gone: list[tuple[int, _Pod]] = field(default_factory=list)


@dataclass(frozen=True)
class PdbRespected:
    """`evictions_min`: evictions that must have been seen. `lag_ms`: the eviction API reads a status kept by a
    controller, so a pod that failed by itself within this window before an eviction still counts as healthy.
    """

    namespace: str
    evictions_min: int = 1
    lag_ms: int = 2000

    rule: ClassVar[str] = "pdb-respected"
    claim: ClassVar[str] = "an eviction never leaves fewer healthy pods than the PodDisruptionBudget demands"

    def check(self, trace: Trace) -> Judgement:
        """Walk pods and budgets; judge at each eviction (condition DisruptionTarget, reason EvictionByEvictionAPI)."""
        found = Findings(self, trace)
        found.needs("Pod", "PodDisruptionBudget")
        found.count("evictions", 0)
        walk = _Walk()
        records = trace.of("PodDisruptionBudget", self.namespace) + trace.of("Pod", self.namespace)
        for record in sorted(records, key=lambda r: r.t):
            if record.k == "PodDisruptionBudget":
                if record.e == "DELETED":
                    walk.budgets.pop(record.uid, None)
                else:
                    walk.budgets[record.uid] = record
            else:
                self._pod(found, walk, record)
        for kind in ("Pod", "PodDisruptionBudget"):
            for gap in trace.gaps(kind):
                found.hidden(gap, "an eviction, or how many pods were healthy at one")
        if not found.violations:
            found.at_least("evictions", self.evictions_min)
        return found.judgement(f"{plural(found.observed['evictions'], 'eviction')} within every budget")

    def _pod(self, found: Findings, walk: _Walk, record: Record) -> None:
        pod = walk.pods.get(record.uid)
        was_healthy = pod.healthy if pod else False
        if pod is None:
            pod = walk.pods[record.uid] = _Pod(record)
        if record.e == "DELETED":
            pod.healthy = False
            if was_healthy:
                pod.healthy_until = record.t
            walk.gone.append((record.t, walk.pods.pop(record.uid)))
            return
        pod.record = record
        target = condition(record.obj, "DisruptionTarget")
        evicted = target.get("status") == "True" and target.get("reason") == EVICTED and not pod.evicted
        healthy = ready(record.obj) and not terminating(record.obj)
        if was_healthy and not healthy:
            pod.healthy_until = record.t
        pod.healthy = healthy
        if evicted:
            pod.evicted = True
            if record.e != "SYNC":
                self._evicted(found, walk, record, was_healthy or healthy)

    def _evicted(self, found: Findings, walk: _Walk, record: Record, was_healthy: bool) -> None:
        found.count("evictions")
        pod = record.obj
        if status(pod).get("phase") == "Pending":
            return  # a pod that never ran may always be evicted
        for budget in walk.budgets.values():
            if not matches(spec(budget.obj).get("selector"), labels(pod)):
                continue
            if not was_healthy and spec(budget.obj).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
                continue
            demanded = int(status(budget.obj).get("desiredHealthy") or 0)
            healthy = self._healthy(walk, budget.obj, record)
            if len(healthy) < demanded:
                left = ", ".join(healthy) or "none"
                found.violated(
                    record.t,
                    f"pod {record.name} ({short(record.uid)}) was evicted, which left {len(healthy)} healthy pods "
                    f"({left}) where PodDisruptionBudget {budget.name} demands {demanded}",
                )

    def _healthy(self, walk: _Walk, budget: Obj, victim: Record) -> list[str]:
        """Names of matching pods, not evicted, that were healthy at some moment of the window."""
        since = victim.t - self.lag_ms * 1_000_000
        selector = spec(budget).get("selector")
        pods = list(walk.pods.values()) + [pod for t, pod in walk.gone if t >= since]
        return sorted(
            pod.record.name
            for pod in pods
            if not pod.evicted
            and pod.record.uid != victim.uid
            and matches(selector, labels(pod.record.obj))
            and (pod.healthy or pod.healthy_until >= since)
        )
