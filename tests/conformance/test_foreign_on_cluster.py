"""The embedded cluster given as a foreign one: `steadyset conformance` with the account of docs/rbac-conformance.yaml,
and with ever less of what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from steadyset.chaos.kube import Kube, RefusedError
from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.clusters.kubeconfig import DEFAULT_CLASS
from steadyset.fixtures.conformance.rights import RIGHTS, refused
from steadyset.fixtures.conformance.space import RUN_LABEL
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]
MANIFEST = Path(__file__).parent.parent.parent / "docs" / "rbac-conformance.yaml"
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/steadyset-conformance"
ENFORCED_DEADLINE_S = 30.0  # until the API server knows a new policy or role


@pytest.fixture(scope="module")
def theirs(
    cluster: ClusterInfo, kubectl: Callable[..., str], kubeconfig_of: Callable[[str, str], Path]
) -> Iterator[ClusterInfo]:
    """The cluster as the account steadyset/steadyset-conformance sees it."""
    kubectl("apply", "-f", str(MANIFEST))
    path = kubeconfig_of("steadyset", "steadyset-conformance")
    yield ClusterInfo(name="theirs", provider="kubeconfig", kubeconfig=str(path), uid=cluster.uid)
    kubectl("delete", "-f", str(MANIFEST))


def conformance(theirs: ClusterInfo, folder: Path, tests: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Run it with that account; its result, which no test may have failed, and what it said."""
    argv = [sys.executable, "-m", "steadyset", "conformance", "--kubeconfig", theirs.kubeconfig]
    argv += ["--confirm-uid", theirs.uid, "--runs", str(folder / "runs"), "--json", "--tests", tests, *arguments]
    env = {**os.environ, "XDG_STATE_HOME": str(folder)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    assert {s["verdict"] for s in result["scenarios"]} == {"PASS"}
    return result, done.stderr


def reasons(result: dict[str, Any]) -> dict[str, str]:
    """Why each test that was not tested was not, by its function's name."""
    return {item["test_id"].partition("::")[2]: item["reason"] for item in result["not_tested"]}


def passed(result: dict[str, Any]) -> set[str]:
    return {s["slug"] for s in result["scenarios"]}


def test_the_account_is_enough(cluster: ClusterInfo, theirs: ClusterInfo, tmp_path: Path) -> None:
    """Members, claims, gates, rollouts and a static volume pass; what the account may not do is not tested, by name."""
    wait_for(
        lambda: not refused(theirs),
        what="the account has its rights",
        deadline_name="ENFORCED_DEADLINE_S",
        deadline_s=ENFORCED_DEADLINE_S,
    )
    tests = "test_scale_subresource,test_status_subresource,test_parallel_does_not_wait,test_preemption,test_taints"
    result, said = conformance(theirs, tmp_path, f"{tests},test_static_volumes")
    assert passed(result) == {"scale-subresource", "status-subresource", "parallel-does-not-wait", "static-volumes"}
    why = reasons(result)
    assert why["test_taints"].startswith("fault node-taint: the account may not patch nodes")
    assert "may not change a node's status" in why["test_preemption"]
    assert "the account lacks" not in said
    assert Kube(cluster).items("/api/v1/namespaces", labelSelector=RUN_LABEL) == []


def test_the_fence(theirs: ClusterInfo) -> None:
    """What the account may do by RBAC it may do in the suites' own namespaces alone."""
    kube = Kube(theirs)

    def create(path: str, name: str, **manifest: Any) -> str:
        body = {"metadata": {"name": name}, **manifest}
        try:
            kube.request("POST", path, body, dryRun="All")
        except RefusedError as error:
            return error.message
        return ""

    def config(namespace: str) -> str:
        return create(f"/api/v1/namespaces/{namespace}/configmaps", "ss-x", kind="ConfigMap", apiVersion="v1")

    wait_for(
        lambda: config("default"),
        what="the policy is enforced",
        deadline_name="ENFORCED_DEADLINE_S",
        deadline_s=ENFORCED_DEADLINE_S,
    )
    fence = "steadyset-conformance writes in namespaces ss-… only"
    assert f"{fence}, not to default" in config("default")
    with pytest.raises(RefusedError, match="only, not to steadyset"):
        kube.request("DELETE", "/api/v1/namespaces/steadyset", None, dryRun="All")
    namespace = {"kind": "Namespace", "apiVersion": "v1"}
    assert f"{fence}, not to mine" in create("/api/v1/namespaces", "mine", **namespace)
    assert create("/api/v1/namespaces", "ss-mine", **namespace) == ""


@contextmanager
def without(theirs: ClusterInfo, cluster: ClusterInfo, resource: str) -> Iterator[None]:
    """Take the rights on a resource out of the role for the block."""
    kube = Kube(cluster)
    rules = kube.request("GET", ROLE)["rules"]
    kube.request("PATCH", ROLE, {"rules": [rule for rule in rules if rule["resources"] != [resource]]})
    try:
        wait_for(
            lambda: [right.resource for right in refused(theirs)] == [resource],
            what=f"the account has no right on {resource}",
            deadline_name="ENFORCED_DEADLINE_S",
            deadline_s=ENFORCED_DEADLINE_S,
        )
        yield
    finally:
        kube.request("PATCH", ROLE, {"rules": rules})


@pytest.mark.slow
def test_no_default_class_one_node_and_no_right_to_list_nodes(
    cluster: ClusterInfo, kubectl: Callable[..., str], theirs: ClusterInfo, tmp_path: Path
) -> None:
    """Each of these keeps some tests from running; they say so, and the rest runs."""
    tests = "test_configuration_comes_first,test_scale_subresource,test_one_on_every_node"
    kube = Kube(cluster)
    where = f"/apis/storage.k8s.io/v1/storageclasses/{cluster.storage_class}"
    others = [node.name for node in cluster.nodes[1:]]
    kube.request("PATCH", where, {"metadata": {"annotations": {DEFAULT_CLASS: None}}})
    try:
        for node in others:
            kubectl("cordon", node)
        result, _ = conformance(theirs, tmp_path / "poor", tests)
        why = reasons(result)
        assert "has no default StorageClass" in why["test_scale_subresource"]
        assert why["test_one_on_every_node"] == "2 schedulable nodes are needed, the cluster has 1"
        assert passed(result) == {"configuration-comes-first"}
        with without(theirs, cluster, "nodes"):
            result, said = conformance(theirs, tmp_path / "blind", tests)
        assert "may not list nodes" in reasons(result)["test_one_on_every_node"]
        assert f"the account lacks 1 of {len(RIGHTS)} rights" in said
        assert passed(result) == {"configuration-comes-first"}
    finally:
        kube.request("PATCH", where, {"metadata": {"annotations": {DEFAULT_CLASS: "true"}}})
        for node in others:
            kubectl("uncordon", node)
