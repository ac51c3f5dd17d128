"""Kill a pod: delete it without grace, or kill its containers' main processes."""

from __future__ import annotations

import signal
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent import processes
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.inside import container_inits
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe, no_undo
from steadyset.chaos.pods import gone, need_alive, need_controller, ready_again, restarted, see_pod
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.errors import UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="pod-kill",
    lease=Lease.ONE_SHOT,
    summary="delete a pod with grace 0, or SIGKILL or SIGTERM the main process of its containers",
    deadlines={"bite_s": 30.0, "heal_s": 180.0},
    rights=(Right("", "pods", ("delete",), "kill the pod"),),
)
SIGNALS = {"sigkill": signal.SIGKILL, "sigterm": signal.SIGTERM}
MODES = ("delete", *SIGNALS)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    mode: str = "delete",
    grace_s: int = 0,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Kill the pods of `target`: `mode` delete removes them from the API with `grace_s` seconds of grace (0: forced);
    sigkill and sigterm signal their containers' main processes on the node (needs pod-processes): the pods
    stay."""
    if mode not in MODES:
        raise UsageError(f"pod-kill has no mode {mode}", expected=f"one of: {', '.join(MODES)}", seen=mode)
    act = begin(FAULT, cluster, namespace, target, deadlines=deadlines)
    act.memory["mode"] = mode
    for victim in act.victims:
        need_alive(victim)
        if mode == "delete":
            need_controller(victim, "deleted")
    mains = [] if mode == "delete" else [container_inits(act.info, v.obj) for v in act.victims]
    with act.injecting():
        for reach, inits in mains:
            reach.call(processes.signal_all, inits, int(SIGNALS[mode]))
        if mode == "delete":
            for victim in act.victims:
                act.kube.delete_pod(namespace, victim.name, victim.uid, grace_s)
    return act.report()


def _killed(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the pod of that UID is gone (mode delete), or has new container IDs (the other modes)."""
    return (gone if act.memory["mode"] == "delete" else restarted)(act, victim)


prove_bite = bite_probe(FAULT, _killed, "the pod is another one", see_pod)
heal = heal_action(FAULT, no_undo)
prove_heal = heal_probe(FAULT, ready_again, "the pod Ready in new containers", see_pod)
