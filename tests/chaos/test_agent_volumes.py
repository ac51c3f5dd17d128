"""Volumes that share their file system with others: what would break it, or fill it, is refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.chaos.agent import volumes
from steadyset.chaos.agent.node import Node, VerbError
from steadyset.wait import wait_for

START_S = 10.0

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts in a namespace of their own")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A process in a mount namespace where `folder` of a tmpfs, and a tmpfs of its own, are mounted."""
    for name in ("disk/folder", "shared", "own"):
        (tmp_path / name).mkdir(parents=True)
    script = (
        f"cd {tmp_path} && mount -t tmpfs -o size=1m x disk && mkdir disk/folder && mount --bind disk/folder shared "
        f"&& mount -t tmpfs -o size=1m x own && touch own/up && exec sleep 60"
    )
    child = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
    try:
        up = Path(f"/proc/{child.pid}/root{tmp_path}/own/up")
        wait_for(up.exists, what="the mounts are there", deadline_name="START_S", deadline_s=START_S)
        yield Node(pid=child.pid)
    finally:
        child.kill()
        child.wait()


def test_a_folder_of_a_shared_file_system(node: Node, tmp_path: Path) -> None:
    """Neither filled nor shut down; a file system of its own is filled."""
    shared = str(tmp_path / "shared")
    with pytest.raises(VerbError, match="folder /folder of a file system that others use too"):
        volumes.fill(node, shared, "full")
    with pytest.raises(VerbError, match="others use too"):
        volumes.shut_down(node, shared)
    assert list(node.inside(shared).iterdir()) == []
    assert volumes.fill(node, str(tmp_path / "own"), "full") > 0


def test_nothing_mounted(node: Node, tmp_path: Path) -> None:
    with pytest.raises(VerbError, match="nothing is mounted there"):
        volumes.shut_down(node, str(tmp_path))
