"""Failure stories of claims: gone under a pod, too small, stuck while growing."""

import pytest

from steadyset.fixtures.conformance.stories import tell
from steadyset.fixtures.conformance.volumes import class_of, expansion_refused, gone, make_claim, run_pod
from steadyset.fixtures.scenario import NotTestedError

CLASS = "steadyset-xfs"  # of the embedded cluster: it grows while mounted


@pytest.mark.requirement("REG-CLM-001")
@pytest.mark.parametrize("sabotage", [False, True], ids=["story", "sabotage"])
def test_claim_is_deleted_under_its_pod(space, report, sabotage):
    """Goal: a claim that is deleted under its pod is made anew when the pod is replaced; the new pod runs.

    Method: delete the claim, which is protected; delete the pod. The sabotage orphans the pod first and makes it again
    without a controller, so that nobody makes the claim.
    """
    recovery = tell(space, "REG-CLM-001", sabotage=sabotage)
    web = space.statefulset(replicas=1)
    web.wait_ready()
    pod = space.need("Pod", "web-0")
    old = space.need("PersistentVolumeClaim", "data-web-0")["metadata"]["uid"]
    space.delete("PersistentVolumeClaim", "data-web-0")
    space.until("the claim is being deleted", lambda: "deletionTimestamp" in web.claims()["data-web-0"]["metadata"])
    if sabotage:
        web.delete("Orphan")
        gone(space, "StatefulSet", "web")
        space.delete("Pod", "web-0")
        gone(space, "Pod", "web-0")
        kept = {"name": "web-0", "labels": {"app": "web"}}
        spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
        space.create({"kind": "Pod", "metadata": kept, "spec": spec})
    else:
        web.delete_pod(0)

    def made_anew():
        claim = web.claims().get("data-web-0")
        return claim and claim["metadata"]["uid"] != old and (claim.get("status") or {}).get("phase") == "Bound"

    space.until("the claim is made anew", made_anew, *recovery)
    web.wait_ready()


@pytest.mark.requirement("REG-SIZ-001")
def test_template_size(space, report):
    """Goal: the size in a volumeClaimTemplate can be raised, as that of a claim can.

    Method: replace the template's size; the API server says whether that is allowed.
    """
    tell(space, "REG-SIZ-001")
    web = space.statefulset(replicas=1)
    web.wait_ready()
    change = [
        {"op": "replace", "path": "/spec/volumeClaimTemplates/0/spec/resources/requests/storage", "value": "64Mi"}
    ]
    answer = space.refused(
        lambda: space.patch("StatefulSet", "web", change, content_type="application/json-patch+json")
    )
    report.promise("the API server allows it", expected="", seen=answer.partition(" ")[0])


@pytest.mark.requirement("REG-SIZ-002")
@pytest.mark.since("1.34")
@pytest.mark.needs("node-exec")
@pytest.mark.parametrize("sabotage", [False, True], ids=["story", "sabotage"])
def test_expansion_that_the_storage_refuses(space, report, sabotage):
    """Goal: a claim that asked for too much grows once it asks for less.

    Method: ask for more than the driver gives, wait until it has refused twice, ask for a little more than before. The
    sabotage looks before it asks for less.
    """
    tell(space, "REG-SIZ-002", sabotage=sabotage)
    if not class_of(space, CLASS).get("allowVolumeExpansion"):
        raise NotTestedError(f"StorageClass {CLASS} does not allow expansion")
    make_claim(space, storage_class=CLASS, size="320Mi")
    run_pod(space, "web", claim="data")

    def ask(size):
        space.patch("PersistentVolumeClaim", "data", {"spec": {"resources": {"requests": {"storage": size}}}})

    def capacity():
        claim = space.view.get("PersistentVolumeClaim", "data") or {}
        return (claim.get("status") or {}).get("capacity", {}).get("storage", "")

    ask("100Ti")
    expansion_refused(space, "data")
    if not sabotage:
        ask("448Mi")
        space.until("the claim has grown", lambda: capacity() == "448Mi")
    report.promise("the claim has grown", expected="448Mi", seen=capacity())
