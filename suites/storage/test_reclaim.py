"""Reclaim policies: what becomes of a volume whose claim is deleted, and how its data comes back."""

from pathlib import Path

import pytest

from steadyset.fixtures.conformance.volumes import (
    ask,
    bound,
    class_like,
    end_pod,
    gone,
    make_claim,
    phase_now,
    pod_manifest,
    run_pod,
    told,
    volume,
    volume_gone,
    volume_phase,
)


def _used_and_released(space, name, policy=""):
    """Write to a new claim of the class, set the volume's `policy`, delete pod and claim; returns the volume's name."""
    make_claim(space, storage_class=name)
    run_pod(space, "web", claim="data")
    ask(space, "web", "append?key=web&value=1", "POST")
    kept = bound(space)
    if policy:
        space.patch("PersistentVolume", kept, {"spec": {"persistentVolumeReclaimPolicy": policy}})
    end_pod(space, "web")
    space.delete("PersistentVolumeClaim", "data")
    gone(space, "PersistentVolumeClaim", "data")
    return kept


@pytest.mark.requirement("STO-REC-001")
def test_delete(space, report):
    """Goal: with Delete the volume, and the storage behind it, go with the claim.

    Method: write, delete the claim, wait for the volume's end; on the embedded cluster look for the disk's image.
    """
    with class_like(space, reclaimPolicy="Delete") as name:
        old = _used_and_released(space, name)
        volume_gone(space, old)
        if space.info.can("node-exec"):
            left = list((Path(space.info.path).parent / "san" / "volumes").glob(f"{old}.*"))
            report.promise("the disk itself is gone", expected=[], seen=left)
        attached = [a["spec"]["source"].get("persistentVolumeName") for a in space.items("VolumeAttachment")]
        report.promise("nothing is attached any more", expected=False, seen=old in attached)


@pytest.mark.requirement("STO-REC-002", "STO-REC-003", "STO-REC-004")
@pytest.mark.parametrize("policy", ["", "Retain"], ids=["of-the-class", "changed-on-the-volume"])
def test_retain_and_rebind(space, report, policy):
    """Goal: with Retain a volume keeps its data, is given to nobody, and serves again once its old claim is forgotten.

    Method: release it, ask for it by name, clear its claimRef, read everything back; then Delete cleans up.
    """
    with class_like(space, reclaimPolicy="Delete" if policy else "Retain") as name:
        kept = _used_and_released(space, name, policy)
        space.until("the volume is Released", lambda: volume_phase(space, kept) == "Released")
        make_claim(space, storage_class=name, volumeName=kept)
        told(space, "data", "FailedBinding")
        report.promise("a released volume is given to nobody", expected="Pending", seen=phase_now(space, "data"))
        space.patch("PersistentVolume", kept, {"spec": {"claimRef": None}})
        report.promise("the same volume is bound again", expected=kept, seen=bound(space))
        space.patch("PersistentVolume", kept, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
        run_pod(space, "web", claim="data")
        seen = ask(space, "web", "values?key=web")["values"]
        report.promise("with what was acknowledged", expected=[1], seen=seen)
        end_pod(space, "web")
        space.delete("PersistentVolumeClaim", "data")
        volume_gone(space, kept)
        report.promise("and goes with Delete", expected={}, seen=volume(space, kept))


@pytest.mark.requirement("STO-PRO-001", "STO-PRO-002")
def test_protection(space, report):
    """Goal: a claim in use, and a volume that is bound, outlive their deletion until nobody uses them.

    Method: delete volume and claim under a running pod; write on; delete the pod.
    """
    with class_like(space, reclaimPolicy="Delete") as name:
        made = make_claim(space, storage_class=name)
        run_pod(space, "web", claim="data")
        used = bound(space)
        space.data.write("web")
        space.delete("PersistentVolume", used)
        space.delete("PersistentVolumeClaim", "data")

        def terminating():
            claim = space.view.get("PersistentVolumeClaim", "data")
            both = (claim or {"metadata": {}}, volume(space, used) or {"metadata": {}})
            return all("deletionTimestamp" in each["metadata"] for each in both)

        space.until("both are being deleted", terminating)
        space.data.write("web")
        finalizers = (space.read("PersistentVolumeClaim", "data") or made)["metadata"].get("finalizers", [])
        report.promise("the claim is protected", expected=True, seen="kubernetes.io/pvc-protection" in finalizers)
        space.create(pod_manifest(space, "late", claim="data"))
        told(space, "late", "FailedScheduling", "being deleted")
        space.data.read_back()
        space.delete("Pod", "late")
        end_pod(space, "web")
        gone(space, "PersistentVolumeClaim", "data")
        volume_gone(space, used)
