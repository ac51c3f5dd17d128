"""Whom a target means: roles, seeds and workloads, and what is refused."""

from __future__ import annotations

from typing import Any, cast

import pytest

from steadyset.chaos.kube import Kube
from steadyset.chaos.targets import pods_of, resolve, with_seed
from steadyset.errors import UsageError


def pod(name: str, owner: str = "db", kind: str = "StatefulSet", **labels: str) -> dict[str, Any]:
    """A pod as the API shows it; ordinal N runs on node-N."""
    meta: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "labels": labels, "namespace": "ns"}
    if owner:
        meta["ownerReferences"] = [{"name": owner, "kind": kind, "uid": f"uid-{owner}", "controller": True}]
    return {"metadata": meta, "spec": {"nodeName": f"node-{name[-1]}"}}


class Pods:
    """A cluster of which only the pods of one namespace are asked for."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self._pods = list(pods)

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        return self._pods

    def need_pod(self, namespace: str, name: str) -> dict[str, Any]:
        return next(p for p in self._pods if p["metadata"]["name"] == name)

    def node(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": f"uid-{name}"}}


FIVE = Pods(pod("db-10"), pod("db-0"), pod("db-1", role="master"), pod("db-2"), pod("db-3"), pod("tool-1", owner=""))


def names(target: str, pods: Pods = FIVE) -> list[str]:
    """Names of the pods that the target means."""
    return [p["metadata"]["name"] for p in pods_of(cast(Kube, pods), "ns", target)]


def test_roles() -> None:
    """By label, by number, every one; members are in the order of their ordinals."""
    assert names("primary") == ["db-1"]
    assert names("ordinal:10") == ["db-10"]
    assert names("all") == ["db-0", "db-1", "db-2", "db-3", "db-10"]
    assert names("db-2") == names("pod/db-2") == ["db-2"]


@pytest.mark.parametrize("seed", range(20))
def test_draws_are_repeated_by_their_seed(seed: int) -> None:
    """A majority is one; a replica is no primary."""
    assert names(f"random:{seed}") == names(f"random:{seed}")
    assert len(names(f"majority:{seed}")) == 3
    assert names(f"replica:{seed}") != ["db-1"]


def test_different_seeds_draw_different_pods() -> None:
    """Every member is drawn by some seed."""
    assert {names(f"random:{seed}")[0] for seed in range(50)} == set(names("all"))


def test_a_seed_is_given_only_to_draws_without_one() -> None:
    """So that a run's seed makes its draws repeatable."""
    assert with_seed("random", 7) == "random:7"
    assert with_seed("majority@db", 7) == "majority:7@db"
    for target in ("random:3", "primary", "ordinal:1", "db-0", "node/node-1"):
        assert with_seed(target, 7) == target


def test_pods_stand_for_their_nodes() -> None:
    """Each node once, with the pods that stand for it."""
    two = Pods(pod("db-0"), pod("db-1"), pod("xdb-0", owner="other", kind="ReplicaSet"))
    victims = resolve(cast(Kube, two), "node", "ns", "all")
    assert [(v.name, v.pods) for v in victims] == [("node-0", ["db-0"]), ("node-1", ["db-1"])]


@pytest.mark.parametrize(
    ("target", "pods", "why"),
    [
        ("majority", Pods(pod("db-0")), "majority of one"),
        ("primary", Pods(pod("db-0"), pod("db-1")), "who is primary is unknown"),
        ("replica", Pods(pod("db-0"), pod("db-1")), "who is primary is unknown"),
        ("replica", Pods(pod("db-0", role="primary")), "no replica"),
        ("ordinal:7", FIVE, "no such member"),
        ("ordinal", FIVE, "no such member"),
        ("all", Pods(pod("tool-1", owner="")), "no pods of a StatefulSet"),
        ("all@web", FIVE, "no pods of a workload web"),
        ("all", Pods(pod("db-0"), pod("mq-0", owner="mq")), "several workloads"),
    ],
)
def test_what_cannot_be_meant_is_refused(target: str, pods: Pods, why: str) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match=why):
        names(target, pods)


def test_a_workload_is_named_where_there_are_several() -> None:
    """A Deployment's pods count too once their controller is named."""
    both = Pods(pod("db-0"), pod("mq-0", owner="mq"), pod("web-x", owner="web-77", kind="ReplicaSet"))
    assert names("all@mq", both) == ["mq-0"]
    assert names("all@web-77", both) == ["web-x"]
