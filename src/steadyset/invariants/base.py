"""What every invariant shares: the shape of a rule over a trace, and the findings that become its judgement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, runtime_checkable

from steadyset.trace import NODE_EVIDENCE, Gap, Trace
from steadyset.verdict import Judgement, Verdict

WITNESS_MAX = 20  # lines of evidence in a judgement; the rest is counted


@runtime_checkable
class Invariant(Protocol):
    """A pure function of a trace. Fields of the (frozen) dataclass are its parameters."""

    rule: ClassVar[str]
    claim: ClassVar[str]

    def check(self, trace: Trace) -> Judgement:
        """Judge `trace`; never raises for what the trace holds."""


class Findings:
    """Collects violations, reasons for indecision and counts while a rule walks a trace.

    A violation decides FAIL. Without one, any indecision (an unobserved kind, a gap that could hide a violation, too
    little seen, a trace whose end nobody vouched for) decides INVALID. Only then PASS.
    """

    def __init__(self, invariant: Invariant, trace: Trace) -> None:
        self.invariant, self.trace = invariant, trace
        self.violations: list[tuple[int, str]] = []
        self.indecision: list[str] = []
        self.observed: dict[str, float] = {}
        self.data: dict[str, Any] = {}
        self.spans: list[tuple[int, int, str]] = []
        self.context: list[str] = []  # witness lines that precede the violations

    def violated(self, t: int, text: str) -> None:
        """The guarantee was broken at `t`; `text` says by what."""
        self.violations.append((t, text))

    def undecided(self, reason: str) -> None:
        """Something needed for a PASS is missing; the same reason counts once."""
        if reason not in self.indecision:
            self.indecision.append(reason)

    def count(self, name: str, by: float = 1) -> None:
        """Add to how much was observed."""
        self.observed[name] = self.observed.get(name, 0) + by

    def at_least(self, name: str, minimum: float) -> None:
        """Indecision unless `name` was counted `minimum` times: forbids a vacuous pass."""
        seen = self.observed.setdefault(name, 0)
        if seen < minimum:
            self.undecided(f"{seen:g} {name.replace('_', ' ')} observed, at least {minimum:g} needed")

    def needs(self, *kinds: str) -> bool:
        """Indecision for each kind that was not observed; True when all were."""
        complete = True
        for kind in kinds:
            reason = self.trace.unobserved(kind)
            if reason:
                what = "node-side evidence" if kind == NODE_EVIDENCE else f"{kind} objects"
                self.undecided(f"no {what} in the trace: {reason}")
                complete = False
        return complete

    def hidden(self, gap: Gap, what: str) -> None:
        """Indecision because `gap` could hide `what`."""
        where = f" on {gap.name}" if gap.name else ""
        since = self.trace.seconds(gap.from_ns)
        self.undecided(
            f"{gap.kind}{where} was not seen for {gap.seconds:.3f} s from {since:.3f} s ({gap.reason}): "
            f"that could hide {what}"
        )

    def open_gaps(self, *kinds: str) -> None:
        """Indecision for each kind that was lost and never seen again."""
        for kind in kinds:
            for gap in self.trace.gaps(kind):
                if gap.open:
                    self.hidden(gap, "anything that happened since")

    def line(self, t: int, text: str) -> str:
        """A witness line: seconds since the trace began, and what happened."""
        return f"{self.trace.seconds(t):.3f} s: {text}"

    def judgement(self, passed: str) -> Judgement:
        """The verdict; `passed` is the summary of a PASS."""
        if not self.trace.complete:
            self.undecided(
                f"the trace ends at {self.trace.seconds(self.trace.end_ns):.3f} s without the observer vouching for it"
            )
        for problem in self.trace.problems:
            self.undecided(f"the trace is damaged: {problem}")
        lines = [self.line(t, text) for t, text in sorted(self.violations)]
        if lines:
            verdict, more = Verdict.FAIL, len(lines) - 1
            rest = f" (and {more} more)" if more else ""
            summary = f'"{self.invariant.claim}" is broken at {lines[0]}{rest}'
        elif self.indecision:
            verdict, summary = Verdict.INVALID, "; ".join(self.indecision[:3])
        else:
            verdict, summary = Verdict.PASS, passed
        witness = self.context + lines[:WITNESS_MAX] if lines else list(self.indecision)
        if len(lines) > WITNESS_MAX:
            witness.append(f"… {len(lines) - WITNESS_MAX} more")
        data = dict(self.data)
        if lines:
            data["violations"] = [{"t": t, "text": text} for t, text in sorted(self.violations)]
        if self.indecision:
            data["undecided"] = self.indecision
        return Judgement(
            rule=self.invariant.rule,
            verdict=verdict,
            claim=self.invariant.claim,
            summary=summary,
            witness=witness,
            observed=dict(self.observed),
            data=data,
            spans=self.spans,
        )


def plural(number: float, one: str, many: str = "") -> str:
    """The number with its noun: 1 pod, 3 pods."""
    return f"{number:g} {one if number == 1 else many or one + 's'}"


def first(items: Iterable[Any], default: Any = None) -> Any:
    """The first of `items`."""
    return next(iter(items), default)
