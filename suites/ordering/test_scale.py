"""Ordering at scale: what holds for one StatefulSet holds for two hundred at once."""

import pytest

from steadyset.fixtures.scenario import NotTestedError

SETS, REPLICAS, NODES = 200, 3, 20
SCALE_S = 300.0  # until all are ready, or gone; most of it is the controller's and the scheduler's work


@pytest.mark.requirement("STS-ORD-011")
@pytest.mark.tier("full")
@pytest.mark.disruptive
def test_two_hundred_at_once(space, report, cluster):
    """Goal: two hundred StatefulSets that start and shrink at once keep their order, every one of them.

    Method: simulated nodes; create 200 sets of three, wait until all are ready, scale all to zero, judge each.
    """
    if cluster.provider != "embedded":
        raise NotTestedError("simulated nodes can be added to an embedded cluster only")
    from steadyset.fixtures.clusters.embedded.kwok import LABEL, TOLERATION, kwok_nodes

    names = [f"set-{number:03}" for number in range(SETS)]
    for name in names:
        report.judge("ordered-recovery", statefulset=name, creations_min=REPLICAS)
    pod = {"nodeSelector": {LABEL: "true"}, "tolerations": [TOLERATION]}
    with kwok_nodes(cluster.name, NODES):
        with space.step(f"{SETS} StatefulSets of {REPLICAS}"):
            sets = [space.statefulset_again(n, replicas=REPLICAS, volumes=False, pod=pod) for n in names]
            space.until("all are ready", lambda: _ready(space) == SETS, SCALE_S, "SCALE_S")
        with space.step("scale all to zero"):
            for each in sets:
                each.scale(0)
            space.until("no pod is left", lambda: not space.view.all("Pod"), SCALE_S, "SCALE_S")


def _ready(space):
    found = space.view.all("StatefulSet").values()
    return sum((each.get("status") or {}).get("readyReplicas") == REPLICAS for each in found)
