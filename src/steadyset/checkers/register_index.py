"""Registers as arrays: which write gave each value, who observed it, and which writes of unknown outcome counted.

A *value* is a number below `len(writers) + keys`: the write that wrote it, or `len(writers) + key` for a key's initial
value. Unknown writes count when somebody observed them; "observed" closes from definite operations, so that an unknown
compare-and-set counts as an observer only when its own value was observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, PAST, History
from steadyset.history.columns import Codes, Ints, Mask

_DENSE: Final = 4  # a lookup table may have this many cells per write


class Lookup:
    """From (key, value) to the position of the write that wrote it."""

    def __init__(self, key: Codes, value: Ints, keys: int) -> None:
        self.keys = keys
        self.low = int(value.min()) if len(value) else 0
        self.span = int(value.max()) - self.low + 1 if len(value) else 1
        self.table: Codes | None = None
        self.ranks: Ints | None = None
        if self.span * keys <= _DENSE * len(value) + 1024:
            self.table = np.full(self.span * keys, -1, dtype=np.int32)
            at = self._cell(key, value)
            self.table[at] = np.arange(len(value), dtype=np.int32)
            self.duplicates = np.flatnonzero(self.table[at] != np.arange(len(value)))
            return
        if self.span * keys >= 2**62:
            self.ranks = np.unique(value)
        cells = self._cell(key, value)
        self.order = np.argsort(cells, kind="stable")
        self.cells = cells[self.order]
        self.duplicates = self.order[:-1][self.cells[:-1] == self.cells[1:]]

    def _cell(self, key: Codes, value: Ints) -> Ints:
        if self.keys == 1 and self.ranks is None:
            return value - self.low
        if self.ranks is not None:
            return key.astype(np.int64) * len(self.ranks) + np.searchsorted(self.ranks, value)
        return key.astype(np.int64) * self.span + (value - self.low)

    def find(self, key: Codes, value: Ints) -> Ints:
        """The write's position for each pair, -1 where nobody wrote it."""
        inside = (value >= self.low) & (value <= self.low + self.span - 1)
        if self.ranks is not None:
            at = np.minimum(np.searchsorted(self.ranks, value), len(self.ranks) - 1)
            inside &= self.ranks[at] == value
        every = bool(inside.all())
        if not every:
            key, value = key[inside], value[inside]
        cell = self._cell(key, value)
        if self.table is not None:
            hit: Ints = self.table[cell].astype(np.int64)
        elif len(self.cells):
            at = np.minimum(np.searchsorted(self.cells, cell), len(self.cells) - 1)
            hit = np.where(self.cells[at] == cell, self.order[at], -1)
        else:
            hit = np.full(len(cell), -1, dtype=np.int64)
        if every:
            return hit
        found = np.full(len(inside), -1, dtype=np.int64)
        found[inside] = hit
        return found


@dataclass
class RegisterIndex:
    """Values of a history of registers, as said above. `*_of` arrays hold one per observer (-1: nobody wrote it)."""

    writers: Ints  # op of each written value
    written: Ints
    effective: Mask  # per value
    keys: int
    reads: Ints  # ops that definitely observed a value: ok reads, refused cas that said what was there
    read_of: Ints
    cas: Ints  # effective compare-and-sets, as values
    pred: Ints  # what each of them replaced, as values
    refused: Ints  # refused cas that did not say what was there
    refused_of: Ints
    unknown: int
    unknown_observed: int
    unknown_read: int  # of those, the ones a read observed
    duplicate: int  # op that writes a value somebody else wrote, -1 when values are unique

    @property
    def values(self) -> int:
        """How many values there are."""
        return len(self.writers) + self.keys

    @classmethod
    def build(cls, history: History, initial: int) -> RegisterIndex:
        """Index every op of `history`; O(n log n), O(n) when values are dense."""
        keys = max(1, len(history.names["key"]))
        is_cas = history.is_f("cas")
        writing = (history.is_f("write") | is_cas) & (history.outcome != FAIL)
        writers = np.flatnonzero(writing)
        cas_writer = is_cas[writers]
        written = np.where(cas_writer, history.value2[writers], history.value[writers])
        lookup = Lookup(history.key[writers], written, keys)
        duplicate = int(writers[lookup.duplicates[0]]) if len(lookup.duplicates) else -1
        again = np.flatnonzero(written == initial)
        if duplicate < 0 and len(again):
            duplicate = int(writers[again[0]])

        def find(ops: Ints, value: Ints) -> Ints:
            key = history.key[ops]
            at = lookup.find(key, value)
            at[value == initial] = len(writers) + np.maximum(key[value == initial], 0)
            return at

        failed_cas = is_cas & (history.outcome == FAIL)
        told = failed_cas & (history.result != NIL)
        reads = np.flatnonzero((history.is_f("read") & (history.outcome == OK)) | told)
        seen = (
            np.where(is_cas[reads], history.result[reads], history.value[reads]) if told.any() else history.value[reads]
        )
        read_of = find(reads, seen)
        cas_at = np.flatnonzero(cas_writer)
        pred = find(writers[cas_at], history.value[writers[cas_at]])

        effective = np.ones(len(writers) + keys, dtype=np.bool_)
        maybe = history.outcome[writers] == INFO
        if maybe.any():
            effective[: len(writers)] = ~maybe
            _close(effective, read_of, cas_at, pred, len(writers))
        kept = effective[cas_at]
        refused = np.flatnonzero(failed_cas & (history.result == NIL) & (history.error == history.code("error", "")))
        return cls(
            writers=writers,
            written=written,
            effective=effective,
            keys=keys,
            reads=reads,
            read_of=read_of,
            cas=cas_at[kept],
            pred=pred[kept],
            refused=refused,
            refused_of=find(refused, history.value[refused]),
            unknown=int(maybe.sum()),
            unknown_observed=int((maybe & effective[: len(writers)]).sum()),
            unknown_read=_unknown_read(maybe, read_of),
            duplicate=duplicate,
        )


def _unknown_read(maybe: Mask, read_of: Ints) -> int:
    """How many writes of unknown outcome a read observed."""
    if not maybe.any():
        return 0
    read = np.zeros(len(maybe), dtype=np.bool_)
    read[read_of[(read_of >= 0) & (read_of < len(maybe))]] = True
    return int((maybe & read).sum())


def _close(effective: Mask, read_of: Ints, cas_at: Ints, pred: Ints, writers: int) -> None:
    """Mark the unknown writes that were observed, transitively through compare-and-sets."""
    cas_pred = np.full(writers, -1, dtype=np.int64)
    cas_pred[cas_at] = pred
    frontier = np.concatenate([read_of, pred[effective[cas_at]]])
    while len(frontier):
        frontier = frontier[frontier >= 0]
        frontier = np.unique(frontier[~effective[frontier]])
        effective[frontier] = True
        frontier = cas_pred[frontier[frontier < writers]]


def bounds(history: History, index: RegisterIndex) -> tuple[Ints, Ints, Ints, Ints]:
    """Per value: start and end of its write, earliest end and latest start of its reads."""
    size, writers = index.values, len(index.writers)
    wrote_from, wrote_to = np.full(size, PAST), np.full(size, PAST)
    wrote_from[:writers], wrote_to[:writers] = history.start[index.writers], history.end[index.writers]
    read_end, read_start = np.full(size, FOREVER), np.full(size, PAST)
    np.minimum.at(read_end, index.read_of, history.end[index.reads])
    np.maximum.at(read_start, index.read_of, history.start[index.reads])
    return wrote_from, wrote_to, read_end, read_start
