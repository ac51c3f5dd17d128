"""Ordered recovery: members are replaced one after the other, in the promised order."""

import pytest


@pytest.mark.stacks("probe")
def test_members_are_restarted_scaled_away_and_back(stack, observer, load, report):
    """Goal: a restart goes from the last member to the first and never takes two at once; a scale-down goes the same
    way and a scale-up back; every member returns with its claim and data.

    Method: append to every member during `kubectl rollout restart`, then scale to none and back to all, read every key
    back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative, transitions_min=2 * stack.replicas))
        stack.restart(deadline_s=stack.deadlines.recovery_s)
        stack.scale(0, deadline_s=stack.deadlines.recovery_s)
        stack.scale(stack.replicas, deadline_s=stack.deadlines.deploy_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
