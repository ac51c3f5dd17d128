"""PodDisruptionBudgets at evictions, and endpoints beside their pods."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import NS, SET, World

from steadyset.invariants import EndpointsReady, PdbRespected, StableIdentity
from steadyset.verdict import Verdict

EVICTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


class Budgeted(World):
    """A world with a budget, a Service and an endpoints controller."""

    def __init__(self, demanded: int = 2, *, selector: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.endpoints: set[str] = set()
        budget = {"spec": {"selector": {"matchLabels": {"app": SET}}}, "status": {"desiredHealthy": demanded}}
        self.put("PodDisruptionBudget", "b", "b", budget)
        self.put("Service", SET, "svc", {"spec": {"selector": selector or {"app": SET}}})

    def update(self, ordinal: int, *, ready: bool | None = None, **meta: Any) -> None:
        super().update(ordinal, ready=ready, **meta)
        if ready is not None:
            self.tick(0.2)
            (self.endpoints.add if ready else self.endpoints.discard)(self.uid(ordinal))
            self.slice()

    def slice(self) -> None:
        endpoints = [{"targetRef": {"uid": uid}, "conditions": {"ready": True}} for uid in sorted(self.endpoints)]
        labels = {"kubernetes.io/service-name": SET}
        self.put("EndpointSlice", "s", "s", {"metadata": {"labels": labels}, "endpoints": endpoints})

    def evict(self, ordinal: int) -> None:
        pod = self.pods[ordinal]
        pod["status"] = {**pod["status"], "conditions": [*pod["status"]["conditions"], EVICTED]}
        self.put("Pod", f"{SET}-{ordinal}", self.uid(ordinal), pod)
        self.endpoints.discard(self.uid(ordinal))
        self.slice()
        self.remove(ordinal)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["evict", "replace", "flap"]), st.integers(0, 2)), min_size=1, max_size=5))
def test_correct_evictions_and_endpoints_pass(actions: list[tuple[str, int]]) -> None:
    """One eviction at a time with a recovery between; endpoints follow within a fraction of a second."""
    world = Budgeted()
    world.deploy()
    world.tick(5)
    for action, ordinal in actions:
        if action == "evict":
            world.evict(ordinal)
            world.create(ordinal)
            world.start(ordinal, "node-1")
        elif action == "replace":
            world.replace(ordinal)
        else:
            world.update(ordinal, ready=False)
            world.tick(10)
            world.update(ordinal, ready=True)
        world.tick(5)
    trace = world.trace()
    assert PdbRespected(NS, evictions_min=0).check(trace).verdict == Verdict.PASS
    assert EndpointsReady(NS).check(trace).verdict == Verdict.PASS


@settings(max_examples=12, deadline=None)
@given(st.permutations([0, 1, 2]))
def test_two_evictions_at_once_break_the_budget(order: list[int]) -> None:
    """The second eviction leaves one healthy pod of the two demanded."""
    world = Budgeted()
    world.deploy()
    world.tick(5)
    world.evict(order[0])
    world.evict(order[1])
    judgement = PdbRespected(NS).check(world.trace())
    assert judgement.verdict == Verdict.FAIL
    assert len(judgement.witness) == 1
    assert f"pod db-{order[1]}" in judgement.witness[0]
    assert f"left 1 healthy pods (db-{order[2]})" in judgement.witness[0]


def test_evicting_beside_a_pod_that_is_down_breaks_the_budget_unless_it_just_failed() -> None:
    """A pod down for 10 s was known to be down; one that failed 1 s before was not."""
    for down_s, verdict in ((10, Verdict.FAIL), (1, Verdict.PASS)):
        world = Budgeted()
        world.deploy()
        world.tick(5)
        world.update(0, ready=False)
        world.tick(down_s)
        world.evict(1)
        assert PdbRespected(NS).check(world.trace()).verdict == verdict, down_s


def test_unhealthy_pods_may_be_evicted_where_the_policy_says_so() -> None:
    """AlwaysAllow: an unready pod goes though the budget is already broken; without it that is a violation."""
    for policy, verdict in (("AlwaysAllow", Verdict.PASS), ("IfHealthyBudget", Verdict.FAIL)):
        world = Budgeted()
        world.deploy()
        budget = dict(world.objects["PodDisruptionBudget", "b"])
        budget["spec"] = {**budget["spec"], "unhealthyPodEvictionPolicy": policy}
        world.put("PodDisruptionBudget", "b", "b", budget)
        world.update(0, ready=False)
        world.update(1, ready=False)
        world.tick(10)
        world.evict(1)
        assert PdbRespected(NS).check(world.trace()).verdict == verdict, policy


def test_deletions_are_not_evictions() -> None:
    """A budget does not bind deletions: nothing evicted is INVALID, never a FAIL."""
    world = Budgeted()
    world.deploy()
    world.remove(0)
    world.remove(1)
    judgement = PdbRespected(NS).check(world.trace())
    assert judgement.verdict == Verdict.INVALID
    assert "0 evictions observed" in judgement.summary


def test_an_endpoint_kept_for_an_unready_pod_is_found() -> None:
    """Six seconds of traffic to a pod that is not Ready."""
    world = Budgeted()
    world.deploy()
    World.update(world, 1, ready=False)
    world.tick(6)
    world.endpoints.discard(world.uid(1))
    world.slice()
    judgement = EndpointsReady(NS).check(world.trace())
    assert judgement.verdict == Verdict.FAIL
    assert "kept pod db-1" in judgement.witness[0] and "for 6.000 s" in judgement.witness[0]
    assert EndpointsReady(NS, lag_ms=7000).check(world.trace()).verdict == Verdict.PASS


def test_a_ready_pod_without_endpoint_is_found() -> None:
    """A selector that no longer reaches a Ready pod."""
    world = Budgeted()
    world.deploy()
    world.endpoints.discard(world.uid(2))
    world.slice()
    world.tick(8)
    judgement = EndpointsReady(NS).check(world.trace())
    assert judgement.verdict == Verdict.FAIL
    assert "lacked pod db-2" in judgement.witness[0]


def test_published_not_ready_addresses_are_not_held_against_a_service() -> None:
    """Such a Service promises every pod, Ready or not; it must still hold the Ready ones."""
    world = Budgeted()
    world.put("Service", SET, "svc", {"spec": {"selector": {"app": SET}, "publishNotReadyAddresses": True}})
    world.deploy()
    World.update(world, 1, ready=False)
    world.tick(20)
    assert EndpointsReady(NS).check(world.trace()).verdict == Verdict.PASS


@pytest.mark.parametrize("rule", [PdbRespected(NS), EndpointsReady(NS)])
def test_nothing_seen_proves_nothing(rule: PdbRespected | EndpointsReady) -> None:
    """An empty world is INVALID."""
    assert rule.check(World().trace()).verdict == Verdict.INVALID


def relabelled(world: Budgeted, ordinal: int, role: str) -> None:
    """Give the pod another role, as a failover does."""
    pod = world.pods[ordinal]
    pod["metadata"]["labels"]["role"] = role
    world.put("Pod", f"{SET}-{ordinal}", world.uid(ordinal), pod)


@pytest.mark.parametrize(("follows", "verdict"), [(True, Verdict.PASS), (False, Verdict.FAIL)])
def test_a_service_follows_a_label_that_moves(follows: bool, verdict: Verdict) -> None:
    """The primary's Service means whoever bears the label; a Ready replica is none of its business."""
    world = Budgeted(selector={"role": "primary"})
    world.deploy()
    relabelled(world, 0, "primary")
    world.endpoints = {world.uid(0)}
    world.slice()
    world.tick(30)
    relabelled(world, 0, "replica")
    relabelled(world, 1, "primary")
    if follows:
        world.endpoints = {world.uid(1)}
        world.slice()
    world.tick(30)
    judgement = EndpointsReady(NS).check(world.trace())
    assert judgement.verdict == verdict, judgement
    if not follows:
        assert "kept pod db-0" in judgement.witness[0] and "lacked pod db-1" in judgement.witness[1]


def test_a_changed_selector_is_not_judged() -> None:
    """Which pods it meant at each moment would be a guess."""
    world = Budgeted()
    world.deploy()
    world.put("Service", SET, "svc", {"spec": {"selector": {"app": "else"}}})
    judgement = EndpointsReady(NS, services_min=0).check(world.trace())
    assert judgement.verdict == Verdict.INVALID
    assert "selector of Service db changed" in judgement.summary


@pytest.mark.parametrize(
    ("kind", "seconds", "open_", "verdict"),
    [
        ("Pod", 1, False, Verdict.PASS),
        ("Pod", 6, False, Verdict.INVALID),
        ("EndpointSlice", 6, False, Verdict.INVALID),
        ("EndpointSlice", 1, True, Verdict.INVALID),
    ],
)
def test_a_gap_shorter_than_the_allowed_lag_hides_nothing(
    kind: str, seconds: int, open_: bool, verdict: Verdict
) -> None:
    """Endpoints may differ for five seconds: a shorter blindness cannot hide more, unless it never ended."""
    world = Budgeted()
    world.deploy()
    world.tick(10)
    world.gap(kind, world.now - seconds * 1_000_000_000, world.now, open=open_)
    world.tick(1)
    assert EndpointsReady(NS).check(world.trace()).verdict == verdict


GOVERNED = StableIdentity(NS, SET, replacements_min=0, governed=True)


@pytest.mark.parametrize(
    ("service", "cluster_ip", "verdict", "said"),
    [
        (SET, "None", Verdict.PASS, "kept every part"),
        (SET, "10.0.0.7", Verdict.FAIL, f"Service '{SET}' is not headless"),
        ("other", "None", Verdict.FAIL, f"there is no Service '{SET}'"),
    ],
    ids=["headless", "with an address", "of another name"],
)
def test_the_service_that_gives_the_names(service: str, cluster_ip: str, verdict: Verdict, said: str) -> None:
    """A set's pods have names in DNS by the headless Service that it names, and by no other."""
    world = World()
    world.put("Service", service, "svc", {"spec": {"clusterIP": cluster_ip}})
    world.deploy()
    judgement = GOVERNED.check(world.trace())
    assert judgement.verdict is verdict
    assert said in " ".join([judgement.summary, *judgement.witness])
    assert StableIdentity(NS, SET, replacements_min=0).check(world.trace()).verdict is Verdict.PASS


def test_services_that_nobody_watched_prove_nothing() -> None:
    """Unseen is not missing."""
    world = World()
    world.records = [r for r in world.records if r.k != "Service"]
    world.note("not-observed", k="Service", reason="403 Forbidden")
    world.deploy()
    assert GOVERNED.check(world.trace()).verdict is Verdict.INVALID
