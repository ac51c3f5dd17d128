"""The one document of a run: everything the renderers draw, taken from the run's folder and from nothing else.

Times in it are seconds: within a scenario since `t0_ns`, about when its evidence begins. Unknown figures are null with
a reason beside them. Building it never fails over damaged evidence: what could not be read is listed in the scenario's
`problems`.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from steadyset import __version__
from steadyset.errors import SteadysetError, UsageError
from steadyset.history import load_history
from steadyset.judge import Expectation, certified
from steadyset.reports import lanes, metrics, series
from steadyset.reports.matrix import matrix_rows
from steadyset.requirements import REQUIREMENTS, blamed
from steadyset.rundir import FaultSpan, RunDir, Scenario
from steadyset.trace import Trace, load_trace
from steadyset.verdict import Judgement, Verdict, worst

FORMAT = 1  # raised when a renderer would misread an older document
NAME = "document.json"
CONFORMANCE = "conformance"  # the kind of a run
CONTROL, LIMITATION = "negative control", "known limitation"
MET, UNMET = (
    {CONTROL: "failed as it must", LIMITATION: "shown"},
    {CONTROL: "did not fail as it must", LIMITATION: "not shown"},
)
INTERRUPTED = "interrupted"
_SHOWN_ELSEWHERE = ("not_tested", "traceback", "steps", "promises", "restart_ns")
SETUP_SHOWN_NS = 500_000_000  # of a scenario's set-up, before its first evidence


class Evidence:
    """What can still be read of one scenario: its operations, its trace, and in `problems` what is wrong with them.

    Damaged files are no reason to show nothing: whatever reading one raises is told as a problem, and the rest is used.
    The judgements, made apart from this, are ERROR then.
    """

    def __init__(self, run: RunDir, scenario: Scenario) -> None:
        self.problems: list[str] = []
        self.trace: Trace | None = None
        self.clock_uncertainty_ns = 0
        loaded: list[series.Ops] = []
        for folder in scenario.histories:
            with self._telling(folder):
                history = load_history(run.path / folder)
                loaded.append(series.ops_of([history]))
                self.clock_uncertainty_ns = max(
                    self.clock_uncertainty_ns, *(g.clock_uncertainty_ns for g in history.generators), 0
                )
                if not history.complete:
                    self.problems.append(
                        f"{folder}: a load process died before it closed its history; read up to there"
                    )
        self.ops = series.joined(loaded)
        if scenario.trace:
            with self._telling(scenario.trace):
                self.trace = load_trace(run.path / scenario.trace)
                self.problems.extend(f"{scenario.trace}: {problem}" for problem in self.trace.problems)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except SteadysetError as error:
            self.problems.append(str(error))
        except Exception as error:
            self.problems.append(f"{what} is damaged: {type(error).__name__}: {error}")


def final_verdict(scenario: Scenario) -> tuple[Verdict, str]:
    """The verdict that counts for a run, and why where the judgements alone do not say it.

    A negative control counts as PASS when it ended as expected and as FAIL when not. A scenario that never finished
    certifies nothing, and a test that failed for a reason of its own is no PASS.
    """
    if scenario.outcome == "":
        own = worst([Verdict.INVALID, scenario.verdict()])
        return own, "the run was interrupted before this scenario ended"
    verdict = certified(scenario)
    if scenario.outcome == "failed" and verdict is Verdict.PASS and not scenario.expected:
        verdict = Verdict.FAIL
    return verdict, _why(scenario, verdict)


def expected_as(scenario: Scenario) -> str:
    """What a scenario is that must not pass: a failure story's known limitation, else a control; "" for all others."""
    if not scenario.expected:
        return ""
    story = scenario.metrics.get("story")
    return LIMITATION if story and not story["sabotage"] else CONTROL


def expectation_said(scenario: Scenario, verdict: Verdict) -> str:
    """Whether a scenario that must not pass ended as it must, in words; "" for all others."""
    kind = expected_as(scenario)
    return f"{kind}: {(MET if verdict is Verdict.PASS else UNMET)[kind]}" if kind else ""


def _why(scenario: Scenario, verdict: Verdict) -> str:
    """What the judgements alone do not say about a finished scenario's verdict; "" when they say it all."""
    if scenario.outcome == "error":
        broken = any(j.verdict is Verdict.ERROR for j in scenario.judgements)
        return scenario.reason or ("" if broken else "the test broke before it ended")
    if scenario.expected:
        said = expectation_said(scenario, verdict)
        return said if verdict is Verdict.PASS else f"{said}: {Expectation.parse(scenario.expected).unmet(scenario)}"
    bites = "; ".join(f"{fault.fault}: {fault.error}" for fault in scenario.faults if fault.error)
    if scenario.outcome == "failed" and scenario.verdict() is Verdict.PASS:
        return scenario.reason or "the test itself failed"
    return bites or ("" if scenario.judgements else "nothing was judged")


def build_document(run: RunDir, changes: dict[str, list[dict[str, Any]]] | None = None) -> dict[str, Any]:
    """The document of `run`, from its saved scenarios as they are judged now.

    `changes` are verdicts that differ from the ones saved before (see `recheck`), by scenario.
    """
    params = run.params()
    scenarios = run.scenarios()
    tested = [scenario_document(run, s) for s in scenarios if s.outcome != "skipped"]
    skipped = [
        {"slug": s.slug, "title": s.title, "test_id": s.test_id, "reason": s.reason or "no reason given"}
        for s in scenarios
        if s.outcome == "skipped"
    ]
    parts = [
        {"slug": s.slug, "title": f"{s.title}: {part['what']}", "test_id": s.test_id, "reason": part["reason"]}
        for s in scenarios
        for part in s.metrics.get("not_tested", [])
    ]
    not_tested = [*skipped, *parts]
    if params.get("kind") == CONFORMANCE:
        tested.sort(key=_by_promise)
    verdict = worst(Verdict(s["verdict"]) for s in tested)
    counts = Counter(s["verdict"] for s in tested)
    return {
        "format": FORMAT,
        "tool": {"name": "steadyset", "version": __version__, "python": platform.python_version()},
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": params,
        "verdict": verdict,
        "exit_code": verdict.exit_code,
        "counts": {
            **{v.value: counts.get(v, 0) for v in Verdict},
            "scenarios": len(tested),
            "controls": sum(s["expected_as"] == CONTROL for s in tested),
            "limitations": sum(s["expected_as"] == LIMITATION for s in tested),
            "not_tested": len(not_tested),
        },
        "seconds": _run_seconds(scenarios),
        "scenarios": tested,
        "matrix": matrix_rows(tested),
        "not_tested": not_tested,
        "changes": changes or {},
    }


def write_document(run: RunDir, document: dict[str, Any]) -> None:
    """Save the document as document.json in the run."""
    run.write_json(NAME, document)


def load_document(run: RunDir) -> dict[str, Any]:
    """The saved document; UsageError when there is none, it is damaged, or another version wrote it."""
    path = run.path / NAME
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise UsageError(f"no document at {path}", do=f"steadyset recheck {run.path}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is damaged: {error}", do=f"steadyset recheck {run.path}") from None
    if document.get("format") != FORMAT:
        raise UsageError(
            f"{path} has another format",
            expected=f"format {FORMAT}",
            seen=str(document.get("format")),
            do=f"steadyset recheck {run.path}",
        )
    return document


def _by_promise(scenario: dict[str, Any]) -> tuple[bool, int, str]:
    """What did not pass comes first; then the registry's order decides."""
    first = next((n for n, r in enumerate(REQUIREMENTS) if r.id in scenario["requirements"]), len(REQUIREMENTS))
    return scenario["verdict"] == Verdict.PASS, first, scenario["slug"]


def scenario_document(run: RunDir, scenario: Scenario) -> dict[str, Any]:
    """One scenario: verdict and judgements with their evidence, fault spans, metrics, and everything to draw."""
    evidence = Evidence(run, scenario)
    ops = evidence.ops
    begin, until = _extent(scenario, evidence.trace, ops)
    verdict, why = final_verdict(scenario)
    clock = _Clock(begin)
    return {
        "slug": scenario.slug,
        "title": scenario.title,
        "test_id": scenario.test_id,
        "goal": scenario.goal,
        "suite": scenario.suite,
        "requirements": scenario.requirements,
        "blamed": [] if verdict is Verdict.PASS else _blamed(scenario),
        "stack": scenario.stack,
        "variant": scenario.variant,
        "namespace": scenario.namespace,
        "statefulsets": scenario.statefulsets,
        "wall_start": scenario.wall_start,
        "outcome": scenario.outcome or INTERRUPTED,
        "reason": scenario.reason,
        "expected": scenario.expected,
        "expected_as": expected_as(scenario),
        "expected_said": expectation_said(scenario, verdict),
        "verdict": verdict,
        "own_verdict": scenario.verdict(),
        "why": why,
        "t0_ns": begin,
        "seconds": clock(until),
        "took_s": round((scenario.end_ns - scenario.start_ns) / 1e9, 3) if scenario.end_ns else None,
        "faults": [_fault(f, clock) for f in sorted(scenario.faults, key=lambda f: f.inject_ns)],
        "judgements": [_judgement(j, clock) for j in scenario.judgements],
        "metrics": {
            "faults": [
                _fault_metrics(metrics.fault_metrics(window, evidence.trace, ops, scenario.namespace), window, clock)
                for window in metrics.windows(scenario.faults, begin, until)
            ],
            "load": metrics.latencies(ops, begin, until + 1) if len(ops) else None,
            "restart_without_acks_s": _restart_outage(scenario, evidence),
            **{name: value for name, value in scenario.metrics.items() if name not in _SHOWN_ELSEWHERE},
        },
        "steps": [
            {"step": step["step"], "from": clock(step["from_ns"]), "until": clock(step["until_ns"])}
            for step in scenario.metrics.get("steps", [])
        ],
        "traceback": scenario.metrics.get("traceback", []),
        "not_tested": scenario.metrics.get("not_tested", []),
        "trace_from": clock(evidence.trace.start_ns) if evidence.trace and evidence.trace.records else None,
        "load_from": clock(first) if (first := ops.first_ns()) is not None else None,
        "series": series.load_series(ops, begin, until) if len(ops) and not scenario.requirements else None,
        "acks": [
            {
                "server": span.server,
                "epoch": span.epoch,
                "from": clock(span.first),
                "until": clock(span.last),
                "count": span.count,
                "sessions": span.kinds,
            }
            for span in ([] if scenario.requirements else series.acknowledging(ops))  # single writes are no load
        ],
        **_lanes(scenario, evidence.trace, clock),
        "clock_uncertainty_ms": evidence.clock_uncertainty_ns / 1e6,
        "problems": evidence.problems,
        "files": {
            "trace": scenario.trace,
            "histories": scenario.histories,
            "journals": [f.journal for f in scenario.faults if f.journal],
            "logs": scenario.logs,
            "locust": [
                page for folder in scenario.histories if (run.path / (page := f"{folder}/locust.html")).is_file()
            ],
        },
    }


def _blamed(scenario: Scenario) -> list[str]:
    """The promises that what went wrong speaks against."""
    return blamed(scenario.requirements, [j.rule for j in scenario.judgements if j.verdict is not Verdict.PASS])


class _Clock:
    """Turns the run's monotonic nanoseconds into seconds since the scenario began."""

    def __init__(self, begin: int) -> None:
        self.begin = begin

    def __call__(self, t: int) -> float:
        return round((t - self.begin) / 1e9, 3)

    def maybe(self, t: int | None) -> float | None:
        """None for what did not happen (0 or None)."""
        return self(t) if t else None


def _extent(scenario: Scenario, trace: Trace | None, ops: series.Ops) -> tuple[int, int]:
    """First and last moment to draw: of the scenario, without its set-up before there was any evidence.

    Of one that was interrupted, as far as its evidence goes.
    """
    watched = next((r.t for r in trace.records if r.e != "NODE"), 0) if trace else 0  # nodes tell of earlier times too
    first = min((t for t in (watched, ops.first_ns() or 0) if t), default=scenario.start_ns)
    begin = max(scenario.start_ns, first - SETUP_SHOWN_NS) if scenario.start_ns else first
    ends = [scenario.end_ns] if scenario.end_ns else []
    if not ends:
        faults = [t for f in scenario.faults for t in (f.inject_ns, f.healed_ns)]
        ends = [t for t in (trace.end_ns if trace else 0, ops.last_ns() or 0, *faults) if t]
    return begin, max([*ends, begin])


def _fault(fault: FaultSpan, clock: _Clock) -> dict[str, Any]:
    return {
        "fault": fault.fault,
        "target": fault.target,
        "inject": clock.maybe(fault.inject_ns),
        "bitten": clock.maybe(fault.bitten_ns),
        "heal": clock.maybe(fault.heal_ns),
        "healed": clock.maybe(fault.healed_ns),
        "bite": fault.bite,
        "healing": fault.healing,
        "error": fault.error,
        "journal": fault.journal,
    }


def _fault_metrics(found: dict[str, Any], window: metrics.Window, clock: _Clock) -> dict[str, Any]:
    """With its moments on the scenario's clock."""
    silence = found.pop("silence_ns")
    return {"inject": clock(window.inject), "silence": silence and [clock(t) for t in silence], **found}


def _restart_outage(scenario: Scenario, evidence: Evidence) -> float | None:
    """The longest stretch without acknowledged writes of a restart of all members; None when there was none."""
    span = scenario.metrics.get("restart_ns")
    if not span or evidence.trace is None or not len(evidence.ops):
        return None
    pods = set(lanes.server_pods(evidence.trace, scenario.namespace).values())
    return metrics.restart_outage_s(evidence.ops, pods, *span)


def _judgement(judgement: Judgement, clock: _Clock) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(judgement)
    found["spans"] = [{"from": clock(a), "until": clock(b), "label": label} for a, b, label in judgement.spans]
    return found


def _spans(spans: list[lanes.Span], clock: _Clock) -> list[dict[str, Any]]:
    return [
        {"label": s.label, "from": clock(s.start), "until": clock.maybe(s.until), "node": s.node, "uid": s.uid}
        for s in spans
    ]


def _lanes(scenario: Scenario, trace: Trace | None, clock: _Clock) -> dict[str, Any]:
    if trace is None:
        return {"pods": [], "attachments": [], "services": [], "gaps": [], "not_observed": []}
    return {
        "pods": [
            {
                "name": lane.name,
                "states": _spans(lane.spans, clock),
                "containers": _spans(lane.containers, clock),
                "mounts": _spans(lane.mounts, clock),
            }
            for lane in lanes.pod_lanes(trace, scenario.namespace, scenario.statefulsets)
        ],
        "attachments": [
            {"name": lane.name, "states": _spans(lane.spans, clock)}
            for lane in lanes.attachment_lanes(trace, scenario.namespace)
        ],
        "services": [
            {"service": change.service, "at": clock(change.time), "pods": sorted(change.pods)}
            for change in lanes.service_switches(trace, scenario.namespace)
        ],
        "gaps": [
            {
                "kind": gap.kind,
                "name": gap.name,
                "from": clock(gap.from_ns),
                "until": clock(gap.until_ns),
                "reason": gap.reason,
                "lossless": gap.lossless,
            }
            for gap in trace.gaps(lossless=True)
        ],
        "not_observed": sorted(
            f"{note.k}: {note.obj.get('reason', 'not observed')}" for note in trace.notes("not-observed")
        ),
    }


def _run_seconds(scenarios: list[Scenario]) -> float | None:
    """From the first scenario's start to the last one's end; None when that is not recorded."""
    starts = [s.start_ns for s in scenarios if s.start_ns]
    ends = [s.end_ns for s in scenarios if s.end_ns]
    return round((max(ends) - min(starts)) / 1e9, 1) if starts and ends else None
