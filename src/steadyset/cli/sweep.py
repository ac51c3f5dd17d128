"""steadyset sweep: undo what interrupted runs left behind."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from steadyset.chaos.sweep import Swept, sweep
from steadyset.clusterinfo import ClusterInfo, load_cluster_info
from steadyset.errors import UsageError
from steadyset.fixtures.clusters.embedded.paths import state_dir

NOT_CLEAN = 1


@click.command("sweep")
@click.option("--cluster", "cluster_file", type=click.Path(dir_okay=False), help="Cluster file of the cluster.")
@click.option("--name", help="Name of an embedded cluster (default: the only one there is).")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="A cluster that is not ours.")
@click.option("--namespace", default="", help="Namespace that holds the ledger on a cluster that is not ours.")
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and undo nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(
    cluster_file: str | None,
    name: str | None,
    kubeconfig: str | None,
    namespace: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Find and undo faults that an interrupted run left behind, and print what is not as it was found.

    Faults that are still in progress, also those of other runners, are left alone. Exit code 0 when everything is as it
    was found, 1 when something is not.
    """
    info = _cluster(cluster_file, name, kubeconfig)
    swept = sweep(info, dry_run=dry_run, namespace=namespace)
    if as_json:
        click.echo(msgspec.json.encode(swept))
    else:
        _print(swept, dry_run)
    return 0 if swept.is_clean() else NOT_CLEAN


def _cluster(cluster_file: str | None, name: str | None, kubeconfig: str | None) -> ClusterInfo:
    if sum(bool(given) for given in (cluster_file, name, kubeconfig)) > 1:
        raise UsageError("more than one cluster named", expected="one of --cluster, --name, --kubeconfig")
    if kubeconfig:
        if not Path(kubeconfig).is_file():
            raise UsageError(f"no kubeconfig at {kubeconfig}")
        return ClusterInfo(name="default", provider="kubeconfig", kubeconfig=str(Path(kubeconfig).resolve()))
    if cluster_file:
        return load_cluster_info(cluster_file)
    if name:
        return load_cluster_info(state_dir() / "clusters" / name / "cluster.json")
    known = sorted((state_dir() / "clusters").glob("*/cluster.json"))
    if len(known) == 1:
        return load_cluster_info(known[0])
    if not known and os.environ.get("KUBECONFIG"):
        return _cluster(None, None, os.environ["KUBECONFIG"])
    raise UsageError(
        "which cluster?",
        expected="--name X, --cluster FILE or --kubeconfig FILE",
        seen=", ".join(p.parent.name for p in known) or "no embedded cluster",
    )


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
