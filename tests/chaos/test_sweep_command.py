"""steadyset sweep, from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from steadyset.chaos.cordon import cordon, our_cordons
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import ClusterLedger, HostLedger, new_record
from steadyset.chaos.sweep import Swept, undo_record
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """`steadyset sweep` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "steadyset", "sweep", *argv], capture_output=True, text=True, check=False
    )


def test_bad_input_is_exit_code_2(tmp_path: Path) -> None:
    """Naming what was expected."""
    for argv in (["--cluster", str(tmp_path / "no.json")], ["--kubeconfig", "x", "--name", "y"], ["--kubeconfig", "x"]):
        done = run(*argv)
        assert done.returncode == 2, done.stderr
        assert "error:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.cluster
def test_orphan_is_shown_then_undone(cluster: ClusterInfo, kube: Kube) -> None:
    """A dry run changes nothing; the real one undoes; the next one finds nothing. A cordon without a record is said."""
    node = sorted(n["metadata"]["name"] for n in kube.items("/api/v1/nodes"))[0]
    record = new_record("node-cordon", "default", f"node/{node}", 0.0, {"nodes": [node]})
    record.found = {f"node {node} unschedulable": "False"}
    HostLedger(cluster).write(record)
    ClusterLedger(cluster, kube, "default").write(record)
    cordon(kube, node, record.id)

    done = run("--cluster", cluster.path, "--dry-run", "--json")
    swept = msgspec.json.decode(done.stdout, type=Swept)
    assert [f"{record.id} on default/node/{node}: would be undone"] == swept.undone
    assert [record.id] == our_cordons(kube.node(node))

    done = run("--cluster", cluster.path)
    assert done.returncode == 0, done.stdout
    assert f"undone: {record.id}: node {node}: uncordoned" in done.stdout
    assert "everything is as it was found" in done.stdout
    assert our_cordons(kube.node(node)) == [] and "unschedulable" not in kube.node(node)["spec"]

    cordon(kube, node, "node-cordon-cccccccc")
    done = run("--cluster", cluster.path)
    assert done.returncode == 1
    assert f"left, not as found: node {node}: cordon of node-cordon-cccccccc" in done.stdout
    kube.request(
        "PATCH",
        f"/api/v1/nodes/{node}",
        {
            "metadata": {"annotations": {"cordon.steadyset.io/node-cordon-cccccccc": None}},
            "spec": {"unschedulable": None},
        },
    )


def test_a_record_of_another_version_is_said_to_be_one() -> None:
    """One that its fault cannot read does not end the sweep of the others."""
    record = new_record("node-cordon", "default", "node/n", 0.0, {"node": "n"})
    info = ClusterInfo(name="c", provider="embedded", kubeconfig="")
    with pytest.raises(InstrumentError, match="cannot be read: KeyError\\('nodes'\\)") as caught:
        undo_record(info, record, object())  # type: ignore[arg-type]
    assert str(caught.value.seen) == "{'node': 'n'}"
