"""Failover: the primary goes, planned or not; no acknowledged write is lost and nobody else acknowledges with it."""

import pytest

from steadyset.chaos.faults.node_drain import FAULT as NODE_DRAIN
from steadyset.chaos.faults.pod_kill import FAULT as POD_KILL

# What `kubectl delete --grace-period=0` asks for: the container gets a second, and its node confirms. With --force the
# pod's object goes at once, and Kubernetes takes back its promise that no two run; see negative/.
GRACE_S = 1


@pytest.mark.fails_over
@pytest.mark.fault("pod-kill")
def test_primary_is_killed(stack, observer, load, chaos, report):
    """Goal: no acknowledged write is lost, and at most one primary acknowledges, when the primary is killed.

    Method: append and compare-and-set through the Service and to every member, delete the primary's pod with the
    least grace that waits for its node, wait until writes are acknowledged again, read every key back.
    """
    with load.run() as history:
        # A primary that is back before its lock expires keeps it, so there may be no new epoch.
        report.claims(stack.claims(history.relative, transitions_min=0))
        with chaos.inject(POD_KILL, stack.primary(), grace_s=GRACE_S):
            stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()


@pytest.mark.fault("node-drain")
@pytest.mark.extra("probe")
def test_node_of_the_primary_is_drained(stack, observer, load, chaos, report):
    """Goal: a drain that respects the disruption budget moves the primary with its volume and loses nothing.

    Method: append throughout, cordon the primary's node and evict its pods, wait for the successor, uncordon, read
    every key back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative))
        with chaos.inject(NODE_DRAIN, stack.primary()):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
            stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
