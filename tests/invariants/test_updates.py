"""Rolling updates, scaling, retention policy and Leases: correct stories pass, each broken one is found and named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import NS, SET, World

from steadyset.invariants import (
    LeaseBelief,
    MinReadySeconds,
    ParallelBurst,
    RetentionPolicy,
    RollingUpdate,
    ScaleDownHalts,
)
from steadyset.verdict import Verdict


class Rolling(World):
    """A world with revisions, the controller's events, and an update controller that keeps its promises."""

    def __init__(self, *, strategy: dict[str, Any] | None = None, min_ready_s: int = 0, **more: Any) -> None:
        super().__init__(**more)
        self.strategy, self.min_ready_s = strategy or {"type": "RollingUpdate"}, min_ready_s
        self.revision, self.wanted = "r1", "r1"
        self.of: dict[int, str] = {}
        self.more: dict[str, Any] = {}

    def statefulset(self, **spec: Any) -> None:
        spec = {"updateStrategy": self.strategy, "minReadySeconds": self.min_ready_s, **self.more, **spec}
        super().statefulset(**spec)
        obj = self.objects["StatefulSet", "sts"]
        obj["status"] = {"currentRevision": self.revision, "updateRevision": self.wanted}
        self.put("StatefulSet", SET, "sts", obj)

    def pod_object(self, ordinal: int, uid: str, **over: Any) -> dict[str, Any]:
        pod = super().pod_object(ordinal, uid, **over)
        pod["metadata"]["labels"]["controller-revision-hash"] = self.of.get(ordinal, self.revision)
        return pod

    def stamp_ready(self, ordinal: int) -> None:
        """The kubelet's own time of the pod's Ready condition."""
        pod = self.pods[ordinal]
        pod["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self.put("Pod", f"{SET}-{ordinal}", self.uid(ordinal), pod)

    def deleted_by_controller(self, ordinal: int) -> None:
        name = f"{SET}-{ordinal}"
        about = {"kind": "StatefulSet", "name": SET}
        event = {"reason": "SuccessfulDelete", "message": f"delete Pod {name} in StatefulSet {SET} successful"}
        uid = f"e{next(self.uids)}"
        self.put("Event", uid, uid, {"involvedObject": about, **event})

    def update_pod(self, ordinal: int, *, revision: str = "r2") -> None:
        """One step of the update, by the controller."""
        self.of[ordinal] = revision
        self.tick(0.1)
        self.remove(ordinal)
        self.deleted_by_controller(ordinal)
        self.create(ordinal)
        self.start(ordinal, "node-1")
        self.tick(self.min_ready_s + 0.5)

    def begin(self) -> None:
        self.wanted = "r2"
        self.tick()
        self.statefulset()

    def scale(self, replicas: int) -> None:
        super().scale(replicas)


@settings(max_examples=40, deadline=None)
@given(replicas=st.integers(1, 5), partition=st.integers(0, 5), min_ready_s=st.sampled_from([0, 10]), data=st.data())
def test_correct_updates_pass(replicas: int, partition: int, min_ready_s: int, data: st.DataObject) -> None:
    """From the top down to the partition, with pods of both sides killed by others meanwhile."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    world = Rolling(replicas=replicas, strategy=strategy, min_ready_s=min_ready_s)
    world.deploy()
    world.tick(min_ready_s + 5)
    world.begin()
    for ordinal in range(replicas - 1, partition - 1, -1):
        world.update_pod(ordinal)
        victim = data.draw(st.integers(-1, replicas - 1))
        if victim >= 0:
            world.replace(victim)
            world.tick(min_ready_s + 5)
    judgement = RollingUpdate(NS, SET, updates_min=max(0, replicas - partition)).check(world.trace())
    assert judgement.verdict == Verdict.PASS, judgement


def wrong_order(w: Rolling) -> None:
    w.update_pod(0)


def beside_unready(w: Rolling) -> None:
    w.update_pod(2)
    w.update(2, ready=False)
    w.tick(5)
    w.update_pod(1)


def too_early(w: Rolling) -> None:
    w.update_pod(2)
    w.now -= 8_000_000_000  # 2 s after Ready instead of 10
    w.update_pod(1)


def below_partition(w: Rolling) -> None:
    w.strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    w.statefulset()
    w.update_pod(2)


def upgraded_by_a_restart(w: Rolling) -> None:
    w.strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    w.statefulset()
    w.of[0] = "r2"
    w.replace(0)


def under_on_delete(w: Rolling) -> None:
    w.strategy = {"type": "OnDelete"}
    w.statefulset()
    w.update_pod(2)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (wrong_order, "db-0 (.*) was updated while its successor db-1 still had revision r1"),
        (beside_unready, "db-1 .* was updated while db-2 was not available: maxUnavailable is 1"),
        (too_early, "Ready for .* s of 10 s"),
        (below_partition, "db-2 .* although the partition is 3"),
        (upgraded_by_a_restart, "db-0 .* below partition 3, was created at revision r2"),
        (under_on_delete, "although the strategy is OnDelete"),
    ],
)
def test_each_broken_update_is_found(harm: Any, words: str) -> None:
    """One harm in an update of three pods."""
    import re

    world = Rolling(min_ready_s=10)
    world.deploy()
    world.tick(60)
    world.begin()
    harm(world)
    judgement = RollingUpdate(NS, SET).check(world.trace())
    assert judgement.verdict == Verdict.FAIL
    assert re.search(words, "\n".join(judgement.witness)), judgement.witness


def test_max_unavailable_allows_as_many() -> None:
    """Two at once pass under 2 and under 50 % of three, and break 1."""
    for limit, verdict in ((2, Verdict.PASS), ("50%", Verdict.PASS), (1, Verdict.FAIL)):
        world = Rolling(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit}})
        world.deploy()
        world.tick(10)
        world.begin()
        for ordinal in (2, 1):
            world.of[ordinal] = "r2"
            world.remove(ordinal)
            world.deleted_by_controller(ordinal)
            world.tick(3)
        for ordinal in (1, 2):
            world.create(ordinal)
            world.start(ordinal, "node-1")
        assert RollingUpdate(NS, SET).check(world.trace()).verdict == verdict, limit


def test_without_events_an_update_cannot_be_judged() -> None:
    """Nobody knows who deleted the pods."""
    world = Rolling()
    world.records = [r for r in world.records if r.k != "Event"]
    world.deploy()
    world.begin()
    world.update_pod(2)
    assert RollingUpdate(NS, SET).check(world.trace()).verdict == Verdict.INVALID


def test_a_scale_down_waits_for_an_unready_predecessor() -> None:
    """Halt counted; going on regardless is found; without a halt nothing was shown."""
    for wait_s, verdict in ((0, Verdict.FAIL), (20, Verdict.PASS)):
        world = Rolling()
        world.deploy()
        world.update(0, ready=False)
        world.tick(10)
        world.replicas = 2
        world.statefulset()
        world.tick(5)
        world.update(1, ready=True)
        world.tick(wait_s)
        if wait_s:
            world.update(0, ready=True)
        world.remove(2)
        judgement = ScaleDownHalts(NS, SET).check(world.trace())
        assert judgement.verdict == verdict, judgement
        assert judgement.observed == {"deletions": 1, "halts": 1}
    calm = Rolling()
    calm.deploy()
    calm.scale(1)
    assert ScaleDownHalts(NS, SET).check(calm.trace()).verdict == Verdict.INVALID
    assert ScaleDownHalts(NS, SET, halts_min=0).check(calm.trace()).verdict == Verdict.PASS


def test_parallel_creates_in_one_burst() -> None:
    """All at once passes; one that waits for the others is found; OrderedReady is not Parallel."""
    for delay_s, policy, verdict in ((0, "Parallel", "PASS"), (6, "Parallel", "FAIL"), (0, "OrderedReady", "FAIL")):
        world = World(policy=policy)
        world.statefulset()
        world.create(0)
        world.create(1)
        world.tick(delay_s)
        world.create(2)
        world.tick(10)
        assert ParallelBurst(NS, SET).check(world.trace()).verdict == verdict, (delay_s, policy)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 30))
def test_min_ready_seconds_is_waited_for(waited_s: float) -> None:
    """A successor created before its predecessor was Ready for ten seconds is found, to the condition's resolution."""
    world = Rolling(min_ready_s=10)
    world.statefulset()
    world.create(0)
    world.start(0, "node-1")
    world.tick(waited_s)
    world.create(1)
    verdict = MinReadySeconds(NS, SET).check(world.trace()).verdict
    assert verdict == (Verdict.PASS if waited_s >= 9 else Verdict.FAIL)


@pytest.mark.parametrize("stamped_s", [5, 10])
def test_min_ready_seconds_go_by_the_stamps_of_a_late_kubelet(stamped_s: int) -> None:
    """A kubelet that told of a Ready pod two seconds late: by its stamps the successor came in time, or too early."""
    world = Rolling(min_ready_s=10)
    world.statefulset()
    world.create(0)
    world.start(0, "node-1")
    world.stamp_ready(0)
    world.tick(8)
    successor = world.pod_object(1, "s")
    successor["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{stamped_s:02}Z"
    world.put("Pod", f"{SET}-1", "s", successor)
    verdict = MinReadySeconds(NS, SET).check(world.trace()).verdict
    assert verdict == (Verdict.PASS if stamped_s >= 9 else Verdict.FAIL)


@pytest.mark.parametrize("stamped_s", [5, 10])
def test_an_update_goes_by_the_stamps_of_a_late_kubelet(stamped_s: int) -> None:
    """The same of an update's next deletion, whose stamp is the end of its grace."""
    world = Rolling(min_ready_s=10)
    world.deploy()
    world.tick(60)
    world.begin()
    world.min_ready_s = 8  # the next step comes that early after the kubelet told
    world.update_pod(2)
    world.stamp_ready(2)
    ends = f"2026-01-01T00:00:{stamped_s + 30}Z"
    world.update(1, deletionTimestamp=ends, deletionGracePeriodSeconds=30)
    world.deleted_by_controller(1)
    verdict = RollingUpdate(NS, SET).check(world.trace()).verdict
    assert verdict == (Verdict.PASS if stamped_s >= 9 else Verdict.FAIL)


def test_min_ready_seconds_needs_the_field() -> None:
    """A set without it proves nothing."""
    world = Rolling()
    world.deploy()
    judgement = MinReadySeconds(NS, SET, 0).check(world.trace())
    assert judgement.verdict == Verdict.INVALID
    assert "no minReadySeconds" in judgement.summary


@pytest.mark.parametrize(
    ("policy", "claim", "verdict", "words"),
    [
        ("Retain", "kept", Verdict.PASS, ""),
        ("Retain", "deleted", Verdict.FAIL, "although whenScaled is Retain"),
        ("Delete", "deleted", Verdict.PASS, ""),
        ("Delete", "kept", Verdict.FAIL, "is still there"),
        ("Delete", "early", Verdict.FAIL, "before its pod was gone"),
    ],
)
def test_retention_policy_when_scaled(policy: str, claim: str, verdict: Verdict, words: str) -> None:
    """The claim of db-2 after scaling from three to two."""
    world = Rolling()
    world.more = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": policy}}
    world.deploy()
    world.replicas = 2
    world.statefulset()
    world.tick()
    if claim == "early":
        world.delete("PersistentVolumeClaim", "data-db-2", "c2")
    world.tick()
    world.remove(2)
    world.tick()
    if claim == "deleted":
        world.delete("PersistentVolumeClaim", "data-db-2", "c2")
    world.tick(40)
    judgement = RetentionPolicy(NS, SET).check(world.trace())
    assert judgement.verdict == verdict, judgement
    assert words in "".join(judgement.witness)


def lease(world: World, holder: str, renewed_s: float) -> None:
    when = datetime.fromtimestamp(1_700_000_000 + renewed_s, UTC).isoformat()
    spec = {"holderIdentity": holder, "renewTime": when, "leaseDurationSeconds": 15}
    world.put("Lease", "leader", "lease", {"spec": spec})


def believes(world: World, holder: str, holds: bool) -> None:
    world.note("lease-belief", lease="leader", holder=holder, believes=holds)


@pytest.mark.parametrize(
    ("takeover_s", "overlap_s", "verdict", "words"),
    [
        (16, 0, Verdict.PASS, ""),
        (16, 4, Verdict.FAIL, "a and b both believed"),
        (5, 0, Verdict.FAIL, "b took Lease leader from a 5.000 s after"),
    ],
)
def test_lease_holders_never_believe_together(
    takeover_s: float, overlap_s: float, verdict: Verdict, words: str
) -> None:
    """A frozen holder that wakes up and still believes; a takeover before the lease ran out."""
    world = World()
    lease(world, "a", 0)
    believes(world, "a", True)
    world.tick(10)
    if not overlap_s:
        believes(world, "a", False)
    lease(world, "b", takeover_s)
    believes(world, "b", True)
    world.tick(4)
    if overlap_s:
        believes(world, "a", False)
    judgement = LeaseBelief(NS, "leader").check(world.trace())
    assert judgement.verdict == verdict, judgement
    assert words in "\n".join(judgement.witness)
    assert judgement.data["overlap_s"] == pytest.approx(overlap_s)


def test_a_lease_without_its_holders_words_proves_nothing() -> None:
    """The object alone cannot show what a holder believes."""
    world = World()
    lease(world, "a", 0)
    lease(world, "b", 20)
    judgement = LeaseBelief(NS, "leader").check(world.trace())
    assert judgement.verdict == Verdict.INVALID
    assert "no holder said what it believes" in judgement.summary


@pytest.mark.parametrize(
    "rule",
    [
        RollingUpdate(NS, SET),
        ScaleDownHalts(NS, SET),
        ParallelBurst(NS, SET, pods_min=4),
        MinReadySeconds(NS, SET, creations_min=3),
        RetentionPolicy(NS, SET),
        LeaseBelief(NS, "leader"),
    ],
    ids=lambda rule: rule.rule,
)
def test_too_little_observed_is_invalid(rule: Any) -> None:
    """A plain deployment of three: no update, no halt, no fourth pod, no third successor, nothing scaled, no Lease."""
    world = Rolling(min_ready_s=10, policy="Parallel" if isinstance(rule, ParallelBurst) else "OrderedReady")
    world.statefulset()
    for ordinal in range(3):
        world.create(ordinal)
        world.start(ordinal, "node-1")
        if not isinstance(rule, ParallelBurst):
            world.tick(11)
    judgement = rule.check(world.trace())
    assert judgement.verdict == Verdict.INVALID
    assert "observed, at least" in judgement.summary


@pytest.mark.parametrize(
    "rule",
    [
        RollingUpdate(NS, SET, 0),
        ScaleDownHalts(NS, SET, 0, 0),
        MinReadySeconds(NS, SET, 0),
        ParallelBurst(NS, SET, 0),
        RetentionPolicy(NS, SET, 0),
        LeaseBelief(NS, "leader", 0),
    ],
    ids=lambda rule: rule.rule,
)
def test_an_open_gap_or_a_missing_end_is_never_a_pass(rule: Any) -> None:
    """Minima of zero do not excuse blindness."""
    blind = Rolling(min_ready_s=1)
    blind.deploy()
    for kind in ("Pod", "PersistentVolumeClaim", "StatefulSet", "Lease", "Event"):
        blind.gap(kind, blind.now - 1, blind.now, open=True)
    assert rule.check(blind.trace()).verdict != Verdict.PASS
    cut = Rolling(min_ready_s=1)
    cut.deploy()
    assert rule.check(cut.trace(end=False)).verdict != Verdict.PASS


def test_a_kill_shortly_before_the_update_is_not_the_controllers() -> None:
    """Somebody deletes db-0 out of turn; the controller updates it 4 s later: its event means the later deletion."""
    world = Rolling()
    world.deploy()
    world.tick(20)
    world.begin()
    world.update_pod(2)
    world.replace(0)
    world.tick(0.5)
    world.update_pod(1)
    world.update_pod(0)
    judgement = RollingUpdate(NS, SET, 3).check(world.trace())
    assert judgement.verdict == Verdict.PASS, judgement
    assert judgement.observed["controller_deletions"] == 3
