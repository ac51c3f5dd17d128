"""Read recorded histories: every complete batch of every generator, events paired into ops."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from steadyset.errors import UsageError
from steadyset.history.columns import FOREVER, INFO, NAMED, NIL, Codes, Generator, History, Ints, history_of
from steadyset.history.writer import SCHEMA

_END_MARKER: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_CONTINUATION: Final = b"\xff\xff\xff\xff"
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError, LookupError, SystemError)  # what pyarrow raises for it


def load_history(path: Path | str) -> History:
    """The history in `path`: one `.arrows` file, or a folder with one per generator.

    A file without its end marker is read up to its last complete batch and makes `complete` False.
    Raises UsageError when there is nothing to read, when a file is no history, and when events contradict each other.
    """
    path = Path(path)
    files = sorted(path.glob("*.arrows")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise UsageError(
            f"no history at {path}",
            expected="an .arrows file or a folder of them",
            seen="an empty folder" if path.is_dir() else "nothing",
        )
    return _join([_load_file(file) for file in files])


def _read_batches(file: Path) -> tuple[pa.Table | None, dict[str, str], bool]:
    """Every complete batch, the stream's metadata, and whether the end marker was there."""
    size = file.stat().st_size
    with file.open("rb") as raw:
        head = raw.read(len(_CONTINUATION))
        raw.seek(max(0, size - len(_END_MARKER)))
        complete = raw.read() == _END_MARKER
    if head != _CONTINUATION[: len(head)]:
        raise UsageError(f"{file} is no history", expected="an Arrow IPC stream", seen=f"a file starting {head!r}")
    if not head:
        return None, {}, False
    batches: list[pa.RecordBatch] = []
    with pa.memory_map(str(file)) as source:
        try:
            stream = pa.ipc.open_stream(source)
            metadata = {k.decode(): v.decode() for k, v in (stream.schema.metadata or {}).items()}
            columns = {field.name: field.type for field in stream.schema}
        except _DAMAGE:
            return None, {}, False  # killed while it wrote the header
        missing = [field.name for field in SCHEMA if columns.get(field.name) != field.type]
        if missing:
            raise UsageError(f"{file} is no history", expected=f"columns {', '.join(missing)}", seen="not there")
        try:
            while True:
                batch = stream.read_next_batch()
                batch.validate(full=True)
                batches.append(batch)
        except StopIteration:
            pass
        except _DAMAGE:
            complete = False  # the batch being written when the process died, or one that was damaged since
        table = pa.Table.from_batches(batches, stream.schema).unify_dictionaries().combine_chunks()
    return table, metadata, complete


def _ints(table: pa.Table, name: str, null: int) -> Ints:
    """A column as int64; nulls become `null`, and a column of nothing but nulls costs no memory."""
    column = table[name]
    if column.null_count == len(column):
        return np.broadcast_to(np.int64(null), len(column))
    array = np.asarray(column.fill_null(null) if column.null_count else column)
    if array.size and int(array.min()) == int(array.max()):
        return np.broadcast_to(np.int64(array[0]), len(array))
    return array


def _take(column: Ints, index: Ints) -> Ints:
    if column.strides == (0,):
        return np.broadcast_to(column[0] if len(column) else np.int64(0), len(index))
    return column[index]


def _names(table: pa.Table, name: str) -> tuple[Codes, list[str]]:
    column = table[name]
    if not len(column):
        return np.zeros(0, dtype=np.int32), []
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    codes: Any = array.indices
    return np.asarray(codes.fill_null(-1) if codes.null_count else codes).astype(np.int32), array.dictionary.to_pylist()


def _load_file(file: Path) -> History:
    table, metadata, complete = _read_batches(file)
    said = metadata.get("clock_uncertainty_ns", "0")
    if not said.isdecimal():
        raise UsageError(f"{file}: no clock uncertainty", expected="whole nanoseconds", seen=said)
    uncertainty = int(said)
    generator = Generator(metadata.get("generator", file.stem), uncertainty, metadata.get("start_wall", ""), complete)
    if table is None:
        empty = history_of([], complete=False)
        empty.generators.append(generator)
        return empty
    op, type_, time = (np.asarray(table[name]) for name in ("op", "type", "time"))
    invoked = np.flatnonzero(type_ == 0)
    if (np.diff(op[invoked]) < 0).any():  # threads draw their number and append in two steps
        invoked = invoked[np.argsort(op[invoked], kind="stable")]
    done = np.flatnonzero(type_ != 0)
    of = _pair(file, op, type_, invoked, done)
    last = np.full(len(invoked), -1, dtype=np.int64)  # row of each op's completion
    last[of] = done
    has = last >= 0
    from_last = np.where(has, last, invoked)
    start = time[invoked].astype(np.int64)
    outcome = np.where(has, type_[from_last], INFO).astype(np.int8)
    end = np.where(outcome == INFO, FOREVER, time[from_last]).astype(np.int64)
    backwards = np.flatnonzero(end < start)
    if len(backwards):
        raise UsageError(
            f"{file}: op {op[invoked[backwards[0]]]} ends before it starts", do="check the recorder's clock"
        )
    if uncertainty:
        start = start - uncertainty
        end = np.where(end == FOREVER, FOREVER, end + uncertainty)

    value = _ints(table, "value", NIL)
    asked = _take(value, invoked)
    result = np.where(has, _take(value, from_last), NIL).astype(np.int64)
    if (result == NIL).all():
        result = np.broadcast_to(np.int64(NIL), len(invoked))
    codes: dict[str, Codes] = {}
    names: dict[str, list[str]] = {}
    for column in NAMED:
        all_codes, names[column] = _names(table, column)
        codes[column] = all_codes[from_last if column in ("server", "error", "session") else invoked]
    lists = table["values"]
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], lists.type)
    offsets = np.asarray(lists.offsets).astype(np.int64)
    present = np.asarray(lists.is_valid())
    row = np.where(present[from_last], from_last, invoked) if len(present) else from_last
    return History(
        start=start,
        end=end,
        outcome=outcome,
        process=np.asarray(table["process"])[invoked].astype(np.int32),
        value=asked if (asked != NIL).all() else np.where(asked == NIL, result, asked),
        value2=_take(_ints(table, "value2", NIL), invoked),
        result=result,
        epoch=_take(_ints(table, "epoch", -1), from_last),
        names=names,
        list_data=np.asarray(lists.values).astype(np.int64),
        list_start=offsets[row],
        list_end=np.where(present[row], offsets[row + 1], -1).astype(np.int64),
        complete=complete,
        generators=[generator],
        f=codes["f"],
        key=codes["key"],
        session=codes["session"],
        server=codes["server"],
        error=codes["error"],
    )


def _pair(file: Path, op: Ints, type_: Any, invoked: Ints, done: Ints) -> Ints:
    """Position (among invocations) of each completion's op; UsageError when events contradict each other."""
    ops = op[invoked]
    if len(ops) and (np.diff(ops) <= 0).any():
        at = int(np.flatnonzero(np.diff(ops) <= 0)[0]) + 1
        raise UsageError(f"{file}: op {ops[at]} is invoked twice", expected="a number of its own for each op")
    unknown = np.flatnonzero((type_ < 0) | (type_ > INFO))
    if len(unknown):
        row = int(unknown[0])
        raise UsageError(
            f"{file}: event {row} has unknown type {type_[row]}", expected="0 invoke, 1 ok, 2 fail, 3 info"
        )
    of = np.searchsorted(ops, op[done])
    orphan = (of >= len(ops)) | (ops[np.minimum(of, max(len(ops) - 1, 0))] != op[done]) if len(ops) else done >= 0
    early = np.zeros(len(done), dtype=np.bool_) if orphan.any() else invoked[of] > done
    for mask, what in ((orphan, "completes but was never invoked"), (early, "completes before it is invoked")):
        if mask.any():
            raise UsageError(f"{file}: op {op[done[np.flatnonzero(mask)[0]]]} {what}")
    if len(np.unique(of)) != len(of):
        order = np.sort(of)
        twice = order[:-1][np.diff(order) == 0]
        raise UsageError(f"{file}: op {ops[twice[0]]} completes twice")
    return of


def _join(parts: list[History]) -> History:
    """One history of several generators: names merged, processes made disjoint."""
    if len(parts) == 1:
        return parts[0]
    names: dict[str, list[str]] = {}
    codes: dict[str, Codes] = {}
    for column in NAMED:
        merged: dict[str, int] = {}
        mapped = []
        for part in parts:
            table = np.array([merged.setdefault(name, len(merged)) for name in part.names[column]] + [-1], np.int32)
            mapped.append(table[getattr(part, column)])
        names[column], codes[column] = list(merged), np.concatenate(mapped)
    processes, list_starts, list_ends = [], [], []
    first_process = first_value = 0
    for part in parts:
        low = int(part.process.min()) if len(part) else 0
        processes.append(part.process - low + first_process)
        first_process += int(part.process.max()) - low + 1 if len(part) else 0
        list_starts.append(part.list_start + first_value)
        list_ends.append(np.where(part.list_end < 0, -1, part.list_end + first_value))
        first_value += len(part.list_data)

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return History(
        start=joined("start"),
        end=joined("end"),
        outcome=joined("outcome"),
        process=np.concatenate(processes).astype(np.int32),
        value=joined("value"),
        value2=joined("value2"),
        result=joined("result"),
        epoch=joined("epoch"),
        names=names,
        list_data=joined("list_data"),
        list_start=np.concatenate(list_starts),
        list_end=np.concatenate(list_ends),
        complete=all(part.complete for part in parts),
        generators=[generator for part in parts for generator in part.generators],
        f=codes["f"],
        key=codes["key"],
        session=codes["session"],
        server=codes["server"],
        error=codes["error"],
    )
