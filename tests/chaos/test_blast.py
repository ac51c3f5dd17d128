"""What is refused before anything is done, and that it says why: by the real API server, fault by fault."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.chaos.abort import NAME, AbortedError, resume, stop_all
from steadyset.chaos.blast import ALLOWED, OPT_IN, VARIABLE, limits
from steadyset.chaos.cordon import cordon, uncordon
from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.inside import pod_processes
from steadyset.chaos.kube import Kube, is_ready, uid_of
from steadyset.chaos.ledger import ClusterLedger, HostLedger, located, new_record
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import SteadysetError, UsageError
from steadyset.fixtures import images
from steadyset.wait import wait_for

cluster_test = pytest.mark.cluster
SINGLE_DEADLINE_S = 30.0


def test_settings_come_from_the_environment_then_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a misspelt one is an error: it would change what may be broken."""
    monkeypatch.chdir(tmp_path)
    for name in ("MAX_PODS", "MAX_NODES", "CONFIRM_UID"):
        monkeypatch.delenv(VARIABLE + name, raising=False)
    assert (limits().max_pods, limits().max_nodes) == ("minority", "minority")
    file = tmp_path / "steadyset.toml"
    file.write_text('[chaos]\nmax-pods = "50%"\nmax-nodes = 2\n')
    assert (limits().max_pods, limits().max_nodes) == ("50%", "2")
    monkeypatch.setenv(f"{VARIABLE}MAX_PODS", "all")
    assert (limits().max_pods, limits().max_nodes) == ("all", "2")
    file.write_text('[chaos]\nmax-pod = "50%"\n')
    with pytest.raises(UsageError, match="no setting max-pod"):
        limits()


@pytest.fixture(scope="module")
def closed(kube: Kube) -> Iterator[str]:
    """A namespace that has not opted in."""
    name = f"closed-{secrets.token_hex(3)}"
    kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    kube.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def single(kube: Kube, namespace: str) -> str:
    """A workload of one member, `single-0`."""
    labels = {"app": "single"}
    container = {
        "name": "single",
        "image": images.reference("probe"),
        "env": [{"name": name, "value": "single"} for name in ("POD_NAME", "POD_UID", "NODE_NAME")],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}], "terminationGracePeriodSeconds": 1}
    body = {
        "metadata": {"name": "single"},
        "spec": {
            "serviceName": "single",
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    kube.request("POST", f"/apis/apps/v1/namespaces/{namespace}/statefulsets", body)
    wait_for(
        lambda: is_ready(kube.pod(namespace, "single-0")),
        what="single-0 is Ready",
        deadline_name="SINGLE_DEADLINE_S",
        deadline_s=SINGLE_DEADLINE_S,
    )
    return namespace


def state(cluster: ClusterInfo, kube: Kube, namespace: str) -> list[str]:
    """All that a fault could have changed: pods, nodes, claims, both ledgers."""
    pods = [f"{p['metadata']['name']} {uid_of(p)} {is_ready(p)}" for p in kube.pods(namespace)]
    nodes = [
        f"{n['metadata']['name']} {n['spec']} {n['metadata'].get('annotations')}" for n in kube.items("/api/v1/nodes")
    ]
    ledgers = [r.id for r in HostLedger(cluster).records()]
    ledgers += [r.id for r, _ in ClusterLedger(cluster, kube, namespace).records()]
    return sorted(pods) + sorted(nodes) + ledgers


# fault, target, params, environment, what the error says
REFUSED: list[tuple[str, str, dict[str, Any], dict[str, str], str]] = [
    ("pod-kill", "member-9", {}, {}, "no pod .*member-9"),
    ("node-cordon", "node/nowhere", {}, {}, "no node nowhere"),
    ("node-cordon", "member-0", {"ttl_s": 0.0}, {}, "a lease of 0 s would run out"),
    ("node-cordon", "member-0", {"ttl_s": -1.0}, {}, "a lease of -1 s would run out"),
    ("pod-kill", "single-0", {}, {}, "1 member, 1 hit .single-0.*leaves 0 of 1: no majority"),
    ("pod-evict", "single-0", {}, {}, "blast radius"),
    ("pod-kill", "member-0", {}, {"MAX_PODS": "0"}, "at most 0 of the 3 pods"),
    ("pod-kill", "member-0", {}, {"MAX_PODS": "25%"}, "at most 0 of the 3 pods"),
    ("pod-kill", "member-0", {}, {"MAX_PODS": "some"}, "max_pods = some is no share"),
    ("node-cordon", "member-0", {}, {"MAX_NODES": "0"}, "at most 0 of the 3 nodes"),
    ("node-power-off", "member-0", {}, {"MAX_NODES": "0"}, "at most 0 of the 3 nodes"),
    ("network-partition", "member-0", {"shape": "majority", "peers": ["member-1"]}, {}, "at least 3 members"),
    ("network-partition", "member-0", {"shape": "quarters"}, {}, "no partition shape quarters"),
    ("network-partition", "member-0", {"shape": "halves"}, {"MAX_PODS": "0"}, "1 cut off .member-0"),
    ("pod-kill", "member-0", {"mode": "politely"}, {}, "no mode politely"),
    ("pod-kill", "member-0", {"deadlines": {"bite": 1.0}}, {}, "has no deadline bite"),
]


@cluster_test
@pytest.mark.parametrize(("name", "target", "params", "environment", "why"), REFUSED)
def test_bad_input_is_refused_before_anything_is_done(
    cluster: ClusterInfo,
    kube: Kube,
    single: str,
    ready: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    target: str,
    params: dict[str, Any],
    environment: dict[str, str],
    why: str,
) -> None:
    """UsageError with the reason; pods, nodes and ledgers are as they were."""
    monkeypatch.delenv(f"{VARIABLE}MAX_PODS")
    for variable, value in environment.items():
        monkeypatch.setenv(VARIABLE + variable, value)
    before = state(cluster, kube, ready)
    with pytest.raises(UsageError) as caught:
        fault_named(name).load().inject(cluster.path, target, namespace=ready, **params)
    assert_says(caught.value, why)
    assert before == state(cluster, kube, ready)


def assert_says(error: SteadysetError, why: str) -> None:
    """The error's lines hold that, and it says what to do or what was expected."""
    import re

    assert re.search(why, str(error).replace("\n", " ")), str(error)
    assert error.do or error.expected


def skip_incapable(cluster: ClusterInfo, fault: Fault) -> None:
    """What the cluster cannot do is refused for that, before anything else is looked at."""
    if lacking := [c for c in fault.capabilities if not cluster.can(c)]:
        pytest.skip(f"not tested: {fault} needs {', '.join(lacking)}")


@cluster_test
@pytest.mark.parametrize("fault", [f for f in FAULTS if f.target == "pod"], ids=str)
def test_a_namespace_that_did_not_opt_in_is_refused(cluster: ClusterInfo, closed: str, fault: Fault) -> None:
    """Every fault with a namespaced target; the error has the command that opens the namespace."""
    skip_incapable(cluster, fault)
    with pytest.raises(UsageError, match="not open to faults") as caught:
        fault.load().inject(cluster.path, "member-0", namespace=closed)
    assert caught.value.do.endswith(f"kubectl label namespace {closed} {OPT_IN}={ALLOWED}")
    with pytest.raises(UsageError, match="no namespace nowhere"):
        fault.load().inject(cluster.path, "member-0", namespace="nowhere")


@cluster_test
@pytest.mark.parametrize("fault", [f for f in FAULTS if f.target in ("pod", "node")], ids=str)
def test_no_fault_gets_around_the_caps(
    cluster: ClusterInfo, kube: Kube, ready: str, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """With caps of zero every fault on a pod or node is refused, before anything is done."""
    skip_incapable(cluster, fault)
    monkeypatch.setenv(f"{VARIABLE}MAX_PODS", "0")
    monkeypatch.setenv(f"{VARIABLE}MAX_NODES", "0")
    before = state(cluster, kube, ready)
    with pytest.raises(UsageError, match="blast radius"):
        fault.load().inject(cluster.path, "member-0", namespace=ready)
    assert before == state(cluster, kube, ready)


@cluster_test
def test_what_other_faults_hold_counts(
    cluster: ClusterInfo, kube: Kube, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another runner's live fault holds member-1: taking member-0 as well would leave one of three."""
    monkeypatch.delenv(f"{VARIABLE}MAX_PODS")
    record = new_record("pod-freeze", ready, "member-1", 60.0, {"processes": []})
    record.pods = ("member-1",)
    ledger = ClusterLedger(cluster, kube, ready)
    ledger.write(record)
    try:
        with pytest.raises(UsageError, match="blast radius") as caught:
            fault_named("pod-kill").load().inject(cluster.path, "member-0", namespace=ready)
        assert "1 hit (member-0), 1 down already (member-1), leaves 1 of 3: no majority" in caught.value.seen
    finally:
        ledger.remove(record.id)


@cluster_test
def test_two_that_begin_at_the_same_moment_do_not_both_go_on(
    cluster: ClusterInfo, kube: Kube, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's record appears between the first look and ours: it is looked again once ours is written."""
    monkeypatch.delenv(f"{VARIABLE}MAX_NODES", raising=False)
    nodes = sorted(n["metadata"]["name"] for n in kube.items("/api/v1/nodes"))
    other = new_record("node-cordon", ready, f"node/{nodes[1]}", 60.0, {"nodes": [nodes[1]]})
    other.nodes = (nodes[1],)
    write = ClusterLedger.write

    def both(self: ClusterLedger, record: Any) -> None:
        write(self, other)
        write(self, record)

    monkeypatch.setattr(ClusterLedger, "write", both)
    before = state(cluster, kube, ready)
    try:
        with pytest.raises(UsageError, match="blast radius"):
            fault_named("node-cordon").load().inject(cluster.path, f"node/{nodes[0]}", namespace=ready)
    finally:
        ClusterLedger(cluster, kube, ready).remove(other.id)
    assert before == state(cluster, kube, ready)


INSIDE = """
import sys
from steadyset.chaos.faults.pod_kill import inject
from steadyset.errors import UsageError
try:
    inject(sys.argv[1], sys.argv[2], namespace=sys.argv[3])
except UsageError as error:
    print(error)
"""


@cluster_test
def test_the_runner_does_not_cut_itself_off(cluster: ClusterInfo, kube: Kube, ready: str) -> None:
    """A runner with the network of member-0 refuses a fault on member-0."""
    pid = pod_processes(uid_of(kube.pod(ready, "member-0")))[0]["pid"]
    argv = ["nsenter", "-t", str(pid), "-n", "--", sys.executable, "-c", INSIDE, cluster.path, "member-0", ready]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "would cut steadyset off: steadyset itself runs there" in done.stdout, done.stdout + done.stderr


@cluster_test
def test_the_way_to_the_api_server_is_not_cut(
    cluster: ClusterInfo, kube: Kube, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubeconfig whose server answers at the target's address (a proxy in a pod, a control plane on a node)."""
    for target in ("member-0", f"node/{kube.need_pod(ready, 'member-0')['spec']['nodeName']}"):
        pod = kube.need_pod(ready, "member-0")
        address = pod["status"]["hostIP" if target.startswith("node/") else "podIP"]
        monkeypatch.setattr("steadyset.chaos.blast.server_addresses", lambda kube, a=address: {a})
        fault = "node-power-off" if target.startswith("node/") else "pod-kill"
        with pytest.raises(UsageError, match="the API server it talks to answers there"):
            fault_named(fault).load().inject(cluster.path, target, namespace=ready)


@cluster_test
def test_a_foreign_cluster_is_confirmed_by_its_uid(
    cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, or another cluster's UID, is refused; the error has the UID to confirm with."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for confirmed in ("", "another"):
        foreign = located(
            ClusterInfo(name="f", provider="kubeconfig", kubeconfig=cluster.kubeconfig, confirmed=confirmed)
        )
        with pytest.raises(UsageError, match="not confirmed") as caught:
            fault_named("pod-kill").load().inject(foreign.path, "member-0", namespace=ready)
        assert cluster.uid in caught.value.expected and cluster.uid in caught.value.do


@cluster_test
def test_nodes_of_a_foreign_cluster_opt_in_too(
    cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node fault disturbs whatever runs on the node."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv(f"{VARIABLE}CONFIRM_UID", cluster.uid)
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    kube.request("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": {OPT_IN: None}}})
    foreign = located(ClusterInfo(name="f", provider="kubeconfig", kubeconfig=cluster.kubeconfig))
    with pytest.raises(UsageError, match=f"node {node} is not open to faults"):
        fault_named("node-cordon").load().inject(foreign.path, "member-0", namespace=ready)


@cluster_test
def test_nothing_is_begun_while_faults_are_stopped(cluster: ClusterInfo, kube: Kube, ready: str) -> None:
    """By a ConfigMap that any observer makes with kubectl; by our command; in the file alone."""
    path = f"/api/v1/namespaces/steadyset-system/configmaps/{NAME}"
    ClusterLedger(cluster, kube, ready).make_namespace()
    inject = fault_named("pod-kill").load().inject
    kube.request("POST", path.rpartition("/")[0], {"metadata": {"name": NAME}, "data": {"reason": "the pager"}})
    try:
        with pytest.raises(AbortedError, match="the pager"):
            inject(cluster.path, "member-0", namespace=ready)
    finally:
        assert resume(cluster, ready)
    try:
        stop_all(cluster, ready, reason="enough", by="somebody", runs=["another-run"])
        with pytest.raises(UsageError, match="member-9"):  # another run's stop does not concern us
            inject(cluster.path, "member-9", namespace=ready)
        stop_all(cluster, ready, reason="enough", by="somebody", runs=[])
        kube.request("DELETE", path)  # the file is enough
        with pytest.raises(AbortedError, match="aborted by somebody: enough"):
            inject(cluster.path, "member-0", namespace=ready)
    finally:
        assert resume(cluster, ready)
    assert not resume(cluster, ready)


@cluster_test
def test_a_fault_that_adds_nothing_to_a_cordon_is_still_counted_once(
    cluster: ClusterInfo, kube: Kube, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that another fault of ours holds is one node: the same node may be hit again, another may not."""
    nodes = sorted(n["metadata"]["name"] for n in kube.items("/api/v1/nodes"))
    record = new_record("node-cordon", ready, f"node/{nodes[0]}", 60.0, {"nodes": [nodes[0]]})
    record.nodes = (nodes[0],)
    ledger = ClusterLedger(cluster, kube, ready)
    ledger.write(record)
    cordon(kube, nodes[0], record.id)
    try:
        with pytest.raises(SteadysetError, match="cordoned already"):  # refused by the fault, not by the cap
            fault_named("node-cordon").load().inject(cluster.path, f"node/{nodes[0]}", namespace=ready)
        with pytest.raises(UsageError, match="blast radius"):
            fault_named("node-cordon").load().inject(cluster.path, f"node/{nodes[1]}", namespace=ready)
    finally:
        uncordon(kube, nodes[0], record.id)
        ledger.remove(record.id)


def test_the_tests_see_every_variable() -> None:
    """The names that the documentation promises."""
    assert f"{VARIABLE}MAX_PODS" == "STEADYSET_CHAOS_MAX_PODS"
    assert os.environ.get(f"{VARIABLE}CONFIRM_UID", "") == ""
