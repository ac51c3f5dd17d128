"""A cluster, and a Redis on it that was deployed with kubectl by somebody else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import images
from steadyset.fixtures.preload import preload
from steadyset.wait import wait_for

OWN_CLUSTER = "targettest"
CART_S = 90.0
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterInfo]:
    """The cluster named by STEADYSET_TEST_CLUSTER, which is kept, or one of our own."""
    from steadyset.fixtures.clusters import embedded

    name = os.environ.get("STEADYSET_TEST_CLUSTER", "")
    info = embedded.ensure_up(name or OWN_CLUSTER)
    preload(info, ["redis"], print)
    yield info
    if not name:
        embedded.down(OWN_CLUSTER)


@pytest.fixture(scope="module")
def kubectl(cluster: ClusterInfo) -> Kubectl:
    """kubectl as the cluster's administrator."""

    def run(*arguments: str, stdin: str = "") -> str:
        argv = [str(Path(cluster.bin_dir) / "kubectl"), "--kubeconfig", cluster.kubeconfig, *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

    return run


@pytest.fixture(scope="module")
def cart(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    """The namespace of the running cart; its parameter is MIN_REPLICAS, "0" being a mis-configuration."""
    needed = getattr(request, "param", "1")
    manifest = (Path(__file__).parent / "cart.yaml").read_text().replace("IMAGE", images.reference("redis"))
    manifest = manifest.replace('{name: MIN_REPLICAS, value: "1"}', f'{{name: MIN_REPLICAS, value: "{needed}"}}')
    kubectl("apply", "-f", "-", stdin=manifest)
    wait_for(
        lambda: kubectl("-n", "shop", "get", "statefulset", "cart", "-o", "jsonpath={.status.readyReplicas}") == "3",
        what="the cart's three members ready",
        deadline_name="CART_S",
        deadline_s=CART_S,
        describe=lambda: kubectl("-n", "shop", "get", "pods,events"),
    )
    yield "shop"
    kubectl("delete", "namespace", "shop", "--wait=true")
