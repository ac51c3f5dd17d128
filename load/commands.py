"""The command lines of Locust: alone, or a master with workers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.load.shape import LoadOptions

DRAIN_S = 5.0  # from SIGTERM until every op in flight has ended
LOAD_MAX_S = 3600  # a load ends by itself after this long
CLIENT, HERE = "client", "here"  # where a process runs: where the pods are reachable, or where steadyset does
_LOOPBACK = "127.0.0.1"


class Locust:
    """argv of each kind of Locust process of one load, whose locustfiles are `files`.

    The master runs where steadyset does, so that its pages are on this machine's loopback; its workers reach it at the
    address by which they reach the API server of an embedded cluster, or at `host`.
    """

    def __init__(
        self, info: ClusterInfo, files: list[Path], folder: Path, options: LoadOptions, host: str = ""
    ) -> None:
        self._files, self._folder, self._options = files, folder, options
        self.host = host or (info.api_server.rpartition(":")[0] if info.client_netns else _LOOPBACK)
        self.port = 0 if options.alone else _free_port(self.host)

    def _common(self) -> list[str]:
        files = ",".join(str(file) for file in self._files)
        return [sys.executable, "-m", "locust", "--loglevel", "WARNING", "-f", files]

    def _test(self, users: int) -> list[str]:
        argv = ["--users", str(users), "--spawn-rate", str(users), "--run-time", str(LOAD_MAX_S)]
        argv += ["--stop-timeout", f"{DRAIN_S:.0f}s", "--csv", str(self._folder / "locust")]
        return [*argv, "--only-summary", "--exit-code-on-error", "0"]

    def alone(self, users: int) -> list[str]:
        """One process that makes the whole load."""
        return [*self._common(), "--headless", *self._test(users)]

    def master(self, users: int) -> list[str]:
        """The master: it begins once all its workers are there. UsageError when the port of its pages is taken."""
        workers = str(self._options.in_cluster or self._options.workers)
        argv = [*self._common(), "--master", "--master-bind-host", self.host, "--master-bind-port", str(self.port)]
        argv += ["--expect-workers", workers, *self._test(users)]
        if not self._options.web_ui:
            return [*argv, "--headless"]
        need_port(self._options.web_ui)
        return [*argv, "--autostart", "--web-host", _LOOPBACK, "--web-port", str(self._options.web_ui)]

    def worker(self) -> list[str]:
        """One worker of that master."""
        return [*self._common(), "--worker", "--master-host", self.host, "--master-port", str(self.port)]


def need_port(port: int) -> None:
    """UsageError when somebody listens at this port of loopback."""
    try:
        socket.create_server((_LOOPBACK, port)).close()
    except OSError as error:
        raise UsageError(
            f"--load-web-ui {port}: {error.strerror}", expected="a port of loopback that is free", do="choose another"
        ) from None


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])
