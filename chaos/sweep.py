"""Undo what interrupted runs left behind, and say what is not as it was found.

Orphans are ledger records whose lease nobody renews. A record in this machine's ledger tells that by its times; one
that is in the cluster alone (of another machine, or of another ledger of this one) by its ConfigMap not moving for a
whole time-to-live, so clocks need not agree. Process IDs decide nothing: a runner may have a PID namespace of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from steadyset.chaos.fault import UNDO_SLACK_S, Fault
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.kube import FORBIDDEN, Kube, RefusedError, UnreachableError
from steadyset.chaos.ledger import ClusterLedger, HostLedger, Record, located
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, SteadysetError
from steadyset.wait import pause

OBSERVE_POLL_S = 0.5


class Swept(msgspec.Struct, kw_only=True):
    """What a sweep saw and did, one line each."""

    alive: list[str] = []  # faults in progress, left alone
    undone: list[str] = []  # orphans undone (with dry_run: that would be)
    failed: list[str] = []  # orphans whose undo failed
    left: list[str] = []  # what is still not as it was found

    def is_clean(self) -> bool:
        """Whether everything is as it was found."""
        return not self.failed and not self.left


def undo_record(info: ClusterInfo, record: Record, kube: Kube | None = None) -> list[str]:
    """Undo one fault by its record and take the record out of both ledgers. Returns what was done, in lines.

    InstrumentError for a record that its fault cannot read: another version of steadyset wrote it.
    """
    kube = kube or Kube(info)
    try:
        lines: list[str] = fault_named(record.fault).load().undo(info, kube, record)
    except (KeyError, TypeError, ValueError) as error:
        raise InstrumentError(
            f"the record of {record.fault} on {record.target} cannot be read: {error!r}",
            expected="a record of this version of steadyset",
            seen=str(record.undo),
            do="undo it by hand, or with the version that wrote it",
        ) from error
    ClusterLedger(info, kube, record.namespace).remove(record.id)
    HostLedger(info).remove(record.id)
    return lines or ["nothing was left to undo"]


def left_as_found(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """What of that record's `found` differs now, in lines "what: was X, is Y"."""
    look = getattr(fault_named(record.fault).load(), "found", None)
    now: dict[str, str] = look(info, kube, record.undo) if look else {}
    return [
        f"{record.id}: {what}: was {was}, is {now.get(what, 'gone')}"
        for what, was in record.found.items()
        if now.get(what, "gone") not in (was, "gone")
    ]


def sweep(info: ClusterInfo, *, dry_run: bool = False, namespace: str = "", namespaces: Iterable[str] = ()) -> Swept:
    """Undo every orphan of the cluster. With `dry_run` only say so. Live faults, also of others, are left alone.

    `namespace` and `namespaces` are where the ConfigMaps lie on clusters that are not ours; those of this machine's
    ledger are looked at besides. Errors: UnreachableError when the API server is away; records that need only this
    machine are undone all the same by their watchdogs.
    """
    info = located(info)
    kube, swept = Kube(info), Swept()
    records = {record.id: record for record in HostLedger(info).records()}
    foreign: dict[str, tuple[Record, str]] = {}
    places = {namespace, *namespaces, *(record.namespace for record in records.values())}
    ledgers = list({each.namespace: each for each in (ClusterLedger(info, kube, p) for p in sorted(places))}.values())
    for record, version in (found for ledger in ledgers for found in ledger.records()):
        if record.id in records:
            continue
        if record.is_ours() and not record.is_expired():
            records[record.id] = record
        else:  # a copy that fell behind while the API server was away says nothing about its lease
            foreign[record.id] = record, version
    orphans = [r for r in records.values() if r.is_expired()]
    alive = [r for r in records.values() if not r.is_expired()]
    still = _not_moving(ledgers, foreign)
    orphans += still
    alive += [r for r, _ in foreign.values() if r not in still]
    swept.alive = [f"{r.id} on {r.namespace}/{r.target} (pid {r.pid} on {r.host})" for r in alive]
    for record in orphans:
        if dry_run:
            swept.undone.append(f"{record.id} on {record.namespace}/{record.target}: would be undone")
            continue
        try:
            swept.undone.extend(f"{record.id}: {line}" for line in undo_record(info, record, kube))
            swept.left.extend(left_as_found(info, kube, record))
        except SteadysetError as error:
            if record.id in _known(info, ledgers):  # else its watchdog, or another sweep, was faster
                swept.failed.append(f"{record.id}: {error}")
    live_ids = {r.id for r in alive} | ({r.id for r in orphans} if dry_run else set())
    left = [line for fault in FAULTS for line in _residue(info, kube, fault, live_ids)]
    if left and (begun := _known(info, ledgers) - live_ids):  # faults that began while this was looking around
        left = [line for fault in FAULTS for line in _residue(info, kube, fault, live_ids | begun)]
    swept.left.extend(left)
    return swept


def _known(info: ClusterInfo, ledgers: list[ClusterLedger]) -> set[str]:
    """IDs of the records that are in a ledger at this moment."""
    found = {record.id for record in HostLedger(info).records()}
    return found | {record.id for ledger in ledgers for record, _ in ledger.records()}


def _residue(info: ClusterInfo, kube: Kube, fault: Fault, live_ids: set[str]) -> list[str]:
    look = getattr(fault.load(), "residue", None)
    try:
        lines: list[str] = look(info, kube, live_ids) if look else []
    except RefusedError as error:
        able = all(info.can(capability) for capability in fault.capabilities)
        if error.status == FORBIDDEN and (fault.rights or not able):
            return []  # an account that may not even look has not done it either
        raise
    return lines


def _not_moving(ledgers: list[ClusterLedger], foreign: dict[str, tuple[Record, str]]) -> list[Record]:
    """Those records of other ledgers that nobody renews for a whole time-to-live."""
    if not foreign:
        return []
    suspects = dict(foreign)
    end = time.monotonic() + max(record.ttl_s for record, _ in foreign.values()) + UNDO_SLACK_S
    while suspects and time.monotonic() < end:
        pause(OBSERVE_POLL_S)
        try:
            now = {record.id: version for ledger in ledgers for record, version in ledger.records()}
        except UnreachableError:
            continue
        suspects = {i: (r, v) for i, (r, v) in suspects.items() if now.get(i) == v}
    return [record for record, _ in suspects.values()]
