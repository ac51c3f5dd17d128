"""Any observer aborts: a live fault heals within a renewal period, and the run says who stopped it and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from steadyset.chaos.abort import NAME, resume, stop_all
from steadyset.chaos.cordon import our_cordons
from steadyset.chaos.fault import RENEW_S
from steadyset.chaos.faults.node_cordon import FAULT
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import ABORT, PREFIX, SYSTEM_NAMESPACE, HostLedger
from steadyset.chaos.runner import FaultError, inject
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

pytestmark = pytest.mark.cluster
MAPS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
HEALING_S = 2.0  # beyond the renewal period: until the node is seen open

How = Callable[[ClusterInfo, Kube, str], object]


def by_config_map(cluster: ClusterInfo, kube: Kube, record: str) -> None:
    """As with `kubectl create configmap steadyset-abort`."""
    kube.request("POST", MAPS, {"metadata": {"name": NAME}, "data": {"reason": "too much", "by": "an observer"}})


def by_annotation(cluster: ClusterInfo, kube: Kube, record: str) -> None:
    """As with `kubectl annotate configmap steadyset-fault-…`."""
    kube.request("PATCH", f"{MAPS}/{PREFIX}{record}", {"metadata": {"annotations": {ABORT: "too much"}}})


def by_deletion(cluster: ClusterInfo, kube: Kube, record: str) -> None:
    """As with `kubectl delete configmap steadyset-fault-…`."""
    kube.request("DELETE", f"{MAPS}/{PREFIX}{record}")


def by_file(cluster: ClusterInfo, kube: Kube, record: str) -> None:
    """As `steadyset chaos abort` does where the API server does not answer."""
    stop_all(cluster, "default", reason="too much", by="somebody", runs=["run"])
    kube.request("DELETE", f"{MAPS}/{NAME}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "says"),
    [
        (by_config_map, "aborted by an observer: too much"),
        (by_annotation, "its record was annotated: too much"),
        (by_deletion, "its record was deleted"),
        (by_file, "aborted by somebody: too much"),
    ],
    ids=["configmap", "annotation", "deletion", "file"],
)
def test_a_live_fault_heals_within_a_renewal_period(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir, how: How, says: str
) -> None:
    """While its holder still holds it; the run is INVALID with the reason, and nothing is left."""
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    try:
        with (
            pytest.raises(FaultError, match=says),
            inject(cluster, run_dir, "abort", FAULT, "member-0", namespace=ready) as span,
        ):
            [record] = HostLedger(cluster).records()
            assert our_cordons(kube.node(node)) == [record.id] and record.run == "run"
            how(cluster, kube, record.id)
            wait_for(
                lambda: not our_cordons(kube.node(node)),
                what="node open again though the fault is still held",
                deadline_name="RENEW_S + HEALING_S",
                deadline_s=RENEW_S + HEALING_S,
            )
    finally:
        resume(cluster, ready)
    assert says in span.error and span.heal_ns
    assert HostLedger(cluster).records() == []
