"""What a fault would do, before anything happens: resolved targets, quorum arithmetic, and whether it may be begun."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from steadyset.chaos.act import replaced_deadlines
from steadyset.chaos.blast import (
    Hits,
    admission,
    default_hits,
    limits,
    reach,
    refuse_beyond,
    refuse_incapable,
)
from steadyset.chaos.fault import RENEW_S, TTL_S, UNDO_SLACK_S, Fault, Lease
from steadyset.chaos.kube import Kube
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import SteadysetError, UsageError

FIXED = ("cluster", "target", "namespace")  # arguments of every `inject`, which are not a fault's own parameters


class Plan(msgspec.Struct, kw_only=True):
    """One fault on one target as it would be. `refused` has the reasons why it may not be begun, [] when it may."""

    fault: str
    summary: str
    lease: str
    cluster: str
    namespace: str
    target: str
    params: dict[str, Any] = {}
    pods: list[str] = []
    nodes: list[str] = []
    arithmetic: list[str] = []
    caps: str = ""
    ends: str = ""
    deadlines: dict[str, float] = {}
    refused: list[str] = []

    def lines(self) -> list[str]:
        """The plan in words."""
        params = "".join(f" {name}={value}" for name, value in self.params.items())
        lines = [
            f"fault: {self.fault}{params}: {self.summary}",
            f"cluster: {self.cluster}",
            f"target: {self.namespace}/{self.target}",
        ]
        hits = [
            f"pods {', '.join(self.pods)}" if self.pods else "",
            f"nodes {', '.join(self.nodes)}" if self.nodes else "",
        ]
        lines.append(f"hits: {'; '.join(hit for hit in hits if hit) or 'no pod and no node of its own'}")
        lines += self.arithmetic
        lines += [f"caps: {self.caps}", f"ends: {self.ends}"]
        lines.append("deadlines: " + ", ".join(f"{name} {value:g} s" for name, value in self.deadlines.items()))
        lines += [f"REFUSED: {reason}" for reason in self.refused] or ["may be begun"]
        return lines


def params_of(fault: Fault) -> dict[str, inspect.Parameter]:
    """The parameters of the fault's `inject` besides the target, by name."""
    known = inspect.signature(fault.load().inject).parameters
    return {name: p for name, p in known.items() if name not in FIXED}


def check_params(fault: Fault, params: dict[str, Any]) -> None:
    """UsageError when the fault has no parameter of some name."""
    known = params_of(fault)
    if unknown := sorted(set(params) - set(known)):
        raise UsageError(
            f"{fault} has no parameter {', '.join(unknown)}", expected=f"some of: {', '.join(known)}", seen=unknown[0]
        )


def hits_of(fault: Fault, kube: Kube, namespace: str, target: str, params: dict[str, Any]) -> Hits:
    """What the fault would hit: as its module's `hits` says, else its target. UsageError when there is none such."""
    own = getattr(fault.load(), "hits", None)
    if own is None:
        return default_hits(fault, kube, namespace, target)
    taken = {name: params[name] for name in inspect.signature(own).parameters if name in params}
    found: Hits = own(kube, namespace, target, **taken)
    return found


def make_plan(info: ClusterInfo, fault: Fault, namespace: str, target: str, params: dict[str, Any]) -> Plan:
    """Look at everything that `inject` would look at, and change nothing.

    UsageError for an unknown parameter; whatever else speaks against the fault is in the plan's `refused`.
    """
    check_params(fault, params)
    ttl_s, caps = float(params.get("ttl_s", TTL_S)), limits()
    plan = Plan(
        fault=fault.name,
        summary=fault.summary,
        lease=fault.lease.value,
        cluster=f"{info.name} ({info.provider}), UID {info.uid or 'unknown'}",
        namespace=namespace,
        target=target,
        params=params,
        caps=f"max-pods {caps.max_pods}, max-nodes {caps.max_nodes}",
        ends=_ends(fault, ttl_s),
    )
    try:
        plan.deadlines = fault.deadlines | replaced_deadlines(fault, params.get("deadlines"))
        refuse_incapable(fault, info)
        kube = Kube(info)
        for _, refuse in admission(fault, info, kube, namespace, target):
            try:
                refuse()
            except UsageError as error:
                plan.refused.append(str(error))
        hits = hits_of(fault, kube, namespace, target, params)
        found = reach(info, kube, namespace, hits)
        plan.pods = sorted({pod for each in found.losses for pod in each.hit} | set(hits.pods))
        plan.nodes, plan.arithmetic = found.nodes_hit, found.lines()
        refuse_beyond(info, kube, fault, namespace, hits)
    except SteadysetError as error:
        plan.refused.append(str(error))
    return plan


def _ends(fault: Fault, ttl_s: float) -> str:
    if fault.lease is Lease.ONE_SHOT:
        return f"over at once; recovery within heal_s = {fault.deadlines['heal_s']:g} s"
    by = "the kernel drops it" if fault.lease is Lease.KERNEL else "a watchdog undoes it"
    return (
        f"when it is released; without a renewal every {RENEW_S:g} s {by} within {ttl_s:g} s"
        f" + {UNDO_SLACK_S:g} s, whatever else is dead"
    )
