"""`steadyset chaos schedule` and `chaos nemesis`: many faults in time, against a workload that is deployed already."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from steadyset.chaos.faults import fault_named
from steadyset.chaos.kube import Kube
from steadyset.chaos.nemesis import Carried, Nemesis
from steadyset.chaos.schedule import HOLD_S, Schedule, Step, endless, random_schedule, read_schedule
from steadyset.chaos.targets import NODE_PREFIX
from steadyset.cli.faulting import (
    CAPS,
    JSON,
    RUNS,
    YES,
    ask,
    confirmed,
    finish,
    new_run,
    new_seed,
    planned,
    split,
    with_options,
)
from steadyset.cli.which import cluster_options, find_cluster
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError
from steadyset.names import names_in

DRAW = (
    click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the targets."),
    click.option("--faults", default="pod-kill", show_default=True, help="Comma-separated faults to draw from."),
    click.option("--targets", default="", help="Comma-separated pods or node/NAME (default: pods of StatefulSets)."),
    click.option("--per-minute", type=click.FloatRange(min=0, min_open=True), default=4.0, show_default=True,
                 help="Faults a minute, on average."),
    click.option("--hold", "hold_s", type=(float, float), default=HOLD_S, show_default=True, metavar="FROM TO",
                 help="Seconds to hold each."),
    click.option("--seed", type=int, default=0, help="Seed of every draw; drawn and printed by default."),
    click.option("--plan", "only_plan", is_flag=True, help="Print the schedule and what its faults would hit; stop."),
)  # fmt: skip
PLANNED_MAX = 20  # steps of a nemesis that --plan prints


@click.command("schedule")
@with_options(*DRAW)
@click.option("--for", "duration_s", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True,
              metavar="SECONDS", help="No fault begins later.")  # fmt: skip
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Carry out this schedule (JSON, as a run saves it) instead of drawing one.")  # fmt: skip
@YES
@RUNS
@cluster_options
@with_options(*CAPS)
@JSON
def schedule_(
    *, namespace: str, seed: int, duration_s: float, file: Path | None, only_plan: bool, yes: bool, runs: Path,
    as_json: bool, **options: Any,
) -> int:  # fmt: skip
    """Carry out a schedule of faults that a seed reproduces exactly, or one from a file.

    A drawn schedule skips what may not be begun when its time has come, and says so; one from a file must be carried
    out completely. The schedule is printed first, and kept in the run as journals/chaos.schedule.json.
    """
    which, caps = split(options)
    draw = _draw_options(which)
    info = confirmed(find_cluster(**which), caps)
    if file is not None:
        made = read_schedule(file.read_bytes())
    else:
        seed = seed or new_seed()
        made = random_schedule(
            seed, targets=_targets(info, namespace, draw.pop("targets")), duration_s=duration_s, **draw
        )
    click.echo("\n".join(made.lines()), err=True)
    if only_plan:
        return _print_plan(info, namespace, made.steps, made, caps, as_json=as_json)
    ask(f"inject {len(made.steps)} faults in {namespace}", yes=yes)
    return _carry_out(info, namespace, made.steps, made.seed, runs, strict=file is not None, as_json=as_json)


@click.command("nemesis")
@with_options(*DRAW)
@click.option("--for", "duration_s", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
              help="End after this; by default only Ctrl-C (or an abort) ends it.")  # fmt: skip
@YES
@RUNS
@cluster_options
@with_options(*CAPS)
@JSON
def nemesis_(
    *, namespace: str, seed: int, duration_s: float, only_plan: bool, yes: bool, runs: Path, as_json: bool,
    **options: Any,
) -> int:  # fmt: skip
    """Keep faults going at a rate, within the blast radius, until Ctrl-C or --for.

    What would go beyond the caps when its time has come is skipped and counted. Ctrl-C heals what is held and ends with
    0: that is how a nemesis without --for is meant to end.
    """
    which, caps = split(options)
    draw = _draw_options(which)
    info = confirmed(find_cluster(**which), caps)
    seed = seed or new_seed()
    steps = endless(seed, targets=_targets(info, namespace, draw.pop("targets")), **draw)
    click.echo(f"nemesis: seed {seed}, {draw['per_minute']:g} faults a minute of {', '.join(draw['faults'])}", err=True)
    if only_plan:
        first = tuple(step for _, step in zip(range(PLANNED_MAX), steps, strict=False))
        made = Schedule(steps=first, seed=seed)
        click.echo("\n".join(made.lines()), err=True)
        return _print_plan(info, namespace, first, made, caps, as_json=as_json)
    ask(f"keep injecting faults in {namespace}", yes=yes)
    limit = duration_s or float("inf")
    return _carry_out(info, namespace, _until(steps, limit), seed, runs, strict=False, as_json=as_json)


def _until(steps: Iterator[Step], end_s: float) -> Iterator[Step]:
    for step in steps:
        if step.at_s >= end_s:
            return
        yield step


def _draw_options(options: dict[str, Any]) -> dict[str, Any]:
    """What `random_schedule` and `endless` take, out of the command's options."""
    faults = names_in(options.pop("faults"))
    return {
        "faults": [fault_named(name).name for name in faults],
        "targets": options.pop("targets"),
        "per_minute": options.pop("per_minute"),
        "hold_s": options.pop("hold_s"),
    }


def _targets(info: ClusterInfo, namespace: str, given: str) -> list[str]:
    """Those given, which must exist, or the pods of the namespace's StatefulSets; sorted, so that a seed repeats."""
    kube = Kube(info)
    names = names_in(given)
    for name in names:
        if name.startswith(NODE_PREFIX):
            kube.node(name.removeprefix(NODE_PREFIX))
        elif "/" not in name and ":" not in name and "-" in name:
            kube.need_pod(namespace, name)
    if names:
        return names
    owned = [
        pod["metadata"]["name"]
        for pod in kube.pods(namespace)
        if any(o["kind"] == "StatefulSet" for o in pod["metadata"].get("ownerReferences", []))
    ]
    if not owned:
        raise UsageError(f"namespace {namespace} has no pods of a StatefulSet to aim at", do="--targets POD,POD")
    return sorted(owned)


def _print_plan(
    info: ClusterInfo, namespace: str, steps: Sequence[Step], made: Schedule, caps: dict[str, str], *, as_json: bool
) -> int:
    """What each fault and target of the schedule would hit, by itself, at this moment."""
    kinds = {(step.fault, step.target): step for step in steps}
    plans = [planned(info, fault_named(f), namespace, t, dict(step.params), caps) for (f, t), step in kinds.items()]
    if as_json:
        both = {"schedule": made, "plans": plans}
        click.echo(msgspec.json.format(msgspec.json.encode(both), indent=1))
    else:
        for plan in plans:
            click.echo("\n".join(["", *plan.lines()]))
    return 0


def _carry_out(
    info: ClusterInfo, namespace: str, steps: Any, seed: int, runs: Path, *, strict: bool, as_json: bool
) -> int:
    run_dir, scenario = new_run(runs, f"faults in {namespace}", namespace, {"seed": seed})
    nemesis = Nemesis(info, run_dir, scenario.slug, namespace, say=lambda line: click.echo(line, err=True))
    first = threading.Event()

    def interrupt(_number: int, _frame: object) -> None:
        """The first Ctrl-C ends the schedule, and what is held heals; a second one is the user's last word."""
        if first.is_set():
            raise KeyboardInterrupt
        first.set()
        nemesis.ended.set()
        click.echo("ending: healing what is held", err=True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        carried = nemesis.carry_out(steps, seed)
    finally:
        signal.signal(signal.SIGINT, before)
        finish(run_dir, scenario, nemesis.carried.spans)
    _show(carried, str(run_dir.path), as_json=as_json)
    if problem := carried.problem(strict=strict and not first.is_set()):
        raise InvalidError(problem, do=f"read {run_dir.path / 'journals'}")
    return 0


def _show(carried: Carried, path: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"run": path, "carried": carried}), indent=1))
        return
    click.echo(f"seed {carried.seed}: {len(carried.done)} faults begun, {len(carried.skipped)} skipped")
    for skipped in carried.skipped:
        click.echo(f"  skipped at {skipped.step.at_s:.1f} s: {skipped.step.fault} on {skipped.step.target}: "
                   f"{skipped.why.splitlines()[0]}")  # fmt: skip
    click.echo(f"evidence: {path}")
