"""Negative controls on PostgreSQL: each is wrong on purpose, and each must be found out."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION

pytestmark = [pytest.mark.control, pytest.mark.stacks("postgresql")]


@pytest.mark.fault("network-partition")
@pytest.mark.variant("async")
def test_asynchronous_replication_under_partition(stack, observer, load, chaos, report):
    """Goal: writes that an asynchronous primary acknowledged behind a partition are found lost, and are listed.

    Method: cut the primary from its peers and the API server while clients still reach it, wait for a new primary,
    heal, read every key back.
    """
    report.expect("FAIL", rule="set-durability")
    with load.run() as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        with chaos.inject(NETWORK_PARTITION, stack.primary(), planes=["peers", "api-server"]):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()


@pytest.mark.variant("paused-promote")
def test_promotion_behind_patronis_back(stack, observer, load, report):
    """Goal: two primaries that acknowledge at the same time are found, with the overlap in seconds.

    Method: pause Patroni, promote a replica by hand while the primary goes on, resume, rebuild the promoted member,
    read every key back.
    """
    report.expect("FAIL", rule="split-brain")
    with load.run() as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        stack.pause()
        promoted = stack.asynchronous_replica()
        stack.promote(promoted)
        history.wait_for_acknowledged()
        stack.pause(False)
        stack.rebuild(promoted)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.read_back()


@pytest.mark.variant("replica-reads")
def test_reads_from_a_lagging_replica(stack, observer, load, report):
    """Goal: reads that a lagging replica serves are found not to be linearizable.

    Method: let clients read from any member, hold one replica's replay back, let it go on, read every key back.
    """
    report.expect("FAIL", rule="linearizable-register")
    with load.run() as history:
        report.claims(stack.claims(history.relative, transitions_min=0), replacements_min=0, creations_min=0)
        lagging = stack.asynchronous_replica()
        stack.sql(lagging, "SELECT pg_wal_replay_pause()")
        history.wait_for_acknowledged()
        stack.sql(lagging, "SELECT pg_wal_replay_resume()")
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.read_back()
