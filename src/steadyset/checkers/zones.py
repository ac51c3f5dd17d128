"""Zones and blocks of values on a time axis: the arithmetic behind the register checker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def narrow(codes: Codes) -> NDArray[np.integer[Any]]:
    """The same codes in 16 bits where they fit: NumPy sorts those in linear time."""
    if len(codes) and int(codes.min()) >= 0 and int(codes.max()) < 2**16:
        return codes.astype(np.uint16)
    return codes


def keyed(group: Ints | Codes, *columns: Ints, overwrite: bool = False) -> list[Ints]:
    """The columns of times moved so that groups never meet while order and ties within a group stay.

    `overwrite` moves them in place, which saves their memory once more.
    """
    low, high = FOREVER, PAST
    for column in columns:
        finite = (column > PAST) & (column < FOREVER)
        low = min(low, int(np.min(column, where=finite, initial=FOREVER)))
        high = max(high, int(np.max(column, where=finite, initial=PAST)))
    if low > high:
        low = high = 0
    span = high - low + 3
    groups = int(group.max()) + 1 if len(group) else 1
    if span * groups >= 2**62:
        return _ranked(group, *columns)
    base = group.astype(np.int64)
    base *= span
    moved = []
    for column in columns:  # what was PAST or FOREVER ends just below or above the rest
        times = np.clip(column, low - 1, high + 1, out=column if overwrite else None)
        times -= low - 1
        times += base
        moved.append(times)
    return moved


def _ranked(group: Ints | Codes, *columns: Ints) -> list[Ints]:
    """As `keyed`, by ranks: for times so far apart that groups of them would not fit into 64 bits."""
    ranks = np.unique(np.concatenate(columns))
    base = group.astype(np.int64) * len(ranks)
    return [np.searchsorted(ranks, column) + base for column in columns]


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
    first = np.append(True, blocks.root[order[1:]] != blocks.root[order[:-1]])
    number = np.cumsum(first, dtype=np.int32) - np.int32(1)
    start, end = np.empty(2 * len(order), dtype=np.int64), np.empty(2 * len(order), dtype=np.int64)
    start[::2], start[1::2] = wrote_from[order], read_start[order]
    end[::2], end[1::2] = wrote_to[order], read_end[order]
    start, end = keyed(np.repeat(number, 2), start, end, overwrite=True)
    latest = np.maximum.accumulate(start, out=start)
    late = end[1:] < latest[:-1]
    late[2 * np.flatnonzero(first)[1:] - 1] = False  # a block's first op follows nothing
    bad = np.flatnonzero(late)
    if not len(bad):
        return None
    at = int(bad[0]) + 1
    culprit = int(np.searchsorted(latest[:at], latest[at - 1]))
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
