"""Zones and blocks of values on a time axis: the arithmetic behind the register checker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steadyset.history import FOREVER, PAST
from steadyset.history.columns import Codes, Ints


@dataclass
class Blocks:
    """Which block each value belongs to (`root`, its first value) and its position in it."""

    root: Ints
    position: Ints
    cycle: int = -1  # a value on a cycle of compare-and-sets, -1 when there is none

    @classmethod
    def single(cls, values: int) -> Blocks:
        """Every value a block of its own."""
        return cls(np.arange(values), np.zeros(0, dtype=np.int64))


def chain(values: int, cas: Ints, pred: Ints) -> Blocks:
    """Blocks of values linked by compare-and-sets (`cas[i]` replaced `pred[i]`), by pointer doubling."""
    root = np.arange(values)
    root[cas] = pred
    position = np.zeros(values, dtype=np.int64)
    position[cas] = 1
    moving = cas
    for _ in range(max(1, int(values).bit_length() + 1)):
        up = root[moving]
        distance, target = position[up], root[up]
        position[moving] += distance
        root[moving] = target
        moving = moving[distance > 0]
        if not len(moving):
            return Blocks(root, position)
    return Blocks(root, position, cycle=int(moving[0]))


def keyed(group: Ints | Codes, *columns: Ints) -> list[Ints]:
    """The columns of times moved so that groups never meet while order and ties within a group stay."""
    finite = np.concatenate([column[(column > PAST) & (column < FOREVER)] for column in columns])
    low, high = (int(finite.min()), int(finite.max())) if len(finite) else (0, 0)
    span = high - low + 3
    groups = int(group.max()) + 1 if len(group) else 1
    if span * groups >= 2**62:
        ranks = np.unique(finite)
        span = len(ranks) + 2
        moved = [np.searchsorted(ranks, column) + 1 for column in columns]
    else:
        moved = [np.clip(column, low - 1, high + 1) - (low - 1) for column in columns]
    base = group.astype(np.int64) * span
    return [
        np.where(column == PAST, 0, np.where(column == FOREVER, span - 1, times)) + base
        for column, times in zip(columns, moved, strict=True)
    ]


def misordered(
    blocks: Blocks, wrote_from: Ints, wrote_to: Ints, read_end: Ints, read_start: Ints
) -> tuple[int, bool, int] | None:
    """An op that ends before an op of an earlier position of its block starts.

    Returns the later value, whether it is a read of it (else its write) that ends too early, and the earlier value.
    """
    linked = np.zeros(len(blocks.root), dtype=np.bool_)
    linked[blocks.root[blocks.position > 0]] = True
    members = np.flatnonzero(linked[blocks.root])
    order = members[np.lexsort((blocks.position[members], blocks.root[members]))]
    first = np.append(True, np.diff(blocks.root[order]) != 0)
    number = np.cumsum(first) - 1
    starts = np.stack([wrote_from[order], read_start[order]], axis=1).ravel()
    ends = np.stack([wrote_to[order], read_end[order]], axis=1).ravel()
    start, end = keyed(np.repeat(number, 2), starts, ends)
    latest = np.maximum.accumulate(start)
    before = np.empty_like(latest)
    before[1:] = latest[:-1]
    before[::2][first] = -1
    bad = np.flatnonzero(end < before)
    if not len(bad):
        return None
    at = int(bad[0])
    culprit = int(np.flatnonzero(start[:at] == before[at])[0])
    return int(order[at // 2]), bool(at % 2), int(order[culprit // 2])


def zone_conflict(first_end: Ints, last_start: Ints) -> tuple[int, int, bool] | None:
    """Two zones that contradict each other: (forward, other, whether the other is a backward zone inside it)."""
    forward = np.flatnonzero(first_end < last_start)
    if not len(forward):
        return None
    begin = first_end[forward]
    if (begin[1:] < begin[:-1]).any():
        order = np.argsort(begin, kind="stable")
        forward, begin = forward[order], begin[order]
    until = last_start[forward]
    overlap = np.flatnonzero(begin[1:] < until[:-1])
    if len(overlap):
        at = int(overlap[0])
        return int(forward[at]), int(forward[at + 1]), False
    backward = np.flatnonzero(first_end >= last_start)
    start, end = last_start[backward], first_end[backward]
    around = np.searchsorted(begin, start) - 1  # the last forward zone that begins strictly before
    inside = np.flatnonzero((around >= 0) & (end < until[np.maximum(around, 0)]))
    if not len(inside):
        return None
    at = int(inside[0])
    return int(forward[around[at]]), int(backward[at]), True
