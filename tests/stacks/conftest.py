"""The shared cluster, with the images of these stacks on its nodes."""

from __future__ import annotations

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.preload import preload


@pytest.fixture(scope="module")
def cluster(cluster: ClusterInfo) -> ClusterInfo:
    """The same."""
    preload(cluster, ("probe", "postgresql"), lambda line: None)
    return cluster
