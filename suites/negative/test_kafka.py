"""Negative controls on Kafka: each is wrong on purpose, and each must be found out."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION

pytestmark = [pytest.mark.control, pytest.mark.stacks("kafka")]


@pytest.mark.fault("network-partition")
@pytest.mark.variant("unclean")
def test_one_acknowledgement_under_partition(stack, observer, load, chaos, report):
    """Goal: records that a leader acknowledged alone behind a partition are found lost, and are listed.

    Method: cut the first partition's leader from its peers and the API server while clients still reach it, wait for a
    new leader, heal, wait until every partition is in sync, read every record back from every replica.
    """
    report.expect("FAIL", rule="durable-log")
    with load.run() as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        with chaos.inject(NETWORK_PARTITION, stack.primary(), planes=["peers", "api-server"]):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
            history.wait_for_acknowledged()
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
