"""The recorder of one load process: events in batches to an Arrow IPC stream that survives SIGKILL."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from steadyset.errors import SteadysetError
from steadyset.history.columns import FAIL, INFO, NAMED, NIL, OK

BATCH_EVENTS: Final = 4096
BATCH_AGE_NS: Final = 100_000_000
_BUFFER_BYTES: Final = 1 << 20  # a batch without whole reads fits: it reaches the file in one write(2)

_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        ("op", pa.int64()),
        ("type", pa.int8()),
        ("time", pa.int64()),
        ("process", pa.int32()),
        ("f", _NAMES),
        ("key", _NAMES),
        ("value", pa.int64()),
        ("value2", pa.int64()),
        ("values", pa.list_(pa.int64())),
        ("server", _NAMES),
        ("session", _NAMES),
        ("error", _NAMES),
        ("epoch", pa.int64()),
    ]
)
_TYPES: Final = {"ok": OK, "fail": FAIL, "info": INFO}
_INVOKE: Final = 0
# An event as it waits for its batch: bytes, which the garbage collector does not walk and NumPy reads as columns.
_pack: Final = struct.Struct("<qqqqqqiiiiiib").pack
_LAYOUT: Final = np.dtype(
    [(name, "<i8") for name in ("op", "time", "value", "value2", "epoch", "values")]
    + [(name, "<i4") for name in ("process", "f", "key", "server", "session", "error")]
    + [("type", "i1")]
)


class _Codes(dict[str, int]):
    """The code of each name: a new name gets the next one, the empty one has 0. `column` has them for Arrow."""

    def __init__(self) -> None:
        super().__init__({"": 0})
        self._lock = threading.Lock()
        self._column = pa.array([], pa.string())

    def __missing__(self, name: str) -> int:
        with self._lock:
            return self.setdefault(name, len(self))

    def column(self) -> pa.Array:
        if len(self._column) < len(self):
            self._column = pa.array(list(self), pa.string())
        return self._column


class HistoryWriter:
    """Records events of one load process. Thread- and greenlet-safe.

    `path` is the file (`<generator>.arrows`) to create; `clock_uncertainty_ns` how far this machine's clock may be
    off the judging machine's (0 on the same machine). Raises FileExistsError when the file exists.
    Events reach the file when 4096 have gathered, when one arrives over 100 ms after the last write, and on flush and
    close; close it when the threads that record have ended.
    """

    def __init__(self, path: Path | str, *, generator: str = "", clock_uncertainty_ns: int = 0) -> None:
        self.path = Path(path)
        self.generator = generator or self.path.stem
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(exist_ok=False)
        self._file = pa.BufferedOutputStream(pa.OSFile(str(self.path), "wb"), _BUFFER_BYTES)
        metadata = {
            "generator": self.generator,
            "clock_uncertainty_ns": str(clock_uncertainty_ns),
            "start_wall": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self._stream = pa.ipc.new_stream(
            self._file,
            SCHEMA.with_metadata(metadata),
            options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True),
        )
        self._file.flush()
        self._lock = threading.Lock()
        self._ops = itertools.count()
        self._rows: list[bytes] = []
        self._lists: dict[int, Sequence[int]] = {}  # whole reads and transactions of the events in _rows
        self._list_numbers = itertools.count(1)
        self._written_ns = 0
        self._open: dict[int, tuple[int, int, int, int]] = {}  # process, and codes of f, key and session
        self._f, self._key, self._server, self._session, self._error = (_Codes() for _ in range(5))
        self._codes = dict(zip(NAMED, (self._f, self._key, self._session, self._server, self._error), strict=True))
        self._closed = False

    def invoke(
        self,
        process: int,
        f: str,
        key: str = "",
        value: int | None = None,
        value2: int | None = None,
        session: str = "",
        values: Sequence[int] | None = None,
    ) -> int:
        """Record that `process` is about to send `f` on `key`; returns the op's number for `complete`.

        `value2` is the new value of a cas; `values` is a transaction's encoded micro-ops.
        """
        op = next(self._ops)
        now = time.monotonic_ns()
        name, where, who = self._f[f], self._key[key], self._session[session]
        self._open[op] = process, name, where, who
        self._append(
            now,
            _pack(
                op,
                now,
                NIL if value is None else value,
                NIL if value2 is None else value2,
                -1,
                0 if values is None else self._kept(values),
                process,
                name,
                where,
                0,
                who,
                0,
                _INVOKE,
            ),
        )
        return op

    def complete(
        self,
        op: int,
        outcome: str,
        value: int | None = None,
        values: Sequence[int] | None = None,
        server: str = "",
        epoch: int = -1,
        error: str = "",
        session: str = "",
    ) -> None:
        """Record how `op` ended: "ok" it took effect, "fail" it did not and never will, "info" nobody knows.

        `value` is what came back (a read's value, the current value of a failed cas, a counter's new value); `session`
        replaces the one that was invoked, where only the answer tells (a delivery that is flagged as a second one).
        """
        now = time.monotonic_ns()
        type_ = _TYPES.get(outcome)
        known = self._open.pop(op, None)
        if type_ is None or known is None:
            raise SteadysetError(
                f"history {self.generator}: cannot complete op {op} as {outcome!r}",
                expected="an invoked, not yet completed op, and one of ok, fail, info",
            )
        process, f, key, invoked = known
        self._append(
            now,
            _pack(
                op,
                now,
                NIL if value is None else value,
                NIL,
                epoch,
                0 if values is None else self._kept(values),
                process,
                f,
                key,
                self._server[server],
                self._session[session] if session else invoked,
                self._error[error],
                type_,
            ),
        )

    def _kept(self, values: Sequence[int]) -> int:
        number = next(self._list_numbers)
        self._lists[number] = values
        return number

    def _append(self, now: int, event: bytes) -> None:
        """Without the lock: list.append is atomic, and `_write` takes only what was there when it began."""
        if self._closed:
            raise SteadysetError(f"history {self.generator} is closed", do="record before close()")
        rows = self._rows
        rows.append(event)
        if now - self._written_ns >= BATCH_AGE_NS or len(rows) >= BATCH_EVENTS:
            with self._lock:
                self._write()

    def _write(self) -> None:
        self._written_ns = time.monotonic_ns()
        count = len(self._rows)
        if not count:
            return
        events = np.frombuffer(b"".join(self._rows[:count]), _LAYOUT)
        del self._rows[:count]
        self._stream.write_batch(
            pa.RecordBatch.from_arrays([self._column(field, events) for field in SCHEMA], schema=SCHEMA)
        )
        self._file.flush()

    def _column(self, field: pa.Field, events: np.ndarray[Any, np.dtype[Any]]) -> pa.Array:
        """A column of a batch, over the memory of its array; NIL is written as null."""
        if field.name == "values":
            if not events["values"].any():
                return pa.nulls(len(events), field.type)
            lists = [self._lists.pop(number) if number else None for number in events["values"].tolist()]
            return pa.array(lists, field.type)
        numbers = np.ascontiguousarray(events[field.name])
        there = numbers != NIL if field.name in ("value", "value2") else None
        mask = None if there is None or there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
        codes = self._codes.get(field.name)
        stored = field.type if codes is None else field.type.index_type
        array = pa.Array.from_buffers(stored, len(numbers), [mask, pa.py_buffer(numbers)])
        return array if codes is None else pa.DictionaryArray.from_arrays(array, codes.column(), safe=False)

    def flush(self) -> None:
        """Write every event recorded so far to the file."""
        with self._lock:
            self._write()

    def close(self) -> None:
        """Flush and write the end marker. Ops still open stay unknown. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._write()
            self._stream.close()
            self._file.flush()
            self._file.close()
            self._closed = True

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
