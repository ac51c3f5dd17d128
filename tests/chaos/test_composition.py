"""Several faults at once, and several runners on one cluster: each heals its own, together they keep to the caps."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from steadyset.chaos.blast import VARIABLE
from steadyset.chaos.cordon import our_cordons
from steadyset.chaos.fault import TTL_S, UNDO_SLACK_S
from steadyset.chaos.faults.pod_freeze import FAULT as POD_FREEZE
from steadyset.chaos.inside import pod_processes, stopped
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.schedule import Step, overlap, sequence
from steadyset.chaos.sweep import sweep
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError
from steadyset.fixtures.scenario import ChaosFixture, ScenarioRun
from steadyset.rundir import RunDir, Scenario
from steadyset.wait import wait_for

from .test_lease import Killed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
NEMESIS_DEADLINE_S = 90.0
MEMBERS = ["member-0", "member-1", "member-2"]


@pytest.fixture
def chaos(cluster: ClusterInfo, ready: str, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> ChaosFixture:
    """The fixture of the suites, on a scenario of its own, with the default caps."""
    monkeypatch.delenv(f"{VARIABLE}MAX_PODS")
    scenario = Scenario(slug="composed", title="", test_id="", namespace=ready)
    return ChaosFixture(ScenarioRun(run_dir, scenario, lambda line: None), cluster, seed=5)


def frozen(kube: Kube, namespace: str) -> list[str]:
    """Members with stopped processes."""
    found = []
    for name in MEMBERS:
        processes = [[p["pid"], p["start"]] for p in pod_processes(uid_of(kube.need_pod(namespace, name)))]
        if stopped(processes):
            found.append(name)
    return found


def test_a_nemesis_stays_within_the_caps_and_ends_with_the_body(
    cluster: ClusterInfo, kube: Kube, ready: str, chaos: ChaosFixture
) -> None:
    """Faster than one may be held: the rest is skipped; no two members are frozen at a time; all is in the scenario."""
    most = 0
    with chaos.nemesis([POD_FREEZE], MEMBERS, per_minute=40, hold_s=(4.0, 6.0)) as carried:
        end = time.monotonic() + NEMESIS_DEADLINE_S
        while (len(carried.spans) < 3 or not carried.skipped) and time.monotonic() < end:
            most = max(most, len(frozen(kube, ready)))
    assert most == 1
    assert len(carried.spans) >= 3 and carried.skipped, carried
    assert all("blast radius" in each.why for each in carried.skipped), carried.skipped
    assert all(span.healed_ns and span.error == "" for span in carried.spans)
    scenario = chaos.current.scenario
    assert scenario.faults == carried.spans
    assert scenario.metrics["nemesis"]["seed"] == 5 and scenario.metrics["nemesis"]["begun"] == len(carried.done)
    assert frozen(kube, ready) == [] and HostLedger(cluster).records() == []


def test_a_sequence_is_carried_out_to_its_end(chaos: ChaosFixture, cluster: ClusterInfo) -> None:
    """The body is empty: leaving it waits; one fault after the other, in order."""
    made = sequence(
        Step(fault="pod-freeze", target="member-0", hold_s=1),
        Step(fault="pod-kill", target="member-1", hold_s=0),
        gap_s=25,
    )
    with chaos.schedule(made) as carried:
        pass
    first, second = carried.spans
    assert (first.fault, second.fault) == ("pod-freeze", "pod-kill")
    assert first.healed_ns < second.inject_ns and second.healed_ns
    assert HostLedger(cluster).records() == []


def test_faults_overlap_when_they_are_told_to(chaos: ChaosFixture, cluster: ClusterInfo) -> None:
    """A node closed while a pod is frozen."""
    made = overlap(
        Step(fault="node-cordon", target="member-1", hold_s=40),
        Step(fault="pod-freeze", target="member-1", at_s=1, hold_s=2),
    )
    with chaos.schedule(made) as carried:
        pass
    cordon, freeze = carried.spans
    assert cordon.bitten_ns < freeze.inject_ns < freeze.healed_ns < cordon.heal_ns
    assert HostLedger(cluster).records() == []


def test_a_written_step_that_may_not_be_begun_makes_it_invalid(chaos: ChaosFixture, cluster: ClusterInfo) -> None:
    """Two members at a time would leave one of three: nothing pretends that the schedule was carried out."""
    made = overlap(
        Step(fault="pod-freeze", target="member-0", hold_s=40),
        Step(fault="pod-freeze", target="member-1", at_s=1, hold_s=2),
    )
    with pytest.raises(InvalidError, match=r"1 faults were not begun.*blast radius"), chaos.schedule(made) as carried:
        pass
    assert [span.target for span in carried.spans] == ["member-0"] and carried.spans[0].healed_ns
    assert HostLedger(cluster).records() == []


def test_two_runners_do_not_undo_each_others_faults(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir, tmp_path: Path
) -> None:
    """Both close one node. One is killed with its Chaos Toolkit: its watchdog and a sweep undo its cordon alone."""
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    here = Killed(cluster, run_dir, "node-cordon", "member-0", ready)
    [mine] = HostLedger(cluster).records()
    there = Killed(cluster, RunDir.create(tmp_path, {}, "other"), "pod-freeze", "member-0", ready)
    assert len(HostLedger(cluster).records()) == 2
    live = sweep(cluster)
    assert len(live.alive) == 2 and live.undone == [] and live.is_clean()
    here.kill(also_child=True)
    wait_for(
        lambda: not our_cordons(kube.node(node)),
        what="the killed runner's cordon is undone",
        deadline_name="TTL_S + UNDO_SLACK_S",
        deadline_s=TTL_S + UNDO_SLACK_S,
    )
    swept = sweep(cluster)
    assert [line.split()[0] for line in swept.alive] == [r.id for r in HostLedger(cluster).records()] != [mine.id]
    assert frozen(kube, ready) == ["member-0"]
    there.kill(also_child=False)  # its Chaos Toolkit heals at once
    wait_for(
        lambda: not frozen(kube, ready) and not HostLedger(cluster).records(),
        what="the other runner's fault is healed",
        deadline_name="TTL_S + UNDO_SLACK_S",
        deadline_s=TTL_S + UNDO_SLACK_S,
    )
    assert sweep(cluster).is_clean()
