"""The registry of promises, the tests that cover them, and the negative controls of the rules that judge them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

import steadyset
from steadyset.cli.explain import command
from steadyset.errors import UsageError
from steadyset.fixtures.conformance.selection import version
from steadyset.judge import PROMISE_RULE, RECOVERY_RULE, rules
from steadyset.requirements import REQUIREMENTS, requirement, select
from steadyset.requirements.base import ID
from steadyset.requirements.reading import Covering, by_requirement, controls_by_rule, read_tests

SUITES = Path(steadyset.__file__).parent / "suites"


def test_ids_are_unique_and_well_formed() -> None:
    assert [name for name, count in Counter(r.id for r in REQUIREMENTS).items() if count > 1] == []
    assert [r.id for r in REQUIREMENTS if not ID.fullmatch(r.id)] == []


def test_every_entry_says_what_and_where() -> None:
    """A sentence, a link, a version, and rules that exist."""
    known = {*rules(), PROMISE_RULE, RECOVERY_RULE}
    assert [r.id for r in REQUIREMENTS if not r.text.endswith(".") or not r.source.startswith("https://")] == []
    assert [r.id for r in REQUIREMENTS if version(r.since) == (0, 0)] == []
    assert [(r.id, sorted(set(r.rules) - known)) for r in REQUIREMENTS if not r.rules or set(r.rules) - known] == []


def test_every_test_names_requirements_that_exist() -> None:
    known = {r.id for r in REQUIREMENTS}
    unknown = [(test.name, sorted(set(test.ids) - known)) for test in read_tests(SUITES) if set(test.ids) - known]
    assert unknown == [], "add them to src/steadyset/requirements/"


def test_every_requirement_has_a_test_or_says_why_not() -> None:
    covered = by_requirement(SUITES)
    assert [r.id for r in REQUIREMENTS if r.id not in covered and not r.open] == [], "no test covers these"
    assert [r.id for r in REQUIREMENTS if r.id in covered and r.open] == [], "these are covered, and yet open"


def test_every_rule_has_a_negative_control() -> None:
    """A rule that was never seen to fail on a cluster proves nothing by passing."""
    used = {rule: r.id for r in REQUIREMENTS if not r.open for rule in r.rules}
    assert {rule: name for rule, name in used.items() if rule not in controls_by_rule(SUITES)} == {}


def test_the_reading_of_tests(tmp_path: Path) -> None:
    """Markers of a file, of a function and of one case count; controls are told apart, parametrised ones too."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "test_it.py").write_text("""
import pytest
pytestmark = [pytest.mark.requirement("A")]

@pytest.mark.requirement("B", "C")
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("D"))])
def test_all(space): ...

@pytest.mark.control
@pytest.mark.parametrize("rule", ["r1", "r2"])
def test_control(report, rule):
    report.expect("FAIL", rule=rule)

@pytest.mark.control
@pytest.mark.disruptive
@pytest.mark.tier("full")
def test_other(report):
    report.expect("FAIL", rule="r3")
    report.expect("INVALID")
""")
    assert list(read_tests(tmp_path)) == [
        Covering("one/test_it.py::test_all", ["A", "B", "C", "D"]),
        Covering("one/test_it.py::test_control", ["A"], control=True),
        Covering("one/test_it.py::test_other", ["A"], control=True, alone=True, full=True),
    ]
    assert (Covering("one/test_it.py::test_all", []).file, Covering("a.py::test_b", []).function) == (
        "one/test_it.py",
        "test_b",
    )
    assert by_requirement(tmp_path) == {name: ["one/test_it.py::test_all"] for name in "ABCD"}
    assert set(controls_by_rule(tmp_path)) >= {"r1", "r2", "r3"}


def test_selection() -> None:
    assert select(["STS-ORD-001", "sts-id-00?"])[0] == "STS-ID-001"
    assert requirement("STS-ORD-001").rules == ("ordered-recovery",)
    with pytest.raises(UsageError, match="no requirement is called STS-NONE") as refused:
        select(["STS-NONE"])
    assert "STS-ORD-*" in refused.value.expected


def test_explain() -> None:
    """The command prints one promise with its tests, all of them without arguments, and JSON."""
    run = CliRunner().invoke
    one = run(command, ["STS-ORD-001"], standalone_mode=False)
    assert "ordering/test_scaling.py::test_scaling_is_ordered_and_halts" in one.output
    assert len(run(command, [], standalone_mode=False).output.splitlines()) == len(REQUIREMENTS)
    found = json.loads(run(command, ["STS-ORD-*", "--json"], standalone_mode=False).output)
    assert {entry["id"] for entry in found} == set(select(["STS-ORD-*"]))


def test_upstreams_cases_are_all_named() -> None:
    """32 of them, and each test that the table names exists."""
    table = (Path(__file__).parent.parent.parent / "docs" / "upstream-statefulset.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 32
    named = set(re.findall(r"`(\w+/test_\w+\.py::test_\w+)`", table))
    assert sorted(named - {test.name for test in read_tests(SUITES)}) == []
    assert [row for row in rows if "::test_" not in row and "| none:" not in row] == []
