"""The probe server: what it acknowledged is there after a kill, and it does not pretend when its volume fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


def test_acknowledged_values_survive_a_kill(start_probe: Start, tmp_path: Path) -> None:
    """SIGKILL, start again on the same folder: same values, same registers, epoch one higher."""
    first = start_probe(tmp_path)
    for value in (5, 3, 9):
        assert first.post(f"/append?key=a&value={value}")["outcome"] == "ok"
    first.post("/write?key=r&value=7")
    assert first.get("/identity")["epoch"] == 1
    first.kill()
    second = start_probe(tmp_path)
    assert second.get("/values?key=a")["values"] == [5, 3, 9]
    assert second.get("/read?key=r")["value"] == 7
    assert second.get("/identity")["epoch"] == 2


def test_every_answer_says_who_answers(start_probe: Start, tmp_path: Path) -> None:
    """Pod, UID, node, boot id, ordinal and epoch are in each acknowledgement."""
    answer = start_probe(tmp_path).post("/append?key=a&value=1")
    assert tuple(answer[name] for name in ("pod", "uid", "node", "ordinal", "epoch")) == (
        "probe-1",
        "uid-of-probe-1",
        "node-7",
        1,
        1,
    )
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == answer["boot_id"]


def test_compare_and_set(start_probe: Start, tmp_path: Path) -> None:
    """It sets only on the expected value, and a refusal returns the value that was there; unset registers hold 0."""
    probe = start_probe(tmp_path)
    assert probe.get("/read?key=r")["value"] == 0
    refused = probe.post("/cas?key=r&expect=1&value=2")
    assert (refused["outcome"], refused["error"], refused["value"]) == ("fail", "mismatch", 0)
    assert probe.post("/cas?key=r&expect=0&value=2")["outcome"] == "ok"
    assert probe.get("/read?key=r")["value"] == 2


def test_read_only(start_probe: Start, tmp_path: Path) -> None:
    """It serves what is there, writes nothing, not even its epoch, and refuses every write."""
    writer = start_probe(tmp_path)
    writer.post("/append?key=a&value=1")
    writer.kill()
    before = (tmp_path / "probe.log").read_bytes()
    reader = start_probe(tmp_path, "probe-2", 0, "-read-only")
    assert reader.get("/values?key=a")["values"] == [1]
    assert reader.post("/append?key=a&value=2")["error"] == "the volume is served read-only"
    assert reader.call("GET", "/readyz")[0] == 200
    assert (tmp_path / "probe.log").read_bytes() == before


@pytest.mark.parametrize("code", [0, 3])
def test_exit_on_demand(start_probe: Start, tmp_path: Path, code: int) -> None:
    """It ends with the code that it is asked for, as a job does that is done, or has failed."""
    probe = start_probe(tmp_path)
    assert probe.post(f"/exit?code={code}")["outcome"] == "ok"
    assert probe.exit_code() == code


def test_lists_and_keys_are_apart(start_probe: Start, tmp_path: Path) -> None:
    """A value goes to its key only."""
    probe = start_probe(tmp_path)
    probe.post("/append?key=a&value=1")
    probe.post("/append?key=b&value=2")
    assert tuple(probe.get(f"/values?key={key}")["values"] for key in ("a", "b", "c")) == ([1], [2], [])


@pytest.mark.parametrize(
    "path",
    ["/append?key=a", "/append?key=a&value=x", "/append?value=1", "/cas?key=a&value=1", "/append?key=a%20b&value=1"],
)
def test_bad_requests_leave_no_record(start_probe: Start, tmp_path: Path, path: str) -> None:
    """A request without its parameters is refused and nothing is written."""
    probe = start_probe(tmp_path)
    before = (tmp_path / "probe.log").read_bytes()
    assert probe.call("POST", path)[0] == 400
    assert probe.call("GET", "/append?key=a&value=1")[0] == 405
    assert before == (tmp_path / "probe.log").read_bytes()


def test_a_torn_last_record_is_dropped(start_probe: Start, tmp_path: Path) -> None:
    """A record cut by a power loss was never acknowledged: it goes, the rest stays, and appending goes on after it."""
    first = start_probe(tmp_path)
    first.post("/append?key=a&value=1")
    first.post("/append?key=a&value=2")
    first.kill()
    log = tmp_path / "probe.log"
    log.write_bytes(log.read_bytes()[:-3])
    second = start_probe(tmp_path)
    assert second.get("/values?key=a")["values"] == [1]
    second.post("/append?key=a&value=3")
    second.kill()
    assert start_probe(tmp_path).get("/values?key=a")["values"] == [1, 3]


def test_damage_in_the_middle_is_refused(start_probe: Start, tmp_path: Path) -> None:
    """A flipped bit below valid records means acknowledged data is gone: it must not start as if nothing was."""
    first = start_probe(tmp_path)
    for value in (1, 2, 3):
        first.post(f"/append?key=a&value={value}")
    first.kill()
    log = tmp_path / "probe.log"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    second = start_probe(tmp_path)
    assert second.exit_code() == 73
    assert "the volume lost data" in second.stderr()


def test_it_does_not_start_without_its_volume(start_probe: Start, tmp_path: Path) -> None:
    """No folder, no service."""
    probe = start_probe(tmp_path / "absent")
    assert probe.exit_code() == 73
    assert "not usable" in probe.stderr()


def test_termination_is_clean(start_probe: Start, tmp_path: Path) -> None:
    """SIGTERM ends it with 0."""
    probe = start_probe(tmp_path)
    probe.process.send_signal(signal.SIGTERM)
    assert probe.exit_code() == 0


@pytest.fixture
def tiny_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one page."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("needs root to mount")
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.cluster
def test_a_failing_volume_ends_it(start_probe: Start, tiny_volume: Path) -> None:
    """The write that the volume refuses is answered "fail", then the process goes, so that the kubelet starts anew.

    What had been acknowledged before is still there when the volume is usable again.
    """
    probe = start_probe(tiny_volume)
    acknowledged, answer = [], {"outcome": "ok"}
    while answer["outcome"] == "ok":
        value = len(acknowledged) + 1
        answer = probe.post(f"/append?key=a&value={value}")
        if answer["outcome"] == "ok":
            acknowledged.append(value)
    assert (answer["outcome"], "no space" in answer["error"]) == ("fail", True)
    assert probe.exit_code() == 74
    subprocess.run(["mount", "-o", "remount,size=1m", str(tiny_volume)], check=True)
    assert acknowledged == start_probe(tiny_volume).get("/values?key=a")["values"]
