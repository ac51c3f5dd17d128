"""Appends and register ops on every probe: by kept connections to each pod, and by new ones through its Service."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlencode

import gevent

from steadyset.errors import InstrumentError
from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op, Recorder
from steadyset.load.user import Shared, WorkloadUser
from steadyset.wait import wait_for

REGISTERS = ("r0", "r1")
OP_TIMEOUT_S = 2.0
FINAL_READ_S = 60.0  # until every member has answered its final read
_PATHS = {"add": "append", "read-all": "values", "read": "read", "write": "write", "cas": "cas"}


class ProbeClient:
    """One session with a probe. `kept` keeps its connection between ops, else each op opens its own."""

    def __init__(self, host: str, port: int, tag: str, *, kept: bool) -> None:
        self._host, self._port, self._tag, self._kept = host, port, tag, kept
        self._connection: http.client.HTTPConnection | None = None
        self._opened = 0

    def connect(self) -> http.client.HTTPConnection:
        """The open connection, opened now unless there is one; OSError when that fails."""
        if self._connection is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=OP_TIMEOUT_S)
            connection.connect()
            self._connection = connection
            self._opened += 1
        return self._connection

    @property
    def generation(self) -> int:
        """Number of the connection the next op goes over, from 1."""
        return self._opened + (self._connection is None)

    def close(self) -> None:
        """Close the connection; the next op opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, op: Op) -> Answer:
        """One op. Nothing sent is fail; sent and no answer is info, but fail for a read, which has no effect."""
        name = op.key.rpartition("/")[2]
        query: dict[str, object] = {"key": f"{self._tag}.{name}"}
        if op.f == "cas":
            query |= {"expect": op.value, "value": op.value2}
        elif op.value is not None:
            query["value"] = op.value
        reads = op.f in ("read", "read-all")
        try:
            with gevent.Timeout(OP_TIMEOUT_S):  # the socket's own timeout does not cover the name's resolution
                connection = self.connect()
        except (OSError, gevent.Timeout) as error:
            return Answer("fail", error=f"not sent: {describe_error(error)}")
        try:
            with gevent.Timeout(OP_TIMEOUT_S):
                connection.request("GET" if reads else "POST", f"/{_PATHS[op.f]}?{urlencode(query)}")
                response = connection.getresponse()
                raw = response.read()
        except (OSError, http.client.HTTPException, gevent.Timeout) as error:
            self.close()
            return Answer("fail" if reads else "info", error=describe_error(error))
        if not self._kept or response.will_close:
            self.close()
        return decode(response.status, raw)


def decode(status: int, raw: bytes) -> Answer:
    """A probe's answer. An answer that no probe gives (a proxy's, for one) says nothing: info."""
    try:
        body: dict[str, Any] = json.loads(raw)
        outcome, server, epoch = str(body["outcome"]), str(body["pod"]), int(body["epoch"])
    except (ValueError, KeyError, TypeError):
        return Answer("info", error=f"HTTP {status}, not from a probe")
    return Answer(outcome, body.get("value"), body.get("values"), server, epoch, str(body.get("error", "")))


def describe_error(error: BaseException) -> str:
    """A short, stable text, so that the history's dictionary stays small."""
    if isinstance(error, gevent.Timeout):
        return f"nothing within {OP_TIMEOUT_S:g} s"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class ProbeUser(WorkloadUser):
    """Talks to one member: even users over a kept connection to the pod, odd ones through its Service."""

    def open_session(self) -> None:
        members = Shared.params["members"]
        member = members[(self.index // 2) % len(members)]
        self.pod = str(member["pod"])
        self.route = "direct" if self.index % 2 == 0 else "service"
        endpoint = member[self.route]
        self.client = ProbeClient(endpoint["host"], endpoint["port"], Shared.params["tag"], kept=self.route == "direct")
        self.known: dict[str, int] = {}

    def close_session(self) -> None:
        self.client.close()

    def draw(self) -> Op:
        self.session = f"{self.route}:{self.pod}"
        if self.route == "direct":  # "#1" is the connection opened before the fault
            self.session += f"#{self.client.generation}"
        pod, dice = self.pod, self.random.random()
        if dice < 0.6:
            return Op("add", pod, Shared.recorder.next_value())
        key = f"{pod}/{self.random.choice(REGISTERS)}"
        if dice < 0.8:
            return Op("read", key)
        if dice < 0.9 or key not in self.known:
            return Op("write", key, Shared.recorder.next_value())
        return Op("cas", key, self.known[key], Shared.recorder.next_value())

    def send(self, op: Op) -> Answer:
        answer = self.client.send(op)
        if answer.value is not None:
            self.known[op.key] = answer.value
        elif answer.outcome == "ok" and op.f in ("write", "cas"):
            self.known[op.key] = (op.value2 if op.f == "cas" else op.value) or 0
        return answer


def read_back(params: dict[str, Any], writer: HistoryWriter) -> None:
    """Read every member's list and registers once more, each until it answers; DeadlineError when one never does."""
    recorder = Recorder(writer)
    end = time.monotonic() + FINAL_READ_S
    for number, member in enumerate(params["members"]):
        client = ProbeClient(member["direct"]["host"], member["direct"]["port"], params["tag"], kept=True)
        for op in (Op("read-all", member["pod"]), *(Op("read", f"{member['pod']}/{name}") for name in REGISTERS)):

            def read(op: Op = op, client: ProbeClient = client, number: int = number) -> Answer | None:
                answer, _ = recorder.run(number, "final", op, client.send)
                return answer if answer.outcome == "ok" else None

            wait_for(
                read,
                what=f"final {op.f} of {op.key}",
                deadline_name="final_read_s",
                deadline_s=max(0.0, end - time.monotonic()),
                do="see why the member does not answer: kubectl get pods",
            )
        client.close()
    if not params["members"]:
        raise InstrumentError("no member to read back from", expected="members in the load's parameters")
