"""The catalogue: one fault per module, registered here."""

from __future__ import annotations

from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import network_partition, node_drain, pod_kill, volume_detach
from steadyset.errors import UsageError

FAULTS: tuple[Fault, ...] = (
    network_partition.FAULT,
    node_drain.FAULT,
    pod_kill.FAULT,
    volume_detach.FAULT,
)


def fault_named(name: str) -> Fault:
    """The fault of that name; UsageError lists those there are."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise UsageError(f"no fault {name}", expected=f"one of: {', '.join(f.name for f in FAULTS)}", seen=name)
