"""Events of foreign histories: Jepsen EDN, JSON, JSON lines and text logs, each with the line it came from."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from steadyset.errors import UsageError
from steadyset.history.columns import FAIL, INFO, NIL, OK
from steadyset.history.edn import EdnError, read_forms, read_one

INVOKE: Final = 0
NO_TIME: Final = NIL  # the time of an event whose source has none
TYPES: Final = {"invoke": INVOKE, "ok": OK, "fail": FAIL, "info": INFO}
FORMATS: Final = "Jepsen EDN, JSON, JSON lines, a Jepsen text log, or Arrow"
NEMESIS: Final = "nemesis"  # its events, as Jepsen names them, are no ops
_LOG_MARK: Final = re.compile(r"jepsen[\w.]*(?: -|:)[ \t]+")  # the logger's name, in old and in new logs
_LOG_OPS: Final = re.compile(r"jepsen\.util(?: -|:)[ \t]")  # the logger of ops
_LOG_EVENT: Final = re.compile(r"(\S+)[ \t]+:(\S+)[ \t]+:(\S+)(?:[ \t]+(\S.*))?$")
_JSON: Final = re.compile(r'\[?\s*\{\s*"[^"]*"\s*:')
_PROCESSES: Final = 2**31
_NAMED_FROM: Final = 2**30  # processes with names get numbers from here
_TIMES: Final = 2**62
Progress = Callable[[int, int], None]


class Event(NamedTuple):
    """One line of a foreign history. `time` is NO_TIME where the source has none."""

    line: int
    type: int
    f: str
    value: Any
    process: int
    time: int
    error: str
    fields: dict[str, Any]  # everything the source says of it


class BadLineError(UsageError):
    """Input that cannot be judged: names the file and the line."""

    def __init__(self, path: Path, line: int, what: str, *, expected: str = "", seen: str = "") -> None:
        super().__init__(f"{path}, line {line}: {what}", expected=expected, seen=seen)
        self.line = line


def read_events(path: Path, text: str, progress: Progress | None = None) -> Iterator[Event]:
    """The client events of `text`, whose format is told by its first character; nemesis events are left out.

    `progress` is called with characters read and characters in total. Raises BadLineError.
    """
    head = text.lstrip("\ufeff \t\r\n,")[:200]
    first = next((line for line in head.splitlines() if line.strip() and not line.startswith(";")), "")
    if _JSON.match(head):
        raw = _json(path, text)
    elif first[:1] in ("{", "[", "#", "("):
        raw = _edn(path, text)
    else:
        raw = _log(path, text)
    total = len(text)
    source = _Source(path)
    for n, (line, position, fields) in enumerate(raw):
        if progress is not None and n % 4096 == 0:
            progress(position, total)
        event = source.event(line, fields)
        if event is not None:
            yield event


@dataclass
class _Source:
    """What is known of a file's processes while its events are read."""

    path: Path
    nameless: bool | None = None  # no event has a process: one client did everything
    named: dict[str, int] = field(default_factory=dict)

    def bad(self, line: int, what: str, seen: Any, expected: str = "") -> BadLineError:
        return BadLineError(self.path, line, what, expected=expected, seen=reprlib.repr(seen))

    def event(self, line: int, fields: Any) -> Event | None:
        """The event that `fields` say; None for the nemesis's."""
        if not isinstance(fields, dict):
            raise self.bad(line, "not an event", fields, "a map with type, f, process")
        if "type" not in fields and ":type" in fields:  # keywords that were made text as they are written
            fields = {str(name).removeprefix(":"): _bare(value) for name, value in fields.items()}
        type_, f = _bare(fields.get("type")), fields.get("f")
        kind = TYPES.get(type_) if isinstance(type_, str) else None
        process = self.process(line, fields.get("process"), kind)
        if process is None:
            return None
        if kind is None:
            raise self.bad(line, "unknown type", type_, ", ".join(TYPES))
        error = fields.get("error")
        return Event(
            line,
            kind,
            "txn" if f is None else str(f),
            fields.get("value"),
            process,
            self.time(line, fields.get("time")),
            "" if error is None else str(error),
            fields,
        )

    def process(self, line: int, process: Any, kind: int | None) -> int | None:
        """The process's number; None when it is no client."""
        if self.nameless is None:
            self.nameless = process is None
        if process is None and self.nameless:
            return 0
        if isinstance(process, str) and process.isdecimal():
            process = int(process)
        if isinstance(process, str):
            if process.startswith(NEMESIS) or (kind == INFO and process not in self.named):
                return None
            return self.named.setdefault(process, _NAMED_FROM + len(self.named))
        if process is None:
            raise self.bad(line, "the event has no process", process, "a number, or nemesis")
        if not isinstance(process, int) or isinstance(process, bool) or not -_PROCESSES <= process < _PROCESSES:
            raise self.bad(line, "the process is no number of a client", process, "a 32-bit whole number, or nemesis")
        return process

    def time(self, line: int, time: Any) -> int:
        """The time in ns; NO_TIME when there is none."""
        if time is None:
            return NO_TIME
        if isinstance(time, float) and time.is_integer():
            time = int(time)
        if not isinstance(time, int) or isinstance(time, bool) or not -_TIMES < time < _TIMES:
            raise self.bad(line, "the time is no whole number of nanoseconds", time)
        return time


def _bare(value: Any) -> Any:
    return value.removeprefix(":") if isinstance(value, str) else value


class _Lines:
    """Line numbers of rising positions, counted once."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.line = text, 0, 1

    def at(self, position: int) -> int:
        if position < self.position:
            self.position, self.line = 0, 1
        self.line += self.text.count("\n", self.position, position)
        self.position = position
        return self.line


def _edn(path: Path, text: str) -> Iterator[tuple[int, int, Any]]:
    text = text.removeprefix("\ufeff")
    lines = _Lines(text)
    try:
        for position, form in read_forms(text):
            yield lines.at(position), position, form
    except EdnError as error:
        raise BadLineError(path, _Lines(text).at(error.position), str(error)) from None


def _json(path: Path, text: str) -> Iterator[tuple[int, int, Any]]:
    """One array of objects, one object on each line, or objects over several lines."""
    body = text.lstrip("\ufeff \t\r\n")
    if body.startswith("["):
        yield from _json_array(path, text, body)
        return
    try:
        msgspec.json.decode(body.split("\n", 1)[0])
    except (msgspec.DecodeError, RecursionError):
        yield from _json_objects(path, text)
        return
    position = 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(keepends=True), 1):
        if line.strip():
            try:
                yield number, position, msgspec.json.decode(line.strip())
            except (msgspec.DecodeError, RecursionError) as error:
                raise BadLineError(path, number, f"not JSON: {error}", seen=reprlib.repr(line)) from None
        position += len(line)


def _json_array(path: Path, text: str, body: str) -> Iterator[tuple[int, int, Any]]:
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        found = re.search(r"byte (\d+)", str(error))
        raw = body.encode()[: int(found[1])] if found else body.encode()
        line = text[: len(text) - len(body)].count("\n") + raw.count(b"\n") + 1
        raise BadLineError(path, line, f"not JSON: {error}") from None
    lines, position = _Lines(text), 0
    for item in items:
        raw_text = bytes(item).decode()
        position = text.index(raw_text, position)
        line = lines.at(position)
        try:
            yield line, position, msgspec.json.decode(raw_text)
        except RecursionError as error:
            raise BadLineError(path, line, f"not JSON: {error}") from None
        position += len(raw_text)


def _json_objects(path: Path, text: str) -> Iterator[tuple[int, int, Any]]:
    decoder, lines, position = json.JSONDecoder(parse_constant=_no_number), _Lines(text), 0
    space = re.compile(r"[\ufeff\s,]*")
    while (position := space.match(text, position).end()) < len(text):  # type: ignore[union-attr]
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            what = f"not JSON: {error.msg}"
            raise BadLineError(path, lines.at(error.pos), what, seen=reprlib.repr(text[error.pos :][:60])) from None
        except (RecursionError, ValueError) as error:
            raise BadLineError(path, lines.at(position), f"not JSON: {error}") from None
        yield lines.at(position), position, value
        position = end


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _log(path: Path, text: str) -> Iterator[tuple[int, int, Any]]:
    """Jepsen's text logs: `INFO  jepsen.util - 3 :ok :read 5` between other lines; or `history.txt`: only ops."""
    position = found = 0
    marked = _LOG_OPS.search(text) is not None
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        body = line.rstrip()
        mark = _LOG_MARK.search(body) if marked else None
        match = None
        if mark is not None or (not marked and body):
            match = _LOG_EVENT.match(body, mark.end() if mark is not None else 0)
        if match is None and body and (not marked or _LOG_OPS.search(body)):
            if not marked and not found:
                break
            raise BadLineError(path, number, "not an event", expected=":type :f value", seen=body[:120])
        if not line.endswith(("\n", "\r")):
            raise BadLineError(path, number, "the last line has no end: the file is cut short", seen=body[:120])
        if match is not None:
            found += 1
            process, type_, f, rest = match.groups()
            if rest is None:
                raise BadLineError(path, number, "the event has no value", seen=body[:120])
            value, _, error = rest.partition("\t")
            try:
                fields = {"process": process, "type": type_, "f": f, "value": read_one(value), "error": error or None}
            except EdnError as problem:
                raise BadLineError(path, number, str(problem)) from None
            yield number, position, fields
        position += len(line)
    if not found:
        raise BadLineError(path, 1, "not a history", expected=FORMATS, seen=text[:60])
