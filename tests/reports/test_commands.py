"""`recheck` and `compare` from the command line, the verdict table, and JUnit XML."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from steadyset.cli import cli
from steadyset.errors import UsageError
from steadyset.reports.compare import compare, exit_code
from steadyset.reports.junit import render_junit
from steadyset.reports.publish import recheck
from steadyset.reports.terminal import print_verdicts
from steadyset.rundir import RunDir
from steadyset.verdict import Judgement, Verdict

COMMAND_DEADLINE_S = 60


def steadyset(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "steadyset", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False)


def invoke(*argv: str) -> tuple[int, str]:
    """Run the command line in this process: exit code and stdout."""
    result = CliRunner().invoke(cli, argv, standalone_mode=False, catch_exceptions=False)
    return int(result.return_value), result.stdout


def table(document: dict[str, Any], width: int) -> str:
    """The verdict table on a terminal of that width."""
    out = StringIO()
    print_verdicts(document, Console(file=out, width=width, highlight=False, color_system=None))
    return out.getvalue()


def test_recheck_exits_by_the_verdict_and_writes_every_report(made_run: RunDir) -> None:
    """The run fails, so the exit code is 1, and the table names what failed."""
    done = steadyset("recheck", str(made_run.path))
    assert done.returncode == 1, done.stderr
    assert "3 of 1720 acknowledged adds are lost" in done.stdout.replace("\n", " ")
    assert "power off: fault node-off needs node-power" in done.stdout
    assert "\x1b" not in done.stdout  # no colour where stdout is no terminal
    assert {"document.json", "index.html", "junit.xml"} <= {path.name for path in made_run.path.iterdir()}


def test_recheck_finds_a_run_by_its_id_and_prints_json(good_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below runs/ of the current folder, as nightly leaves it; stdout is JSON and nothing else."""
    home = good_run.path.parent
    shutil.move(good_run.path, home / "runs" / good_run.path.name)
    monkeypatch.chdir(home)
    code, out = invoke("recheck", good_run.path.name, "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "PASS")


@pytest.mark.parametrize(("what", "said"), [("nothing", "there is no run"), (".", "is not a run")])
def test_recheck_of_no_run_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, said: str) -> None:
    """Exit code 2, and what was expected."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said) as raised:
        invoke("recheck", what)
    assert raised.value.exit_code == 2
    assert raised.value.expected


def test_recheck_says_which_verdicts_changed(made_run: RunDir) -> None:
    """A saved PASS that today's rules do not give, and a rule that judged only then."""
    scenario = next(s for s in made_run.scenarios() if s.slug == "lossy")
    passing = Judgement(rule="set-durability", verdict=Verdict.PASS, claim="c", summary="s")
    scenario.judgements = [passing, msgspec.structs.replace(passing, rule="gone")]
    scenario.outcome = "passed"
    made_run.save(scenario)
    document = recheck(made_run)
    assert document["changes"] == {
        "lossy": [
            {"rule": "scenario", "was": "PASS", "now": "FAIL"},
            {"rule": "set-durability", "was": "PASS", "now": "FAIL"},
            {"rule": "gone", "was": "PASS", "now": None},
            {"rule": "split-brain", "was": None, "now": "PASS"},
        ]
    }
    assert recheck(made_run)["changes"] == {}
    assert next(s for s in made_run.scenarios() if s.slug == "lossy").outcome == "failed"


def test_a_checker_that_crashed_then_can_pass_now(good_run: RunDir) -> None:
    """The outcome follows the rules, unless the instrument itself had broken."""
    scenario = good_run.scenarios()[0]
    scenario.outcome = "error"
    good_run.save(scenario)
    assert recheck(good_run)["verdict"] == "PASS"
    scenario.outcome, scenario.reason = "error", "Locust died"
    good_run.save(scenario)
    assert recheck(good_run)["verdict"] == "ERROR"


def test_an_unknown_rule_is_an_error_with_its_name(good_run: RunDir) -> None:
    """A run of a newer version planned a rule that this one does not have."""
    scenario = good_run.scenarios()[0]
    scenario.planned[0].rule = "from-the-future"
    good_run.save(scenario)
    document = recheck(good_run)
    assert document["verdict"] == "ERROR"
    assert "from-the-future" in document["scenarios"][0]["judgements"][0]["summary"]


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_the_table_keeps_inside_the_terminal(made_run: RunDir, width: int) -> None:
    """Narrow ones too; nothing decided is left out."""
    text = table(recheck(made_run), width)
    beyond = [line for line in text.splitlines() if len(line) > width and "✗ FAIL a promise" not in line]
    assert beyond == []
    words = " ".join(text.split())
    assert "∅ INVALID" in words
    assert "7 of 1720" in words


def test_titles_with_markup_are_printed_as_they_are(good_run: RunDir) -> None:
    """pytest's ids stand in brackets, which rich would take for styles."""
    scenario = good_run.scenarios()[0]
    scenario.title, scenario.outcome, scenario.reason = "kept [red]as is[/red]", "skipped", "lacks [bold]x"
    good_run.save(scenario)
    text = table(recheck(good_run), 120)
    assert "kept [red]as is[/red]: lacks [bold]x" in text


def test_junit_names_the_promise_that_broke(made_run: RunDir) -> None:
    """One case per scenario and rule; failures carry the witness; a met control passes."""
    suite = ElementTree.fromstring(render_junit(recheck(made_run)).encode()).find("testsuite")
    assert suite is not None
    failed = {f"{c.get('classname')} {c.get('name')}": c.find("failure") for c in suite.findall("testcase")}
    bad = {name: f.get("type") for name, f in failed.items() if f is not None}
    assert bad == {
        "failover.postgresql.lossy set-durability": "FAIL",
        "failover.postgresql.aimed-at-nothing scenario": "INVALID",
    }
    failure = failed["failover.postgresql.lossy set-durability"]
    assert failure is not None
    assert "lost: 100, 101, 102" in (failure.text or "")
    assert [suite.get(n) for n in ("tests", "failures", "errors", "skipped")] == ["10", "2", "0", "1"]
    assert "failover.postgresql.partition-async negative control: must end with FAIL:set-durability" in failed


def test_junit_survives_characters_that_xml_forbids(good_run: RunDir) -> None:
    """Witness lines quote what servers said."""
    document = recheck(good_run)
    document["scenarios"][0]["judgements"][0].update(verdict="FAIL", summary="\x00bell\x07 & <tag>", witness=["\ud800"])
    failure = ElementTree.fromstring(render_junit(document).encode()).find(".//failure")
    assert failure is not None
    assert failure.get("message") == "\ufffdbell\ufffd & <tag>"


def two_runs(run: RunDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of a run, and that of a copy on a newer Kubernetes with slower recovery."""
    first = recheck(run)
    other = json.loads(json.dumps(first))
    other["run"]["id"], other["run"]["cluster"]["version"] = "other", "v1.36.1"
    other["scenarios"][0]["metrics"]["faults"][0]["ready_s"] *= 3
    return first, other


def test_compare_gives_ratios_and_what_differs(good_run: RunDir) -> None:
    """Times with B over A; the version that changed; slower alone is not worse."""
    a, b = two_runs(good_run)
    found = compare(a, b)
    assert found["scenarios"][0]["faults"][0]["times"]["ready_s"] == {"a": 7.0, "b": 21.0, "ratio": 3.0}
    assert found["differs"] == {"cluster.version": {"a": "v1.35.4", "b": "v1.36.1"}}
    assert exit_code(found) == 0


def test_compare_exits_1_when_b_is_worse(good_run: RunDir) -> None:
    """And 0 the other way round."""
    a, b = two_runs(good_run)
    b["scenarios"][0]["verdict"] = b["scenarios"][0]["judgements"][0]["verdict"] = b["verdict"] = "FAIL"
    found = compare(a, b)
    assert (exit_code(found), exit_code(compare(b, a))) == (1, 0)
    assert found["scenarios"][0]["rules"] == {"set-durability": {"a": "PASS", "b": "FAIL"}}


def test_a_time_that_one_run_lacks_has_no_ratio(good_run: RunDir) -> None:
    """Unknown is not zero."""
    a, b = two_runs(good_run)
    b["scenarios"][0]["metrics"]["faults"][0]["ready_s"] = None
    times = compare(a, b)["scenarios"][0]["faults"][0]["times"]
    assert times["ready_s"] == {"a": 7.0, "b": None, "ratio": None}


@pytest.mark.parametrize("first", [0.0, -0.4])
def test_nothing_is_a_multiple_of_zero_or_less(good_run: RunDir, first: float) -> None:
    """A Service that switched before the first acknowledgement has a negative lag."""
    a, b = two_runs(good_run)
    a["scenarios"][0]["metrics"]["faults"][0]["label_lag_s"] = first
    assert compare(a, b)["scenarios"][0]["faults"][0]["times"]["label_lag_s"]["ratio"] is None


def test_compare_of_runs_without_a_common_scenario_proves_nothing(good_run: RunDir, tmp_path: Path) -> None:
    """Exit code 3; each side's scenarios are named."""
    recheck(good_run)
    other = tmp_path / "other"
    shutil.copytree(good_run.path, other)
    (other / "document.json").unlink()
    path = other / "scenarios" / "kill-primary.json"
    path.write_text(path.read_text().replace("test_kill_primary", "test_another"))
    code, out = invoke("compare", str(good_run.path), str(other))
    assert (code, "only in A" in out) == (3, True)
    page = tmp_path / "compare.html"
    code, out = invoke("compare", str(good_run.path), str(good_run.path), "--json", "--html", str(page))
    assert (code, json.loads(out)["worse"]) == (0, False)
    assert re.search(r"pod ready again</td><td[^>]*>7.00 s</td><td[^>]*>7.00 s</td><td[^>]*>1.00×", page.read_text())
