"""What a failed test leaves: logs, events and objects of its namespace, and no secret."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import images
from steadyset.fixtures.api import connect, models
from steadyset.fixtures.evidence import collect
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]
LOGGED_DEADLINE_S = 60.0
API_DEADLINE_S = 10.0
PLANTED = "correct-horse-battery"


@pytest.fixture
def namespace(cluster: ClusterInfo) -> Iterator[str]:
    """A namespace with a Secret, and a pod that fails with the Secret's value in its arguments and in its log."""
    core = models().CoreV1Api(connect(cluster))
    name = f"evidence-{secrets.token_hex(3)}"
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_secret(name, {"metadata": {"name": "s"}, "stringData": {"word": PLANTED}})
    wait_for(
        lambda: core.list_namespaced_service_account(name).items,
        what="a service account",
        deadline_name="API_DEADLINE_S",
        deadline_s=API_DEADLINE_S,
    )
    container = {
        "name": "c",
        "image": images.reference("probe"),
        "imagePullPolicy": "IfNotPresent",
        "args": ["-no-such-flag-" + PLANTED],
    }
    core.create_namespaced_pod(name, {"metadata": {"name": "loud"}, "spec": {"containers": [container]}})
    yield name
    core.delete_namespace(name)


def test_logs_and_objects_without_the_secret(cluster: ClusterInfo, namespace: str, tmp_path: Path) -> None:
    """The planted value is in the log and the pod's spec, and in no file; the rest is there to read."""
    core = models().CoreV1Api(connect(cluster))

    def log() -> str:
        pod = core.read_namespaced_pod("loud", namespace)
        statuses = pod.status.container_statuses or []
        if not statuses or not (statuses[0].state.terminated or statuses[0].restart_count):
            return ""
        return str(core.read_namespaced_pod_log("loud", namespace))

    said = wait_for(log, what="the pod's log", deadline_name="LOGGED_DEADLINE_S", deadline_s=LOGGED_DEADLINE_S)
    assert PLANTED in said
    names = collect(cluster, namespace, tmp_path / "logs")
    texts = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert sorted(names) == sorted(texts)
    assert [name for name in texts if name.endswith(".error")] == []
    for form in (PLANTED, base64.b64encode(PLANTED.encode()).decode()):
        assert [name for name, text in texts.items() if form in text] == []
    assert "REDACTED" in texts["loud-c.log"]
    assert '"loud"' in texts["describe-pods.json"]
    assert "Pod/loud" in texts["events.txt"]
    assert any(name.startswith("node-") and "kubelet" in name for name in texts)
