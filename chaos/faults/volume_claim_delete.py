"""Delete the claim under a running pod: it stays Terminating, protected, until the pod goes; then its data is gone.

The heal is the pod's deletion: its claim goes with it, and the StatefulSet makes a new, empty one. So this fault shows
two promises: the protection of claims in use, and that a member with an empty disk comes back by replication. With
reclaim policy Delete the data is lost for good: aim it at nothing you cannot lose.
"""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, controller_of, is_ready, short, uid_of
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import need_alive, pod_now, see_pod
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import claim_of, claim_path, delete_the_pods, undo_of
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-claim-delete",
    lease=Lease.ONE_SHOT,
    summary="delete a pod's PersistentVolumeClaim while in use; the heal replaces the pod, on a new, empty volume",
    deadlines={"bite_s": 15.0, "heal_s": 240.0},
    rights=(
        Right("", "persistentvolumeclaims", ("get", "delete"), "delete the claim"),
        Right("apps", "statefulsets", ("get",), "see whether the claim is made anew"),
        Right("", "pods", ("delete",), "replace the pod"),
    ),
)
PROTECTION = "kubernetes.io/pvc-protection"


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Delete the claims of the pods of `target`, whose data is lost with it; refused for claims that no
    volumeClaimTemplate makes anew. `claim` names the PVC when a pod has several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        need_alive(victim)
        name = claim_of(victim.obj, claim)
        bound = act.kube.get(claim_path(namespace, name))
        if bound is None or "deletionTimestamp" in bound["metadata"]:
            raise InvalidError(f"claim {name} is gone or being deleted already: deleting it would prove nothing")
        if name not in _templated(act, victim):
            raise UsageError(f"claim {name} is of no volumeClaimTemplate, so nobody would make it anew")
        victim.seen.update(claim=name, claim_uid=uid_of(bound))
    with act.injecting(undo_of(act)):
        for victim in act.victims:
            act.kube.delete(claim_path(namespace, victim.seen["claim"]), victim.seen["claim_uid"])
    return act.report()


def _templated(act: Act, victim: Victim) -> list[str]:
    owner = controller_of(victim.obj) or {}
    if owner.get("kind") != "StatefulSet":
        return []
    owning = act.kube.get(f"/apis/apps/v1/namespaces/{act.namespace}/statefulsets/{owner['name']}") or {"spec": {}}
    templates = owning["spec"].get("volumeClaimTemplates", [])
    return [f"{t['metadata']['name']}-{victim.name}" for t in templates]


def _claim(act: Act, victim: Victim) -> Json | None:
    return act.kube.get(claim_path(act.namespace, victim.seen["claim"]))


def _terminating(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the claim is Terminating, held by the protection of claims in use, while its pod goes on."""
    now, name = _claim(act, victim), victim.seen["claim"]
    if uid_of(now) != victim.seen["claim_uid"]:
        raise InvalidError(f"claim {name} went away under its pod: nothing protects claims in use here")
    if now is None or "deletionTimestamp" not in now["metadata"] or uid_of(pod_now(act, victim)) != victim.uid:
        return None
    held = ", ".join(now["metadata"].get("finalizers", []))
    return [f"claim {name} is Terminating, held by {held}; pod {victim.name} runs on"] if PROTECTION in held else None


def _made_anew(act: Act, victim: Victim) -> list[str] | None:
    """Wait until another claim of that name is Bound and another pod is Ready on it, with an empty volume."""
    now, pod = _claim(act, victim), pod_now(act, victim)
    if now is None or uid_of(now) == victim.seen["claim_uid"] or now.get("status", {}).get("phase") != "Bound":
        return None
    if pod is None or uid_of(pod) == victim.uid or not is_ready(pod):
        return None
    before, after = short(victim.seen["claim_uid"]), short(uid_of(now))
    return [f"claim {victim.seen['claim']}: {before} -> {after}, Bound; pod {victim.name} is Ready on the new volume"]


def _seen(act: Act, victim: Victim) -> str:
    now = _claim(act, victim)
    phase = (now or {}).get("status", {}).get("phase", "")
    going = ", Terminating" if now and "deletionTimestamp" in now["metadata"] else ""
    return f"claim {short(uid_of(now))} {phase}{going}; {see_pod(act, victim)}"


undo = delete_the_pods
prove_bite = bite_probe(FAULT, _terminating, "the claim is Terminating under its pod", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _made_anew, "the pod Ready on a new claim", _seen)
