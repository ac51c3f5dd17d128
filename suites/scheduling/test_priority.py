"""Priority and preemption: who matters more takes the place of who matters less, and nobody else's."""

import secrets
from contextlib import contextmanager

import pytest

from steadyset.chaos.kube import RefusedError, is_ready
from steadyset.fixtures.conformance.volumes import cluster_wide, gone, pod_manifest, ready_pod, told, unschedulable
from steadyset.fixtures.scenario import NotTestedError

JSON_PATCH = "application/json-patch+json"


@contextmanager
def _slots(space, count):
    """A resource of the test's own on one node, of which there are `count`; yields (node, resource)."""
    node, name = space.nodes()[0], f"steadyset.dev/slots-{secrets.token_hex(3)}"
    path = f"/status/capacity/{name.replace('/', '~1')}"
    try:
        space.patch(
            "Node", node, [{"op": "add", "path": path, "value": str(count)}], sub="status", content_type=JSON_PATCH
        )
    except RefusedError as error:
        raise NotTestedError(f"the account may not change a node's status: {error.message}") from None
    try:
        yield node, name
    finally:
        space.patch("Node", node, [{"op": "remove", "path": path}], sub="status", content_type=JSON_PATCH)


def _pod(space, name, resource, priority, **spec):
    manifest = pod_manifest(space, name, priorityClassName=priority, **spec)
    wanted = manifest["spec"]["containers"][0]["resources"]
    for kind in ("requests", "limits"):
        wanted[kind] = {**wanted.get(kind, {}), resource: "1"}
    return manifest


def _create(space, name, resource, priority):
    """Create the pod as soon as the API server's admission has heard of its class, which it does by a watch."""
    manifest = _pod(space, name, resource, priority)

    def admitted():
        try:
            return space.create(manifest)
        except RefusedError as error:
            if "no PriorityClass with name" not in error.message:
                raise
            return None

    space.until(f"pod {name} is admitted", admitted)


@contextmanager
def _classes(space, **important):
    low = {"kind": "PriorityClass", "metadata": {"name": "low"}, "value": 10}
    high = {"kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000, **important}
    with cluster_wide(space, low) as less, cluster_wide(space, high) as more:
        yield less["metadata"]["name"], more["metadata"]["name"]


@pytest.mark.requirement("SCH-PRE-001", "SCH-PRE-002")
def test_preemption(space, report):
    """Goal: a pod that matters more evicts one that matters less, and not one that matters as much.

    Method: a node with two places of a made-up resource, taken by a low and a high pod; another high one comes.
    """
    with _slots(space, 2) as (node, resource), _classes(space) as (low, high):
        for name, priority in (("low", low), ("high", high)):
            _create(space, name, resource, priority)
            ready_pod(space, name)
        uid = space.view.get("Pod", "high")["metadata"]["uid"]
        _create(space, "important", resource, high)
        ready_pod(space, "important")
        told(space, "low", "Preempted")
        gone(space, "Pod", "low")  # its place is free as soon as it has ended
        seen = (space.view.get("Pod", "high") or {"metadata": {"uid": ""}})["metadata"]["uid"]
        report.promise("the equal one runs on", expected=uid, seen=seen)
        scheduled = space.view.get("Pod", "important")["spec"]["nodeName"]
        report.promise("it has the freed place", expected=node, seen=scheduled)


@pytest.mark.requirement("SCH-PRE-003")
def test_never_preempts(space, report):
    """Goal: a class with preemptionPolicy Never waits for a place, however much it matters.

    Method: a node with one place, taken by a low pod; a high pod that never preempts comes; delete the low one.
    """
    with _slots(space, 1) as (_, resource), _classes(space, preemptionPolicy="Never") as (low, high):
        _create(space, "low", resource, low)
        ready_pod(space, "low")
        _create(space, "patient", resource, high)
        unschedulable(space, "patient")
        report.promise("the lesser one runs on", expected=True, seen=is_ready(space.view.get("Pod", "low")))
        space.delete("Pod", "low")
        ready_pod(space, "patient")
