"""`steadyset agent`: install, ask and remove what works the nodes of a cluster of yours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from steadyset.cli.progress import Bar
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

NOT_EVERYWHERE = 1


def _cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        click.option("--context", "kube_context", default="", help="Context of the kubeconfig."),
        click.option("--kubeconfig", default="", help="The cluster; $KUBECONFIG or ~/.kube/config by default."),
    ):
        function = option(function)
    return function


_confirm = click.option("--confirm-uid", default="", help="UID of the cluster, to confirm that you mean it.")


@click.group("agent")
def command() -> None:
    """Work the nodes of a cluster of yours: a small privileged pod on each, installed and removed by you.

    With it, faults that need a node's kernel (partitions, loss, freezing and killing processes, full and yanked
    volumes) work by a kubeconfig alone. Embedded clusters need none. The image comes from your registry:

    \b
      steadyset images push agent --registry HOST/PATH
      steadyset agent install --kubeconfig FILE --registry HOST/PATH --confirm-uid UID
      steadyset nightly --kubeconfig FILE --confirm-uid UID ...
      steadyset agent remove --kubeconfig FILE --confirm-uid UID

    Only who may read the Secret steadyset-agent-token and reach the pods through the API server can command it.
    Faults in force end by themselves when the agent or whoever drives them dies.
    """


@command.command("install")
@_cluster_options
@_confirm
@click.option("--registry", default="", help="Registry prefix of our images (see: steadyset images push).")
@click.option("--pull-secret", default="", help="Image pull secret, as name or namespace/name.")
def install_(
    *, kubeconfig: str, kube_context: str, confirm_uid: str, registry: str, pull_secret: str, as_json: bool
) -> int:
    """Install or update the agent, and wait until it answers on every schedulable node. Safe to repeat."""
    from steadyset.fixtures import agent

    info = _confirmed(kubeconfig, kube_context, confirm_uid, "privileged pods will run on its nodes")
    with Bar() as progress:
        found = agent.install(info, progress, registry=registry, pull_secret=pull_secret)
    return _show(info, found, as_json)


@command.command()
@_cluster_options
def status(*, kubeconfig: str, kube_context: str, as_json: bool) -> int:
    """Show the agent of every node. Exit 0 when each schedulable node's answers, else 1."""
    from steadyset.fixtures import agent
    from steadyset.fixtures.clusters.kubeconfig import look_at

    info = look_at(kubeconfig, context=kube_context)
    return _show(info, agent.status(info), as_json)


@command.command()
@_cluster_options
@_confirm
def remove(*, kubeconfig: str, kube_context: str, confirm_uid: str, as_json: bool) -> int:
    """Remove the agent and its namespace, and wait until nothing of it is left. Safe to repeat."""
    from steadyset.fixtures import agent

    info = _confirmed(kubeconfig, kube_context, confirm_uid, "the agent will be removed from it")
    with Bar() as progress:
        removed = agent.remove(info, progress)
    if as_json:
        click.echo(msgspec.json.encode({"cluster": info.name, "removed": removed}))
    else:
        click.echo("the agent is removed" if removed else "there was no agent", err=True)
    return 0


def _confirmed(kubeconfig: str, context: str, confirm_uid: str, what: str) -> ClusterInfo:
    from steadyset.fixtures.clusters.kubeconfig import look_at

    info = look_at(kubeconfig, context=context)
    if confirm_uid != info.uid:
        raise UsageError(
            f"cluster {info.name} is not confirmed: {what}",
            expected=f"its UID as --confirm-uid: {info.uid}",
            seen=confirm_uid or "nothing",
            do=f"if this is the cluster you mean, add: --confirm-uid {info.uid}",
        )
    return info


def _show(info: ClusterInfo, found: list[Any], as_json: bool) -> int:
    from steadyset.fixtures.agent import offers

    added = offers(found)
    if as_json:
        click.echo(msgspec.json.encode({"cluster": info.name, "capabilities": added, "nodes": found}))
    else:
        for each in found:
            state = f"answers: kernel {each.kernel}, cgroup {each.cgroup}" if each.answers else each.why
            click.secho(f"{each.node:<26} {state}", fg=None if each.answers or not each.schedulable else "red")
            for lease in each.leases:
                click.echo(f"{'':<26} in force: {lease}")
        click.echo(f"cluster {info.name} offers: {', '.join(added) or 'nothing by the agent'}")
    return 0 if added else NOT_EVERYWHERE
