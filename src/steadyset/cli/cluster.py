"""`steadyset cluster`: embedded Kubernetes clusters on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from steadyset.cli import images
from steadyset.cli.progress import Bar
from steadyset.fixtures.clusters.embedded import daemons, operations
from steadyset.fixtures.clusters.embedded.cluster import (
    DEFAULT_PROFILE,
    NODES,
    NODES_MAX,
    PROFILES,
    Cluster,
    down,
    ensure_up,
)
from steadyset.fixtures.clusters.embedded.components import DEFAULT_VERSION

_name = click.option("--name", default="default", show_default=True, help="The cluster's name.")


@click.group()
def command() -> None:
    """Bring up, take down and act on real Kubernetes clusters on this machine: no Docker, no registry.

    \b
      steadyset cluster up                        three nodes of Kubernetes 1.35.4 (compiled on first use)
      export KUBECONFIG=$(steadyset cluster kubeconfig)
      steadyset cluster exec node-1 -- ps aux     run a command inside a node
      steadyset cluster node off node-2           pull its plug
      steadyset cluster down                      leave nothing behind
    """


@command.command()
@_name
@click.option(
    "--nodes", default=None, show_default=str(NODES), type=click.IntRange(1, NODES_MAX), help="How many nodes."
)
@click.option(
    "--version", default=None, show_default=DEFAULT_VERSION, help="Kubernetes version, compiled on first use."
)
@click.option("--profile", default=None, show_default=DEFAULT_PROFILE, type=click.Choice(PROFILES),
              help="upstream: every timing as shipped; fast: short grace periods, for CI; beta: with features that "
              "Kubernetes ships switched off (maxUnavailable of StatefulSets).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the cluster's description as JSON on stdout.")
def up(name: str, nodes: int | None, version: str | None, profile: str | None, as_json: bool) -> None:
    """Bring a cluster up, or complete one that is half up. Safe to repeat: what is not given stays as it is."""
    with Bar() as progress:
        info = ensure_up(name, nodes or 0, version or "", profile or "", progress)
    if as_json:
        click.echo(Path(info.path).read_text())
        return
    click.echo(
        f"cluster {name}: Kubernetes {info.version}, {len(info.nodes)} nodes, API server {info.api_server}", err=True
    )
    click.echo(f"use it: export KUBECONFIG={info.kubeconfig}", err=True)


@command.command("down")
@_name
@click.option("--all", "everything", is_flag=True, help="Every cluster of this machine.")
def down_(name: str, everything: bool) -> None:
    """Remove a cluster with everything of it. Safe to repeat."""
    for each in [c.spec.name for c in Cluster.all()] if everything else [name]:
        click.echo(f"cluster {each}: {'removed' if down(each) else 'there was none'}", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def list_(as_json: bool) -> None:
    """List the clusters of this machine."""
    rows = [operations.summary(cluster) for cluster in Cluster.all()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(
            f"{row['name']:<16} {row['version']:<8} {row['profile']:<9} {row['state']:<8} {len(row['nodes'])} nodes"
        )
    if not rows:
        click.echo("no clusters; make one with: steadyset cluster up", err=True)


@command.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def status(name: str, as_json: bool) -> None:
    """Show what of a cluster runs: control plane, nodes, memory. Exit 0 when all of it does, else 1."""
    row = operations.summary(Cluster.get(name))
    if as_json:
        click.echo(json.dumps(row))
    else:
        click.echo(f"cluster {row['name']}: {row['state']}, Kubernetes {row['version']}, profile {row['profile']}")
        for part, state in row["components"].items():
            click.secho(f"  {part:<26} {state}", fg=None if state == "running" else "red")
        for node, state in row["nodes"].items():
            click.secho(f"  {node:<26} {state}", fg=None if state == "on" else "red")
        click.echo(f"  resident memory            {row['resident_mb']:.0f} MB")
    sys.exit(0 if row["state"] == "up" else 1)


@command.command()
@_name
def kubeconfig(name: str) -> None:
    """Print the path of the administrator's kubeconfig."""
    click.echo(Cluster.get(name).certificates().admin())


@command.command("exec", context_settings={"ignore_unknown_options": True})
@_name
@click.argument("node")
@click.argument("cmd", nargs=-1, required=True)
def exec_(name: str, node: str, cmd: tuple[str, ...]) -> None:
    """Run CMD inside NODE, or inside the load's namespace when NODE is `client`."""
    sys.exit(subprocess.run(operations.command_in(Cluster.get(name), node, list(cmd)), check=False).returncode)


@command.group()
def node() -> None:
    """Power, freeze and cut nodes, or add one."""


def _verb(group: click.Group, verb: str, help_: str, metavar: str, act: Callable[[str, str, str], None]) -> None:
    """Add a command that does `act(cluster, verb, target)`."""

    @group.command(verb, help=help_)
    @_name
    @click.argument("target", metavar=metavar)
    def run(name: str, target: str) -> None:
        act(name, verb, target)
        click.echo(f"{target}: {verb}", err=True)


for _action, _text in operations.ACTIONS.items():
    _verb(node, _action, _text, "NODE", operations.act)


@node.command()
@_name
@click.argument("node_name", metavar="NODE", required=False, default="")
def join(name: str, node_name: str) -> None:
    """Add a node; NODE is its name (node-4 after node-3), by default the next one."""
    joined = operations.join(name, node_name)
    click.echo(f"{joined}: joined", err=True)


@command.group()
def daemon() -> None:
    """Stop and start one daemon: etcd, kube-apiserver, kube-scheduler, node-2-kubelet, node-2-containerd, …"""


for _action, _text in daemons.VERBS.items():
    _verb(daemon, _action, _text, "DAEMON", daemons.switch)


command.add_command(images.command)
