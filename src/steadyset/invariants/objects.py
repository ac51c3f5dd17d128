"""Reading Kubernetes objects as plain dicts: names, owners, conditions and volumes, by Kubernetes' own semantics."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from steadyset.trace import Lifetime, Trace

Obj = dict[str, Any]
ORDERED_READY, PARALLEL = "OrderedReady", "Parallel"


def meta(obj: Obj) -> Obj:
    """The object's metadata."""
    value = obj.get("metadata")
    return value if isinstance(value, dict) else {}


def spec(obj: Obj) -> Obj:
    """The object's spec; empty when it has none."""
    value = obj.get("spec")
    return value if isinstance(value, dict) else {}


def status(obj: Obj) -> Obj:
    """The object's status; empty when it has none."""
    value = obj.get("status")
    return value if isinstance(value, dict) else {}


def labels(obj: Obj) -> dict[str, str]:
    """The object's labels."""
    return meta(obj).get("labels") or {}


def condition(obj: Obj, kind: str) -> Obj:
    """The status condition of that type; empty when absent."""
    for found in status(obj).get("conditions") or []:
        if found.get("type") == kind:
            return dict(found)
    return {}


def ready(pod: Obj) -> bool:
    """Whether the pod's Ready condition is True."""
    return condition(pod, "Ready").get("status") == "True"


def terminating(obj: Obj) -> bool:
    """Whether its deletion has begun."""
    return bool(meta(obj).get("deletionTimestamp"))


def controller(obj: Obj) -> tuple[str, str]:
    """(kind, name) of the managing owner; empty strings when there is none."""
    for owner in meta(obj).get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner.get("kind", "")), str(owner.get("name", ""))
    return "", ""


def ordinal(name: str, statefulset: str) -> int:
    """The ordinal in a pod's name; -1 when the name is not one of the StatefulSet's."""
    match = re.fullmatch(re.escape(statefulset) + r"-(\d+)", name)
    return int(match[1]) if match else -1


def claims(pod: Obj) -> dict[str, str]:
    """Volume name to claim name, for the volumes backed by a PersistentVolumeClaim."""
    return {
        v["name"]: v["persistentVolumeClaim"]["claimName"]
        for v in spec(pod).get("volumes") or []
        if v.get("persistentVolumeClaim")
    }


def templates(statefulset: Obj) -> list[str]:
    """Names of the volumeClaimTemplates."""
    return [str(meta(t).get("name", "")) for t in spec(statefulset).get("volumeClaimTemplates") or []]


def policy(statefulset: Obj) -> str:
    """podManagementPolicy, with Kubernetes' default."""
    return str(spec(statefulset).get("podManagementPolicy") or ORDERED_READY)


def replicas(statefulset: Obj) -> int:
    """spec.replicas, with Kubernetes' default of 1."""
    value = spec(statefulset).get("replicas")
    return 1 if value is None else int(value)


def start_ordinal(statefulset: Obj) -> int:
    """spec.ordinals.start, 0 when unset."""
    return int((spec(statefulset).get("ordinals") or {}).get("start") or 0)


def matches(selector: Obj | None, found: dict[str, str]) -> bool:
    """Whether labels satisfy a label selector (matchLabels, matchExpressions); no selector matches nothing."""
    if selector is None:
        return False
    if any(found.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        key, operator, values = term["key"], term["operator"], term.get("values") or []
        holds = {
            "In": found.get(key) in values,
            "NotIn": found.get(key) not in values,
            "Exists": key in found,
            "DoesNotExist": key not in found,
        }[operator]
        if not holds:
            return False
    return True


def pods_of(trace: Trace, namespace: str, statefulset: str) -> list[Lifetime]:
    """Every pod the StatefulSet has managed, one per UID, in order of first sight."""
    return [
        life
        for life in trace.lifetimes("Pod", namespace)
        if ordinal(life.name, statefulset) >= 0
        and any(controller(r.obj) == ("StatefulSet", statefulset) for r in life.records)
    ]


def by_name(lives: list[Lifetime]) -> dict[str, list[Lifetime]]:
    """Lifetimes grouped by name, each group in order of first sight."""
    found: dict[str, list[Lifetime]] = defaultdict(list)
    for life in lives:
        found[life.name].append(life)
    return found


def short(uid: str) -> str:
    """A UID's first block: enough to tell pods apart in a witness line."""
    return uid.split("-", maxsplit=1)[0] if uid else "?"


def newer(a: str, b: str) -> bool:
    """Whether resourceVersion `a` is newer than `b`: decimal numbers that grow, by Kubernetes' own definition."""
    return (len(a), a) > (len(b), b)
