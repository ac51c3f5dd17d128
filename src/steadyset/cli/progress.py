"""Progress on stderr: a bar with the time left where the total is known, a spinner otherwise, plain lines in logs."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 15.0  # in a log, a step in progress is mentioned this often


class Bar:
    """Callable as progress(what, done, total); one row per step, the finished ones stay with their duration."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr)
        self.live = self.console.is_terminal
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
        )
        self.task: TaskID | None = None
        self.what = ""
        self.printed_s = 0.0
        self.started_s = 0.0

    def __enter__(self) -> Bar:
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.live:
            if kind is None:
                self._finish()
            self.progress.stop()
        elif self.what and kind is None:
            self._line(f"{self.what}: done")

    def __call__(self, what: str, done: float, total: float) -> None:
        """Say that `done` of `total` of the step `what` is reached; total 0 means unknown."""
        if not self.live:
            self._log(what, done, total)
            return
        if what != self.what or self.task is None:
            self._finish()
            self.task = self.progress.add_task(what, total=total or None, count="")
            self.what = what
        self.progress.update(
            self.task, completed=done, total=total or None, count=f"{done:.0f}/{total:.0f}" if total else ""
        )

    def _finish(self) -> None:
        if self.task is not None:
            self.progress.update(self.task, total=1, completed=1, count="")

    def _log(self, what: str, done: float, total: float) -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.started_s, self.printed_s = what, now, now
            self._line(what)
        elif now - self.printed_s >= LINE_EVERY_S:
            self.printed_s = now
            left = f", about {(now - self.started_s) * (total - done) / done:.0f} s left" if total and done else ""
            self._line(f"{what}: {done:.0f}/{total:.0f}{left}" if total else f"{what} …")

    def _line(self, text: str) -> None:
        self.console.print(f"steadyset: {text}", highlight=False)
