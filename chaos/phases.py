"""The three later phases of a fault, made of its proofs: conditions to wait for, one victim after the other.

A proof looks at one victim and returns evidence lines once it is so, None before; its docstring becomes the
activity's, as `chaos discover` lists it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from steadyset.chaos.act import Act, resume
from steadyset.chaos.fault import Fault
from steadyset.chaos.kube import Json, Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo

Proof = Callable[[Act, Victim], list[str] | None]
Seen = Callable[[Act, Victim], str]
Undo = Callable[[ClusterInfo, Kube, Record], list[str]]
Activity = Callable[..., Json]


def bite_probe(fault: Fault, proof: Proof, what: str, seen: Seen) -> Activity:
    """The probe `prove_bite`: within `bite_s` the proof holds for every victim; `seen` says what is seen instead."""

    def prove_bite(cluster: str, target: str, namespace: str = "default") -> Json:
        act = resume(fault, namespace, target)
        with act.proving_bite() as lines:
            lines.extend(act.until(lambda: for_all(act, proof), what, "bite_s", lambda: see_all(act, seen)))
            act.memory.setdefault("bitten_ns", time.monotonic_ns())
        return act.report()

    return _named(prove_bite, fault, proof.__doc__)


def heal_action(fault: Fault, undo: Undo, first: Callable[[Act], None] | None = None) -> Activity:
    """The action `heal`: undo by the record, unless that was done already; `first` ends what would do it again."""

    def heal(cluster: str, target: str, namespace: str = "default") -> Json:
        act = resume(fault, namespace, target)
        if first is not None:
            first(act)
        act.healing(undo)
        return act.report()

    return _named(heal, fault, undo.__doc__)


def heal_probe(fault: Fault, proof: Proof, what: str, seen: Seen) -> Activity:
    """The probe `prove_heal`: within `heal_s` the proof holds for every victim."""

    def prove_heal(cluster: str, target: str, namespace: str = "default") -> Json:
        act = resume(fault, namespace, target)
        with act.proving_heal() as lines:
            lines.extend(act.until(lambda: for_all(act, proof), what, "heal_s", lambda: see_all(act, seen)))
        return act.report()

    return _named(prove_heal, fault, proof.__doc__)


def _named(activity: Activity, fault: Fault, doc: str | None) -> Activity:
    activity.__doc__, activity.__module__ = doc, fault.module
    return activity


def for_all(act: Act, proof: Proof) -> list[str] | None:
    """Evidence lines of every victim once the proof holds for all of them, None before."""
    lines: list[str] = []
    for victim in act.victims:
        found = proof(act, victim)
        if found is None:
            return None
        lines += found
    return lines


def see_all(act: Act, seen: Seen) -> str:
    """What is seen of every victim, for errors."""
    if len(act.victims) == 1:
        return seen(act, act.victims[0])
    return "; ".join(f"{victim.name}: {seen(act, victim)}" for victim in act.victims)


def no_undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Nothing to undo: the controller, or the kubelet, brings back what was broken."""
    return []
