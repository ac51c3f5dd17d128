"""The owner of a survey: the child that asks a target's members, started where the load runs."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError
from steadyset.load.forward import Forwarder
from steadyset.load.recorder import child_environment, write_private

ANSWER_S = 60.0  # one answer; the first has the child's imports before it, and `remove` has a deadline of its own
FORWARDED_S = 8.0  # one question to one member through the API server, which opens a way for each connection
EXIT_S = 45.0  # a child whose owner left without `remove` removes by itself
_LOG_CHARACTERS_SHOWN = 1000


class Asker:
    """A context manager that asks one target of kind `stack`; `params` as `load.surveys` wants them, with `namespace`.

    Times are seconds. Every question raises UsageError or InstrumentError with what the target said.
    """

    def __init__(self, info: ClusterInfo, stack: str, params: dict[str, Any]) -> None:
        self._info, self._stack, self._params = info, stack, params
        self._folder: Path | None = None
        self._forwarder: Forwarder | None = None
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Asker:
        self._folder = Path(tempfile.mkdtemp(prefix="steadyset-survey-"))
        try:
            params = self._params
            if not self._info.client_netns:
                self._forwarder = Forwarder(self._info, self._folder / "forward.log")
                params = {**self._forwarder.rewrite(params), "ask_s": FORWARDED_S}
            private = write_private(self._folder / "params.json", params)
            with (self._folder / "survey.log").open("w") as log:
                self._child = subprocess.Popen(
                    self._info.client_command([sys.executable, "-m", "steadyset.load.surveys", self._stack]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=child_environment(private),
                    start_new_session=True,
                )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log_in(self) -> None:
        """Log in to every member, and see whether our place may be made; UsageError when not."""
        self._ask("log-in")

    def make(self) -> None:
        """Make our place in the target."""
        self._ask("make")

    def remove(self) -> None:
        """Remove our place with all that is in it; InstrumentError with what is left of it."""
        self._ask("remove")

    def look(self) -> dict[str, Any]:
        """The target as it is now (`load.surveys.base.View`)."""
        found: dict[str, Any] = self._ask("look")
        return found

    def _ask(self, question: str) -> Any:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise UsageError("the survey is not running", do="use it as a context manager")
        try:
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise self._dead("died") from None
        ready, _, _ = select.select([child.stdout], [], [], ANSWER_S)
        line = child.stdout.readline() if ready else ""
        if not line:
            raise self._dead(f"did not answer {question!r} within answer_s = {ANSWER_S:g} s" if not ready else "died")
        answer = json.loads(line)
        if "ok" in answer:
            return answer["ok"]
        error = answer["error"]
        kind = UsageError if error.pop("exit_code") == UsageError.exit_code else InstrumentError
        raise kind(error.pop("message"), **error)

    def _dead(self, what: str) -> InstrumentError:
        assert self._folder is not None
        log = (self._folder / "survey.log").read_text()[-_LOG_CHARACTERS_SHOWN:]
        return InstrumentError(f"the survey of the target {what}", seen=log or "(its log is empty)", do="run it again")

    def close(self) -> None:
        """End the child; it ends when its stdin closes. Forget the secrets."""
        if self._child is not None:
            assert self._child.stdin is not None and self._child.stdout is not None
            with suppress(BrokenPipeError):  # it is dead already
                self._child.stdin.close()
            try:
                self._child.wait(timeout=EXIT_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child.stdout.close()
            self._child = None
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None
