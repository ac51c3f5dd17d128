"""House rules that a linter does not know, checked over every tracked source file."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULE_LINES_MAX = 500
PRODUCT = ("chaos", "fixtures", "load", "reports", "src", "suites")
SLEEPERS = ("src/steadyset/wait.py",)
# Host names of package registries: where packages come from is the business of each machine's own settings.
REGISTRIES = re.compile(
    "|".join(re.escape(".".join(parts)) for parts in (("pypi", "org"), ("proxy", "golang", "org"), ("docker", "io")))
    + "|" + re.escape(".".join(("deb", "debian", "org")))
)  # fmt: skip
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")
OURS_ONLY = re.compile(re.escape("/".join(("", "work", ""))) + "|" + re.escape("/".join(("", "root", ""))))


def tracked(*suffixes: str) -> list[Path]:
    """Files under version control that exist, with one of these suffixes."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [p for p in paths if p.is_file() and not p.is_symlink() and (not suffixes or p.suffix in suffixes)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def product() -> list[Path]:
    return [p for p in tracked(".py") if name_of(p).split("/")[0] in PRODUCT]


def calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_only_the_wait_module_sleeps() -> None:
    """A bare sleep hides a missing condition; gevent's and asyncio's count as well."""
    sleeping = [
        f"{name_of(path)}:{call.lineno}"
        for path in product()
        if name_of(path) not in SLEEPERS
        for call in calls(path)
        if dotted(call.func).split(".")[-1] == "sleep"
    ]
    assert sleeping == [], "\n".join(sleeping)


def test_deadlines_have_names() -> None:
    """`deadline_s=30` says how long, but not of what; a named constant does."""
    bare = [
        f"{name_of(path)}:{call.lineno}"
        for path in product()
        for call in calls(path)
        for keyword in call.keywords
        if keyword.arg in ("deadline_s", "timeout", "_request_timeout", "timeout_s")
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, (int, float))
        and not isinstance(keyword.value.value, bool)
        and keyword.value.value != 0
    ]
    assert bare == [], "\n".join(bare)


def test_modules_are_short() -> None:
    """A module that does not fit in one's head is two modules."""
    long = [
        f"{name_of(path)}: {lines} lines"
        for path in tracked(".py", ".go")
        if (lines := len(path.read_text().splitlines())) > MODULE_LINES_MAX
    ]
    assert long == [], "\n".join(long)


def test_what_is_public_has_a_docstring() -> None:
    """Modules, classes and functions that others may use say what they are for.

    Overriding methods inherit theirs; so do the functions of a Chaos Toolkit fault only if they are written.
    """
    missing = []
    for path in product():
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree) and path.read_text().strip():
            missing.append(f"{name_of(path)}: module")
        missing += [
            f"{name_of(path)}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert missing == [], "\n".join(missing)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (REGISTRIES, "names a package registry"),
        (UNFINISHED, "is unfinished"),
        (OURS_ONLY, "names a folder of one machine"),
    ],
    ids=["registries", "unfinished", "machine"],
)
def test_no_file_holds(pattern: re.Pattern[str], why: str) -> None:
    """What does not belong into a repository is in none of its files."""
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if path.name.endswith(("go.sum", ".lock")):
            continue
        found += [f"{name_of(path)}:{n} {why}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    assert found == [], "\n".join(found)


def test_layers_hold() -> None:
    """No module imports one of a higher layer (the contract is in pyproject.toml)."""
    done = subprocess.run(["lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_layers_would_break(tmp_path: Path) -> None:
    """The contract notices a lower layer that imports a higher one."""
    package = tmp_path / "steadyset"
    for name in ("cli", "reports", "fixtures", "chaos", "load", "observer", "checkers", "invariants"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    for name in ("judge", "history", "trace", "rundir", "clusterinfo", "verdict", "wait", "errors", "redact", "names"):
        (package / f"{name}.py").write_text("")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    argv = ["lint-imports", "--config", str(tmp_path / "pyproject.toml"), "--no-cache"]
    good = subprocess.run(argv, cwd=tmp_path, env=_path(tmp_path), capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    (package / "chaos" / "__init__.py").write_text("import steadyset.fixtures\n")
    bad = subprocess.run(argv, cwd=tmp_path, env=_path(tmp_path), capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "steadyset.chaos -> steadyset.fixtures" in bad.stdout


def _path(folder: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(folder)}
