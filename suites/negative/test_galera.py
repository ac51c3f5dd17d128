"""Negative controls on MariaDB Galera: each is wrong on purpose, and each must be found out."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION
from steadyset.chaos.faults.pod_kill import FAULT as POD_KILL

pytestmark = [pytest.mark.control, pytest.mark.stacks("galera")]
WRITES = {"users": 12, "rate_ops_s": 40.0, "adds": 0.9}  # some of them come after the last flush of any member
CRASHES = 2  # one finds nothing unflushed when the disk was slow just before it: writes wait for the slowest member
RACE = {"users": 12, "rate_ops_s": 40.0, "registers": 1, "adds": 0.1}  # two of them must meet on one register
RACED_OPS = 3000
RACE_DEADLINE_S = 120.0


@pytest.mark.fault("pod-kill")
@pytest.mark.needs("pod-processes")
@pytest.mark.variant("no-flush")
def test_crash_of_all_members_before_a_flush(stack, observer, load, chaos, report):
    """Goal: writes that were acknowledged before they reached any disk are found lost, and are listed.

    Method: append throughout; twice over SIGKILL every member at once and wait until one has begun anew and the
    others have joined; read every key back.
    """
    report.expect("FAIL", rule="set-durability")
    with load.run(**WRITES) as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        for _ in range(CRASHES):
            history.wait_for_acknowledged()
            with chaos.inject(POD_KILL, "all", mode="sigkill", max_pods="all"):
                stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()


@pytest.mark.fault("network-partition")
@pytest.mark.variant("ignore-sb")
def test_halves_that_ignore_a_split_brain(stack, observer, load, chaos, report):
    """Goal: two halves that both call themselves the primary component are found, with the overlap in seconds.

    Method: open sessions to every member, cut the first from the others while clients still reach it, heal, replace
    the first (components that both are primary never merge), read every key back.
    """
    report.expect("FAIL", rule="split-brain")
    with load.run() as history:
        report.claims(stack.claims(history.relative))
        first = stack.members()[0]
        with chaos.inject(NETWORK_PARTITION, first, planes=["peers", "api-server"]):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
            history.wait_for_acknowledged(300)
        stack.replace(first, deadline_s=stack.deadlines.recovery_s, grace_s=1)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()


@pytest.mark.variant("repeatable-read")
def test_updates_of_what_a_snapshot_never_saw(stack, observer, load, report):
    """Goal: compare-and-sets that overwrite what their transaction never saw are found.

    Method: no fault; many users read, compare and update one register, each in one transaction.
    """
    report.expect("FAIL", rule="linearizable-register")
    with load.run(**RACE) as history:
        report.claims(stack.claims(history.relative, transitions_min=0), replacements_min=0, creations_min=0)
        history.wait_for_acknowledged(RACED_OPS, deadline_s=RACE_DEADLINE_S)
        history.read_back()
