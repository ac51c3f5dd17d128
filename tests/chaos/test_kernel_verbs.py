"""Verbs that need no cluster, against this machine's kernel: a disk of our own, a process in a cgroup of our own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.chaos.agent.disks import abort, can_throttle, mounted_as, size_of, throttle, write_time_s
from steadyset.chaos.agent.memory import Main, oom_kill, unsqueeze
from steadyset.chaos.agent.node import Node, VerbError
from steadyset.chaos.agent.processes import start_time
from steadyset.chaos.agent.volumes import write_error
from steadyset.wait import wait_for

NODE = Node(os.getpid())
CGROUPS = Path("/sys/fs/cgroup")
SIZE = 64 << 20
GONE_DEADLINE_S = 10.0

if os.geteuid() != 0:
    pytest.skip("needs root", allow_module_level=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """An ext4 file system on a loop device, mounted."""
    image, mount = tmp_path / "disk.img", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        yield str(mount)
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.fixture
def cgroup() -> Iterator[str]:
    """A cgroup in the hierarchies of memory and block I/O (or the one of v2)."""
    name = f"steadyset-test-{secrets.token_hex(4)}"
    unified = (CGROUPS / "cgroup.controllers").exists()
    folders = [CGROUPS / name] if unified else [CGROUPS / "memory" / name, CGROUPS / "blkio" / name]
    for folder in folders:
        folder.mkdir()
    try:
        yield f"/{name}"
    finally:
        for folder in folders:
            wait_for(
                lambda folder=folder: _removed(folder),  # type: ignore[misc]
                what=f"{folder} removed",
                deadline_name="cgroup_gone",
                deadline_s=GONE_DEADLINE_S,
            )


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:  # the kernel has not let go of its processes yet
        return not folder.exists()
    return True


def test_an_aborted_file_system_is_read_only(disk: str) -> None:
    """Also for who has a file open; a file system that is not ext4 is refused."""
    kind, major, _ = mounted_as(NODE, disk)
    assert (kind, major) == ("ext4", 7) and 0 < size_of(NODE, disk) <= SIZE
    with (Path(disk) / "open").open("wb"):
        assert write_error(NODE, disk) == ""
        abort(NODE, disk)
        assert write_error(NODE, disk) == "EROFS"
    with pytest.raises(VerbError, match="cannot be aborted"):
        abort(NODE, "/proc")


def test_a_throttled_disk_is_slow_until_the_limit_is_lifted(disk: str, cgroup: str) -> None:
    """64 KiB at 64 KiB/s take about a second; without the limit next to nothing."""
    if not can_throttle(NODE):
        pytest.skip("not tested: this kernel has no block I/O throttle")
    _, major, minor = mounted_as(NODE, disk)
    size = 64 << 10
    assert write_time_s(NODE, disk, cgroup, size) < 0.5
    assert throttle(NODE, [(cgroup, major, minor)], size) == 1
    assert 0.5 < write_time_s(NODE, disk, cgroup, size) < 5
    throttle(NODE, [(cgroup, major, minor)], 0)
    assert write_time_s(NODE, disk, cgroup, size) < 0.5
    assert throttle(NODE, [("/steadyset-gone", major, minor)], size) == 0


def test_the_kernel_kills_who_is_squeezed(cgroup: str) -> None:
    """By SIGKILL of its OOM killer, not the process that allocates; then the limit is as before."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    folder = CGROUPS / cgroup.strip("/") if unified else CGROUPS / "memory" / cgroup.strip("/")
    limit = folder / ("memory.max" if unified else "memory.limit_in_bytes")
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        (folder / "cgroup.procs").write_text(str(sleeper.pid))
        before = limit.read_text().strip()
        main = Main(pid=sleeper.pid, start=start_time(sleeper.pid), cgroup=cgroup, limit=before, score="0")
        oom_kill_and_reap(main, sleeper)
        assert sleeper.poll() == -signal.SIGKILL
        assert limit.read_text().strip() != before
        assert unsqueeze(NODE, [main]) == 1
        assert limit.read_text().strip() == before
    finally:
        sleeper.kill()
        sleeper.wait()


def oom_kill_and_reap(main: Main, process: subprocess.Popen[bytes]) -> None:
    """A container's main process is reaped by its runtime; here by a thread."""
    reaper = threading.Thread(target=process.wait, daemon=True)
    reaper.start()
    oom_kill(NODE, main)
    reaper.join(GONE_DEADLINE_S)


def test_a_process_that_nobody_reaped_has_ended() -> None:
    """A daemon's parent may live on and not wait for it: the daemon that was killed must not count as running."""
    child = subprocess.Popen(["true"])
    stat = Path(f"/proc/{child.pid}/stat")
    wait_for(
        lambda: ") Z " in stat.read_text(),
        what="the child is a zombie",
        deadline_name="GONE_DEADLINE_S",
        deadline_s=GONE_DEADLINE_S,
    )
    assert start_time(child.pid) == 0
    child.wait()
