"""Ordering: minReadySeconds, really set."""

import pytest

MIN_READY_S = 3
NEVER_S = 3600


@pytest.mark.requirement("STS-ORD-008", "STS-ORD-009")
def test_members_must_have_been_ready_for_a_while(space, report):
    """Goal: a successor waits until its predecessor has been Ready for minReadySeconds; availableReplicas says so too.

    Method: two members with minReadySeconds of an hour; lower it to 3, raise it again, lower it to 0, and watch
    availableReplicas.
    """
    report.judge("min-ready-seconds", creations_min=1)
    report.judge("ordered-recovery", creations_min=2)
    web = space.statefulset(replicas=2, minReadySeconds=NEVER_S)
    # With 3 s it might never be seen so: the controller counts from when the kubelet saw it Ready, not from its report.
    space.until("member 0 is Ready, not yet available", lambda: _counts(web) == (1, 0))
    web.patch({"spec": {"minReadySeconds": MIN_READY_S}})
    space.until("both are available", lambda: _counts(web) == (2, 2))
    seen = [_counted(record.obj) for record in space.view.states("StatefulSet", web.name)]
    report.promise("nobody was available before one was Ready", expected=[], seen=[c for c in seen if c[1] > c[0]])
    web.patch({"spec": {"minReadySeconds": NEVER_S}})
    space.until("nobody is available for an hour", lambda: _counts(web) == (2, 0))
    web.patch({"spec": {"minReadySeconds": 0}})
    space.until("both are available at once", lambda: _counts(web) == (2, 2))
    space.data.write(*web.pods())
    space.data.read_back()


def _counts(web):
    return _counted(web.seen)


def _counted(obj):
    status = obj.get("status") or {}
    return status.get("readyReplicas", 0), status.get("availableReplicas", 0)
