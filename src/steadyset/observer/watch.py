"""One kind's list and watch, for as long as the observer lives.

A watch that the server ends in good order is resumed from its last resourceVersion: nothing is missed. After any
other end the kind is listed again and compared: where the resumed watch delivers every version up to that list the
gap is *lossless* (late events), otherwise (410 Gone) the difference is recorded as *inferred* changes behind a GAP.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from kubernetes.client import ApiClient, ApiException
from urllib3.exceptions import HTTPError

from steadyset import wait
from steadyset.observer import wire
from steadyset.observer.kinds import Kind
from steadyset.trace import NOTE_LISTED, NOTE_NOT_OBSERVED, TraceWriter

PAGE_LIMIT = 500  # objects per page of a list
WATCH_S = 290  # the server is asked to end a watch after this; it is resumed at once
STABLE_NS = 1_000_000_000  # a watch that lasted longer is retried at once, others with growing pauses
INSTANT_NS = 1_000_000  # a watch that ends sooner after its start was not ended by its time-out
CONNECT_S, READ_S = 5, 100  # a bookmark comes about once a minute: a stream silent for longer is dead
RETRY_S_MIN, RETRY_S_MAX = 0.05, 2.0
CHUNK_BYTES = 1 << 18
REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class GoneError(Exception):
    """The server has forgotten the resourceVersion to resume from."""


class BrokenError(Exception):
    """The watch ended otherwise than by the server's own time-out."""


@dataclass
class Live:
    """What is remembered of a live object: enough to report its deletion."""

    ns: str
    name: str
    rv: str


@dataclass
class Target:
    """A list taken after a disconnect: resourceVersion of the list, its objects, and the version of each by UID."""

    rv: str
    things: list[wire.Thing]
    versions: dict[str, str]


class KindWatch(threading.Thread):
    """Appends one kind's events to the trace until `stopping` is set. `synced` is set after the first list (or 403)."""

    def __init__(
        self, kind: Kind, api_client: ApiClient, namespace: str, writer: TraceWriter, stopping: threading.Event
    ) -> None:
        super().__init__(name=f"watch-{kind.name}", daemon=True)
        self.kind, self.writer, self.stopping = kind, writer, stopping
        self.call = kind.call(api_client, namespace)
        self.synced = threading.Event()
        self.observed = True
        self.crash: BaseException | None = None
        self.live: dict[str, Live] = {}
        self.rv = ""
        self.heard = 0  # when the server was last heard of
        self.gap_from = 0  # 0: no gap
        self.gap_reason = ""
        self.target: Target | None = None  # a list that the resumed watch must arrive at
        self.pending: set[str] = set()  # UIDs in which the live objects still differ from it

    def run(self) -> None:
        """Thread body; what is unexpected is kept in `crash` for the main thread, which ends the observer."""
        try:
            self._run()
        except BaseException as error:
            if not self.stopping.is_set():
                self.crash = error
                raise

    def _run(self) -> None:
        retry_s = RETRY_S_MIN
        while not self.stopping.is_set():
            began = time.monotonic_ns()
            try:
                self._turn()
                retry_s = RETRY_S_MIN
                if not self.observed:
                    return
            except (GoneError, BrokenError, HTTPError, OSError, ApiException) as error:
                gone = isinstance(error, GoneError) or (
                    isinstance(error, ApiException) and error.status == HTTPStatus.GONE
                )
                self._open_gap(f"{'410 Gone' if gone else type(error).__name__}: {_short(error)}")
                if gone:
                    self.rv = ""
                lasted = self.heard - began > STABLE_NS
                retry_s = RETRY_S_MIN if lasted else min(RETRY_S_MAX, retry_s * 2)
                wait.pause(retry_s)

    def _turn(self) -> None:
        """One list where one is due, then one watch until it ends."""
        if not self.synced.is_set():
            self._first_list()
        elif not self.rv:
            self._diff()
        elif self.gap_from and self.target is None:
            self._aim()
        if self.observed:
            self._watch()

    def finish(self) -> None:
        """Record a gap that is still open; called once by the main thread at the end."""
        if self.gap_from:
            now = time.monotonic_ns()
            self.writer.gap(self.kind.name, self.gap_from, now, self.gap_reason, open=True)

    # -- lists
    def _list(self) -> tuple[str, list[wire.Thing]]:
        found: list[wire.Thing] = []
        token = ""
        while True:
            more = {"continue": token} if token else {}
            response = self.call((CONNECT_S, READ_S), {"limit": str(PAGE_LIMIT), **more})
            try:
                page = wire.pages.decode(response.read())
            finally:
                response.release_conn()
            found += page.items or []
            token = page.metadata.next
            if not token:
                self.heard = time.monotonic_ns()
                return page.metadata.resourceVersion, found

    def _first_list(self) -> None:
        try:
            rv, found = self._list()
        except ApiException as error:
            if error.status not in REFUSED:
                print(f"observer: {self.kind.name}: {_short(error)}", file=sys.stderr, flush=True)  # noqa: T201
                raise
            self.writer.note(NOTE_NOT_OBSERVED, k=self.kind.name, reason=f"{error.status} {_short(error)}")
            self.observed = False
            self.synced.set()
            return
        for thing in found:
            self._record("SYNC", thing)
        self.writer.note(NOTE_LISTED, k=self.kind.name, count=len(found), rv=rv)
        self.rv = rv
        self.gap_from = 0
        self.synced.set()

    def _aim(self) -> None:
        """After a disconnect: list, and let the resumed watch prove that it arrives there."""
        rv, found = self._list()
        listed = {t.metadata.uid: t.metadata.resourceVersion for t in found}
        self.pending = {uid for uid, live in self.live.items() if listed.get(uid) != live.rv}
        self.pending |= listed.keys() - self.live.keys()
        self.target = Target(rv, found, listed)
        if not self.pending:
            self._close_gap(lossless=True)

    def _diff(self) -> None:
        """Record the difference between the live objects and a list as inferred changes behind a lossy gap."""
        if self.target is None:
            rv, found = self._list()
        else:
            rv, found = self.target.rv, self.target.things
        self._close_gap(lossless=False)
        seen = {thing.metadata.uid for thing in found}
        for uid, live in list(self.live.items()):
            if uid not in seen:
                del self.live[uid]
                self.writer.write(
                    "DELETED", k=self.kind.name, ns=live.ns, name=live.name, uid=uid, rv=live.rv, inferred=True
                )
        for thing in found:
            known = self.live.get(thing.metadata.uid)
            if known is None:
                self._record("ADDED", thing, inferred=True)
            elif _newer(thing.metadata.resourceVersion, known.rv):
                self._record("MODIFIED", thing, inferred=True)
        self.rv = rv if not self.rv or _newer(rv, self.rv) else self.rv

    def _open_gap(self, reason: str) -> None:
        if not self.gap_from:
            self.gap_from = self.heard or time.monotonic_ns()
            self.gap_reason = reason
            print(f"observer: {self.kind.name}: {reason}", file=sys.stderr, flush=True)  # noqa: T201

    def _close_gap(self, *, lossless: bool) -> None:
        if self.gap_from and self.synced.is_set():
            now = time.monotonic_ns()
            self.writer.gap(self.kind.name, self.gap_from, now, self.gap_reason, lossless=lossless)
        self.gap_from, self.gap_reason, self.target, self.pending = 0, "", None, set()

    # -- watch
    def _watch(self) -> None:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": self.rv}
        query["timeoutSeconds"] = str(WATCH_S + random.randrange(10))
        response = self.call((CONNECT_S, READ_S), query)
        try:
            began = self.heard = time.monotonic_ns()
            for line, t in self._lines(response):
                self._frame(line, t)
            if time.monotonic_ns() - began < INSTANT_NS:
                raise BrokenError("the server ended the watch at once")
        finally:
            response.close()

    def _lines(self, response: Any) -> Iterator[tuple[bytes, int]]:
        """(line, receive time) of every whole line; what follows the last newline of an ended stream is torn."""
        rest = b""
        for chunk in response.stream(CHUNK_BYTES):
            t = time.monotonic_ns()
            self.heard = t
            lines = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line:
                    yield line, t
        if rest:
            raise BrokenError(f"the stream ended inside an event ({len(rest)} bytes)")

    def _frame(self, line: bytes, t: int) -> None:
        try:
            frame = wire.frames.decode(line)
            if frame.type == "ERROR":
                status = wire.statuses.decode(frame.object)
                if status.code == HTTPStatus.GONE:
                    raise GoneError(status.message)
                raise BrokenError(f"watch error {status.code} {status.reason}: {status.message}")
            thing = wire.things.decode(frame.object)
        except msgspec.DecodeError as error:
            raise BrokenError(f"the stream holds no watch event: {error}") from None
        uid, rv = thing.metadata.uid, thing.metadata.resourceVersion
        if self.target is not None and _newer(rv, self.target.rv):
            self._diff()  # the watch has passed the list without showing all of it
        if frame.type != "BOOKMARK" and (not self.rv or _newer(rv, self.rv)):
            self._record(frame.type, thing, t=t)
        self.rv = rv
        if self.target is not None and uid in self.pending:
            listed = self.target.versions.get(uid)
            reached = listed is None if frame.type == "DELETED" else listed is not None and not _newer(listed, rv)
            if reached:
                self.pending.discard(uid)
                if not self.pending:
                    self._close_gap(lossless=True)

    def _record(self, event: str, thing: wire.Thing, *, t: int = 0, inferred: bool = False) -> None:
        meta = thing.metadata
        if event == "DELETED":
            self.live.pop(meta.uid, None)
        else:
            self.live[meta.uid] = _live(meta)
        self.writer.write(
            event,
            k=self.kind.name,
            ns=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            rv=meta.resourceVersion,
            obj=thing,
            t=t or time.monotonic_ns(),
            inferred=inferred,
        )


def _live(meta: wire.Meta) -> Live:
    return Live(meta.namespace, meta.name, meta.resourceVersion)


def _newer(a: str, b: str) -> bool:
    """Whether resourceVersion `a` is newer than `b` (decimal numbers that grow, by Kubernetes' own definition)."""
    return (len(a), a) > (len(b), b)


def _short(error: BaseException) -> str:
    text = f"{error.reason}" if isinstance(error, ApiException) else str(error)
    return text.splitlines()[0][:200] if text else type(error).__name__
