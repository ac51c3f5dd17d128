"""Node-side evidence from namespaces, mounts and cgroups made by hand: no cluster needed, but root."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo, NodeInfo, save_cluster_info
from steadyset.observer.nodes import TASKS, NodeEvidence
from steadyset.trace import NODE_EVIDENCE, Trace, TraceWriter, load_trace
from steadyset.wait import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")

SEEN_S = 30.0  # on a machine that is busy with other things
POD = "11111111-2222-3333-4444-555555555555"
MOUNT = f"/run/kubelet/pods/{POD}/volumes/kubernetes.io~csi/pv-1/mount"
STAGE = "/run/kubelet/plugins/kubernetes.io/csi/driver/abc123/globalmount"


def cgroup_parent() -> Path:
    """A hierarchy in which processes can be placed: version 2, or one controller of version 1."""
    base = Path("/sys/fs/cgroup")
    return base if (base / "cgroup.procs").exists() else base / "memory"


class Node:
    """A node of nothing but namespaces: its init sleeps, with a private /run and its own /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tag = secrets.token_hex(4)
        self.cgroups: list[Path] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.power_on()

    def power_on(self) -> None:
        script = "mount -t tmpfs tmpfs /run && echo ready && exec sleep 600"
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
        self.unshare = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self.unshare.stdout is not None
        assert self.unshare.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()
        self.pid = int(children[0])
        self.write_info(self.pid)

    def write_info(self, pid: int) -> None:
        info = ClusterInfo(name="c", provider="embedded", kubeconfig="", capabilities=["node-exec", "node-evidence"])
        info.nodes = [NodeInfo(name="n1", address="", pid=pid)]
        save_cluster_info(info, self.folder / "cluster.json")
        self.info = info

    def power_off(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.unshare.wait()
        self.write_info(0)

    def run(self, script: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "--", "sh", "-c", script], check=True)

    def start(self, name: str, kind: str) -> subprocess.Popen[bytes]:
        """A process in a cgroup named after the container, and the task folder that containerd would keep."""
        container = f"{self.tag}{name}"
        cgroup = cgroup_parent() / f"steadyset-test-{container}"
        cgroup.mkdir()
        self.cgroups.append(cgroup)
        child = subprocess.Popen(["nsenter", "-t", str(self.pid), "-m", "--", "sleep", "600"])
        self.children.append(child)
        (cgroup / "cgroup.procs").write_text(str(child.pid))
        annotations = {
            "container-type": kind,
            "container-name": name,
            "sandbox-name": "db-0",
            "sandbox-namespace": "ns",
        }
        config = {
            "annotations": {f"io.kubernetes.cri.{k}": v for k, v in annotations.items()},
            "linux": {"cgroupsPath": f"/kubepods/pod{POD}/{container}"},
        }
        folder = f"/{TASKS}/{container}"
        self.run(f"mkdir -p {folder} && echo '{json.dumps(config)}' > {folder}/config.json")
        self.run(f"echo 7 > {folder}/.init.pid && mv {folder}/.init.pid {folder}/init.pid")
        return child

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        if self.unshare.poll() is None:
            self.power_off()
        for cgroup in self.cgroups:
            wait_for(
                lambda c=cgroup: not (c / "cgroup.procs").read_text(),  # type: ignore[misc]
                what="an empty cgroup", deadline_name="SEEN_S", deadline_s=SEEN_S,
            )  # fmt: skip
            cgroup.rmdir()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


@pytest.fixture
def watched(node: Node, tmp_path: Path) -> Iterator[Callable[[Callable[[Trace], Any], str], Any]]:
    """Starts the evidence thread at the first call; each call waits for something in the trace and returns it."""
    stopping = threading.Event()
    path = tmp_path / "trace"
    writer = TraceWriter(path)
    thread = NodeEvidence(node.info, writer, stopping)

    def until(condition: Callable[[Trace], Any], what: str) -> Any:
        if not thread.is_alive():
            thread.start()
        assert thread.crash is None
        return wait_for(
            lambda: condition(load_trace(path)), what=what, deadline_name="SEEN_S", deadline_s=SEEN_S, poll_s=0.02,
            describe=path.read_text,
        )  # fmt: skip

    yield until
    stopping.set()
    thread.join(SEEN_S)
    assert not thread.is_alive() and thread.crash is None
    writer.close()


def events(trace: Trace) -> list[tuple[str, str]]:
    return [(r.obj["what"], r.obj.get("container") or r.obj.get("volume") or "") for r in trace.node_events]


def test_mounts_are_seen_as_they_come_and_go(node: Node, watched: Any) -> None:
    """A pod's volume and its staging mount, with pod, volume and handle; other mounts are nobody's business."""
    watched(lambda t: t.listed, "listing")
    data = STAGE.rsplit("/", 1)[0] + "/vol_data.json"
    node.run(f'mkdir -p {STAGE} {MOUNT} /run/other && echo \'{{"volumeHandle": "h1"}}\' > {data}')
    node.run(f"mount -t tmpfs a {STAGE} && mount -t tmpfs b /run/other && mount -t tmpfs c {MOUNT}")
    trace = watched(lambda t: len(t.node_events) == 2 and t, "two mounts")
    stage, pod = (r.obj for r in trace.node_events)
    assert stage == {"what": "mounted", "node": "n1", "pod_uid": "", "volume": "", "handle": "h1", "path": STAGE}
    assert pod == {"what": "mounted", "node": "n1", "pod_uid": POD, "volume": "pv-1", "path": MOUNT}
    node.run(f"umount {MOUNT}")
    trace = watched(lambda t: len(t.node_events) == 3 and t, "the unmount")
    assert events(trace)[-1] == ("unmounted", "pv-1")
    assert trace.node_events[-1].name == "n1" and trace.node_events[-1].k == NODE_EVIDENCE


def test_containers_are_seen_from_start_to_exit(node: Node, watched: Any) -> None:
    """Started with names and pod; stopped when the kernel says so, also when nobody removed the task's folder."""
    watched(lambda t: t.listed, "listing")
    node.start("pause", "sandbox")
    main = node.start("main", "container")
    trace = watched(lambda t: len(t.node_events) == 2 and t, "two containers")
    started = {r.obj["container"]: r.obj for r in trace.node_events}
    assert {name: facts["sandbox"] for name, facts in started.items()} == {"pause": True, "main": False}
    facts = started["main"]
    wanted = {"what": "container-started", "pod_uid": POD, "pod": "db-0", "namespace": "ns", "container": "main"}
    assert {k: facts[k] for k in wanted} == wanted
    assert not any("initial" in r.obj for r in trace.node_events)
    main.kill()
    main.wait()
    trace = watched(lambda t: len(t.node_events) == 3 and t, "the exit")
    assert events(trace)[-1] == ("container-stopped", "main")


def test_what_was_there_before_is_listed_as_initial(node: Node, watched: Any) -> None:
    """A container and a mount older than the observer."""
    node.start("main", "container")
    node.run(f"mkdir -p {MOUNT} && mount -t tmpfs c {MOUNT}")
    trace = watched(lambda t: len(t.node_events) == 2 and t.listed and t, "two initial events")
    assert sorted(events(trace)) == [("container-started", "main"), ("mounted", "pv-1")]
    assert all(r.obj["initial"] for r in trace.node_events)
    assert [(n.name, n.obj["count"], n.obj["mounts"]) for n in trace.notes("listed")] == [("n1", 1, 1)]


def test_the_end_of_the_node_ends_its_mounts_and_it_is_found_again(node: Node, watched: Any) -> None:
    """SIGKILL of the node's init: unmounted with the reason; after power on the node is listed once more."""
    node.run(f"mkdir -p {MOUNT} && mount -t tmpfs c {MOUNT}")
    watched(lambda t: len(t.node_events) == 1, "the mount")
    node.power_off()
    trace = watched(lambda t: t.notes("node-off") and t, "the end")
    assert events(trace) == [("mounted", "pv-1"), ("unmounted", "pv-1")]
    assert trace.node_events[-1].obj["reason"] == "the node's init ended"
    node.power_on()
    trace = watched(lambda t: len(t.notes("listed")) == 2 and t, "the second listing")
    assert [n.obj["initial"] for n in trace.notes("listed")] == [True, False]


def test_nothing_of_the_node_is_held(node: Node, watched: Any) -> None:
    """The observer's open files do not keep the mounts of a dead node alive."""
    image = node.folder / "image"
    image.write_bytes(bytes(1 << 20))
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    node.run(f"mkdir -p {MOUNT} && mount -o loop {image} {MOUNT}")
    watched(lambda t: len(t.node_events) == 1, "the mount")
    loops = ["losetup", "-j", str(image), "-O", "NAME", "-n"]
    assert subprocess.run(loops, capture_output=True, check=True).stdout
    node.power_off()
    wait_for(
        lambda: not subprocess.run(loops, capture_output=True, check=True).stdout,
        what="the loop device freed", deadline_name="SEEN_S", deadline_s=SEEN_S,
    )  # fmt: skip
