"""Identity: whatever replaces a pod, it comes back as itself, with its data, and never runs twice."""

import pytest

from steadyset.chaos.kube import is_ready
from steadyset.fixtures.conformance.volumes import ask


@pytest.mark.requirement("STS-ID-001", "STS-ID-002", "STS-ID-003", "STS-ID-004", "STS-ID-005")
@pytest.mark.parametrize("grace_s", [None, 1], ids=["own-grace", "grace-1"])
@pytest.mark.takes(30)
def test_pods_are_deleted(space, report, grace_s):
    """Goal: deleted pods come back with their name, hostname, subdomain, claim, index label and data.

    Method: write to three members, delete all of them, wait until each is replaced, read everything back.
    """
    report.judge("stable-identity", replacements_min=3)
    report.judge("at-most-one-per-identity", replacements_min=3)
    report.judge("pvc-retention", claims_min=3)
    web = space.statefulset(replicas=3, policy="Parallel")
    web.wait_ready()
    space.data.write(*web.pods())
    for ordinal, uid in [(n, web.delete_pod(n, grace_s)) for n in range(3)]:
        web.wait_replaced(ordinal, uid)
    web.wait_ready()
    for ordinal in range(3):
        me = ask(space, web.pod(ordinal), "identity")
        report.promise("the hostname is the pod's name", expected=web.pod(ordinal), seen=me["hostname"])
        label = web.pods()[web.pod(ordinal)]["metadata"]["labels"].get("apps.kubernetes.io/pod-index")
        report.promise("the pod-index label is the ordinal", expected=str(ordinal), seen=label)
    space.data.read_back()


@pytest.mark.requirement("STS-ID-005")
@pytest.mark.needs("client-namespace")
def test_names_follow_the_pods(space, report):
    """Goal: the DNS name of each member in its governing Service is the address of the pod that bears it now.

    Method: resolve both names, replace one member, resolve until its name is the new address.
    """
    report.judge("stable-identity", replacements_min=1)
    web = space.statefulset(replicas=2)
    web.wait_ready()
    for ordinal in range(2):
        space.until("the member's name is its address", lambda n=ordinal: _resolved(space, web, n))
    web.wait_replaced(0, web.delete_pod(0))
    space.until("the member's name is its new address", lambda: _resolved(space, web, 0))


def _resolved(space, web, ordinal):
    address = web.pods()[web.pod(ordinal)]["status"].get("podIP")
    return address and space.resolve(f"{web.pod(ordinal)}.{web.name}") == [address]


@pytest.mark.requirement("STS-ID-008", "STS-ID-002")
def test_a_pod_is_forced_away(space, report):
    """Goal: a pod that is deleted by force is followed by another of the same identity, with the same claim and data.

    Method: write, delete with grace 0 (which takes back the promise that no two run), read back.
    """
    report.judge("stable-identity", replacements_min=1)
    report.judge("pvc-retention")
    web = space.statefulset(replicas=1)
    web.wait_ready()
    space.data.write(web.pod(0))
    web.wait_replaced(0, web.delete_pod(0, grace_s=0))
    space.data.read_back()


@pytest.mark.requirement("STS-ID-006", "STS-ID-007")
def test_orphans_are_adopted_and_others_released(space, report):
    """Goal: a pod that loses its owner is adopted again, one that loses its labels is released; neither is replaced.

    Method: take away the owner reference, wait for adoption; take away the label, wait for release; give it back.
    """
    report.judge("stable-identity", replacements_min=0)
    web = space.statefulset(replicas=1)
    web.wait_ready()
    space.data.write(web.pod(0))
    uid = web.uids()[web.pod(0)]

    def owners():
        pod = space.view.get("Pod", web.pod(0)) or {"metadata": {}}
        return [owner["uid"] for owner in pod["metadata"].get("ownerReferences") or []]

    space.patch("Pod", web.pod(0), {"metadata": {"ownerReferences": None}})
    space.until("the orphan was seen", lambda: _states_without_owner(space, web.pod(0)))
    space.until("the orphan is adopted", lambda: owners() == [web.uid])
    space.patch("Pod", web.pod(0), {"metadata": {"labels": {"app": None}}})
    space.until("the pod that does not match is released", lambda: owners() == [])
    # The ordinal is taken: the controller cannot make another pod of that name, and must not delete this one.
    report.promise("the released pod runs on", expected=True, seen=is_ready(space.view.get("Pod", web.pod(0))))
    space.patch("Pod", web.pod(0), {"metadata": {"labels": {"app": web.name}}})
    space.until("the pod is adopted again", lambda: owners() == [web.uid])
    web.wait_ready()
    report.promise("it is the same pod", expected=uid, seen=web.uids()[web.pod(0)])
    space.data.read_back()


def _states_without_owner(space, name):
    return [r for r in space.view.states("Pod", name) if not r.obj["metadata"].get("ownerReferences")]
