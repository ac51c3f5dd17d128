"""The StatefulSet API: scale and status subresources, lists, patches, collections, and what cannot be changed."""

import pytest

from steadyset.fixtures.conformance.sets import MARK, STRATEGIC_PATCH


@pytest.mark.requirement("STS-API-001")
def test_scale_subresource(space, report):
    """Goal: the scale subresource reads and changes spec.replicas.

    Method: read it at one member, replace it with two, patch it to three, read the StatefulSet each time.
    """
    web = space.statefulset(replicas=1)
    web.wait_ready()
    scale = space.need("StatefulSet", web.name, "scale")
    report.promise("a new set has a scale of one", expected=1, seen=scale["spec"]["replicas"])
    report.promise("and one replica", expected=1, seen=scale["status"]["replicas"])
    scale["metadata"].pop("resourceVersion")
    scale["spec"]["replicas"] = 2
    answer = space.replace("StatefulSet", web.name, scale, sub="scale")
    report.promise("the answer to a replacement", expected=2, seen=answer["spec"]["replicas"])
    report.promise("spec.replicas", expected=2, seen=space.need("StatefulSet", web.name)["spec"]["replicas"])
    space.data.write(web.pod(0))
    patch = {"spec": {"replicas": 3}}
    space.patch("StatefulSet", web.name, patch, sub="scale", content_type=STRATEGIC_PATCH)
    seen = space.need("StatefulSet", web.name)
    report.promise("spec.replicas after a patch", expected=3, seen=seen["spec"]["replicas"])
    web.generation = seen["metadata"]["generation"]
    web.wait_ready(3)
    space.data.read_back()


@pytest.mark.requirement("STS-API-002")
def test_list_patch_and_delete_a_collection(space, report):
    """Goal: a StatefulSet can be patched, found by its label, and deleted with its collection.

    Method: patch label, replicas and template of one, list by the label here and everywhere, delete the collection.
    """
    web = space.statefulset(replicas=1)
    web.wait_ready()
    space.data.write(web.pod(0))
    before = space.need("StatefulSet", web.name)
    label = {"steadyset.dev/patched": space.name}
    template = {
        "metadata": {"annotations": {MARK: "two"}},
        "spec": {"terminationGracePeriodSeconds": 2},
    }
    patch = {"metadata": {"labels": label}, "spec": {"replicas": 2, "template": template}}
    after = web.patch(patch, content_type=STRATEGIC_PATCH)
    newer = int(after["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
    report.promise("the resourceVersion grows", expected=True, seen=newer)
    report.promise("replicas are patched", expected=2, seen=space.need("StatefulSet", web.name)["spec"]["replicas"])
    web.wait_rolled_out()
    report.promise("the template is patched", expected={"two"}, seen=set(web.marks().values()))
    space.data.read_back()
    selector = f"steadyset.dev/patched={space.name}"
    everywhere = space.kube.items("/apis/apps/v1/statefulsets", labelSelector=selector)
    for listed in (space.items("StatefulSet", labelSelector=selector), everywhere):
        report.promise("it is listed by its label", expected=[web.uid], seen=[s["metadata"]["uid"] for s in listed])
    space.delete_collection("StatefulSet", labelSelector=selector)
    space.until("the collection is gone", lambda: not space.items("StatefulSet", labelSelector=selector))
    space.until("its pods are gone", lambda: not space.view.all("Pod"))


@pytest.mark.requirement("STS-API-003")
@pytest.mark.takes(4)
def test_status_subresource(space, report):
    """Goal: status can be read, replaced and patched through its subresource, and a watch sees every change.

    Method: add a condition by replacing the status and another by patching it; look for both on the trace.
    """
    web = space.statefulset(replicas=1)
    web.wait_ready()
    space.data.write(web.pod(0))
    space.data.read_back()
    read = space.need("StatefulSet", web.name, "status")
    report.promise("the status is read", expected=1, seen=read["status"]["readyReplicas"])
    replaced = {"type": "Replaced", "status": "True", "reason": "Test", "message": "by a PUT"}
    read["status"]["conditions"] = [replaced]
    space.replace("StatefulSet", web.name, read, sub="status")
    space.until("a watch sees the replaced status", lambda: replaced in _conditions(web))
    patched = {"type": "Patched", "status": "True"}
    space.patch("StatefulSet", web.name, {"status": {"conditions": [patched]}}, sub="status")
    space.until("a watch sees the patched status", lambda: patched in _conditions(web))
    report.promise("the spec was not touched", expected=web.generation, seen=web.seen["metadata"]["generation"])


def _conditions(web):
    found = []
    for record in web.space.view.states("StatefulSet", web.name):
        for condition in (record.obj.get("status") or {}).get("conditions") or []:
            found.append({k: v for k, v in condition.items() if v and k != "lastTransitionTime"})
    return found


@pytest.mark.requirement("STS-API-004")
@pytest.mark.parametrize(
    "change",
    [
        {"selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}}},
        {"serviceName": "other"},
        {"podManagementPolicy": "Parallel"},
        {"volumeClaimTemplates": []},
    ],
    ids=["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"],
)
def test_what_cannot_be_changed(space, report, change):
    """Goal: the API server refuses to change what the identity of the members rests on, and says why.

    Method: patch it, and look at the refusal and at the StatefulSet.
    """
    web = space.statefulset(replicas=0)
    before = space.need("StatefulSet", web.name)["spec"]
    refusal = space.refused(lambda: space.patch("StatefulSet", web.name, {"spec": change}))
    report.promise("the change is refused", expected="422 Invalid", seen=refusal[:11])
    report.promise("nothing was changed", expected=before, seen=space.need("StatefulSet", web.name)["spec"])
