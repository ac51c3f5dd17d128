"""A history in memory: NumPy columns of ops, each op an invocation paired with its completion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

OK: Final = 1
FAIL: Final = 2
INFO: Final = 3
OUTCOMES: Final = {OK: "ok", FAIL: "fail", INFO: "unknown"}

FOREVER: Final = int(np.iinfo(np.int64).max)  # end of an op that may still take effect
PAST: Final = -FOREVER  # before everything: when the initial value was written
NIL: Final = int(np.iinfo(np.int64).min)  # no value: null on disk

NAMED: Final = ("f", "key", "session", "server", "error")  # columns of codes into History.names

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Rows = NDArray[np.signedinteger[Any]]  # row numbers, in the fewer bytes where they fit


@dataclass(frozen=True)
class Generator:
    """One load process: its name, how far its clock may be off (ns), its wall clock start (ISO 8601 UTC)."""

    name: str
    clock_uncertainty_ns: int = 0
    start_wall: str = ""
    complete: bool = True  # its file ends with the end marker


class Op(NamedTuple):
    """One op as a plain tuple, to build small histories by hand and to import foreign ones."""

    f: str
    start: int
    end: int = FOREVER
    outcome: int = OK
    value: int = NIL
    value2: int = NIL
    result: int = NIL
    values: Sequence[int] | None = None
    key: str = ""
    process: int = 0
    server: str = ""
    session: str = ""
    error: str = ""
    epoch: int = -1


@dataclass(frozen=True, eq=False)
class History:
    """Columns of ops, in order of invocation per generator.

    `start` and `end` are ns (`end` is FOREVER unless the outcome is known), already widened by the generator's clock
    uncertainty. `outcome` is OK, FAIL or INFO. `value` is what was asked for, or for a read what came back;
    `value2` the new value of a cas; `result` what the completion returned, NIL when nothing. `f`, `key`, `session`,
    `server`, `error` are codes into `names[column]`. `values(i)` is the list a whole read returned.
    `complete` is False when a generator died before it closed its file: its last events may be missing.
    """

    start: Ints
    end: Ints
    outcome: NDArray[np.int8]
    process: Codes
    f: Codes
    key: Codes
    session: Codes
    server: Codes
    error: Codes
    value: Ints
    value2: Ints
    result: Ints
    epoch: Ints
    names: dict[str, list[str]]
    list_data: Ints
    list_start: Ints
    list_end: Ints  # -1 where the op has no list
    complete: bool = True
    generators: list[Generator] = field(default_factory=list)
    times_known: bool = True  # False when the source had an order but no clock: one event per unit

    def __len__(self) -> int:
        return len(self.start)

    @property
    def begin_ns(self) -> int:
        """Time of the first invocation, 0 for an empty history."""
        return int(self.start.min()) if len(self) else 0

    def code(self, column: str, name: str) -> int:
        """The code of `name` in `column`, -1 when it never occurs."""
        names = self.names[column]
        return names.index(name) if name in names else -1

    def is_f(self, *names: str) -> Mask:
        """Which ops are one of these functions."""
        codes = [self.code("f", name) for name in names]
        mask = np.zeros(len(self), dtype=np.bool_)
        for code in codes:
            if code >= 0:
                mask |= self.f == code
        return mask

    def name(self, column: str, i: int) -> str:
        """The name in `column` of op `i`."""
        code = int(getattr(self, column)[i])
        return self.names[column][code] if code >= 0 else ""

    def has_values(self, i: int) -> bool:
        """Whether op `i` carries a list."""
        return bool(self.list_end[i] >= 0)

    def values(self, i: int) -> Ints:
        """The list op `i` returned; empty when it has none."""
        return self.list_data[self.list_start[i] : max(self.list_end[i], self.list_start[i])]

    def select(self, index: Ints | Mask) -> History:
        """The history of these ops alone (the lists are shared, not copied)."""
        columns = {
            name: getattr(self, name)[index]
            for name in ("start", "end", "outcome", "process", *NAMED, "value", "value2", "result", "epoch")
        }
        return History(
            **columns,
            names=self.names,
            list_data=self.list_data,
            list_start=self.list_start[index],
            list_end=self.list_end[index],
            complete=self.complete,
            generators=self.generators,
            times_known=self.times_known,
        )


def history_of(ops: Iterable[Op], *, complete: bool = True, times_known: bool = True) -> History:
    """Build a history from plain ops. For tests and importers; O(ops) Python work."""
    rows = list(ops)
    names: dict[str, list[str]] = {}
    columns: dict[str, Codes] = {}
    for column in NAMED:
        codes: dict[str, int] = {}
        columns[column] = np.array([codes.setdefault(getattr(op, column), len(codes)) for op in rows], dtype=np.int32)
        names[column] = list(codes)
    lengths = [-1 if op.values is None else len(op.values) for op in rows]
    sizes = np.maximum(np.array(lengths, dtype=np.int64), 0)
    stops = np.cumsum(sizes)
    flat = [value for op in rows if op.values is not None for value in op.values]

    def ints(name: str) -> Ints:
        return np.array([getattr(op, name) for op in rows], dtype=np.int64)

    return History(
        start=ints("start"),
        end=np.array([FOREVER if op.outcome == INFO else op.end for op in rows], dtype=np.int64),
        outcome=np.array([op.outcome for op in rows], dtype=np.int8),
        process=np.array([op.process for op in rows], dtype=np.int32),
        value=ints("value"),
        value2=ints("value2"),
        result=ints("result"),
        epoch=ints("epoch"),
        names=names,
        list_data=np.array(flat, dtype=np.int64),
        list_start=stops - sizes,
        list_end=np.where(np.array(lengths, dtype=np.int64) >= 0, stops, -1).astype(np.int64),
        complete=complete,
        times_known=times_known,
        f=columns["f"],
        key=columns["key"],
        session=columns["session"],
        server=columns["server"],
        error=columns["error"],
    )
