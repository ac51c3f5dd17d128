"""Provisioning: a claim gets the volume that it asks for, when it asks for it, and no other."""

import pytest

from steadyset.fixtures.conformance.volumes import (
    DEFAULT_CLASS,
    bound,
    claim_manifest,
    class_like,
    class_of,
    events,
    make_claim,
    node_of,
    phase,
    phase_now,
    pod_manifest,
    ready_pod,
    run_pod,
    static_volume,
    told,
    volume,
    volume_phase,
)
from steadyset.fixtures.scenario import NotTestedError


@pytest.mark.requirement("STO-PRV-001", "STO-BND-001", "STO-BND-002")
@pytest.mark.parametrize("mode", ["Immediate", "WaitForFirstConsumer"])
def test_binding_modes(space, report, mode):
    """Goal: a claim gets a new volume of its class, mode and at least its size: at once, or once a pod wants it.

    Method: a class of each binding mode; look whether the claim is bound before there is a pod; write, read back.
    """
    with class_like(space, volumeBindingMode=mode) as name:
        made = make_claim(space, storage_class=name)
        if mode == "Immediate":
            bound(space)
        else:
            told(space, "data", "WaitForFirstConsumer")
            report.promise("nothing is bound before a pod wants it", expected="Pending", seen=phase_now(space, "data"))
        node = space.nodes()[-1]
        run_pod(space, "web", claim="data", node=node)
        spec = volume(space, bound(space))["spec"]
        claimed = (spec["claimRef"]["namespace"], spec["claimRef"]["uid"])
        report.promise("the volume is this claim's", expected=(space.name, made["metadata"]["uid"]), seen=claimed)
        report.promise("its class", expected=name, seen=spec["storageClassName"])
        report.promise("its access mode", expected=["ReadWriteOnce"], seen=spec["accessModes"])
        report.promise(
            "its reclaim policy is the class's", expected="Delete", seen=spec["persistentVolumeReclaimPolicy"]
        )
        report.promise("the pod is where it asked to be", expected=node, seen=node_of(space, "web"))
        space.data.write("web")
        space.data.read_back()


@pytest.mark.requirement("STO-CLS-001", "STO-CLS-002")
@pytest.mark.parametrize("given", [None, ""], ids=["no-class-given", "empty-class"])
def test_default_class(space, report, given):
    """Goal: a claim that names no class is of the default one; a claim of class "" is of none, and gets no new volume.

    Method: create the claim; with "" give it a volume written by hand, which must be the one it binds to.
    """
    default = class_of(space)
    if default["metadata"].get("annotations", {}).get(DEFAULT_CLASS) != "true":
        raise NotTestedError(f"StorageClass {default['metadata']['name']} is not the cluster's default")
    made = space.create(claim_manifest(storage_class=given))
    if given is None:
        seen = made["spec"].get("storageClassName")
        report.promise("its class is the default one", expected=default["metadata"]["name"], seen=seen)
        return
    with static_volume(space, storageClassName="", claimRef={"namespace": space.name, "name": "data"}) as ours:
        report.promise("it binds to the volume written by hand", expected=ours, seen=bound(space))
        report.promise("nothing was provisioned", expected=[], seen=events(space, "data", "Provisioning"))
        space.delete("PersistentVolumeClaim", "data")


@pytest.mark.requirement("STO-STA-001", "STO-STA-002")
def test_static_volumes(space, report):
    """Goal: a claim binds to the smallest volume that is large enough, and never to one that is reserved for another.

    Method: volumes of 16, 40, 60 and 100 Mi, that of 40 reserved by its claimRef; claims for 30 Mi and for 1 Gi.
    """
    reserved = {"namespace": space.name, "name": "somebody"}
    with (
        static_volume(space, "small"),
        static_volume(space, "reserved", size="40Mi", claimRef=reserved) as kept,
        static_volume(space, "fits", size="60Mi") as fits,
        static_volume(space, "large", size="100Mi") as large,
    ):
        made = (kept, fits, large)  # the controller chooses among those that it has called Available
        space.until("all are Available", lambda: all(volume_phase(space, name) == "Available" for name in made))
        make_claim(space, storage_class=space.name, size="30Mi")
        report.promise("the smallest free one that is large enough", expected=fits, seen=bound(space))
        make_claim(space, "huge", storage_class=space.name, size="1Gi")
        told(space, "huge", "ProvisioningFailed", "not found")
        huge = phase_now(space, "huge")
        report.promise("none is large enough for the other", expected="Pending", seen=huge)
        for name in ("data", "huge"):
            space.delete("PersistentVolumeClaim", name)


@pytest.mark.requirement("STO-CLS-003")
@pytest.mark.needs("node-exec")
def test_parameters_are_refused(space, report):
    """Goal: a class with a parameter that its driver refuses provisions nothing, says why, and keeps its pod waiting.

    Method: a class with an unknown parameter, a claim of it and a pod; then a pod without the claim, to compare.
    """
    with class_like(space, parameters={"no-such-parameter": "x"}) as name:
        make_claim(space, storage_class=name)
        space.create(pod_manifest(space, "web", claim="data"))
        told(space, "data", "ProvisioningFailed", "no-such-parameter")
        run_pod(space, "other")
        report.promise("the claim waits", expected="Pending", seen=phase(space, "data"))
        report.promise("and so does its pod", expected="", seen=node_of(space, "web"))


@pytest.mark.requirement("STO-CLM-001")
def test_claim_arrives_after_its_pod(space, report):
    """Goal: a pod whose claim does not exist yet waits, and runs once the claim is there.

    Method: create the pod, wait until the scheduler says why it waits, create the claim.
    """
    space.create(pod_manifest(space, "web", claim="data"))
    told(space, "web", "FailedScheduling", 'persistentvolumeclaim "data" not found')
    make_claim(space)
    ready_pod(space, "web")
    report.promise("the claim is bound", expected="Bound", seen=phase(space, "data"))
