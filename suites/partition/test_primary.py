"""Partition: a primary that cannot reach its peers and the API server steps down, also for sessions it already has."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION


@pytest.mark.fails_over
@pytest.mark.fault("network-partition")
def test_primary_is_cut_off(stack, observer, load, chaos, report):
    """Goal: the two sides of a partition never both acknowledge, and no acknowledged write is lost.

    Method: open sessions to every member, cut the primary from its peers and the API server while clients still reach
    it, wait for a new primary on the other side, heal, read every key back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        with chaos.inject(NETWORK_PARTITION, stack.primary(), planes=["peers", "api-server"]):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
            history.wait_for_acknowledged()
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
