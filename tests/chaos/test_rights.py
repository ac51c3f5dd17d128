"""Faults by the account of docs/rbac.yaml: its rights are enough, and a missing one is refused by name beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadyset.chaos.blast import ALLOWED, OPT_IN, rights_of
from steadyset.chaos.cases import first_case
from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import located
from steadyset.chaos.runner import inject
from steadyset.chaos.sweep import sweep
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.fixtures import images
from steadyset.fixtures.clusters.kubeconfig import RIGHTS
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

from .conftest import wait_all_ready

MANIFEST = Path(__file__).parent.parent.parent / "docs" / "rbac.yaml"
MORE = MANIFEST.with_name("rbac-cluster-faults.yaml")
NAMESPACE = "steadyset-probe"
RIGHTS_DEADLINE_S = 10.0
BY_KUBECONFIG = [f for f in FAULTS if not f.capabilities]


@pytest.mark.parametrize("fault", BY_KUBECONFIG, ids=str)
def test_the_manifest_grants_what_the_fault_needs(fault: Fault) -> None:
    """Each verb of each right; so the manifests keep up with the catalogue."""
    granted = {(r.group, r.resource, r.subresource, r.namespaced, verb) for r in RIGHTS for verb in r.verbs}
    granted |= more_granted()
    granted |= {(g, r, s, True, v) for g, r, s, namespaced, v in granted if not namespaced}
    wanted = {(r.group, r.resource, r.subresource, r.namespaced, v) for r in rights_of(fault) for v in r.verbs}
    assert wanted <= granted, wanted - granted


def more_granted() -> set[tuple[str, str, str, bool, str]]:
    """What the manifest for faults on the cluster itself adds."""
    roles = [d for d in yaml.safe_load_all(MORE.read_text()) if d["kind"] in ("Role", "ClusterRole")]
    return {
        (group, *f"{resource}/".split("/")[:2], role["kind"] == "Role", verb)  # type: ignore[misc]
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("fault", BY_KUBECONFIG, ids=str)
def test_a_fault_by_kubeconfig_declares_its_rights(fault: Fault) -> None:
    """Otherwise a missing one would show in the middle of it."""
    assert fault.rights


@pytest.fixture(scope="module")
def theirs(
    cluster: ClusterInfo, kube: Kube, kubectl: Callable[..., str], kubeconfig_of: Callable[[str, str], Path]
) -> Iterator[ClusterInfo]:
    """The cluster as the account steadyset/steadyset sees it, with three members in the probe stack's namespace."""
    kubectl("apply", "-f", str(MANIFEST), "-f", str(MORE))
    kubectl("label", "namespace", "kube-system", f"{OPT_IN}={ALLOWED}", "--overwrite")
    kubeconfig = kubeconfig_of("steadyset", "steadyset")
    folder = kubeconfig.parent
    workload = (Path(__file__).parent / "workload.yaml").read_text().replace("IMAGE", images.reference("probe"))
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    documents = list(yaml.safe_load_all(workload))
    for document in documents:
        if document["kind"] == "StatefulSet":
            pod = document["spec"]["template"]["spec"]
            pod["securityContext"] |= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
            pod["containers"][0]["securityContext"] = restricted
    (folder / "workload.yaml").write_text(yaml.safe_dump_all(documents))
    kubectl("-n", NAMESPACE, "apply", "-f", str(folder / "workload.yaml"))
    for node in kube.items("/api/v1/nodes"):
        kubectl("label", "node", node["metadata"]["name"], f"{OPT_IN}={ALLOWED}", "--overwrite")
    wait_all_ready(kube, NAMESPACE)
    yield located(
        ClusterInfo(
            name="theirs",
            provider="kubeconfig",
            kubeconfig=str(kubeconfig),
            confirmed=cluster.uid,
            path=str(folder / "cluster.json"),
        )
    )
    kubectl("label", "namespace", "kube-system", f"{OPT_IN}-")
    kubectl("delete", "-f", str(MANIFEST), "-f", str(MORE))


@pytest.fixture
def account(theirs: ClusterInfo, kube: Kube) -> ClusterInfo:
    """The same, once every member is Ready, with its cluster file written."""
    from steadyset.clusterinfo import save_cluster_info

    save_cluster_info(theirs, Path(theirs.path))
    wait_all_ready(kube, NAMESPACE)
    return theirs


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("name", [f.name for f in BY_KUBECONFIG])
def test_those_rights_are_enough(account: ClusterInfo, run_dir: RunDir, monkeypatch: Any, name: str) -> None:
    """Bitten, healed, swept, and nothing beyond the manifest was asked for: the API server would have refused it."""
    monkeypatch.setenv("STEADYSET_CHAOS_MAX_PODS", "all")
    case = first_case(fault_named(name))
    with inject(account, run_dir, "rights", case.fault, case.target, namespace=NAMESPACE, **case.params) as span:
        assert span.bite
    assert span.error == ""
    swept = sweep(account, namespace=NAMESPACE)
    assert swept.is_clean() and swept.undone == []


TAKEN: list[tuple[str, str, tuple[str, str], str]] = [
    ("pod-kill", "delete", ("steadyset-stack", "pods"), "delete pods (kill the pod)"),
    ("pod-evict", "create", ("steadyset", "pods/eviction"), "create pods/eviction (evict the pod)"),
    ("node-cordon", "patch", ("steadyset", "nodes"), "patch nodes (cordon the node)"),
    ("node-drain", "create", ("steadyset", "pods/eviction"), "create pods/eviction (evict whatever runs on it)"),
    ("node-cordon", "create", ("steadyset-stack", "configmaps"), "create configmaps (undo ledger)"),
]


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(("name", "verb", "where", "says"), TAKEN, ids=[f"{c[0]}-{c[1]}-{c[2][1]}" for c in TAKEN])
def test_a_missing_right_is_refused_by_name(
    kube: Kube,
    kubectl: Callable[..., str],
    account: ClusterInfo,
    tmp_path: Path,
    name: str,
    verb: str,
    where: tuple[str, str],
    says: str,
) -> None:
    """One verb is taken out of the manifest: the fault is refused beforehand, saying which and what for."""
    documents = [d for d in yaml.safe_load_all(MANIFEST.read_text()) if d["kind"] == "ClusterRole"]
    for document in documents:
        for rule in document["rules"]:
            if document["metadata"]["name"] == where[0] and rule["resources"] == [where[1]]:
                rule["verbs"].remove(verb)
        document["rules"] = [rule for rule in document["rules"] if rule["verbs"]]
    (tmp_path / "less.yaml").write_text(yaml.safe_dump_all(documents))
    before = {p["metadata"]["name"]: uid_of(p) for p in kube.pods(NAMESPACE)}
    kubectl("apply", "-f", str(tmp_path / "less.yaml"))
    try:
        refused = wait_for(
            lambda: _refused(account, name),
            what="the authorizer knows of the change",
            deadline_name="RIGHTS_DEADLINE_S",
            deadline_s=RIGHTS_DEADLINE_S,
        )
        assert says in refused.seen, refused
    finally:
        kubectl("apply", "-f", str(MANIFEST))
    assert before == {p["metadata"]["name"]: uid_of(p) for p in kube.pods(NAMESPACE)}
    assert not any(node["spec"].get("unschedulable") for node in kube.items("/api/v1/nodes"))


def _refused(account: ClusterInfo, name: str) -> UsageError | None:
    """What a plan would say, without doing it: the rights are asked anew each time."""
    from steadyset.chaos.blast import admit

    try:
        admit(fault_named(name), account, Kube(account), NAMESPACE, "member-0")
    except UsageError as error:
        return error
    return None


@pytest.mark.cluster
@pytest.mark.slow
def test_an_account_without_any_right_is_refused(
    cluster: ClusterInfo, account: ClusterInfo, kubeconfig_of: Callable[[str, str], Path]
) -> None:
    """The default account of a namespace: it may not even see which cluster this is."""
    kubeconfig = kubeconfig_of(NAMESPACE, "default")
    nobody = located(
        ClusterInfo(
            name="nobody",
            provider="kubeconfig",
            kubeconfig=str(kubeconfig),
            confirmed=cluster.uid,
            path=str(kubeconfig.with_name("cluster.json")),
        )
    )
    from steadyset.clusterinfo import save_cluster_info

    save_cluster_info(nobody, Path(nobody.path))
    with pytest.raises(UsageError, match="the account may not read") as caught:
        fault_named("pod-kill").load().inject(nobody.path, "member-0", namespace=NAMESPACE)
    assert "docs/rbac.yaml" in caught.value.do
