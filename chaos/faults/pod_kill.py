"""Kill a pod: delete it without grace, or SIGKILL its container's main process."""

from __future__ import annotations

import signal
import time
from typing import Any

from steadyset.chaos.act import Act, begin, resume
from steadyset.chaos.agent import processes
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.inside import container_inits
from steadyset.chaos.kube import container_ids, controller_of, is_ready, short, uid_of
from steadyset.chaos.rights import Right
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="pod-kill",
    lease=Lease.ONE_SHOT,
    summary="delete a pod with grace 0, or SIGKILL the main process of its containers",
    deadlines={"bite_s": 30.0, "heal_s": 180.0},
    rights=(Right("", "pods", ("delete",), "kill the pod"),),
)
MODES = ("delete", "sigkill")


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    mode: str = "delete",
    grace_s: int = 0,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Kill pod `target`: `mode` delete removes it from the API with `grace_s` seconds of grace (0: forced);
    `mode` sigkill kills its containers' main processes on the node (needs pod-processes): the pod stays in the API."""
    if mode not in MODES:
        raise UsageError(f"pod-kill has no mode {mode}", expected=f"one of: {', '.join(MODES)}", seen=mode)
    act = begin(FAULT, cluster, namespace, target, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    if "deletionTimestamp" in pod["metadata"]:
        raise InvalidError(f"pod {target} is being deleted already: killing it would prove nothing")
    if mode == "delete" and controller_of(pod) is None:
        raise UsageError(f"pod {target} has no controller: deleted, it would never come back", do="use mode sigkill")
    act.memory.update(mode=mode, uid=uid_of(pod), containers=container_ids(pod))
    if mode == "sigkill":
        reach, inits = container_inits(act.info, pod)
        with act.injecting():
            reach.call(processes.signal_all, inits, int(signal.SIGKILL))
    else:
        with act.injecting():
            act.kube.delete_pod(namespace, target, uid_of(pod), grace_s)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait for a new UID under the pod's name (mode delete) or for new container IDs in the same pod (mode sigkill)."""
    act = resume(FAULT, namespace, target)
    with act.proving_bite() as lines:
        proof = _new_pod if act.memory["mode"] == "delete" else _new_containers
        lines.append(act.until(lambda: proof(act), f"pod {target} is another one", "bite_s", lambda: _seen(act)))
    return act.report()


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Nothing to undo: the controller, or the kubelet, brings the pod back."""
    act = resume(FAULT, namespace, target)
    act.healing(lambda info, kube, record: [])
    return act.report()


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait for the pod to be Ready in new containers."""
    act = resume(FAULT, namespace, target)
    with act.proving_heal() as lines:
        lines.append(act.until(lambda: _ready_again(act), f"pod {target} Ready again", "heal_s", lambda: _seen(act)))
    return act.report()


def _new_pod(act: Act) -> str | None:
    pod = act.kube.pod(act.namespace, act.target)
    if uid_of(pod) == act.memory["uid"]:
        return None
    act.memory.setdefault("bitten_ns", time.monotonic_ns())
    if pod is None:
        return None
    return f"pod {act.target}: UID {short(act.memory['uid'])} -> {short(uid_of(pod))}"


def _new_containers(act: Act) -> str | None:
    pod = act.kube.pod(act.namespace, act.target)
    now, before = container_ids(pod), act.memory["containers"]
    if pod is None or not before or set(now) & set(before):
        return None
    return f"pod {act.target}: containers {_names(before)} -> {_names(now)}"


def _ready_again(act: Act) -> str | None:
    pod = act.kube.pod(act.namespace, act.target)
    before = set(act.memory["containers"])
    if pod is None or not is_ready(pod) or set(container_ids(pod)) & before:
        return None
    return f"pod {act.target} is Ready on {pod['spec']['nodeName']} in container {_names(container_ids(pod))}"


def _names(ids: list[str]) -> str:
    return ", ".join(short(i) for i in ids) or "none"


def _seen(act: Act) -> str:
    pod = act.kube.pod(act.namespace, act.target)
    if pod is None:
        return "no pod of that name"
    phase = pod.get("status", {}).get("phase", "")
    return f"UID {short(uid_of(pod))}, phase {phase}, containers {_names(container_ids(pod))}, ready {is_ready(pod)}"
