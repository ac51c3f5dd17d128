"""The recorder of one load process: events in batches to an Arrow IPC stream that survives SIGKILL."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from steadyset.errors import SteadysetError
from steadyset.history.columns import FAIL, INFO, NAMED, NIL, OK

BATCH_OPS: Final = 2048
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
# An event on its way into its batch: bytes, which NumPy reads as columns.
_pack: Final = struct.Struct("<qqqqqqiiiiiib").pack
_LAYOUT: Final = np.dtype(
    [(name, "<i8") for name in ("op", "time", "value", "value2", "epoch", "values")]
    + [(name, "<i4") for name in ("process", "f", "key", "server", "session", "error")]
    + [("type", "i1")]
)


class Answer(NamedTuple):
    """How an op ended. `outcome` is ok (took effect), fail (did not and never will) or info (nobody knows)."""

    outcome: str
    value: int | None = None
    values: Sequence[int] | None = None
    server: str = ""
    epoch: int = -1
    error: str = ""
    session: str = ""  # replaces the op's, where only the answer tells


# An op from its invocation on: begin, process, f, key, value, value2, session, values; then what is not known yet: its
# number (once its invocation is in the file), its end (0: open) and the answer.
Invoked = list[Any]
_BEGIN, _NUMBER, _END, _ANSWER = 0, 8, 9, 10


class _Codes(dict[str, int]):
    """The code of each name: a new name gets the next one, the empty one has 0. `column` has them for Arrow."""

    def __init__(self) -> None:
        super().__init__({"": 0})
        self._column = pa.array([], pa.string())

    def __missing__(self, name: str) -> int:
        return self.setdefault(name, len(self))

    def column(self) -> pa.Array:
        if len(self._column) < len(self):
            self._column = pa.array(list(self), pa.string())
        return self._column


def _kept(lists: list[Sequence[int]], values: Sequence[int]) -> int:
    lists.append(values)
    return len(lists)


class HistoryWriter:
    """Records events of one load process. Thread- and greenlet-safe.

    `path` is the file (`<generator>.arrows`) to create; `clock_uncertainty_ns` how far this machine's clock may be
    off the judging machine's (0 on the same machine). Raises FileExistsError when the file exists.
    Events reach the file when 2048 ops have ended, when one arrives over 100 ms after the last write, and on flush and
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
        self._ops: list[Invoked] = []  # those that are not in the file, or not with their answers
        self._full = BATCH_OPS
        self._numbers = itertools.count()
        self._written_ns = 0
        self._codes = {name: _Codes() for name in NAMED}
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
    ) -> Invoked:
        """Record that `process` is about to send `f` on `key`; returns the op for `complete`.

        `value2` is the new value of a cas; `values` is a transaction's encoded micro-ops.
        """
        now = time.monotonic_ns()
        op = [now, process, f, key, value, value2, session, values, -1, 0, None]
        self._ops.append(op)
        if now - self._written_ns >= BATCH_AGE_NS:
            self._write_batch()
            op[_BEGIN] = time.monotonic_ns()  # the time of writing is no latency of the server
        return op

    def complete(
        self,
        op: Invoked,
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
        self.answered(op, Answer(outcome, value, values, server, epoch, error, session))

    def answered(self, op: Invoked, answer: Answer) -> int:
        """`complete`, of an answer as it is; returns the op's latency in ns."""
        now = time.monotonic_ns()
        if op[_END] or answer[0] not in _TYPES:
            raise SteadysetError(
                f"history {self.generator}: cannot complete {op[2]} as {answer[0]!r}",
                expected="an invoked, not yet completed op, and one of ok, fail, info",
            )
        op[_ANSWER] = answer
        op[_END] = now
        if now - self._written_ns >= BATCH_AGE_NS or len(self._ops) >= self._full:
            self._write_batch()
        return now - op[_BEGIN]  # type: ignore[no-any-return]

    def _write_batch(self) -> None:
        with self._lock:
            if self._closed:
                raise SteadysetError(f"history {self.generator} is closed", do="record before close()")
            self._write()

    def _write(self) -> None:
        """The ops that ended, and the invocations of those that are open. Recording meanwhile needs no lock."""
        self._written_ns = time.monotonic_ns()
        ops = self._ops[:]
        codes = self._codes
        f_of, key_of, session_of = codes["f"], codes["key"], codes["session"]
        server_of, error_of = codes["server"], codes["error"]
        waiting: list[Invoked] = []
        events: list[bytes] = []
        lists: list[Sequence[int]] = []
        for op in ops:
            begin, process, f, key, asked, value2, session, asked_values, number, end, answer = op
            f_code, key_code, session_code = f_of[f], key_of[key], session_of[session]
            if number < 0:
                op[_NUMBER] = number = next(self._numbers)
                events.append(
                    _pack(
                        number,
                        begin,
                        NIL if asked is None else asked,
                        NIL if value2 is None else value2,
                        -1,
                        0 if asked_values is None else _kept(lists, asked_values),
                        process,
                        f_code,
                        key_code,
                        0,
                        session_code,
                        0,
                        _INVOKE,
                    )
                )
            if not end:
                waiting.append(op)
                continue
            outcome, value, values, server, epoch, error, said = answer
            events.append(
                _pack(
                    number,
                    end,
                    NIL if value is None else value,
                    NIL,
                    epoch,
                    0 if values is None else _kept(lists, values),
                    process,
                    f_code,
                    key_code,
                    server_of[server],
                    session_of[said] if said else session_code,
                    error_of[error],
                    _TYPES[outcome],
                )
            )
        if not events:
            return
        self._ops[: len(ops)] = waiting
        self._full = len(waiting) + BATCH_OPS
        columns = np.frombuffer(b"".join(events), _LAYOUT)
        arrays = [self._column(field, columns[field.name], lists) for field in SCHEMA]
        self._stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        self._file.flush()

    def _column(self, field: pa.Field, column: np.ndarray[Any, np.dtype[Any]], lists: list[Sequence[int]]) -> pa.Array:
        """A column of a batch, over the memory of its array; NIL is written as null."""
        if field.name == "values":
            if not lists:
                return pa.nulls(len(column), field.type)
            return pa.array([lists[number - 1] if number else None for number in column.tolist()], field.type)
        numbers = np.ascontiguousarray(column)
        there = numbers != NIL if field.name in ("value", "value2") else None
        mask = None if there is None or there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
        codes = self._codes.get(field.name)
        stored = field.type if codes is None else field.type.index_type
        array = pa.Array.from_buffers(stored, len(numbers), [mask, pa.py_buffer(numbers)])
        return array if codes is None else pa.DictionaryArray.from_arrays(array, codes.column(), safe=False)

    def flush(self) -> None:
        """Write every event recorded so far to the file; harmless after close."""
        with self._lock:
            if not self._closed:
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
            self._written_ns = -BATCH_AGE_NS  # whoever records from now on is told

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
