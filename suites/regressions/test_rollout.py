"""Failure stories of rollouts: broken revisions, partitions, starts that wait for each other."""

import pytest

from steadyset.chaos.kube import is_ready
from steadyset.fixtures.conformance.sets import REVISION
from steadyset.fixtures.conformance.stories import tell

# It asks for a port that nobody listens on, too: without any readiness probe a container is Ready until it crashes,
# and the controller may see just that.
CRASHES = {"args": ["-data", "/no-such-folder"], "readinessProbe": {"tcpSocket": {"port": 1}}}
BROKEN = {"spec": {"template": {"spec": {"containers": [{"name": "probe", **CRASHES}]}}}}
STRATEGIC = "application/strategic-merge-patch+json"
MENDED = {"spec": {"template": {"spec": {"containers": [{"name": "probe", **dict.fromkeys(CRASHES)}]}}}}


def _crashed(web, good):
    """Whether pod 1 is of another revision and has crashed: of one reading, as the controller may delete it at once."""
    pod = web.pods().get("web-1")
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or []
    crashed = any(s["restartCount"] > 0 or "terminated" in s["state"] for s in statuses)
    return crashed and pod["metadata"]["labels"].get(REVISION, good) != good


@pytest.mark.parametrize(
    ("story", "policy", "sabotage"),
    [
        pytest.param("REG-ROL-001", "OrderedReady", False, marks=pytest.mark.requirement("REG-ROL-001")),
        pytest.param("REG-ROL-002", "Parallel", False, marks=pytest.mark.requirement("REG-ROL-002")),
        pytest.param("REG-ROL-002", "Parallel", True, marks=pytest.mark.requirement("REG-ROL-002")),
    ],
    ids=["ordered", "parallel", "sabotage"],
)
def test_broken_revision_is_taken_back(space, report, story, policy, sabotage):
    """Goal: a revision whose pods crash, taken back, is forgotten without a hand on the pods.

    Method: roll out a revision that crashes; once its first pod has, roll back and wait; the sabotage does not.
    """
    recovery = tell(space, story, sabotage=sabotage)
    web = space.statefulset(replicas=2, policy=policy)
    web.wait_ready()
    space.data.write(*web.pods())
    good = web.revisions()["web-1"]
    web.patch(BROKEN, content_type=STRATEGIC)
    space.until("the new revision crashes", lambda: _crashed(web, good))
    if not sabotage:
        web.patch(MENDED, content_type=STRATEGIC)
    space.until("the old revision is back", lambda: _back(web, good), *recovery)
    space.data.read_back()


def _back(web, good):
    """Whether both pods are of that revision and Ready: of one reading, and not while one of them is away."""
    pods = web.pods().values()
    return len(pods) == 2 and all(pod["metadata"]["labels"].get(REVISION) == good and is_ready(pod) for pod in pods)


@pytest.mark.requirement("REG-PRT-001")
@pytest.mark.parametrize("sabotage", [False, True], ids=["story", "sabotage"])
def test_partition_holds_on_restart(space, report, sabotage):
    """Goal: a pod below the partition that is deleted comes back in its old revision.

    Method: partition at 2 of 2, a new template, delete pod 0. The sabotage lowers the partition first.
    """
    tell(space, "REG-PRT-001", sabotage=sabotage)
    web = space.statefulset(replicas=2, update=_partition(2))
    web.wait_ready()
    space.data.write(*web.pods())
    old = web.revisions()["web-0"]
    web.roll("2")
    web.wait_observed()
    if sabotage:
        web.patch({"spec": {"updateStrategy": _partition(0)}})
        web.wait_rolled_out()
    uid = web.delete_pod(0)
    web.wait_replaced(0, uid)
    report.promise("pod 0 is of the old revision", expected=old, seen=web.revisions()["web-0"])
    space.data.read_back()


def _partition(number):
    return {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}


@pytest.mark.requirement("REG-PRT-002")
def test_partition_holds_from_zero(space, report):
    """Goal: scaled to none and back, pods below the partition are of the old revision, the others of the new one.

    Method: partition at 1 of 2, a new template, scale to 0, then to 2.
    """
    tell(space, "REG-PRT-002")
    web = space.statefulset(replicas=2, update=_partition(1))
    web.wait_ready()
    old = web.revisions()["web-0"]
    web.roll("2")
    web.wait_observed()
    space.until("pod 1 is of the new revision", lambda: web.revisions().get("web-1", old) != old)
    web.wait_ready()
    new = web.revisions()["web-1"]
    for replicas in (0, 2):
        web.scale(replicas)
        web.wait_ready(replicas)
    report.promise("the revisions", expected={"web-0": old, "web-1": new}, seen=web.revisions())


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.requirement("REG-ORD-001")
def test_members_that_wait_for_each_other(space, report, policy):
    """Goal: members that are ready only when two of them run come back after all have crashed.

    Method: delete both at once; pod 0 is called ready once pod 1 runs. Parallel is the corrected configuration.
    """
    recovery = tell(space, "REG-ORD-001") if policy == "OrderedReady" else ()
    web = space.statefulset(replicas=2, policy=policy, gated=True)
    for ordinal in range(2):
        web.heal(ordinal)
    web.wait_ready()
    space.data.write(*web.pods())
    uids = [web.delete_pod(ordinal) for ordinal in range(2)]

    def both_run():
        pods = web.pods()
        fresh = [pod for pod in pods.values() if pod["metadata"]["uid"] not in uids]
        return len(fresh) == 2 and all(pod.get("status", {}).get("phase") == "Running" for pod in fresh)

    space.until("both run", both_run, *recovery)
    web.heal(0, 1)
    web.wait_ready()
    space.data.read_back()
