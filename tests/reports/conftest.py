"""Small made-up runs, written with the real writers' formats, so that reports can be tested without a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from steadyset.history import SCHEMA
from steadyset.rundir import FaultSpan, Planned, RunDir, Scenario
from steadyset.trace import TraceWriter

S = 1_000_000_000
T0 = 50_000_000 * S  # later than any machine has been up, so that a record written "now" shows
INVOKE, OK, FAIL, INFO = range(4)
NODES = ("n1", "n2", "n3")
NAMESPACE = "steadyset-postgresql"


def ns(seconds: float) -> int:
    """Monotonic nanoseconds of a moment of the made-up runs."""
    return T0 + round(seconds * S)


def write_history(path: Path, events: Iterable[dict[str, Any]], *, torn: bool = False) -> None:
    """Events with chosen times as the recorder's file; `torn` leaves out the end marker and cuts the last batch."""
    rows = sorted(events, key=lambda e: (e["time"], e["op"]))
    blank = {"value": None, "value2": None, "values": None, "server": "", "session": "", "error": "", "epoch": -1}
    rows = [{**blank, "key": "k", "process": 0, **row} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"generator": path.stem, "clock_uncertainty_ns": "0", "start_wall": "2026-01-01T00:00:00Z"}
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA.with_metadata(metadata)) as stream:
        columns = []
        for field in SCHEMA:
            values = [row[field.name] for row in rows]
            dictionary = pa.types.is_dictionary(field.type)
            column = pa.array(values, pa.string()).dictionary_encode() if dictionary else pa.array(values, field.type)
            columns.append(column)
        stream.write_batch(pa.record_batch(columns, schema=SCHEMA))
    if torn:
        path.write_bytes(path.read_bytes()[:-8])


def ops(
    until_s: float,
    *,
    outage: tuple[float, float],
    before: tuple[str, int],
    after: tuple[str, int],
    zombie_s: float = 0.0,
    lost: int = 0,
    seed: int = 1,
) -> list[dict[str, Any]]:
    """Appends through the Service and over direct sessions, an outage, and a new primary after it.

    With `zombie_s` the old primary goes on acknowledging over a direct session that long after the new one began.
    `lost` acknowledged values are missing from the final read.
    """
    random = np.random.default_rng(seed)
    requests: list[tuple[Any, ...]] = []  # when, how long, how it ended, session, server, epoch

    def add(*request: Any) -> None:
        requests.append(request)

    for at in np.arange(0.5, until_s, 0.02).tolist():
        took = float(random.gamma(2, 0.003)) + 0.002
        direct = len(requests) % 3 == 0
        session = f"direct:{before[0] if at < outage[0] else after[0]}" if direct else "service"
        if at < outage[0]:
            add(at, took, OK, session, *before)
        elif at < outage[1]:
            if random.random() < 0.4:
                add(at, took * 5, FAIL if random.random() < 0.6 else INFO, session, "", -1)
        else:
            settle = 1 + 4 * max(0.0, 1 - (at - outage[1]) / 3)
            add(at, took * settle, OK, session, *after)
    for at in np.arange(outage[1] + 0.1, outage[1] + zombie_s, 0.1).tolist():
        add(at, 0.01, OK, f"direct:{before[0]}", *before)
    events: list[dict[str, Any]] = []
    kept: list[int] = []
    op = 0
    for op, (at, took, how, session, server, epoch) in enumerate(sorted(requests)):
        common = {"op": op, "f": "add", "process": op % 8, "session": session, "value": op}
        events.append({**common, "type": INVOKE, "time": ns(at)})
        seen = {"server": server, "epoch": epoch} if how == OK else {"error": "connection refused"}
        events.append({**common, "type": how, "time": ns(at + took), **seen})
        if how == OK:
            kept.append(op)
    op += 1
    final = [value for value in kept if value not in kept[100 : 100 + lost]]
    common = {"op": op, "f": "read-all", "session": "final", "process": 99}
    events.append({**common, "type": INVOKE, "time": ns(until_s + 0.5)})
    events.append({**common, "type": OK, "time": ns(until_s + 0.6), "values": final, "server": after[0]})
    return events


def pod(name: str, uid: str, node: str, phase: str, *, ready: bool = False, ip: str = "", gone: bool = False) -> Any:
    """A Pod object with what reports read of it."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": uid}
    return {
        "metadata": {**metadata, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if gone else {})},
        "spec": {
            "nodeName": node,
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}],
        },
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"containerID": f"containerd://{uid}"}] if phase == "Running" else [],
        },
    }


def endpoints(*pods: str) -> Any:
    """An EndpointSlice of the primary's Service."""
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": "pg-primary"}},
        "endpoints": [{"targetRef": {"kind": "Pod", "name": name}, "conditions": {"ready": True}} for name in pods],
    }


def write_trace(path: Path, *, kill_s: float, switch_s: float, until_s: float, gap: bool = False) -> None:
    """pg-0 is killed, comes back on another node with its volume; the Service goes to pg-1."""
    writer = TraceWriter(path)

    def seen(at: float, *what: Any) -> None:
        e, k, name, uid, obj, *elsewhere = what
        namespace = elsewhere[0] if elsewhere else NAMESPACE
        writer.write(e, k=k, ns=namespace, name=name, uid=uid, obj=obj, t=ns(at), w=0)

    for i, node in enumerate(NODES):
        name = f"pg-{i}"
        claim, volume = f"data-{name}", f"pv-{i}"
        seen(0, "SYNC", "Node", node, node, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "")
        seen(0, "SYNC", "Pod", name, f"uid-{i}a", pod(name, f"uid-{i}a", node, "Running", ready=True, ip=f"10.0.0.{i}"))
        seen(0, "SYNC", "PersistentVolumeClaim", claim, f"claim-{i}", {"spec": {"volumeName": volume}})
        spec = {"claimRef": {"namespace": NAMESPACE, "name": claim}}
        seen(0, "SYNC", "PersistentVolume", volume, f"volume-{i}", {"spec": spec}, "")
        attachment = {"spec": {"nodeName": node, "source": {"persistentVolumeName": volume}}}
        status = {"status": {"attached": True}}
        seen(0, "SYNC", "VolumeAttachment", f"va-{i}", f"va-{i}", {**attachment, **status}, "")
        started = {"what": "container-started", "node": node, "pod_uid": f"uid-{i}a", "container": "postgresql"}
        writer.write("NODE", t=ns(-30), w=0, obj={**started, "container_id": f"c{i}"})
        mounted = {"what": "mounted", "node": node, "pod_uid": f"uid-{i}a", "volume": volume, "path": f"/v/{i}"}
        writer.write("NODE", t=ns(-31), w=0, obj=mounted)
    for kind in ("Pod", "Node", "PersistentVolumeClaim", "PersistentVolume", "VolumeAttachment", "EndpointSlice"):
        writer.write("NOTE", k=kind, t=ns(0.01), w=0, obj={"what": "listed"})
    seen(0, "SYNC", "EndpointSlice", "pg-primary-x", "slice", endpoints("pg-0"))
    old, new = "uid-0a", "uid-0b"
    k = kill_s
    seen(k + 0.1, "MODIFIED", "Pod", "pg-0", old, pod("pg-0", old, "n1", "Running", ip="10.0.0.0", gone=True))
    stopped = {"what": "container-stopped", "node": "n1", "pod_uid": old, "container": "postgresql"}
    writer.write("NODE", t=ns(k + 0.4), w=0, obj={**stopped, "container_id": "c0"})
    unmounted = {"what": "unmounted", "node": "n1", "pod_uid": old, "volume": "pv-0", "path": "/v/0"}
    writer.write("NODE", t=ns(k + 0.9), w=0, obj=unmounted)
    seen(k + 1.0, "DELETED", "Pod", "pg-0", old, pod("pg-0", old, "n1", "Failed", gone=True))
    seen(k + 1.2, "ADDED", "Pod", "pg-0", new, pod("pg-0", new, "", "Pending"))
    seen(k + 1.5, "MODIFIED", "Pod", "pg-0", new, pod("pg-0", new, "n3", "Pending"))
    seen(k + 1.6, "DELETED", "VolumeAttachment", "va-0", "va-0", {}, "")
    attachment = {"spec": {"nodeName": "n3", "source": {"persistentVolumeName": "pv-0"}}}
    seen(k + 1.8, "ADDED", "VolumeAttachment", "va-0b", "va-0b", attachment, "")
    seen(k + 3.0, "MODIFIED", "VolumeAttachment", "va-0b", "va-0b", {**attachment, "status": {"attached": True}}, "")
    mounted = {"what": "mounted", "node": "n3", "pod_uid": new, "volume": "pv-0", "path": "/v/0"}
    writer.write("NODE", t=ns(k + 3.6), w=0, obj=mounted)
    started = {"what": "container-started", "node": "n3", "pod_uid": new, "container": "postgresql"}
    writer.write("NODE", t=ns(k + 4.2), w=0, obj={**started, "container_id": "c0b"})
    seen(k + 4.4, "MODIFIED", "Pod", "pg-0", new, pod("pg-0", new, "n3", "Running", ip="10.0.2.9"))
    seen(switch_s, "MODIFIED", "EndpointSlice", "pg-primary-x", "slice", endpoints("pg-1"))
    if gap:
        unseen = {"from_ns": ns(k + 4.6), "until_ns": ns(k + 6.2), "reason": "410 Gone: listed again"}
        writer.write("GAP", k="Pod", t=ns(k + 6.2), w=0, obj=unseen)
    seen(k + 7.0, "MODIFIED", "Pod", "pg-0", new, pod("pg-0", new, "n3", "Running", ready=True, ip="10.0.2.9"))
    writer.write("NOTE", t=ns(until_s), w=0, obj={"what": "end"})
    writer.close()


def scenario(run: RunDir, slug: str, title: str, **fields: Any) -> Scenario:
    """A finished scenario with one history and one trace, saved in the run."""
    defaults: dict[str, Any] = {
        "test_id": f"suites/failover/test_failover.py::test_{slug.replace('-', '_')}",
        "goal": "no acknowledged write is lost when the primary fails.",
        "suite": "failover",
        "stack": "postgresql",
        "variant": "sync",
        "namespace": NAMESPACE,
        "statefulsets": ["pg"],
        "start_ns": ns(0),
        "end_ns": ns(40),
        "wall_start": "2026-01-01T12:00:00Z",
        "trace": f"trace/{slug}.jsonl",
        "histories": [f"history/{slug}/load"],
        "outcome": "passed",
        "planned": [
            Planned(rule="set-durability", params={"acknowledged_min": 10}, history=f"history/{slug}/load"),
            Planned(rule="split-brain", history=f"history/{slug}/load"),
        ],
    }
    made = Scenario(slug=slug, title=title, **{**defaults, **fields})
    run.save(made)
    return made


def fault(name: str, target: str, inject_s: float, heal_s: float, **fields: Any) -> FaultSpan:
    """A fault that bit 0.3 s after its injection and was healed 0.4 s after the heal was asked for."""
    times: dict[str, Any] = {
        "inject_ns": ns(inject_s),
        "bitten_ns": ns(inject_s + 0.3),
        "heal_ns": ns(heal_s),
        "healed_ns": ns(heal_s + 0.4),
        "bite": ["container postgresql of pg-0 is gone: containerd://uid-0a"],
        "healing": ["pg-0 runs again: containerd://uid-0b"],
        "journal": f"journals/x-{name}.json",
    }
    return FaultSpan(fault=name, target=target, **{**times, **fields})


RUN_PARAMS: dict[str, Any] = {
    "seed": 4711,
    "stack": "postgresql",
    "variant": "",
    "started": "2026-01-01T12:00:00Z",
    "command": ["steadyset", "nightly", "--stack", "postgresql"],
    "versions": {"steadyset": "0.1.0", "python": "3.11.2", "locust": "2.32.0"},
    "host": {"kernel": "6.18", "machine": "x86_64", "cpus": 2},
    "cluster": {
        "name": "default",
        "provider": "embedded",
        "uid": "2b1f6c1e-8a1f-4a57-a8f2-b6f0a6e0f001",
        "version": "v1.35.4",
        "profile": "fast",
        "capabilities": ["node-exec", "node-evidence", "volume-attach", "client-namespace"],
        "storage_class": "san",
        "nodes": list(NODES),
        "differs": {"kube-controller-manager --node-monitor-grace-period": "8s (upstream: 50s)"},
    },
}


def kill_scenario(run: RunDir, slug: str, title: str, *, gap: bool = False, **fields: Any) -> Scenario:
    """The primary pg-0 is killed at 10 s; pg-1 acknowledges from 14.2 s on, its Service follows at 15 s."""
    made = scenario(run, slug, title, **{"faults": [fault("pod-kill", "pod/pg-0", 10, 17)], **fields})
    events = ops(39, outage=(10.1, 14.2), before=("pg-0", 3), after=("pg-1", 4), **_load.get(slug, {}))
    write_history(run.path / f"history/{slug}/load/locust-1.arrows", events)
    write_trace(run.path / f"trace/{slug}.jsonl", kill_s=10, switch_s=15, until_s=40, gap=gap)
    return made


_load: dict[str, dict[str, Any]] = {
    "partition-async": {"lost": 7},
    "paused-promote": {"zombie_s": 6.0},
    "lossy": {"lost": 3},
}


def make_run(base: Path, *, good_only: bool = False) -> RunDir:
    """A run with one good scenario, and unless `good_only` one of everything that can come out."""
    run = RunDir.create(base, RUN_PARAMS, run_id="20260101-120000-made")
    kill_scenario(run, "kill-primary", "acknowledged writes survive failover[pod-kill]", gap=True)
    if good_only:
        return run
    control = {"expected": "FAIL:set-durability", "variant": "async", "start_ns": ns(0) + 1}
    kill_scenario(run, "partition-async", "control: asynchronous replication loses writes", **control)
    control = {"expected": "FAIL:split-brain", "variant": "paused-promote", "start_ns": ns(0) + 2}
    kill_scenario(run, "paused-promote", "control: promotion while paused", **control)
    kill_scenario(run, "lossy", "acknowledged writes survive a drain", outcome="failed", start_ns=ns(0) + 3)
    bite = {"error": "the partition is aimed at nothing: 0 packets dropped", "bitten_ns": 0, "bite": []}
    nothing = [fault("partition", "pod/nobody", 10, 12, **bite)]
    kill_scenario(run, "aimed-at-nothing", "partition", faults=nothing, outcome="failed", start_ns=ns(0) + 4)
    skipped = {"outcome": "skipped", "reason": "fault node-off needs node-power", "start_ns": ns(0) + 5}
    scenario(run, "node-off", "power off", planned=[], histories=[], trace="", **skipped)
    return run


@pytest.fixture
def made_run(tmp_path: Path) -> RunDir:
    """One of everything that can come out of a run."""
    return make_run(tmp_path)


@pytest.fixture
def good_run(tmp_path: Path) -> RunDir:
    """One scenario in which all is well."""
    return make_run(tmp_path, good_only=True)
