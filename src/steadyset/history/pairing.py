"""Events of a foreign history paired into ops, and the keys of Jepsen's independent tuples taken off their values.

The order of a foreign history is the order of its events, as in Jepsen; its times are kept where they rise with
that order, and moved by the nanoseconds it takes to make them rise where they do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from steadyset.history.columns import FOREVER, INFO, OK
from steadyset.history.events import INVOKE, NO_TIME, BadLineError, Event

_ECHOED: Final = ("write", "cas", "enqueue", "acquire", "release")  # acknowledged with the value that was asked for


class Paired(NamedTuple):
    """An invocation with its completion (None: never came back). `at` is its place in order of invocation."""

    at: int
    invoke: Event
    done: Event | None
    start: int
    end: int
    outcome: int
    key: Any = None


@dataclass
class Pairing:
    """Pairs the events of the file `path`, in their order."""

    path: Path
    timed: bool = True  # every event so far had a time
    ops: int = 0
    _now: int = -1
    _open: dict[int, tuple[int, Event, int]] = field(default_factory=dict)

    def pairs(self, events: Iterable[Event]) -> Iterator[Paired]:
        """Ops in order of completion, those that never ended last. Raises BadLineError naming the line."""
        for event in events:
            self.timed = self.timed and event.time != NO_TIME
            now = self._now = max(self._now + 1, event.time)
            waiting = self._open.pop(event.process, None)
            if event.type == INVOKE:
                if waiting is not None:
                    what = f"process {event.process} invokes {event.f} while its op of line {waiting[1].line} is open"
                    raise BadLineError(self.path, event.line, what, expected="one open op per process")
                self._open[event.process] = (self.ops, event, now)
                self.ops += 1
                continue
            if waiting is None:
                what = f"process {event.process} completes {event.f} without having invoked it"
                raise BadLineError(self.path, event.line, what)
            at, invoke, start = waiting
            self._check(invoke, event)
            yield Paired(at, invoke, event, start, FOREVER if event.type == INFO else now, event.type)
        for at, invoke, start in self._open.values():
            yield Paired(at, invoke, None, start, FOREVER, INFO)

    def _check(self, invoke: Event, done: Event) -> None:
        """BadLineError when a completion contradicts its invocation."""
        what = ""
        if done.f != invoke.f:
            what = f"process {done.process} completes {done.f}, but line {invoke.line} invoked {invoke.f}"
        elif invoke.time != NO_TIME and NO_TIME != done.time < invoke.time:
            what = f"the op ends at {done.time}, before it starts at {invoke.time} (line {invoke.line})"
        elif (
            done.type == OK
            and done.f in _ECHOED
            and done.value not in (None, invoke.value)
            and invoke.value is not None
        ):
            what = f"process {done.process} completes another {done.f} than line {invoke.line} invoked"
        if what:
            raise BadLineError(self.path, done.line, what)


def has_keys(ops: Iterable[Paired]) -> bool:
    """Whether every value is a `[key value]` vector, as Jepsen prints the tuples of independent tests."""
    for item in ops:
        asked, done = item.invoke.value, item.done
        if not _is_pair(asked) or (item.invoke.f == "cas" and not _is_pair(asked[1])):
            return False
        if done is not None and done.type == OK and not (_is_pair(done.value) and done.value[0] == asked[0]):
            return False
    return True


def split_key(path: Path, item: Paired) -> Paired:
    """`item` with the key of its `[key value]` tuple in `key` and the bare values; the op itself if it is no tuple."""
    asked, done = item.invoke.value, item.done
    if not _is_pair(asked):
        return item
    key = asked[0]
    invoke = item.invoke._replace(value=asked[1])
    if done is not None and _is_pair(done.value) and done.value[0] == key:
        done = done._replace(value=done.value[1])
    elif done is not None and done.type == OK:
        raise BadLineError(path, done.line, f"{done.f} of key {key} completes without its key", expected="[key value]")
    return item._replace(invoke=invoke, done=done, key=key)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2
