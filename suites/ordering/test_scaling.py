"""Ordering: pods are created one after the other and removed in reverse, and an unhealthy member halts both."""

import pytest

HOST_PORT = 21017


@pytest.mark.requirement("STS-ORD-001", "STS-ORD-002", "STS-ORD-003", "STS-ORD-004")
@pytest.mark.takes(25)
def test_scaling_is_ordered_and_halts(space, report):
    """Goal: a scale-up creates 0, 1, 2, each once its predecessor is Ready; a scale-down deletes 2, 1, 0; both halt.

    Method: readiness gates decide when a member is Ready. Scale up beside an unready member, open the gates one after
    the other; close one, scale down, open it; every creation and deletion is judged by how its siblings were.
    """
    report.judge("ordered-recovery", creations_min=3)
    report.judge("scale-down-halts", deletions_min=3, halts_min=1)
    web = space.statefulset(replicas=1, gated=True)
    web.heal(0)
    space.data.write(web.pod(0))
    web.wait_ready()
    with space.step("scale up beside an unready member"):
        web.hurt(0)
        web.wait_counted(0)
        web.scale(3)
        web.wait_observed()
        report.promise("the scale-up halts", expected=[web.pod(0)], seen=list(web.pods()))
    web.heal(0, 1, 2)
    web.wait_ready()
    with space.step("scale down beside an unready member"):
        web.hurt(0)
        web.wait_counted(2)
        web.scale(1)
        web.wait_observed()
        report.promise("the scale-down halts", expected=3, seen=len(web.pods()))
        web.heal(0)
        web.wait_ready(1)
    space.data.read_back()
    web.scale(0)
    web.wait_ready(0)


@pytest.mark.requirement("STS-ORD-010", "STS-ID-001", "STS-ID-002")
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.takes(25)
def test_scaling_to_zero_and_back(space, report, policy):
    """Goal: scaled to zero and back, every member has its identity, claim and data again.

    Method: write to two members, scale to 0, wait until none is left, scale to 2, read everything back.
    """
    report.judge("stable-identity", replacements_min=2)
    report.judge("pvc-retention", claims_min=2)
    report.judge("retention-policy", scaled_min=2)
    if policy == "OrderedReady":
        report.judge("ordered-recovery", creations_min=4)
    web = space.statefulset(replicas=2, policy=policy)
    web.wait_ready()
    space.data.write(*web.pods())
    web.scale(0)
    web.wait_ready(0)
    web.scale(2)
    web.wait_ready(2)
    space.data.read_back()


@pytest.mark.requirement("STS-ORD-005")
def test_a_predecessor_fails(space, report):
    """Goal: a predecessor that is deleted while its successor is not Ready is created again.

    Method: a healthy member 0 and an unready member 1; delete member 0, wait for another one in its place.
    """
    report.judge("ordered-recovery", creations_min=3)
    report.judge("stable-identity", replacements_min=1)
    web = space.statefulset(replicas=2, gated=True)
    web.heal(0)
    space.data.write(web.pod(0))
    space.until("member 1 exists", lambda: web.pod(1) in web.pods())
    uid = web.delete_pod(0)
    space.until("member 0 is created again", lambda: web.uids().get(web.pod(0), uid) != uid)
    web.heal(0, 1)
    web.wait_ready()
    space.data.read_back()


@pytest.mark.requirement("STS-ORD-006")
def test_parallel_does_not_wait(space, report):
    """Goal: under Parallel scaling up and down runs to completion beside unready members.

    Method: gates keep every member unready throughout: scale 1 to 3 and to 0.
    """
    report.judge("parallel-burst", pods_min=3)
    web = space.statefulset(replicas=1, gated=True, policy="Parallel")
    web.heal(0)
    space.data.write(web.pod(0))
    space.data.read_back()
    web.hurt(0)
    web.scale(3)
    space.until("three pods exist, beside an unready one", lambda: len(web.pods()) == 3)
    web.heal(1, 2)
    web.hurt(1, 2)
    web.scale(0)
    space.until("every pod is being deleted at once", lambda: _deleting_together(space) == 3)
    web.wait_ready(0)


def _deleting_together(space):
    """The most pods that were seen between the beginning of their deletion and their end at one time."""
    deleting, most = set(), 0
    for record in space.view.states("Pod"):
        if record.e == "DELETED":
            deleting.discard(record.uid)
        elif "deletionTimestamp" in record.obj["metadata"]:
            deleting.add(record.uid)
        most = max(most, len(deleting))
    return most


@pytest.mark.requirement("STS-ORD-007", "STS-ID-001")
@pytest.mark.takes(25)
def test_a_pod_that_its_node_rejects_is_recreated(space, report):
    """Goal: a pod that fails at once, because its node rejects it, is deleted and created again until it runs.

    Method: write; while the set is scaled to zero another pod takes the host port that the member wants; bind the
    member to that node, past the scheduler, see it rejected and replaced, take the other pod away, read back.
    """
    report.judge("stable-identity", replacements_min=2)
    node = space.nodes()[0]
    port = [{"name": "http", "containerPort": 8080, "hostPort": HOST_PORT}]
    web = space.statefulset(replicas=1, pod={"nodeSelector": {"kubernetes.io/hostname": node}}, ports=port)
    web.wait_ready()
    space.data.write(web.pod(0))
    web.scale(0)
    web.wait_ready(0)
    blocker = space.pod("blocker", pod={"nodeName": node}, ports=port)
    web.patch({"spec": {"replicas": 1, "template": {"spec": {"nodeName": node}}}})
    space.until("the member was rejected and deleted", lambda: _rejected(space, web.pod(0)))
    space.delete("Pod", blocker, grace_s=0)
    web.wait_ready()
    space.data.read_back()


def _rejected(space, name):
    failed = {r.uid for r in space.view.states("Pod", name) if (r.obj.get("status") or {}).get("phase") == "Failed"}
    return failed & {r.uid for r in space.view.states("Pod", name) if r.e == "DELETED"}


@pytest.mark.requirement("STS-ORD-007", "STS-ID-001", "STS-ID-002")
def test_an_evicted_pod_is_recreated(space, report):
    """Goal: a pod that is evicted through the eviction API comes back as itself, with its data.

    Method: write, evict, wait for another pod of that name, read back.
    """
    report.judge("stable-identity", replacements_min=1)
    report.judge("pvc-retention")
    web = space.statefulset(replicas=1)
    web.wait_ready()
    space.data.write(web.pod(0))
    uid = web.uids()[web.pod(0)]
    space.evict(web.pod(0))
    web.wait_replaced(0, uid)
    space.data.read_back()
