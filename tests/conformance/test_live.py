"""The live trace: what tests wait on, and what each one's own trace is cut from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steadyset.errors import InstrumentError
from steadyset.fixtures.clusters.embedded.processes import alive
from steadyset.fixtures.conformance.live import Live
from steadyset.trace import TraceWriter, load_trace


def well() -> None:
    """The observer is well."""


@pytest.fixture
def writer(tmp_path: Path) -> TraceWriter:
    made = TraceWriter(tmp_path / "all.jsonl")
    made.note("begin", namespace="")
    made.note("listed", k="Pod")
    return made


def pod(writer: TraceWriter, event: str, ns: str, name: str, uid: str, **status: Any) -> None:
    writer.write(event, k="Pod", ns=ns, name=name, uid=uid, obj={"metadata": {"name": name, "uid": uid}, **status})


def test_a_view_shows_the_latest_state_and_every_state(writer: TraceWriter) -> None:
    live = Live(writer.path, well)
    pod(writer, "ADDED", "mine", "web-0", "before")
    view = live.open("mine")
    assert view.all("Pod") == {}, "what happened before the view was opened is not the test's"
    pod(writer, "ADDED", "mine", "web-0", "1", status={"phase": "Pending"})
    pod(writer, "MODIFIED", "mine", "web-0", "1", status={"phase": "Running"})
    pod(writer, "ADDED", "other", "web-9", "9")
    assert (view.get("Pod", "web-0") or {})["status"] == {"phase": "Running"}
    assert list(view.all("Pod")) == ["web-0"]
    pod(writer, "DELETED", "mine", "web-0", "1")
    assert view.get("Pod", "web-0") is None
    assert [record.e for record in view.states("Pod", "web-0")] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_late_deletion_does_not_hide_the_successor(writer: TraceWriter) -> None:
    view = Live(writer.path, well).open("mine")
    pod(writer, "ADDED", "mine", "web-0", "2")
    pod(writer, "DELETED", "mine", "web-0", "1")
    assert (view.get("Pod", "web-0") or {})["metadata"]["uid"] == "2"


def test_a_torn_line_is_read_when_it_is_whole(writer: TraceWriter) -> None:
    view = Live(writer.path, well).open("mine")
    pod(writer, "ADDED", "mine", "web-0", "1")
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[:-20])
    assert view.get("Pod", "web-0") is None
    writer.path.write_bytes(whole)
    assert view.get("Pod", "web-0") is not None


def test_a_trace_of_its_own(writer: TraceWriter, tmp_path: Path) -> None:
    """Volumes bound here, their attachments, node evidence of its pods and volumes; nothing of anybody else."""
    live = Live(writer.path, well)
    writer.gap("Pod", 1, 2, "long over")
    view = live.open("mine")
    pod(writer, "ADDED", "mine", "web-0", "u1")
    pod(writer, "ADDED", "other", "web-0", "u2")
    for ns, volume in (("mine", "pv-1"), ("other", "pv-2")):
        spec = {"claimRef": {"namespace": ns}, "csi": {"volumeHandle": f"h-{volume}"}}
        writer.write("ADDED", k="PersistentVolume", name=volume, uid=volume, obj={"metadata": {}, "spec": spec})
        source = {"source": {"persistentVolumeName": volume}, "nodeName": "n"}
        writer.write("ADDED", k="VolumeAttachment", name=f"va-{volume}", uid=f"va-{volume}", obj={"spec": source})
        for facts in (
            {"what": "mounted", "pod_uid": "u1" if ns == "mine" else "u2", "volume": volume},
            {"what": "mounted", "pod_uid": "", "volume": "", "handle": f"h-{volume}"},
            {"what": "container-started", "namespace": ns, "pod": "web-0", "pod_uid": "later"},
        ):
            writer.write("NODE", k="NodeEvidence", name="n", obj={"node": "n", **facts})
    writer.write("SYNC", k="Node", name="n", uid="n", obj={"metadata": {"name": "n"}})
    writer.gap("Pod", 1, 2**62, "now")
    view.save(tmp_path / "own.jsonl")
    trace = load_trace(tmp_path / "own.jsonl")
    assert trace.complete
    assert [r.uid for r in trace.of("Pod")] == ["u1"]
    assert [r.name for r in trace.of("PersistentVolume")] == ["pv-1"]
    assert [r.name for r in trace.of("VolumeAttachment")] == ["va-pv-1"]
    assert len(trace.node_events) == 3
    assert [gap.reason for gap in trace.gaps("Pod")] == ["now"]
    assert "Pod" in trace.listed
    assert [r.name for r in trace.of("Node")] == ["n"]


def test_nobody_vouches_for_a_dead_observer(writer: TraceWriter, tmp_path: Path) -> None:
    def dead() -> None:
        raise InstrumentError("the run's observer has died")

    view = Live(writer.path, dead).open("mine")
    with pytest.raises(InstrumentError, match="has died"):
        view.save(tmp_path / "own.jsonl")
    assert not (tmp_path / "own.jsonl").exists()


def test_who_is_alive() -> None:
    """A process that has ended and was not waited for is not alive."""
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not alive(child.pid)
    child.wait()
    assert not alive(child.pid)
    assert alive(os.getpid())
