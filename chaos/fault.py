"""What a fault is: its name, the class of its lease, what it needs of a cluster, and its named deadlines."""

from __future__ import annotations

import importlib
from enum import StrEnum
from types import ModuleType

import msgspec

from steadyset.chaos.rights import Right

TTL_S = 10.0  # a lease that nobody renews for this long is over
RENEW_S = 2.0  # a live fault renews its lease this often
UNDO_SLACK_S = 5.0  # an undo is issued within TTL_S + UNDO_SLACK_S of the last renewal


class Lease(StrEnum):
    """How a fault ends when everything that could end it is dead."""

    KERNEL = "kernel-expiring"  # the kernel drops it by itself after the time-to-live
    WATCHDOG = "watchdog"  # a process outside the runner issues the undo after the time-to-live
    ONE_SHOT = "one-shot"  # over at once; only the recovery has a deadline


class Fault(msgspec.Struct, kw_only=True, frozen=True):
    """One fault of the catalogue; its functions live in the module of the same name below `chaos.faults`.

    `deadlines` are seconds by name; every fault has `bite_s` (until the bite is proven) and `heal_s` (until the heal
    is proven). `capabilities` are names out of `clusterinfo.CAPABILITIES`; none means a kubeconfig is enough.
    `target` says what it is aimed at: "pod", "node" (for which pods may stand, see `chaos.targets`), "namespace" for
    what happens in one, or "cluster" for what its `inject` names besides (a daemon, a Service). `rights` are what it
    does in the API, for accounts that are not an administrator's. `disturbs` is False when running pods go on as if
    nothing was.
    """

    name: str
    lease: Lease
    summary: str
    deadlines: dict[str, float]
    capabilities: tuple[str, ...] = ()
    target: str = "pod"
    rights: tuple[Right, ...] = ()
    disturbs: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def module(self) -> str:
        """Dotted path of the module that holds its Chaos Toolkit functions."""
        return f"steadyset.chaos.faults.{self.name.replace('-', '_')}"

    def load(self) -> ModuleType:
        """Import that module."""
        return importlib.import_module(self.module)
