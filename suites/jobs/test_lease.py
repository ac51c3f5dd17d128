"""Leases: of those who want one at the same time one gets it, and a node's own tells that it lives."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from steadyset.chaos.kube import RefusedError
from steadyset.fixtures.scenario import NotTestedError

ROUNDS, RIVALS = 5, 4
RENEWED_S = 60.0  # named `renewed_s`: a kubelet renews each 10 s by default


@pytest.mark.requirement("LSE-ACQ-001", "LSE-ACQ-002")
def test_one_holder(space, report):
    """Goal: of several who write their name into a Lease at the same time exactly one succeeds; the others learn it.

    Method: rivals that read the same resourceVersion and replace the Lease, round after round; count who succeeded.
    """
    space.create({"kind": "Lease", "metadata": {"name": "leader"}, "spec": {"leaseDurationSeconds": 15}})

    def take(rival, seen):
        # Another name each time: to write what is there already changes no version, and succeeds beside another.
        name = f"rival-{rival}-after-{seen['metadata']['resourceVersion']}"
        spec = {**seen["spec"], "holderIdentity": name}
        answer = space.refused(lambda: space.replace("Lease", "leader", {**seen, "spec": spec}))
        return name, answer.partition(" ")[0]

    with ThreadPoolExecutor(max_workers=RIVALS) as pool:
        for _ in range(ROUNDS):
            seen = space.need("Lease", "leader")
            answers = list(pool.map(lambda rival, seen=seen: take(rival, seen), range(RIVALS)))
            winners = [name for name, code in answers if not code]
            losers = sorted(code for _, code in answers if code)
            report.promise("one wins", expected=1, seen=len(winners))
            report.promise("the others get a conflict", expected=["409"] * (RIVALS - 1), seen=losers)
            holder = space.need("Lease", "leader")["spec"]["holderIdentity"]
            report.promise("the Lease names the winner", expected=winners, seen=[holder])


@pytest.mark.requirement("LSE-NOD-001")
def test_node_leases(space, report):
    """Goal: each node renews a Lease of its own, which belongs to it.

    Method: read each node's Lease until its renewTime has changed.
    """
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    try:
        before = {lease["metadata"]["name"]: lease for lease in space.kube.items(path)}
    except RefusedError as error:
        raise NotTestedError(f"the account may not read the nodes' Leases: {error.message}") from None
    for node in space.nodes():
        owner = before[node]["metadata"]["ownerReferences"][0]
        report.promise("the node owns it", expected=("Node", node), seen=(owner["kind"], owner["name"]))
        report.promise("the node holds it", expected=node, seen=before[node]["spec"]["holderIdentity"])
        begin = time.monotonic()
        old = before[node]["spec"]["renewTime"]
        space.until(
            f"{node} renews its Lease",
            lambda n=node, o=old: (space.kube.get(f"{path}/{n}") or before[n])["spec"]["renewTime"] > o,
            RENEWED_S,
            "renewed_s",
        )
        report.remember(f"renewed_s_{node}", round(time.monotonic() - begin, 3))
