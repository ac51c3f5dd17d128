"""Split brain: an older primary still acknowledges what is sent to it after a newer one has acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import NS_PER_S, by_key, describe, judgement, seconds
from steadyset.errors import UsageError
from steadyset.history import OK, History
from steadyset.history.columns import Ints
from steadyset.verdict import Judgement, Verdict

WRITES = ("add", "write", "cas", "enqueue", "inc", "txn", "append", "transfer")
GROUPINGS = ("", "key")


@dataclass(frozen=True)
class SplitBrain:
    """No write is acknowledged in an older epoch that was sent after a newer epoch had acknowledged one.

    `by`: "" when all ops go to one store; "key" when each key is a store of its own. `transitions_min`: fewer
    changes of epoch (summed over groups) prove nothing (INVALID).
    """

    by: str = ""
    transitions_min: int = 1
    rule: ClassVar[str] = "split-brain"
    claim: ClassVar[str] = "At any time at most one primary acknowledges writes."

    def check(self, history: History) -> Judgement:
        """Judge every acknowledged write that carries an epoch."""
        if self.by not in GROUPINGS:
            raise UsageError(f"split-brain: cannot group by {self.by!r}", expected=f"by in {GROUPINGS}")
        writes = np.flatnonzero(history.is_f(*WRITES) & (history.outcome == OK))
        ops = writes[history.epoch[writes] >= 0]
        observed: dict[str, float] = {"acknowledged": len(writes), "with_epoch": len(ops)}
        groups = by_key(history, ops) if self.by else [(-1, ops)]
        transitions, spans = 0, []
        violating: list[Ints] = []
        worst: tuple[int, int, int] | None = None  # overlap ns, newest-epoch first op, last older op
        harmed: list[str] = []
        for group, members in groups:
            name = history.names["key"][group] if self.by else ""
            epochs = np.unique(history.epoch[members])
            transitions += max(0, len(epochs) - 1)
            spans += _spans(history, members, epochs, name)
            found = _overlap(history, members)
            if found is None:
                continue
            late, first, last = found
            violating.append(late)
            harmed.append(name)
            overlap = int(history.start[last] - history.end[first])
            if worst is None or overlap > worst[0]:
                worst = (overlap, first, last)
        observed["transitions"] = transitions
        data: dict[str, object] = {"overlap_s": 0.0, "by": self.by, "transitions": transitions}
        if worst is not None:
            overlap, first, last = worst
            late = np.concatenate(violating)
            data |= {"overlap_s": overlap / NS_PER_S, "violations": len(late), "groups": harmed}
            new, old = int(history.epoch[first]), int(history.epoch[last])
            spans.append((int(history.end[first]), int(history.start[last]), f"split brain: epochs {old} and {new}"))
            where = f" of {history.name('key', first)}" if self.by else ""
            summary = (
                f"two primaries{where} acknowledged writes for {overlap / NS_PER_S:.3f} s: {len(late)} writes were "
                f"sent to and acknowledged by epoch {old} after epoch {new} had acknowledged its first"
            )
            lines = [
                f"epoch {new} was in charge from {seconds(history, int(history.end[first]))}, "
                f"yet epoch {old} acknowledged what was sent at {seconds(history, int(history.start[last]))}",
                f"first such write: {describe(history, int(late[np.argmin(history.start[late])]))}",
            ]
            return judgement(
                self,
                Verdict.FAIL,
                summary,
                history=history,
                ops=[first, last],
                lines=lines,
                observed=observed,
                data=data,
                spans=spans,
            )
        if not len(ops) or transitions < self.transitions_min:
            summary = (
                f"{transitions} changes of epoch among {len(ops)} acknowledged writes with an epoch, "
                f"{self.transitions_min} needed: nothing was put to the test"
            )
            verdict = Verdict.INVALID
        else:
            summary = f"{len(ops)} acknowledged writes over {transitions} changes of epoch, never two primaries at once"
            verdict = Verdict.PASS
        return judgement(self, verdict, summary, history=history, observed=observed, data=data, spans=spans)


def _overlap(history: History, ops: Ints) -> tuple[Ints, int, int] | None:
    """Ops sent to an older epoch after a newer had acknowledged; that first acknowledgement, the last such op."""
    epoch, start, end = history.epoch[ops], history.start[ops], history.end[ops]
    epochs, of = np.unique(epoch, return_inverse=True)
    first_end = np.full(len(epochs), np.iinfo(np.int64).max)
    np.minimum.at(first_end, of, end)
    # earliest acknowledgement by any epoch newer than this one
    newer = np.append(np.minimum.accumulate(first_end[::-1])[::-1][1:], np.iinfo(np.int64).max)
    late = np.flatnonzero(start > newer[of])
    if not len(late):
        return None
    last = late[np.argmax(start[late] - newer[of[late]])]
    candidates = np.flatnonzero((epoch > epoch[last]) & (end == newer[of[last]]))
    return ops[late], int(ops[candidates[0]]), int(ops[last])


def _spans(history: History, ops: Ints, epochs: Ints, name: str) -> list[tuple[int, int, str]]:
    spans = []
    for epoch in epochs.tolist():
        members = ops[history.epoch[ops] == epoch]
        servers = sorted({history.names["server"][code] for code in np.unique(history.server[members]) if code >= 0})
        label = f"epoch {epoch}" + (f" on {', '.join(s for s in servers if s)}" if any(servers) else "")
        label = f"{name}: {label}" if name else label
        spans.append((int(history.end[members].min()), int(history.end[members].max()), label))
    return spans
