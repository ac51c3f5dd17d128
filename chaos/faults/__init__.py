"""The catalogue: one fault per module, registered here."""

from __future__ import annotations

from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import (
    daemon_pause,
    network_loss,
    network_partition,
    node_cordon,
    node_drain,
    node_freeze,
    node_power_off,
    node_taint,
    pod_evict,
    pod_freeze,
    pod_kill,
    volume_detach,
    volume_fill,
    volume_yank,
)
from steadyset.errors import UsageError

FAULTS: tuple[Fault, ...] = (
    pod_kill.FAULT,
    pod_evict.FAULT,
    pod_freeze.FAULT,
    node_cordon.FAULT,
    node_drain.FAULT,
    node_taint.FAULT,
    node_freeze.FAULT,
    node_power_off.FAULT,
    volume_detach.FAULT,
    volume_yank.FAULT,
    volume_fill.FAULT,
    network_partition.FAULT,
    network_loss.FAULT,
    daemon_pause.FAULT,
)


def fault_named(name: str) -> Fault:
    """The fault of that name; UsageError lists those there are."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise UsageError(f"no fault {name}", expected=f"one of: {', '.join(f.name for f in FAULTS)}", seen=name)
