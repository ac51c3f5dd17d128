"""A cluster that lacks things: it is opened all the same for conformance, and single tests say what they miss."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from steadyset.chaos.kube import RefusedError
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.fixtures.clusters.kubeconfig import open_cluster
from steadyset.fixtures.conformance.rights import PREFIX, RIGHTS
from steadyset.fixtures.conformance.selection import check
from steadyset.fixtures.scenario import NotTestedError

MANIFEST = Path(__file__).parent.parent.parent / "docs" / "rbac-conformance.yaml"
UID = "11111111-2222-3333-4444-555555555555"


class PoorCluster(BaseHTTPRequestHandler):
    """An old API server without StorageClasses, whose nodes may not be listed."""

    ANSWERS: ClassVar[dict[str, tuple[int, dict[str, Any]]]] = {
        "/version/": (200, {"major": "1", "minor": "27", "gitVersion": "v1.27.3", "gitCommit": "", "gitTreeState": "",
                            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
        "/api/v1/namespaces/kube-system": (200, {"metadata": {"name": "kube-system", "uid": UID}}),
        "/api/v1/nodes": (403, {"kind": "Status", "reason": "Forbidden", "message": "nodes is forbidden"}),
        "/apis/storage.k8s.io/v1/storageclasses": (200, {"items": []}),
    }  # fmt: skip

    def do_GET(self) -> None:
        """Answer from the table."""
        status, body = self.ANSWERS.get(self.path, (404, {"kind": "Status", "message": self.path}))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), PoorCluster)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "poor",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "poor", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    yield str(path)
    server.shutdown()
    server.server_close()


def test_a_stack_is_refused_there(kubeconfig: str) -> None:
    """Nightly needs all of it, and says what is missing before anything is done."""
    with pytest.raises(UsageError, match="refused"):
        open_cluster(kubeconfig, confirm_uid=UID)


def test_conformance_opens_it(kubeconfig: str) -> None:
    """Without nodes and without a StorageClass."""
    info = open_cluster(kubeconfig, confirm_uid=UID, lenient=True)
    assert (info.nodes, info.storage_class, info.capabilities, info.version) == ([], "", [], "1.27.3")


def test_a_storage_class_that_was_asked_for_must_be_there(kubeconfig: str) -> None:
    with pytest.raises(UsageError, match="no StorageClass fast"):
        open_cluster(kubeconfig, confirm_uid=UID, lenient=True, storage_class="fast")


def test_the_manifest_grants_what_the_suites_need_and_no_more() -> None:
    """Nothing by wildcard, and the fence knows the names that the suites give."""
    documents = {d["kind"]: d for d in yaml.safe_load_all(MANIFEST.read_text())}
    rules = documents["ClusterRole"]["rules"]
    granted = {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
    assert granted == {
        (right.group, f"{right.resource}/{right.subresource}" if right.subresource else right.resource, verb)
        for right in RIGHTS
        for verb in right.verbs
    }
    fence = documents["ValidatingAdmissionPolicy"]["spec"]
    assert f"startsWith('{PREFIX}')" in fence["validations"][0]["expression"]
    account = documents["ServiceAccount"]["metadata"]
    assert f"serviceaccount:{account['namespace']}:{account['name']}" in fence["matchConditions"][0]["expression"]


@pytest.mark.parametrize(
    ("status", "message", "unauthorized"),
    [
        (403, 'pods is forbidden: User "u" cannot create resource "pods" in API group "" at the cluster scope', True),
        (403, 'pods "web-0" is forbidden: exceeded quota: one, requested: pods=1', False),
        (403, "pods \"web-0\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", False),
        (404, 'User "u" cannot be found', False),
    ],
)
def test_only_a_missing_right_makes_a_test_not_tested(status: int, message: str, unauthorized: bool) -> None:
    """A quota or an admission plugin answers 403 too, and may be what a test is about."""
    assert RefusedError(status, "Forbidden", message).unauthorized is unauthorized


class Item:
    """A pytest item of one conformance test."""

    def __init__(self, *ids: str, skip: str = "", since: str = "") -> None:
        self.marks = {"requirement": [pytest.mark.requirement(*ids).mark] if ids else []}
        self.marks["since"] = [pytest.mark.since(since).mark] if since else []
        self.config = self
        self.options = {"not_these": skip}

    def getoption(self, name: str) -> str:
        return self.options[name]

    def iter_markers(self, name: str) -> list[Any]:
        return self.marks[name]

    def get_closest_marker(self, name: str) -> Any:
        return next(iter(self.marks[name]), None)


@pytest.mark.parametrize(
    ("item", "version", "reason"),
    [
        (Item("STS-ORD-001"), "1.27.3", "Kubernetes 1.30 or newer is needed, the cluster has 1.27.3"),
        (Item("STS-UPD-008"), "1.34.8", "Kubernetes 1.35 or newer is needed"),
        (Item("STS-ORD-001", since="1.36"), "1.35.4", "Kubernetes 1.36 or newer is needed"),
        (Item("STS-ORD-001", skip="STS-ORD-*"), "1.35.4", "left out by --skip: STS-ORD-001"),
        (Item("STS-ORD-001", "STS-ID-001", skip="STS-ORD-*"), "1.35.4", ""),
        (Item("STS-UPD-008"), "1.36.0", ""),
        (Item(), "1.27.3", ""),
    ],
)
def test_what_is_not_tested_and_why(item: Any, version: str, reason: str) -> None:
    info = ClusterInfo(name="c", provider="kubeconfig", kubeconfig="k", version=version)
    if not reason:
        check(item, info)
        return
    with pytest.raises(NotTestedError, match=reason.replace("*", ".")):
        check(item, info)
