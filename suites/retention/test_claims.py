"""Retention: which claims outlive their pods and their StatefulSet, and who owns them."""

import pytest

DELETE_ON_DELETION = {"whenDeleted": "Delete", "whenScaled": "Retain"}
DELETE_ON_SCALING = {"whenDeleted": "Retain", "whenScaled": "Delete"}
STALE_UID = "9d86d6ae-4e06-4ff1-bc55-f77f52e272e9"


@pytest.mark.requirement("STS-RET-001", "STS-ID-002")
def test_claims_are_retained_by_default(space, report):
    """Goal: without a policy, claims outlive a scale-down and the StatefulSet itself, and a new one finds its data.

    Method: write to two members, scale to one, delete the StatefulSet, create it again, read everything back.
    """
    report.judge("retention-policy", scaled_min=1)
    web = space.statefulset(replicas=2)
    web.wait_ready()
    space.data.write(*web.pods())
    claims = _uids(web.claims())
    report.promise("the policy is Retain", expected=("Retain", "Retain"), seen=_policy(web.seen))
    web.scale(1)
    web.wait_ready(1)
    web.delete()
    space.until("its pods are gone", lambda: not space.view.all("Pod"))
    report.promise("its claims are still there", expected=claims, seen=_uids(web.claims()))
    again = space.statefulset_again(replicas=2)
    again.wait_ready()
    space.data.read_back()
    report.promise("the new set uses the same claims", expected=claims, seen=_uids(again.claims()))


@pytest.mark.requirement("STS-RET-002", "STS-RET-005")
@pytest.mark.parametrize("orphaned", [False, True], ids=["owned", "adopted"])
def test_claims_are_deleted_with_the_set(space, report, orphaned):
    """Goal: whenDeleted: Delete makes the set own its claims; they go when it goes, also after a pod was adopted.

    Method: two members, look at the owner references, orphan one pod and let it be adopted, delete the set.
    """
    web = space.statefulset(replicas=2, retention=DELETE_ON_DELETION)
    web.wait_ready()
    space.data.write(*web.pods())
    space.data.read_back()
    space.until("the set owns its claims", lambda: _owners(web) == [[web.uid], [web.uid]])
    if orphaned:
        _orphan(space, web, 1)
    report.promise("the set owns its claims", expected=[[web.uid], [web.uid]], seen=_owners(web))
    web.delete()
    space.until("its claims are gone", lambda: not web.claims())
    space.until("its pods are gone", lambda: not space.view.all("Pod"))


@pytest.mark.requirement("STS-RET-003", "STS-RET-005")
@pytest.mark.parametrize("orphaned", [False, True], ids=["owned", "adopted"])
def test_claims_are_deleted_when_scaled_away(space, report, orphaned):
    """Goal: whenScaled: Delete deletes the claims of the members scaled away, after their pods, and keeps the others.

    Method: three members, orphan one pod and let it be adopted, scale to one, read the rest back.
    """
    report.judge("retention-policy", scaled_min=2)
    report.judge("ordered-recovery", creations_min=3)
    web = space.statefulset(replicas=3, retention=DELETE_ON_SCALING)
    web.wait_ready()
    space.data.write(web.pod(0))
    if orphaned:
        _orphan(space, web, 2)
    kept = _uids(web.claims())[web.claim(0)]
    web.scale(1)
    web.wait_ready(1)
    space.until("one claim is left", lambda: len(web.claims()) == 1)
    report.promise("the claim that is left", expected={web.claim(0): kept}, seen=_uids(web.claims()))
    space.data.read_back()


@pytest.mark.requirement("STS-RET-004")
@pytest.mark.takes(35)
def test_a_claim_of_another_controller_stays(space, report):
    """Goal: a claim that another controller owns stays when its pod is scaled away; without that owner it goes.

    Method: give claim 1 another controller, scale to 0, see it stay; take the owner away, scale to 2 and to 1.
    """
    web = space.statefulset(replicas=2, retention=DELETE_ON_SCALING)
    web.wait_ready()
    owner = space.create({"kind": "ConfigMap", "metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    _own(space, web.claim(1), {**reference, "controller": True})
    web.scale(0)
    web.wait_ready(0)
    space.until("claim 0 is gone", lambda: web.claim(0) not in web.claims())
    report.promise("claim 1 is still there", expected=[web.claim(1)], seen=list(web.claims()))
    _own(space, web.claim(1))
    web.scale(2)
    web.wait_ready(2)
    web.scale(1)
    web.wait_ready(1)
    space.until("claim 1 is gone as well", lambda: list(web.claims()) == [web.claim(0)])


@pytest.mark.requirement("STS-RET-006", "STS-RET-002")
def test_other_owners_of_claims_are_respected(space, report):
    """Goal: the set joins a claim's other owners, leaves a claim of a stale controller alone, and mends its own.

    Method: owners of every kind on four claims, set whenDeleted: Delete, change one reference, delete the set.
    """
    web = space.statefulset(replicas=4, policy="Parallel")
    web.wait_ready()
    owner = space.create({"kind": "ConfigMap", "metadata": {"name": "owner"}})
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    mine = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": web.name,
        "uid": web.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    stale = {**mine, "name": "unknown", "uid": STALE_UID}
    _own(space, web.claim(1), other)
    # The finalizer keeps the garbage collector, which misses the stale owner, from ending the claim.
    space.patch(
        "PersistentVolumeClaim",
        web.claim(3),
        {"metadata": {"ownerReferences": [stale], "finalizers": ["steadyset.dev/keep"]}},
    )
    web.patch({"spec": {"persistentVolumeClaimRetentionPolicy": DELETE_ON_DELETION}})
    wanted = [[mine], [other, mine], [mine], [stale]]
    space.until("the set is an owner of what it may own", lambda: _references(web, 4) == wanted)
    _own(space, web.claim(0), {**mine, "controller": False})
    web.patch({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}}})
    space.until("it is the controller of claim 0 again", lambda: _references(web, 4)[0] == [mine])
    web.delete()
    space.until("its own claims are gone", lambda: not {web.claim(0), web.claim(2)} & set(web.claims()))
    report.promise("the claims of others stay", expected=[web.claim(1), web.claim(3)], seen=list(web.claims()))
    space.patch("PersistentVolumeClaim", web.claim(3), {"metadata": {"finalizers": None}})


@pytest.mark.requirement("STS-RET-007")
def test_a_missing_claim_is_created_again(space, report):
    """Goal: when the claim of a pending pod is deleted, the controller makes another one and the pod runs.

    Method: a scheduling gate keeps the new pod pending; delete its claim; let it be scheduled.
    """
    report.judge("stable-identity", replacements_min=1)
    web = space.statefulset(replicas=1, pod={"schedulingGates": [{"name": "steadyset.dev/wait"}]})
    space.until("the claim exists", lambda: web.claim(0) in web.claims())
    _ungate(space, web)
    web.wait_ready()
    before = _uids(web.claims())
    uid = web.delete_pod(0)
    space.until("another pod is pending", lambda: web.uids().get(web.pod(0), uid) != uid)
    space.delete("PersistentVolumeClaim", web.claim(0))
    space.until("the claim is gone", lambda: before.items() != _uids(web.claims()).items())
    _ungate(space, web)
    web.wait_ready()
    space.data.write(web.pod(0))
    space.data.read_back()
    report.promise("the name of the claim is the same", expected=[web.claim(0)], seen=list(web.claims()))
    report.promise("it is another claim", expected=True, seen=before != _uids(web.claims()))


def _ungate(space, web):
    space.until("the pod waits for its scheduling gate", lambda: web.pod(0) in web.pods())
    space.patch("Pod", web.pod(0), {"spec": {"schedulingGates": None}})


def _orphan(space, web, ordinal):
    name = web.pod(ordinal)
    space.patch("Pod", name, {"metadata": {"ownerReferences": None}})
    space.until("the pod was an orphan", lambda: any(not _refs(r.obj) for r in space.view.states("Pod", name)))
    space.until("the pod is adopted again", lambda: name in web.pods())


def _own(space, claim, *references):
    """Make these its owners, and wait until the view has seen it: what is read there afterwards is of later."""
    body = {"metadata": {"ownerReferences": list(references)}}
    made = space.patch("PersistentVolumeClaim", claim, body)["metadata"]["resourceVersion"]
    states = space.view.states
    space.until(
        f"the owners of {claim} are seen",
        lambda: any(r.rv == made for r in states("PersistentVolumeClaim", claim)),
    )


def _refs(obj):
    return obj["metadata"].get("ownerReferences") or []


def _owners(web):
    return [[owner["uid"] for owner in _refs(claim)] for claim in web.claims().values()]


def _references(web, count):
    claims = web.claims()
    return [_refs(claims[web.claim(n)]) if web.claim(n) in claims else None for n in range(count)]


def _uids(objects):
    return {name: obj["metadata"]["uid"] for name, obj in objects.items()}


def _policy(statefulset):
    policy = statefulset["spec"]["persistentVolumeClaimRetentionPolicy"]
    return policy["whenDeleted"], policy["whenScaled"]
