"""An experiment written for chaostoolkit-kubernetes runs unchanged, and ours stand beside it in one `chaos run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.sweep import sweep
from steadyset.clusterinfo import ClusterInfo

# As its own documentation has them: a hypothesis about the pods, an action, nothing of ours.
THEIRS = """
version: 1.0.0
title: the workload survives the loss of a pod
description: as anybody would write it for chaostoolkit-kubernetes
steady-state-hypothesis:
  title: its pods are there
  probes:
    - type: probe
      name: three-pods
      tolerance: 3
      provider:
        type: python
        module: chaosk8s.pod.probes
        func: count_pods
        arguments: {label_selector: app=member, ns: NAMESPACE}
method:
  - type: action
    name: terminate-a-pod
    provider:
      type: python
      module: chaosk8s.pod.actions
      func: terminate_pods
      arguments: {name_pattern: "member-0", ns: NAMESPACE, grace_period: 1}
    pauses: {after: 5}
rollbacks: []
"""


def chaos_run(cluster: ClusterInfo, folder: Path, experiment: dict[str, Any]) -> dict[str, Any]:
    """The journal of a plain `chaos run` of that experiment."""
    (folder / "experiment.json").write_text(json.dumps(experiment))
    argv = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "run"]
    argv += ["--journal-path", str(folder / "journal.json"), str(folder / "experiment.json")]
    env = {**os.environ, "KUBECONFIG": cluster.kubeconfig, "STEADYSET_CLUSTER": cluster.path}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    journal: dict[str, Any] = json.loads((folder / "journal.json").read_text())
    return journal


def activity(kind: str, name: str, module: str, function: str, **arguments: Any) -> dict[str, Any]:
    """An activity of ours."""
    provider = {"type": "python", "module": f"steadyset.chaos.{module}", "func": function, "arguments": arguments}
    return {"type": kind, "name": name, "provider": provider}


@pytest.mark.cluster
@pytest.mark.slow
def test_theirs_runs_unchanged(cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path) -> None:
    """Its hypothesis holds before and after, its pod is another one."""
    before = uid_of(kube.pod(ready, "member-0"))
    journal = chaos_run(cluster, tmp_path, yaml.safe_load(THEIRS.replace("NAMESPACE", ready)))
    assert (journal["status"], journal["deviated"]) == ("completed", False)
    assert uid_of(kube.pod(ready, "member-0")) != before


@pytest.mark.cluster
@pytest.mark.slow
def test_ours_stand_beside_theirs(cluster: ClusterInfo, kube: Kube, ready: str, tmp_path: Path) -> None:
    """Cordon a node with ours, kill a pod with theirs, see it with theirs, heal with ours; one journal has it all."""
    experiment = yaml.safe_load(THEIRS.replace("NAMESPACE", ready))
    at = {"cluster": "", "target": "member-1", "namespace": ready}
    module = "faults.node_cordon"
    heal = activity("action", "heal", module, "heal", **at)
    experiment["method"] = [
        activity("action", "cordon", module, "inject", **at),
        activity("probe", "prove-bite", module, "prove_bite", **at),
        *experiment["method"],
        heal,
        activity("probe", "prove-heal", module, "prove_heal", **at),
    ]
    experiment["rollbacks"] = [heal]
    experiment["runtime"] = {"rollbacks": {"strategy": "always"}}
    journal = chaos_run(cluster, tmp_path, experiment)
    assert (journal["status"], journal["deviated"]) == ("completed", False)
    assert [run["status"] for run in journal["run"]] == ["succeeded"] * 5
    assert journal["run"][-1]["output"]["healed_ns"] > journal["run"][0]["output"]["inject_ns"]
    assert HostLedger(cluster).records() == [] and sweep(cluster).is_clean()
