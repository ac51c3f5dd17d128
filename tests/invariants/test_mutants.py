"""Traces of real runs that PASS, with one thing injected at every place where it fits: each mutant must be found.

`testdata/traces/` holds what the observer recorded on an embedded cluster: `deploy-replace-scale` (a StatefulSet of
three deployed, pods deleted with and without grace, scaled to one) and `rolling-restart` (an update of three members).
STEADYSET_RUN=runs/ID takes every trace of that run instead, judged by the rules that it was judged by.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
from collections.abc import Callable, Iterator
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steadyset.invariants import (
    AtMostOnePerIdentity,
    EndpointsReady,
    Invariant,
    OrderedRecovery,
    PvcRetention,
    RetentionPolicy,
    RollingUpdate,
    RwoSingleNode,
    ScaleDownHalts,
    StableIdentity,
)
from steadyset.invariants.objects import labels, meta, ready, status, terminating
from steadyset.judge import Evidence, rules
from steadyset.rundir import RunDir, Scenario
from steadyset.trace import NODE_EVIDENCE, Record, Trace, load_trace
from steadyset.verdict import Verdict

FOLDER = Path(__file__).parent.parent / "testdata" / "traces"
RUNS = {"deploy-replace-scale": ("obsdev", "db"), "rolling-restart": ("steadyset-probe", "probe")}
GIVEN = os.environ.get("STEADYSET_RUN", "")
S = 1_000_000_000
Mutant = tuple[list[Record], str]  # the records, and a pattern that the witness must hold


def changed(record: Record, t: int = 0, **fields: Any) -> Record:
    """A copy at another time, with parts of its object replaced (`metadata__uid` for metadata.uid)."""
    new = copy(record)
    new.t = t or record.t
    obj = msgspec.json.decode(msgspec.json.encode(record.obj))
    for path, value in fields.items():
        *parents, last = path.split("__")
        at = obj
        for parent in parents:
            at = at[parent]
        at[last] = value
    new.raw = msgspec.Raw(msgspec.json.encode(obj))
    new.__dict__.pop("obj", None)
    return new


def swapped(records: list[Record], old: Record, *new: Record) -> list[Record]:
    """The records with `old` replaced by `new` (none: dropped)."""
    return [r for record in records for r in (new if record is old else (record,))]


class Run:
    """A recorded run."""

    def __init__(self, namespace: str, name: str, trace: Trace, rules: list[Invariant]) -> None:
        self.namespace, self.set, self.trace, self.rules = namespace, name, trace, rules
        self.records = trace.records

    @classmethod
    def recorded(cls, name: str, folder: Path) -> Run:
        """One of `testdata/traces/`, with every rule that it obeys."""
        who = RUNS[name]
        path = folder / f"{name}.jsonl"
        path.write_bytes(gzip.decompress((FOLDER / f"{name}.jsonl.gz").read_bytes()))
        return cls(*who, load_trace(path), [
            StableIdentity(*who), AtMostOnePerIdentity(*who), PvcRetention(*who, 3), OrderedRecovery(*who),
            RwoSingleNode(who[0], 3), EndpointsReady(who[0]), RollingUpdate(*who, 0),
            ScaleDownHalts(*who, 0, 0), RetentionPolicy(*who, 0),
        ])  # fmt: skip

    @classmethod
    def given(cls, run: RunDir, scenario: Scenario) -> Run:
        """A scenario of a run that is kept somewhere, with the invariants that were planned for it."""
        planned = [rules()[plan.rule](**plan.params) for plan in scenario.planned if not plan.history]
        who = next(rule for rule in planned if hasattr(rule, "statefulset"))
        return cls(who.namespace, who.statefulset, Evidence(run, scenario).trace(), planned)

    def pods(self) -> Iterator[tuple[Record, Record]]:
        """(first record, first record of the replacement) of every replaced pod."""
        for lives in (self.trace.lifetimes("Pod", name=f"{self.set}-{i}") for i in range(3)):
            for old, new in pairwise(lives):
                yield old.first, new.first

    def node(self, what: str, uid: str, *, main: bool = True) -> Record | None:
        """The pod's node event, of its container or of its mount."""
        for r in self.trace.node_events:
            if r.obj["what"] == what and r.obj["pod_uid"] == uid and not (main and r.obj.get("sandbox")):
                return r
        return None


def container_outlives_replacement(run: Run) -> Iterator[Mutant]:
    for old, new in run.pods():
        stop, start = run.node("container-stopped", old.uid), run.node("container-started", new.uid)
        if stop and start:
            yield (
                swapped(run.records, stop, changed(stop, start.t + S)),
                rf"{new.uid[:8]}.*{old.uid[:8]}.*1\.\d+ s|1\.000 s",
            )


def container_never_stops(run: Run) -> Iterator[Mutant]:
    for old, new in run.pods():
        stop = run.node("container-stopped", old.uid)
        if stop and run.node("container-started", new.uid):
            yield swapped(run.records, stop), rf"{old.uid[:8]}.*never stopped"


def mount_before_the_container_stops(run: Run) -> Iterator[Mutant]:
    for old, new in run.pods():
        stop, mount = run.node("container-stopped", old.uid), run.node("mounted", new.uid)
        if stop and mount:
            yield swapped(run.records, mount, changed(mount, stop.t - S // 10)), rf"{new.uid[:8]}.*mounts the volume"


def claim_deleted(run: Run) -> Iterator[Mutant]:
    for claim in run.trace.lifetimes("PersistentVolumeClaim", run.namespace):
        last = claim.records[-1]
        gone = changed(last, run.trace.end_ns - S)
        gone.e = "DELETED"
        yield [*run.records, gone], f"{claim.name}.*was deleted"


def volume_exchanged(run: Run) -> Iterator[Mutant]:
    bound = {r.obj["spec"].get("volumeName") for r in run.trace.of("PersistentVolumeClaim", run.namespace)}
    for volume in run.trace.lifetimes("PersistentVolume"):
        if volume.name in bound:
            other = changed(volume.records[-1], run.trace.end_ns - S, metadata__uid="other")
            other.e, other.uid = "ADDED", "other"
            yield [*run.records, other], f"{volume.name}.*another UID .*other now"


def claims_swapped(run: Run) -> Iterator[Mutant]:
    for _, new in run.pods():
        volumes = msgspec.json.decode(msgspec.json.encode(new.obj["spec"]["volumes"]))
        for volume in volumes:
            if "persistentVolumeClaim" in volume:
                volume["persistentVolumeClaim"]["claimName"] = f"data-{run.set}-7"
        mine = [r for r in run.records if r.uid == new.uid and r.obj]
        records = run.records
        for r in mine:
            records = swapped(records, r, changed(r, spec__volumes=volumes))
        yield records, f"{new.uid[:8]}.*data-{run.set}-7"


def hostname_changed(run: Run) -> Iterator[Mutant]:
    for _, new in run.pods():
        records = run.records
        for r in [r for r in run.records if r.uid == new.uid and r.obj]:
            records = swapped(records, r, changed(r, spec__hostname="imposter"))
        yield records, f"{new.uid[:8]}.*'imposter'"


def dns_name_changed(run: Run) -> Iterator[Mutant]:
    for r in run.trace.of("EndpointSlice", run.namespace):
        service = labels(r.obj).get("kubernetes.io/service-name")
        endpoints = msgspec.json.decode(msgspec.json.encode(r.obj.get("endpoints") or []))
        if service == run.set and endpoints and endpoints[0].get("hostname"):
            endpoints[0]["hostname"] = "imposter"
            yield swapped(run.records, r, changed(r, endpoints=endpoints)), "'imposter'"


def created_before_the_predecessor_was_ready(run: Run) -> Iterator[Mutant]:
    """Readiness of every earlier ordinal taken away before each creation."""
    for r in run.trace.of("Pod", run.namespace):
        number = int(r.name.rsplit("-", 1)[1])
        if r.e == "ADDED" and number:
            before = f"{run.set}-{number - 1}"
            records = run.records
            for other in [o for o in run.trace.of("Pod", run.namespace, before) if o.t < r.t and ready(o.obj)]:
                records = swapped(records, other, changed(other, status__conditions=[]))
            yield records, f"{r.uid[:8]}.*was created while {before}"


def scaled_down_from_below(run: Run) -> Iterator[Mutant]:
    gone = {r.name: r for r in run.trace.of("Pod", run.namespace) if r.e == "DELETED"}
    ends = [r for r in run.trace.of("Pod", run.namespace, f"{run.set}-1") if terminating(r.obj)]
    last = gone.get(f"{run.set}-2")
    replaced = {new.name for _, new in run.pods() if last and new.t > last.t}
    if last and f"{run.set}-2" not in replaced and ends and ends[-1].t > last.t:
        late = changed(last, run.trace.end_ns)
        yield swapped(run.records, last, late), f"{run.set}-1 .*while its successor {run.set}-2"


def mounted_on_a_second_node(run: Run) -> Iterator[Mutant]:
    nodes = sorted({r.name for r in run.trace.notes("listed") if r.k == NODE_EVIDENCE})
    for r in run.trace.node_events:
        if r.obj["what"] == "mounted" and r.obj["pod_uid"] and r.obj["volume"]:
            volume = r.obj["volume"]
            if not any(life.name == volume for life in run.trace.lifetimes("PersistentVolume")):
                continue
            claim = run.trace.lifetimes("PersistentVolume", name=volume)[0].last["spec"].get("claimRef") or {}
            if claim.get("namespace") == run.namespace:
                other = next(n for n in nodes if n != r.obj["node"])
                extra = changed(r, r.t + 1, node=other, path="/elsewhere")
                yield [*run.records, extra], f"{volume} was mounted on .*{other}"


def attached_to_a_second_node(run: Run) -> Iterator[Mutant]:
    nodes = sorted({r.name for r in run.trace.notes("listed") if r.k == NODE_EVIDENCE})
    ours = {r.name for r in run.trace.of("PersistentVolume") if r.obj["spec"]["claimRef"]["namespace"] == run.namespace}
    for r in run.trace.of("VolumeAttachment"):
        volume = r.obj["spec"]["source"]["persistentVolumeName"]
        if status(r.obj).get("attached") and volume in ours and not terminating(r.obj):
            other = next(n for n in nodes if n != r.obj["spec"]["nodeName"])
            extra = changed(r, r.t + 1, spec__nodeName=other)
            extra.e, extra.uid, extra.name = "ADDED", "extra", "extra"
            yield [*run.records, extra], f"{volume} was attached to .*{other}"


def detached_before_unmounted(run: Run) -> Iterator[Mutant]:
    if any(isinstance(rule, RwoSingleNode) and rule.detach_fault for rule in run.rules):
        return  # the fault of that run does just this
    for life in run.trace.lifetimes("VolumeAttachment"):
        begun = next((r for r in life.records if terminating(r.obj)), None)
        volume = life.first.obj["spec"]["source"]["persistentVolumeName"]
        mounts = [r for r in run.trace.node_events if r.obj["what"] == "unmounted" and r.obj["volume"] == volume]
        mounts = [r for r in mounts if begun and r.t < begun.t]
        if begun and mounts:
            yield swapped(run.records, begun, changed(begun, mounts[-1].t - 1)), f"{volume} was being detached"


def endpoints_stay(run: Run) -> Iterator[Mutant]:
    """The last slice that still holds a replaced pod stays for good."""
    for old, new in run.pods():
        slices = [r for r in run.trace.of("EndpointSlice", run.namespace) if r.t > old.t]
        stale = [r for r in slices if r.t > new.t]
        life = next(life for life in run.trace.lifetimes("Pod") if life.uid == new.uid)
        if stale and (life.end_ns or run.trace.end_ns) - new.t > 10 * S:
            drop = {id(r) for r in stale}
            yield [r for r in run.records if id(r) not in drop], f"kept pod {old.name}|lacked pod {old.name}"


def updated_while_the_successor_is_away(run: Run) -> Iterator[Mutant]:
    if run.set != "probe":
        return
    new = run.trace.lifetimes("Pod", name="probe-2")[-1]
    records = run.records
    for r in [r for r in new.records if ready(r.obj)]:
        records = swapped(records, r, changed(r, status__conditions=[]))
    yield records, r"probe-1 .*was updated while probe-2 was not available"


def updated_below_the_partition(run: Run) -> Iterator[Mutant]:
    if run.set != "probe":
        return
    records = run.records
    for r in run.trace.of("StatefulSet", run.namespace):
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        records = swapped(records, r, changed(r, spec__updateStrategy=strategy))
    yield records, r"probe-0 .*although the partition is 1"


MUTATIONS: list[tuple[Callable[[Run], Iterator[Mutant]], str, int]] = [
    (container_outlives_replacement, "at-most-one-per-identity", 7),
    (container_never_stops, "at-most-one-per-identity", 7),
    (mount_before_the_container_stops, "at-most-one-per-identity", 7),
    (claim_deleted, "pvc-retention", 6),
    (volume_exchanged, "pvc-retention", 6),
    (claims_swapped, "stable-identity", 7),
    (hostname_changed, "stable-identity", 7),
    (dns_name_changed, "stable-identity", 32),
    (created_before_the_predecessor_was_ready, "ordered-recovery", 6),
    (scaled_down_from_below, "ordered-recovery", 1),
    (mounted_on_a_second_node, "rwo-single-node", 13),
    (attached_to_a_second_node, "rwo-single-node", 9),
    (detached_before_unmounted, "rwo-single-node", 4),
    (endpoints_stay, "endpoints-ready", 5),
    (updated_while_the_successor_is_away, "rolling-update", 1),
    (updated_below_the_partition, "rolling-update", 1),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The recorded runs, loaded once."""
    if GIVEN:
        run = RunDir(Path(GIVEN))
        return {scenario.slug: Run.given(run, scenario) for scenario in run.scenarios()}
    folder = tmp_path_factory.mktemp("traces")
    return {name: Run.recorded(name, folder) for name in RUNS}


def test_the_recorded_runs_pass(runs: dict[str, Run]) -> None:
    """What the mutants are made from obeys every rule."""
    for run in runs.values():
        judged = [rule.check(run.trace) for rule in run.rules]
        assert [(j.rule, j.witness) for j in judged if j.verdict is not Verdict.PASS] == []


@pytest.mark.parametrize(("mutation", "rule", "number"), MUTATIONS, ids=[m[0].__name__ for m in MUTATIONS])
def test_every_mutant_is_found(
    runs: dict[str, Run], mutation: Callable[[Run], Iterator[Mutant]], rule: str, number: int
) -> None:
    """The rule FAILs with a witness that holds what was injected, at each of the `number` places where it fits."""
    mutants = 0
    for run in runs.values():
        judge = next((r for r in run.rules if r.rule == rule), None)
        if judge is None:
            continue
        for records, pattern in mutation(run):
            mutants += 1
            judgement = judge.check(Trace(records))
            assert judgement.verdict == Verdict.FAIL, (judgement, pattern)
            assert re.search(pattern, "\n".join(judgement.witness)), (judgement.witness, pattern)
    if not mutants and GIVEN:
        pytest.skip("the run gives no occasion for this harm")
    assert GIVEN or mutants == number
    harm = mutation.__name__.replace("_", " ")
    sys.stdout.write(f"\nmutants | {', '.join(runs)} | {rule} | {harm} | {mutants} of {mutants} found\n")


@pytest.mark.skipif(bool(GIVEN), reason="the number of replacements is that of the recorded runs")
def test_pods_of_the_runs_are_replaced(runs: dict[str, Run]) -> None:
    """Seven replacements to mutate."""
    assert {name: len(list(run.pods())) for name, run in runs.items()} == {
        "deploy-replace-scale": 4,
        "rolling-restart": 3,
    }
    assert all(meta(new.obj)["uid"] != meta(old.obj)["uid"] for run in runs.values() for old, new in run.pods())
