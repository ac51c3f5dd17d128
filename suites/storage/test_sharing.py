"""Sharing: one claim behind several replicas is not one store, whatever the access mode."""

import pytest

from steadyset.chaos.kube import UnreachableError
from steadyset.fixtures.conformance.volumes import ask, make_claim, run_pod
from steadyset.history import HistoryWriter

KEY = "shared"


@pytest.mark.control
@pytest.mark.requirement("STO-ACC-001")
def test_replicas_that_share_a_claim(space, report):
    """Goal: two processes on one file are found to be two stores: what one acknowledges, the other does not have.

    Method: two pods of one node on one ReadWriteOnce claim, which allows it; write to one, read from the other. Each
    process keeps in memory what it read at its start, as databases do: give each replica a claim of its own.
    """
    report.expect("FAIL", rule="linearizable-register")
    folder = f"history/{report.scenario.slug}/shared"
    path = report.run.path / folder / "test.arrows"
    path.parent.mkdir(parents=True)
    writer = HistoryWriter(path, generator="test", clock_uncertainty_ns=0)
    report.scenario.histories.append(folder)
    report.plan("linearizable-register", history=folder)
    report.closers.append(writer.close)
    node = space.nodes()[0]
    make_claim(space)
    for name in ("a", "b"):
        run_pod(space, name, claim="data", node=node)
    for value, (writes, reads) in enumerate((("a", "b"), ("b", "a")), start=1):
        op = writer.invoke(0, "write", KEY, value)
        space.until("a write is acknowledged", lambda w=writes, v=value: _call(space, w, f"write?key={KEY}&value={v}"))
        writer.complete(op, "ok")
        op = writer.invoke(0, "read", KEY)
        answer = ask(space, reads, f"read?key={KEY}")
        writer.complete(op, "ok", value=answer["value"], server=answer["uid"])


def _call(space, pod, path):
    try:
        return space.proxy(pod, path, "POST")
    except UnreachableError:
        return None
