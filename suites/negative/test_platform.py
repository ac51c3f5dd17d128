"""Negative controls of the storage, placement and naming suites: a rogue acts in a controller's or an administrator's
place, and the rule that it breaks must say so.
"""

import time

import pytest

from steadyset.chaos.faults.volume_detach import FAULT as VOLUME_DETACH

pytestmark = [pytest.mark.control]

EVERYTHING = {"max_pods": "all", "max_nodes": "all"}  # what is hit is the test's own: there is no quorum to keep
LAG_S = 6.0  # longer than endpoints-ready allows an endpoint to differ from its pod


@pytest.mark.requirement("STO-ATT-003")
@pytest.mark.fault("volume-detach")
def test_a_volume_is_detached_while_mounted(space, chaos, report):
    """Goal: a volume that is taken from a running pod is found to have been detached before it was unmounted."""
    report.expect("FAIL", rule="rwo-single-node")
    report.judge("rwo-single-node", mounts=space.info.can("node-evidence"))
    web = space.statefulset(replicas=1)
    web.wait_ready()
    with chaos.inject(VOLUME_DETACH, "web-0", **EVERYTHING):
        pass
    web.wait_ready()


@pytest.mark.requirement("SCH-PDB-001")
def test_an_eviction_ignores_the_budget(space, report):
    """Goal: an eviction that leaves fewer members than the budget demands is found.

    Method: a rogue marks a pod as evicted, as the eviction API does, and deletes it while the budget is spent.
    """
    report.expect("FAIL", rule="pdb-respected")
    report.judge("pdb-respected")
    web = space.statefulset(replicas=1, volumes=False)
    web.wait_ready()
    budget = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    space.create({"kind": "PodDisruptionBudget", "metadata": {"name": "budget"}, "spec": budget})

    def demanded():
        found = space.view.get("PodDisruptionBudget", "budget") or {}
        return (found.get("status") or {}).get("desiredHealthy") == 1

    space.until("the budget is known", demanded)
    uid = web.uids()["web-0"]
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    strategic = "application/strategic-merge-patch+json"
    space.patch("Pod", "web-0", {"status": {"conditions": [target]}}, sub="status", content_type=strategic)
    space.delete("Pod", "web-0")
    web.wait_replaced(0, uid)


@pytest.mark.requirement("DNS-HLS-001")
def test_an_endpoint_of_a_pod_that_is_not_ready(space, report):
    """Goal: a Service that leads to a member that is not ready is found.

    Method: a rogue publishes the address of a member whose readiness gate is closed.
    """
    report.expect("FAIL", rule="endpoints-ready")
    report.judge("endpoints-ready")
    web = space.statefulset(replicas=1, volumes=False, gated=True)
    pod = space.until("the member has an address", lambda: _with_address(web))
    target = {"kind": "Pod", "name": "web-0", "namespace": space.name, "uid": pod["metadata"]["uid"]}
    ready = {"ready": True, "serving": True, "terminating": False}
    manifest = {
        "kind": "EndpointSlice",
        "metadata": {"name": "rogue", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod["status"]["podIP"]], "conditions": ready, "targetRef": target}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
    space.create(manifest)
    begin = time.monotonic()
    space.until("longer than any lag", lambda: time.monotonic() - begin > LAG_S)


def _with_address(web):
    pod = web.pods().get("web-0") or {}
    return pod if (pod.get("status") or {}).get("podIP") else None
