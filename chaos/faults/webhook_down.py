"""Put an admission webhook that nobody answers before a namespace: with failurePolicy Fail, creation is refused."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, RefusedError, UnreachableError
from steadyset.chaos.ledger import LABEL, MANAGED_BY, Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="webhook-down",
    lease=Lease.WATCHDOG,
    summary="have the creation of pods (or claims) in a namespace refused by an admission webhook that is down",
    deadlines={"bite_s": 30.0, "heal_s": 30.0},
    target="namespace",
    rights=(
        Right(
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            ("create", "delete", "list"),
            "put the webhook before the namespace, and take it away",
            namespaced=False,
        ),
        Right("", "pods", ("create",), "try whether creation is refused (dry run)"),
    ),
)
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SPECS: dict[str, Json] = {
    "pods": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "probe",
                "image": "steadyset.invalid/probe",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
    "persistentvolumeclaims": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    "services": {"ports": [{"port": 80}]},
}


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Refuse the creation of resource `target` (pods, persistentvolumeclaims, services) in `namespace`, and only there:
    a ValidatingWebhookConfiguration with failurePolicy Fail whose Service does not exist."""
    if target not in SPECS:
        raise UsageError(f"no resource {target} to refuse", expected=f"one of: {', '.join(SPECS)}", seen=target)
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    before = _refusal(act)
    if before:
        raise InvalidError(f"{target} cannot be created in {namespace} as it is: {before}")
    with act.injecting({}):
        assert act.record is not None
        act.memory["name"] = act.record.id
        act.kube.request("POST", CONFIGURATIONS, _configuration(act.record.id, namespace, target))
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Delete the webhook's configuration."""
    return [f"webhook {record.id} deleted"] if kube.delete(f"{CONFIGURATIONS}/{record.id}") else []


def residue(info: ClusterInfo, kube: Kube, live_ids: set[str]) -> list[str]:
    """Webhook configurations of ours that belong to no live fault."""
    names = [c["metadata"]["name"] for c in kube.items(CONFIGURATIONS, labelSelector=f"{LABEL}=webhook")]
    return [f"webhook configuration {name}" for name in names if name not in live_ids]


def _configuration(name: str, namespace: str, resource: str) -> Json:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource]}
    webhook = {
        "name": "down.steadyset.io",
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [rule],
        "clientConfig": {"service": {"namespace": namespace, "name": "steadyset-no-such-service"}},
    }
    labels = {LABEL: "webhook", MANAGED_BY: "steadyset"}
    return {"metadata": {"name": name, "labels": labels}, "webhooks": [webhook]}


def _refusal(act: Act) -> str:
    """What the API server says to a dry run of a creation; "" when it would create."""
    body = {"metadata": {"generateName": "steadyset-probe-"}, "spec": SPECS[act.target]}
    try:
        act.kube.request("POST", f"/api/v1/namespaces/{act.namespace}/{act.target}", body, dryRun="All")
    except (RefusedError, UnreachableError) as error:
        return error.message
    return ""


def _refused(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a dry run of a creation is refused in the webhook's name."""
    said = _refusal(act)
    return [f"create {act.target} in {act.namespace}: {said}"] if "down.steadyset.io" in said else None


def _accepted(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a dry run of a creation is accepted."""
    return None if _refusal(act) else [f"create {act.target} in {act.namespace}: accepted (dry run)"]


def _seen(act: Act, victim: Victim) -> str:
    return _refusal(act) or "creation is accepted"


prove_bite = bite_probe(FAULT, _refused, "creation is refused", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _accepted, "creation is accepted", _seen)
