"""Finding and freezing pods by their cgroup, on made-up trees of both versions and both cgroup drivers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from steadyset.chaos.agent import freezer, node, timer
from steadyset.chaos.agent.node import Node, VerbError, cgroup_path, pod_folders

UID = "0a1b2c3d-1111-2222-3333-444455556666"
SLICE = UID.replace("-", "_")


@dataclass(frozen=True)
class MadeUp(Node):
    """A node whose root folder is one of ours."""

    folder: str = ""

    @property
    def root(self) -> Path:
        return Path(self.folder)


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    return MadeUp(pid=1, folder=str(tmp_path))


def cgroup_v2(root: Path, path: str) -> Path:
    """A cgroup of a unified hierarchy, as the kernel shows it."""
    top = root / "sys/fs/cgroup"
    folder = top / path.lstrip("/")
    folder.mkdir(parents=True)
    (top / "cgroup.controllers").write_text("cpu memory pids\n")
    (folder / "cgroup.freeze").write_text("0\n")
    (folder / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (folder / "cgroup.procs").write_text("")
    return folder


def kernel_freezes(folder: Path) -> None:
    """What the kernel does once every process stands still."""
    (folder / "cgroup.events").write_text("populated 1\nfrozen 1\n")


def test_freeze_and_thaw_on_v2(made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 is written to cgroup.freeze, and frozen means what cgroup.events says, not what was written."""
    folder = cgroup_v2(tmp_path, f"/kubepods.slice/kubepods-pod{SLICE}.slice/cri-containerd-abc.scope")
    name = f":/kubepods.slice/kubepods-pod{SLICE}.slice/cri-containerd-abc.scope"
    monkeypatch.setattr(freezer, "FROZEN_WITHIN_S", 0.05)
    with pytest.raises(VerbError, match="was not frozen within"):
        freezer.freeze(made_up, [name])
    assert (folder / "cgroup.freeze").read_text() == "0"  # and was let go again
    kernel_freezes(folder)
    assert freezer.freeze(made_up, [name]) == 1
    assert (folder / "cgroup.freeze").read_text() == "1"
    assert freezer.frozen(made_up, [name]) == [name]
    assert freezer.thaw(made_up, [name]) == 1
    assert (folder / "cgroup.freeze").read_text() == "0"


def test_freeze_and_thaw_on_v1(made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is written to freezer.state, in which the kernel answers."""
    folder = tmp_path / "sys/fs/cgroup/freezer/kubepods/burstable" / f"pod{UID}" / "abc"
    folder.mkdir(parents=True)
    (folder / "freezer.state").write_text("THAWED\n")
    name = f"freezer:/kubepods/burstable/pod{UID}/abc"
    assert freezer.frozen(made_up, [name]) == []
    assert freezer.freeze(made_up, [name]) == 1
    assert freezer.frozen(made_up, [name]) == [name]
    assert freezer.thaw(made_up, [name]) == 1
    assert (folder / "freezer.state").read_text() == "THAWED"


def test_a_cgroup_that_is_gone_can_be_thawed_but_not_frozen(made_up: MadeUp) -> None:
    """An undo comes late at times."""
    assert freezer.thaw(made_up, [":/kubepods/gone"]) == 0
    with pytest.raises(VerbError, match="cannot be frozen"):
        freezer.freeze(made_up, [":/kubepods/gone"])


@pytest.mark.parametrize(
    "path",
    [
        f"/kubepods/pod{UID}",
        f"/kubepods/besteffort/pod{UID}",
        f"/kubepods.slice/kubepods-pod{SLICE}.slice",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE}.slice",
    ],
)
@pytest.mark.parametrize("init", ["/", "/init.scope", "/nodes/one/system"])
def test_pods_are_found_under_either_driver_on_v2(
    made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, init: str
) -> None:
    """cgroupfs and systemd spell a pod's cgroup differently; kubepods is in a parent of the node's init."""
    monkeypatch.setattr(node, "cgroup_path", lambda pid: ("", init))
    parent = "/nodes/one" if init.startswith("/nodes") else ""
    folder = cgroup_v2(tmp_path, parent + path)
    cgroup_v2(tmp_path, parent + path.replace("0a1b", "ffff"))
    assert pod_folders(made_up, UID) == [folder]


def test_the_freezers_hierarchy_counts_where_there_are_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hybrid machine shows v1's freezer and an (empty) unified tree; a unified one shows a single line."""
    shown = {"hybrid": "5:cpu,cpuacct:/a\n4:freezer:/b\n0::/c\n", "v2": "0::/kubepods.slice/x\n"}
    monkeypatch.setattr(node.Path, "read_text", lambda self: shown[str(self).split("/")[2]])
    assert cgroup_path("hybrid") == ("freezer", "/b")
    assert cgroup_path("v2") == ("", "/kubepods.slice/x")


def test_a_timer_leaves_its_pods_cgroup_on_v2(made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a leaf of its own beside kubepods, since cgroup v2 has no processes in inner nodes."""
    cgroup_v2(tmp_path, "/nodes/one/kubepods")
    real = Path.read_text
    line = "0::/nodes/one/kubepods/besteffort/podx/abc\n"
    monkeypatch.setattr(Path, "read_text", lambda self: line if str(self) == "/proc/self/cgroup" else real(self))
    timer.leave_pod_cgroups(made_up)
    monkeypatch.undo()
    moved = (tmp_path / "sys/fs/cgroup/nodes/one" / timer.UNDO_CGROUP / "cgroup.procs").read_text()
    assert moved.isdigit()
