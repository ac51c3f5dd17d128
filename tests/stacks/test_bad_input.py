"""What cannot come up says so within its deadline, with the guilty pod's events and log, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kubernetes import client

from steadyset.chaos.fault import Fault
from steadyset.chaos.faults.network_partition import FAULT as NETWORK_PARTITION
from steadyset.chaos.faults.pod_kill import FAULT as POD_KILL
from steadyset.chaos.runner import inject
from steadyset.clusterinfo import ClusterInfo, load_cluster_info
from steadyset.errors import DeadlineError, InvalidError
from steadyset.fixtures.preload import preload
from steadyset.fixtures.stacks import Deadlines
from steadyset.fixtures.stacks.probe import Probe
from steadyset.fixtures.stacks.redis import Redis
from steadyset.load.runner import LoadRun
from steadyset.rundir import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class Impatient(Redis):
    """Redis with three members and little time."""

    replicas = 3
    deadlines: ClassVar[Deadlines] = Deadlines(deploy_s=25.0, failover_s=1.0, recovery_s=1.0, undeploy_s=60.0)


class Deaf(Impatient):
    """Its configuration is one that no Redis accepts: no member ever gets ready."""

    def template_values(self) -> dict[str, Any]:
        return super().template_values() | {"max_lag_s": Nonsense(2)}


class Nonsense(int):
    """A number to compute with that is none where it is written down."""

    def __str__(self) -> str:
        return "nonsense"


@pytest.fixture
def elsewhere(cluster: ClusterInfo) -> ClusterInfo:
    """A description of the cluster to change."""
    preload(cluster, ("redis",), lambda _: None)
    return load_cluster_info(cluster.path)


@pytest.fixture
def gone(cluster: ClusterInfo) -> Iterator[Callable[[str], bool]]:
    """Whether a namespace is not there any more."""

    def gone(namespace: str) -> bool:
        from steadyset.fixtures.api import connect

        core: Any = client.CoreV1Api(connect(cluster))
        names = {n.metadata.name for n in core.list_namespace().items}
        return namespace not in names

    yield gone


@pytest.mark.parametrize(
    ("stack", "change", "guilty"),
    [
        (Impatient, {"image_prefix": "127.0.0.1:1/nobody"}, "127.0.0.1:1/nobody/redis"),
        (Impatient, {"storage_class": "no-such-class"}, "no-such-class"),
        (Deaf, {}, "nonsense"),
    ],
    ids=("image", "volume", "readiness"),
)
def test_a_stack_that_does_not_come_up(
    elsewhere: ClusterInfo, gone: Callable[[str], bool], stack: type[Impatient], change: dict[str, str], guilty: str
) -> None:
    """An image nobody has, a claim that never binds, a member that never gets ready: pod and reason are named."""
    for name, value in change.items():
        setattr(elsewhere, name, value)
    broken = stack()
    try:
        with pytest.raises(DeadlineError, match=r"deploy_s = 25 s") as caught:
            broken.deploy(elsewhere, "stacktest-bad")
    finally:
        broken.undeploy()
    assert "pod redis-0" in caught.value.seen
    assert guilty in caught.value.seen
    assert gone("stacktest-bad")


class Patient(Impatient):
    """The same with time to come up."""

    deadlines: ClassVar[Deadlines] = Deadlines(deploy_s=90.0, failover_s=1.0, recovery_s=1.0, undeploy_s=60.0)


def test_wrong_credentials_are_said(elsewhere: ClusterInfo, tmp_path: Path) -> None:
    """A load that may not log in ends within its deadline, with what the servers told it."""
    stack = Patient()
    try:
        stack.deploy(elsewhere, "stacktest-password")
        params = {**stack.load_params(), "secrets": {"password": "not-this-one"}}
        with (
            pytest.raises(DeadlineError, match=r"first_ack_s = 8 s") as caught,
            LoadRun(elsewhere, "redis_append", tmp_path / "history", params, first_ack_s=8.0),
        ):
            pass
    finally:
        stack.undeploy()
    assert "AuthenticationError" in caught.value.seen


class Alone(Probe):
    """One member: no majority to lose, and nobody to be cut from."""

    replicas = 1


@pytest.mark.parametrize(
    ("fault", "target", "params", "why"),
    [
        (NETWORK_PARTITION, "probe-0", {"shape": "halves", "planes": ["peers"]}, "no peers to be cut from"),
        (POD_KILL, "majority", {"max_pods": "all"}, "a majority of one is that one"),
        (POD_KILL, "ordinal:2", {"max_pods": "all"}, "there is no such member"),
        (POD_KILL, "probe-0", {}, "max-pods"),
    ],
    ids=("halves", "majority", "ordinal", "caps"),
)
def test_fewer_members_than_the_fault_needs(
    alone: Alone, cluster: ClusterInfo, tmp_path: Path, fault: Fault, target: str, params: dict[str, Any], why: str
) -> None:
    """Said before anything is done: the member is the same afterwards, and the run is INVALID."""
    before = alone.incarnation("probe-0")
    run = RunDir.create(tmp_path, {})
    with (
        pytest.raises(InvalidError, match=why),
        inject(cluster, run, "few", fault, target, namespace=alone.namespace, **params),
    ):
        pytest.fail("the fault was held")
    assert alone.incarnation("probe-0") == before


@pytest.fixture(scope="module")
def alone(cluster: ClusterInfo) -> Iterator[Alone]:
    """A probe of one member."""
    stack = Alone()
    try:
        stack.deploy(cluster, "stacktest-alone")
        yield stack
    finally:
        stack.undeploy()
