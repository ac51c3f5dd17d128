"""The three later phases of a fault whose proofs are conditions to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable

from steadyset.chaos.act import Act, resume
from steadyset.chaos.fault import Fault
from steadyset.chaos.kube import Json, Kube
from steadyset.chaos.ledger import Record
from steadyset.clusterinfo import ClusterInfo

Proof = Callable[[Act], list[str] | None]  # evidence lines once it is so, None before
Undo = Callable[[ClusterInfo, Kube, Record], list[str]]


def bite(fault: Fault, namespace: str, target: str, proof: Proof, what: str, describe: Callable[[Act], str]) -> Json:
    """Wait within `bite_s` for the proof that the fault bit; `describe` says what is seen instead."""
    act = resume(fault, namespace, target)
    with act.proving_bite() as lines:
        lines.extend(act.until(lambda: proof(act), what, "bite_s", lambda: describe(act)))
        act.memory.setdefault("bitten_ns", time.monotonic_ns())
    return act.report()


def undo_now(fault: Fault, namespace: str, target: str, undo: Undo) -> Json:
    """Undo the fault, unless that was done already."""
    act = resume(fault, namespace, target)
    act.healing(undo)
    return act.report()


def recovered(
    fault: Fault, namespace: str, target: str, proof: Proof, what: str, describe: Callable[[Act], str]
) -> Json:
    """Wait within `heal_s` for the proof that everything is as before."""
    act = resume(fault, namespace, target)
    with act.proving_heal() as lines:
        lines.extend(act.until(lambda: proof(act), what, "heal_s", lambda: describe(act)))
    return act.report()


def no_undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """For faults that are over at once."""
    return []
