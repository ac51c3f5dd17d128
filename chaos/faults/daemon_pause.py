"""Pause a daemon of a node (kubelet, containerd, kube-proxy) or of the control plane, as if it hung."""

from __future__ import annotations

import signal

from steadyset.chaos.act import Act
from steadyset.chaos.daemons import API, api_answers, daemon_action, is_well, see_daemon
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.inside import signal_all, stopped
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="daemon-pause",
    lease=Lease.WATCHDOG,
    summary="pause a daemon (kubelet, containerd, API server, etcd, scheduler, controller manager), as if it hung",
    deadlines={"bite_s": 60.0, "heal_s": 120.0},
    capabilities=("node-exec",),
    target="cluster",
)


def _pause(act: Act) -> None:
    for victim in act.victims:
        signal_all(victim.seen["processes"], signal.SIGSTOP)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Let the processes of this record go on; needs this machine only, not the API server."""
    signal_all(record.undo["processes"], signal.SIGCONT)
    return [f"{daemon} goes on" for daemon in record.undo["daemons"]]


def _paused(act: Act, victim: Victim) -> list[str] | None:
    """Wait until its processes are stopped and, where the API server depends on it, that answers no more."""
    processes = victim.seen["processes"]
    if not processes or len(stopped(processes)) < len(processes):
        return None
    lines = [f"{victim.name} is stopped (pid {', '.join(str(p) for p, _ in processes)})"]
    if victim.seen["daemon"] in API:
        if api_answers(act):
            return None
        lines.append("the API server answers no request")
    return lines


def _running(act: Act, victim: Victim) -> list[str] | None:
    """Wait until it runs and listens, the API server answers, and the node (if it is a node's) is Ready."""
    return None if stopped(victim.seen["processes"]) else is_well(act, victim)


def _seen(act: Act, victim: Victim) -> str:
    processes = victim.seen["processes"]
    return f"{len(stopped(processes))} of {len(processes)} processes stopped; {see_daemon(act, victim)}"


inject = daemon_action(FAULT, _pause, "Pause `daemon`.")
prove_bite = bite_probe(FAULT, _paused, "the daemon is paused", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _running, "the daemon runs and its cluster is well", _seen)
