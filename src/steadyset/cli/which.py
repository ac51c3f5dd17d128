"""Which cluster a command is about: an embedded one by name, a cluster file, or a kubeconfig."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from steadyset.clusterinfo import ClusterInfo, load_cluster_info, save_cluster_info
from steadyset.errors import SteadysetError, UsageError
from steadyset.fixtures.clusters.embedded.paths import state_dir

Command = TypeVar("Command", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--cluster", "cluster_file", default="", metavar="FILE", help="Cluster file of the cluster."),
    click.option("--name", default="", help="Name of an embedded cluster (default: the only one there is)."),
    click.option("--kubeconfig", default="", metavar="FILE", help="A cluster that is not ours."),
    click.option("--context", "kube_context", default="", help="Context of the kubeconfig."),
)


def cluster_options(command: Command) -> Command:
    """The options that `find_cluster` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def find_cluster(cluster_file: str = "", name: str = "", kubeconfig: str = "", kube_context: str = "") -> ClusterInfo:
    """The cluster that those options name, else the only embedded one, else that of $KUBECONFIG.

    UsageError when several are named, when there is none, or when the kubeconfig's does not answer.
    """
    if sum(bool(given) for given in (cluster_file, name, kubeconfig or kube_context)) > 1:
        raise UsageError("more than one cluster named", expected="one of --cluster, --name, --kubeconfig")
    if kubeconfig or kube_context:
        return foreign_cluster(kubeconfig, kube_context)
    if cluster_file:
        return load_cluster_info(cluster_file)
    if name:
        return load_cluster_info(state_dir() / "clusters" / name / "cluster.json")
    known = sorted((state_dir() / "clusters").glob("*/cluster.json"))
    if len(known) == 1:
        return load_cluster_info(known[0])
    if not known and os.environ.get("KUBECONFIG"):
        return foreign_cluster(os.environ["KUBECONFIG"])
    raise UsageError(
        "which cluster?",
        expected="--name X, --cluster FILE or --kubeconfig FILE",
        seen=", ".join(p.parent.name for p in known) or "no embedded cluster",
        do="steadyset cluster up, for one on this machine",
    )


def foreign_cluster(kubeconfig: str, context: str = "") -> ClusterInfo:
    """A cluster that is not ours, as far as its API tells; its ledger lies where `nightly` keeps it too.

    UsageError when it does not answer. It is not confirmed by this.
    """
    from steadyset.fixtures.api import connect
    from steadyset.fixtures.clusters import kubeconfig as provider

    info = provider.look_at(kubeconfig, context=context)
    folder = provider.state_folder(info.uid)
    try:
        info.storage_class = provider.choose_storage_class(connect(info), "")
        info.capabilities = ["volume-attach"] if provider.attaches_volumes(connect(info), info.storage_class) else []
    except SteadysetError:
        info.storage_class, info.capabilities = "", []  # faults on volumes are then not offered
    folder.mkdir(parents=True, exist_ok=True)
    save_cluster_info(info, folder / "kubeconfig.json")  # not cluster.json, which a nightly may be using
    return info
