"""The observer and the rules of the main job on a real cluster: correct runs pass, real harm is found."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.invariants import (
    AtMostOnePerIdentity,
    EndpointsReady,
    OrderedRecovery,
    ParallelBurst,
    PvcRetention,
    RetentionPolicy,
    RollingUpdate,
    RwoSingleNode,
    ScaleDownHalts,
    StableIdentity,
)
from steadyset.observer import Observer
from steadyset.trace import load_trace
from steadyset.verdict import Verdict
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]

READY_S = 180.0
CLAIMS = "[{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}}]"
SET = "db"
ENDS = ("container-stopped", "unmounted")


class Workload:
    """A StatefulSet of three in a namespace of its own, driven by kubectl."""

    def __init__(self, info: ClusterInfo) -> None:
        self.info, self.namespace = info, f"observer-{secrets.token_hex(3)}"
        self.kubectl = [f"{info.bin_dir}/kubectl", "--kubeconfig", info.kubeconfig]
        self("create", "namespace", self.namespace)
        self.kubectl += ["-n", self.namespace]

    def __call__(self, *args: str, stdin: str = "") -> str:
        return subprocess.run([*self.kubectl, *args], check=True, capture_output=True, text=True, input=stdin).stdout

    def deploy(self, *, policy: str = "OrderedReady", claims: bool = True) -> None:
        text = (Path(__file__).parent / "workload.yaml").read_text()
        text = text.replace("POLICY", policy).replace("CLAIMS", CLAIMS if claims else "[]")
        text = text.replace("EPHEMERAL", "[]" if claims else "[{name: data, emptyDir: {}}]")
        self("apply", "-f", "-", stdin=text.replace("IMAGE", "steadyset.local/pause:1"))

    def get(self, *args: str) -> Any:
        return json.loads(self("get", *args, "-o", "json"))

    def uid(self, pod: str) -> str:
        found = self.get("pods", "--field-selector", f"metadata.name={pod}")["items"]
        return str(found[0]["metadata"]["uid"]) if found else ""

    def wait_ready(self, replicas: int = 3, *, but: str = "") -> None:
        """Until `replicas` pods are Ready and none has the UID `but`."""

        def ready() -> bool:
            pods = self.get("pods")["items"]
            conditions = [c for p in pods for c in p["status"].get("conditions", []) if c["type"] == "Ready"]
            gone = all(p["metadata"]["uid"] != but and not p["metadata"].get("deletionTimestamp") for p in pods)
            return gone and len(pods) == replicas == sum(c["status"] == "True" for c in conditions)

        wait_for(ready, what=f"{replicas} Ready pods", deadline_name="READY_S", deadline_s=READY_S, poll_s=0.3,
                 describe=lambda: self("get", "pods", "-o", "wide"))  # fmt: skip

    def node_of(self, pod: str) -> str:
        return str(self.get("pod", pod)["spec"]["nodeName"])


@pytest.fixture
def workload(cluster: ClusterInfo) -> Iterator[Workload]:
    """A workload that is removed afterwards."""
    workload = Workload(cluster)
    yield workload
    workload("delete", "namespace", workload.namespace, "--wait=false")


@pytest.fixture
def node(cluster: ClusterInfo) -> Iterator[Callable[..., None]]:
    """Acts on a node and undoes it afterwards."""
    undo: list[list[str]] = []
    opposite = {"off": "on", "cut": "uncut", "freeze": "thaw"}

    def act(what: str, name: str) -> None:
        if what in opposite:
            undo.append([opposite[what], name])
        else:
            undo.remove([what, name])
        subprocess.run(["steadyset", "cluster", "node", what, name, "--name", cluster.name], check=True)

    yield act
    for what, name in list(undo):
        act(what, name)


def test_a_correct_run_passes_every_rule(workload: Workload, tmp_path: Path) -> None:
    """Deploy, replace gracefully and by force, update, scale down: no false alarm, and everything really observed."""
    ns = workload.namespace
    with Observer(workload.info, tmp_path / "trace", namespace=ns) as observer:
        observer.wait_synced()
        workload.deploy()
        workload.wait_ready()
        for pod, how in (("db-1", ["--wait=false"]), ("db-0", ["--grace-period=0", "--force"])):
            old = workload.uid(pod)
            workload("delete", "pod", pod, *how)
            workload.wait_ready(but=old)
        change = '{"spec": {"template": {"metadata": {"annotations": {"revision": "2"}}}}}'
        workload("patch", "statefulset", SET, "-p", change)
        workload("rollout", "status", "statefulset", SET, f"--timeout={READY_S:.0f}s")
        workload.wait_ready()
        workload("scale", "statefulset", SET, "--replicas=1")
        workload.wait_ready(1)
        trace = observer.trace
    rules = [
        StableIdentity(ns, SET, 5),
        AtMostOnePerIdentity(ns, SET, 5),
        PvcRetention(ns, SET, 3),
        OrderedRecovery(ns, SET, 8),
        RwoSingleNode(ns, 3),
        EndpointsReady(ns),
        RollingUpdate(ns, SET, 3),
        ScaleDownHalts(ns, SET, 2, 0),
        RetentionPolicy(ns, SET, 2),
    ]
    judgements = [rule.check(trace) for rule in rules]
    assert [(j.rule, j.verdict, j.witness) for j in judgements] == [(r.rule, Verdict.PASS, []) for r in rules]
    assert judgements[3].observed == {"creations": 8, "scale_down_deletions": 2}
    assert judgements[6].observed == {"updates": 3, "controller_deletions": 3}


def test_parallel_and_empty_dir_are_found(workload: Workload, tmp_path: Path) -> None:
    """Parallel posing as ordered, emptyDir posing as the volume: both named."""
    ns = workload.namespace
    with Observer(workload.info, tmp_path / "trace", namespace=ns) as observer:
        observer.wait_synced()
        workload.deploy(policy="Parallel", claims=False)
        workload.wait_ready()
        trace = observer.trace
    assert ParallelBurst(ns, SET, 3).check(trace).verdict == Verdict.PASS
    ordered = OrderedRecovery(ns, SET).check(trace)
    assert ordered.verdict == Verdict.FAIL
    assert any("was created while db-0" in line for line in ordered.witness)
    retention = PvcRetention(ns, SET, 3).check(trace)
    assert retention.verdict == Verdict.FAIL
    assert "volume data, an emptyDir" in retention.witness[0]


def test_a_force_deleted_pod_on_a_cut_node_is_found_running(
    workload: Workload, node: Callable[..., None], tmp_path: Path
) -> None:
    """The API shows one db-0 at any time; the nodes show two, and for how long."""
    ns = workload.namespace
    with Observer(workload.info, tmp_path / "trace", namespace=ns) as observer:
        observer.wait_synced()
        workload.deploy(claims=False)
        workload.wait_ready()
        old, where = workload.uid("db-0"), workload.node_of("db-0")
        node("cut", where)
        workload("cordon", where)
        workload("delete", "pod", "db-0", "--grace-period=0", "--force", "--wait=false")
        wait_for(
            lambda: workload.uid("db-0") not in ("", old)
            and workload.get("pod", "db-0")["status"].get("containerStatuses", [{}])[0].get("ready"),
            what="the second db-0", deadline_name="READY_S", deadline_s=READY_S,
        )  # fmt: skip
        trace = observer.trace
        workload("uncordon", where)
    judgement = AtMostOnePerIdentity(ns, SET).check(trace)
    assert judgement.verdict == Verdict.FAIL
    assert "db-0: the replacement" in judgement.witness[0] and "and never stopped" in judgement.witness[0]
    assert judgement.data["overlap_s"] > 0


def test_power_off_ends_everything_of_the_node_and_it_is_watched_again(
    workload: Workload, node: Callable[..., None], tmp_path: Path
) -> None:
    """The node's containers and mounts end with its power; after power on it is observed again."""
    ns = workload.namespace
    path = tmp_path / "trace"
    with Observer(workload.info, path, namespace=ns) as observer:
        observer.wait_synced()
        workload.deploy()
        workload.wait_ready()
        where, old = workload.node_of("db-0"), workload.uid("db-0")
        node("off", where)
        wait_for(
            lambda: load_trace(path).notes("node-off"),
            what="node-off note", deadline_name="READY_S", deadline_s=READY_S,
        )  # fmt: skip
        node("on", where)
        wait_for(
            lambda: [n for n in load_trace(path).notes("listed") if n.name == where and not n.obj["initial"]],
            what="the node watched again", deadline_name="READY_S", deadline_s=READY_S,
        )  # fmt: skip
        workload.wait_ready()
        trace = observer.trace
    off = trace.notes("node-off")[0]
    ended = {
        (r.obj["what"], r.obj["container"] if "container" in r.obj else r.obj["volume"] != "")
        for r in trace.node_events
        if r.obj["node"] == where and r.obj["pod_uid"] == old and r.obj["what"] in ENDS and r.t <= off.t
    }
    assert ended == {("container-stopped", "main"), ("container-stopped", ""), ("unmounted", True)}
    assert AtMostOnePerIdentity(ns, SET, 0).check(trace).verdict == Verdict.PASS
    assert PvcRetention(ns, SET, 3).check(trace).verdict == Verdict.PASS
