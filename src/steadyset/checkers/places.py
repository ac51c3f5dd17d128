"""Rows in passes, and the place of each value among the distinct ones of some rows.

What is needed for every row is kept in four bytes, and what is needed for some rows alone is looked up there: on long
histories the kernel takes longer to give memory than the arithmetic takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steadyset.history.columns import Codes, Ints, Mask, Rows

_DENSE: Final = 4
_PASS: Final = 1 << 18


def passes(count: int) -> Iterator[slice]:
    """`count` rows in passes: what one of them needs fits into the cache."""
    return (slice(begin, min(begin + _PASS, count)) for begin in range(0, count, _PASS))


def parts(rows: Rows) -> Iterator[Rows]:
    """These rows in passes."""
    return (rows[some] for some in passes(len(rows)))


def row_type(count: int) -> type[np.signedinteger[Any]]:
    """The type for row numbers below `count`."""
    return np.int32 if count < 2**31 else np.int64


def rows_of(mask: Mask) -> Rows:
    """The rows that it holds of."""
    found = np.empty(int(np.count_nonzero(mask)), dtype=row_type(len(mask)))
    size = 0
    for some in passes(len(mask)):
        rows = np.flatnonzero(mask[some])
        found[size : size + len(rows)] = rows + some.start
        size += len(rows)
    return found


def where(rows: Rows, holds: Callable[[Rows], Mask]) -> Rows:
    """Those of the rows that it holds of, asked in passes."""
    found = [some[holds(some)] for some in parts(rows)]
    return np.concatenate(found) if found else rows


def take(column: NDArray[Any], rows: Rows) -> NDArray[Any]:
    """The column at these rows. (NumPy alone would widen all the row numbers at once.)"""
    found = np.empty(len(rows), dtype=column.dtype)
    for some in passes(len(rows)):
        found[some] = column[rows[some]]
    return found


def in_order(column: Ints, rows: Rows, *, strictly: bool = False) -> bool:
    """Whether the column does not fall along these rows; `strictly`: whether it rises."""
    rises = np.greater if strictly else np.greater_equal
    return all(
        bool(rises(some[1:], some[:-1]).all())
        for some in (column[rows[part.start : part.stop + 1]] for part in passes(len(rows)))
    )


def in_time(column: Ints, rows: Rows) -> Rows:
    """The rows in the order of the column; ties stay as they are, and so do all of them if they are in order."""
    return rows if in_order(column, rows) else rows[np.argsort(column[rows], kind="stable")]


@dataclass
class Places:
    """The distinct values in some rows of a column, by their places: 0 for the lowest."""

    count: int = 0
    of: Rows | None = None  # each row's place; None: the values rise, so that it is its position
    low: int = 0
    table: Codes | None = None  # value - low -> place, -1 for none; None with `values`: value - low is the place
    values: Ints | None = None  # sorted, where they are too sparse for a table

    @classmethod
    def build(cls, column: Ints, rows: Rows) -> Places:
        """Of the values at these rows."""
        count = len(rows)
        if not count:
            return cls()
        if rising := in_order(column, rows, strictly=True):
            low, high = int(column[rows[0]]), int(column[rows[-1]])
            if high - low + 1 == count:
                return cls(count, None, low)
        else:
            bounds = [(int(v.min()), int(v.max())) for v in (column[some] for some in parts(rows))]
            low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
        if high - low >= min(_DENSE * count + 1024, 2**31):
            if rising:
                return cls(count, None, low, None, column[rows])
            values, of = np.unique(column[rows], return_inverse=True)
            return cls(len(values), of, low, None, values)
        table = _table(column, rows, low, high)
        distinct = int(table[-1]) + 1  # the highest value's place
        of_row: Rows | None = None
        if not rising:
            of_row = np.empty(count, dtype=np.int32)
            for some in passes(count):
                of_row[some] = table[column[rows[some]] - low]
        return cls(distinct, of_row, low, None if distinct == len(table) else table)

    def find(self, values: Ints) -> Rows:
        """The place of each value, -1 for one that is not there."""
        if not self.count:
            return np.full(len(values), -1, dtype=np.int32)
        if self.values is not None:
            at = np.minimum(np.searchsorted(self.values, values), self.count - 1)
            return np.where(self.values[at] == values, at, -1)
        found = np.empty(len(values), dtype=row_type(self.count))
        for some in passes(len(values)):
            found[some] = self._look_up(values[some])
        return found

    def _look_up(self, values: Ints) -> Rows:
        cell = values - self.low
        outside = (values < self.low) | (cell >= (self.count if self.table is None else len(self.table))) | (cell < 0)
        if not outside.any():
            return cell if self.table is None else self.table[cell]
        cell[outside] = 0
        found = cell if self.table is None else self.table[cell]
        found[outside] = -1
        return found


def _table(column: Ints, rows: Rows, low: int, high: int) -> Codes:
    """For each number from the lowest value to the highest its place among the values: O(n)."""
    there = np.zeros(high - low + 1, dtype=np.bool_)
    for some in passes(len(rows)):
        there[column[rows[some]] - low] = True
    table = np.empty(len(there), dtype=np.int32)
    last = -1
    for some in passes(len(there)):
        here = there[some]
        upto = np.cumsum(here, dtype=np.int32)
        table[some] = np.where(here, upto + last, -1)
        last += int(upto[-1])
    return table
