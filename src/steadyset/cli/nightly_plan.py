"""`steadyset nightly --plan`: what a nightly would do, test by test, without a cluster and without doing any of it."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import click
import pytest

from steadyset.chaos.blast import limits
from steadyset.chaos.faults import fault_named
from steadyset.chaos.quorum import loss, share_of
from steadyset.cli.nightly import namespace_of
from steadyset.errors import UsageError
from steadyset.fixtures.session import Options
from steadyset.fixtures.stacks import stack_class


class _Collector:
    """A pytest plugin that keeps what was collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


def collect(argv: list[str]) -> list[pytest.Item]:
    """The tests that this pytest command would run. UsageError when there are none, or when collecting them fails."""
    collector, said = _Collector(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        pytest.main([*argv, "--collect-only", "-q"], plugins=[collector])
    if not collector.items:
        raise UsageError("no test fits this stack and these faults", seen=said.getvalue().strip()[-500:])
    return collector.items


def rows(items: list[pytest.Item], stack: str) -> list[dict[str, Any]]:
    """One row for each test: suite, what it shows, the faults it injects and how each ends."""
    found = []
    for item in items:
        fault_marker, variant = item.get_closest_marker("fault"), item.get_closest_marker("variant")
        needs = item.get_closest_marker("needs")
        faults = [fault_named(name) for name in (fault_marker.args if fault_marker else ())]
        doc = (getattr(getattr(item, "function", None), "__doc__", "") or "").strip()
        capabilities = {c for fault in faults for c in fault.capabilities} | set(needs.args if needs else ())
        found.append(
            {
                "suite": item.path.parent.name,
                "test": item.name,
                "goal": " ".join(doc.split("\n\n")[0].removeprefix("Goal:").split()),
                "stack": stack,
                "variant": str(variant.args[0]) if variant else "",
                "faults": [{"fault": f.name, "lease": f.lease.value, "aimed_at": f.target} for f in faults],
                "needs": sorted(capabilities),
                "control": item.get_closest_marker("control") is not None,
            }
        )
    return found


def print_plan(options: Options, argv: list[str], *, as_json: bool) -> int:
    """Print it on stdout; `argv` is the pytest command of the nightly, without the interpreter."""
    found, stack, caps = rows(collect(argv), options.stack), stack_class(options.stack), limits()
    members = [f"{stack.statefulset}-{n}" for n in range(stack.replicas)]
    if options.target:
        members = []  # the plan asks no cluster: `steadyset chaos plan` does
    allowed = share_of(caps.max_pods, len(members), "max-pods")
    where = f"kubeconfig {options.kubeconfig}" if options.kubeconfig else f"embedded cluster {options.cluster_name}"
    workload = f"StatefulSet {stack.statefulset}"
    quorum = str(loss(workload, members, members[:allowed], verb="out of order at most")) if members else None
    result = {
        "cluster": where,
        "stack": options.stack,
        "namespace": namespace_of(options),
        "target": options.target or None,
        "seed": options.seed or None,
        "max_pods": caps.max_pods,
        "max_nodes": caps.max_nodes,
        "quorum": quorum,
        "tests": found,
    }
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return 0
    click.echo(f"cluster: {where}")
    if options.target:
        click.echo(f"target: {options.target}, {options.stack} in namespace {result['namespace']}; nothing is deployed")
    else:
        click.echo(f"stack: {options.stack} in namespace {result['namespace']}, {stack.replicas} members")
    click.echo(f"caps: max-pods {caps.max_pods}, max-nodes {caps.max_nodes}")
    if members:
        click.echo(quorum)
    click.echo(f"seed: {options.seed or 'drawn when it runs'}")
    for row in found:
        faults = ", ".join(f"{f['fault']} ({f['lease']})" for f in row["faults"]) or "no fault"
        needs = f"; needs {', '.join(row['needs'])}, else not tested" if row["needs"] else ""
        variant = f" [variant {row['variant']}]" if row["variant"] else ""
        click.echo(f"{row['suite']}/{row['test']}{variant}: {faults}{needs}")
        click.echo(f"    {row['goal']}")
    click.echo(f"{len(found)} tests; nothing was done")
    return 0
