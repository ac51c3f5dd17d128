"""Stacks on a real cluster: deployed, found guilty with reasons, addressed from outside, and gone without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from kubernetes.utils import FailToCreateError, create_from_dict

from steadyset.checkers import make_checker
from steadyset.clusterinfo import ClusterInfo, load_cluster_info
from steadyset.errors import DeadlineError, UsageError
from steadyset.fixtures.preload import preload
from steadyset.fixtures.stacks import STACKS, Deadlines, Stack, stack_class
from steadyset.fixtures.stacks.base import manifests
from steadyset.fixtures.stacks.postgresql import PostgreSQL
from steadyset.fixtures.stacks.probe import Probe
from steadyset.fixtures.stacks.rabbitmq import QUEUE, RabbitMQ
from steadyset.fixtures.stacks.workspace import Workspace
from steadyset.history import load_history
from steadyset.load.runner import LoadRun
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
PROGRESS_S = 60.0


@pytest.fixture
def deployed(cluster: ClusterInfo, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The stack and variant of the test's parameter, in a namespace of its own."""
    name, variant = request.param
    stack = stack_class(name)()
    try:
        stack.deploy(cluster, f"stacktest-{name}", variant)
        yield stack
    finally:
        stack.undeploy()


def drive(cluster: ClusterInfo, stack: Any, folder: Path, ops: int) -> None:
    with LoadRun(cluster, stack.workloads[0], folder, stack.load_params(), users=8) as load:
        wait_for(
            lambda: len(load_history(folder)) >= ops, what="ops", deadline_name="PROGRESS_S", deadline_s=PROGRESS_S
        )
        load.read_back()


@pytest.mark.parametrize("deployed", [("probe", "")], indirect=True)
def test_a_probe_counts_its_starts_and_keeps_its_file(cluster: ClusterInfo, deployed: Any, tmp_path: Path) -> None:
    """Delete a member: its successor has another UID, a higher epoch, and the values of before."""
    before = deployed.incarnation("probe-0")
    drive(cluster, deployed, tmp_path / "first", 100)
    deployed.workspace.core.delete_namespaced_pod("probe-0", deployed.namespace, grace_period_seconds=0)
    deployed.wait_for_new_epoch(deadline_s=deployed.deadlines.failover_s)
    deployed.wait_for_steady_state(deadline_s=deployed.deadlines.recovery_s)
    after = deployed.incarnation("probe-0")
    assert (after.epoch, after.uid != before.uid) == (before.epoch + 1, True)
    judgement = make_checker("set-durability", {"acknowledged_min": 10}).check(load_history(tmp_path / "first"))
    assert judgement.verdict == "PASS"
    with pytest.raises(UsageError, match="exists already"):
        Probe().deploy(cluster, deployed.namespace)


@pytest.mark.parametrize("deployed", [("probe", "")], indirect=True)
def test_the_load_reaches_members_from_outside(cluster: ClusterInfo, deployed: Any, tmp_path: Path) -> None:
    """Without a client namespace, through the API server: every member acknowledges over both routes."""
    outside = load_cluster_info(cluster.path)
    outside.client_netns = ""
    drive(outside, deployed, tmp_path / "history", 120)
    history = load_history(tmp_path / "history")
    assert make_checker("set-durability", {"acknowledged_min": 10}).check(history).verdict == "PASS"
    acknowledged = {
        (history.name("session", i).partition(":")[0], history.name("server", i))
        for i in range(len(history))
        if history.outcome[i] == 1 and history.name("session", i) != "final"
    }
    assert acknowledged == {(r, f"probe-{i}") for r in ("direct", "service") for i in range(3)}


class Impatient(Probe):
    """A probe whose image nobody has."""

    deadlines: ClassVar[Deadlines] = Deadlines(deploy_s=15.0, failover_s=1.0, recovery_s=1.0, undeploy_s=60.0)


def test_a_stack_that_does_not_start_says_who_is_guilty(cluster: ClusterInfo) -> None:
    """The deadline is named, and so are the pod, its state and the events."""
    elsewhere = load_cluster_info(cluster.path)
    elsewhere.image_prefix = "127.0.0.1:1/nobody"
    stack = Impatient()
    try:
        with pytest.raises(DeadlineError, match=r"deploy_s = 15 s") as caught:
            stack.deploy(elsewhere, "stacktest-guilty")
    finally:
        stack.undeploy()
    assert "probe-0 Pending, not ready" in caught.value.seen
    assert "127.0.0.1:1/nobody/probe" in caught.value.seen


@pytest.mark.parametrize("deployed", [("postgresql", "paused-promote")], indirect=True)
def test_two_primaries_are_found(cluster: ClusterInfo, deployed: PostgreSQL, tmp_path: Path) -> None:
    """Promote a replica behind a paused Patroni: both acknowledge, on two timelines, and split-brain says so."""
    folder = tmp_path / "history"
    with LoadRun(cluster, "postgresql_append", folder, deployed.load_params(), users=8) as load:
        deployed.pause()
        promoted = deployed.asynchronous_replica()
        timeline = deployed.promote(promoted)
        wait_for(
            lambda: timeline in load_history(folder).epoch,
            what="a write acknowledged on the new timeline",
            deadline_name="PROGRESS_S",
            deadline_s=PROGRESS_S,
        )
        seen = len(load_history(folder))
        wait_for(
            lambda: len(load_history(folder)) > seen + 200,
            what="200 more ops",
            deadline_name="PROGRESS_S",
            deadline_s=PROGRESS_S,
        )
        load.stop()
    judgement = make_checker("split-brain", {}).check(load_history(folder))
    assert judgement.verdict == "FAIL"
    assert judgement.data["overlap_s"] > 0
    deployed.pause(False)
    deployed.rebuild(promoted)
    deployed.wait_for_steady_state(deadline_s=deployed.deadlines.recovery_s)


def test_a_rabbitmq_member_without_its_replica_is_started_anew(cluster: ClusterInfo) -> None:
    """As a full disk may leave it: the member takes connections, its replica of the queue is gone for good."""
    preload(cluster, ("rabbitmq",), lambda _: None)
    stack = RabbitMQ()
    try:
        stack.deploy(cluster, "stacktest-rabbitmq")
        stop = f"ra:stop_server(quorum_queues, {{'%2F_{QUEUE}', node()}})."
        assert stack.workspace.execute("rabbitmq-0", ["rabbitmqctl", "eval", stop]).strip() == "ok"
        assert "term=0" in stack.unsteady()
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        restarts = {pod.metadata.name: restarts_of(pod) for pod in stack.workspace.pods("app=rabbitmq")}
        assert restarts == {"rabbitmq-0": 1, "rabbitmq-1": 0, "rabbitmq-2": 0}
    finally:
        stack.undeploy()


def restarts_of(pod: Any) -> int:
    return int(pod.status.container_statuses[0].restart_count)


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: str(stack.name))
def test_the_api_server_takes_every_manifest(cluster: ClusterInfo, stack: type[Stack]) -> None:
    """By a dry run with strict fields: every object of every variant, and every pod where Pod Security is enforced.

    So Stolon's manifests, whose image cannot be had here, are at least known to be ones.
    """
    space = Workspace(cluster, f"stacktest-dry-{stack.name}")
    strict = {"dry_run": "All", "field_validation": "Strict"}
    try:
        space.create()
        for variant in stack.variants:
            made = stack()
            made.given_images = {name: f"registry.example/{name}:1" for name in made.lacking_images()}
            found = [o for text in manifests(made, cluster, space.name, variant) for o in yaml.safe_load_all(text) if o]
            for item in found:
                create_from_dict(space.api, item, namespace=space.name, **strict)  # type: ignore[no-untyped-call]
            owners = [item for item in found if item["kind"] in ("StatefulSet", "Deployment")]
            assert owners
            for owner in owners:
                space.core.create_namespaced_pod(space.name, pod_of(owner), **strict)
            owners[0]["spec"]["template"]["spec"]["containers"] = []
            with pytest.raises(FailToCreateError, match="Required value"):
                create_from_dict(space.api, owners[0], namespace=space.name, **strict)  # type: ignore[no-untyped-call]
    finally:
        space.delete("undeploy_s", 60.0)


def pod_of(owner: dict[str, Any]) -> dict[str, Any]:
    """A pod as the controller of `owner` would make it, its claims in place; of an account that is there."""
    template, claims = owner["spec"]["template"], owner["spec"].get("volumeClaimTemplates", [])
    names = [claim["metadata"]["name"] for claim in claims]
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-x-0"}} for name in names]
    spec = {**template["spec"], "volumes": [*template["spec"].get("volumes", []), *volumes]}
    return {"metadata": {**template["metadata"], "name": "x-0"}, "spec": {**spec, "serviceAccountName": "default"}}
