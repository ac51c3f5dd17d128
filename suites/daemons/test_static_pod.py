"""Static pods: what lies in the node's folder runs, the API server only mirrors it."""

import pytest

from steadyset.chaos.kube import container_ids
from steadyset.fixtures.conformance.static import MIRROR, static_pod
from steadyset.fixtures.conformance.volumes import gone, pod_manifest, ready_pod

pytestmark = pytest.mark.needs("node-exec")


@pytest.mark.requirement("DMN-STA-001", "DMN-STA-002", "DMN-STA-003")
def test_mirror_pod(space, report):
    """Goal: a static pod is mirrored; deleting the mirror stops nothing, removing its file stops it.

    Method: put the file there, write to the pod; delete the mirror and wait for the next one; remove the file.
    """
    node = space.nodes()[-1]
    mirror = f"web-{node}"
    with static_pod(space, node, pod_manifest(space, "web")) as file:
        pod = ready_pod(space, mirror)
        report.promise("the pod mirrors a static one", expected=True, seen=MIRROR in pod["metadata"]["annotations"])
        report.promise("its node owns it", expected=node, seen=pod["metadata"]["ownerReferences"][0]["name"])
        space.data.write(mirror)
        running, uid = container_ids(pod), pod["metadata"]["uid"]
        space.delete("Pod", mirror, grace_s=0)

        def another():
            found = space.view.get("Pod", mirror)
            return found and found["metadata"]["uid"] != uid and container_ids(found)

        seen = space.until("the mirror is back", another)
        report.promise("its container ran on", expected=running, seen=seen)
        space.data.read_back()
        file.unlink()
        gone(space, "Pod", mirror)


@pytest.mark.requirement("DMN-STA-004")
def test_changed_file(space, report):
    """Goal: a static pod whose file changes is replaced by one of the new manifest.

    Method: write the file again with another label; wait for another container under that label.
    """
    node = space.nodes()[-1]
    mirror = f"web-{node}"
    with static_pod(space, node, pod_manifest(space, "web")):
        first = container_ids(ready_pod(space, mirror))
        with static_pod(space, node, pod_manifest(space, "web", labels={"revision": "2"})):

            def replaced():
                found = space.view.get("Pod", mirror)
                return (
                    found
                    and found["metadata"]["labels"].get("revision") == "2"
                    and container_ids(found) not in ([], first)
                )

            space.until("the new one runs", replaced)
            labels = ready_pod(space, mirror)["metadata"]["labels"]
            report.promise("its mirror bears the new label", expected="2", seen=labels["revision"])
    gone(space, "Pod", mirror)
