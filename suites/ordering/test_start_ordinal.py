"""Ordering: the first ordinal, and how the members follow when it moves."""

import pytest


@pytest.mark.requirement("STS-ORD-012")
@pytest.mark.parametrize(
    ("before", "after", "replicas"),
    [(0, 2, 3), (2, 4, 2), (3, 2, 2), (3, None, 2)],
    ids=["set", "increase", "decrease", "remove"],
)
@pytest.mark.takes(30)
def test_the_first_ordinal_moves(space, report, before, after, replicas):
    """Goal: pods are numbered from spec.ordinals.start, and exactly the new numbers remain after it changed.

    Method: two members from one ordinal, write to a member that stays (or to the first), move the start, read back.
    """
    report.judge("ordered-recovery", creations_min=2)
    web = space.statefulset(replicas=2, ordinals={"start": before} if before else None)
    web.wait_ready()
    report.promise("the first members", expected=_names(web, before, 2), seen=list(web.pods()))
    for name, pod in web.pods().items():
        label = pod["metadata"]["labels"].get("apps.kubernetes.io/pod-index")
        report.promise("the pod-index label is the ordinal", expected=name.rpartition("-")[2], seen=label)
    space.data.write(web.pod(before))
    space.data.read_back()
    web.patch({"spec": {"ordinals": None if after is None else {"start": after}, "replicas": replicas}})
    web.wait_ready()
    report.promise("the members after the move", expected=_names(web, after or 0, replicas), seen=list(web.pods()))
    used = {*range(before, before + 2), *range(after or 0, (after or 0) + replicas)}
    report.promise("no claim was deleted", expected=sorted(map(web.claim, used)), seen=sorted(web.claims()))


def _names(web, start, count):
    return [web.pod(n) for n in range(start, start + count)]
