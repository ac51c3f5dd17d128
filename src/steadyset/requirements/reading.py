"""Which tests say that they cover which requirement, read from the suites' sources: nothing is imported or run."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARKER = "requirement"
CONTROL, DISRUPTIVE, TIER = "control", "disruptive", "tier"


class Covering(NamedTuple):
    """One conformance test function: `name` is "ordering/test_scaling.py::test_up"; `alone`: it is disruptive."""

    name: str
    ids: list[str]
    control: bool = False
    alone: bool = False
    full: bool = False

    @property
    def file(self) -> str:
        """Its file, below the suites."""
        return self.name.partition("::")[0]

    @property
    def function(self) -> str:
        """Its function."""
        return self.name.partition("::")[2]


def by_requirement(suites: Path) -> dict[str, list[str]]:
    """Requirement id to tests ("ordering/test_scaling.py::test_up"), negative controls left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for test in read_tests(suites):
        for requirement in () if test.control else test.ids:
            found[requirement].append(test.name)
    return dict(found)


def controls_by_rule(suites: Path) -> dict[str, list[str]]:
    """Rule to the negative controls that it must FAIL (`report.expect("FAIL", rule=…)`)."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, everywhere, node in _functions(suites):
        marks = [*everywhere, *node.decorator_list]
        if not _has(marks, CONTROL):
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and _is_mark(call, "expect"):
                for rule in _expected_rules(call, node):
                    found[rule].append(_name(path, node))
    return dict(found)


def read_tests(suites: Path) -> Iterator[Covering]:
    """Every test function with a requirement marker."""
    for path, everywhere, node in _functions(suites):
        marks = [*everywhere, *node.decorator_list]
        # one parametrised case may cover what others do not: pytest.param(…, marks=pytest.mark.requirement(…))
        calls = [call for mark in marks for call in ast.walk(mark) if _is_mark(call, MARKER)]
        ids = [str(arg.value) for call in calls for arg in _args(call) if isinstance(arg, ast.Constant)]
        if ids:
            yield Covering(
                _name(path, node),
                list(dict.fromkeys(ids)),
                control=_has(marks, CONTROL),
                alone=_has(marks, DISRUPTIVE),
                full=_has(marks, TIER),
            )


def _functions(suites: Path) -> Iterator[tuple[Path, list[ast.expr], ast.FunctionDef]]:
    """(file, the file's pytestmark, test function) of every test of the suites."""
    for path in sorted(suites.resolve().glob("*/test_*.py")):
        tree = ast.parse(path.read_text())
        everywhere = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_pytestmark(node)]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path, everywhere, node


def _name(path: Path, node: ast.FunctionDef) -> str:
    return f"{path.parent.name}/{path.name}::{node.name}"


def _has(marks: list[ast.expr], name: str) -> bool:
    return any(_is_mark(part, name) for mark in marks for part in ast.walk(mark))


def _expected_rules(call: ast.Call, test: ast.FunctionDef) -> list[str]:
    """The rule that an `expect("FAIL", rule=…)` names; of a parametrised one, all of its parameters."""
    verdict = call.args[0] if call.args else None
    rule = next((keyword.value for keyword in call.keywords if keyword.arg == "rule"), None)
    if not isinstance(verdict, ast.Constant) or verdict.value != "FAIL" or rule is None:
        return []
    if isinstance(rule, ast.Constant):
        return [str(rule.value)]
    names = [part for mark in test.decorator_list for part in ast.walk(mark) if isinstance(part, ast.Constant)]
    return [str(part.value) for part in names]


def _is_pytestmark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _is_mark(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Attribute) and node.attr == name


def _args(node: ast.AST) -> list[ast.expr]:
    return node.args if isinstance(node, ast.Call) else []
