"""Leases that nodes keep by themselves, one for each victim: where an agent does the fault, its timer undoes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from steadyset.chaos.act import Act
from steadyset.chaos.agent.node import Node
from steadyset.chaos.ledger import Record
from steadyset.chaos.reach import NodeLease, Reach, end_lease, has_reach, reach_of
from steadyset.clusterinfo import ClusterInfo

P = ParamSpec("P")
R = TypeVar("R")


def lease_on_node(
    act: Act,
    number: int,
    reach: Reach,
    undo: Callable[Concatenate[Node, P], R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
    """Before victim `number` is broken: which verb, with which positional arguments, its node undoes that with."""
    assert act.record is not None
    lease = NodeLease(reach, _id(act.record, number), act.ttl_s)
    lease.begin(undo, *args, **kwargs)
    act.renewing.append(lease.renew)


def end_on_node(info: ClusterInfo, record: Record, number: int, node: str) -> None:
    """After victim `number` was mended; nothing happens where the node is gone or keeps no lease."""
    if has_reach(info, node):
        end_lease(reach_of(info, node), _id(record, number))


def _id(record: Record, number: int) -> str:
    return f"{record.id}-{number}"
