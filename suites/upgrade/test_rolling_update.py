"""Upgrade: the rolling update, its partition, its budget, and its way back."""

import pytest

from steadyset.fixtures.scenario import NotTestedError


@pytest.mark.requirement("STS-UPD-001", "STS-UPD-002", "STS-UPD-003", "STS-ID-002")
@pytest.mark.takes(40)
def test_update_and_roll_back(space, report):
    """Goal: an update goes from the last member to the first, waits for an unready one, and its reversal is a rollback.

    Method: three members; make one unready, change the template, see the update wait, heal it, let it complete; change
    the template back and see the first revision again.
    """
    report.judge("rolling-update", updates_min=6)
    report.judge("stable-identity", replacements_min=6)
    web = space.statefulset(replicas=3, gated=True, mark="one")
    web.heal(0, 1, 2)
    web.wait_ready()
    space.data.write(*web.pods())
    first = web.status["updateRevision"]
    report.promise("a new set is at its only revision", expected=first, seen=web.status["currentRevision"])
    for mark in ("two", "one"):
        before, uids = web.status["currentRevision"], web.uids()
        with space.step(f"change the template to {mark} beside an unready member"):
            web.hurt(1)
            web.wait_counted(2)
            web.roll(mark)
            update = web.status["updateRevision"]
            report.promise("the update revision is another one", expected=True, seen=update != before)
            report.promise("the current revision stays meanwhile", expected=before, seen=web.status["currentRevision"])
            report.promise("the update waits for the unready member", expected=uids, seen=web.uids())
            if mark == "one":
                report.promise("the first template is the first revision again", expected=first, seen=update)
            web.heal(1)
        for ordinal in (2, 1, 0):
            web.heal_replacement(ordinal, uids[web.pod(ordinal)])
        report.promise("the update revision becomes the current one", expected=update, seen=web.wait_rolled_out())
        report.promise("every member has the new template", expected={mark}, seen=set(web.marks().values()))
        report.promise("there are two revisions", expected=2, seen=len(space.view.all("ControllerRevision")))
    space.data.read_back()


@pytest.mark.requirement("STS-UPD-004", "STS-UPD-005", "STS-UPD-006", "STS-UPD-002", "STS-ID-002")
@pytest.mark.takes(30)
def test_canary_and_phases(space, report):
    """Goal: pods below the partition keep the old revision, also when they are deleted; lowering it updates the rest.

    Method: partition 3 and a new template (nothing happens), partition 2 (the canary), delete members on both sides of
    it, then partitions 1 and 0.
    """
    report.judge("rolling-update", updates_min=3)
    report.judge("stable-identity", replacements_min=5)
    web = space.statefulset(replicas=3, policy="Parallel", update=_partition(3))
    web.wait_ready()
    space.data.write(*web.pods())
    old, uids = web.status["currentRevision"], web.uids()
    web.roll("two")
    new = web.status["updateRevision"]
    web.wait_ready()
    report.promise("no member above the last is updated", expected=uids, seen=web.uids())
    for partition in (2, 1, 0):
        with space.step(f"partition {partition}"):
            web.patch({"spec": {"updateStrategy": _partition(partition)}})
            wanted = {web.pod(n): new if n >= partition else old for n in range(3)}
            space.until("the members from the partition on are updated", lambda w=wanted: web.revisions() == w)
            web.wait_ready()
        if partition == 2:
            with space.step("delete members on both sides of the partition"):
                uids = {n: web.delete_pod(n) for n in (0, 2)}
                for ordinal, uid in uids.items():
                    web.wait_replaced(ordinal, uid)
                web.wait_ready()
                report.promise("each came back at its own revision", expected=wanted, seen=web.revisions())
                report.promise("the current revision is the old one", expected=old, seen=web.status["currentRevision"])
    report.promise("the update revision becomes the current one", expected=new, seen=web.wait_rolled_out())
    space.data.read_back()


@pytest.mark.requirement("STS-UPD-004", "STS-UPD-005")
@pytest.mark.parametrize("exit_code", [0, 1], ids=["container-ends-well", "container-fails"])
@pytest.mark.takes(25)
def test_a_pod_below_the_partition_is_held_at_its_deletion(space, report, exit_code):
    """Goal: a pod below the partition that is deleted during an update comes back at the old revision, however.

    Method: partition 1; a finalizer holds pod 0 at its deletion after the others were updated; its container ends with
    exit code 0 or 1.
    """
    report.judge("rolling-update", updates_min=1)
    web = space.statefulset(replicas=2, update=_partition(1), exit_code=exit_code)
    web.wait_ready()
    space.data.write(*web.pods())
    old = web.status["currentRevision"]
    space.patch("Pod", web.pod(0), {"metadata": {"finalizers": ["steadyset.dev/hold"]}})
    web.roll("two")
    new = web.status["updateRevision"]
    wanted = {web.pod(0): old, web.pod(1): new}
    space.until("the member above the partition is updated", lambda: web.revisions() == wanted)
    web.wait_ready()
    uid = web.delete_pod(0)
    space.until("its container has ended", lambda: _ended(space, web.pod(0), uid))
    space.patch("Pod", web.pod(0), {"metadata": {"finalizers": None}})
    web.wait_replaced(0, uid)
    web.wait_ready()
    report.promise("it came back at the current revision", expected=wanted, seen=web.revisions())
    space.data.read_back()


def _ended(space, name, uid):
    pod = space.view.get("Pod", name)
    if pod is None or pod["metadata"]["uid"] != uid:
        return False
    return pod["status"]["phase"] in ("Failed", "Succeeded")


@pytest.mark.requirement("STS-UPD-008")
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.takes(30)
def test_max_unavailable(space, report, policy):
    """Goal: an update takes as many members at a time as maxUnavailable allows, and never more.

    Method: four members and maxUnavailable 2; gates keep the replacements unready until two are away.
    """
    report.judge("rolling-update", updates_min=4)
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    web = space.statefulset(replicas=4, policy=policy, gated=True, update=update)
    if "maxUnavailable" not in space.need("StatefulSet", web.name)["spec"]["updateStrategy"]["rollingUpdate"]:
        raise NotTestedError(
            "the API server drops maxUnavailable: its feature gate MaxUnavailableStatefulSet is off (profile beta)"
        )
    web.heal(0, 1, 2, 3)
    web.wait_ready()
    space.data.write(*web.pods())
    uids = web.uids()
    web.roll("two")
    for pair in ((3, 2), (1, 0)):
        space.until("two members are away at once", lambda p=pair: _away(web, uids) >= {web.pod(n) for n in p})
        for ordinal in sorted(pair):  # OrderedReady makes them in this order
            web.heal_replacement(ordinal, uids[web.pod(ordinal)])
    web.wait_rolled_out()
    space.data.read_back()


def _away(web, uids):
    return {name for name, uid in uids.items() if web.uids().get(name) != uid}


def _partition(ordinal):
    return {"type": "RollingUpdate", "rollingUpdate": {"partition": ordinal}}
