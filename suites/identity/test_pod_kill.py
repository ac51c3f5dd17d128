"""Stable identities: a member that is killed comes back as itself."""

import pytest

from steadyset.chaos.faults.pod_kill import FAULT as POD_KILL

# What `kubectl delete --grace-period=0` asks for: the container gets a second, and its node confirms. With --force the
# pod's object goes at once, and Kubernetes takes back its promise that no two run; see negative/.
GRACE_S = 1


@pytest.mark.stacks("probe")
@pytest.mark.fault("pod-kill")
def test_member_is_killed(stack, observer, load, chaos, report):
    """Goal: a killed member keeps its name, address, claim and data, and never runs twice.

    Method: append to every member, delete one with the least grace that waits for its node, wait until it
    is ready again, read every key back.
    """
    target = stack.members()[1]
    with load.run() as history:
        report.claims(stack.claims(history.relative))
        with chaos.inject(POD_KILL, target, grace_s=GRACE_S):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()


@pytest.mark.stacks("probe")
@pytest.mark.fault("pod-kill")
@pytest.mark.needs("pod-processes")
def test_process_is_killed(stack, observer, load, chaos, report):
    """Goal: a crashed process restarts in its own pod, on its own volume, with everything it acknowledged.

    Method: append to every member, SIGKILL one member's main process on its node, wait, read every key back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative), replacements_min=0, creations_min=0)
        with chaos.inject(POD_KILL, stack.primary(), mode="sigkill"):
            stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
