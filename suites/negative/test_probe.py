"""Negative controls on the probe stack: each is wrong on purpose, and each must be found out."""

import pytest

from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION
from steadyset.chaos.faults.pod_kill import FAULT as POD_KILL
from steadyset.chaos.faults.volume_detach import FAULT as VOLUME_DETACH
from steadyset.fixtures.machine import component_stopped, node_cut_off

pytestmark = [pytest.mark.control, pytest.mark.stacks("probe")]


@pytest.mark.fault("pod-kill")
@pytest.mark.variant("emptydir")
def test_emptydir_poses_as_a_volume(stack, observer, load, chaos, report):
    """Goal: an emptyDir in the place of a claim is found, and what it lost is listed.

    Method: append to members whose data lies in an emptyDir, delete one with grace 0, read every key back.
    """
    report.expect("FAIL", rule="pvc-retention")
    with load.run() as history:
        report.judge("pvc-retention")
        report.judge("set-durability", history, acknowledged_min=1)
        with chaos.inject(POD_KILL, stack.primary()):
            stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.read_back()


@pytest.mark.variant("parallel")
def test_parallel_poses_as_ordered(stack, observer, report):
    """Goal: members that start all at once where one after the other was promised are found.

    Method: scale a StatefulSet with podManagementPolicy Parallel to none and back.
    """
    report.expect("FAIL", rule="ordered-recovery")
    report.judge("ordered-recovery")
    stack.scale(0, deadline_s=stack.deadlines.recovery_s)
    stack.scale(stack.replicas, deadline_s=stack.deadlines.deploy_s)


@pytest.mark.variant("no-service")
def test_nobody_made_the_headless_service(stack, observer, report):
    """Goal: a StatefulSet whose headless Service is missing is found: its members have no names of their own in DNS.

    Method: replace a member of a set whose serviceName leads nowhere.
    """
    report.expect("FAIL", rule="stable-identity")
    report.judge("stable-identity", replacements_min=1, governed=True)
    stack.replace(stack.members()[-1], deadline_s=stack.deadlines.recovery_s)


@pytest.mark.variant("claims-deleted")
def test_claims_go_with_members_scaled_away(stack, observer, load, report):
    """Goal: claims that are deleted with the members scaled away are found, and what they lost is listed.

    Method: append, scale a StatefulSet whose retention policy is whenScaled: Delete to none and back, read back.
    """
    report.expect("FAIL", rule="pvc-retention")
    with load.run() as history:
        report.judge("pvc-retention")
        report.judge("set-durability", history, acknowledged_min=1)
        stack.scale(0, deadline_s=stack.deadlines.recovery_s)
        stack.scale(stack.replicas, deadline_s=stack.deadlines.deploy_s)
        history.read_back()


@pytest.mark.variant("emptydir")
@pytest.mark.needs("node-power", "node-evidence")
def test_forced_deletion_on_a_cut_node(stack, observer, cluster, report):
    """Goal: a pod that is deleted by force while its container runs on, behind a cut cable, is found to run twice.

    Method: cut a member's node off, delete its pod with grace 0 once the node is not ready, wait for the successor
    elsewhere. (An emptyDir, because a volume that is still attached to the cut node would keep the successor waiting.)
    """
    report.expect("FAIL", rule="at-most-one-per-identity")
    report.judge("at-most-one-per-identity")
    report.settle()
    member = stack.members()[-1]
    with node_cut_off(cluster, stack.node_of(member)):
        stack.replace(member, deadline_s=stack.deadlines.recovery_s, grace_s=0)


@pytest.mark.fault("network-partition")
def test_partition_aimed_at_nothing(stack, observer, chaos, report):
    """Goal: a partition that cuts nothing makes the test INVALID, whatever the stack did.

    Method: ask for a partition of a member from no peers at all.
    """
    report.expect("INVALID")
    report.judge("stable-identity", replacements_min=0)
    with chaos.inject(NETWORK_PARTITION, stack.primary(), planes=["peers"], peers=[]):
        pass


@pytest.mark.fault("volume-detach")
@pytest.mark.needs("node-power")
def test_detach_that_changes_nothing(stack, observer, chaos, cluster, report):
    """Goal: a VolumeAttachment that is deleted without the disk going away makes the test INVALID.

    Method: stop the CSI attacher, then detach a member's volume: nobody acts, and its writes go on.
    """
    report.expect("INVALID")
    report.judge("stable-identity", replacements_min=0)
    report.settle()
    with component_stopped(cluster, "csi-attacher"), chaos.inject(VOLUME_DETACH, stack.primary()):
        pass
