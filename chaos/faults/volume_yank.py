"""Yank the disk under a running pod: its file system is shut down, and every later write fails with EIO."""

from __future__ import annotations

from steadyset.chaos.agent.volumes import shut_down
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.volumes import back_on_volume, dead, delete_the_pods, mount_action, see_volume

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-yank",
    lease=Lease.ONE_SHOT,
    summary="shut a pod's file system down as if its disk were yanked: writes fail with EIO, unsynced data is lost",
    deadlines={"bite_s": 15.0, "heal_s": 240.0},
    capabilities=("pod-volumes", "volume-attach"),
)


inject = mount_action(
    FAULT,
    shut_down,
    "Shut down the file systems of the volumes of the pods of `target` without flushing their logs",
)
undo = delete_the_pods
prove_bite = bite_probe(FAULT, dead, "the writer sees an error", see_volume)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, back_on_volume, "the pod Ready on a volume that takes writes", see_volume)
