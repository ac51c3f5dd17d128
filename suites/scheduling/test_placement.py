"""Placement: pods go where affinity, anti-affinity and spread constraints say, and wait where they cannot be kept."""

from collections import Counter

import pytest

from steadyset.fixtures.conformance.volumes import (
    HOSTNAME,
    end_pod,
    node_of,
    pod_manifest,
    ready_pod,
    run_pod,
    unschedulable,
)

GROUP = {"group": "members"}
SELECTOR = {"labelSelector": {"matchLabels": GROUP}}
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def _members(space, count, **spec):
    """That many pods of the group, created at once, each Ready; the number of them on each node."""
    names = [f"m-{n}" for n in range(count)]
    for name in names:
        space.create(pod_manifest(space, name, labels=GROUP, **spec))
    for name in names:
        ready_pod(space, name)
    return Counter(node_of(space, name) for name in names)


@pytest.mark.requirement("SCH-AFF-001", "SCH-AFF-002")
def test_required_anti_affinity(space, report):
    """Goal: members that must be apart are: one on each node, and one more waits until a node is free.

    Method: as many pods as nodes, then another one; delete one of the first.
    """
    nodes = space.nodes(at_least=2)
    apart = {"podAntiAffinity": {REQUIRED: [{**SELECTOR, "topologyKey": HOSTNAME}]}}
    seen = _members(space, len(nodes), affinity=apart)
    report.promise("one on each node", expected=dict.fromkeys(sorted(nodes), 1), seen=dict(sorted(seen.items())))
    space.create(pod_manifest(space, "more", labels=GROUP, affinity=apart))
    report.promise("one more waits", expected=True, seen="anti-affinity" in unschedulable(space, "more"))
    freed = node_of(space, "m-0")
    end_pod(space, "m-0")
    ready_pod(space, "more")
    report.promise("until a node is free", expected=freed, seen=node_of(space, "more"))


@pytest.mark.requirement("SCH-AFF-003")
def test_preferred_anti_affinity(space, report):
    """Goal: members that would rather be apart are, as far as there are nodes, and run in any case.

    Method: one after the other, one more than nodes.
    """
    nodes = space.nodes(at_least=2)
    term = {"weight": 100, "podAffinityTerm": {**SELECTOR, "topologyKey": HOSTNAME}}
    names = [f"m-{n}" for n in range(len(nodes) + 1)]
    for name in names:
        run_pod(space, name, labels=GROUP, affinity={"podAntiAffinity": {PREFERRED: [term]}})
    first = Counter(node_of(space, name) for name in names[:-1])
    report.promise("one on each node", expected=dict.fromkeys(sorted(nodes), 1), seen=dict(sorted(first.items())))
    report.promise("one more runs all the same", expected=True, seen=node_of(space, names[-1]) in nodes)


@pytest.mark.requirement("SCH-AFF-004")
def test_required_affinity(space, report):
    """Goal: a member that must be where another one is goes there, and waits while that is nowhere.

    Method: create the follower first, then its leader on the last node.
    """
    node = space.nodes(at_least=2)[-1]
    near = {"podAffinity": {REQUIRED: [{**SELECTOR, "topologyKey": HOSTNAME}]}}
    space.create(pod_manifest(space, "follower", affinity=near))
    report.promise("it waits for its leader", expected=True, seen="affinity" in unschedulable(space, "follower"))
    run_pod(space, "leader", labels=GROUP, node=node)
    ready_pod(space, "follower")
    report.promise("and goes where that is", expected=node, seen=node_of(space, "follower"))


@pytest.mark.requirement("SCH-NOD-001", "SCH-NOD-002")
@pytest.mark.parametrize("operator", ["In", "NotIn", "nowhere", "preferred"])
def test_node_affinity(space, report, operator):
    """Goal: a pod goes to a node that its node affinity allows, or waits; a preference that cannot be kept is let go.

    Method: require the last node, forbid all others, require a node that is not there, prefer such a node.
    """
    nodes = space.nodes(at_least=2)
    values = {"In": nodes[-1:], "NotIn": nodes[:-1]}.get(operator, ["no-such-node"])
    expression = {"key": HOSTNAME, "operator": "NotIn" if operator == "NotIn" else "In", "values": values}
    term = {"matchExpressions": [expression]}
    rule = {REQUIRED: {"nodeSelectorTerms": [term]}}
    if operator == "preferred":
        rule = {PREFERRED: [{"weight": 100, "preference": term}]}
    space.create(pod_manifest(space, "web", affinity={"nodeAffinity": rule}))
    if operator == "nowhere":
        report.promise("it waits", expected=True, seen="node affinity" in unschedulable(space, "web"))
        return
    ready_pod(space, "web")
    allowed = nodes if operator == "preferred" else nodes[-1:]
    report.promise("it runs where it may", expected=True, seen=node_of(space, "web") in allowed)


@pytest.mark.requirement("SCH-SPR-001", "SCH-SPR-002")
@pytest.mark.parametrize("policy", ["DoNotSchedule", "ScheduleAnyway"])
def test_topology_spread(space, report, policy):
    """Goal: members are spread with at most maxSkew between nodes; with DoNotSchedule one that would break it waits.

    Method: two for each node; with DoNotSchedule then one that is also tied to a full node.
    """
    nodes = space.nodes(at_least=2)
    rule = {**SELECTOR, "maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": policy}
    spread = [{**rule, "nodeAffinityPolicy": "Ignore"}]  # nodes that the pod's own selector excludes count too
    seen = _members(space, 2 * len(nodes), topologySpreadConstraints=spread)
    if policy == "DoNotSchedule":
        report.promise("two on each node", expected=dict.fromkeys(sorted(nodes), 2), seen=dict(sorted(seen.items())))
        run_pod(space, "third", labels=GROUP, topologySpreadConstraints=spread)
        full = node_of(space, "third")
        space.create(pod_manifest(space, "fourth", labels=GROUP, node=full, topologySpreadConstraints=spread))
        report.promise("a fourth there waits", expected=True, seen="spread" in unschedulable(space, "fourth"))
        return
    space.create(pod_manifest(space, "third", labels=GROUP, node=nodes[0], topologySpreadConstraints=spread))
    space.create(pod_manifest(space, "fourth", labels=GROUP, node=nodes[0], topologySpreadConstraints=spread))
    for name in ("third", "fourth"):
        ready_pod(space, name)
    report.promise("a fourth on one node runs", expected=nodes[0], seen=node_of(space, "fourth"))
