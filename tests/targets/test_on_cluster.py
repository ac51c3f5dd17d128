"""`nightly --target` at a Redis that was deployed with kubectl: by a least-privilege account, and one that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadyset.clusterinfo import ClusterInfo

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]
HERE = Path(__file__).parent
MANIFEST = HERE.parent.parent / "docs" / "rbac-target.yaml"
OWN = "statefulsets,services,persistentvolumeclaims,secrets,configmaps"
UIDS = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.uid}{'\\n'}{end}"
Kubectl = Callable[..., str]


def nightly(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command, with its result as JSON on stdout."""
    argv = [sys.executable, "-m", "steadyset", "nightly", "--runs", str(folder / "runs"), "--json", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def described(folder: Path, **changes: Any) -> str:
    """target.yaml with some keys replaced; a value of None leaves one out."""
    content = {**yaml.safe_load((HERE / "target.yaml").read_text()), **changes}
    path = folder / "target.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    return str(path)


def uids(kubectl: Kubectl) -> set[str]:
    """Kind, name and UID of everything that makes up the cart (its pods come and go)."""
    return set(kubectl("-n", "shop", "get", OWN, "-o", UIDS).split())


def keys(kubectl: Kubectl) -> list[str]:
    """Every key of every member."""
    found: list[str] = []
    for n in range(3):
        said = kubectl(
            "-n", "shop", "exec", f"cart-{n}", "-c", "redis", "--", "redis-cli", "--no-auth-warning", "keys", "*"
        )
        found += said.split()
    return found


@pytest.fixture(scope="module")
def theirs(kubectl: Kubectl, cart: str, kubeconfig_of: Callable[[str, str], Path]) -> Path:
    """A kubeconfig of the account that docs/rbac-target.yaml makes in the cart's namespace."""
    kubectl("apply", "-f", str(MANIFEST))
    return kubeconfig_of(cart, "steadyset")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of foreign clusters lies in a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.slow
def test_by_a_least_privilege_account(cluster: ClusterInfo, kubectl: Kubectl, theirs: Path, tmp_path: Path) -> None:
    """PASS on a cluster that is not ours; its objects are the same ones afterwards, and no key of ours is left."""
    before = uids(kubectl)
    arguments = ("--target", described(tmp_path), "--kubeconfig", str(theirs), "--confirm-uid", cluster.uid)
    done = nightly(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    (scenario,) = result["scenarios"]
    assert scenario["judgements"]["set-durability"] == "PASS"
    assert scenario["judgements"]["pvc-retention"] == "PASS"
    assert any(item["reason"].endswith("has no node-evidence") for item in result["not_tested"])
    assert uids(kubectl) == before
    assert keys(kubectl) == []


WRONG = {
    "selector": ({"selector": "shop/part=cartt"}, "matches the target's selector", "shop/part=cartt"),
    "secret": ({"credentials": {"secret": "cart"}}, "Secret cart does not exist", "namespace shop"),
    "key": ({"credentials": {"secret": "cart-auth"}}, "has no key password", "one of: pass, stale"),
    "password": (
        {"credentials": {"secret": "cart-auth", "password_key": "stale"}},
        "does not let us in",
        "invalid username-password pair",
    ),
    "group": ({"connect": {"group": "card"}}, "does not let us in", "No such master"),
    "port": ({"connect": {"group": "cart", "port": 6380}}, "does not let us in", "cart-0"),
    "members": ({"faults": ["kill-all"]}, "kill-all would be refused", "blast radius"),
}
IN_CI = ("group", "members")  # the rest takes as long again


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in IN_CI else pytest.mark.slow) for n in WRONG])
def test_what_is_wrong_is_said_first(
    name: str, cluster: ClusterInfo, kubectl: Kubectl, cart: str, tmp_path: Path
) -> None:
    """Exit 2 with what was expected and seen; no pod is another one, and no key was written."""
    changes, message, detail = WRONG[name]
    pods = kubectl("-n", cart, "get", "pods", "-o", UIDS)
    done = nightly("--target", described(tmp_path, **changes), "--cluster-name", cluster.name, folder=tmp_path)
    assert done.returncode == 2, done.stderr[-3000:]
    assert message in done.stderr
    assert detail in done.stderr
    assert kubectl("-n", cart, "get", "pods", "-o", UIDS) == pods
    assert keys(kubectl) == []


def test_a_namespace_that_did_not_opt_in(cluster: ClusterInfo, kubectl: Kubectl, cart: str, tmp_path: Path) -> None:
    """Nothing is broken, and nothing is written, where nobody said that it may be."""
    kubectl("label", "namespace", cart, "steadyset.dev/chaos-")
    try:
        done = nightly("--target", described(tmp_path), "--cluster-name", cluster.name, folder=tmp_path)
    finally:
        kubectl("label", "namespace", cart, "steadyset.dev/chaos=allowed")
    assert done.returncode == 2
    assert f"kubectl label namespace {cart} steadyset.dev/chaos=allowed" in done.stderr
    assert keys(kubectl) == []


@pytest.mark.slow
def test_a_right_that_is_missing(cluster: ClusterInfo, kubectl: Kubectl, theirs: Path, tmp_path: Path) -> None:
    """By the API server's own word, with what it is for."""
    kubectl("-n", "shop", "delete", "rolebinding", "steadyset-target")
    try:
        arguments = ("--target", described(tmp_path), "--kubeconfig", str(theirs), "--confirm-uid", cluster.uid)
        done = nightly(*arguments, folder=tmp_path)
    finally:
        kubectl("apply", "-f", str(MANIFEST))
    assert done.returncode == 2, done.stderr[-3000:]
    assert "create/get pods/portforward (reach members from outside the cluster)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("cart", ["0"], indirect=True, ids=["no replica needed"])
def test_a_wrong_one_is_found_out(cart: str, cluster: ClusterInfo, kubectl: Kubectl, tmp_path: Path) -> None:
    """A primary that needs no replica goes on behind a partition: the writes that this costs are found, by name."""
    before = uids(kubectl)
    target = described(tmp_path, faults=["isolate-primary"], claims=[{"set-durability": {"loss_window_s": 3}}])
    done = nightly("--target", target, "--cluster-name", cluster.name, folder=tmp_path)
    assert done.returncode == 1, done.stderr[-4000:]
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["judgements"]["set-durability"] == "FAIL"
    assert "acknowledged adds are lost" in done.stderr
    assert uids(kubectl) == before
    assert keys(kubectl) == []
