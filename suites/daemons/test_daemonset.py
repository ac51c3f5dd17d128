"""DaemonSets: one pod on every node that is meant, whatever happens to nodes, templates and pods."""

import pytest

from steadyset.chaos.kube import controller_of, is_ready
from steadyset.fixtures.conformance.volumes import HOSTNAME, pod_manifest

REVISION = "controller-revision-hash"


def daemonset(space, *, nodes=(), update=None, **pod):
    """Create a DaemonSet of probes; `nodes` are those that it is meant for, all by default."""
    manifest = pod_manifest(space, "agent", **pod)
    if nodes:
        term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": list(nodes)}]}
        rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        manifest["spec"]["affinity"] = {"nodeAffinity": rule}
    template = {"metadata": manifest["metadata"], "spec": manifest["spec"]}
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
    if update:
        spec["updateStrategy"] = update
    return space.create({"kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec})


def agents(space):
    """The DaemonSet's pods, those being deleted included."""
    return [pod for pod in space.view.all("Pod").values() if (controller_of(pod) or {}).get("kind") == "DaemonSet"]


def where(space):
    """Nodes that have a ready pod of the DaemonSet, sorted; a node with two is named twice."""
    return sorted(pod["spec"].get("nodeName", "") for pod in agents(space) if is_ready(pod))


def _roll(space, mark):
    template = {"metadata": {"annotations": {"steadyset.dev/mark": mark}}}
    space.patch("DaemonSet", "agent", {"spec": {"template": template}})


@pytest.mark.requirement("DMN-ONE-001", "DMN-ONE-002")
def test_one_on_every_node(space, report):
    """Goal: one pod on each node, a new one for one that is deleted, and none on nodes that are no longer meant.

    Method: wait for one on each; delete one; narrow the node affinity to the first node.
    """
    nodes = sorted(space.nodes(at_least=2))
    daemonset(space)
    space.until("one on every node", lambda: where(space) == nodes)
    victim = agents(space)[0]["metadata"]
    space.delete("Pod", victim["name"])
    space.until("it is gone", lambda: victim["uid"] not in {p["metadata"]["uid"] for p in agents(space)})
    space.until("one on every node again", lambda: where(space) == nodes)
    space.patch("DaemonSet", "agent", {"spec": {"template": {"spec": {"nodeSelector": {HOSTNAME: nodes[0]}}}}})
    space.until("only the first node has one", lambda: [p["spec"].get("nodeName") for p in agents(space)] == nodes[:1])
    space.until("and it is ready", lambda: where(space) == nodes[:1])
    most = _most_on_a_node(space)
    report.promise("never two ready ones on a node", expected=1, seen=most)


def _most_on_a_node(space):
    """The most ready pods that a node had at any moment of the trace."""
    ready, most = {}, 0
    for record in space.view.states("Pod"):
        if record.e != "DELETED" and is_ready(record.obj):
            ready[record.uid] = record.obj["spec"]["nodeName"]
        else:
            ready.pop(record.uid, None)
        most = max([most, *(list(ready.values()).count(node) for node in set(ready.values()))])
    return most


@pytest.mark.requirement("DMN-TOL-001")
def test_tolerations(space, report):
    """Goal: a DaemonSet's pods tolerate what happens to their node, so that nothing but their deletion moves them.

    Method: read the tolerations that the controller adds.
    """
    daemonset(space)
    nodes = sorted(space.nodes())
    space.until("one on every node", lambda: where(space) == nodes)
    tolerated = {(t.get("key"), t.get("effect")) for t in agents(space)[0]["spec"]["tolerations"]}
    wanted = {("node.kubernetes.io/not-ready", "NoExecute"), ("node.kubernetes.io/unreachable", "NoExecute")}
    wanted |= {(f"node.kubernetes.io/{k}-pressure", "NoSchedule") for k in ("disk", "memory", "pid")}
    wanted |= {("node.kubernetes.io/unschedulable", "NoSchedule")}
    report.promise("the tolerations of a DaemonSet", expected=set(), seen=wanted - tolerated)


@pytest.mark.requirement("DMN-UPD-001", "DMN-UPD-002")
@pytest.mark.parametrize("surge", [0, 1], ids=["maxUnavailable", "maxSurge"])
def test_rolling_update(space, report, surge):
    """Goal: an update replaces one pod after the other; with maxSurge no node is without a ready pod meanwhile.

    Method: change the template; judge over every state which nodes had a ready pod.
    """
    nodes = sorted(space.nodes(at_least=2))
    limits = {"maxUnavailable": 1 - surge, "maxSurge": surge}
    daemonset(space, update={"type": "RollingUpdate", "rollingUpdate": limits})
    space.until("one on every node", lambda: where(space) == nodes)
    old = {pod["metadata"]["uid"] for pod in agents(space)}
    begin = len(space.view.states("Pod"))
    _roll(space, "2")
    space.until("all are replaced", lambda: not old & {p["metadata"]["uid"] for p in agents(space)})
    space.until("one on every node", lambda: where(space) == nodes and len(agents(space)) == len(nodes))
    records = space.view.states("Pod")
    least, most = _least_covered(records, begin), _most_on_a_node(space)
    report.promise("nodes with a ready pod, at least", expected=len(nodes) - (1 - surge), seen=least)
    report.promise("ready pods on a node, at most", expected=1 + surge, seen=most)


def _least_covered(records, begin):
    """The fewest nodes with a ready pod at any moment after the record of that number."""
    ready, least = {}, len(records)
    for number, record in enumerate(records):
        if record.e != "DELETED" and _serves(record.obj):
            ready[record.uid] = record.obj["spec"]["nodeName"]
        else:
            ready.pop(record.uid, None)
        if number >= begin:
            least = min(least, len(set(ready.values())))
    return least


def _serves(pod):
    """Ready by its own condition: a pod that is being deleted still counts until it is not."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.mark.requirement("DMN-UPD-003")
def test_on_delete(space, report):
    """Goal: with OnDelete a changed template reaches a node only when its pod is deleted.

    Method: change the template, wait until the controller has seen it; delete one pod.
    """
    nodes = sorted(space.nodes(at_least=2))
    daemonset(space, update={"type": "OnDelete"})
    space.until("one on every node", lambda: where(space) == nodes)
    before = {pod["metadata"]["uid"]: pod["metadata"]["labels"][REVISION] for pod in agents(space)}
    _roll(space, "2")

    def observed():
        found = space.need("DaemonSet", "agent")
        return found["status"].get("observedGeneration", 0) >= found["metadata"]["generation"]

    space.until("the controller has seen it", observed)
    report.promise("nothing is replaced", expected=set(before), seen={p["metadata"]["uid"] for p in agents(space)})
    victim = agents(space)[0]["metadata"]
    space.delete("Pod", victim["name"])
    space.until("it is replaced", lambda: victim["uid"] not in {p["metadata"]["uid"] for p in agents(space)})
    space.until("one on every node again", lambda: where(space) == nodes)
    fresh = [p["metadata"]["labels"][REVISION] for p in agents(space) if p["metadata"]["uid"] not in before]
    report.promise(
        "only that one is of the new revision", expected=(1, True), seen=(len(fresh), fresh[0] not in before.values())
    )
