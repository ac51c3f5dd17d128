"""`steadyset compare RUN_A RUN_B`: two runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from steadyset.reports.compare import compare, document_of, exit_code, print_comparison
from steadyset.reports.html import render_comparison
from steadyset.reports.publish import open_run


@click.command("compare")
@click.argument("run_a")
@click.argument("run_b")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to this file too.")
def command(run_a: str, run_b: str, as_json: bool, page: Path | None) -> int:
    """Set RUN_A and RUN_B side by side: verdicts, recovery times with their ratio, versions, what changed.

    Each is a run's folder, or the id of one below runs/. Exits with 1 when a verdict is worse in RUN_B, with 3 when
    the two have no scenario in common.
    """
    comparison = compare(document_of(open_run(run_a)), document_of(open_run(run_b)))
    if page is not None:
        page.write_text(render_comparison(comparison), encoding="utf-8")
    if as_json:
        sys.stdout.write(msgspec.json.encode(comparison).decode() + "\n")
    else:
        print_comparison(comparison)
    return exit_code(comparison)
