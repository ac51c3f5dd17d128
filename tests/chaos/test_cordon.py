"""Several cordons of one node, by the real API server: each undoes only its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steadyset.chaos.cordon import cordon, our_cordons, uncordon
from steadyset.chaos.kube import Kube

pytestmark = pytest.mark.cluster
OURS, THEIRS = "node-drain-aaaaaaaa", "node-cordon-bbbbbbbb"


@pytest.fixture
def node(kube: Kube) -> Iterator[str]:
    """The last node, open before and after."""
    name = sorted(n["metadata"]["name"] for n in kube.items("/api/v1/nodes"))[-1]
    yield name
    for owner in our_cordons(kube.node(name)):
        uncordon(kube, name, owner)
    kube.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})


def closed(kube: Kube, node: str) -> bool:
    """Whether the node is unschedulable."""
    return bool(kube.node(node)["spec"].get("unschedulable"))


@pytest.mark.parametrize("first_back", [OURS, THEIRS])
def test_node_opens_with_the_last_cordon(kube: Kube, node: str, first_back: str) -> None:
    """Two runners drain one node: it stays closed until both have undone, in whichever order."""
    cordon(kube, node, OURS)
    cordon(kube, node, THEIRS)
    assert sorted([OURS, THEIRS]) == sorted(our_cordons(kube.node(node)))
    uncordon(kube, node, first_back)
    assert closed(kube, node)
    uncordon(kube, node, ({OURS, THEIRS} - {first_back}).pop())
    assert not closed(kube, node) and our_cordons(kube.node(node)) == []


@pytest.mark.parametrize("first_back", [OURS, THEIRS])
def test_administrators_cordon_stays(kube: Kube, node: str, first_back: str) -> None:
    """A node that was closed before the first fault is closed after the last."""
    kube.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    cordon(kube, node, OURS)
    cordon(kube, node, THEIRS)
    uncordon(kube, node, first_back)
    uncordon(kube, node, ({OURS, THEIRS} - {first_back}).pop())
    assert closed(kube, node) and our_cordons(kube.node(node)) == []


def test_undoing_twice_changes_nothing(kube: Kube, node: str) -> None:
    """The watchdog and the runner may both undo."""
    cordon(kube, node, OURS)
    assert [f"node {node}: uncordoned"] == uncordon(kube, node, OURS)
    kube.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    assert uncordon(kube, node, OURS) == []
    assert closed(kube, node)
