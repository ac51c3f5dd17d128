"""A fault whose doing is undone behind its back, before it is proven, is INVALID: for every class of faults."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from steadyset.chaos.agent import networks
from steadyset.chaos.agent.disks import throttle
from steadyset.chaos.agent.volumes import remove_file
from steadyset.chaos.daemons import switch_daemon
from steadyset.chaos.faults import fault_named
from steadyset.chaos.faults.image_pull_failure import IMAGE
from steadyset.chaos.faults.webhook_down import CONFIGURATIONS
from steadyset.chaos.inside import signal_all
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import HostLedger, Record
from steadyset.chaos.machine import node_machine
from steadyset.chaos.nft import table_name
from steadyset.chaos.reach import reach_of
from steadyset.chaos.sweep import sweep
from steadyset.chaos.volumes import ATTACHMENTS, claim_path
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

BITE_S = 5.0  # long enough for an unsabotaged fault of those below
Sabotage = Callable[[ClusterInfo, Kube, Record], None]


def rules_removed(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """The tables of the fault are deleted in every member."""
    for home in record.undo["pods"].values():
        reach_of(info, home["node"]).call(networks.remove_table, f"pod:{home['uid']}", table_name(record.id))


def let_go(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """Stopped processes go on."""
    processes = record.undo.get("processes") or [p for one in record.undo["victims"] for p in one["processes"]]
    signal_all(processes, signal.SIGCONT)


def patched(path: str, body: dict[str, Any]) -> Sabotage:
    """Somebody writes to an object; `{node}` in the path is the record's first node."""

    def sabotage(info: ClusterInfo, kube: Kube, record: Record) -> None:
        node = next(iter(record.undo.get("nodes", [""])))
        kube.request("PATCH", path.format(node=node, **record.undo), body)

    return sabotage


def uncordoned(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """An administrator uncordons the node and removes what we noted on it."""
    for node in record.undo["nodes"]:
        body = {
            "spec": {"unschedulable": None},
            "metadata": {"annotations": {f"cordon.steadyset.io/{record.id}": None}},
        }
        kube.request("PATCH", f"/api/v1/nodes/{node}", body)


def thawed(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """Somebody lets the node go on."""
    node_machine(info, "thaw", record.undo["nodes"][0])


def emptied(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """Somebody makes room."""
    [(volume, node)] = record.undo["filled"]
    reach_of(info, node).call(remove_file, volume, record.undo["file"])


def unthrottled(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """The limit is lifted."""
    [(node, limits)] = record.undo["limits"]
    reach_of(info, node).call(throttle, limits, 0)


def released(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """The stuck attachment is released, as support would do it by hand."""
    [name] = record.undo["attachments"]
    path = f"{ATTACHMENTS}/{name}"
    finalizers = (kube.get(path) or {})["metadata"]["finalizers"]
    kept = [f for f in finalizers if not f.endswith(record.id)]
    kube.request("PATCH", path, {"metadata": {"finalizers": kept}})


def unprotected(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """The claim's protection is removed by hand: it goes away under its pod."""
    [pod] = record.undo["pods"]
    kube.request("PATCH", claim_path(record.namespace, f"data-{pod}"), {"metadata": {"finalizers": None}})


def image_restored(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """Somebody rolls back."""

    def change(obj: dict[str, Any]) -> dict[str, Any]:
        containers = obj["spec"]["template"]["spec"]["containers"]
        assert containers[0]["image"] == IMAGE + record.id
        containers[0]["image"] = record.undo["image"]
        return {"spec": {"template": {"spec": {"containers": containers}}}}

    kube.update(record.undo["path"], change)


def started(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """A supervisor starts the daemon again."""
    switch_daemon(info, "start", record.undo["daemons"][0])


def unhooked(info: ClusterInfo, kube: Kube, record: Record) -> None:
    """An administrator deletes the webhook that blocks everything."""
    kube.delete(f"{CONFIGURATIONS}/{record.id}")


SABOTAGES: list[tuple[str, str, dict[str, Any], Sabotage]] = [
    ("pod-freeze", "member-0", {}, let_go),
    ("image-pull-failure", "member-2", {}, image_restored),
    ("node-cordon", "member-1", {}, uncordoned),
    ("node-drain", "member-1", {}, uncordoned),
    (
        "node-taint",
        "member-2",
        {"key": "example.org/taint"},
        patched("/api/v1/nodes/{node}", {"spec": {"taints": None}}),
    ),
    ("node-freeze", "member-0", {}, thawed),
    ("volume-fill", "member-1", {}, emptied),
    ("volume-slow", "member-1", {}, unthrottled),
    ("volume-multi-attach", "member-2", {}, released),
    ("volume-claim-delete", "member-0", {}, unprotected),
    ("network-partition", "member-0", {}, rules_removed),
    ("network-loss", "member-1", {}, rules_removed),
    ("network-bandwidth", "member-2", {}, rules_removed),
    ("daemon-pause", "kube-scheduler", {}, let_go),
    ("daemon-stop", "kube-controller-manager", {}, started),
    ("webhook-down", "pods", {}, unhooked),
    ("dns-down", "kube-dns", {}, patched("{path}", {"spec": {"replicas": 2}})),
]


@pytest.mark.parametrize(("name", "target", "params", "sabotage"), SABOTAGES, ids=[case[0] for case in SABOTAGES])
def test_a_sabotaged_fault_is_invalid(
    cluster: ClusterInfo, kube: Kube, ready: str, name: str, target: str, params: dict[str, Any], sabotage: Sabotage
) -> None:
    """Injected, undone by somebody else, then asked for its proof; healed afterwards, and nothing is left."""
    module, arguments = fault_named(name).load(), {"cluster": cluster.path, "target": target, "namespace": ready}
    module.inject(**arguments, **params, deadlines={"bite_s": BITE_S})
    [record] = [r for r in HostLedger(cluster).records() if r.namespace == ready]
    try:
        sabotage(cluster, kube, record)
        with pytest.raises(InvalidError) as caught:
            module.prove_bite(**arguments)
    finally:
        module.heal(**arguments)
    assert str(caught.value)
    assert [r.id for r in HostLedger(cluster).records() if r.namespace == ready] == []
    assert sweep(cluster).is_clean()
