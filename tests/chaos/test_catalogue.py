"""Every other fault of the catalogue on a real cluster: it bites, it heals, and it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steadyset.chaos.blast import ALLOWED, OPT_IN
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.runner import FaultError, inject
from steadyset.chaos.sweep import sweep
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir

CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("pod-evict", "member-0", {}, "evicted"),
    ("pod-freeze", "member-1", {}, "processes stopped"),
    ("node-cordon", "member-2", {}, "bears taint"),
    ("node-taint", "member-2", {}, "is gone"),
    ("volume-yank", "member-0", {}, "EIO"),
    ("volume-fill", "member-1", {}, "ENOSPC"),
    ("daemon-pause", "member-2", {"daemon": "kubelet"}, "is stopped"),
    ("daemon-pause", "kube-apiserver", {}, "answers no request"),
    ("daemon-pause", "etcd", {}, "answers no request"),
    ("network-loss", "member-0", {"percent": 40.0}, "packets lost"),
    ("node-freeze", "member-0", {}, "no answer"),
    ("node-power-off", "member-1", {}, "no answer"),
]


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(("name", "target", "params", "evidence"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_fault_bites_heals_and_leaves_nothing(
    cluster: ClusterInfo, ready: str, run_dir: RunDir, name: str, target: str, params: dict[str, Any], evidence: str
) -> None:
    """The bite is in evidence while the fault is held; then the times are in order and a sweep finds nothing."""
    with inject(cluster, run_dir, "case", fault_named(name), target, namespace=ready, **params) as span:
        assert any(evidence in line for line in span.bite), span.bite
        assert not span.heal_ns
    assert span.error == ""
    assert span.healing
    assert 0 < span.inject_ns < span.bitten_ns < span.heal_ns < span.healed_ns
    assert HostLedger(cluster).records() == []
    assert sweep(cluster).is_clean()


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


API_ONLY = [("pod-kill", {}), ("pod-evict", {}), ("node-cordon", {}), ("node-drain", {}), ("node-taint", {})]


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), API_ONLY, ids=[case[0] for case in API_ONLY])
def test_a_kubeconfig_alone_is_enough(
    cluster: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    params: dict[str, Any],
) -> None:
    """The same cluster as a foreign one: no cluster file, no capabilities, the ledger in the target's namespace."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    foreign = ClusterInfo(name="d", provider="kubeconfig", kubeconfig=cluster.kubeconfig, confirmed=cluster.uid)
    node = kube.need_pod(ready, "member-1")["spec"]["nodeName"]
    kube.request("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": {OPT_IN: ALLOWED}}})
    with inject(foreign, run_dir, "case", fault_named(name), "member-1", namespace=ready, **params) as span:
        assert span.bite
    assert span.error == ""
    swept = sweep(foreign, namespace=ready)
    assert swept.is_clean() and swept.undone == []


def test_every_fault_that_needs_no_capability_is_tried_with_a_kubeconfig_alone() -> None:
    """So that the list above keeps up with the catalogue."""
    assert {f.name for f in FAULTS if not f.capabilities} == {name for name, _ in API_ONLY}
