"""Roll out a revision whose image cannot be pulled: its first pod does not start, and the rollout halts there."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, controller_of, is_ready, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import need_controller
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="image-pull-failure",
    lease=Lease.WATCHDOG,
    summary="give a pod's workload a revision whose image cannot be pulled, and take it back",
    deadlines={"bite_s": 120.0, "heal_s": 300.0},
    rights=(
        Right("apps", "statefulsets", ("get", "patch"), "give the workload another image"),
        Right("", "pods", ("delete",), "replace the pods that wait for it"),
    ),
)
IMAGE = "127.0.0.1:1/steadyset-no-such-image:"  # the node's own port 1, where no registry is: refused at once
WAITING = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")
PLURALS = {"StatefulSet": "statefulsets", "Deployment": "deployments"}


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    container: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Set the image of `container` (default: the first) in the template of the StatefulSet or Deployment of pod
    `target` to one that does not exist. With update strategy OnDelete nothing is rolled out: refused."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    path = _workload(act.kube, namespace, act.victims[0])
    template = (act.kube.get(path) or {})["spec"]
    strategy = template.get("updateStrategy", {}).get("type", "")
    if strategy == "OnDelete":
        raise InvalidError(f"{path.rpartition('/')[2]} is updated on deletion only: a new revision changes nothing")
    images = {c["name"]: c["image"] for c in template["template"]["spec"]["containers"]}
    name = container or next(iter(images))
    if name not in images:
        raise UsageError(f"no container {name}", expected=f"one of: {', '.join(images)}", seen=name)
    with act.injecting({"path": path, "container": name, "image": images[name]}):
        assert act.record is not None
        act.memory.update(path=path, container=name, broken=IMAGE + act.record.id)
        _set_image(act.kube, path, name, images[name], IMAGE + act.record.id)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Put the image back, and delete the pods that wait for the broken one: a halted rollout does not replace them."""
    path, broken = record.undo["path"], IMAGE + record.id
    _set_image(kube, path, record.undo["container"], broken, record.undo["image"])
    lines = [f"{path.rpartition('/')[2]}: image {record.undo['image']} again"]
    for pod in kube.pods(record.namespace):
        if broken in _images(pod["spec"]).values() and not is_ready(pod):
            kube.delete_pod(record.namespace, pod["metadata"]["name"], uid_of(pod))
            lines.append(f"pod {pod['metadata']['name']} of the broken revision deleted")
    return lines


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """The image in the workload's template."""
    obj = kube.get(undo["path"])
    image = _images(obj["spec"]["template"]["spec"]).get(undo["container"], "gone") if obj else "gone"
    return {f"image of {undo['path'].rpartition('/')[2]}": image}


def _images(spec: Json) -> dict[str, str]:
    return {c["name"]: c["image"] for c in spec["containers"]}


def _workload(kube: Kube, namespace: str, victim: Victim) -> str:
    """Path of the pod's StatefulSet or Deployment in the API."""
    need_controller(victim, "deleted")
    owner = controller_of(victim.obj) or {}
    base = f"/apis/apps/v1/namespaces/{namespace}"
    if owner["kind"] == "ReplicaSet":
        owner = controller_of(kube.get(f"{base}/replicasets/{owner['name']}") or {"metadata": {}}) or owner
    if owner["kind"] not in PLURALS:
        raise UsageError(f"the controller of pod {victim.name} is a {owner['kind']}", expected=" or ".join(PLURALS))
    return f"{base}/{PLURALS[owner['kind']]}/{owner['name']}"


def _set_image(kube: Kube, path: str, container: str, was: str, image: str) -> None:
    """Replace the image `was` in the template; one that somebody else changed meanwhile stays."""

    def change(obj: Json) -> Json | None:
        containers = obj["spec"]["template"]["spec"]["containers"]
        hit = [c for c in containers if c["name"] == container and c["image"] == was]
        for one in hit:
            one["image"] = image
        return {"spec": {"template": {"spec": {"containers": containers}}}} if hit else None

    kube.update(path, change)


def _of_workload(act: Act) -> list[Json]:
    """The pods that the target's workload controls."""
    name = act.memory["path"].rpartition("/")[2]
    pods = act.kube.pods(act.namespace)
    owners = [(p, (controller_of(p) or {}).get("name", "")) for p in pods]
    return [p for p, owner in owners if owner == name or owner.rpartition("-")[0] == name]


def _unpulled(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a pod of the new revision waits with ErrImagePull or ImagePullBackOff."""
    for pod in _of_workload(act):
        for status in pod.get("status", {}).get("containerStatuses", []):
            reason = status.get("state", {}).get("waiting", {}).get("reason", "")
            if _images(pod["spec"]).get(status["name"]) == act.memory["broken"] and reason in WAITING:
                return [f"pod {pod['metadata']['name']} of the new revision: {reason} for {act.memory['broken']}"]
    return None


def _whole(act: Act, victim: Victim) -> list[str] | None:
    """Wait until every pod of the workload is Ready, none of them with the broken image."""
    pods, wanted = _of_workload(act), (act.kube.get(act.memory["path"]) or {})["spec"].get("replicas", 1)
    broken = [p for p in pods if act.memory["broken"] in _images(p["spec"]).values()]
    if broken or sum(is_ready(p) for p in pods) < wanted:
        return None
    return [f"{wanted} pods of {act.memory['path'].rpartition('/')[2]} are Ready with their own image"]


def _seen(act: Act, victim: Victim) -> str:
    return "; ".join(f"{p['metadata']['name']}: ready {is_ready(p)}, {_images(p['spec'])}" for p in _of_workload(act))


prove_bite = bite_probe(FAULT, _unpulled, "the new revision's image is not pulled", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _whole, "the workload whole again", _seen)
