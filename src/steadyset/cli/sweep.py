"""steadyset sweep: undo what interrupted runs left behind."""

from __future__ import annotations

import click
import msgspec

from steadyset.chaos.sweep import Swept, sweep
from steadyset.cli.which import cluster_options, find_cluster
from steadyset.clusterinfo import ClusterInfo

NOT_CLEAN = 1


@click.command("sweep")
@cluster_options
@click.option("--namespace", default="", help="Namespace that holds the ledger on a cluster that is not ours.")
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and undo nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(namespace: str, dry_run: bool, as_json: bool, **which: str) -> int:
    """Find and undo faults that an interrupted run left behind, and print what is not as it was found.

    Faults that are still in progress, also those of other runners, are left alone. On a cluster that is not ours the
    ledgers of every stack's namespace are looked at, or that of --namespace. Exit code 0 when everything is as it was
    found, 1 when something is not.
    """
    info = find_cluster(**which)
    swept = sweep(info, dry_run=dry_run, namespace=namespace, namespaces=[] if namespace else _stacks(info))
    if as_json:
        click.echo(msgspec.json.encode(swept))
    else:
        _print(swept, dry_run)
    return 0 if swept.is_clean() else NOT_CLEAN


def _stacks(info: ClusterInfo) -> list[str]:
    """The reference stacks' namespaces on a cluster that is not ours: its ledger lies where the targets are."""
    from steadyset.chaos.blast import ours
    from steadyset.fixtures.clusters.kubeconfig import stack_namespaces

    return [] if ours(info) else stack_namespaces()


def _print(swept: Swept, dry_run: bool) -> None:
    for title, lines in (
        ("in progress, left alone", swept.alive),
        ("would undo" if dry_run else "undone", swept.undone),
        ("not undone", swept.failed),
        ("left, not as found", swept.left),
    ):
        for line in lines:
            click.echo(f"{title}: {line}")
    if swept.is_clean():
        click.echo("everything is as it was found" if not dry_run else "nothing is left but what is listed above")
