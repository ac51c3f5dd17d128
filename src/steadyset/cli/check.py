"""`steadyset check FILE --model M`: judge anyone's history, without a cluster."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from steadyset.checkers import Checker, make_checker
from steadyset.checkers.drawing import witness_svg
from steadyset.errors import UsageError
from steadyset.history import History
from steadyset.history.export import check_suffix, export_history
from steadyset.history.imports import import_history
from steadyset.verdict import Judgement

# model -> (importer, checker, its parameters). Histories from elsewhere are judged as they are, hence the low minima.
MODELS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "register": ("register", "linearizable-register", {}),
    "cas-register": ("register", "linearizable-register", {}),
    "mutex": ("mutex", "mutex", {}),
    "set": ("set", "set-durability", {"any_read_is_final": True}),
    "set-full": ("set", "linearizable-set", {}),
    "queue": ("queue", "fifo-queue", {}),
    "log": ("log", "durable-log", {}),
    "counter": ("counter", "counter", {"reads_min": 0}),
    "list-append": ("list-append", "list-append", {}),
    "bank": ("bank", "bank", {}),
}
SEARCHING: Final = ("linearizable-register", "mutex", "fifo-queue", "counter")
COLOURS: Final = {"PASS": "green", "FAIL": "red", "INVALID": "yellow", "ERROR": "magenta"}


@contextlib.contextmanager
def _progress(what: str, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; it appears only on a terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn(what), BarColumn(), TimeElapsedColumn(), console=console, transient=True, disable=not shown
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def judge_file(path: Path, model: str, budget_s: float | None = None) -> tuple[History, Judgement]:
    """Import `path` and judge it by `model`. Raises UsageError, naming the line, for input that is no history."""
    importer, rule, params = MODELS[model]
    shown = sys.stderr.isatty()
    with _progress(f"reading {path.name}", shown) as advance:
        history = import_history(path, importer, advance)
    if budget_s is not None and rule in SEARCHING:
        params = {**params, "search_budget_s": budget_s}
    checker: Checker = make_checker(rule, params)
    with _progress(f"judging {len(history)} ops", shown):
        return history, checker.check(history)


def _unknowns(data: dict[str, Any]) -> str:
    """How many of the ops of unknown outcome were explained, and by what."""
    by = ", ".join(f"{number:g} by {evidence}" for evidence, number in data["unknown_resolved_by"].items())
    share = f"{data['unknown_resolved_share']:.1%} resolved" + (f": {by}" if by else "")
    return f"unknown outcomes: {data['unknown']:g}, {share}"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "-m", required=True, type=click.Choice(list(MODELS)), help="What the history is of.")
@click.option("--json", "as_json", is_flag=True, help="Print the judgement as JSON on stdout.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the witness into this file.")
@click.option("--export", type=click.Path(path_type=Path, dir_okay=False), help="Write Jepsen EDN or JSON lines here.")
@click.option(
    "--search-budget-s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds a search may take.",
)
def command(
    file: Path, model: str, as_json: bool, svg: Path | None, export: Path | None, search_budget_s: float
) -> int:
    """Judge the history in FILE (-: standard input) against a model: Jepsen EDN, JSON, JSON lines, text log, or Arrow.

    Exits 0 when it PASSes, 1 when it FAILs, 2 when the input is bad (the line is named), 3 when it proves nothing.
    """
    if str(file) == "-":
        file = Path("/dev/stdin")
    if not file.exists():
        raise UsageError(f"no such file: {file}", expected="a history", do="see steadyset check --help")
    for output in (svg, export):
        if output is not None and not output.absolute().parent.is_dir():
            raise UsageError(f"cannot write {output}", expected="a folder that exists", seen=str(output.parent))
    if export is not None:
        check_suffix(export)
    history, judgement = judge_file(file, model, search_budget_s)
    if export is not None:
        export_history(history, export)
    if svg is not None:
        svg.write_text(witness_svg(judgement, times_known=history.times_known))
    if as_json:
        click.echo(msgspec.json.encode(judgement).decode())
    else:
        click.secho(judgement.verdict.value, fg=COLOURS[judgement.verdict.value], bold=True, nl=False)
        click.echo(f" {judgement.rule}: {judgement.summary}")
        for line in judgement.witness:
            click.echo(f"  {line}")
        counts = ", ".join(f"{name} {value:g}" for name, value in judgement.observed.items())
        click.echo(f"  observed: {counts}")
        if judgement.data.get("unknown"):
            click.echo(f"  {_unknowns(judgement.data)}")
    return judgement.verdict.exit_code
