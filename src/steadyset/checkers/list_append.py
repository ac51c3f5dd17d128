"""Transactions over append-only lists (Elle): anomalies G0, G1a, G1b, G1c, G-single, G2 and real-time variants.

The longest read of a key gives its version order, so that every dependency between transactions can be inferred:
ww (one append follows another), wr (a read saw an append), rw (a read did not see the next append), the order within a
process, and real time. A history is serializable when these have no cycle (Adya 1999; Kingsbury and Alvaro 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from steadyset.checkers.base import Violation, conclude, shown, unique_ops
from steadyset.checkers.dependency_graph import (
    KINDS,
    PROCESS,
    REAL_TIME,
    RW,
    WR,
    WW,
    Edges,
    Step,
    cyclic,
    real_time,
    shortest_cycle,
)
from steadyset.checkers.versions import Versions
from steadyset.errors import UsageError
from steadyset.history import INFO, OK, History
from steadyset.history.columns import Ints
from steadyset.verdict import Judgement

# what each level forbids besides dirty reads: kinds of edges a cycle may not be made of
LEVELS: Final = (
    "read-committed",
    "snapshot-isolation",
    "serializable",
    "strong-session-serializable",
    "strict-serializable",
)


@dataclass(frozen=True)
class ListAppend:
    """`txn` ops made of appends and whole-list reads are isolated as `level` demands.

    `txns_min`: fewer committed transactions, or none that reads, prove nothing (INVALID).
    """

    txns_min: int = 1
    level: str = "strict-serializable"
    rule: ClassVar[str] = "list-append"
    claim: ClassVar[str] = "Transactions take effect one after another, in an order that agrees with real time."

    def check(self, history: History) -> Judgement:
        """Judge every transaction."""
        if self.level not in LEVELS:
            raise UsageError(f"list-append: no such level {self.level!r}", expected=f"one of {LEVELS}")
        ops = np.flatnonzero(history.is_f("txn"))
        versions = Versions.build(history, ops)
        violations: list[Violation | None] = list(versions.violations)
        edges = Edges.of(versions.edges)
        if not any(v is not None and not v.needs_all for v in violations):
            found = self._cycle(history, versions, edges)
            violations.append(found)
        committed = int((history.outcome[ops] == OK).sum())
        counts = {
            "txns": committed,
            "reads": versions.reads,
            "appends": versions.appends,
            "unknown": versions.unknown,
            "unknown_observed": versions.unknown_observed,
        }
        data = {"dependencies": len(edges.source), "anomalies": sorted({v.kind for v in violations if v})}
        wanted = {"txns": self.txns_min, "reads": 1}
        return conclude(
            self, history, violations, counts, wanted, {"reads of what they appended": versions.unknown_observed}, data
        )

    def _cycle(self, history: History, versions: Versions, edges: Edges) -> Violation | None:
        """The weakest cycle, tried from the anomaly that even weak levels forbid to the one only strict ones do."""
        size = len(versions.txns)
        rank = LEVELS.index(self.level)
        extra: list[tuple[str, Edges]] = [("", Edges.of([]))]
        if rank >= LEVELS.index("strong-session-serializable"):
            extra.append(("-process", _sessions(history, versions.txns)))
        if rank >= LEVELS.index("strict-serializable"):
            start, end = history.start[versions.txns], history.end[versions.txns]
            extra.append(("-realtime", real_time(start, end)))
        nodes = 2 * size
        if not len(cyclic(edges + extra[-1][1] + extra[len(extra) // 2][1], nodes).source):
            return None
        for suffix, more in extra:
            for name, kinds in (("G0", (WW,)), ("G1c", (WW, WR))):
                cycle = shortest_cycle(cyclic(edges.only(*kinds) + more, nodes))
                if cycle is not None:
                    return _named(history, versions, name + suffix, cycle)
            if rank == 0:
                continue
            on_cycles = cyclic(edges + more, nodes)
            cycle = shortest_cycle(on_cycles, through=RW, once=True)
            if cycle is not None:
                return _named(history, versions, _single(history, versions, cycle) + suffix, cycle)
            if rank == LEVELS.index("snapshot-isolation"):
                cycle = _nonadjacent(edges, size)
                name = "G-nonadjacent"
            else:
                cycle, name = shortest_cycle(on_cycles), "G2"
            if cycle is not None:
                return _named(history, versions, name + suffix, cycle)
        return None


def _sessions(history: History, txns: Ints) -> Edges:
    """From each known transaction to the next one of its process."""
    order = np.lexsort((history.start[txns], history.process[txns]))
    process = history.process[txns][order]
    next_one = np.flatnonzero(process[1:] == process[:-1])
    source, target = order[next_one], order[next_one + 1]
    known = history.outcome[txns][source] == OK
    source, target = source[known], target[known]
    return Edges(source, target, np.full(len(source), PROCESS), np.zeros(len(source), dtype=np.int64))


def _nonadjacent(edges: Edges, size: int) -> list[Step] | None:
    """A cycle in which no two rw edges follow each other: what snapshot isolation forbids.

    Node + size stands for having come by rw, from where no rw leads on.
    """
    rw = edges.kind == RW
    source = np.concatenate([edges.source, edges.source[~rw] + size])
    target = np.concatenate([np.where(rw, edges.target + size, edges.target), edges.target[~rw]])
    kind, detail = np.concatenate([edges.kind, edges.kind[~rw]]), np.concatenate([edges.detail, edges.detail[~rw]])
    cycle = shortest_cycle(cyclic(Edges(source, target, kind, detail), 2 * size))
    return [(s % size, t % size, k, d) for s, t, k, d in cycle] if cycle else None


def _single(history: History, versions: Versions, cycle: list[Step]) -> str:
    """G-single, or the lost update that it may be: both read one version of a key and both appended to it."""
    if len(cycle) == 2 and {cycle[0][2], cycle[1][2]} == {RW, WW} and cycle[0][3] == cycle[1][3]:
        key = cycle[0][3]
        if all(versions.read_then_appended(int(step[0]), key) for step in cycle):
            return "lost update"
    return "G-single"


def _named(history: History, versions: Versions, name: str, cycle: list[Step]) -> Violation:
    """The cycle in words: each transaction, and why it must come before the next."""
    size = len(versions.txns)
    steps: list[Step] = []
    for source, target, kind, key in cycle:  # chain nodes of real time are not transactions
        if steps and steps[-1][1] >= size:
            steps[-1] = (steps[-1][0], target, REAL_TIME, 0)
        else:
            steps.append((source, target, kind, key))
    if steps[0][0] >= size:
        source, target, kind, key = steps.pop(0)
        steps[-1] = (steps[-1][0], target, REAL_TIME, 0)
    names = {node: f"T{n + 1}" for n, node in enumerate(dict.fromkeys(step[0] for step in steps))}
    lines = [f"{names[node]} is {versions.describe(node)}" for node in names]
    why = {
        WW: "{b} appended to {k} right after {a} did",
        WR: "{b} read what {a} appended to {k}",
        RW: "{a} read {k} without what {b} appended next",
        PROCESS: "{b} came after {a} in one process",
        REAL_TIME: "{b} began after {a} had ended",
    }
    for source, target, kind, key in steps:
        text = why[kind].format(a=names[source], b=names[target], k=f"key {shown(key)}")
        lines.append(f"{names[source]} before {names[target]} ({KINDS[kind]}): {text}")
    ops = unique_ops(*(int(versions.txns[node]) for node in names))
    keys = [key for _, _, kind, key in steps if kind == WW and key in versions.longest]
    unknown = [node for node in names if history.outcome[versions.txns[node]] == INFO]
    shows = [*(versions.longest[key][1] for key in keys), *(versions.shown_by(node) for node in unknown)]
    evidence = [op for op in unique_ops(*shows) if op not in ops]
    lines += [f"{versions.describe_op(op)}: it shows in which order the appends came" for op in evidence]
    return Violation(
        name,
        f"{name}: {len(ops)} transactions each had to come before the next, in a circle",
        ops + evidence,
        lines,
    )
