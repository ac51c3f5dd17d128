"""Split brain: an older primary still acknowledges what is sent to it after a newer one has acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import NS_PER_S, by_key, describe, judgement, seconds, unknowns
from steadyset.errors import UsageError
from steadyset.history import INFO, OK, History
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
        unknown = int((history.is_f(*WRITES) & (history.outcome == INFO)).sum())
        observed: dict[str, float] = {"acknowledged": len(writes), "with_epoch": len(ops), "unknown": unknown}
        groups = by_key(history, ops) if self.by else [(-1, ops)]
        transitions, spans = 0, []
        forks: list[_Fork] = []
        for group, members in groups:
            name = history.names["key"][group] if self.by else ""
            epochs = np.unique(history.epoch[members])
            transitions += max(0, len(epochs) - 1)
            spans += _spans(history, members, epochs, name)
            forks += _forks(history, members)
        observed["transitions"] = transitions
        data: dict[str, object] = {"overlap_s": 0.0, "by": self.by, "transitions": transitions, **unknowns(unknown)}
        if forks:
            return self._fail(history, forks, observed, data, spans)
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

    def _fail(
        self,
        history: History,
        forks: list[_Fork],
        observed: dict[str, float],
        data: dict[str, object],
        spans: list[tuple[int, int, str]],
    ) -> Judgement:
        worst = max(forks, key=lambda fork: (fork.overlap_ns, fork.alone_ns))
        late = np.unique(np.concatenate([fork.late for fork in forks]))
        first, witness = worst.first, worst.witness
        new, old = int(history.epoch[first]), int(history.epoch[witness])
        harmed = list(dict.fromkeys(history.name("key", fork.first) if self.by else "" for fork in forks))
        overlap_s, alone_s = worst.overlap_ns / NS_PER_S, worst.alone_ns / NS_PER_S
        data |= {"overlap_s": overlap_s, "older_alone_s": alone_s, "violations": len(late), "groups": harmed}
        began = int(history.end[first])
        spans = [*spans, (began, int(history.start[witness]), f"split brain: epochs {old} and {new}")]
        where = f" of {history.name('key', first)}" if self.by else ""
        what = f"two primaries{where} acknowledged writes for {overlap_s:.3f} s"
        if not worst.overlap_ns:
            what = f"an older primary{where} acknowledged writes again"
        summary = (
            f"{what}: {len(late)} writes were sent to and acknowledged by epoch {old} "
            f"after epoch {new} had acknowledged its first"
        )
        lines = [
            f"epoch {new} was in charge from {seconds(history, began)}, "
            f"yet epoch {old} acknowledged what was sent at {seconds(history, int(history.start[witness]))}",
            f"first such write: {describe(history, int(late[np.argmin(history.start[late])]))}",
        ]
        if worst.alone_ns:
            lines.append(
                f"the newer epoch's last write was acknowledged at {seconds(history, int(history.end[worst.last]))}; "
                f"epoch {old} went on for {alone_s:.3f} s after that, alone"
            )
        return judgement(
            self,
            Verdict.FAIL,
            summary,
            history=history,
            ops=[first, witness],
            lines=lines,
            observed=observed,
            data=data,
            spans=spans,
        )


@dataclass(frozen=True)
class _Fork:
    """An epoch that went on after a newer one had acknowledged its first write, `first`."""

    late: Ints  # writes of the old epoch sent after that
    first: int
    last: int  # the newer epochs' last acknowledged write
    overlap_ns: int  # from `first` until the older epoch's last such write while newer ones still acknowledged
    alone_ns: int  # how long the older went on after `last`
    witness: int  # the write of `late` that shows it


def _forks(history: History, ops: Ints) -> list[_Fork]:
    """Every epoch of one store that acknowledged what was sent after a newer epoch had acknowledged."""
    epoch, start, end = history.epoch[ops], history.start[ops], history.end[ops]
    found = []
    for old in np.unique(epoch)[:-1].tolist():
        newer = np.flatnonzero(epoch > old)
        first, last = newer[np.argmin(end[newer])], newer[np.argmax(end[newer])]
        late = np.flatnonzero((epoch == old) & (start > end[first]))
        if not len(late):
            continue
        both = late[start[late] <= end[last]]
        witness = both[np.argmax(start[both])] if len(both) else late[np.argmin(start[late])]
        overlap = int(start[witness] - end[first]) if len(both) else 0
        alone = max(0, int(start[late].max() - end[last]))
        found.append(_Fork(ops[late], int(ops[first]), int(ops[last]), overlap, alone, int(ops[witness])))
    return found


def _spans(history: History, ops: Ints, epochs: Ints, name: str) -> list[tuple[int, int, str]]:
    spans = []
    for epoch in epochs.tolist():
        members = ops[history.epoch[ops] == epoch]
        servers = sorted({history.names["server"][code] for code in np.unique(history.server[members]) if code >= 0})
        label = f"epoch {epoch}" + (f" on {', '.join(s for s in servers if s)}" if any(servers) else "")
        label = f"{name}: {label}" if name else label
        spans.append((int(history.end[members].min()), int(history.end[members].max()), label))
    return spans
