"""Runs small suites in a pytest of their own: the plugin is real, the cluster is a description of one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from steadyset.rundir import RunDir, Scenario

# What the suites under test share: a cluster that offers nothing, and a stack that is only a name.
CONFTEST = '''
import pytest
from dataclasses import dataclass
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import DeadlineError
from steadyset.fixtures.scenario import StackFixture
from steadyset.history import HistoryWriter


@dataclass(frozen=True)
class Deadlines:
    recovery_s: float = 1.0
    failover_s: float = 2.0


class Paper:
    """A stack on paper: what the tests below say of it is all there is."""

    name, namespace, statefulsets, workloads = "paper", "ns", ["paper"], ()
    deadlines = Deadlines()

    def wait_for_steady_state(self, deadline_s):
        pass

    def wait_for_new_epoch(self, deadline_s):
        raise DeadlineError("no new epoch", seen="epoch 1")


@pytest.fixture
def cluster():
    return ClusterInfo(name="paper", provider="kubeconfig", kubeconfig="none")


@pytest.fixture
def stack(cluster, report):
    report.info = cluster
    return StackFixture(Paper(), report)


@pytest.fixture
def checked(request, cluster, report):
    from steadyset.fixtures.plugin import _check_needs

    _check_needs(request.node, cluster)


class Written:
    def __init__(self, report, name="load"):
        self.relative = f"history/{report.scenario.slug}/{name}"
        self.folder = report.run.path / self.relative
        self.folder.mkdir(parents=True)
        self.writer = HistoryWriter(self.folder / "one.arrows", generator="one")
        report.scenario.histories.append(self.relative)

    def add(self, value, outcome="ok"):
        op = self.writer.invoke(1, "add", "k", value)
        self.writer.complete(op, outcome, epoch=1, server="a")

    def read(self, *values):
        op = self.writer.invoke(2, "read-all", "k", session="final")
        self.writer.complete(op, "ok", values=list(values), server="a")
        self.writer.close()


@pytest.fixture
def written(report):
    return Written(report)
'''


class Result:
    """How a suite ended, and what it left."""

    def __init__(self, code: int, output: str, run: Path) -> None:
        self.code, self.output, self.run = code, output, run

    def scenario(self, slug: str) -> Scenario:
        """The scenario called `slug`."""
        return next(s for s in RunDir.open(self.run).scenarios() if s.slug == slug)

    def message(self, name: str) -> str:
        """What pytest said of the failed test test_<name>."""
        return re.split(r"\n_{3,} ", self.output.partition(f" test_{name} ___")[2])[0]


class Suite:
    """`suite(source, *arguments)` runs that source as a test module and returns its Result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "runs" / "one"

    def command(self, source: str, *arguments: str) -> list[str]:
        """Write the module and give the pytest command line for it."""
        (self.folder / "conftest.py").write_text(CONFTEST)
        (self.folder / "test_it.py").write_text(textwrap.dedent(source))
        argv = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(self.folder)]
        argv += ["-p", "no:cacheprovider", "--import-mode=importlib", "-q", "-rs", "--run-dir", str(self.run)]
        return [*argv, *arguments, str(self.folder)]

    def __call__(self, source: str, *arguments: str) -> Result:
        argv = self.command(source, *arguments)
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False)
        return Result(done.returncode, done.stdout + done.stderr, self.run)


@pytest.fixture(scope="session")
def suites() -> type[Suite]:
    """Makes a pytest of its own in a folder."""
    return Suite
