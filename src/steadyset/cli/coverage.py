"""`steadyset coverage`: promise by promise, which tests cover it and what runs say of it on each version."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from steadyset.reports.coverage import coverage, print_coverage
from steadyset.reports.html import render_coverage
from steadyset.reports.publish import RUNS, open_run
from steadyset.rundir import RunDir

LOG_COLUMNS = 140  # of the table where stdout is no terminal


@click.command("coverage")
@click.argument("runs", nargs=-1, metavar="[RUN…]")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to this file too.")
@click.option("--json", "as_json", is_flag=True, help="Print the coverage as JSON on stdout.")
def command(runs: tuple[str, ...], page: Path | None, as_json: bool) -> int:
    """List every promise, its tests, and the verdict of the newest of RUN… on each Kubernetes version.

    Each RUN is a run's folder, or the id of one below runs/; all runs there by default. A promise without a test is
    listed as open. Without any run the tests alone are listed.
    """
    found = [open_run(run) for run in runs] or [RunDir.open(path.parent) for path in RUNS.glob("*/run.json")]
    document = coverage(found)
    if page is not None:
        page.write_text(render_coverage(document), encoding="utf-8")
    if as_json:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        print_coverage(document, Console(highlight=False, width=None if sys.stdout.isatty() else LOG_COLUMNS))
    return 0
