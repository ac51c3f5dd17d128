"""The embedded cluster given as a foreign one, by its API alone, with the account that docs/rbac.yaml makes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.fixtures.clusters import kubeconfig

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]
MANIFEST = Path(__file__).parent.parent.parent / "docs" / "rbac.yaml"


@pytest.fixture(scope="module")
def theirs(kubectl: Callable[..., str], kubeconfig_of: Callable[[str, str], Path]) -> Iterator[Path]:
    """A kubeconfig of the account steadyset/steadyset."""
    kubectl("apply", "-f", str(MANIFEST))
    yield kubeconfig_of("steadyset", "steadyset")
    kubectl("delete", "-f", str(MANIFEST))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of foreign clusters lies in a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_it_must_be_confirmed(cluster: ClusterInfo, theirs: Path) -> None:
    """Nothing is killed in a cluster that nobody confirmed; the error has the UID to confirm with."""
    for given in ("", "some-other-uid"):
        with pytest.raises(UsageError, match="is not confirmed") as caught:
            kubeconfig.open_cluster(str(theirs), confirm_uid=given)
        assert caught.value.do.endswith(f"--confirm-uid {cluster.uid}")


def test_what_it_offers_is_looked_up(cluster: ClusterInfo, theirs: Path) -> None:
    """No machine, hence no node capability; its driver attaches volumes; children find its description."""
    info = kubeconfig.open_cluster(str(theirs), confirm_uid=cluster.uid)
    assert (info.provider, info.uid, info.version) == ("kubeconfig", cluster.uid, cluster.version)
    assert info.capabilities == ["volume-attach"]
    assert info.storage_class == cluster.storage_class
    assert [node.name for node in info.nodes] == [node.name for node in cluster.nodes]
    saved = msgspec.json.decode(Path(info.path).read_bytes(), type=ClusterInfo)
    assert saved == info


def test_an_unknown_storage_class_is_named(cluster: ClusterInfo, theirs: Path) -> None:
    """With those there are."""
    with pytest.raises(UsageError, match="has no StorageClass golden") as caught:
        kubeconfig.open_cluster(str(theirs), confirm_uid=cluster.uid, storage_class="golden")
    assert cluster.storage_class in caught.value.expected


def test_a_missing_right_is_named(cluster: ClusterInfo, kubectl: Callable[..., str], theirs: Path) -> None:
    """Asked of the API server before anything is deployed; the error names what for."""
    kubectl("-n", "steadyset-postgresql", "delete", "rolebinding", "steadyset")
    try:
        with pytest.raises(UsageError, match="may not do") as caught:
            kubeconfig.open_cluster(str(theirs), confirm_uid=cluster.uid)
        assert "statefulsets.apps (the workloads)" in caught.value.seen
        assert "nodes" not in caught.value.seen
    finally:
        kubectl("apply", "-f", str(MANIFEST))


@pytest.mark.slow
def test_the_suites_run_there(cluster: ClusterInfo, kubectl: Callable[..., str], theirs: Path, tmp_path: Path) -> None:
    """What needs a machine is not tested, the rest passes, and the namespace is empty afterwards."""
    argv = [sys.executable, "-m", "steadyset", "nightly", "--kubeconfig", str(theirs), "--confirm-uid", cluster.uid]
    argv += ["--suite", "identity,ordering", "--runs", str(tmp_path / "runs"), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = msgspec.json.decode(done.stdout)
    assert [s["verdict"] for s in result["scenarios"]] == ["PASS", "PASS"]
    assert any("pod-processes" in item["reason"] for item in result["not_tested"])
    left = kubectl("-n", "steadyset-probe", "get", "all,pvc,secret", "-o", "name").split()
    assert left == []
