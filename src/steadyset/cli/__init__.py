"""The command line. Each command is one module here; COMMANDS is the one place to add it."""

from __future__ import annotations

import importlib
import signal
import sys
import traceback

import click

from steadyset import __version__
from steadyset.errors import SteadysetError
from steadyset.verdict import Verdict

# name -> (module below steadyset.cli, one-line help). Modules are imported only when their command runs.
COMMANDS = {
    "nightly": ("nightly", "Deploy a stack, drive load, run the faults, judge the evidence, write the page."),
    "conformance": ("conformance", "Test every promise to stateful workloads, in parallel, over the whole history."),
    "explain": ("explain", "Print a promise: what it says, where it is made, which tests cover it."),
    "coverage": ("coverage", "List the promises with their tests and their verdicts on each Kubernetes version."),
    "cluster": ("cluster", "Bring up, take down and act on embedded Kubernetes clusters."),
    "agent": ("agent", "Let faults work the nodes of a cluster of yours: install, ask, remove the agent."),
    "images": ("images", "Build, load and push the images of the reference stacks."),
    "doctor": ("doctor", "Say what this machine or cluster lacks, and the command that fixes it."),
    "recheck": ("recheck", "Judge a saved run again, offline, with today's checkers."),
    "compare": ("compare", "Set two runs side by side: verdicts, recovery times, what changed."),
    "check": ("check", "Judge anyone's history (Jepsen EDN, JSON, text logs, Arrow) against a model."),
    "chaos": ("chaos", "Inject leased faults into a deployed workload: one, a schedule, or a nemesis."),
    "sweep": ("sweep", "Find and undo faults that an interrupted run left behind."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"steadyset.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


EPILOG = """\b
Start here:
  steadyset doctor                      what this machine lacks
  steadyset nightly --stack probe       a real cluster, a tiny workload, pod kills: under two minutes when warm
  steadyset nightly --stack postgresql  PostgreSQL with Patroni under kill, drain, detach and partition
  steadyset nightly --stack probe --kubeconfig ~/.kube/config   the same on a cluster of yours

\b
Exit codes: 0 PASS (or done), 1 FAIL, 2 bad input or usage, 3 INVALID or unknown,
4 ERROR (the instrument broke), 130 interrupted (healed and cleaned).
"""


@click.group(
    cls=_LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "STEADYSET"},
)
@click.version_option(__version__, prog_name="steadyset")
def cli() -> None:
    """Does this Kubernetes cluster keep its promises to stateful workloads while things break?

    steadyset deploys a stateful stack, drives Locust load, kills pods, drains nodes, detaches volumes and
    partitions the network, and judges the recorded evidence: stable identities, PVC retention, ordered recovery,
    no split brain, no acknowledged write lost.
    """


def main() -> None:
    """Entry point: maps expected errors to messages and exit codes. SIGTERM and SIGHUP interrupt as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except KeyboardInterrupt:
        click.secho("interrupted", fg="yellow", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    except SteadysetError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        code = error.exit_code
    except Exception as error:  # a crash must not look like FAIL, which is 1
        traceback.print_exc()
        click.secho(f"error: steadyset itself broke: {type(error).__name__}: {error}", fg="red", err=True)
        code = Verdict.ERROR.exit_code
    sys.exit(code or 0)
