"""What the clients saw, as series to draw: throughput and latency per bucket, and who acknowledged with which epoch.

Pure functions of histories. Times are CLOCK_MONOTONIC nanoseconds, latencies milliseconds, rates per second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyset.history import FAIL, FOREVER, INFO, OK, History

WRITES = frozenset({"add", "write", "cas", "enqueue", "inc", "txn"})
FINAL = "final"  # the session of final reads: they check, they are no load
SERVICE, DIRECT = "service", "direct"
OUTCOMES = {"ok": OK, "fail": FAIL, "info": INFO}
BUCKETS_MAX = 600
BUCKET_WIDTHS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
SILENCE_S = 1.0  # a server's acknowledgements further apart than this are drawn as two spans

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def session_kind(session: str) -> str:
    """`service` or `direct` (an already open session to one member): what stands before the colon of `kind:to#n`."""
    return session.partition(":")[0] or SERVICE


def session_member(session: str) -> str:
    """To whom a session `kind:to#n` goes: a member's pod, or a name that stands for all; "" when it does not say."""
    return session.partition(":")[2].partition("#")[0]


@dataclass(frozen=True)
class Ops:
    """The load's operations of several histories in columns; final reads are left out."""

    start: Ints
    end: Ints  # FOREVER when no completion was recorded
    outcome: Ints
    write: Bools
    epoch: Ints
    server: Ints  # index into servers
    kind: Ints  # index into kinds
    member: Ints  # index into members
    servers: list[str]
    kinds: list[str]
    members: list[str]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def ok(self) -> Bools:
        """Acknowledged operations."""
        mask: Bools = self.outcome == OK
        return mask

    def to(self, members: Iterable[str]) -> Bools:
        """Operations of sessions that go to one of these members."""
        wanted = set(members)
        mask: Bools = np.isin(self.member, [i for i, name in enumerate(self.members) if name in wanted])
        return mask

    @property
    def acknowledged_writes(self) -> Bools:
        """Acknowledged operations that changed something."""
        return self.ok & self.write

    def first_ns(self) -> int | None:
        """When the first request was sent; None without ops."""
        return int(self.start.min()) if len(self) else None

    def last_ns(self, among: Bools | None = None) -> int | None:
        """When the last request (`among` some) was sent or answered; None without ops."""
        start, end = (self.start, self.end) if among is None else (self.start[among], self.end[among])
        if not len(start):
            return None
        known = end[end != FOREVER]
        return max(int(start.max()), int(known.max()) if len(known) else 0)


def ops_of(histories: Iterable[History]) -> Ops:
    """The histories' operations in one table."""
    return joined([_ops_of(history) for history in histories])


def _ops_of(history: History) -> Ops:
    load = ~(history.session == history.code("session", FINAL))
    sessions, servers = (
        [*history.names["session"], ""],
        [*history.names["server"], ""],
    )  # their last is code -1: no name
    kinds = list(dict.fromkeys([SERVICE, DIRECT, *map(session_kind, sessions)]))
    members = list(dict.fromkeys(map(session_member, sessions)))
    kind_of = np.array([kinds.index(session_kind(name)) for name in sessions], np.int64)
    member_of = np.array([members.index(session_member(name)) for name in sessions], np.int64)
    server_of = np.arange(len(servers), dtype=np.int64)
    return Ops(
        start=history.start[load].astype(np.int64),
        end=history.end[load].astype(np.int64),
        outcome=history.outcome[load].astype(np.int64),
        write=history.is_f(*WRITES)[load],
        epoch=history.epoch[load].astype(np.int64),
        server=server_of[history.server][load],
        kind=kind_of[history.session][load],
        member=member_of[history.session][load],
        servers=servers,
        kinds=kinds,
        members=members,
    )


def joined(parts: Sequence[Ops]) -> Ops:
    """Several tables as one, their names numbered anew."""
    names: dict[str, dict[str, int]] = {"server": {}, "kind": {SERVICE: 0, DIRECT: 1}, "member": {}}
    columns: dict[str, list[NDArray[Any]]] = {
        "start": [], "end": [], "outcome": [], "write": [], "epoch": [], "server": [], "kind": [], "member": []
    }  # fmt: skip
    for part in parts:
        for name in ("start", "end", "outcome", "write", "epoch"):
            columns[name].append(getattr(part, name))
        for name, own in (("server", part.servers), ("kind", part.kinds), ("member", part.members)):
            codes = np.array([names[name].setdefault(text, len(names[name])) for text in own], np.int64)
            columns[name].append(codes[getattr(part, name)])

    def column(name: str, kind: Any = np.int64) -> NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *columns[name]])

    return Ops(
        start=column("start"),
        end=column("end"),
        outcome=column("outcome"),
        write=column("write", np.bool_),
        epoch=column("epoch"),
        server=column("server"),
        kind=column("kind"),
        member=column("member"),
        servers=list(names["server"]),
        kinds=list(names["kind"]),
        members=list(names["member"]),
    )


def bucket_width_s(duration_s: float) -> float:
    """Half a second, or the smallest of BUCKET_WIDTHS_S that needs no more than BUCKETS_MAX buckets."""
    return next((w for w in BUCKET_WIDTHS_S if duration_s / w <= BUCKETS_MAX), BUCKET_WIDTHS_S[-1])


def load_series(ops: Ops, t0: int, until: int) -> dict[str, Any]:
    """Throughput by session kind and outcome, and p50/p99 of acknowledged operations, per bucket from `t0` to `until`.

    An operation counts where it was answered, or where it was sent when no answer is known. Latencies are null where
    nothing was acknowledged.
    """
    width = bucket_width_s(max(until - t0, 0) / 1e9)
    count = max(1, int(np.ceil((until - t0) / 1e9 / width)))
    at = np.where(ops.end == FOREVER, ops.start, ops.end)
    bucket = ((at - t0) / 1e9 // width).astype(np.int64)
    inside = (bucket >= 0) & (bucket < count)
    rates: list[dict[str, Any]] = []
    for code, kind in enumerate(ops.kinds):
        for outcome, value in OUTCOMES.items():
            mask = inside & (ops.kind == code) & (ops.outcome == value)
            total = int(mask.sum())
            if total:
                per_bucket = np.bincount(bucket[mask], minlength=count) / width
                rates.append({"kind": kind, "outcome": outcome, "total": total, "per_s": _rounded(per_bucket, 1)})
    mask = inside & ops.ok & (ops.end != FOREVER)
    latency = (ops.end[mask] - ops.start[mask]) / 1e6
    order = np.argsort(bucket[mask], kind="stable")
    edges = np.searchsorted(bucket[mask][order], np.arange(count + 1))
    p50: list[float | None] = []
    p99: list[float | None] = []
    for first, last in pairwise(edges):
        values = latency[order[first:last]]
        low, high = np.percentile(values, (50, 99)) if len(values) else (None, None)
        p50.append(None if low is None else round(float(low), 2))
        p99.append(None if high is None else round(float(high), 2))
    return {"bucket_s": width, "buckets": count, "rates": rates, "latency_ms": {"p50": p50, "p99": p99}}


def _rounded(values: NDArray[Any], digits: int) -> list[float]:
    return [round(float(v), digits) for v in values]


@dataclass(frozen=True)
class AckSpan:
    """A stretch in which `server` acknowledged writes with `epoch` (-1: it told none)."""

    server: str
    epoch: int
    first: int
    last: int
    count: int
    kinds: tuple[str, ...]


def acknowledging(ops: Ops) -> list[AckSpan]:
    """Who acknowledged writes when, by server and epoch; a silence of more than SILENCE_S ends a span."""
    mask = ops.acknowledged_writes & (ops.end != FOREVER)
    if not mask.any():
        return []
    end, server, epoch, kind = ops.end[mask], ops.server[mask], ops.epoch[mask], ops.kind[mask]
    order = np.lexsort((end, epoch, server))
    end, server, epoch, kind = end[order], server[order], epoch[order], kind[order]
    breaks = (np.diff(server) != 0) | (np.diff(epoch) != 0) | (np.diff(end) > int(SILENCE_S * 1e9))
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(end)]
    spans = [
        AckSpan(
            server=ops.servers[int(server[first])],
            epoch=int(epoch[first]),
            first=int(end[first]),
            last=int(end[last - 1]),
            count=last - first,
            kinds=tuple(sorted({ops.kinds[int(k)] for k in np.unique(kind[first:last])})),
        )
        for first, last in pairwise(edges)
    ]
    return sorted(spans, key=lambda s: (s.first, s.server))
