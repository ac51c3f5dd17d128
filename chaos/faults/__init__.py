"""The catalogue: one fault per module, registered here."""

from __future__ import annotations

from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import (
    container_restart,
    daemon_pause,
    daemon_restart,
    daemon_stop,
    dns_down,
    image_pull_failure,
    network_bandwidth,
    network_loss,
    network_netem,
    network_partition,
    node_cordon,
    node_delete,
    node_drain,
    node_freeze,
    node_power_off,
    node_reboot,
    node_taint,
    pod_evict,
    pod_freeze,
    pod_kill,
    pod_oom,
    volume_claim_delete,
    volume_detach,
    volume_expand,
    volume_fill,
    volume_multi_attach,
    volume_read_only,
    volume_slow,
    volume_yank,
    webhook_down,
)
from steadyset.errors import UsageError

FAULTS: tuple[Fault, ...] = (
    pod_kill.FAULT,
    pod_evict.FAULT,
    pod_freeze.FAULT,
    pod_oom.FAULT,
    container_restart.FAULT,
    image_pull_failure.FAULT,
    node_cordon.FAULT,
    node_drain.FAULT,
    node_taint.FAULT,
    node_freeze.FAULT,
    node_power_off.FAULT,
    node_reboot.FAULT,
    node_delete.FAULT,
    volume_detach.FAULT,
    volume_yank.FAULT,
    volume_read_only.FAULT,
    volume_fill.FAULT,
    volume_slow.FAULT,
    volume_claim_delete.FAULT,
    volume_multi_attach.FAULT,
    volume_expand.FAULT,
    network_partition.FAULT,
    network_loss.FAULT,
    network_bandwidth.FAULT,
    network_netem.FAULT,
    daemon_pause.FAULT,
    daemon_stop.FAULT,
    daemon_restart.FAULT,
    webhook_down.FAULT,
    dns_down.FAULT,
)


def fault_named(name: str) -> Fault:
    """The fault of that name; UsageError lists those there are."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise UsageError(f"no fault {name}", expected=f"one of: {', '.join(f.name for f in FAULTS)}", seen=name)
