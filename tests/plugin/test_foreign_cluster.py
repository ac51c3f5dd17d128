"""Clusters that are not ours: what their account may do, what is confirmed, what the errors say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from steadyset.chaos.blast import OPT_IN
from steadyset.chaos.planes import RIGHTS as PLANES
from steadyset.chaos.planes import SERVICES
from steadyset.errors import UsageError
from steadyset.fixtures.clusters.kubeconfig import RIGHTS, look_at, stack_namespaces
from steadyset.fixtures.standing import LABEL

MANIFEST = Path(__file__).parent.parent.parent / "docs" / "rbac.yaml"


def documents(kind: str) -> dict[str, dict[str, object]]:
    """The manifest's objects of a kind, by namespace/name."""
    found = [d for d in yaml.safe_load_all(MANIFEST.read_text()) if d["kind"] == kind]
    return {f"{d['metadata'].get('namespace', '')}/{d['metadata']['name']}": d for d in found}


def granted(role: str) -> set[tuple[str, str, str]]:
    """(group, resource, verb) of a ClusterRole of the manifest."""
    rules = documents("ClusterRole")[f"/{role}"]["rules"]
    assert isinstance(rules, list)
    return {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}


@pytest.mark.parametrize(("role", "namespaced"), [("steadyset", False), ("steadyset-stack", True)])
def test_the_manifest_grants_what_is_needed_and_no_more(role: str, namespaced: bool) -> None:
    """doctor asks for RIGHTS; the manifest that it points to grants exactly those."""
    needed = {
        (right.group, f"{right.resource}/{right.subresource}" if right.subresource else right.resource, verb)
        for right in RIGHTS
        if right.namespaced is namespaced
        for verb in right.verbs
    }
    assert granted(role) == needed


def test_the_manifest_lets_a_pod_be_cut_from_the_api_server_and_dns() -> None:
    """Where these are is looked up in namespaces that are no stack's."""
    for plane, (namespace, _) in SERVICES.items():
        rules = documents("Role")[f"{namespace}/steadyset-planes"]["rules"]
        assert isinstance(rules, list)
        found = {
            (g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
        }
        assert found == {(r.group, r.resource, verb) for r in PLANES[plane] for verb in r.verbs}
        assert {r.space for r in PLANES[plane]} == {namespace}


def test_the_manifest_has_a_namespace_for_each_stack() -> None:
    """Open to faults, made to stay, and bound to the rights there."""
    assert set(documents("Namespace")) == {"/steadyset", *(f"/{name}" for name in stack_namespaces())}
    for name in stack_namespaces():
        labels = documents("Namespace")[f"/{name}"]["metadata"]["labels"]  # type: ignore[index]
        assert (labels[OPT_IN], labels[LABEL]) == ("allowed", "true")
        assert f"{name}/steadyset" in documents("RoleBinding")


def test_nothing_is_granted_by_wildcard() -> None:
    """`*` would make every other line of the manifest decoration."""
    assert not any("*" in part for role in ("steadyset", "steadyset-stack") for part in granted(role))


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    """The error says which file, and how to give another."""
    with pytest.raises(UsageError, match="no kubeconfig at") as caught:
        look_at(str(tmp_path / "none"))
    assert "--kubeconfig" in caught.value.do


def test_a_kubeconfig_without_the_context_is_named(tmp_path: Path) -> None:
    """A misspelt context is bad input, not a crash."""
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n")
    with pytest.raises(UsageError, match="cannot be used"):
        look_at(str(path), context="elsewhere")


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """Nobody listens there: the error has the address and the command that shows it."""
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    with pytest.raises(UsageError, match=r"https://127\.0\.0\.1:1 does not answer"):
        look_at(str(path))
