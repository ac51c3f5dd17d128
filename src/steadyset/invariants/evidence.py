"""Node-side evidence as intervals: which containers ran and which volumes were mounted, on which node and when."""

from __future__ import annotations

from dataclasses import dataclass

from steadyset.invariants.objects import spec
from steadyset.trace import Trace


@dataclass(frozen=True)
class Interval:
    """Something that was so from `start` to `end` (ns); `end` is the trace's own end where `ended` is False."""

    what: str  # "container" or "mount"
    node: str
    start: int
    end: int
    ended: bool
    pod_uid: str
    pod: str  # names as the container runtime knows them; "" for mounts
    namespace: str
    label: str  # container name, or volume
    path: str = ""

    def overlap_ns(self, other: Interval) -> int:
        """Length of the common time; 0 or less where there is none."""
        return min(self.end, other.end) - max(self.start, other.start)


def intervals(trace: Trace) -> list[Interval]:
    """Every container run (sandboxes left out) and every mount of a CSI volume, in order of start."""
    handles = _volumes_by_handle(trace)
    opened: dict[tuple[str, str, str], tuple[int, dict[str, str]]] = {}
    found: list[Interval] = []
    for record in trace.node_events:
        facts = record.obj
        kind = str(facts.get("what", ""))
        if facts.get("sandbox"):
            continue
        if kind in ("container-started", "container-stopped"):
            key = ("container", facts["node"], facts["container_id"])
        else:
            key = ("mount", facts["node"], facts["path"])
        if kind in ("container-started", "mounted"):
            if facts.get("handle"):
                facts = {**facts, "volume": handles.get(facts["handle"], "")}
            opened.setdefault(key, (record.t, facts))
        elif key in opened:
            start, began = opened.pop(key)
            found.append(_interval(key, start, record.t, True, began))
    found += [_interval(key, start, trace.end_ns, False, facts) for key, (start, facts) in opened.items()]
    return sorted(found, key=lambda i: (i.start, i.end))


def _volumes_by_handle(trace: Trace) -> dict[str, str]:
    """CSI volume handle to PersistentVolume: a staging mount knows only its handle."""
    found: dict[str, str] = {}
    for life in trace.lifetimes("PersistentVolume"):
        handle = (spec(life.records[0].obj).get("csi") or {}).get("volumeHandle")
        if handle:
            found[str(handle)] = life.name
    return found


def _interval(key: tuple[str, str, str], start: int, end: int, ended: bool, facts: dict[str, str]) -> Interval:
    what, node, _ = key
    return Interval(
        what=what,
        node=node,
        start=start,
        end=end,
        ended=ended,
        pod_uid=facts.get("pod_uid", ""),
        pod=facts.get("pod", ""),
        namespace=facts.get("namespace", ""),
        label=facts.get("container", "") if what == "container" else facts.get("volume", ""),
        path=facts.get("path", ""),
    )
