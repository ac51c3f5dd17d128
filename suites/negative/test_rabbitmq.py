"""Negative controls on RabbitMQ: each is wrong on purpose, and each must be found out."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION

pytestmark = [pytest.mark.control, pytest.mark.stacks("rabbitmq")]


@pytest.mark.fault("network-partition")
@pytest.mark.variant("ignore-partitions")
def test_mirrors_that_ignore_a_partition(stack, observer, load, chaos, report):
    """Goal: messages that both sides of a partition confirmed are found lost, or delivered twice, once it heals.

    Method: cut the queue's leader off from its mirrors while clients reach all members, until each side has promoted a
    leader and confirmed more; heal; restart the side that was cut off, as an operator would, since the members do not
    rejoin by themselves; take everything that is left. (Kingsbury, Jepsen: RabbitMQ, 2014.)
    """
    report.expect("FAIL", rule="durable-log")
    with load.run() as history:
        report.claims(stack.claims(history.relative))
        leader = stack.primary()
        with chaos.inject(NETWORK_PARTITION, leader, planes=["peers"]):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
            history.wait_for_acknowledged(more=300)
        stack.replace(leader, deadline_s=stack.deadlines.recovery_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.read_back()
