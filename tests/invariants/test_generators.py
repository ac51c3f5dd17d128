"""Every rule has a generator of traces, correct ones and ones with one harm: it must PASS those and FAIL these."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_main_job import HARMS, judged
from test_services import Budgeted
from test_updates import Rolling, believes, lease
from world import NS, SET, World

from steadyset.invariants import (
    INVARIANTS,
    EndpointsReady,
    LeaseBelief,
    MinReadySeconds,
    ParallelBurst,
    PdbRespected,
    RetentionPolicy,
    RollingUpdate,
    ScaleDownHalts,
)
from steadyset.verdict import Judgement, Verdict

Story = Callable[[st.DataObject, bool], Judgement]  # draws a trace, broken or not, and has it judged


def main_job(rule: str) -> Story:
    """Pods replaced at random, then perhaps one of the harms that the rule is about."""

    def story(data: st.DataObject, broken: bool) -> Judgement:
        world = World()
        world.deploy()
        for ordinal in data.draw(st.lists(st.integers(0, 2), max_size=3)):
            world.replace(ordinal)
        world.tick()
        if broken:
            harm = data.draw(st.sampled_from([harm for of, harm, _ in HARMS if of == rule]))
            harm(world, data.draw(st.integers(0, 2)))
            world.tick()
        return judged(world, rule)

    return story


def pdb_respected(data: st.DataObject, broken: bool) -> Judgement:
    """Two evictions, the second before or after the first pod is back."""
    world = Budgeted()
    world.deploy()
    world.tick(5)
    one, other = data.draw(st.permutations([0, 1, 2]))[:2]
    world.evict(one)
    world.tick(data.draw(st.floats(0, 20)))
    if not broken:
        world.create(one)
        world.start(one, "node-1")
        world.tick(5)
    world.evict(other)
    return PdbRespected(NS).check(world.trace())


def endpoints_ready(data: st.DataObject, broken: bool) -> Judgement:
    """A pod that is not Ready leaves its Service's endpoints, within five seconds or later."""
    world = Budgeted()
    world.deploy()
    ordinal = data.draw(st.integers(0, 2))
    World.update(world, ordinal, ready=False)
    world.tick(data.draw(st.floats(5.5, 60) if broken else st.floats(0, 4.5)))
    world.endpoints.discard(world.uid(ordinal))
    world.slice()
    world.tick(20)
    return EndpointsReady(NS).check(world.trace())


def rolling_update(data: st.DataObject, broken: bool) -> Judgement:
    """Pods are updated from the top down, or in another order."""
    replicas = data.draw(st.integers(2, 4))
    right = list(range(replicas - 1, -1, -1))
    order = data.draw(st.permutations(right).filter(lambda drawn: drawn != right)) if broken else right
    world = Rolling(replicas=replicas)
    world.deploy()
    world.tick(10)
    world.begin()
    for ordinal in order:
        world.update_pod(ordinal)
    return RollingUpdate(NS, SET).check(world.trace())


def scale_down_halts(data: st.DataObject, broken: bool) -> Judgement:
    """The last pod goes while a predecessor is down, or only once that is Ready again."""
    world = Rolling()
    world.deploy()
    down = data.draw(st.integers(0, 1))
    world.update(down, ready=False)
    world.tick(data.draw(st.floats(8, 30)))
    world.replicas = 2
    world.statefulset()
    world.tick(data.draw(st.floats(15, 60)))
    if not broken:
        world.update(down, ready=True)
    world.remove(2)
    return ScaleDownHalts(NS, SET).check(world.trace())


def parallel_burst(data: st.DataObject, broken: bool) -> Judgement:
    """All pods are made at once, or one of them waits."""
    replicas = data.draw(st.integers(3, 6))
    late = data.draw(st.integers(1, replicas - 1))
    world = World(policy="Parallel", replicas=replicas)
    world.statefulset()
    for ordinal in range(replicas):
        world.tick(data.draw(st.floats(6, 30)) if broken and ordinal == late else data.draw(st.floats(0, 0.05)))
        world.create(ordinal)
    world.tick(10)
    return ParallelBurst(NS, SET).check(world.trace())


def min_ready_seconds(data: st.DataObject, broken: bool) -> Judgement:
    """Each pod is made once its predecessor was Ready for ten seconds, or one of them earlier."""
    world = Rolling(min_ready_s=10)
    world.statefulset()
    early = data.draw(st.integers(1, 2))
    for ordinal in range(3):
        if ordinal:
            world.tick(data.draw(st.floats(0.1, 8.5) if broken and ordinal == early else st.floats(10.5, 30)))
        world.create(ordinal)
        world.start(ordinal, "node-1")
    return MinReadySeconds(NS, SET).check(world.trace())


def retention_policy(data: st.DataObject, broken: bool) -> Judgement:
    """What becomes of a claim when its pod is scaled away: as the policy says, or something else."""
    policy = data.draw(st.sampled_from(["Retain", "Delete"]))
    wrong = {"Retain": ["deleted", "early"], "Delete": ["kept", "early"]}[policy]
    fate = data.draw(st.sampled_from(wrong)) if broken else {"Retain": "kept", "Delete": "deleted"}[policy]
    world = Rolling()
    world.more = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": policy}}
    world.deploy()
    world.replicas = 2
    world.statefulset()
    world.tick(data.draw(st.floats(0.1, 5)))
    if fate == "early":
        world.delete("PersistentVolumeClaim", "data-db-2", "c2")
        world.tick()
    world.remove(2)
    world.tick(data.draw(st.floats(0.1, 5)))
    if fate == "deleted":
        world.delete("PersistentVolumeClaim", "data-db-2", "c2")
    world.tick(40)
    return RetentionPolicy(NS, SET).check(world.trace())


def lease_belief(data: st.DataObject, broken: bool) -> Judgement:
    """A Lease goes from holder to holder; one of them may go on believing."""
    world, renewed_s = World(), 0.0
    holders = ["a", "b", "c", "d"][: data.draw(st.integers(2, 4))]
    stubborn = data.draw(st.integers(0, len(holders) - 2)) if broken else -1
    for number, holder in enumerate(holders):
        lease(world, holder, renewed_s)
        believes(world, holder, True)
        if 0 <= stubborn == number - 1:
            world.tick(data.draw(st.floats(0.1, 10)))
            believes(world, holders[stubborn], False)
        world.tick(data.draw(st.floats(1, 20)))
        if number not in (stubborn, len(holders) - 1):
            believes(world, holder, False)
        world.tick(data.draw(st.floats(0.1, 5)))
        renewed_s += data.draw(st.floats(16, 60))
    return LeaseBelief(NS, "leader").check(world.trace())


STORIES: dict[str, Story] = {
    **{rule: main_job(rule) for rule in dict.fromkeys(of for of, *_ in HARMS)},
    PdbRespected.rule: pdb_respected,
    EndpointsReady.rule: endpoints_ready,
    RollingUpdate.rule: rolling_update,
    ScaleDownHalts.rule: scale_down_halts,
    ParallelBurst.rule: parallel_burst,
    MinReadySeconds.rule: min_ready_seconds,
    RetentionPolicy.rule: retention_policy,
    LeaseBelief.rule: lease_belief,
}


def test_no_rule_is_without_a_generator() -> None:
    """Goal: a new invariant brings its generator with it."""
    assert {kind.rule for kind in INVARIANTS} == set(STORIES)


@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("broken", [False, True], ids=["correct", "broken"])
@pytest.mark.parametrize("rule", STORIES)
@given(data=st.data())
def test_correct_traces_pass_and_broken_ones_fail(rule: str, broken: bool, data: st.DataObject) -> None:
    """Goal: the verdict follows the harm, and its words quote the guarantee."""
    judgement = STORIES[rule](data, broken)
    assert judgement.verdict == (Verdict.FAIL if broken else Verdict.PASS), judgement
    assert judgement.rule == rule
    assert not broken or (f'"{judgement.claim}" is broken' in judgement.summary and judgement.witness)
