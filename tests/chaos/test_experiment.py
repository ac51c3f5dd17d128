"""Faults as Chaos Toolkit sees them: compiled, discovered, and as files that run by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from chaoslib.experiment import ensure_experiment_is_valid

import steadyset.chaos
from steadyset.chaos.experiment import FOLDER, compile_experiment, experiment_file
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.faults.pod_kill import FAULT as POD_KILL
from steadyset.chaos.hold import hold
from steadyset.chaos.runner import FaultError, inject
from steadyset.clusterinfo import CAPABILITIES, ClusterInfo
from steadyset.errors import InvalidError, UsageError
from steadyset.rundir import RunDir

FUNCTIONS = {"inject", "prove_bite", "heal", "prove_heal"}

every_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)


@every_fault
def test_compiled_experiment_is_valid(fault: Fault) -> None:
    """Chaos Toolkit's own validation: modules import, functions exist, arguments fit."""
    experiment = compile_experiment(fault, "/c.json", "ns", "pod-0", params={}, hold={"seconds": 1.0, "control": ""})
    ensure_experiment_is_valid(experiment)
    assert [a["name"] for a in experiment["method"]] == ["inject", "prove-bite", "hold", "heal", "prove-heal"]
    assert experiment["runtime"]["rollbacks"]["strategy"] == "always"
    assert experiment["rollbacks"][0]["provider"] == experiment["method"][3]["provider"]


@every_fault
def test_fault_declares_what_it_is(fault: Fault) -> None:
    """Known capabilities, deadlines for bite and heal, an undo wherever a lease has to be ended."""
    assert set(fault.capabilities) <= set(CAPABILITIES)
    assert {"bite_s", "heal_s"} <= set(fault.deadlines)
    module = fault.load()
    assert fault is module.FAULT
    assert set(module.__all__) == FUNCTIONS
    assert fault.lease is Lease.ONE_SHOT or callable(module.undo)


@every_fault
def test_experiment_file_is_valid(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault has a file to `chaos run`, as `-m steadyset.chaos.experiment` writes it."""
    monkeypatch.setenv("TARGET", "pod-0")
    text = (FOLDER / f"{fault.name}.yaml").read_text()
    assert experiment_file(fault) == text
    ensure_experiment_is_valid(yaml.safe_load(text))


def test_every_experiment_file_is_a_faults() -> None:
    """None is left of a fault that is gone."""
    assert {f.name for f in FAULTS} == {path.stem for path in FOLDER.glob("*.yaml")}


def test_discovery_lists_every_activity() -> None:
    """With docstrings; proofs are probes."""
    found = steadyset.chaos.discover()["activities"]
    assert {(f.module, name) for f in FAULTS for name in FUNCTIONS} | {("steadyset.chaos.hold", "hold")} == {
        (a["mod"], a["name"]) for a in found
    }
    assert all(a["doc"] for a in found)
    assert {"prove_bite", "prove_heal"} == {a["name"] for a in found if a["type"] == "probe"}


def test_unknown_fault_names_the_known_ones() -> None:
    """So that a typing error is found at once."""
    with pytest.raises(UsageError, match="pod-kill"):
        fault_named("pod-kil")


def test_hold_without_a_proven_bite_is_invalid() -> None:
    """Holding nothing proves nothing."""
    with pytest.raises(InvalidError, match="not proven"):
        hold(1.0)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.capabilities], ids=str)
def test_cluster_without_the_capability_is_refused_before_anything_starts(fault: Fault, tmp_path: Path) -> None:
    """Not tested, rather than failed: no experiment is even written."""
    info = ClusterInfo(name="t", provider="kubeconfig", kubeconfig="/nowhere")
    run = RunDir.create(tmp_path, {}, "run")
    with pytest.raises(UsageError, match=fault.capabilities[0]), inject(info, run, "s", fault, "pod-0"):
        pytest.fail("the fault was held on a cluster that cannot do it")
    assert list((run.path / "journals").iterdir()) == []


def test_cluster_that_does_not_answer_makes_the_fault_invalid(tmp_path: Path) -> None:
    """The journal says so; no process and no control folder is left."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    info = ClusterInfo(name="t", provider="kubeconfig", kubeconfig=str(kubeconfig))
    run = RunDir.create(tmp_path, {}, "run")
    with pytest.raises(FaultError, match="did not answer") as caught, inject(info, run, "s", POD_KILL, "pod-0"):
        pytest.fail("the fault was held on a cluster that is not there")
    span = caught.value.span
    assert (span.inject_ns, span.bitten_ns, span.healed_ns) == (0, 0, 0)
    assert "did not answer" in span.error and (run.path / span.journal).is_file()


@pytest.mark.cluster
@pytest.mark.slow
def test_plain_chaos_run_of_an_experiment_file(cluster: ClusterInfo, ready: str, tmp_path: Path) -> None:
    """As a user of Chaos Toolkit would, with the target in the environment."""
    env = {
        **os.environ,
        "STEADYSET_CLUSTER": cluster.path,
        "NAMESPACE": ready,
        "TARGET": "member-1",
        "HOLD_SECONDS": "1",
    }
    argv = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "run"]
    argv += ["--journal-path", str(tmp_path / "journal.json"), str(FOLDER / "pod-kill.yaml")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    journal = yaml.safe_load((tmp_path / "journal.json").read_text())
    assert [run["status"] for run in journal["run"]] == ["succeeded"] * 5
