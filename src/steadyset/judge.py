"""Judge one scenario from its saved evidence: the one place where rules meet histories and traces.

The tests judge with it while the run is fresh, and `steadyset recheck` judges with it years later: neither needs the
cluster, both get the same answer from the same files.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

import msgspec

from steadyset.checkers import CHECKERS
from steadyset.errors import SteadysetError, UsageError
from steadyset.history import History, load_history
from steadyset.invariants import INVARIANTS
from steadyset.rundir import Planned, RunDir, Scenario
from steadyset.trace import Trace, load_trace
from steadyset.verdict import Judgement, Verdict

RECOVERY_RULE = "recovery"
PROMISE_RULE = "promise"


class Evidence:
    """The histories and the trace of one scenario, each loaded once."""

    def __init__(self, run: RunDir, scenario: Scenario) -> None:
        self.run, self.scenario = run, scenario
        self._histories: dict[str, History] = {}
        self._trace: Trace | None = None

    def history(self, folder: str) -> History:
        """The history in `folder` (relative to the run); the scenario's only one when `folder` is empty."""
        if not folder:
            if len(self.scenario.histories) != 1:
                raise UsageError(
                    "a planned judgement names no history",
                    expected="exactly one history in the scenario, or its folder in Planned.history",
                    seen=f"{len(self.scenario.histories)} histories: {', '.join(self.scenario.histories)}",
                )
            folder = self.scenario.histories[0]
        if folder not in self._histories:
            self._histories[folder] = load_history(self.run.path / folder)
        return self._histories[folder]

    def trace(self) -> Trace:
        """The observer's trace."""
        if self._trace is None:
            if not self.scenario.trace:
                raise UsageError(
                    "the scenario has no trace", expected="an observer that ran", do="use the observer fixture"
                )
            self._trace = load_trace(self.run.path / self.scenario.trace)
        return self._trace


def rules() -> dict[str, type[Any]]:
    """Every rule's class by its stable name, checkers and invariants alike."""
    known: tuple[Any, ...] = (*CHECKERS, *INVARIANTS)
    return {cls.rule: cls for cls in known}


def parameters(rule: str) -> list[str]:
    """Names of a rule's parameters; UsageError when no rule is called so."""
    cls = rules().get(rule)
    if cls is None:
        raise UsageError(f"no rule is called {rule}", expected=f"one of: {', '.join(sorted(rules()))}", seen=rule)
    return list(cls.__dataclass_fields__)


def judge_one(evidence: Evidence, plan: Planned) -> Judgement:
    """One judgement. Whatever breaks on the way is an ERROR with its reason, never a pass and never an exception."""
    cls = rules().get(plan.rule)
    if cls is None:
        return _error(plan.rule, "", f"no rule is called {plan.rule!r}; known: {', '.join(sorted(rules()))}")
    try:
        unknown = sorted(set(plan.params) - set(parameters(plan.rule)))
        if unknown:
            return _error(plan.rule, cls.claim, f"rule {plan.rule} has no parameter {', '.join(unknown)}")
        instance = msgspec.convert(plan.params, cls)
        judgement = instance.check(evidence.history(plan.history) if cls in CHECKERS else evidence.trace())
    except SteadysetError as error:
        return _error(plan.rule, cls.claim, str(error))
    except Exception as error:  # a crashed checker is an ERROR of the instrument, with its traceback as the witness
        return _error(plan.rule, cls.claim, f"{type(error).__name__}: {error}", traceback.format_exc().splitlines())
    assert isinstance(judgement, Judgement)
    return judgement


def judge(run: RunDir, scenario: Scenario, plans: Iterable[Planned] | None = None) -> list[Judgement]:
    """Judge `scenario` by its planned judgements (or `plans`), in order, by what it compared, and by its deadlines."""
    evidence = Evidence(run, scenario)
    found = [judge_one(evidence, plan) for plan in (scenario.planned if plans is None else plans)]
    return found + promises(scenario) + recovery(scenario)


def promises(scenario: Scenario) -> list[Judgement]:
    """The judgement over the comparisons in `scenario.metrics["promises"]`; none when the scenario compared nothing.

    Each is `{promise, held, expected, seen}`, as the test saw it.
    """
    compared: list[dict[str, Any]] = scenario.metrics.get("promises", [])
    if not compared:
        return []
    broken = [item for item in compared if not item["held"]]
    lines = [f"{item['promise']}: expected {item['expected']}, seen {item['seen']}" for item in broken]
    return [
        Judgement(
            rule=PROMISE_RULE,
            verdict=Verdict.FAIL if broken else Verdict.PASS,
            claim="what the API promises is what is seen",
            summary=lines[0] if broken else f"{len(compared)} of {len(compared)} as promised",
            witness=lines or [f"{item['promise']}: {item['seen']}" for item in compared],
            observed={"compared": len(compared), "broken": len(broken)},
        )
    ]


def recovery(scenario: Scenario) -> list[Judgement]:
    """The judgement over the waits recorded in `scenario.metrics["waits"]`; none when the scenario waited for nothing.

    Each wait is `{what, deadline_name, deadline_s, took_s, reached, seen}`: a stack that misses a named deadline after
    a fault broke its promise to recover.
    """
    waits: list[dict[str, Any]] = scenario.metrics.get("waits", [])
    if not waits:
        return []
    missed = [wait for wait in waits if not wait["reached"]]
    slowest = max(waits, key=lambda wait: float(wait["took_s"]) / float(wait["deadline_s"]))
    if missed:
        first = missed[0]
        summary = f"{first['what']}: not reached within {first['deadline_name']} = {first['deadline_s']:g} s"
    else:
        summary = (
            f"all {len(waits)} recovery deadlines met; the closest was {slowest['what']}: "
            f"{slowest['took_s']:.1f} s of {slowest['deadline_s']:g} s"
        )
    return [
        Judgement(
            rule=RECOVERY_RULE,
            verdict=Verdict.FAIL if missed else Verdict.PASS,
            claim="after a fault the stack recovers within its named deadlines",
            summary=summary,
            witness=[
                f"{wait['what']}: {wait['took_s']:.1f} s of {wait['deadline_name']} = {wait['deadline_s']:g} s"
                + ("" if wait["reached"] else f", not reached; seen: {wait['seen']}")
                for wait in (missed or waits)
            ],
            observed={"waits": len(waits), "missed": len(missed)},
            data={"waits": waits},
        )
    ]


class Expectation(msgspec.Struct, frozen=True):
    """What a negative control must end with: a verdict and, unless empty, the rule that must give it."""

    verdict: Verdict
    rule: str = ""

    @classmethod
    def parse(cls, text: str) -> Expectation:
        """From `Scenario.expected`: "FAIL:set-durability", "INVALID"."""
        verdict, _, rule = text.partition(":")
        try:
            return cls(Verdict(verdict), rule)
        except ValueError:
            raise UsageError(f"{text!r} is no expectation", expected='"VERDICT" or "VERDICT:rule"', seen=text) from None

    def __str__(self) -> str:
        return f"{self.verdict}:{self.rule}" if self.rule else str(self.verdict)

    def unmet(self, scenario: Scenario) -> str:
        """Why `scenario` did not end as said; "" when it did.

        With a rule, that rule must have given the verdict and named its witness. Without one, the whole scenario must
        have that verdict.
        """
        if self.rule:
            named = [j for j in scenario.judgements if j.rule == self.rule]
            if not named:
                return f"rule {self.rule} judged nothing"
            if not any(j.verdict == self.verdict for j in named):
                return f"{self.rule} says {', '.join(j.verdict for j in named)}: {named[0].summary}"
            if self.verdict is Verdict.FAIL and not any(j.witness for j in named if j.verdict == self.verdict):
                return f"{self.rule} says FAIL but names no witness"
            broken = [j for j in scenario.judgements if j.verdict is Verdict.ERROR]
            return f"{broken[0].rule} says ERROR: {broken[0].summary}" if broken else ""
        seen = scenario.verdict()
        return "" if seen == self.verdict else f"the scenario's verdict is {seen}"


def certified(scenario: Scenario) -> Verdict:
    """The verdict that counts: PASS for a control that ended as expected, FAIL for one that did not, else its own."""
    if not scenario.expected:
        return scenario.verdict()
    if scenario.outcome == "error":
        return Verdict.ERROR
    return Verdict.FAIL if Expectation.parse(scenario.expected).unmet(scenario) else Verdict.PASS


def _error(rule: str, claim: str, summary: str, witness: list[str] | None = None) -> Judgement:
    return Judgement(rule=rule, verdict=Verdict.ERROR, claim=claim, summary=summary, witness=witness or [])
