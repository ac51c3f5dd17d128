"""Events of foreign histories: Jepsen EDN, JSON, JSON lines and text logs, each with the line it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from steadyset.errors import UsageError
from steadyset.history.columns import FAIL, INFO, OK
from steadyset.history.edn import EdnError, read_forms, read_one

INVOKE: Final = 0
TYPES: Final = {"invoke": INVOKE, "ok": OK, "fail": FAIL, "info": INFO}
_LOG_LINE: Final = re.compile(r"jepsen\S* - (\S+)\s+:(\S+)\s+:(\S+)(?:[ \t]+(\S.*))?$")
_LOG_MARK: Final = re.compile(r"jepsen\.util - ")
_JSON: Final = re.compile(r'\[?\s*\{\s*"[^"]*":')
_MISSING: Final = object()
Progress = Callable[[int, int], None]


class Event(NamedTuple):
    """One line of a foreign history. `time` is -1 where the source has none."""

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
    first = next((line for line in head.splitlines() if line and not line.startswith(";")), "")
    if _JSON.match(head):
        raw = _json(path, text)
    elif first[:1] in ("{", "[", "#", "("):
        raw = _edn(path, text)
    else:
        raw = _log(path, text)
    total = len(text)
    for n, (line, position, fields) in enumerate(raw):
        if progress is not None and n % 4096 == 0:
            progress(position, total)
        event = _event(path, line, fields)
        if event is not None:
            yield event


def _event(path: Path, line: int, fields: Any) -> Event | None:
    if not isinstance(fields, dict):
        raise BadLineError(path, line, "not an event", expected="a map with type, f, process", seen=repr(fields)[:80])
    process = fields.get("process", _MISSING)
    if process is _MISSING:
        raise BadLineError(path, line, "the event has no process")
    if isinstance(process, str) and process.isdigit():
        process = int(process)
    if not isinstance(process, int) or isinstance(process, bool):
        return None  # the nemesis
    type_ = fields.get("type")
    if type_ not in TYPES:
        raise BadLineError(path, line, "unknown type", expected=", ".join(TYPES), seen=repr(type_))
    time = fields.get("time", -1)
    if not isinstance(time, int):
        raise BadLineError(path, line, "the time is no whole number", expected="nanoseconds", seen=repr(time))
    error = fields.get("error")
    f = fields.get("f")
    return Event(
        line,
        TYPES[type_],
        "txn" if f is None else str(f),
        fields.get("value"),
        process,
        time,
        "" if error is None else str(error),
        fields,
    )


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
    lines = _Lines(text)
    try:
        for position, form in read_forms(text.lstrip("\ufeff")):
            yield lines.at(position), position, form
    except EdnError as error:
        raise BadLineError(path, _Lines(text).at(error.position), str(error)) from None


def _json(path: Path, text: str) -> Iterator[tuple[int, int, Any]]:
    """JSON lines, or one array of objects."""
    body = text.lstrip("\ufeff \t\r\n")
    if not body.startswith("["):
        position = 0
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            if line.strip():
                try:
                    yield number, position, msgspec.json.decode(line.strip())
                except msgspec.DecodeError as error:
                    raise BadLineError(path, number, f"not JSON: {error}") from None
            position += len(line)
        return
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        found = re.search(r"byte (\d+)", str(error))
        raw = body.encode()[: int(found[1])] if found else body.encode()
        raise BadLineError(path, raw.count(b"\n") + 1, f"not JSON: {error}") from None
    lines, position = _Lines(text), 0
    for item in items:
        raw_text = bytes(item).decode()
        position = text.index(raw_text, position)
        yield lines.at(position), position, msgspec.json.decode(raw_text)
        position += len(raw_text)


def _log(path: Path, text: str) -> Iterator[tuple[int, int, Any]]:
    """Jepsen's text log: `INFO  jepsen.util - 3 :ok :read 5`; lines of other loggers are passed over."""
    position = found = 0
    number = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        body = line.rstrip()
        match = _LOG_LINE.search(body)
        if match is None and _LOG_MARK.search(body):
            raise BadLineError(path, number, "not an event", expected=":type :f value", seen=body[:120])
        if not line.endswith(("\n", "\r")):
            raise BadLineError(path, number, "the last line has no end: the file is cut short", seen=body[:120])
        if match is not None:
            found += 1
            process, type_, f, value = match.groups()
            if value is None:
                raise BadLineError(path, number, "the event has no value", seen=body[:120])
            try:
                fields = {"process": process, "type": type_, "f": f, "value": read_one(value)}
            except EdnError as error:
                raise BadLineError(path, number, str(error)) from None
            yield number, position, fields
        position += len(line)
    if not found:
        raise BadLineError(
            path,
            1,
            "not a history",
            expected="Jepsen EDN, JSON, JSON lines, a Jepsen text log, or Arrow",
            seen=text[:60],
        )
