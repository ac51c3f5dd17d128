"""A cluster, and a Redis on it that was deployed with kubectl by somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import images
from steadyset.fixtures.preload import preload
from steadyset.wait import wait_for

CART_S = 90.0
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def cluster(cluster: ClusterInfo) -> ClusterInfo:
    """The same, with Redis' image on its nodes."""
    preload(cluster, ["redis"], print)
    return cluster


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
