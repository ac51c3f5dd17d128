"""A held attachment is a bite whatever the attach/detach controller says of it."""

from __future__ import annotations

import signal

import pytest

from steadyset.chaos.daemons import daemon_processes
from steadyset.chaos.faults.volume_multi_attach import FAULT
from steadyset.chaos.inside import signal_all
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.sweep import sweep
from steadyset.chaos.volumes import attachment_of, volume_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.wait import wait_for

DETACH_DEADLINE_S = 60.0


@pytest.mark.cluster
@pytest.mark.slow
def test_a_pod_that_is_scheduled_late_bites_too(cluster: ClusterInfo, kube: Kube, ready: str) -> None:
    """The detach is under way before the new pod is on a node: the controller then reports no Multi-Attach error."""
    module, arguments = FAULT.load(), {"cluster": cluster.path, "target": "member-0", "namespace": ready}
    pod = kube.need_pod(ready, "member-0")
    volume, node = volume_of(kube, pod), pod["spec"]["nodeName"]
    scheduler = daemon_processes(cluster, "kube-scheduler")
    signal_all(scheduler, signal.SIGSTOP)
    try:
        module.inject(**arguments)
        wait_for(
            lambda: "deletionTimestamp" in (attachment_of(kube, volume, node) or {"metadata": {}})["metadata"],
            what="the detach is under way",
            deadline_name="detach",
            deadline_s=DETACH_DEADLINE_S,
        )
        signal_all(scheduler, signal.SIGCONT)
        bite = module.prove_bite(**arguments)["bite"]
        assert any("only our finalizer" in line for line in bite)
        assert not any("Multi-Attach" in line for line in bite)
    finally:
        signal_all(scheduler, signal.SIGCONT)
        module.heal(**arguments)
    module.prove_heal(**arguments)
    assert [r.id for r in HostLedger(cluster).records() if r.namespace == ready] == []
    assert sweep(cluster).is_clean()
