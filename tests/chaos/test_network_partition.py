"""network-partition on a real cluster, sabotage included."""

from __future__ import annotations

import pytest

from steadyset.chaos.agent import networks
from steadyset.chaos.faults.network_partition import FAULT, residue
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.reach import reach_of_pod
from steadyset.chaos.runner import FaultError, inject
from steadyset.chaos.sweep import sweep
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir
from steadyset.wait import pause, wait_for

pytestmark = pytest.mark.cluster

NO_DATAGRAMS = """
add table inet test_udp
add chain inet test_udp out { type filter hook output priority -300; }
add rule inet test_udp out meta l4proto udp drop
"""


def tables_of(cluster: ClusterInfo, kube: Kube, namespace: str, pod: str) -> list[str]:
    """Our tables in the pod; none while it has no network."""
    found = kube.pod(namespace, pod)
    if found is None or not found["spec"].get("nodeName"):
        return []
    tables = reach_of_pod(cluster, found).call(networks.tables_of_pods, [uid_of(found)])
    return tables.get(uid_of(found), [])


def test_isolated_pod_keeps_its_clients(cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir) -> None:
    """Cut from peers and the API server over every kind of probe; the clients' paths pass; nothing is left."""
    with inject(cluster, run_dir, "net", FAULT, "member-0", namespace=ready) as span:
        bite = "\n".join(span.bite)
        for peer in ("member-1", "member-2"):
            assert f"open connection member-0 -> {peer}: cut" in bite
            assert f"new connection {peer} -> member-0: cut" in bite
            assert f"packet member-0 -> {peer}: cut" in bite
        assert "packet member-1 -> member-2: passes, as it must" in bite
        assert f"new connection member-0 -> api-server {cluster.api_server.split(':')[0]}: cut" in bite
        assert "open connection clients -> member-0: passes, as it must" in bite
    assert span.error == ""
    assert 0 < span.inject_ns < span.bitten_ns < span.heal_ns < span.healed_ns
    assert residue(cluster, kube, set()) == []


@pytest.mark.slow
def test_one_way_cut(cluster: ClusterInfo, ready: str, run_dir: RunDir) -> None:
    """What leaves the target is dropped, what comes to it arrives."""
    with inject(cluster, run_dir, "net", FAULT, "member-1", namespace=ready, planes=["peers"], direction="out") as span:
        assert "packet member-0 -> member-1: passes, as it must" in span.bite
        assert "packet member-1 -> member-2: cut" in span.bite
    assert span.error == ""


@pytest.mark.slow
def test_rules_removed_behind_our_back_are_a_lost_bite(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Sabotage: the table is deleted while the fault is held."""
    with (
        pytest.raises(FaultError, match="bite lost"),
        inject(cluster, run_dir, "net", FAULT, "member-0", namespace=ready, ttl_s=3.0) as span,
    ):
        pod = kube.need_pod(ready, "member-0")
        for table in tables_of(cluster, kube, ready, "member-0"):
            assert reach_of_pod(cluster, pod).call(networks.remove_table, f"pod:{uid_of(pod)}", table)
        pause(2.5)  # beyond one renewal
    assert "bite lost" in span.error


@pytest.mark.slow
def test_a_cut_follows_the_identity(cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir) -> None:
    """A member replaced while cut is cut again before its first packet."""
    before = kube.need_pod(ready, "member-0")
    with inject(cluster, run_dir, "net", FAULT, "member-0", namespace=ready) as span:
        kube.delete_pod(ready, "member-0", uid_of(before), 0)
        wait_for(
            lambda: (
                uid_of(kube.pod(ready, "member-0")) not in ("", uid_of(before))
                and bool(tables_of(cluster, kube, ready, "member-0"))
            ),
            what="rules in the new pod",
            deadline_name="cut_again",
            deadline_s=30.0,
        )
    assert any("cut again before its first packet" in line for line in span.healing), span.healing


@pytest.mark.slow
def test_aimed_at_nothing_is_invalid(cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir) -> None:
    """No peers, so nothing could be cut."""
    with (
        pytest.raises(FaultError, match="aimed at nothing"),
        inject(cluster, run_dir, "net", FAULT, "member-0", namespace=ready, peers=[]),
    ):
        pytest.fail("the fault was held though nothing was cut")
    assert residue(cluster, kube, set()) == []


@pytest.mark.slow
def test_what_is_cut_already_is_refused_and_leaves_no_record(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Single packets are dropped as it is: the undo was written ahead meanwhile, and is forgotten again."""
    pod = kube.need_pod(ready, "member-0")
    reach, net = reach_of_pod(cluster, pod), f"pod:{uid_of(pod)}"
    reach.call(networks.nft, net, NO_DATAGRAMS)
    try:
        with (
            pytest.raises(FaultError, match="cut already"),
            inject(cluster, run_dir, "net", FAULT, "member-0", namespace=ready, planes=["peers"]) as span,
        ):
            pytest.fail(f"the fault was held: {span.bite}")
        assert tables_of(cluster, kube, ready, "member-0") == []
    finally:
        reach.call(networks.nft, net, "delete table inet test_udp\n")
    assert [r.id for r in HostLedger(cluster).records() if r.namespace == ready] == []
    assert sweep(cluster).is_clean()
