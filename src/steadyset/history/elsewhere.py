"""A history that another machine recorded, brought to this machine's clock with what is uncertain about that."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from steadyset.history.writer import SCHEMA

_CLOCK = b"clock_uncertainty_ns"


def bring_here(raw: bytes, path: Path, *, ahead_ns: int, uncertainty_ns: int) -> bool:
    """Write the stream `raw` to `path` with every time less `ahead_ns`; whether it was whole.

    `ahead_ns` is how far the other machine's monotonic clock is ahead of this one's, as it was measured, and
    `uncertainty_ns` how much that may be wrong: readers widen every op by it. What was being written when the stream
    was cut is left out, and the end marker with it, so that readers see that it is not complete.
    """
    source = io.BytesIO(raw)
    time_at = SCHEMA.get_field_index("time")
    whole = False
    temporary = path.with_suffix(".tmp")
    try:
        stream = pa.ipc.open_stream(source)
    except (pa.ArrowInvalid, OSError):
        return False  # not even its header was written yet
    metadata = {**(stream.schema.metadata or {}), _CLOCK: str(uncertainty_ns).encode()}
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.OSFile(str(temporary), "wb") as sink:
        writer = pa.ipc.new_stream(sink, stream.schema.with_metadata(metadata), options=options)
        while True:
            try:
                batch = stream.read_next_batch()
            except StopIteration:
                whole = raw.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
                break
            except (pa.ArrowInvalid, OSError):
                break
            times = pc.subtract(batch.column(time_at), pa.scalar(ahead_ns, pa.int64()))
            writer.write_batch(batch.set_column(time_at, stream.schema.field(time_at), times))
        if whole:
            writer.close()
    temporary.replace(path)
    return whole
