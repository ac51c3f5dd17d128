"""What every checker shares: its interface, the words for an op, and how a judgement is put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Protocol

import numpy as np

from steadyset.checkers.places import rows_of
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, History
from steadyset.history.columns import Ints, Mask, Rows
from steadyset.history.txn import APPEND, decode_txn
from steadyset.verdict import Judgement, Verdict

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1e9
LISTED_MAX: Final = 20  # values listed in a witness; data holds them all up to DATA_MAX
DATA_MAX: Final = 1000
_MICRO_MAX: Final = 6  # micro-ops of a transaction in its line
UNKNOWN_LABEL: Final = " (outcome unknown)"


class Checker(Protocol):
    """A frozen dataclass whose fields are JSON-able parameters."""

    rule: ClassVar[str]
    claim: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def check(self, history: History) -> Judgement:
        """Judge `history`; never raises for what the history contains."""
        ...


@dataclass(frozen=True)
class Violation:
    """Why a history is not linearizable: a named kind, the few ops that show it, and the contradiction in words.

    `needs_all` says that the violation may only be an artefact of unrecorded events.
    """

    kind: str
    summary: str
    ops: list[int]
    lines: list[str]
    needs_all: bool = False


def seconds(history: History, time: int) -> str:
    """A time since the history's start in seconds (in ns when all is over within a millisecond), or the event's
    position where the source has no clock.
    """
    if time >= FOREVER:
        return "?"
    if not history.times_known:
        return f"event {time}"
    since = time - history.begin_ns
    if int(history.start.max()) - history.begin_ns < NS_PER_MS:
        return f"{since} ns"
    return f"{since / NS_PER_S:.6f} s"


def shown(value: int) -> str:
    """A value as a person writes it."""
    return "nil" if value == NIL else str(value)


def _micro_ops(flat: list[int]) -> str:
    parts = []
    for kind, key, values in decode_txn(flat)[:_MICRO_MAX]:
        if kind == APPEND and values:
            parts.append(f"append {shown(values[0])} to {shown(key)}")
        else:
            some = ["?"] if values is None else [*(["…"] if len(values) > 3 else []), *map(shown, values[-3:])]
            parts.append(f"read {shown(key)} = [{', '.join(some)}]")
    return ", ".join(parts)


def _what(history: History, i: int) -> str:
    f, value = history.name("f", i), int(history.value[i])
    done = history.outcome[i] == OK
    if f == "cas":
        text = f"cas {shown(value)} -> {shown(int(history.value2[i]))}"
        if history.outcome[i] == FAIL and history.result[i] != NIL:
            text += f" (refused: the value was {shown(int(history.result[i]))})"
        return text
    if f == "txn":
        return f"txn {_micro_ops(history.values(i).tolist())}"
    if history.has_values(i):
        values = history.values(i).tolist()
        head = ", ".join(map(str, values[:8]))
        return f"{f} [{head}{', …' if len(values) > 8 else ''}] ({len(values)} values)"
    if f == "inc" and done:
        return f"inc by {shown(value)}, returning {shown(int(history.result[i]))}"
    if f == "read":
        return f"read {shown(value)}" if done else "read"
    return f"{f} {shown(value)}" if value != NIL else f


def describe(history: History, i: int) -> str:
    """Op `i` in one line: who did what when, how it ended, acknowledged by which server in which epoch."""
    i = int(i)
    key = history.name("key", i)
    session = history.name("session", i)
    who = f"process {int(history.process[i])}" + (f" (session {session})" if session else "")
    start, outcome = int(history.start[i]), int(history.outcome[i])
    line = f"{who}: {_what(history, i)}" + (f" on {key}" if key else "") + f", sent at {seconds(history, start)}"
    if outcome == INFO:
        line += ", outcome unknown"
    else:
        line += f", {'acknowledged' if outcome == OK else 'refused'} at {seconds(history, int(history.end[i]))}"
        server, epoch = history.name("server", i), int(history.epoch[i])
        if server:
            line += f" by {server}"
        if epoch >= 0:
            line += f" in epoch {epoch}"
    error = history.name("error", i)
    return line + (f" ({error})" if error else "")


def spans_of(history: History, ops: Iterable[int]) -> list[tuple[int, int, str]]:
    """Spans for drawing; an op of unknown outcome is drawn a little beyond the last known end among `ops`."""
    shown_ops = [int(i) for i in ops]
    if not shown_ops:
        return []
    ends = [int(history.end[i]) for i in shown_ops if history.end[i] < FOREVER]
    starts = [int(history.start[i]) for i in shown_ops]
    last = max(*starts, *ends, starts[0])
    beyond = last + max(1, (last - min(starts)) // 10)
    found = []
    for i in shown_ops:
        start, end = int(history.start[i]), int(history.end[i])
        label = f"process {int(history.process[i])}: {_what(history, i)}"
        if end >= FOREVER:
            end, label = beyond, label + UNKNOWN_LABEL
        found.append((start, end, label))
    return found


def unique_ops(*ops: int | None) -> list[int]:
    """The ops given, once each, in order, without None and negatives."""
    return list(dict.fromkeys(int(i) for i in ops if i is not None and i >= 0))


def judgement(
    checker: Checker,
    verdict: Verdict,
    summary: str,
    *,
    history: History,
    ops: Sequence[int] = (),
    lines: Sequence[str] = (),
    observed: Mapping[str, float] | None = None,
    data: Mapping[str, Any] | None = None,
    spans: list[tuple[int, int, str]] | None = None,
) -> Judgement:
    """A judgement whose witness is `ops` in words followed by `lines`; data["witness_ops"] holds their positions."""
    details = dict(data or {})
    if ops:
        details["witness_ops"] = [int(i) for i in ops]
        details["begin_ns"] = history.begin_ns if history.times_known else 0  # what the witness's times count from
    if not history.complete:
        torn = [g.name for g in history.generators if not g.complete]
        details["torn"] = torn
        summary += f" (recorder {', '.join(torn) or '?'} died: the events of its last moments are missing)"
    return Judgement(
        rule=checker.rule,
        verdict=verdict,
        claim=checker.claim,
        summary=summary,
        witness=[describe(history, i) for i in ops] + list(lines),
        observed={"ops": len(history), **(observed or {})},
        data=details,
        spans=spans if spans is not None else spans_of(history, ops),
    )


def unknowns(unknown: float, resolved: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What a judgement's data says of ops whose outcome nobody was told: how many there are, and how many of them
    which evidence shows to have taken effect, or not."""
    by = {evidence: number for evidence, number in (resolved or {}).items() if number}
    found = sum(by.values())
    return {
        "unknown": unknown,
        "unknown_resolved": found,
        "unknown_resolved_share": found / unknown if unknown else 1.0,
        "unknown_resolved_by": by,
    }


def conclude(
    checker: Checker,
    history: History,
    violations: Iterable[Violation | None],
    counts: Mapping[str, float],
    wanted: Mapping[str, int],
    resolved: Mapping[str, float] | None = None,
    data: Mapping[str, Any] | None = None,
    undecided: str = "",
) -> Judgement:
    """FAIL for the first violation; INVALID for one that may stem from a torn recording, when something is `undecided`,
    or when any of `counts` is below what is `wanted` of it; else PASS. `resolved`: see `unknowns`."""
    found = [violation for violation in violations if violation is not None]
    found.sort(key=lambda violation: violation.needs_all)
    details = unknowns(counts.get("unknown", 0), resolved) | dict(data or {})
    if found and not (found[0].needs_all and (not history.complete or found[0].kind == "not unique")):
        details |= {"kind": found[0].kind, "violations": len(found)}
        details["kinds"] = [violation.kind for violation in found]
        return judgement(
            checker,
            Verdict.FAIL,
            found[0].summary,
            history=history,
            ops=found[0].ops,
            lines=found[0].lines,
            observed=counts,
            data=details,
        )
    short = [f"{counts[name]:g} {name}, {least} needed" for name, least in wanted.items() if counts[name] < least]
    if found:
        summary, verdict = f"undecided: {found[0].summary}", Verdict.INVALID
    elif undecided:
        summary, verdict = undecided, Verdict.INVALID
    elif short:
        summary, verdict = f"too little was observed: {'; '.join(short)}", Verdict.INVALID
    else:
        seen = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in counts.items())
        summary, verdict = f"holds for {seen}", Verdict.PASS
    return judgement(checker, verdict, summary, history=history, observed=counts, data=details)


def listed(values: Sequence[int] | Ints) -> str:
    """The first few values, and how many more there are."""
    head = ", ".join(shown(int(v)) for v in values[:LISTED_MAX])
    rest = len(values) - LISTED_MAX
    return head + (f" and {rest} more" if rest > 0 else "")


def among(mask: Mask, ops: Ints | None) -> Rows:
    """Those of `ops` (None: all of the history) that `mask`, which has a place for every op, holds of."""
    return rows_of(mask) if ops is None or len(ops) == len(mask) else ops[mask[ops]]


def keys(history: History, *names: str) -> Iterator[Ints | None]:
    """For each key of ops with these functions its own of them; None, meaning all ops, where there is but one key."""
    if len(history.names["key"]) <= 1 or (history.key == history.key[:1]).all():
        yield None
    else:
        yield from (ops for _, ops in by_key(history, np.flatnonzero(history.is_f(*names))))


def by_key(history: History, ops: Ints) -> Iterator[tuple[int, Ints]]:
    """The code of each key that occurs in `ops`, with its ops in their order."""
    if not len(ops):
        return
    key = history.key if len(history.names["key"]) <= 1 else history.key[ops]
    if (key == key[0]).all():
        yield int(key[0]), ops
        return
    order = ops[np.argsort(key, kind="stable")]
    key = history.key[order]
    bounds = [0, *(np.flatnonzero(key[1:] != key[:-1]) + 1).tolist(), len(order)]
    for begin, end in pairwise(bounds):
        yield int(key[begin]), order[begin:end]
