"""pod-kill on a real cluster."""

from __future__ import annotations

import pytest

from steadyset.chaos.faults.pod_kill import FAULT
from steadyset.chaos.kube import Kube, container_ids, uid_of
from steadyset.chaos.runner import FaultError, inject
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir

pytestmark = pytest.mark.cluster


def test_deleted_pod_comes_back_as_another(cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir) -> None:
    """Same name, new UID, new containers; the span's times are in order and its journal is there."""
    before = kube.need_pod(ready, "member-0")
    with inject(cluster, run_dir, "kill", FAULT, "member-0", namespace=ready) as span:
        assert span.inject_ns and span.bitten_ns and not span.heal_ns
        assert uid_of(before) != uid_of(kube.pod(ready, "member-0"))
    after = kube.need_pod(ready, "member-0")
    assert not set(container_ids(before)) & set(container_ids(after))
    assert 0 < span.inject_ns < span.bitten_ns < span.heal_ns < span.healed_ns
    assert span.error == ""
    assert (run_dir.path / span.journal).is_file()


@pytest.mark.slow
def test_sigkill_restarts_the_container_in_the_same_pod(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Same UID, new container."""
    before = kube.need_pod(ready, "member-1")
    with inject(cluster, run_dir, "kill", FAULT, "member-1", namespace=ready, mode="sigkill") as span:
        pass
    after = kube.need_pod(ready, "member-1")
    assert uid_of(before) == uid_of(after)
    assert not set(container_ids(before)) & set(container_ids(after))
    assert span.error == ""


@pytest.mark.slow
def test_a_target_that_is_not_there_is_invalid(cluster: ClusterInfo, ready: str, run_dir: RunDir) -> None:
    """Nothing is killed, and the error names the pods there are."""
    with pytest.raises(FaultError, match="member-0, member-1, member-2") as caught:  # noqa: SIM117
        with inject(cluster, run_dir, "kill", FAULT, "member-9", namespace=ready):
            pytest.fail("the fault was held though nothing was killed")
    assert caught.value.span.inject_ns == 0
