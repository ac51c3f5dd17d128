"""The watch trace: what the cluster's objects and nodes did, in the order and at the times they were seen.

An append-only file of JSON lines. Each record is one `write(2)` of one whole line to a file opened with O_APPEND, so a
writer killed at any byte leaves every earlier record readable, and several processes may append to one trace.
`t` is CLOCK_MONOTONIC nanoseconds, `w` is wall-clock nanoseconds since the epoch; both are taken when the event was
received, except for NODE records, where they say when it happened.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from steadyset.errors import UsageError

NODE_EVIDENCE = "NodeEvidence"  # the kind under which gaps and listings of node-side evidence are recorded
EVENTS = ("SYNC", "ADDED", "MODIFIED", "DELETED", "GAP", "NODE", "NOTE")
NOTE_LISTED = "listed"  # obj.what of the note that a kind's first list is complete
NOTE_NOT_OBSERVED = "not-observed"  # … that a kind cannot be watched; obj.reason says why
NOTE_END = "end"  # … that the observer stopped in good order
NOTE_SNAPSHOT = "snapshot"  # … that the observer was alive and complete up to here
_NOTHING = msgspec.Raw(b"null")
_GENERATE = -1
_VOUCH_NS = 2_000_000_000  # events may go on arriving between a snapshot and the reading of the file


class Record(msgspec.Struct, dict=True, omit_defaults=True):
    """One line of a trace. `inferred` marks a change found by listing again after a gap: `t` is its latest time."""

    t: int
    w: int
    e: str
    k: str = ""
    ns: str = ""
    name: str = ""
    uid: str = ""
    rv: str = ""
    inferred: bool = False
    raw: msgspec.Raw = msgspec.field(default=_NOTHING, name="obj")

    @cached_property
    def obj(self) -> dict[str, Any]:
        """The object, gap, node event or note as plain dicts; empty where the record carries none."""
        value = msgspec.json.decode(self.raw)
        return value if isinstance(value, dict) else {}


class _GapBody(msgspec.Struct):
    """What the object of a GAP must have."""

    from_ns: int
    until_ns: int
    reason: str


class _NodeBody(msgspec.Struct):
    """What the object of a NODE event must have."""

    what: str
    node: str


_BODIES: dict[str, type[msgspec.Struct]] = {"GAP": _GapBody, "NODE": _NodeBody}


class TraceWriter:
    """Appends records to a trace; thread-safe, and safe beside other writers of the same file.

    Raises OSError where the file cannot be written: a trace with a silent hole would be worse than none.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self.records = 0
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")  # a torn last line of a killed writer must not swallow our first record

    def write(
        self,
        e: str,
        *,
        k: str = "",
        ns: str = "",
        name: str = "",
        uid: str = "",
        rv: str = "",
        obj: object = None,
        t: int = _GENERATE,
        w: int = _GENERATE,
        inferred: bool = False,
    ) -> None:
        """Append one record; `t` and `w` default to now. `obj` may be anything msgspec encodes, also `msgspec.Raw`."""
        raw = obj if isinstance(obj, msgspec.Raw) else msgspec.Raw(self._encoder.encode(obj))
        with self._lock:
            t = time.monotonic_ns() if t == _GENERATE else t
            w = time.time_ns() if w == _GENERATE else w
            line = self._encoder.encode(Record(t, w, e, k, ns, name, uid, rv, inferred, raw)) + b"\n"
            written = os.write(self._fd, line)
            while written < len(line):  # a full disk or a signal: finish the line or raise
                written += os.write(self._fd, line[written:])
            self.records += 1

    def note(self, what: str, *, k: str = "", name: str = "", **details: object) -> None:
        """Append a NOTE with `obj: {what: …, **details}`."""
        self.write("NOTE", k=k, name=name, obj={"what": what, **details})

    def gap(self, kind: str, from_ns: int, until_ns: int, reason: str, *, name: str = "", **details: object) -> None:
        """Append a GAP: `kind` (of `name`, a node, for node evidence) was not seen from `from_ns` until `until_ns`.

        `lossless=True` says that the events of the gap follow, late but complete; `open=True` that it never ended.
        """
        obj = {"from_ns": from_ns, "until_ns": until_ns, "reason": reason, **details}
        self.write("GAP", k=kind, name=name, obj=obj)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Gap:
    """A blind window of one kind. `lossless`: its events came later, complete. `open`: it lasted until the end."""

    kind: str
    name: str
    from_ns: int
    until_ns: int
    reason: str
    lossless: bool = False
    open: bool = False

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.until_ns - self.from_ns) / 1e9

    def overlaps(self, from_ns: int, until_ns: int) -> bool:
        """Whether the gap and the window have a moment in common."""
        return self.from_ns <= until_ns and from_ns <= self.until_ns


@dataclass
class Lifetime:
    """One incarnation (one UID) of an object, as seen."""

    kind: str
    ns: str
    name: str
    uid: str
    records: list[Record] = field(default_factory=list)  # SYNC/ADDED/MODIFIED, in order of resourceVersion
    deletion: Record | None = None

    @property
    def first(self) -> Record:
        """The first record; `first.e == "SYNC"` means that it existed before the trace began."""
        return self.records[0]

    @property
    def created_in_trace(self) -> bool:
        """Whether the trace saw the creation itself (neither initial nor found after a gap)."""
        return self.first.e == "ADDED" and not self.first.inferred

    @property
    def start_ns(self) -> int:
        """When it was first seen."""
        return self.first.t

    @property
    def end_ns(self) -> int | None:
        """When its deletion was seen; None while it lives."""
        return self.deletion.t if self.deletion else None

    @property
    def last(self) -> dict[str, Any]:
        """The last state seen with content (the deletion event's own, when it has one)."""
        if self.deletion and self.deletion.obj:
            return self.deletion.obj
        return self.records[-1].obj

    def at(self, t: int) -> dict[str, Any] | None:
        """The state as seen at `t`; None before the first and after the deletion."""
        if self.deletion and t >= self.deletion.t:
            return None
        state = None
        for record in self.records:
            if record.t > t:
                break
            state = record
        return state.obj if state else None

    def states(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(time, state) of every record, and of the deletion event when it carries a state."""
        for record in self.records:
            yield record.t, record.obj
        if self.deletion and self.deletion.obj:
            yield self.deletion.t, self.deletion.obj


class Trace:
    """A trace in memory, ordered by time; see `load_trace`. `problems` lists what was unreadable in the file."""

    def __init__(self, records: Iterable[Record], *, path: str = "", problems: Iterable[str] = ()) -> None:
        self.path = path
        self.records = sorted(records, key=lambda r: r.t)
        self.problems = list(problems)

    @property
    def start_ns(self) -> int:
        """Time of the first record; 0 for an empty trace."""
        return self.records[0].t if self.records else 0

    @property
    def end_ns(self) -> int:
        """Time of the last record."""
        return self.records[-1].t if self.records else 0

    @cached_property
    def complete(self) -> bool:
        """Whether the observer vouched for the trace's end: an `end` note, or a fresh `snapshot` note."""
        vouched = [r.t for r in self.notes(NOTE_SNAPSHOT)]
        return bool(self.notes(NOTE_END)) or bool(vouched and self.end_ns - max(vouched) <= _VOUCH_NS)

    def seconds(self, t: int) -> float:
        """Seconds since the trace began."""
        return (t - self.start_ns) / 1e9

    @cached_property
    def _by_kind(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            if record.e in ("SYNC", "ADDED", "MODIFIED", "DELETED"):
                found[record.k].append(record)
        return found

    def of(self, kind: str, ns: str | None = None, name: str | None = None) -> list[Record]:
        """Object records (SYNC, ADDED, MODIFIED, DELETED) of a kind, optionally of one namespace or one name."""
        return [
            r for r in self._by_kind.get(kind, []) if (ns is None or r.ns == ns) and (name is None or r.name == name)
        ]

    @cached_property
    def _lifetimes(self) -> dict[str, list[Lifetime]]:
        found: dict[str, list[Lifetime]] = {}
        for kind, records in self._by_kind.items():
            by_uid: dict[str, Lifetime] = {}
            for r in records:
                life = by_uid.get(r.uid)
                if life is None:
                    life = by_uid[r.uid] = Lifetime(kind, r.ns, r.name, r.uid)
                if r.e == "DELETED":
                    life.deletion = r
                else:
                    life.records.append(r)
            for life in by_uid.values():
                if not life.records and life.deletion:
                    life.records.append(life.deletion)  # its whole visible life is its end
            found[kind] = list(by_uid.values())
        return found

    def lifetimes(self, kind: str, ns: str | None = None, name: str | None = None) -> list[Lifetime]:
        """Every incarnation of the kind's objects, in order of first sight."""
        return [
            life
            for life in self._lifetimes.get(kind, [])
            if (ns is None or life.ns == ns) and (name is None or life.name == name)
        ]

    def gaps(self, kind: str | None = None, *, lossless: bool = False) -> list[Gap]:
        """Blind windows, of one kind or of all; those whose events came later complete only with `lossless=True`."""
        found = []
        for r in self.records:
            if r.e != "GAP" or (kind is not None and r.k != kind):
                continue
            o = r.obj
            gap = Gap(
                r.k, r.name, o["from_ns"], o["until_ns"], o["reason"], bool(o.get("lossless")), bool(o.get("open"))
            )
            if lossless or not gap.lossless:
                found.append(gap)
        return found

    @cached_property
    def node_events(self) -> list[Record]:
        """Node-side evidence: containers started and stopped, volumes mounted and unmounted."""
        return [r for r in self.records if r.e == "NODE"]

    def notes(self, what: str | None = None) -> list[Record]:
        """NOTE records, optionally those of one `what`."""
        return [r for r in self.records if r.e == "NOTE" and (what is None or r.obj.get("what") == what)]

    @cached_property
    def listed(self) -> frozenset[str]:
        """Kinds whose initial list is complete."""
        return frozenset(r.k for r in self.notes(NOTE_LISTED))

    def unobserved(self, kind: str) -> str:
        """Why `kind` was not observed ("403 Forbidden …", "never listed"); empty when it was."""
        if kind in self.listed:
            return ""
        for r in self.notes(NOTE_NOT_OBSERVED):
            if r.k == kind:
                return str(r.obj.get("reason", "not observed"))
        return "never listed"

    def window(self, from_ns: int, until_ns: int) -> Trace:
        """The records from `from_ns` to `until_ns`, both included."""
        return Trace((r for r in self.records if from_ns <= r.t <= until_ns), path=self.path, problems=self.problems)


def load_trace(path: Path | str, *, until_ns: int | None = None) -> Trace:
    """Read a trace; a torn line is left out and named in `Trace.problems`. UsageError when there is no such file.

    `until_ns` leaves out what was recorded later, for judging while the observer is still at work.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no trace at {path}", expected="a file written by the observer") from None
    decoder = msgspec.json.Decoder(Record)
    records: list[Record] = []
    problems: list[str] = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            line.decode()  # the objects within are decoded when they are asked for, which must not fail then
            record = decoder.decode(line)
            if record.e not in EVENTS:
                raise msgspec.ValidationError(f"unknown event {record.e!r}")
            if record.e in _BODIES:
                msgspec.json.decode(record.raw, type=_BODIES[record.e])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = "torn last line" if number == len(lines) else "unreadable line"
            problems.append(f"{what} {number} ({len(line)} bytes): {error}")
            continue
        if until_ns is None or record.t <= until_ns:
            records.append(record)
    return Trace(records, path=str(path), problems=problems)
