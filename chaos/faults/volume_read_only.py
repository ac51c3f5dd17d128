"""Make a pod's file system read-only, as the kernel does itself after an error on the disk (errors=remount-ro)."""

from __future__ import annotations

from steadyset.chaos.act import Act
from steadyset.chaos.agent.disks import abort
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import back_on_volume, delete_the_pods, mount_action, see_volume, write_error

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-read-only",
    lease=Lease.ONE_SHOT,
    summary="make a pod's file system read-only as after a disk error: reads go on, writes fail with EROFS",
    deadlines={"bite_s": 15.0, "heal_s": 240.0},
    capabilities=("pod-volumes", "volume-attach"),
)


def _read_only(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a write to the mounted volume fails with EROFS."""
    if write_error(victim.seen["mount"]) != "EROFS":
        return None
    return [f"write to volume {victim.seen['volume']} in pod {victim.name}: EROFS"]


inject = mount_action(
    FAULT,
    abort,
    "Remount the ext4 volumes of the pods of `target` with the option `abort`, even while they are written to",
)
undo = delete_the_pods
prove_bite = bite_probe(FAULT, _read_only, "the volume is read-only", see_volume)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, back_on_volume, "the pod Ready on a volume that takes writes", see_volume)
