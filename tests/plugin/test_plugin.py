"""The pytest plugin: what a suite's test may say, and how its scenario ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steadyset.judge import judge
from steadyset.rundir import RunDir
from steadyset.verdict import Verdict
from steadyset.wait import wait_for

STARTED_DEADLINE_S = 60.0
ENDED_DEADLINE_S = 60.0

# One suite, run once: each of its tests is looked at by one test below.
SUITE = '''
import pytest
from steadyset.errors import InvalidError, UsageError


def kept(written):
    written.add(1)
    written.add(2)
    written.read(1, 2)


def lost(written):
    written.add(1)
    written.add(77)
    written.read(1)


def test_holds(stack, written, report):
    """Goal: what was acknowledged
    is there.

    Method: add and read.
    """
    report.judge("set-durability", written)
    kept(written)


def test_loses(stack, written, report):
    report.judge("set-durability", written)
    lost(written)


def test_control_found(stack, written, report):
    report.expect("FAIL", rule="set-durability")
    report.judge("set-durability", written)
    lost(written)


def test_control_missed(stack, written, report):
    report.expect("FAIL", rule="set-durability")
    report.judge("set-durability", written)
    kept(written)


def test_control_found_by_another_rule(stack, written, report):
    report.expect("FAIL", rule="split-brain")
    report.judge("set-durability", written)
    lost(written)


def test_no_bite(stack, written, report):
    report.judge("set-durability", written)
    kept(written)
    raise InvalidError("the partition cut nothing")


def test_control_no_bite(stack, report):
    report.expect("INVALID")
    raise InvalidError("the partition cut nothing")


def test_misses_recovery(stack, written, report):
    report.judge("set-durability", written)
    kept(written)
    stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
    stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)


def test_breaks(stack, written, report):
    report.judge("set-durability", written)
    kept(written)
    raise KeyError("oops")


def test_has_no_trace(stack, report):
    report.judge("stable-identity")


def test_misspells(stack, report):
    with pytest.raises(UsageError, match="no rule is called set-durabilty"):
        report.judge("set-durabilty")
    with pytest.raises(UsageError, match="no parameter acknowledged_minimum"):
        report.judge("set-durability", acknowledged_minimum=3)


@pytest.mark.needs("node-power")
def test_needs_a_plug(checked, stack, report):
    raise AssertionError("it must not run")


def test_needs_node_evidence(stack, written, report):
    report.judge("set-durability", written)
    report.judge("at-most-one-per-identity")
    kept(written)
'''


@pytest.fixture(scope="module")
def result(suites: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The run of SUITE."""
    return suites(tmp_path_factory.mktemp("suite"))(SUITE)


def test_importing_it_imports_nothing() -> None:
    """It is loaded in every pytest run on the machine, so it must not bring Kubernetes, NumPy or ourselves along."""
    code = (
        "import sys; import pytest; before = set(sys.modules); import steadyset.fixtures.plugin;"
        "print(sorted(m.partition('.')[0] for m in set(sys.modules) - before if not m.startswith('steadyset')))"
        ";print(sorted(m for m in sys.modules if m.startswith('steadyset')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others, ours = done.stdout.splitlines()
    assert others == "[]"
    assert ours == "['steadyset', 'steadyset.fixtures', 'steadyset.fixtures.plugin']"


def test_it_does_nothing_in_other_runs(suites: Any, tmp_path: Path) -> None:
    """A test run without our fixtures leaves no run behind, and a broken collection is not called an interrupt."""
    suite = suites(tmp_path)
    assert suite("def test_it():\n    pass\n").code == 0
    broken = suite("import nothing_of_that_name\n")
    assert "healing" not in broken.output
    assert not (tmp_path / "runs").exists()


def test_what_holds_passes(result: Any) -> None:
    """The evidence is judged when the body has ended, and the scenario says what was asked of what."""
    scenario = result.scenario("holds")
    assert [(j.rule, j.verdict) for j in scenario.judgements] == [("set-durability", Verdict.PASS)]
    assert scenario.outcome == "passed"
    assert scenario.goal == "what was acknowledged is there."
    assert scenario.planned[0].history == "history/holds/load"


def test_a_loss_fails_the_test_and_is_named(result: Any) -> None:
    """The failure message holds what decided, so that nobody needs the page to know it."""
    assert result.scenario("loses").outcome == "failed"
    assert "FAIL set-durability" in result.output
    assert "77" in result.message("loses")


def test_a_control_that_is_found_passes(result: Any) -> None:
    """The mis-configuration was found by the rule that must find it: that is the test's success."""
    scenario = result.scenario("control-found")
    assert (scenario.outcome, scenario.expected) == ("passed", "FAIL:set-durability")
    assert scenario.verdict() == Verdict.FAIL


def test_a_control_that_is_not_found_fails(result: Any) -> None:
    """A control whose harm nobody saw shows that the instrument is blind."""
    assert result.scenario("control-missed").outcome == "failed"
    assert "expected FAIL:set-durability, but set-durability says PASS" in result.message("control_missed")


def test_a_control_is_not_met_by_another_rule(result: Any) -> None:
    """The harm must be named by the rule that the control is for."""
    assert result.scenario("control-found-by-another-rule").outcome == "failed"
    assert "rule split-brain judged nothing" in result.message("control_found_by_another_rule")


def test_a_fault_that_did_not_bite_is_invalid(result: Any) -> None:
    """Whatever the stack did, nothing was shown."""
    scenario = result.scenario("no-bite")
    assert (scenario.outcome, scenario.verdict()) == ("failed", Verdict.INVALID)
    assert "the partition cut nothing" in result.message("no_bite")
    assert result.scenario("control-no-bite").outcome == "passed"


def test_a_missed_recovery_is_judged(result: Any) -> None:
    """A stack that misses its deadline broke its promise: FAIL, with what was seen, not an error of the instrument."""
    scenario = result.scenario("misses-recovery")
    assert [(j.rule, j.verdict) for j in scenario.judgements] == [
        ("set-durability", Verdict.PASS),
        ("recovery", Verdict.FAIL),
    ]
    assert "failover_s = 2 s" in scenario.judgements[1].summary
    assert scenario.judgements[1].observed == {"waits": 2, "missed": 1}
    assert "epoch 1" in result.message("misses_recovery")


def test_a_broken_test_is_an_error(result: Any) -> None:
    """An exception says nothing about the cluster: ERROR, never PASS or FAIL."""
    scenario = result.scenario("breaks")
    assert (scenario.outcome, scenario.verdict()) == ("error", Verdict.ERROR)
    assert scenario.reason == "KeyError: 'oops'"


def test_missing_evidence_is_an_error(result: Any) -> None:
    """A rule whose trace is not there cannot have passed."""
    assert result.scenario("has-no-trace").judgements[0].verdict == Verdict.ERROR
    assert "the scenario has no trace" in result.message("has_no_trace")


def test_an_unknown_rule_or_parameter_is_refused(result: Any) -> None:
    """A misspelt rule must not silently judge nothing: refused at once, and a test that judges nothing is INVALID."""
    scenario = result.scenario("misspells")
    assert scenario.planned == []
    assert (scenario.outcome, scenario.verdict()) == ("failed", Verdict.INVALID)


def test_what_the_cluster_lacks_is_not_tested(result: Any) -> None:
    """The test is skipped, and the scenario remembers why."""
    scenario = result.scenario("needs-a-plug")
    assert scenario.outcome == "skipped"
    assert "node-power" in scenario.reason


def test_a_rule_without_its_evidence_is_not_planned(result: Any) -> None:
    """Rules over node-side evidence are counted as not tested where a cluster gives none."""
    scenario = result.scenario("needs-node-evidence")
    assert scenario.outcome == "passed"
    assert [p.rule for p in scenario.planned] == ["set-durability"]
    assert [n["what"] for n in scenario.metrics["not_tested"]] == ["at-most-one-per-identity"]


def test_selection_and_order(suites: Any, tmp_path: Path) -> None:
    """Tests of other stacks and faults are deselected; those that deploy the same variant follow each other."""
    source = """
        import pytest

        @pytest.mark.stacks("probe")
        def test_ours(report): ...

        @pytest.mark.stacks("probe")
        @pytest.mark.variant("broken")
        def test_broken(report): ...

        @pytest.mark.stacks("probe")
        @pytest.mark.fault("pod-kill")
        def test_kill(report): ...

        @pytest.mark.stacks("probe")
        @pytest.mark.fault("node-drain")
        def test_drain(report): ...

        @pytest.mark.stacks("postgresql")
        def test_theirs(report): ...

        @pytest.mark.stacks("probe")
        @pytest.mark.fault("pod-kill")
        @pytest.mark.extra("probe")
        def test_extra(report): ...

        @pytest.mark.fault("pod-kill")
        @pytest.mark.cell("kill-all")
        @pytest.mark.extra()
        def test_cell(report): ...

        @pytest.mark.fails_over
        def test_takeover(report): ...

        def test_unrelated(): ...
    """

    def names(*arguments: str) -> list[str]:
        found = suites(tmp_path)(source, "--stack", "probe", "--collect-only", *arguments)
        return [line.partition("::")[2] for line in found.output.splitlines() if "::" in line]

    assert names("--faults", "pod-kill") == ["test_ours", "test_kill", "test_extra", "test_unrelated", "test_broken"]
    assert names() == ["test_ours", "test_kill", "test_drain", "test_unrelated", "test_broken"]
    assert names("--faults", "kill-all") == ["test_ours", "test_cell", "test_unrelated", "test_broken"]
    assert names("--stack", "redis") == ["test_takeover", "test_unrelated"]
    assert names("--stack", "redis", "--faults", "matrix") == ["test_cell", "test_takeover", "test_unrelated"]
    wrong = suites(tmp_path)(source, "--stack", "nosuch", "--collect-only")
    assert "no stack is called nosuch" in wrong.output


def test_an_interrupt_leaves_a_run_that_can_be_judged(suites: Any, tmp_path: Path) -> None:
    """Ctrl-C in the middle: the scenario says so, its evidence up to then is there, and a wait was not met by it."""
    suite = suites(tmp_path)
    source = SUITE.replace("    kept(written)\n", "    kept(written)\n    wait_here(report, stack)\n", 1)
    source += """
def wait_here(report, stack):
    import signal

    with stack._current.waiting("what never comes", "recovery_s", 90.0):
        (report.run.path / "started").touch()
        signal.pause()
"""
    # A shell's background jobs ignore Ctrl-C, and so would their children.
    command = ["env", "--default-signal=INT", *suite.command(source, "-k", "holds")]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(
        (suite.run / "started").exists,
        what="the test has started",
        deadline_name="STARTED_DEADLINE_S",
        deadline_s=STARTED_DEADLINE_S,
    )
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=ENDED_DEADLINE_S)
    (scenario,) = RunDir.open(suite.run).scenarios()
    assert child.returncode == 2, errors
    assert "interrupted: healing faults" in errors
    assert (scenario.outcome, scenario.reason) == ("error", "interrupted")
    assert "what never comes: cut short" in errors
    assert "waits" not in scenario.metrics
    assert [j.verdict for j in judge(RunDir.open(suite.run), scenario)] == [Verdict.PASS]
