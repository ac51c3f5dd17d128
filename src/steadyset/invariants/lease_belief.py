"""Rule `lease-belief`: two holders never believe at the same time that they hold a Lease."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import Obj, spec
from steadyset.trace import Trace
from steadyset.verdict import Judgement

NOTE_BELIEF = "lease-belief"  # obj: {lease, holder, believes: true|false}, written by whoever asks the holder itself


@dataclass(frozen=True)
class LeaseBelief:
    """`transitions_min`: changes of holder. The Lease alone cannot show what a holder believes: that needs the holders'
    own `lease-belief` notes. It does show a takeover before the last renewal had expired (`skew_ms` allowed).
    """

    namespace: str
    lease: str
    transitions_min: int = 1
    skew_ms: int = 1000

    rule: ClassVar[str] = "lease-belief"
    claim: ClassVar[str] = "no two holders of a Lease believe at the same time that they hold it"

    def check(self, trace: Trace) -> Judgement:
        """Compare the holders' own words; then the Lease's record of takeovers."""
        found = Findings(self, trace)
        found.needs("Lease")
        for gap in trace.gaps("Lease"):
            found.hidden(gap, "an early takeover")
        found.count("beliefs", 0)
        found.data["overlap_s"] = 0.0
        beliefs = self._beliefs(trace)
        for (one, ours), (other, theirs) in combinations(sorted(beliefs.items()), 2):
            for a, b in ours:
                for c, d in theirs:
                    start, end = max(a, c), min(b, d)
                    if end > start:
                        found.data["overlap_s"] = max(found.data["overlap_s"], (end - start) / 1e9)
                        found.violated(
                            start,
                            f"{one} and {other} both believed that they held Lease {self.lease} for "
                            f"{(end - start) / 1e9:.3f} s",
                        )
                        found.spans.append((start, end, f"{self.lease} held twice"))
        found.count("beliefs", sum(map(len, beliefs.values())))
        self._takeovers(found)
        if not found.violations:
            found.at_least("transitions", self.transitions_min)
            if not beliefs:
                found.undecided("no holder said what it believes: the Lease object alone cannot show it")
        return found.judgement(f"{plural(found.observed['transitions'], 'transition')} without a common moment")

    def _beliefs(self, trace: Trace) -> dict[str, list[tuple[int, int]]]:
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        since: dict[str, int] = {}
        for record in trace.notes(NOTE_BELIEF):
            if record.obj.get("lease") != self.lease:
                continue
            holder = str(record.obj.get("holder"))
            if record.obj.get("believes"):
                since.setdefault(holder, record.t)
            elif holder in since:
                spans[holder].append((since.pop(holder), record.t))
        for holder, start in since.items():
            spans[holder].append((start, trace.end_ns))
        return dict(spans)

    def _takeovers(self, found: Findings) -> None:
        found.count("transitions", 0)
        previous: Obj = {}
        for record in found.trace.of("Lease", self.namespace, self.lease):
            now = spec(record.obj)
            before, after = previous.get("holderIdentity"), now.get("holderIdentity")
            if before and after and before != after:
                found.count("transitions")
                renewed, taken = _time(previous.get("renewTime")), _time(now.get("renewTime"))
                lasts = float(previous.get("leaseDurationSeconds") or 0)
                if renewed and taken and taken < renewed + lasts - self.skew_ms / 1000:
                    found.violated(
                        record.t,
                        f"{after} took Lease {self.lease} from {before} {taken - renewed:.3f} s after a renewal "
                        f"that was good for {lasts:g} s",
                    )
            elif after and not before and previous:
                found.count("transitions")
            previous = now


def _time(text: str | None) -> float:
    """Seconds since the epoch of a MicroTime; 0 when unset."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
