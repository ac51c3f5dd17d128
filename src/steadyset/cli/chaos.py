"""`steadyset chaos`: single faults, schedules and a nemesis against a workload that is deployed already."""

from __future__ import annotations

import getpass
import inspect
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from steadyset.chaos.abort import resume, stop_all
from steadyset.chaos.fault import RENEW_S, Fault
from steadyset.chaos.faults import FAULTS, fault_named
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import ClusterLedger, HostLedger
from steadyset.chaos.plan import Plan, params_of
from steadyset.chaos.runner import FaultError, inject
from steadyset.cli.chaos_schedule import nemesis_, schedule_
from steadyset.cli.faulting import (
    AIM,
    CAPS,
    JSON,
    RUNS,
    TARGET,
    YES,
    ask,
    confirmed,
    drawn,
    finish,
    new_run,
    planned,
    read_params,
    split,
    with_options,
)
from steadyset.cli.progress import Bar
from steadyset.cli.which import cluster_options, find_cluster
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import DeadlineError, SteadysetError, UsageError
from steadyset.rundir import FaultSpan, RunDir, Scenario
from steadyset.verdict import Verdict
from steadyset.wait import pause, wait_for

HOLD_DEFAULT_S = 30.0
HOLD_POLL_S = 0.25
ABORT_DEADLINE_S = 120.0  # chaos_abort: until every live fault has healed
REFUSED = Verdict.INVALID.exit_code

EPILOG = """\b
  steadyset chaos list                                     every fault, and whether this cluster can
  steadyset chaos plan pod-kill --target db-0 -n shop      what it would hit; changes nothing
  steadyset chaos run network-partition --target db-0 -n shop --hold 20
  steadyset chaos run node-drain --target db-0 -n shop --kubeconfig ~/.kube/config --confirm-uid UID
  steadyset chaos schedule -n shop --faults pod-kill,pod-freeze --for 300 --per-minute 4 --seed 7
  steadyset chaos abort --reason 'the pager went off'      any observer may; so may kubectl, see --help

\b
Namespaces opt in:  kubectl label namespace shop steadyset.dev/chaos=allowed
(and so do nodes of clusters that are not ours, for faults of nodes).
Caps: --max-pods and --max-nodes, STEADYSET_CHAOS_MAX_PODS and _MAX_NODES, or in steadyset.toml:
  [chaos]
  max-pods = "minority"    # or "all", a count, "50%"
"""


@click.group("chaos", epilog=EPILOG)
def command() -> None:
    """Inject leased faults into a workload, one or many, and see that they bit and healed.

    Every fault heals by itself when its runner dies, and is refused before anything is done when it would go beyond
    the blast radius: namespaces opt in, and at most a minority of a workload's pods and of the nodes is hit at a time.
    Exit codes: 0 bitten and healed, 2 refused, 3 did not bite or heal, or aborted, 130 interrupted (healed).
    """


@command.command("list")
@cluster_options
@JSON
def list_(as_json: bool, **which: str) -> None:
    """List the faults: how each ends, what it needs, and whether this cluster can."""
    info = _cluster_or_none(**which)
    rows = [_row(fault, info) for fault in FAULTS]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("fault", "aimed at", "ends by", "needs", info.name if info else "this cluster", "what it does"):
        table.add_column(title, overflow="fold", no_wrap=title == "fault")
    for row in rows:
        needs = ", ".join(row["capabilities"]) or "a kubeconfig"
        can = {True: "yes", False: "no: not tested", None: "?"}[row["can"]]
        table.add_row(row["fault"], row["target"], row["lease"], needs, can, row["summary"])
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def _cluster_or_none(**which: str) -> ClusterInfo | None:
    try:
        return find_cluster(**which)
    except UsageError:
        if any(which.values()):
            raise
        return None


def _row(fault: Fault, info: ClusterInfo | None) -> dict[str, Any]:
    return {
        "fault": fault.name,
        "target": fault.target,
        "lease": fault.lease.value,
        "capabilities": list(fault.capabilities),
        "can": all(info.can(c) for c in fault.capabilities) if info else None,
        "summary": fault.summary,
        "parameters": {
            name: None if p.default is inspect.Parameter.empty else p.default for name, p in params_of(fault).items()
        },
        "deadlines": fault.deadlines,
    }


@command.command("plan")
@click.argument("fault")
@TARGET
@with_options(*AIM)
@cluster_options
@with_options(*CAPS)
@JSON
def plan_(fault: str, target: str, namespace: str, params: tuple[str, ...], as_json: bool, **options: str) -> int:
    """Print what FAULT would hit, and what would be left of the workload. Changes nothing.

    Exit code 0 when it may be begun, 3 when it would be refused.
    """
    which, caps = split(options)
    plan = planned(find_cluster(**which), fault_named(fault), namespace, drawn(target), read_params(params), caps)
    return show_plan(plan, as_json=as_json)


def show_plan(plan: Plan, *, as_json: bool) -> int:
    """The plan on stdout; the exit code of `chaos plan`."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(plan), indent=1))
    else:
        click.echo("\n".join(plan.lines()))
    return REFUSED if plan.refused else 0


@command.command("run")
@click.argument("fault")
@TARGET
@with_options(*AIM)
@click.option("--hold", "hold_s", type=click.FloatRange(min=0), default=HOLD_DEFAULT_S, show_default=True,
              help="Seconds to hold the fault once its bite is proven.")  # fmt: skip
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan and stop: the same as `chaos plan`.")
@YES
@RUNS
@cluster_options
@with_options(*CAPS)
@JSON
def run_(
    fault: str,
    target: str,
    namespace: str,
    params: tuple[str, ...],
    hold_s: float,
    only_plan: bool,
    yes: bool,
    runs: Path,
    as_json: bool,
    **options: str,
) -> int:
    """Inject FAULT, prove that it bit, hold it, heal it, and prove that it healed.

    The plan is printed first, on stderr; on a terminal you are asked. Ctrl-C heals at once. The Chaos Toolkit journal
    is kept below --runs.
    """
    which, caps = split(options)
    chosen, given, target = fault_named(fault), read_params(params), drawn(target)
    info = find_cluster(**which)
    if only_plan:
        return show_plan(planned(info, chosen, namespace, target, given, caps), as_json=as_json)
    info = confirmed(info, caps)
    plan = planned(info, chosen, namespace, target, given, caps)
    click.echo("\n".join(plan.lines()), err=True)
    if plan.refused:
        raise UsageError(f"{fault} is refused; nothing was done", do="see the plan above")
    ask(f"inject {fault} on {namespace}/{target}", yes=yes)
    run_dir, scenario = new_run(runs, f"{fault} on {namespace}/{target}", namespace, {"fault": fault, "params": given})
    code = _inject(info, run_dir, scenario, chosen, target, hold_s, given, caps)
    if as_json:
        click.echo(json.dumps({"run": str(run_dir.path), "fault": msgspec.to_builtins(scenario.faults[0])}, indent=1))
    return code


def _inject(
    info: ClusterInfo,
    run_dir: RunDir,
    scenario: Scenario,
    fault: Fault,
    target: str,
    hold_s: float,
    params: dict[str, Any],
    caps: dict[str, str],
) -> int:
    """Hold the fault with progress; the span is saved whatever happens. Returns the exit code."""
    params = {**params, "max_pods": caps["max_pods"], "max_nodes": caps["max_nodes"]}
    span = FaultSpan(fault=fault.name, target=target)
    try:
        with Bar() as bar:
            bar(f"injecting {fault}", 0, 0)
            with inject(info, run_dir, scenario.slug, fault, target, namespace=scenario.namespace, **params) as span:
                _say_bite(span)
                _hold(bar, run_dir, span, hold_s)
                bar(f"healing {fault}", 0, 0)
    except FaultError as error:
        span = error.span
        raise
    except SteadysetError as error:
        span.error = span.error or str(error)
        raise
    except KeyboardInterrupt:
        click.echo("interrupted: healed", err=True)
        raise
    finally:
        finish(run_dir, scenario, [span])
    healed_s = (span.healed_ns - span.heal_ns) / 1e9
    click.echo(f"{fault} healed after {healed_s:.2f} s: {'; '.join(span.healing)}", err=True)
    click.echo(f"evidence: {run_dir.path}", err=True)
    return 0


def _say_bite(span: FaultSpan) -> None:
    bitten_s = (span.bitten_ns - span.inject_ns) / 1e9
    click.echo(f"{span.fault} bit after {bitten_s:.2f} s: {'; '.join(span.bite)}", err=True)


def _hold(bar: Bar, run_dir: RunDir, span: FaultSpan, hold_s: float) -> None:
    """Until the time is over, or the experiment has ended by itself: an observer aborted it."""
    began = time.monotonic()
    while (held := time.monotonic() - began) < hold_s and not (run_dir.path / span.journal).exists():
        bar(f"holding {span.fault}", held, hold_s)
        pause(min(HOLD_POLL_S, hold_s - held))


@command.command("abort")
@with_options(AIM[0])
@click.option("--run", "runs", multiple=True, metavar="RUN", help="Only the faults of this run (its folder's name).")
@click.option("--fault", "records", multiple=True, metavar="ID", help="Only this fault: its ID as `sweep` prints it.")
@click.option("--reason", default="", help="Why; the aborted run says so.")
@cluster_options
@JSON
def abort_(
    namespace: str, runs: tuple[str, ...], records: tuple[str, ...], reason: str, as_json: bool, **which: str
) -> int:
    """Heal every live fault now, and let none be begun until `steadyset chaos resume`.

    Any observer may do the same with kubectl alone: in the namespace steadyset-system (on a cluster that is not ours:
    in the target's own), make the ConfigMap steadyset-abort, or delete the ConfigMap steadyset-fault-… of one fault.
    Live faults heal within a renewal period, and their run ends INVALID with the reason.
    """
    info, by = find_cluster(**which), f"{getpass.getuser()}@{platform.node()}"
    if records:
        aborted = _abort_records(info, namespace, records, reason)
    else:
        aborted = [r.id for r in _live(info, namespace) if not runs or r.run in runs]
        for where in stop_all(info, namespace, reason=reason, by=by, runs=list(runs)):
            click.echo(f"stopped: {where}", err=True)
        begun = [r.id for r in _live(info, namespace) if not runs or r.run in runs]
        aborted += [each for each in begun if each not in aborted]
    with Bar() as bar:
        healed = _wait_healed(info, namespace, aborted, bar)
    if as_json:
        click.echo(json.dumps({"aborted": aborted, "healed": healed}, indent=1))
    else:
        for each in aborted:
            click.echo(f"{'healed' if each in healed else 'NOT HEALED'}: {each}")
        click.echo(
            f"{len(aborted)} live faults aborted" + ("" if records else "; none is begun until: steadyset chaos resume")
        )
    return 0 if len(healed) == len(aborted) else Verdict.FAIL.exit_code


def _live(info: ClusterInfo, namespace: str) -> list[Any]:
    found = {r.id: r for r in HostLedger(info).records()}
    try:
        found |= {r.id: r for r, _ in ClusterLedger(info, Kube(info), namespace).records()}
    except SteadysetError as error:
        click.echo(f"the cluster's ledger cannot be read: {error.message}", err=True)
    return list(found.values())


def _abort_records(info: ClusterInfo, namespace: str, records: tuple[str, ...], reason: str) -> list[str]:
    known = [r.id for r in _live(info, namespace)]
    if unknown := sorted(set(records) - set(known)):
        raise UsageError(f"no live fault {', '.join(unknown)}", expected=f"one of: {', '.join(known) or 'none'}")
    ledger = ClusterLedger(info, Kube(info), namespace)
    for each in records:
        ledger.abort(each, reason)
    return list(records)


def _wait_healed(info: ClusterInfo, namespace: str, aborted: list[str], bar: Bar) -> list[str]:
    """Those that are out of the ledgers within the deadline."""

    def healed() -> list[str]:
        live = {r.id for r in _live(info, namespace)}
        done = [each for each in aborted if each not in live]
        bar("healing", len(done), len(aborted))
        return done

    try:
        wait_for(
            lambda: len(healed()) == len(aborted),
            what="every live fault healed",
            deadline_name="chaos_abort",
            deadline_s=ABORT_DEADLINE_S,
            poll_s=RENEW_S / 4,
        )
    except DeadlineError:
        click.echo("not all healed: their watchdogs go on; steadyset sweep shows", err=True)
    return healed()


@command.command("resume")
@with_options(AIM[0])
@cluster_options
def resume_(namespace: str, **which: str) -> None:
    """Let faults be begun again after an abort."""
    stopped = resume(find_cluster(**which), namespace)
    click.echo("faults may be begun again" if stopped else "faults were not stopped")


command.add_command(schedule_)
command.add_command(nemesis_)
