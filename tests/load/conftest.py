"""Real probes on loopback and a cluster description without a client namespace's isolation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.load import runner

CHILD_S = 120.0  # the imports alone take half a minute on a machine that is busy


class NoForwarder:
    """Addresses on loopback need no way through an API server."""

    def __init__(self, info: ClusterInfo, log: Path) -> None:
        del info, log

    def rewrite(self, params: dict[str, Any]) -> dict[str, Any]:
        return params

    def close(self) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> ClusterInfo:
    """A cluster whose pods are reachable from where the test runs."""
    monkeypatch.setattr(runner, "Forwarder", NoForwarder)
    return ClusterInfo(name="here", provider="kubeconfig", kubeconfig="")


class Probes:
    """Three probes, each with a folder that outlives it."""

    def __init__(self, start: Callable[..., Any], folder: Path) -> None:
        self._start, self._folder = start, folder
        self.running = {f"probe-{i}": self._launch(f"probe-{i}", 0) for i in range(3)}

    def _launch(self, pod: str, port: int) -> Any:
        data = self._folder / pod
        data.mkdir(exist_ok=True)
        return self._start(data, pod, port)

    def kill(self, pod: str) -> None:
        self.running[pod].kill()

    def restart(self, pod: str, *, emptied: bool = False) -> None:
        if emptied:
            (self._folder / pod / "probe.log").unlink()
        self.running[pod] = self._launch(pod, self.running[pod].port)

    def params(self) -> dict[str, Any]:
        return {
            "namespace": "here",
            "members": [
                {
                    "pod": pod,
                    "direct": {"host": "127.0.0.1", "port": probe.port, "pod": pod},
                    "service": {"host": "127.0.0.1", "port": probe.port, "service": pod},
                }
                for pod, probe in self.running.items()
            ],
            "secrets": {"password": "correct-horse"},
        }


@pytest.fixture
def probes(start_probe: Callable[..., Any], tmp_path: Path) -> Iterator[Probes]:
    """Three probes on loopback."""
    folder = tmp_path / "volumes"
    folder.mkdir()
    yield Probes(start_probe, folder)


# Each script runs where a load process would: Locust imported first. It prints one JSON document.
PROLOGUE = """
import locust, json, sys
from steadyset.load.recorder import Op
args = json.loads(sys.argv[1])
"""


def _run_child(script: str, **args: Any) -> Any:
    """Run a script in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script, json.dumps(args)],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def run_child() -> Callable[..., Any]:
    """Runs a script where a load process would: Locust is imported first. Returns the JSON document it prints."""
    return _run_child
