"""kwok nodes: pods run on them without a kubelet, and nothing of them is left afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from steadyset.errors import UsageError
from steadyset.fixtures.clusters.embedded import cluster as clusters
from steadyset.fixtures.clusters.embedded.kwok import LABEL, TOLERATION, kwok_nodes
from steadyset.wait import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,  # kwok is built first, which takes minutes
    pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root"),
]

NAME = "kwoktest"
READY_S = 60.0
REPLICAS = 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[clusters.Cluster]:
    """The cluster named by STEADYSET_TEST_CLUSTER, which is kept, or one of our own."""
    given = os.environ.get("STEADYSET_TEST_CLUSTER", "")
    clusters.ensure_up(name=given or NAME)
    yield clusters.Cluster.get(given or NAME)
    if not given:
        clusters.down(NAME)


def test_pods_run_and_everything_is_removed(cluster: clusters.Cluster) -> None:
    """Goal: a StatefulSet becomes Ready on kwok nodes alone; afterwards neither nodes, pods nor kwok are there."""
    api = cluster.api()
    name, path = {"name": "kwok"}, "/apis/apps/v1/namespaces/default/statefulsets"
    pod = {
        "nodeSelector": {LABEL: "true"},
        "tolerations": [TOLERATION],
        "containers": [{"name": "main", "image": "none"}],
    }
    template = {"metadata": {"labels": name}, "spec": pod}
    spec = {"replicas": REPLICAS, "serviceName": "kwok", "podManagementPolicy": "Parallel"}
    spec |= {"selector": {"matchLabels": name}, "template": template}

    def pods() -> list[dict[str, object]]:
        return list(api.request("GET", "/api/v1/namespaces/default/pods?labelSelector=name%3Dkwok")["items"])

    with kwok_nodes(cluster.spec.name, 3) as nodes:
        assert nodes == ["kwok-0", "kwok-1", "kwok-2"]
        api.request("POST", path, {"metadata": name, "spec": spec})
        wait_for(
            lambda: api.request("GET", f"{path}/kwok")["status"].get("readyReplicas") == REPLICAS,
            what="Ready pods", deadline_name="READY_S", deadline_s=READY_S,
        )  # fmt: skip
        addresses = {p["status"]["podIP"] for p in pods()}  # type: ignore[index]
        assert len(addresses) == REPLICAS
        assert {p["spec"]["nodeName"] for p in pods()} <= set(nodes)  # type: ignore[index]
        api.request("DELETE", f"{path}/kwok")
    left = [n["metadata"]["name"] for n in api.request("GET", "/api/v1/nodes")["items"]]
    assert not [n for n in left if n.startswith("kwok")] and not pods()
    assert not cluster.processes.running("kwok")


def test_other_clusters_and_numbers() -> None:
    """Goal: a cluster that is not there, and a number out of bounds, are refused before anything is done."""
    for name, count in (("nosuchcluster", 1), (NAME, 0), (NAME, 100_000)):
        with pytest.raises(UsageError), kwok_nodes(name, count):
            pass
