"""Negative controls on Redis with Sentinel: each is wrong on purpose, and each must be found out."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION

pytestmark = [pytest.mark.control, pytest.mark.stacks("redis")]


@pytest.mark.fault("network-partition")
@pytest.mark.variant("no-min-replicas")
def test_primary_that_needs_no_replicas_under_partition(stack, observer, load, chaos, report):
    """Goal: two primaries are found, and most of what the old one acknowledged meanwhile is found lost, and listed.

    Method: the primary and one replica on one side, three members on the other; clients reach both. Wait for the
    successor, go on writing to both sides, heal, read everything back. (Kingsbury, Jepsen: Redis, 2013: 56 % lost.)
    """
    report.expect("FAIL", rule="set-durability")
    with load.run() as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        with chaos.inject(NETWORK_PARTITION, stack.primary(), planes=["peers", "api-server"], shape="halves"):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
            history.wait_for_acknowledged(more=500)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
