"""The recorder of one load process: events in batches to an Arrow IPC stream that survives SIGKILL."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from steadyset.errors import SteadysetError
from steadyset.history.columns import FAIL, INFO, OK

BATCH_EVENTS: Final = 4096
BATCH_AGE_NS: Final = 100_000_000

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
_Row = tuple[int, int, int, int, str, str, int | None, int | None, Sequence[int] | None, str, str, str, int]


class _Codes(dict[str, int]):
    """The code of each name: a new name gets the next one."""

    def __missing__(self, name: str) -> int:
        code = self[name] = len(self)
        return code


class _Sink:
    """Collects what Arrow writes, so that one batch reaches the file in one write(2)."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(self.pieces[-1])

    def drain(self) -> None:
        data = memoryview(b"".join(self.pieces))
        self.pieces.clear()
        while data:
            data = data[os.write(self.descriptor, data) :]

    def flush(self) -> None:
        """Arrow calls it; batches are written by drain."""

    def close(self) -> None:
        self.closed = True


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
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._sink = _Sink(self._descriptor)
        metadata = {
            "generator": self.generator,
            "clock_uncertainty_ns": str(clock_uncertainty_ns),
            "start_wall": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self._stream = pa.ipc.new_stream(
            pa.PythonFile(self._sink, mode="w"),
            SCHEMA.with_metadata(metadata),
            options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True),
        )
        self._sink.drain()
        self._lock = threading.Lock()
        self._ops = itertools.count()
        self._rows: list[_Row] = []
        self._written_ns = 0
        self._open: dict[int, _Row] = {}
        self._codes = {name: _Codes() for name in ("f", "key", "server", "session", "error")}
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
        row = (op, _INVOKE, now, process, f, key, value, value2, values, "", session, "", -1)
        self._open[op] = row
        self._append(row, now)
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
        _, _, _, process, f, key, _, _, _, _, invoked, _, _ = known
        row = (op, type_, now, process, f, key, value, None, values, server, session or invoked, error, epoch)
        self._append(row, now)

    def _append(self, row: _Row, now: int) -> None:
        """Without the lock: list.append is atomic, and `_write` takes only what was there when it began."""
        if self._closed:
            raise SteadysetError(f"history {self.generator} is closed", do="record before close()")
        rows = self._rows
        rows.append(row)
        if now - self._written_ns >= BATCH_AGE_NS or len(rows) >= BATCH_EVENTS:
            with self._lock:
                self._write()

    def _write(self) -> None:
        self._written_ns = time.monotonic_ns()
        count = len(self._rows)
        if not count:
            return
        columns = zip(*self._rows[:count], strict=True)
        arrays = []
        for field, column in zip(SCHEMA, columns, strict=True):
            codes = self._codes.get(field.name)
            if codes is None:
                arrays.append(pa.array(column, type=field.type))
                continue
            indices = pa.array(list(map(codes.__getitem__, column)), pa.int32())
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array(list(codes), pa.string())))
        del self._rows[:count]
        self._stream.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        self._sink.drain()

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
            self._sink.drain()
            os.close(self._descriptor)
            self._closed = True

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
