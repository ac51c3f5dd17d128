"""`steadyset chaos`, from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from steadyset.chaos.cordon import our_cordons
from steadyset.chaos.faults import FAULTS
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.schedule import read_schedule
from steadyset.cli import cli
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import SteadysetError
from steadyset.wait import wait_for

HELD_DEADLINE_S = 30.0
HEALED_DEADLINE_S = 60.0


def argv(*words: str) -> list[str]:
    """`steadyset chaos` with these words."""
    return [sys.executable, "-m", "steadyset", "chaos", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(argv(*words), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def here(*words: str) -> tuple[int, str]:
    """The same in this process, which starts faster: exit code, and what was said."""
    done = CliRunner().invoke(cli, ["chaos", *words])
    if isinstance(done.exception, SteadysetError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_help_teaches() -> None:
    """The group's help has examples of every command, the opt-in and the settings."""
    _, said = here("--help")
    for word in ("list", "plan", "run", "schedule", "abort", "steadyset.dev/chaos=allowed", "max-pods", "Exit codes"):
        assert word in said
    _, said = here("run", "--help")
    assert "--max-pods" in said and "--confirm-uid" in said


def test_every_fault_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its lease, what it needs, and its parameters; without a cluster nothing is said of one."""
    monkeypatch.setenv("STEADYSET_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    rows = {row["fault"]: row for row in json.loads(here("list", "--json")[1])}
    assert set(rows) == {fault.name for fault in FAULTS}
    assert rows["pod-kill"]["parameters"]["mode"] == "delete" and rows["pod-kill"]["can"] is None
    _, table = here("list")
    assert all(fault.name in table for fault in FAULTS) and "\x1b" not in table


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["run", "pod-kil", "--target", "a-0"], "no fault pod-kil"),
        (["plan", "pod-kill"], "Missing option '--target'"),
        (["run", "pod-kill", "--target", "a-0", "--param", "mode"], "no NAME=VALUE"),
        (["run", "pod-kill", "--target", "a-0", "--cluster", "x", "--name", "y"], "more than one cluster"),
        (["run", "pod-kill", "--target", "a-0", "--kubeconfig", "nowhere"], "no kubeconfig at"),
        (["run", "pod-kill", "--target", "a-0", "--hold", "-1"], "--hold"),
        (["schedule", "--faults", "nope"], "no fault nope"),
        (["nemesis", "--per-minute", "0"], "--per-minute"),
        (["schedule", "--file", "nowhere.json"], "does not exist"),
    ],
)
def test_bad_input_is_exit_code_2(words: list[str], why: str) -> None:
    """Saying what was wrong, without a traceback."""
    code, said = here(*words)
    assert code == 2, said
    assert why in said


@pytest.mark.cluster
def test_plan_prints_the_arithmetic(cluster: ClusterInfo, kube: Kube, ready: str) -> None:
    """Resolved targets and what is left of them; nothing is done; 3 when it would be refused."""
    before = {p["metadata"]["name"]: uid_of(p) for p in kube.pods(ready)}
    done = run("plan", "network-partition", "--target", "member-0", "-n", ready, "--cluster", cluster.path)
    assert done.returncode == 0, done.stderr
    arithmetic = "StatefulSet member: 3 members, 1 cut off (member-0), majority of 2 remains: writes should go on"
    assert arithmetic in done.stdout and "may be begun" in done.stdout
    done = run("plan", "pod-kill", "--target", "member-0", "-n", ready, "--cluster", cluster.path, "--max-pods", "0")
    assert done.returncode == 3 and "REFUSED: pod-kill would go beyond the blast radius" in done.stdout
    done = run("run", "pod-kill", "--target", "member-9", "-n", ready, "--cluster", cluster.path, "--plan", "--json")
    assert done.returncode == 3 and "no pod" in json.loads(done.stdout)["refused"][0]
    assert before == {p["metadata"]["name"]: uid_of(p) for p in kube.pods(ready)}
    assert HostLedger(cluster).records() == []


@pytest.mark.cluster
@pytest.mark.slow
def test_run_bites_holds_and_heals(cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path) -> None:
    """The plan first, the evidence after; a run's folder with journal and scenario; JSON on stdout."""
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    words = ["run", "node-cordon", "--target", f"node/{node}", "-n", ready, "--hold", "1", "--json"]
    done = run(*words, "--cluster", cluster.path, "--runs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["fault"]["error"] == "" and result["fault"]["healed_ns"] > result["fault"]["bitten_ns"]
    assert f"nodes: 3, 1 hit ({node})" in done.stderr and "node-cordon bit after" in done.stderr
    assert (Path(result["run"]) / result["fault"]["journal"]).is_file()
    assert our_cordons(kube.node(node)) == []


@pytest.mark.cluster
@pytest.mark.slow
def test_refused_run_does_nothing(cluster: ClusterInfo, ready: str, tmp_path: Path) -> None:
    """Exit code 2, the plan says why, and there is no run."""
    words = [
        "run",
        "pod-kill",
        "--target",
        "member-0",
        "-n",
        ready,
        "--max-pods",
        "0",
        "--runs",
        str(tmp_path / "runs"),
    ]
    done = run(*words, "--cluster", cluster.path)
    assert done.returncode == 2 and "nothing was done" in done.stderr
    assert not (tmp_path / "runs").exists()


def held(cluster: ClusterInfo, ready: str, runs: Path) -> subprocess.Popen[str]:
    """A `chaos run` that holds a cordon of the node of member-0."""
    words = ["run", "node-cordon", "--target", "member-0", "-n", ready, "--hold", "300", "--runs", str(runs)]
    process = subprocess.Popen(argv(*words, "--cluster", cluster.path), stderr=subprocess.PIPE, text=True)
    wait_for(
        lambda: HostLedger(cluster).records(),
        what="the fault is in the ledger",
        deadline_name="HELD_DEADLINE_S",
        deadline_s=HELD_DEADLINE_S,
        describe=lambda: f"code {process.poll()}",
    )
    return process


@pytest.mark.cluster
@pytest.mark.slow
def test_ctrl_c_heals(cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path) -> None:
    """130, the node is open, the ledger empty."""
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    process = held(cluster, ready, tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=HEALED_DEADLINE_S)
    assert process.returncode == 130, said
    assert our_cordons(kube.node(node)) == [] and HostLedger(cluster).records() == []


@pytest.mark.cluster
@pytest.mark.slow
def test_abort_from_elsewhere_ends_the_run(cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path) -> None:
    """`chaos abort` returns when all has healed; the run ends with 3 and the reason; `resume` opens again."""
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    process = held(cluster, ready, tmp_path)
    try:
        done = run("abort", "--cluster", cluster.path, "--reason", "the pager went off", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert len(result["aborted"]) == 1 and result["healed"] == result["aborted"]
        _, said = process.communicate(timeout=HEALED_DEADLINE_S)
        assert process.returncode == 3 and "the pager went off" in said
        assert our_cordons(kube.node(node)) == []
        refused = run("run", "pod-kill", "--target", "member-0", "-n", ready, "--cluster", cluster.path)
        assert refused.returncode != 0 and "the pager went off" in refused.stderr
    finally:
        assert run("resume", "--cluster", cluster.path).stdout.strip() == "faults may be begun again"


@pytest.mark.cluster
@pytest.mark.slow
def test_a_schedule_is_reproduced_from_what_the_run_saved(
    cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path
) -> None:
    """The same seed prints the same plan; the run keeps it; overlapping faults stay within the caps and heal."""
    draw = ["schedule", "-n", ready, "--faults", "pod-freeze,pod-kill", "--per-minute", "30", "--for", "12"]
    draw += ["--targets", "member-0,member-1,member-2", "--hold", "2", "6", "--seed", "11", "--cluster", cluster.path]
    draw += ["--max-pods", "minority"]
    plans = [run(*draw, "--plan", "--json") for _ in range(2)]
    assert plans[0].returncode == 0 and plans[0].stdout == plans[1].stdout
    done = run(*draw, "--runs", str(tmp_path), "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    planned = read_schedule(json.dumps(json.loads(plans[0].stdout)["schedule"]).encode()).steps
    saved = json.loads((Path(result["run"]) / "journals" / "chaos.schedule.json").read_text())
    assert [s["at_s"] for s in saved["planned"]] == [s.at_s for s in planned] and saved["seed"] == 11
    assert saved["done"] and all(span["error"] == "" for span in saved["spans"])
    assert all("blast radius" in s["why"] or "no pod" in s["why"] for s in saved["skipped"]), saved["skipped"]
    assert HostLedger(cluster).records() == []


@pytest.mark.cluster
@pytest.mark.slow
def test_a_nemesis_goes_on_until_ctrl_c(cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path) -> None:
    """Ctrl-C is how it ends: what is held heals, the result is printed, exit code 0."""
    words = ["nemesis", "-n", ready, "--faults", "pod-freeze", "--per-minute", "30", "--hold", "300", "300"]
    words += ["--seed", "3", "--cluster", cluster.path, "--runs", str(tmp_path), "--max-pods", "minority"]
    process = subprocess.Popen(argv(*words), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(
        lambda: HostLedger(cluster).records(),
        what="a fault is in the ledger",
        deadline_name="HELD_DEADLINE_S",
        deadline_s=HELD_DEADLINE_S,
    )
    wait_for(
        lambda: any("skipped" in p.read_text() for p in tmp_path.glob("*/journals/chaos.schedule.json")),
        what="its journal",
        deadline_name="HELD_DEADLINE_S",
        deadline_s=HELD_DEADLINE_S,
    )
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=HEALED_DEADLINE_S)
    assert process.returncode == 0, said
    assert "seed 3: 1 faults begun" in printed, printed  # the others would have left one of three
    assert HostLedger(cluster).records() == []
