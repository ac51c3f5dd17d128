"""Real probes on loopback and a cluster description without a client namespace's isolation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.load import runner


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
