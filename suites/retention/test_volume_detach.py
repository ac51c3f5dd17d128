"""Retention: a volume that is taken away under a running member comes back with its data, to that member alone."""

import pytest

from steadyset.chaos.faults.volume_detach import FAULT as VOLUME_DETACH


@pytest.mark.fault("volume-detach")
@pytest.mark.extra("probe")
def test_volume_of_the_primary_is_detached(stack, observer, load, chaos, report):
    """Goal: a member whose disk vanishes stops acknowledging, and returns with the same claim, volume and data.

    Method: append throughout, delete the VolumeAttachment of the primary's volume, prove that its writes fail, heal by
    replacing the pod, read every key back.
    """
    with load.run() as history:
        report.claims(stack.claims(history.relative), detach_fault=True)
        with chaos.inject(VOLUME_DETACH, stack.primary()):
            history.wait_for_acknowledged()
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()
