"""`steadyset recheck RUN`: judge a saved run again, offline, with today's rules."""

from __future__ import annotations

import sys

import click
import msgspec

from steadyset.reports.html import NAME as PAGE
from steadyset.reports.publish import open_run, recheck
from steadyset.reports.terminal import print_verdicts


@click.command("recheck")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the run's document as JSON on stdout.")
def command(run: str, as_json: bool) -> int:
    """Judge RUN again, offline, and say which verdicts changed.

    RUN is a run's folder, or the id of one below runs/. Its trace and histories are read, all its rules applied anew,
    and document.json, index.html and junit.xml written again. A run that was interrupted can be judged too: as far as
    its evidence goes. The exit code is the verdict's.
    """
    opened = open_run(run)
    document = recheck(opened)
    if as_json:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        print_verdicts(document, page=str(opened.path / PAGE))
        if not document["changes"]:
            click.echo("no verdict changed")
    return int(document["exit_code"])
