"""Judge one scenario from its saved evidence: the one place where rules meet histories and traces.

The tests judge with it while the run is fresh, and `steadyset recheck` judges with it years later: neither needs the
cluster, both get the same answer from the same files.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from steadyset.checkers import CHECKERS
from steadyset.errors import SteadysetError, UsageError
from steadyset.history import History, load_history
from steadyset.invariants import INVARIANTS
from steadyset.rundir import Planned, RunDir, Scenario
from steadyset.trace import Trace, load_trace
from steadyset.verdict import Judgement, Verdict


class _Rule(Protocol):
    rule: str
    claim: str


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
                raise UsageError("the scenario has no trace", expected="an observer that ran", do="use the observer fixture")
            self._trace = load_trace(self.run.path / self.scenario.trace)
        return self._trace


def rules() -> dict[str, type[Any]]:
    """Every rule's class by its stable name, checkers and invariants alike."""
    return {cls.rule: cls for cls in (*CHECKERS, *INVARIANTS)}


def planned(judge: Any, history: str = "") -> Planned:
    """The saved form of a checker or an invariant: its rule's name and its parameters."""
    return Planned(rule=judge.rule, params=msgspec.to_builtins(judge), history=history)


def judge_one(evidence: Evidence, plan: Planned) -> Judgement:
    """One judgement. Whatever breaks on the way is an ERROR with its reason, never a pass and never an exception."""
    cls = rules().get(plan.rule)
    if cls is None:
        return _error(plan.rule, "", f"no rule is called {plan.rule!r}; known: {', '.join(sorted(rules()))}")
    try:
        unknown = sorted(set(plan.params) - set(cls.__dataclass_fields__))
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
    """Judge `scenario` by its planned judgements (or `plans`), in their order."""
    evidence = Evidence(run, scenario)
    return [judge_one(evidence, plan) for plan in (scenario.planned if plans is None else plans)]


def _error(rule: str, claim: str, summary: str, witness: list[str] | None = None) -> Judgement:
    return Judgement(rule=rule, verdict=Verdict.ERROR, claim=claim, summary=summary, witness=witness or [])
