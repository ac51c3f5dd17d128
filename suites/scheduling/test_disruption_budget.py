"""Disruption budgets: an eviction that a budget does not allow is refused, and one that it allows is not."""

import pytest

from steadyset.fixtures.conformance.volumes import gone


def _evict(space, pod):
    return space.refused(lambda: space.evict(pod))


def _budget(space, **spec):
    manifest = {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "budget"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    space.create(manifest)


def _allowed(space):
    """How many disruptions the controller has counted as allowed; -1 while it has not seen this budget."""
    budget = space.view.get("PodDisruptionBudget", "budget") or {}
    status = budget.get("status") or {}
    return status["disruptionsAllowed"] if status.get("observedGeneration") else -1


@pytest.mark.requirement("SCH-PDB-001", "SCH-PDB-002")
@pytest.mark.parametrize("spec", [{"minAvailable": 2}, {"maxUnavailable": 1}], ids=["minAvailable", "maxUnavailable"])
@pytest.mark.takes(30)
def test_eviction(space, report, spec):
    """Goal: of three members one may be evicted; the next is refused (429) until the first is back.

    Method: evict through the API; hold the replacement not ready, so that the budget stays spent; read data back.
    """
    report.judge("pdb-respected")
    web = space.statefulset(replicas=3, policy="Parallel", gated=True)
    web.heal(0, 1, 2)
    web.wait_ready()
    space.data.write(*web.pods())
    _budget(space, **spec)
    space.until("one disruption is allowed", lambda: _allowed(space) == 1)
    uid = web.uids()["web-2"]
    report.promise("the first eviction is allowed", expected="", seen=_evict(space, "web-2"))
    space.until("web-2 is replaced", lambda: web.uids().get("web-2", uid) != uid)
    space.until("the budget is spent", lambda: _allowed(space) == 0)
    seen = _evict(space, "web-1").partition(" ")[0]
    report.promise("the second one is refused", expected="429", seen=seen)
    web.heal_replacement(2, uid)
    space.until("a disruption is allowed again", lambda: _allowed(space) == 1)
    uid = web.uids()["web-1"]
    report.promise("and is allowed once the first is back", expected="", seen=_evict(space, "web-1"))
    web.heal_replacement(1, uid)
    web.wait_ready()
    space.data.read_back()


@pytest.mark.requirement("SCH-PDB-003")
@pytest.mark.parametrize("policy", ["IfHealthyBudget", "AlwaysAllow"])
def test_unhealthy_pods(space, report, policy):
    """Goal: a member that is not ready, while the budget is spent, is evicted only with AlwaysAllow.

    Method: two members of which both must be available, one never becomes ready; evict that one.
    """
    web = space.statefulset(replicas=2, policy="Parallel", gated=True)
    web.heal(0)
    space.until("web-1 runs", lambda: (web.pods().get("web-1", {}).get("status") or {}).get("phase") == "Running")
    _budget(space, minAvailable=2, unhealthyPodEvictionPolicy=policy)
    space.until("the budget is known", lambda: _allowed(space) == 0)
    uid = web.uids()["web-1"]
    if policy == "AlwaysAllow":
        # A pod whose status changes meanwhile is refused once (429): whoever evicts is to ask again.
        space.until("its eviction is allowed", lambda: not _evict(space, "web-1"))
        space.until("it is replaced", lambda: web.uids().get("web-1", uid) != uid)
    else:
        seen = _evict(space, "web-1").partition(" ")[0]
        report.promise("its eviction is refused", expected="429", seen=seen)
        report.promise("it is still there", expected=uid, seen=web.uids().get("web-1"))


@pytest.mark.requirement("SCH-PDB-004")
def test_deletion_ignores_the_budget(space, report):
    """Goal: a budget stops evictions, not deletions: `kubectl delete pod` always goes through.

    Method: one member that must be available; its eviction is refused, its deletion is not.
    """
    web = space.statefulset(replicas=1)
    web.wait_ready()
    _budget(space, minAvailable=1)
    space.until("the budget is spent", lambda: _allowed(space) == 0)
    report.promise("the eviction is refused", expected="429", seen=_evict(space, "web-0").partition(" ")[0])
    uid = web.delete_pod(0)
    web.wait_replaced(0, uid)
    space.delete("PodDisruptionBudget", "budget")
    gone(space, "PodDisruptionBudget", "budget")
