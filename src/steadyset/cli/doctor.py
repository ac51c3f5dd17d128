"""`steadyset doctor`: what this machine or a cluster of yours lacks, and the command that fixes it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import click
import msgspec

from steadyset.errors import SteadysetError
from steadyset.fixtures.clusters.preflight import APT, Finding, check_machine, missing
from steadyset.fixtures.stacks import make_stack

LACKING = 3


@click.command("doctor")
@click.option("--kubeconfig", default="", help="Look at this cluster instead of this machine.")
@click.option("--context", "kube_context", default="", help="Context of the kubeconfig.")
@click.option("--storage-class", default="", help="StorageClass that the stacks' claims would ask for.")
@click.option("--stack", default="", help="Also what only the build of this stack's images needs.")
@click.option("--fix", is_flag=True, help="Run the commands that bring what is missing, then look again.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def command(*, kubeconfig: str, kube_context: str, storage_class: str, stack: str, fix: bool, as_json: bool) -> int:
    """Say what this machine or cluster lacks, and the command that fixes it.

    Every requirement is probed by doing it. Exit code 0 when nothing required is missing, 3 otherwise.
    """

    images = make_stack(stack).own_images() if stack else []

    def look() -> list[Finding]:
        if kubeconfig or kube_context:
            return check_cluster(kubeconfig, kube_context, storage_class)
        return check_machine(images=images)

    findings = look()
    if fix and repair(findings):
        findings = look()
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(findings), indent=1))
    else:
        show(findings)
    return LACKING if missing(findings) else 0


def check_cluster(kubeconfig: str, context: str, storage_class: str) -> list[Finding]:
    """What a foreign cluster offers: reachability, version, storage, rights, nodes."""
    from steadyset.fixtures import agent
    from steadyset.fixtures.api import connect
    from steadyset.fixtures.clusters import kubeconfig as provider

    findings: list[Finding] = []

    def failed(name: str, error: SteadysetError) -> Finding:
        return Finding(
            name=name,
            ok=False,
            seen=error.message + (f": {error.seen}" if error.seen else ""),
            expected=error.expected,
            fix=error.do,
        )

    try:
        info = provider.look_at(kubeconfig, context=context)
    except SteadysetError as error:
        return [failed("cluster", error)]
    findings.append(Finding(name="cluster", ok=True, seen=f"{info.name} at {info.api_server}, UID {info.uid}"))
    findings.append(Finding(name="version", ok=True, seen=info.version))
    findings.append(
        Finding(
            name="nodes",
            ok=len(info.nodes) >= provider.NODES_MIN,
            seen=f"{len(info.nodes)}: {', '.join(node.name for node in info.nodes)}",
            expected=f"{provider.NODES_MIN}, so that a drained node's pods have somewhere to go",
            fix="add nodes",
            required=False,
        )
    )
    api = connect(info)
    try:
        chosen = provider.choose_storage_class(api, storage_class)
        findings.append(Finding(name="StorageClass", ok=True, seen=chosen))
        attaches = provider.attaches_volumes(api, chosen)
        findings.append(
            Finding(
                name="volume attachment",
                ok=attaches,
                seen="VolumeAttachment objects" if attaches else "its driver attaches nothing",
                expected="a CSI driver with attachRequired; without it detaching a volume is not tested",
                fix="--storage-class of such a driver",
                required=False,
            )
        )
    except SteadysetError as error:
        findings.append(failed("StorageClass", error))
    adds = agent.capabilities(info)
    findings.append(
        Finding(
            name="agent",
            ok=bool(adds),
            seen=f"adds {', '.join(adds)}" if adds else "none that answers on every schedulable node",
            expected="without it, faults inside a node's kernel (partitions, frozen pods, full disks) are not tested",
            fix=f"steadyset agent install --kubeconfig {info.kubeconfig} --confirm-uid {info.uid} --registry HOST/PATH",
            required=False,
        )
    )
    lacking = provider.rights_lacking(info)
    findings.append(
        Finding(
            name="rights",
            ok=not lacking,
            seen="not allowed: " + "; ".join(f"{right} ({right.why})" for right in lacking) if lacking else "all",
            expected=f"{len(provider.RIGHTS)} rights, as in docs/rbac.yaml",
            fix="kubectl apply -f docs/rbac.yaml, and use the account steadyset/steadyset that it makes",
        )
    )
    return findings


def repair(findings: list[Finding]) -> bool:
    """Run the fixes of what is missing, all Debian packages in one command; whether anything was run."""
    packages: list[str] = []
    commands: list[list[str]] = []
    for finding in findings:
        if finding.ok or not finding.argv:
            continue
        if finding.argv[: len(APT)] == APT:
            packages += [name for name in finding.argv[len(APT) :] if name not in packages]
        elif finding.argv not in commands:
            commands.append(finding.argv)
    if packages:
        commands[:0] = [["apt-get", "update", "-q"], [*APT, *packages]]
    for argv in commands:
        click.echo(f"doctor: {shlex.join(argv)}", err=True)
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            click.echo((done.stderr or done.stdout).strip()[-1000:], err=True)
    return bool(commands)


def show(findings: list[Finding]) -> None:
    """One line each; what is missing also with what was expected and its fix."""
    for finding in findings:
        mark, colour = ("ok", "green") if finding.ok else ("missing", "red") if finding.required else ("note", "yellow")
        click.echo(f"{click.style(f'{mark:8}', fg=colour)}{finding.name}: {finding.seen}")
        if not finding.ok:
            for label, text in (("expected", finding.expected), ("fix", finding.fix)):
                if text:
                    click.echo(f"          {label}: {text}")
    lacking = missing(findings)
    click.echo(f"{len(lacking)} missing" if lacking else "nothing is missing")
