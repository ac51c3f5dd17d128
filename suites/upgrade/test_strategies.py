"""Upgrade: every podManagementPolicy with every updateStrategy, revisions that are kept, and a broken one."""

import pytest

ROLLING = {"type": "RollingUpdate"}
ON_DELETE = {"type": "OnDelete"}


@pytest.mark.requirement("STS-UPD-011", "STS-UPD-001", "STS-ID-002")
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.takes(40)
def test_rolling_update_of_each_policy(space, report, policy):
    """Goal: both policies update by RollingUpdate, in its order, and every member keeps its data.

    Method: two members, write, change the template, wait for the rollout, read back.
    """
    report.judge("rolling-update", updates_min=2)
    report.judge("pvc-retention", claims_min=2)
    web = space.statefulset(replicas=2, policy=policy, update=ROLLING)
    web.wait_ready()
    space.data.write(*web.pods())
    web.roll("two")
    web.wait_rolled_out()
    report.promise("every member has the new template", expected={"two"}, seen=set(web.marks().values()))
    space.data.read_back()


@pytest.mark.requirement("STS-UPD-011", "STS-UPD-007", "STS-ID-002")
@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.takes(35)
def test_on_delete_of_each_policy(space, report, policy):
    """Goal: under OnDelete nothing is updated by itself; a deleted member comes back at the update revision.

    Method: delete the members before and after a change of the template, and look at their revisions.
    """
    report.judge("rolling-update", updates_min=2)
    report.judge("pvc-retention", claims_min=2)
    web = space.statefulset(replicas=2, policy=policy, update=ON_DELETE)
    web.wait_ready()
    space.data.write(*web.pods())
    for mark in ("one", "two"):
        if mark == "two":
            before = web.uids()
            web.roll("two")
            web.wait_ready()
            report.promise("the controller replaced nobody", expected=before, seen=web.uids())
        for ordinal, uid in [(n, web.delete_pod(n)) for n in range(2)]:
            web.wait_replaced(ordinal, uid)
        web.wait_ready()
        report.promise("they come back with the latest template", expected={mark}, seen=set(web.marks().values()))
    space.data.read_back()


@pytest.mark.requirement("STS-UPD-009")
def test_revisions_are_kept_up_to_the_limit(space, report):
    """Goal: revisions that no pod uses are kept up to revisionHistoryLimit, the oldest go first.

    Method: no members; five templates with a limit of two.
    """
    web = space.statefulset(replicas=0, revisionHistoryLimit=2)
    web.wait_ready(0)
    for number in range(5):
        web.roll(f"template-{number}")

    def kept():
        return sorted(r["revision"] for r in space.view.all("ControllerRevision").values())

    # Three are there before the last one is seen, too: revisions and the set come over separate watches.
    space.until("three revisions are left, with the last", lambda: len(now := kept()) == 3 and now[-1] == 6)
    report.promise("the update revision and the two before it", expected=[4, 5, 6], seen=kept())


@pytest.mark.requirement("STS-UPD-010", "STS-UPD-003", "STS-ID-002")
def test_a_broken_revision_is_reverted(space, report):
    """Goal: after a revision that never gets Ready was reverted and its pod deleted, all is as before.

    Method: change the template to one that never gets Ready (its gate stays shut), revert it, delete the pod.
    """
    report.judge("stable-identity", replacements_min=2)
    web = space.statefulset(replicas=2, gated=True)
    web.heal(0, 1)
    web.wait_ready()
    space.data.write(*web.pods())
    first, uids = web.status["currentRevision"], web.uids()
    web.roll("broken")
    space.until("the last member has the broken template", lambda: web.marks().get(web.pod(1)) == "broken")
    broken = web.uids()[web.pod(1)]
    report.promise("the first member was left alone", expected=uids[web.pod(0)], seen=web.uids()[web.pod(0)])
    web.roll("one")
    report.promise("the revert is a rollback", expected=first, seen=web.status["updateRevision"])
    if web.uids().get(web.pod(1)) == broken:
        web.delete_pod(1)  # the documented way: OrderedReady waits for the broken pod for ever
    web.heal_replacement(1, broken)
    web.wait_rolled_out()
    report.promise("the first member was never touched", expected=uids[web.pod(0)], seen=web.uids()[web.pod(0)])
    space.data.read_back()
