"""Deletion of a StatefulSet: what happens to its pods, by propagation policy."""

import pytest

from steadyset.chaos.kube import is_ready


@pytest.mark.requirement("STS-DEL-001", "STS-ID-006", "STS-ID-002")
def test_orphans_outlive_their_set(space, report):
    """Goal: deleted with Orphan, a set leaves its pods running; a new one of its name adopts them as they are.

    Method: write to two members, orphan them, create the set again, compare UIDs, read back.
    """
    report.judge("at-most-one-per-identity", replacements_min=0)
    web = space.statefulset(replicas=2)
    web.wait_ready()
    space.data.write(*web.pods())
    uids = web.uids()
    web.delete("Orphan")
    space.until("the set is gone", lambda: not web.seen)
    space.until("its pods are orphans", lambda: not web.pods())
    orphans = space.view.all("Pod")
    report.promise("its pods run on", expected=[True, True], seen=[is_ready(pod) for pod in orphans.values()])
    again = space.statefulset_again(replicas=2)
    again.wait_ready()
    report.promise("the new set has adopted them", expected=uids, seen=again.uids())
    space.data.read_back()


@pytest.mark.requirement("STS-DEL-002", "STS-DEL-003")
@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_pods_go_with_their_set(space, report, propagation):
    """Goal: in the background the set goes before its pods, in the foreground after them.

    Method: a finalizer holds one of two pods; look whether the set is gone meanwhile; take the finalizer away.
    """
    web = space.statefulset(replicas=2)
    web.wait_ready()
    space.data.write(*web.pods())
    space.data.read_back()
    space.patch("Pod", web.pod(0), {"metadata": {"finalizers": ["steadyset.dev/hold"]}})
    web.delete(propagation)
    space.until("the free pod is gone", lambda: web.pod(1) not in space.view.all("Pod"))
    if propagation == "Background":
        space.until("the set is gone before its pods", lambda: not web.seen)
        report.promise("the held pod is still there", expected=[web.pod(0)], seen=list(space.view.all("Pod")))
    else:
        waiting = "foregroundDeletion" in web.seen["metadata"].get("finalizers", [])
        report.promise("the set waits for its pods", expected=True, seen=waiting)
    space.patch("Pod", web.pod(0), {"metadata": {"finalizers": None}})
    space.until("everything is gone", lambda: not web.seen and not space.view.all("Pod"))
    report.promise("the claims stay", expected=2, seen=len(web.claims()))
