"""`python -m steadyset.load.child WORKLOAD`: the final reads of a load, as a process of their own.

It starts beside the load, since its imports take seconds, and reads once a line comes on stdin; without one it ends.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click
import locust  # noqa: F401 - first: it patches what the other imports hold on to

from steadyset.errors import SteadysetError
from steadyset.history import HistoryWriter
from steadyset.load.recorder import load_params


def main(workload: str) -> int:
    """Run the workload's `read_back` into `<generator>.arrows`; exit code 0, or 4 with the reason on stderr."""
    params = load_params()
    module = importlib.import_module(f"steadyset.load.workloads.{workload}")
    if not sys.stdin.readline():
        return 0
    path = Path(params["folder"]) / f"{params['generator']}.arrows"
    with HistoryWriter(path, generator=params["generator"]) as writer:
        try:
            module.read_back(params, writer)
        except SteadysetError as error:
            click.echo(f"error: {error}", err=True)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
