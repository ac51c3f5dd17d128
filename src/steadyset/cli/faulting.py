"""What the commands of `steadyset chaos` share: options, parameters, confirmation, and the run's folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from steadyset.chaos.abort import RUN_VARIABLE
from steadyset.chaos.blast import VARIABLE, limits, ours
from steadyset.chaos.fault import Fault
from steadyset.chaos.plan import Plan, make_plan
from steadyset.chaos.targets import with_seed
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.rundir import FaultSpan, RunDir, Scenario

Command = TypeVar("Command", bound=Callable[..., Any])

CAPS = (
    click.option("--max-pods", default="", metavar="SHARE", envvar=f"{VARIABLE}MAX_PODS",
                 help="Pods of a workload out of order at a time: minority (default), all, a count, N%."),
    click.option("--max-nodes", default="", metavar="SHARE", envvar=f"{VARIABLE}MAX_NODES",
                 help="Nodes out of order at a time: minority (default), all, a count, N%."),
    click.option("--confirm-uid", default="", metavar="UID", envvar=f"{VARIABLE}CONFIRM_UID",
                 help="UID of a cluster that is not ours, to confirm faults on it (doctor prints it)."),
)  # fmt: skip
AIM = (
    click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the target."),
    click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Parameter of the fault, as YAML."),
)
TARGET = click.option("--target", required=True,
                      help="A pod, node/NAME, or primary, replica, random, ordinal:N, majority, all.")  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
RUNS = click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True,
                    help="Folder below which the run's evidence is kept.")  # fmt: skip
YES = click.option("--yes", is_flag=True, help="Do not ask before the first fault.")


def with_options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Apply several click options, in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def read_params(params: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE pairs, values as YAML: planes=[peers], ttl_s=5, mode=sigkill. UsageError for anything else."""
    found = {}
    for each in params:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {each} is no NAME=VALUE", expected="--param mode=sigkill", seen=each)
        try:
            found[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--param {name}: {value} is no YAML: {error}") from None
    return found


def split(options: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The options that name a cluster, and the caps."""
    caps = {name: options.pop(name) for name in ("max_pods", "max_nodes", "confirm_uid")}
    return options, caps


def planned(
    info: ClusterInfo, fault: Fault, namespace: str, target: str, params: dict[str, Any], caps: dict[str, str]
) -> Plan:
    """The plan of one fault under those caps."""
    in_force(caps)
    return make_plan(info, fault, namespace, target, params)


def drawn(target: str) -> str:
    """The target with its draw fixed, where it is drawn: what is planned is then what is hit, and can be repeated."""
    return with_seed(target, new_seed())


def new_seed() -> int:
    """A seed for draws that were given none; it is printed, so that they can be repeated."""
    return int.from_bytes(os.urandom(3)) + 1


def in_force(caps: dict[str, str]) -> None:
    """Have the caps hold in this process and in the Chaos Toolkit that it starts; UsageError when one is no share."""
    os.environ.update({VARIABLE + name.upper(): value for name, value in caps.items() if value})
    limits()


def confirmed(info: ClusterInfo, caps: dict[str, str]) -> ClusterInfo:
    """The cluster, with what the user typed as its confirmation where it is not ours and a terminal is there to ask."""
    in_force(caps)
    if ours(info) or limits().confirm_uid or not sys.stdin.isatty():
        return info
    click.echo(f"cluster {info.name} at {info.api_server} is not ours; its UID is {info.uid}", err=True)
    caps["confirm_uid"] = click.prompt("type the UID to confirm that things may be broken in it", err=True)
    in_force(caps)
    return info


def ask(what: str, *, yes: bool) -> None:
    """On a terminal, ask whether to go on; Abort when not."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"{what}?", abort=True, err=True)


def new_run(runs: Path, title: str, namespace: str, params: dict[str, Any]) -> tuple[RunDir, Scenario]:
    """A run's folder with one scenario in it."""
    run_dir = RunDir.create(runs.resolve(), {"command": ["steadyset", *sys.argv[1:]], **params})
    os.environ[RUN_VARIABLE] = run_dir.path.name
    scenario = Scenario(
        slug="chaos",
        title=title,
        test_id="steadyset chaos",
        namespace=namespace,
        start_ns=time.monotonic_ns(),
        wall_start=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    run_dir.save(scenario)
    click.echo(f"run {run_dir.path}", err=True)
    return run_dir, scenario


def finish(run_dir: RunDir, scenario: Scenario, spans: list[FaultSpan]) -> None:
    """Save what the faults came to."""
    scenario.faults, scenario.end_ns = spans, time.monotonic_ns()
    scenario.outcome = "failed" if any(span.error for span in spans) else "passed"
    run_dir.save(scenario)
