"""The epoch of a Galera member: which component it is in, in a number that grows with each change of membership."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_CONF_BITS = 16
_MEMBER_BITS = 8

# name, members of its component, seqno at which the component was formed, its configuration number.
# Not a causal read: it says what this member is in now, whatever the others do.
EPOCH_QUERY = (
    "SET STATEMENT wsrep_sync_wait = 0 FOR SELECT @@wsrep_node_name, GROUP_CONCAT(m.NAME),"
    " s.CLUSTER_STATE_SEQNO, s.CLUSTER_CONF_ID, s.CLUSTER_STATUS, s.CLUSTER_STATE_UUID"
    " FROM information_schema.WSREP_STATUS s, information_schema.WSREP_MEMBERSHIP m"
    " GROUP BY s.CLUSTER_STATE_SEQNO, s.CLUSTER_CONF_ID, s.CLUSTER_STATUS, s.CLUSTER_STATE_UUID"
)


def epoch_of(row: Sequence[Any]) -> int:
    """The epoch in a row of EPOCH_QUERY, -1 outside the primary component.

    The seqno at which the component was formed comes first: it grows as long as no data is lost, also over a full
    crash, after which configuration numbers begin anew. The members come last (one bit each, by ordinal): two sides
    that both call themselves primary may share seqno and configuration number, and always share the state UUID.
    """
    _, names, seqno, conf, status, *_ = row
    if str(status).lower() != "primary" or int(conf) < 0:
        return -1
    members = 0
    for name in str(names).split(","):
        members |= 1 << int(name.rpartition("-")[2]) % _MEMBER_BITS
    return (int(seqno) << _CONF_BITS | int(conf) % (1 << _CONF_BITS)) << _MEMBER_BITS | members
