"""The embedded cluster that the tests of stacks share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.preload import preload

OWN_CLUSTER = "stacktest"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterInfo]:
    """An embedded cluster: the one named by STEADYSET_TEST_CLUSTER, which is kept, or one of our own."""
    if os.geteuid() != 0:
        pytest.skip("needs root for an embedded cluster")
    from steadyset.fixtures.clusters import embedded

    given = os.environ.get("STEADYSET_TEST_CLUSTER", "")
    info = embedded.ensure_up(given or OWN_CLUSTER, image_names=("probe", "postgresql"))
    preload(info, ("probe", "postgresql"), lambda line: None)
    yield info
    if not given:
        embedded.down(OWN_CLUSTER)
