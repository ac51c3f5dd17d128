"""volume-detach on a real cluster, sabotage included."""

from __future__ import annotations

import pytest

from steadyset.chaos.faults.volume_detach import FAULT
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.runner import FaultError, inject
from steadyset.chaos.volumes import ATTACHMENTS
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir

pytestmark = pytest.mark.cluster


def test_writer_sees_eio_and_a_new_pod_gets_the_volume_back(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Detached and EIO; after the heal another pod is Ready on the same claim, attached and writable."""
    before = kube.need_pod(ready, "member-0")
    with inject(cluster, run_dir, "detach", FAULT, "member-0", namespace=ready) as span:
        assert any("EIO" in line for line in span.bite), span.bite
    assert span.error == ""
    assert uid_of(before) != uid_of(kube.pod(ready, "member-0"))
    assert any("takes writes" in line for line in span.healing)


@pytest.mark.slow
def test_a_detach_that_changes_nothing_is_invalid(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Sabotage: a finalizer of ours keeps the attachment, as a storage that does not detach would."""
    claim = kube.get(f"/api/v1/namespaces/{ready}/persistentvolumeclaims/data-member-1")
    assert claim is not None
    found = [
        a for a in kube.items(ATTACHMENTS) if a["spec"]["source"]["persistentVolumeName"] == claim["spec"]["volumeName"]
    ]
    name = found[0]["metadata"]["name"]
    driver = kube.get(f"/apis/storage.k8s.io/v1/csidrivers/{found[0]['spec']['attacher']}")
    assert driver is not None
    path = f"{ATTACHMENTS}/{name}"
    before = kube.need_pod(ready, "member-1")
    kube.request("PATCH", path, {"spec": {}, "metadata": {"finalizers": ["steadyset.io/sabotage"]}})
    try:
        with (
            pytest.raises(FaultError, match="did not bite"),
            inject(cluster, run_dir, "detach", FAULT, "member-1", namespace=ready, deadlines={"bite_s": 6.0}),
        ):
            pytest.fail("the fault was held though the writer goes on")
    finally:
        kube.request("PATCH", path, {"metadata": {"finalizers": None}})
    assert uid_of(before)
