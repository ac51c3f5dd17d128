"""Freeze a pod: SIGSTOP to every process of its containers, as if it hung; connections to it stay open."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.inside import container_inits, pod_processes, signal_all, stopped
from steadyset.chaos.kube import Kube, is_ready, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.clusterinfo import ClusterInfo

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="pod-freeze",
    lease=Lease.WATCHDOG,
    summary="stop every process of a pod's containers (SIGSTOP), as if the pod hung",
    deadlines={"bite_s": 15.0, "heal_s": 180.0},
    capabilities=("node-exec",),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Stop every process of pod `target`, its sandbox's excepted."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    cgroups = {p.cgroup for p in container_inits(act.info, pod)}
    own = [p for p in pod_processes(uid_of(pod)) if p.cgroup in cgroups]
    act.memory["processes"] = [[p.pid, p.start] for p in own]
    with act.injecting({"processes": act.memory["processes"]}):
        signal_all(act.memory["processes"], signal.SIGSTOP)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the kernel shows every process as stopped."""
    return bite(FAULT, namespace, target, _frozen, "every process is stopped", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Let the processes go on (SIGCONT)."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until none is stopped and the pod is Ready."""
    return recovered(FAULT, namespace, target, _running, f"pod {target} runs and is Ready", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Let the processes of this record go on."""
    signal_all(record.undo["processes"], signal.SIGCONT)
    return [f"pod {record.target}: {len(record.undo['processes'])} processes go on"]


def _frozen(act: Act) -> list[str] | None:
    processes = act.memory["processes"]
    if not processes or len(stopped(processes)) < len(processes):
        return None
    names = sorted({Path(f"/proc/{pid}/comm").read_text().strip() for pid, _ in processes})
    return [f"pod {act.target}: {len(processes)} processes stopped ({', '.join(names)})"]


def _running(act: Act) -> list[str] | None:
    if stopped(act.memory["processes"]) or not is_ready(act.kube.pod(act.namespace, act.target)):
        return None
    return [f"pod {act.target} runs and is Ready"]


def _seen(act: Act) -> str:
    processes = act.memory["processes"]
    ready = is_ready(act.kube.pod(act.namespace, act.target))
    return f"{len(stopped(processes))} of {len(processes)} processes stopped, ready {ready}"
