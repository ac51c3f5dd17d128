"""Negative controls of the StatefulSet suites: a wrong workload, or a rogue that acts in the controller's place.

Each must be found by the rule that it names, so that the same rule's PASS elsewhere means something.
"""

import time

import pytest

from steadyset.fixtures.conformance.sets import REVISION
from steadyset.fixtures.machine import rogue_container

pytestmark = [pytest.mark.control]

LAG_S = 2.5  # longer than the rules allow for the controller's cache
SHORT_S = 1.0  # a deadline that is to be missed


@pytest.mark.requirement("STS-ID-001")
def test_a_label_is_tampered_with(space, report):
    """Goal: a pod whose index label is not its ordinal is found."""
    report.expect("FAIL", rule="stable-identity")
    report.judge("stable-identity", replacements_min=0)
    web = space.statefulset(replicas=1)
    web.wait_ready()
    space.patch("Pod", web.pod(0), {"metadata": {"labels": {"apps.kubernetes.io/pod-index": "7"}}})
    space.until("the label was seen", lambda: _index(web) == "7")


def _index(web):
    return web.pods()[web.pod(0)]["metadata"]["labels"].get("apps.kubernetes.io/pod-index")


@pytest.mark.requirement("STS-ID-003")
@pytest.mark.needs("node-evidence", "node-exec")
def test_a_rogue_runs_an_identity_twice(space, report, cluster):
    """Goal: a container that somebody starts in the name of a member, beside the real one, is found on the node."""
    report.expect("FAIL", rule="at-most-one-per-identity")
    report.judge("at-most-one-per-identity", replacements_min=0)
    web = space.statefulset(replicas=1)
    web.wait_ready()
    node = web.pods()[web.pod(0)]["spec"]["nodeName"]
    with rogue_container(cluster, node, space.image, pod=web.pod(0), namespace=space.name):
        space.until("the rogue's container was seen", lambda: _runs_twice(space))


def _runs_twice(space):
    space.view.live.advance()
    started = [record.obj for record, _ in space.view.live.shared if record.e == "NODE"]
    uids = {o["pod_uid"] for o in started if o.get("namespace") == space.name and o["what"] == "container-started"}
    return len(uids) == 2


@pytest.mark.requirement("STS-ID-002")
@pytest.mark.parametrize("rule", ["pvc-retention", "set-durability"])
def test_an_emptydir_poses_as_a_claim(space, report, rule):
    """Goal: data that lies in an emptyDir is found to be no claim, and to be lost."""
    report.expect("FAIL", rule=rule)
    report.judge("pvc-retention")
    web = space.statefulset(replicas=1, volumes=False)
    web.wait_ready()
    space.data.write(web.pod(0))
    web.wait_replaced(0, web.delete_pod(0))
    space.data.read_back()


@pytest.mark.requirement("STS-ORD-001", "STS-ORD-003")
def test_a_rogue_creates_a_pod_too_early(space, report):
    """Goal: a member that is created while its predecessor is not Ready is found."""
    report.expect("FAIL", rule="ordered-recovery")
    report.judge("ordered-recovery")
    web = space.statefulset(replicas=2, gated=True)
    space.until("member 0 exists", lambda: web.pod(0) in web.pods())
    _create_member(space, web, 1)


@pytest.mark.requirement("STS-ORD-008")
def test_a_rogue_does_not_wait_for_min_ready_seconds(space, report):
    """Goal: a member that is created before its predecessor has been Ready for minReadySeconds is found."""
    report.expect("FAIL", rule="min-ready-seconds")
    report.judge("min-ready-seconds")
    web = space.statefulset(replicas=2, minReadySeconds=3600)
    space.until("member 0 is Ready", lambda: web.status.get("readyReplicas") == 1)
    _create_member(space, web, 1)


@pytest.mark.requirement("STS-ORD-004")
def test_a_rogue_scales_down_beside_an_unready_member(space, report):
    """Goal: a member that is scaled away while a predecessor is not Ready is found."""
    report.expect("FAIL", rule="scale-down-halts")
    report.judge("scale-down-halts")
    web = space.statefulset(replicas=2, gated=True)
    web.heal(0, 1)
    web.wait_ready()
    web.hurt(0)
    hurt = time.monotonic()
    web.wait_counted(1)
    web.scale(1)
    web.wait_observed()
    space.until("member 0 has been unready for a while", lambda: time.monotonic() - hurt > LAG_S)
    web.delete_pod(1)
    space.until("member 1 is gone", lambda: web.pod(1) not in web.pods())


@pytest.mark.requirement("STS-ORD-006")
def test_a_quota_delays_a_burst(space, report):
    """Goal: members of a Parallel set that are created late are found."""
    report.expect("FAIL", rule="parallel-burst")
    report.judge("parallel-burst", pods_min=2, burst_ms=1000)
    space.create({"kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}})
    space.until("the quota counts", lambda: (space.read("ResourceQuota", "one") or {}).get("status", {}).get("hard"))
    web = space.statefulset(replicas=2, policy="Parallel", volumes=False)
    space.until("the set was seen", lambda: web.seen)  # the rule counts from then
    asked = time.monotonic()
    space.until("member 0 exists", lambda: web.pod(0) in web.pods() or web.pod(1) in web.pods())
    space.until("the burst is over", lambda: time.monotonic() - asked > SHORT_S)
    space.delete("ResourceQuota", "one")
    space.until("both exist", lambda: len(web.pods()) == 2)


@pytest.mark.requirement("STS-UPD-001", "STS-UPD-004", "STS-UPD-007")
@pytest.mark.parametrize(
    "update",
    [{"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, {"type": "OnDelete"}],
    ids=["below-the-partition", "on-delete"],
)
def test_a_rogue_updates_a_member(space, report, update):
    """Goal: a member that the controller (by its Event) updates below the partition, or under OnDelete, is found."""
    report.expect("FAIL", rule="rolling-update")
    report.judge("rolling-update")
    web = space.statefulset(replicas=1, update=update)
    web.wait_ready()
    web.roll("two")
    uid = web.delete_pod(0)
    _claim_deletion(space, web, 0)
    web.wait_replaced(0, uid)
    space.until("the Event was seen", lambda: space.view.all("Event").get("rogue"))


@pytest.mark.requirement("STS-RET-001", "STS-RET-003")
def test_a_rogue_deletes_a_retained_claim(space, report):
    """Goal: a claim that goes although whenScaled is Retain is found."""
    report.expect("FAIL", rule="retention-policy")
    report.judge("retention-policy")
    web = space.statefulset(replicas=1)
    web.wait_ready()
    web.scale(0)
    web.wait_ready(0)
    space.delete("PersistentVolumeClaim", web.claim(0))
    space.until("the claim is gone", lambda: not web.claims())


@pytest.mark.requirement("STS-RET-002")
def test_a_policy_says_otherwise(space, report):
    """Goal: a comparison that does not hold fails its test: claims that a policy deletes where Retain was expected."""
    report.expect("FAIL", rule="promise")
    web = space.statefulset(replicas=1, retention={"whenDeleted": "Delete", "whenScaled": "Retain"})
    web.wait_ready()
    web.delete()
    space.until("pod and claim are gone", lambda: not web.claims() and not space.view.all("Pod"))
    report.promise("the claim is still there", expected=[web.claim(0)], seen=list(web.claims()))


@pytest.mark.requirement("STS-ORD-005", "STS-ORD-007")
def test_a_member_never_gets_ready(space, report):
    """Goal: a deadline that is missed fails its test."""
    report.expect("FAIL", rule="recovery")
    web = space.statefulset(replicas=1, gated=True)
    space.until("it is ready", lambda: not web.unready(), deadline_s=SHORT_S, name="SHORT_S")


def _create_member(space, web, ordinal):
    """Create a member as the controller would, but when the rogue likes."""
    web.wait_observed()
    template = web.seen["spec"]["template"]
    name = web.pod(ordinal)
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": web.name, "uid": web.uid, "controller": True}
    labels = {
        **template["metadata"]["labels"],
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
        REVISION: web.status["updateRevision"],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": web.claim(ordinal)}}
    spec = {**template["spec"], "hostname": name, "subdomain": web.name, "volumes": [volume]}
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
    space.create({"kind": "Pod", "metadata": metadata, "spec": spec})
    space.until("the rogue's pod was seen", lambda: name in web.pods())


def _claim_deletion(space, web, ordinal):
    """Say in the controller's name that it deleted the pod."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    event = {
        "kind": "Event",
        "metadata": {"name": "rogue"},
        "involvedObject": {"kind": "StatefulSet", "name": web.name, "namespace": space.name, "uid": web.uid},
        "reason": "SuccessfulDelete",
        "message": f"delete Pod {web.pod(ordinal)} in StatefulSet {web.name} successful",
        "type": "Normal",
        "source": {"component": "statefulset-controller"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    space.create(event)
