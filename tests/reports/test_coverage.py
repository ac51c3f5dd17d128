"""The coverage of promises: what saved runs say of each, on each version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from steadyset.cli.coverage import command
from steadyset.reports.coverage import NOT_RUN, NOT_TESTED, SHOWN, coverage
from steadyset.reports.document import build_document
from steadyset.reports.html import render_coverage, render_html
from steadyset.reports.junit import render_junit
from steadyset.rundir import RunDir, Scenario
from steadyset.verdict import Judgement, Verdict


def judged(rule: str, verdict: Verdict) -> Judgement:
    return Judgement(rule=rule, verdict=verdict, claim="a claim", summary=f"{rule} says {verdict}", witness=["a line"])


def run_of(base: Path, name: str, version: str, *scenarios: Scenario) -> RunDir:
    run = RunDir.create(base, {"started": f"2026-01-01T00:00:0{name[-1]}Z", "cluster": {"version": version}}, name)
    for scenario in scenarios:
        run.save(scenario)
    return run


def scenario(test: str, *judgements: Judgement, outcome: str = "passed", **fields: Any) -> Scenario:
    fields = {"requirements": ["STS-ORD-001", "STS-ORD-004"], **fields}
    return Scenario(slug=test, title=test, test_id=test, judgements=list(judgements), outcome=outcome, **fields)


def on(document: dict[str, Any], requirement: str, version: str) -> tuple[str, str]:
    promise = next(p for p in document["promises"] if p["id"] == requirement)
    return promise["on"][version]["verdict"], promise["on"][version]["why"]


def test_a_broken_rule_speaks_against_its_own_promises(tmp_path: Path) -> None:
    """scale-down-halts judges STS-ORD-004 and not STS-ORD-001, which the same test covers."""
    good, bad = judged("ordered-recovery", Verdict.PASS), judged("scale-down-halts", Verdict.FAIL)
    found = coverage([run_of(tmp_path, "r1", "1.35.4", scenario("a", good, bad, outcome="failed"))])
    assert on(found, "STS-ORD-004", "1.35.4") == ("FAIL", "a")
    assert on(found, "STS-ORD-001", "1.35.4") == ("PASS", "")
    assert on(found, "STS-ID-001", "1.35.4") == (NOT_RUN, "")


def test_what_no_rule_explains_speaks_against_all(tmp_path: Path) -> None:
    """A test that broke, and a rule that none of its promises names, prove none of them."""
    broken = scenario("a", judged("ordered-recovery", Verdict.PASS), outcome="error", reason="KeyError")
    other = scenario("a", judged("endpoints-ready", Verdict.FAIL), outcome="failed")
    for number, made in enumerate((broken, other)):
        found = coverage([run_of(tmp_path, f"r{number}", "1.35.4", made)])
        for requirement in made.requirements:
            assert on(found, requirement, "1.35.4")[0] in ("ERROR", "FAIL")


def test_the_newest_run_of_a_version_decides(tmp_path: Path) -> None:
    bad = scenario("a", judged("ordered-recovery", Verdict.FAIL), outcome="failed")
    good = scenario("a", judged("ordered-recovery", Verdict.PASS))
    runs = [run_of(tmp_path, "r2", "1.35.4", good), run_of(tmp_path, "r1", "1.35.4", bad)]
    runs.append(run_of(tmp_path, "r3", "1.34.8", bad))
    found = coverage(runs)
    assert found["versions"] == ["1.34.8", "1.35.4"]
    assert on(found, "STS-ORD-001", "1.35.4")[0] == "PASS"
    assert on(found, "STS-ORD-001", "1.34.8")[0] == "FAIL"


def test_skips_and_controls(tmp_path: Path) -> None:
    """A skip says why; a negative control says nothing of the promise."""
    skipped = scenario("a", outcome="skipped", reason="one node only")
    control = scenario("b", judged("ordered-recovery", Verdict.FAIL), expected="FAIL:ordered-recovery")
    found = coverage([run_of(tmp_path, "r1", "1.35.4", skipped, control)])
    assert on(found, "STS-ORD-001", "1.35.4") == (NOT_TESTED, "one node only")


def story(*, sabotage: bool = False, verdict: Verdict = Verdict.FAIL, test: str = "s") -> Scenario:
    return scenario(
        test,
        judged("recovery", verdict),
        requirements=["REG-ROL-001"],
        expected="FAIL:recovery",
        outcome="passed" if verdict is Verdict.FAIL else "failed",
        metrics={"story": {"id": "REG-ROL-001", "sabotage": sabotage, "expected": "known limitation"}},
    )


def test_a_known_limitation_is_neither_a_pass_nor_untested(tmp_path: Path) -> None:
    """It says of the promise that it does not hold, as the table knows; a sabotage says nothing of it."""
    found = coverage([run_of(tmp_path, "r1", "1.35.4", story())])
    assert on(found, "REG-ROL-001", "1.35.4") == (SHOWN, "")
    passing = scenario("a", judged("ordered-recovery", Verdict.PASS))
    found = coverage([run_of(tmp_path, "r2", "1.35.4", passing, story(sabotage=True))])
    assert on(found, "REG-ROL-001", "1.35.4") == (NOT_RUN, "")
    found = coverage([run_of(tmp_path, "r3", "1.35.4", story(verdict=Verdict.PASS))])
    assert on(found, "REG-ROL-001", "1.35.4") == ("FAIL", "s")


def test_a_conformance_run_is_in_the_order_of_its_promises(tmp_path: Path) -> None:
    """What did not pass is above all else, and a known limitation is called so."""
    good, bad = judged("ordered-recovery", Verdict.PASS), judged("ordered-recovery", Verdict.FAIL)
    run = run_of(
        tmp_path,
        "r1",
        "1.35.4",
        story(test="a"),
        scenario("b", good, requirements=["STS-UPD-001"]),
        scenario("c", good, requirements=["STS-ID-001"]),
        scenario("d", bad, requirements=["STS-DEL-001"], outcome="failed"),
    )
    run.write_json("run.json", {**run.params(), "kind": "conformance", "cluster": None})
    document = build_document(run)
    assert [s["slug"] for s in document["scenarios"]] == ["d", "c", "b", "a"]
    assert document["scenarios"][-1]["why"] == "known limitation: shown"
    assert (document["counts"]["controls"], document["counts"]["limitations"]) == (0, 1)
    document["run"] |= {"id": "r1", "stack": "", "variant": "", "command": [], "host": {}, "versions": {}}
    page = render_html(document)
    assert "known limitation: shown" in page
    assert '<td class="wide-only ids">STS-DEL-001</td>' in page


def test_the_page_and_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "runs", "r1", "1.35.4", scenario("a", judged("ordered-recovery", Verdict.PASS)))
    text = CliRunner().invoke(command, ["--html", "page.html"], standalone_mode=False).output
    assert "PASS" in next(line for line in text.splitlines() if line.startswith("STS-ORD-001"))
    page = Path("page.html").read_text()
    assert 'id="STS-ORD-001"' in page
    assert "Kubernetes 1.35.4" in page
    empty = render_coverage(coverage([]))
    assert "promises covered" in empty


def test_junit_names_the_broken_promise(tmp_path: Path) -> None:
    """Every conformance test has its promises as properties, and those that broke."""
    steps = {"steps": [{"step": "scale up", "from_ns": 5 * 10**9, "until_ns": 6 * 10**9}]}
    bad = scenario("a", judged("scale-down-halts", Verdict.FAIL), outcome="failed", metrics=steps, start_ns=5 * 10**9)
    text = render_junit(build_document(run_of(tmp_path, "r1", "1.35.4", bad)))
    assert '<property name="broken" value="STS-ORD-004" />' in text
    assert '<property name="requirement" value="STS-ORD-001" />' in text
    assert "scale up" in text
