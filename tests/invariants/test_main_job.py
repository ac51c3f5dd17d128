"""Each rule on correct worlds (never a false alarm) and on worlds broken in one named way (always found, and named)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import ENDS, NS, SET, S, World

from steadyset.invariants import (
    INVARIANTS,
    AtMostOnePerIdentity,
    OrderedRecovery,
    PvcRetention,
    RwoSingleNode,
    StableIdentity,
)
from steadyset.verdict import Judgement, Verdict

RULES: dict[str, Any] = {
    "stable-identity": StableIdentity(NS, SET, replacements_min=0),
    "at-most-one-per-identity": AtMostOnePerIdentity(NS, SET, replacements_min=0),
    "pvc-retention": PvcRetention(NS, SET, claims_min=1),
    "ordered-recovery": OrderedRecovery(NS, SET, creations_min=1),
    "rwo-single-node": RwoSingleNode(NS, volumes_min=1),
}


def judged(world: World, rule: str, **change: Any) -> Judgement:
    from dataclasses import replace

    return RULES[rule].__class__.check(replace(RULES[rule], **change), world.trace())


@st.composite
def correct(draw: st.DrawFn) -> World:
    """A deployment followed by replacements, moves and scalings, in the promised order."""
    world = World(replicas=draw(st.integers(1, 4)), nodes=draw(st.integers(2, 3)))
    world.deploy()
    for action in draw(st.lists(st.sampled_from(["replace", "move", "down", "up", "flap"]), max_size=6)):
        ordinal = draw(st.integers(0, world.replicas - 1))
        if action == "replace":
            world.replace(ordinal)
        elif action == "move":
            world.replace(ordinal, draw(st.sampled_from(world.nodes)))
        elif action == "down" and world.replicas > 1:
            world.scale(world.replicas - 1)
        elif action == "up":
            world.scale(world.replicas + 1)
        elif action == "flap":
            world.tick()
            world.update(ordinal, ready=False)
            world.tick(3)
            world.update(ordinal, ready=True)
    return world


@settings(max_examples=60, deadline=None)
@given(correct())
def test_correct_worlds_pass_every_rule(world: World) -> None:
    """No false alarm, whatever is replaced, moved, scaled or flaps."""
    trace = world.trace()
    assert [f"{j.rule}: {j.witness}" for r in RULES.values() if (j := r.check(trace)).verdict is not Verdict.PASS] == []


# -- one harm each: what breaks the world, and the words the witness must hold


def wrong_claim(w: World, i: int) -> None:
    w.remove(i)
    w.create(i, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-9"}}])


def wrong_hostname(w: World, i: int) -> None:
    w.remove(i)
    w.create(i, hostname="db-x")


def wrong_subdomain(w: World, i: int) -> None:
    w.remove(i)
    w.create(i, subdomain="other")


def wrong_index(w: World, i: int) -> None:
    w.remove(i)
    w.create(i)
    pod = w.pods[i]
    pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = "7"
    w.put("Pod", f"{SET}-{i}", w.uid(i), pod)


def wrong_dns(w: World, i: int) -> None:
    w.replace(i)
    endpoint = {"targetRef": {"uid": w.uid(i)}, "hostname": "db-z"}
    w.put(
        "EndpointSlice",
        "s",
        "s",
        {"metadata": {"labels": {"kubernetes.io/service-name": SET}}, "endpoints": [endpoint]},
    )


def old_still_runs(w: World, i: int) -> None:
    old = w.vanish(i)
    assert old in w.on
    w.create(i)
    w.start(i, w.nodes[0] if w.on[old] != w.nodes[0] else w.nodes[1])


def mounts_before_old_stops(w: World, i: int) -> None:
    old = w.vanish(i)
    w.create(i)
    w.node_event("mounted", w.uid(i), i, w.on[old])
    w.tick(0.5)
    w.halt(old, i)
    w.node_event("container-started", w.uid(i), i, w.nodes[0])


def two_mounts_on_two_nodes(w: World, i: int) -> None:
    old = w.uid(i)
    node = w.on[old]
    w.node_event("container-stopped", old, i, node)
    w.vanish(i)
    w.create(i)
    other = next(n for n in w.nodes if n != node)
    w.node_event("mounted", w.uid(i), i, other)
    w.tick(2)
    w.node_event("unmounted", old, i, node)


def graceful_but_still_mounted(w: World, i: int) -> None:
    w.update(i, ready=False, deletionTimestamp=ENDS, deletionGracePeriodSeconds=30)
    old = w.uid(i)
    w.node_event("container-stopped", old, i, w.on[old])
    w.vanish(i)
    w.create(i)
    w.node_event("mounted", w.uid(i), i, w.on[old])
    w.tick(0.3)
    w.node_event("unmounted", old, i, w.on[old])


def claim_deleted(w: World, i: int) -> None:
    w.delete("PersistentVolumeClaim", f"data-{SET}-{i}", f"c{i}")


def claim_terminating(w: World, i: int) -> None:
    obj = {**w.objects["PersistentVolumeClaim", f"c{i}"], "metadata": {"deletionTimestamp": ENDS}}
    w.put("PersistentVolumeClaim", f"data-{SET}-{i}", f"c{i}", obj)


def claim_exchanged(w: World, i: int) -> None:
    claim_deleted(w, i)
    w.put("PersistentVolumeClaim", f"data-{SET}-{i}", f"other{i}", {"spec": {"volumeName": f"pv-{i}"}})


def volume_released(w: World, i: int) -> None:
    w.put(
        "PersistentVolume",
        f"pv-{i}",
        f"v{i}",
        {**w.objects["PersistentVolume", f"v{i}"], "status": {"phase": "Released"}},
        ns="",
    )


def created_beside_unready(w: World, i: int) -> None:
    w.remove(i)
    if i:
        w.update(0, ready=False)
        w.tick(10)
        w.create(i)
    else:
        w.remove(w.replicas - 1)
        w.tick(10)
        w.create(w.replicas - 1)


def parallel(w: World, i: int) -> None:
    w.policy = "Parallel"
    w.statefulset()


def scaled_down_from_below(w: World, i: int) -> None:
    w.replicas = 1
    w.statefulset()
    w.tick()
    w.remove(1)
    w.remove(2)


def second_attachment(w: World, i: int) -> None:
    node = w.on[w.uid(i)]
    w.attach(i, next(n for n in w.nodes if n != node))


def mounted_elsewhere_too(w: World, i: int) -> None:
    node = next(n for n in w.nodes if n != w.on[w.uid(i)])
    w.node_event("mounted", "ffffffff-0000", i, node)
    w.tick()


def detached_while_mounted(w: World, i: int) -> None:
    w.detach(i, w.on[w.uid(i)])
    w.tick()


HARMS: list[tuple[str, Callable[[World, int], None], str]] = [
    ("stable-identity", wrong_claim, "claim 'data-db-9'"),
    ("stable-identity", wrong_hostname, "hostname 'db-x'"),
    ("stable-identity", wrong_subdomain, "subdomain 'other'"),
    ("stable-identity", wrong_index, "pod-index '7'"),
    ("stable-identity", wrong_dns, "'db-z'"),
    ("at-most-one-per-identity", old_still_runs, "never stopped"),
    ("at-most-one-per-identity", mounts_before_old_stops, "mounts the volume"),
    ("at-most-one-per-identity", two_mounts_on_two_nodes, "2.000 s"),
    ("at-most-one-per-identity", graceful_but_still_mounted, "0.300 s"),
    ("pvc-retention", claim_deleted, "was deleted"),
    ("pvc-retention", claim_terminating, "is being deleted"),
    ("pvc-retention", claim_exchanged, "another UID"),
    ("pvc-retention", volume_released, "is Released"),
    ("ordered-recovery", created_beside_unready, "was created while db-0"),
    ("ordered-recovery", parallel, "Parallel"),
    ("ordered-recovery", scaled_down_from_below, "while its successor db-2"),
    ("rwo-single-node", second_attachment, "was attached to"),
    ("rwo-single-node", mounted_elsewhere_too, "was mounted on"),
    ("rwo-single-node", detached_while_mounted, "was being detached"),
]


@settings(max_examples=8, deadline=None)
@pytest.mark.parametrize(("rule", "harm", "words"), HARMS, ids=[h[1].__name__ for h in HARMS])
@given(data=st.data())
def test_each_harm_is_found_and_named(
    rule: str, harm: Callable[[World, int], None], words: str, data: st.DataObject
) -> None:
    """After a random correct past, one harm: the rule FAILs, and the witness names it."""
    world = World(replicas=3)
    world.deploy()
    for ordinal in data.draw(st.lists(st.integers(0, 2), max_size=3)):
        world.replace(ordinal)
    world.tick()
    harm(world, data.draw(st.integers(0, 2)))
    world.tick()
    judgement = judged(world, rule)
    assert judgement.verdict == Verdict.FAIL, judgement
    assert words in "\n".join(judgement.witness)
    assert judgement.claim in judgement.summary


def test_parallel_creation_is_found_by_the_overlap_itself() -> None:
    """Parallel posing as ordered: besides the spec's own words, the creations are shown to overlap."""
    world = World(policy="Parallel")
    world.statefulset()
    for ordinal in range(3):
        world.create(ordinal)
    judgement = judged(world, "ordered-recovery")
    assert judgement.verdict == Verdict.FAIL
    assert len(judgement.witness) == 4  # the spec, db-1 beside db-0, and db-2 beside both
    assert any(
        "db-1" in line and "was created while db-0" in line and "not Ready" in line for line in judgement.witness
    )


def test_empty_dir_posing_as_the_volume_fails_retention() -> None:
    """No claim anywhere: the pods keep their data in an emptyDir."""
    world = World()
    world.volume_source = {"emptyDir": {}}
    world.deploy()
    judgement = judged(world, "pvc-retention", claims_min=3)
    assert judgement.verdict == Verdict.FAIL
    assert "db-0" in judgement.witness[0] and "volume data, an emptyDir" in judgement.witness[0]


def test_idle_mount_of_a_forced_deletion_is_counted_not_blamed() -> None:
    """Grace 0 promises no unmount: on one node and without a container to use it, it is reported, not a violation."""
    world = World()
    world.deploy()
    old = world.uid(1)
    node = world.on[old]
    world.update(1, deletionTimestamp=ENDS, deletionGracePeriodSeconds=0)
    world.node_event("container-stopped", old, 1, node)
    world.vanish(1)
    world.create(1)
    world.tick(0.1)
    world.node_event("mounted", world.uid(1), 1, node)
    world.tick(0.25)
    world.node_event("unmounted", old, 1, node)
    world.node_event("container-started", world.uid(1), 1, node)
    judgement = judged(world, "at-most-one-per-identity", replacements_min=1)
    assert judgement.verdict == Verdict.PASS, judgement
    assert judgement.observed["idle_mounts_of_forced_deletions"] == 1


def test_a_controller_that_reads_a_late_cache_is_no_violation() -> None:
    """The predecessor was Ready within the window before the create."""
    world = World()
    world.deploy()
    world.remove(2)
    world.update(0, ready=False)
    world.tick(1.5)
    world.create(2)
    assert judged(world, "ordered-recovery").verdict == Verdict.PASS
    assert judged(world, "ordered-recovery", lag_ms=1000).verdict == Verdict.FAIL


def test_two_watches_may_deliver_a_scale_down_in_another_order() -> None:
    """The StatefulSet's change comes after the deletion it caused: versions, not times, tell which was first."""
    world = World()
    world.deploy()
    world.replicas = 1
    world.statefulset()
    late = world.records[-1]
    world.tick()
    world.remove(1)
    late.t = world.now
    world.tick()
    world.remove(2)
    assert judged(world, "ordered-recovery").verdict == Verdict.FAIL


def test_declared_detach_fault_excuses_the_detach_only() -> None:
    """With the fault declared the early detach is no violation; a second node still is."""
    world = World()
    world.deploy()
    detached_while_mounted(world, 0)
    assert judged(world, "rwo-single-node", detach_fault=True).verdict == Verdict.PASS
    second_attachment(world, 1)
    assert judged(world, "rwo-single-node", detach_fault=True).verdict == Verdict.FAIL


# -- never a vacuous or blind pass


@pytest.mark.parametrize("rule", RULES)
def test_an_empty_trace_proves_nothing(rule: str) -> None:
    """Nothing seen is INVALID."""
    assert judged(World(), rule).verdict == Verdict.INVALID


@pytest.mark.parametrize("rule", RULES)
def test_a_trace_without_its_end_proves_nothing(rule: str) -> None:
    """An observer that died cannot have seen everything."""
    world = World()
    world.deploy()
    judgement = RULES[rule].check(world.trace(end=False))
    assert judgement.verdict == Verdict.INVALID
    assert "vouching" in judgement.summary


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("stable-identity", {"replacements_min": 2}),
        ("at-most-one-per-identity", {"replacements_min": 2}),
        ("pvc-retention", {"claims_min": 4}),
        ("ordered-recovery", {"creations_min": 5}),
        ("rwo-single-node", {"volumes_min": 4}),
    ],
)
def test_too_little_observed_is_invalid(rule: str, change: dict[str, int]) -> None:
    """One replacement of three ordinals does not reach these minima; one less of each passes."""
    world = World()
    world.deploy()
    world.replace(1)
    trace = world.trace()
    from dataclasses import replace

    assert replace(RULES[rule], **change).check(trace).verdict == Verdict.INVALID
    assert replace(RULES[rule], **{k: v - 1 for k, v in change.items()}).check(trace).verdict == Verdict.PASS


def test_without_node_evidence_at_most_one_cannot_be_decided() -> None:
    """API names cannot collide, so they prove nothing: INVALID with the reason; attachments alone can be judged."""
    world = World(evidence=False)
    world.deploy()
    world.replace(0)
    judgement = judged(world, "at-most-one-per-identity")
    assert judgement.verdict == Verdict.INVALID
    assert "no node-side evidence" in judgement.summary
    assert judged(world, "rwo-single-node").verdict == Verdict.INVALID
    assert judged(world, "rwo-single-node", mounts=False).verdict == Verdict.PASS


def test_a_node_that_is_not_watched_is_noticed() -> None:
    """A Ready pod without any container seen: some node is not observed."""
    world = World()
    world.deploy()
    world.evidence = False
    world.replace(0)
    judgement = judged(world, "at-most-one-per-identity")
    assert judgement.verdict == Verdict.INVALID
    assert "no node saw its containers" in judgement.summary


def cut(world: World, kind: str, **more: Any) -> None:
    world.tick()
    world.gap(kind, world.now - S, world.now, **more)
    world.tick()


@pytest.mark.parametrize(
    ("rule", "kind", "verdict"),
    [
        ("stable-identity", "Pod", Verdict.PASS),  # same UIDs before and after: no incarnation can hide in it
        ("pvc-retention", "PersistentVolumeClaim", Verdict.PASS),  # a kept UID was never deleted
        ("ordered-recovery", "Pod", Verdict.PASS),  # nobody was created in it
        ("ordered-recovery", "PersistentVolume", Verdict.PASS),  # another kind
        ("rwo-single-node", "VolumeAttachment", Verdict.INVALID),  # a second attachment may have come and gone
        ("at-most-one-per-identity", "NodeEvidence", Verdict.INVALID),
    ],
)
def test_a_gap_matters_only_where_it_could_hide_a_violation(rule: str, kind: str, verdict: Verdict) -> None:
    """A blind second in a quiet world."""
    world = World()
    world.deploy()
    cut(world, kind)
    assert verdict == judged(world, rule).verdict


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("stable-identity", "Pod"),
        ("pvc-retention", "PersistentVolumeClaim"),
        ("pvc-retention", "PersistentVolume"),
        ("ordered-recovery", "Pod"),
        ("rwo-single-node", "VolumeAttachment"),
        ("at-most-one-per-identity", "Pod"),
    ],
)
def test_a_gap_that_never_ended_is_never_a_pass(rule: str, kind: str) -> None:
    """What happened since is unknown."""
    world = World()
    world.deploy()
    cut(world, kind, open=True)
    assert judged(world, rule).verdict == Verdict.INVALID


@pytest.mark.parametrize("rule", ["stable-identity", "ordered-recovery"])
def test_a_replacement_inside_a_gap_is_undecided(rule: str) -> None:
    """The replacement was found by listing again: its order, and other incarnations, are unknown."""
    world = World()
    world.deploy()
    start = world.now
    world.tick()
    world.gap("Pod", start, world.now)
    world.vanish(1, inferred=True)
    world.uids = iter(["r"])  # type: ignore[assignment]
    pod = world.pods[1] = world.pod_object(1, "r")
    world.put("Pod", "db-1", "r", pod, inferred=True)
    judgement = judged(world, rule)
    assert judgement.verdict == Verdict.INVALID
    assert "was not seen for 1.000 s" in judgement.summary


def test_an_unobserved_kind_is_never_a_pass() -> None:
    """403 on PersistentVolumes: retention cannot be decided, and says why."""
    world = World()
    world.records = [r for r in world.records if r.k != "PersistentVolume"]
    world.note("not-observed", k="PersistentVolume", reason="403 Forbidden")
    world.deploy()
    judgement = judged(world, "pvc-retention")
    assert judgement.verdict == Verdict.INVALID
    assert "403 Forbidden" in judgement.summary


def test_rules_have_unique_names_and_claims() -> None:
    """The registry is a tuple of distinct rules."""
    names = [i.rule for i in INVARIANTS]
    assert len(names) == len(set(names))
    assert all(i.claim for i in INVARIANTS)


def test_a_forced_deletion_out_of_order_is_found_in_a_scale_down() -> None:
    """The pod goes at once, without a terminating state before: its order still counts."""
    world = World()
    world.deploy()
    world.replicas = 1
    world.statefulset()
    world.tick()
    world.vanish(1)
    world.tick()
    world.vanish(2)
    judgement = judged(world, "ordered-recovery")
    assert judgement.verdict == Verdict.FAIL
    assert "db-1" in judgement.witness[0] and "while its successor db-2" in judgement.witness[0]


def test_attachments_without_any_mount_prove_nothing() -> None:
    """Node evidence that shows no mount of an attached volume is missing something."""
    world = World()
    world.deploy()
    world.records = [r for r in world.records if r.obj.get("what") not in ("mounted", "unmounted")]
    judgement = judged(world, "rwo-single-node")
    assert judgement.verdict == Verdict.INVALID
    assert "0 mounts observed" in judgement.summary
