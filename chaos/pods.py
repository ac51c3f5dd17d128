"""What is seen of a pod that a fault breaks: gone, in new containers, Ready again."""

from __future__ import annotations

from steadyset.chaos.act import Act
from steadyset.chaos.kube import Json, container_ids, controller_of, is_ready, short, uid_of
from steadyset.chaos.targets import Victim
from steadyset.errors import InvalidError, UsageError


def need_controller(victim: Victim, verb: str) -> None:
    """UsageError when nobody would bring the pod back."""
    if controller_of(victim.obj) is None:
        raise UsageError(
            f"pod {victim.name} has no controller: {verb}, it would never come back", do="name another pod"
        )


def need_alive(victim: Victim) -> None:
    """InvalidError when the pod is being deleted already."""
    if "deletionTimestamp" in victim.obj["metadata"]:
        raise InvalidError(f"pod {victim.name} is being deleted already: breaking it would prove nothing")


def pod_now(act: Act, victim: Victim) -> Json | None:
    """The pod of that name at this moment."""
    return act.kube.pod(act.namespace, victim.name)


def gone(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the pod of that UID is gone."""
    now = uid_of(pod_now(act, victim))
    return None if now == victim.uid else [f"pod {victim.name}: UID {short(victim.uid)} -> {short(now)}"]


def restarted(act: Act, victim: Victim) -> list[str] | None:
    """Wait for new container IDs in the same pod."""
    pod = pod_now(act, victim)
    now, before = container_ids(pod), container_ids(victim.obj)
    if uid_of(pod) != victim.uid or not before or not now or set(now) & set(before):
        return None
    return [f"pod {victim.name}: containers {names_of(before)} -> {names_of(now)}"]


def ready_again(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the pod of that name is Ready in new containers."""
    pod = pod_now(act, victim)
    if pod is None or not is_ready(pod) or set(container_ids(pod)) & set(container_ids(victim.obj)):
        return None
    return [f"pod {victim.name} is Ready on {pod['spec']['nodeName']} in container {names_of(container_ids(pod))}"]


def ready(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the pod of that name is Ready."""
    return [f"pod {victim.name} is Ready"] if is_ready(pod_now(act, victim)) else None


def names_of(ids: list[str]) -> str:
    """Short container IDs, for evidence lines."""
    return ", ".join(short(i) for i in ids) or "none"


def see_pod(act: Act, victim: Victim) -> str:
    """For errors."""
    pod = pod_now(act, victim)
    if pod is None:
        return "no pod of that name"
    phase = pod.get("status", {}).get("phase", "")
    return f"UID {short(uid_of(pod))}, phase {phase}, containers {names_of(container_ids(pod))}, ready {is_ready(pod)}"
