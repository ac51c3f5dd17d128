"""Rule `at-most-one-per-identity`, by node-side evidence: the API cannot show two pods of one name, the nodes can."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.evidence import Interval, intervals
from steadyset.invariants.objects import meta, ordinal, pods_of, ready, short
from steadyset.trace import NODE_EVIDENCE, Lifetime, Trace
from steadyset.verdict import Judgement


@dataclass(frozen=True)
class AtMostOnePerIdentity:
    """`replacements_min`: identities whose old and new containers were both seen on the nodes."""

    namespace: str
    statefulset: str
    replacements_min: int = 1

    rule: ClassVar[str] = "at-most-one-per-identity"
    claim: ClassVar[str] = (
        "at most one container set and one mount per identity at any moment: the old container has stopped and the "
        "volume is unmounted before the replacement mounts it"
    )

    def check(self, trace: Trace) -> Judgement:
        """Compare the intervals of every two pods that bore the same name."""
        found = Findings(self, trace)
        if not found.needs(NODE_EVIDENCE, "Pod"):
            return found.judgement("")
        pods = {life.uid: life for life in pods_of(trace, self.namespace, self.statefulset)}
        identities = self._identities(trace, pods)
        found.data.update(overlap_s=0.0)
        found.count("replacements", 0)
        found.count("containers", 0)
        found.count("mounts", 0)
        for name, incarnations in sorted(identities.items()):
            for items in incarnations.values():
                found.count("containers", sum(i.what == "container" for i in items))
                found.count("mounts", sum(i.what == "mount" for i in items))
                self._twice(found, name, items)
            order = sorted(incarnations, key=lambda uid: min(i.start for i in incarnations[uid]))
            ran = [uid for uid in order if any(i.what == "container" for i in incarnations[uid])]
            found.count("replacements", max(0, len(ran) - 1))
            for old, new in combinations(order, 2):
                self._pair(found, name, incarnations[old], incarnations[new], forced=_forced(pods.get(old)))
        self._unseen(found, pods, identities)
        for gap in trace.gaps(NODE_EVIDENCE):
            found.hidden(gap, "a container or a mount of the old pod beside the new one")
        found.open_gaps("Pod")
        if not found.violations:
            found.at_least("replacements", self.replacements_min)
            found.at_least("containers", 1)
        return found.judgement(
            f"{plural(found.observed['replacements'], 'replacement')}, "
            f"{plural(found.observed['containers'], 'container')} and {plural(found.observed['mounts'], 'mount')}: "
            "never two at once"
        )

    def _identities(self, trace: Trace, pods: dict[str, Lifetime]) -> dict[str, dict[str, list[Interval]]]:
        """Pod name to pod UID to intervals; a pod that the API never showed is known by its container's labels."""
        names = {uid: life.name for uid, life in pods.items()}
        found: dict[str, dict[str, list[Interval]]] = defaultdict(lambda: defaultdict(list))
        everything = intervals(trace)
        for item in everything:
            if item.namespace == self.namespace and ordinal(item.pod, self.statefulset) >= 0:
                names.setdefault(item.pod_uid, item.pod)
        for item in everything:
            if item.pod_uid in names:
                found[names[item.pod_uid]][item.pod_uid].append(item)
        return found

    def _pair(self, found: Findings, name: str, old: list[Interval], new: list[Interval], *, forced: bool) -> None:
        for what, other in (("container", "container"), ("mount", "mount"), ("container", "mount")):
            clashes = [
                (a, b)
                for a in old
                for b in new
                if a.what == what
                and b.what == other
                and a.overlap_ns(b) > 0
                and (what == "container" or a.label == b.label)
                and not (what == other == "mount" and forced and self._idle(found, name, a, b, old))
            ]
            if not clashes:
                continue
            a, b = max(clashes, key=lambda pair: pair[0].overlap_ns(pair[1]))
            seconds = a.overlap_ns(b) / 1e9
            found.data["overlap_s"] = max(found.data["overlap_s"], seconds)
            until = f"until {found.trace.seconds(a.end):.3f} s" if a.ended else "and never stopped"
            verb = "runs" if b.what == "container" else "mounts the volume"
            found.violated(
                max(a.start, b.start),
                f"{name}: the replacement ({short(b.pod_uid)} on {b.node}) {verb} ({b.what} {b.label}) while the old "
                f"pod's {a.what} {a.label} ({short(a.pod_uid)} on {a.node}) was there {until}: {seconds:.3f} s",
            )
            found.spans.append((max(a.start, b.start), min(a.end, b.end), f"{name} twice"))

    def _idle(self, found: Findings, name: str, a: Interval, b: Interval, old: list[Interval]) -> bool:
        """A forced deletion promises no unmount. On one node, and with no container left to use it, it harms nobody."""
        in_use = any(i.what == "container" and i.overlap_ns(b) > 0 for i in old)
        if a.node != b.node or in_use:
            return False
        found.count("idle_mounts_of_forced_deletions")
        found.data.setdefault("idle", []).append(
            f"{name}: the idle mount of force-deleted {short(a.pod_uid)} on {a.node} outlived the new one's start by "
            f"{a.overlap_ns(b) / 1e9:.3f} s"
        )
        return True

    def _twice(self, found: Findings, name: str, items: list[Interval]) -> None:
        """Within one pod a container is restarted only after its last run has ended."""
        for a, b in combinations([i for i in items if i.what == "container"], 2):
            if a.label == b.label and a.overlap_ns(b) > 0:
                found.violated(
                    b.start,
                    f"{name} ({short(a.pod_uid)}): container {a.label} was started again on {b.node} while it ran "
                    f"for {a.overlap_ns(b) / 1e9:.3f} s",
                )

    def _unseen(
        self, found: Findings, pods: dict[str, Lifetime], identities: dict[str, dict[str, list[Interval]]]
    ) -> None:
        """A pod that was Ready but whose containers no node saw means that a node is not observed."""
        for life in pods.values():
            ran = any(i.what == "container" for i in identities[life.name].get(life.uid, []))
            if not ran and any(ready(state) for _, state in life.states()):
                found.undecided(f"pod {life.name} ({short(life.uid)}) was Ready, but no node saw its containers")


def _forced(life: Lifetime | None) -> bool:
    """Whether the pod's API object was removed at once (grace 0), without waiting for its node."""
    if life is None or life.deletion is None:
        return False
    return not any((meta(record.obj).get("deletionGracePeriodSeconds") or 0) > 0 for record in life.records)
