"""Every other fault of the catalogue on a real cluster: it bites, it heals, and it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steadyset.chaos.blast import ALLOWED, OPT_IN
from steadyset.chaos.cases import CASES, Case, first_case
from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.runner import FaultError, inject
from steadyset.chaos.sweep import sweep
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir


def require(cluster: ClusterInfo, case: Case) -> None:
    """Skip what this cluster cannot do: it is *not tested* then."""
    lacking = [c for c in case.fault.capabilities if not cluster.can(c)]
    if lacking:
        pytest.skip(f"not tested: {case.fault} needs {', '.join(lacking)}")


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_fault_bites_heals_and_leaves_nothing(
    cluster: ClusterInfo,
    ready: str,
    run_dir: RunDir,
    case: Case,
    record_property: Callable[[str, object], None],
) -> None:
    """The bite is in evidence while the fault is held; then the times are in order and a sweep finds nothing."""
    require(cluster, case)
    with inject(cluster, run_dir, "case", case.fault, case.target, namespace=ready, **case.params) as span:
        assert any(case.evidence in line for line in span.bite), span.bite
        assert not span.heal_ns
    assert span.error == ""
    assert span.healing
    assert 0 < span.inject_ns < span.bitten_ns < span.heal_ns < span.healed_ns
    record_property("case", str(case))
    record_property("bites_ms", (span.bitten_ns - span.inject_ns) // 1_000_000)
    record_property("heals_ms", (span.healed_ns - span.heal_ns) // 1_000_000)
    assert [r.id for r in HostLedger(cluster).records() if r.namespace == ready] == []
    assert sweep(cluster).is_clean()


def test_every_fault_is_tried() -> None:
    """No fault of the catalogue is without a case."""
    assert {f.name for f in FAULTS} == {c.fault_name for c in CASES}


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target", "params", "why"),
    [
        ("daemon-pause", "kube-dns", {}, "no daemon kube-dns"),
        ("volume-yank", "member-0", {"claim": "other"}, "no claim other"),
        ("node-cordon", "node/nowhere", {}, "no node nowhere"),
        ("pod-freeze", "member-9", {}, "no pod"),
        ("pod-kill", "member-0", {"mode": "politely"}, "no mode politely"),
        ("network-partition", "member-0", {"planes": ["wifi"]}, "no plane wifi"),
        ("network-partition", "member-0", {"ttl_s": 0.0}, "would run out before"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(
    cluster: ClusterInfo, ready: str, run_dir: RunDir, name: str, target: str, params: dict[str, Any], why: str
) -> None:
    """With the reason; nothing was injected, nothing is in the ledger."""
    with (
        pytest.raises(FaultError, match=why) as caught,
        inject(cluster, run_dir, "case", fault_named(name), target, namespace=ready, **params),
    ):
        pytest.fail("the fault was held")
    assert caught.value.span.inject_ns == 0
    assert HostLedger(cluster).records() == []


API_ONLY = [f for f in FAULTS if not f.capabilities]


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("fault", API_ONLY, ids=str)
def test_a_kubeconfig_alone_is_enough(
    cluster: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    """The same cluster as a foreign one: no cluster file, no capabilities, the ledger in the target's namespace."""
    case = first_case(fault)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    foreign = ClusterInfo(name="d", provider="kubeconfig", kubeconfig=cluster.kubeconfig, confirmed=cluster.uid)
    nodes = [f"/api/v1/nodes/{node.name}" for node in cluster.nodes]
    for path in (*nodes, "/api/v1/namespaces/kube-system"):
        kube.request("PATCH", path, {"metadata": {"labels": {OPT_IN: ALLOWED}}})
    with inject(foreign, run_dir, "case", fault, case.target, namespace=ready, **case.params) as span:
        assert span.bite
    assert span.error == ""
    swept = sweep(foreign, namespace=ready)
    assert swept.is_clean() and swept.undone == []
    record_property("case", str(case))
    record_property("kubeconfig", "y")
