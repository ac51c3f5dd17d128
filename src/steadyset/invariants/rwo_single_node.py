"""Rule `rwo-single-node`: a ReadWriteOnce volume on one node at a time, by attachments and by the nodes' mounts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.evidence import Interval, intervals
from steadyset.invariants.objects import short, spec, status, terminating
from steadyset.trace import NODE_EVIDENCE, Lifetime, Trace
from steadyset.verdict import Judgement

SINGLE_NODE = {"ReadWriteOnce", "ReadWriteOncePod"}


@dataclass(frozen=True)
class _Attachment:
    """One VolumeAttachment: `attached` when it was first seen attached, `detaching` when its deletion began."""

    name: str
    uid: str
    volume: str
    node: str
    attached: int
    detaching: int
    gone: int


@dataclass(frozen=True)
class RwoSingleNode:
    """`mounts=False` judges VolumeAttachments alone, for clusters whose nodes cannot be seen. `detach_fault=True` when
    a declared fault detaches volumes in use: then unmount-before-detach is not asked. `lag_ms`: a mount may be seen
    this much before the attachment that it waited for (two sources of evidence).
    """

    namespace: str
    volumes_min: int = 1
    mounts: bool = True
    detach_fault: bool = False
    lag_ms: int = 2000

    rule: ClassVar[str] = "rwo-single-node"
    claim: ClassVar[str] = (
        "a ReadWriteOnce volume is attached to and mounted on at most one node, attached before it is mounted and "
        "unmounted before it is detached"
    )

    def check(self, trace: Trace) -> Judgement:
        """Judge every ReadWriteOnce volume bound to a claim of the namespace."""
        found = Findings(self, trace)
        found.needs("PersistentVolume", "VolumeAttachment", *([NODE_EVIDENCE] if self.mounts else []))
        volumes = {
            life.name
            for life in trace.lifetimes("PersistentVolume")
            if any(self._ours(state) for _, state in life.states())
        }
        attachments = [a for a in map(self._attachment, trace.lifetimes("VolumeAttachment")) if a.volume in volumes]
        mounted = [i for i in intervals(trace) if i.what == "mount" and i.label in volumes] if self.mounts else []
        found.count("volumes", len({a.volume for a in attachments if a.attached}))
        found.count("attachments", len(attachments))
        if self.mounts:
            found.count("mounts", len(mounted))
        for volume in sorted(volumes):
            here = [a for a in attachments if a.volume == volume]
            there = [m for m in mounted if m.label == volume]
            self._attached_once(found, volume, here)
            self._mounted_once(found, volume, there)
            self._order(found, volume, here, there)
        self._gaps(found)
        if not found.violations:
            found.at_least("volumes", self.volumes_min)
            if self.mounts and attachments:
                found.at_least("mounts", self.volumes_min)
        how = "attached and mounted" if self.mounts else "attached"
        return found.judgement(f"{plural(found.observed['volumes'], 'volume')} {how} on one node at a time")

    def _ours(self, volume: dict[str, object]) -> bool:
        body = spec(volume)
        claim = body.get("claimRef") or {}
        modes = set(body.get("accessModes") or [])
        return claim.get("namespace") == self.namespace and bool(modes) and modes <= SINGLE_NODE

    def _attachment(self, life: Lifetime) -> _Attachment:
        attached = detaching = 0
        for t, state in life.states():
            if status(state).get("attached") and not attached:
                attached = t
            if terminating(state) and not detaching:
                detaching = t
        gone = life.deletion.t if life.deletion else 0
        first = spec(life.records[0].obj)
        volume = str((first.get("source") or {}).get("persistentVolumeName", ""))
        node = str(first.get("nodeName", ""))
        return _Attachment(life.name, life.uid, volume, node, attached, detaching or gone, gone)

    def _attached_once(self, found: Findings, volume: str, attachments: list[_Attachment]) -> None:
        end = found.trace.end_ns
        for a, b in combinations([a for a in attachments if a.attached], 2):
            start, until = max(a.attached, b.attached), min(a.gone or end, b.gone or end)
            if a.node != b.node and start < until:
                found.violated(
                    start,
                    f"volume {volume} was attached to {a.node} and {b.node} at once for {(until - start) / 1e9:.3f} s",
                )

    def _mounted_once(self, found: Findings, volume: str, mounts: list[Interval]) -> None:
        for a, b in combinations(mounts, 2):
            if a.node != b.node and a.overlap_ns(b) > 0:
                found.violated(
                    max(a.start, b.start),
                    f"volume {volume} was mounted on {a.node} ({_owner(a)}) and on {b.node} ({_owner(b)}) at once for "
                    f"{a.overlap_ns(b) / 1e9:.3f} s",
                )

    def _order(self, found: Findings, volume: str, attachments: list[_Attachment], mounts: list[Interval]) -> None:
        lag = self.lag_ms * 1_000_000
        for mount in mounts:
            mine = [a for a in attachments if a.node == mount.node and a.attached]
            if not any(a.attached <= mount.start + lag and (not a.gone or a.gone >= mount.start) for a in mine):
                found.violated(
                    mount.start,
                    f"volume {volume} was mounted on {mount.node} ({_owner(mount)}) while not attached there",
                )
            if self.detach_fault:
                continue
            for a in mine:
                if a.detaching and mount.start < a.detaching < mount.end:
                    late = f"{(mount.end - a.detaching) / 1e9:.3f} s later" if mount.ended else "never"
                    found.violated(
                        a.detaching,
                        f"volume {volume} was being detached from {a.node} ({a.name}) while still mounted there "
                        f"({_owner(mount)}), unmounted {late}",
                    )

    def _gaps(self, found: Findings) -> None:
        found.open_gaps("PersistentVolume")
        for gap in found.trace.gaps("VolumeAttachment"):
            found.hidden(gap, "a brief attachment to a second node")
        if self.mounts:
            for gap in found.trace.gaps(NODE_EVIDENCE):
                found.hidden(gap, "a mount on a second node")


def _owner(mount: Interval) -> str:
    return f"pod {short(mount.pod_uid)}" if mount.pod_uid else "staged"
