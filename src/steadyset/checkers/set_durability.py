"""No acknowledged add is lost, nothing appears that nobody added: the promise of durable storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import DATA_MAX, NS_PER_S, by_key, judgement, listed, unknowns
from steadyset.history import FAIL, OK, History
from steadyset.history.columns import Ints, Mask
from steadyset.verdict import Judgement, Verdict

# Of a pause between an epoch's acknowledgements, what counts as time in which it acknowledged.
SILENCE_MAX_S = 1.0


@dataclass
class _Found:
    """What one key, and then all keys together, show."""

    lost: list[tuple[str, int, int, int]] = field(default_factory=list)  # key, value, add, read without it
    phantom: list[tuple[str, int, int, int, str]] = field(default_factory=list)  # key, value, read, add or -1, why
    duplicate: list[tuple[str, int, int]] = field(default_factory=list)  # key, value, read
    borne: int = 0  # lost within the window that is granted
    borne_ns: int = 0  # the earliest of them was acknowledged this long before its epoch's last acknowledgement
    without_final: list[str] = field(default_factory=list)
    acknowledged: int = 0
    judged: int = 0
    unknown: int = 0
    took_effect: int = 0
    no_effect: int = 0
    late: int = 0  # acknowledged after the final read began: not judged
    final_reads: int = 0
    reads: int = 0
    values_read: int = 0


@dataclass(frozen=True)
class SetDurability:
    """Every acknowledged `add` is in the final `read-all` of its key, and every value read was added.

    `acknowledged_min`: fewer acknowledged adds prove nothing (INVALID). Final reads carry session "final"; with
    `any_read_is_final` the last successful read of each key serves, for histories from elsewhere. `loss_window_s` is
    for stores that replicate asynchronously and bound what that may cost: an acknowledged add may be lost if its
    epoch acknowledged its last one at most that many seconds later, which is then counted and no violation. A pause
    counts as SILENCE_MAX_S at most: a primary that is cut off stops to acknowledge, and may begin once more for the
    moment between the heal and its demotion.
    """

    acknowledged_min: int = 1
    any_read_is_final: bool = False
    loss_window_s: float = 0.0
    rule: ClassVar[str] = "set-durability"
    claim: ClassVar[str] = "An acknowledged write survives: it is in the final read, and nothing is that nobody wrote."

    def check(self, history: History) -> Judgement:
        """Judge the adds and whole reads of every key."""
        found = _Found()
        before_end = cache(lambda: _before_end_of_epoch(history))  # of all keys at once, and only where some are lost
        adds = np.flatnonzero(history.is_f("add"))
        reads = np.flatnonzero(history.is_f("read-all") & (history.outcome == OK))
        is_add = history.is_f("add")
        for key, ops in by_key(history, np.concatenate([adds, reads])):
            of_add, of_read = ops[is_add[ops]], ops[~is_add[ops]]
            self._check_key(history, history.names["key"][key], of_add, of_read, found, before_end)
        return self._judge(history, found)

    def _check_key(
        self, history: History, key: str, adds: Ints, reads: Ints, found: _Found, before_end: Callable[[], Ints]
    ) -> None:
        value, start, end, outcome = (c[adds] for c in (history.value, history.start, history.end, history.outcome))
        values, of = np.unique(value, return_inverse=True)
        acked = _any(of, outcome == OK, len(values))
        maybe = _any(of, outcome != FAIL, len(values))
        first_sent = np.full(len(values), np.iinfo(np.int64).max)
        np.minimum.at(first_sent, of[outcome != FAIL], start[outcome != FAIL])
        attempts = np.bincount(of[outcome != FAIL], minlength=len(values))
        acked_at = np.full(len(values), np.iinfo(np.int64).max)
        np.minimum.at(acked_at, of[outcome == OK], end[outcome == OK])
        an_add = np.zeros(len(values), dtype=np.int64)
        an_add[of] = adds
        an_add[of[outcome != FAIL]] = adds[outcome != FAIL]
        an_add[of[outcome == OK]] = adds[outcome == OK]

        finals = reads if self.any_read_is_final else reads[history.session[reads] == history.code("session", "final")]
        found.acknowledged += int(acked.sum())
        unknown = maybe & ~acked
        found.unknown += int(unknown.sum())
        found.reads += len(reads)
        found.final_reads += len(finals)
        seen = np.full(len(values), np.iinfo(np.int64).max)  # earliest end of a read that has the value
        seen_in = np.full(len(values), -1, dtype=np.int64)
        for read in reads.tolist():
            got, times = np.unique(history.values(read), return_counts=True)
            found.values_read += int(times.sum())
            at = np.searchsorted(values, got)
            known = np.zeros(len(got), dtype=np.bool_)
            if len(values):
                known = values[np.minimum(at, len(values) - 1)] == got
            for phantom in got[~known].tolist():
                found.phantom.append((key, phantom, read, -1, "was never added"))
            at = at[known]
            for i in at[~maybe[at]].tolist():
                found.phantom.append((key, int(values[i]), read, int(an_add[i]), "was refused"))
            for i in at[maybe[at] & (first_sent[at] > history.end[read])].tolist():
                found.phantom.append((key, int(values[i]), read, int(an_add[i]), "was sent only after it was read"))
            for i, count in zip(at.tolist(), times[known].tolist(), strict=True):
                if count > max(1, attempts[i]):
                    found.duplicate.append((key, int(values[i]), read))
            earlier = at[history.end[read] < seen[at]]
            seen[earlier], seen_in[earlier] = history.end[read], read
        if not len(finals):
            if acked.any():
                found.without_final.append(key)
            return
        final = int(finals[np.argmax(history.start[finals])])
        present, began = np.isin(values, history.values(final)), history.start[final]
        found.late += int((acked & (acked_at >= began)).sum())
        owed = maybe & ((acked & (acked_at < began)) | (seen < began))
        found.judged += int(owed.sum())
        lost = owed & ~present
        if self.loss_window_s and lost.any():
            lost &= ~self._bear(before_end()[an_add], lost & acked, found)
        for i in np.flatnonzero(lost).tolist():
            told = an_add if acked[i] and acked_at[i] < began else seen_in
            found.lost.append((key, int(values[i]), int(told[i]), final))
        found.took_effect += int((unknown & present).sum())
        found.no_effect += int((unknown & ~present & ~owed).sum())

    def _bear(self, before_end: Ints, lost: Mask, found: _Found) -> Mask:
        """Which of the lost ones may be, counted."""
        borne: Mask = lost & (before_end <= int(self.loss_window_s * NS_PER_S))
        found.borne += int(borne.sum())
        found.borne_ns = max([found.borne_ns, *before_end[borne].tolist()])
        return borne

    def _judge(self, history: History, found: _Found) -> Judgement:
        observed = {
            "acknowledged": found.acknowledged,
            "judged": found.judged,
            "reads": found.reads,
            "final_reads": found.final_reads,
            "values_read": found.values_read,
            "unknown": found.unknown,
        }
        resolved = {"final read shows it": found.took_effect, "final read lacks it": found.no_effect}
        data = {
            "lost": [[key, value] for key, value, *_ in found.lost[:DATA_MAX]],
            "lost_count": len(found.lost),
            "phantom": [[key, value] for key, value, *_ in found.phantom[:DATA_MAX]],
            "duplicate": [[key, value] for key, value, _ in found.duplicate[:DATA_MAX]],
            "unknown_took_effect": found.took_effect,
            "unknown_no_effect": found.no_effect,
            **unknowns(found.unknown, resolved),
            "acknowledged_after_final_read": found.late,
            "lost_within_window": found.borne,
            "lost_window_s": found.borne_ns / NS_PER_S,
        }
        torn_phantoms = not history.complete and all(entry[3] < 0 for entry in found.phantom)
        phantom = [] if torn_phantoms else found.phantom
        if found.lost or phantom or found.duplicate:
            return self._fail(history, found, phantom, observed, data)
        invalid = ""
        if found.phantom:
            invalid = (
                f"{len(found.phantom)} values were read whose add is not in the history, "
                "whose recorder died: they may be phantoms or merely unrecorded"
            )
        elif found.without_final:
            invalid = f"no final read of {len(found.without_final)} keys ({', '.join(found.without_final[:5])})"
        elif found.judged < max(1, self.acknowledged_min):
            invalid = f"only {found.judged} acknowledged adds could be judged, {max(1, self.acknowledged_min)} needed"
        if invalid:
            return judgement(self, Verdict.INVALID, invalid, history=history, observed=observed, data=data)
        summary = (
            f"all {found.judged} acknowledged adds are in the final reads; of {found.unknown} unknown ones "
            f"{found.took_effect} took effect, {found.no_effect} did not"
        )
        if found.borne:
            summary = (
                f"{found.borne} of {found.judged} acknowledged adds are lost, all of the last "
                f"{found.borne_ns / NS_PER_S:.1f} s of their epochs ({self.loss_window_s:g} s are granted)"
            )
        return judgement(self, Verdict.PASS, summary, history=history, observed=observed, data=data)

    def _fail(
        self,
        history: History,
        found: _Found,
        phantom: list[tuple[str, int, int, int, str]],
        observed: Mapping[str, float],
        data: Mapping[str, object],
    ) -> Judgement:
        parts, lines, ops = [], [], []
        if found.lost:
            key, value, add, final = found.lost[0]
            beyond = f", {found.borne} more within the {self.loss_window_s:g} s granted" if found.borne else ""
            parts.append(f"{len(found.lost)} of {found.judged} acknowledged adds are lost{beyond}")
            ops += [add, final]
            lines.append(f"{value} on {key or 'the set'} is not in that final read")
            lines.append(f"lost: {listed([v for _, v, *_ in found.lost])}")
        if phantom:
            key, value, read, add, why = phantom[0]
            parts.append(f"{len(phantom)} phantom values were read")
            ops += [read] if add < 0 else [add, read]
            lines.append(f"{value} on {key or 'the set'} was read, but {why}")
            lines.append(f"phantom: {listed([v for _, v, *_ in phantom])}")
        if found.duplicate:
            key, value, read = found.duplicate[0]
            parts.append(f"{len(found.duplicate)} values were read twice")
            ops.append(read)
            lines.append(f"{value} on {key or 'the set'} occurs more often in that read than it was added")
            lines.append(f"duplicate: {listed([v for _, v, _ in found.duplicate])}")
        servers = sorted({history.name("server", add) for _, _, add, _ in found.lost} - {""})
        if servers:
            lines.append(f"the lost adds were acknowledged by {', '.join(servers)}")
        return judgement(
            self,
            Verdict.FAIL,
            "; ".join(parts),
            history=history,
            ops=list(dict.fromkeys(ops)),
            lines=lines,
            observed=observed,
            data=data,
        )


def _before_end_of_epoch(history: History) -> Ints:
    """For each op, ns from its acknowledgement to its epoch's last, pauses cut short; for ever where it is no add."""
    adds = np.flatnonzero(history.is_f("add") & (history.outcome == OK) & (history.epoch >= 0))
    adds = adds[np.lexsort((history.end[adds], history.epoch[adds]))]
    epoch = history.epoch[adds]
    gaps = np.minimum(np.diff(history.end[adds], prepend=0), int(SILENCE_MAX_S * NS_PER_S))
    spent = np.cumsum(gaps)
    last = spent[np.searchsorted(epoch, epoch, side="right") - 1]
    found = np.full(len(history.end), np.iinfo(np.int64).max)
    found[adds] = last - spent
    return found


def _any(of: Ints, mask: Mask, count: int) -> Mask:
    found = np.zeros(count, dtype=np.bool_)
    found[of[mask]] = True
    return found
