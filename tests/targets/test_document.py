"""The file that describes a target: what it may say, and what is said about a wrong one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from steadyset import cli
from steadyset.chaos.rights import Right
from steadyset.errors import UsageError
from steadyset.fixtures.matrix import CELLS, selected
from steadyset.fixtures.targets.document import CONNECT, checked
from steadyset.fixtures.targets.preflight import RESTART, RIGHTS, within_caps
from steadyset.fixtures.targets.stack import make_target

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
GOOD: dict[str, Any] = yaml.safe_load((HERE / "target.yaml").read_text())
OF_STACK = {
    "postgresql": {"connect": {"service": "db"}, "credentials": {"secret": "db", "user": "app"}},
    "rabbitmq": {"connect": {"service": "mq"}, "credentials": {"secret": "mq", "user_key": "username"}},
    "kafka": {"connect": {"service": "log"}, "credentials": None},
    "galera": {"connect": {"service": "db"}, "credentials": {"secret": "db", "user": "app"}},
    "redis": {},
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key that nobody reads": ({"selectorr": "x"}, "unknown field `selectorr`"),
    "a key below it": ({"connect": {"group": "cart", "sentinels": 3}}, r"unknown field `sentinels`"),
    "another stack's key": ({"connect": {"group": "cart", "service": "x"}}, "unknown field `service`"),
    "no way in": ({"connect": {}}, "required field `group`"),
    "a wrong type": ({"connect": {"group": "cart", "port": "redis"}}, "Expected `int`"),
    "no such stack": ({"stack": "mysql"}, "stack mysql"),
    "no namespace": ({"namespace": ""}, "namespace is empty"),
    "no credentials": ({"credentials": None}, "no credentials"),
    "no such rule": ({"claims": ["set-durabilty"]}, "cannot be judged by set-durabilty"),
    "a rule of other histories": ({"claims": ["linearizable-register"]}, "cannot be judged by linearizable-register"),
    "no such parameter": ({"claims": [{"set-durability": {"loss_s": 1}}]}, "has no parameter loss_s"),
    "no user": ({**OF_STACK["postgresql"], "stack": "postgresql", "credentials": {"secret": "x"}}, "need a user"),
    "no cell": ({"faults": ["pod-kill"]}, "are cells of the matrix"),
    "no faults": ({"faults": []}, "are cells of the matrix"),
    "no list": ({"faults": 1}, "Expected `array`"),
    "no cell in a text": ({"faults": "halves, none"}, "are cells of the matrix"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    """By the key and what was expected there, as bad input."""
    changes, message = WRONG[name]
    with pytest.raises(UsageError, match=message) as caught:
        checked({**GOOD, **changes}, "target.yaml")
    assert caught.value.message.startswith("target.yaml: ")


def test_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, no YAML, not a mapping: bad input, before anything is brought up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "no.yaml").write_text("stack: [redis\n")
    for name, said in (("none.yaml", "no target at"), ("list.yaml", "Expected `object`"), ("no.yaml", "is not YAML")):
        result = CliRunner().invoke(cli.cli, ["nightly", "--target", name], standalone_mode=False)
        assert isinstance(result.exception, UsageError)
        assert said in result.exception.message
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("stack", CONNECT)
def test_each_stack_has_its_way_in(stack: str) -> None:
    """Defaults are the protocol's; the workload is the reference stack's, and so are the deadlines not named."""
    document = checked({**GOOD, "stack": stack, **OF_STACK[stack], "deadlines": {"failover_s": 20}}, "t")
    target = make_target(document)
    assert document.way().port > 0
    assert (target.name, target.deadlines.failover_s) == (stack, 20)
    assert target.deadlines.recovery_s > 0
    assert len(target.workloads) == 1


def test_faults_may_be_one_text() -> None:
    """As the option takes them."""
    assert checked({**GOOD, "faults": "matrix"}, "t").faults == ["matrix"]
    assert checked({**GOOD, "faults": "kill-all, halves"}, "t").faults == ["kill-all", "halves"]


def test_the_example_is_a_target() -> None:
    """Every block of the documentation that describes one can be read."""
    text = (DOCS / "bring-your-own.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    found = [checked(yaml.safe_load(block), "docs") for block in blocks if block.startswith("stack:")]
    assert {document.stack for document in found} == set(CONNECT)


def test_the_manifest_grants_what_is_asked_for() -> None:
    """docs/rbac-target.yaml keeps up with RIGHTS, and lets nothing be made or changed beyond it."""
    roles = [d for d in yaml.safe_load_all((DOCS / "rbac-target.yaml").read_text()) if d["kind"].endswith("Role")]
    granted = {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    def name(right: Right) -> str:
        return f"{right.resource}/{right.subresource}" if right.subresource else right.resource

    wanted = {(right.group, name(right), verb) for right in (*RIGHTS, RESTART) for verb in right.verbs}
    assert wanted <= granted
    assert {(r, v) for _, r, v in granted - wanted if v not in ("get", "list", "watch")} == {("pods", "delete")}


def test_a_target_keeps_its_owners_caps() -> None:
    """What the matrix lifts for stacks of ours is not lifted here."""
    (cell,) = selected(["kill-all"], fails_over=True)
    assert "max_pods" in cell.params
    assert within_caps(cell.params) == {"grace_s": 1}


def test_cells_by_name() -> None:
    """One, or all that say something about the stack."""
    assert [cell.name for cell in selected(["kill-primary"], fails_over=True)] == ["kill-primary"]
    assert selected(["matrix"], fails_over=True) == list(CELLS)
    assert selected(["halves", "pod-kill"], fails_over=False) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--variant", "async"),
        ("--suite", "failover"),
        ("--image", "redis=x"),
        ("--stack", "kafka"),
        ("--down", ""),
        ("--faults", "kill"),
    ],
)
def test_options_that_mean_nothing_with_a_target(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused instead of ignored, before there is a run."""
    monkeypatch.chdir(tmp_path)
    argv = ["nightly", "--target", str(HERE / "target.yaml"), option, *filter(None, [value])]
    result = CliRunner().invoke(cli.cli, argv, standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert result.exception.message.startswith((f"{option} ", f"{option}: "))
    assert not (tmp_path / "runs").exists()


def test_the_plan_deploys_nothing(tmp_path: Path) -> None:
    """The file's faults choose the tests; --faults wins over it."""
    argv = [sys.executable, "-m", "steadyset", "nightly", "--target", str(HERE / "target.yaml"), "--plan", "--json"]
    for more, tests in (
        ([], ["kill-primary"]),
        (["--faults", "isolate-primary,full-disk"], ["isolate-primary", "full-disk"]),
    ):
        done = subprocess.run([*argv, *more], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
        assert (plan["stack"], plan["namespace"]) == ("redis", "shop")
        assert [row["test"] for row in plan["tests"]] == [f"test_matrix[{name}]" for name in tests]
