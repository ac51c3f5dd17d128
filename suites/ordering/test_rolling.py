"""Ordered recovery: members are replaced one after the other, in the promised order."""

import pytest


@pytest.mark.stacks("probe")
def test_members_are_restarted_in_reverse_order(stack, observer, load, report):
    """Goal: a rolling restart goes from the last member to the first, never two at once, and loses nothing.

    Method: append to every member during `kubectl rollout restart`, then read every key back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative, transitions_min=stack.replicas))
        stack.restart(deadline_s=stack.deadlines.recovery_s)
        history.read_back()


@pytest.mark.stacks("probe")
def test_members_are_scaled_away_and_back(stack, observer, load, report):
    """Goal: members leave from the last to the first, return from the first to the last, with their claims and data.

    Method: append to every member, scale to none and back to all, read every key back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative, transitions_min=stack.replicas))
        stack.scale(0, deadline_s=stack.deadlines.recovery_s)
        stack.scale(stack.replicas, deadline_s=stack.deadlines.deploy_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
