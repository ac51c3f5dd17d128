"""Restart a pod's containers through the container runtime, as `crictl stop` does: SIGTERM, then SIGKILL."""

from __future__ import annotations

import time
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.runtime import signal_containers
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.kube import container_ids
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe, no_undo
from steadyset.chaos.pods import need_alive, ready_again, restarted, see_pod
from steadyset.chaos.reach import reach_of_pod
from steadyset.chaos.targets import Victim

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="container-restart",
    lease=Lease.ONE_SHOT,
    summary="stop a pod's containers through the container runtime; the kubelet starts new ones in the same pod",
    deadlines={"bite_s": 60.0, "heal_s": 240.0},
    capabilities=("pod-processes",),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    grace_s: float = 2.0,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Have the runtime send SIGTERM to the containers of the pods of `target`, and SIGKILL to those that still run
    after `grace_s` seconds."""
    act = begin(FAULT, cluster, namespace, target, deadlines=deadlines)
    for victim in act.victims:
        need_alive(victim)
    with act.injecting():
        for victim in act.victims:
            _signal(act, victim, "SIGTERM")
    act.memory["kill_at"] = time.monotonic() + grace_s
    return act.report()


def _signal(act: Act, victim: Victim, name: str) -> None:
    reach_of_pod(act.info, victim.obj).call(signal_containers, container_ids(victim.obj), name)


def _new_containers(act: Act, victim: Victim) -> list[str] | None:
    """Wait for new container IDs in the same pod."""
    lines = restarted(act, victim)
    if lines is None and time.monotonic() > act.memory["kill_at"] and not victim.seen.get("killed"):
        victim.seen["killed"] = True
        _signal(act, victim, "SIGKILL")
    return lines


prove_bite = bite_probe(FAULT, _new_containers, "the pod has new containers", see_pod)
heal = heal_action(FAULT, no_undo)
prove_heal = heal_probe(FAULT, ready_again, "the pod Ready in new containers", see_pod)
