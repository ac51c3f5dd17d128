"""Appends on Redis: by kept sessions to each member, and to whom the sentinels name, as Sentinel's clients do.

Every acknowledgement carries the epoch of the replication history it was written in, read in the same script. An epoch
is made by the first write after the server's replication id changed (a promotion, a restart): milliseconds since the
load began, and more than the epoch before it. It is replicated with the data, so a successor's is always newer.
"""

from __future__ import annotations

import re
import socket
from typing import Any

import gevent
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op, Recorder
from steadyset.load.user import Shared, WorkloadUser
from steadyset.wait import wait_for

LISTS = ("list",)
GROUP = "primary"  # whom the sentinels watch, unless the parameter `group` names another
OP_TIMEOUT_S = 2.0
SENTINEL_TIMEOUT_S = 0.5
FINAL_READ_S = 90.0  # until a primary has answered the final reads
REDISCOVER_EVERY = 20  # ops before the sentinels are asked again, as a new client would

_EPOCH = """
local id = redis.call('INFO', 'replication'):match('master_replid:(%w+)')
local held = redis.call('HMGET', KEYS[2], 'id', 'epoch')
"""
APPEND = (
    _EPOCH
    + """
local epoch = tonumber(held[2] or 0)
if held[1] ~= id then
  local now = redis.call('TIME')
  epoch = math.max(epoch + 1, now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[2])
  redis.call('HSET', KEYS[2], 'id', id, 'epoch', string.format('%d', epoch))
end
redis.call('RPUSH', KEYS[1], ARGV[1])
return string.format('%d', epoch)
"""
)
READ_ALL = (
    _EPOCH
    + """
if redis.call('INFO', 'replication'):match('role:(%w+)') ~= 'master' then
  return redis.error_reply('READONLY a replica answered')
end
return {redis.call('LRANGE', KEYS[1], 0, -1), held[1] == id and held[2] or '-1'}
"""
)

# The server said that nothing of the script was done: its first write was refused (a replica, too few replicas, no
# memory, no disk), or it did not run at all (still loading, busy with another script, not allowed).
_DEFINITE = (
    "READONLY",
    "NOREPLICAS",
    "MISCONF",
    "OOM",
    "LOADING",
    "MASTERDOWN",
    "BUSY",
    "NOAUTH",
    "NOPERM",
    "WRONGPASS",
)
_DEFINITE_CLASSES = (
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
    exceptions.MasterDownError,
    exceptions.OutOfMemoryError,
    exceptions.AuthenticationError,
    exceptions.NoPermissionError,
)


def classify(error: Exception) -> str:
    """The outcome of a write that had been sent when `error` came: fail if it surely is void, else info.

    redis-py raises an error that it knows by a class of its own, without the code that the server sent.
    """
    if isinstance(error, _DEFINITE_CLASSES):
        return "fail"
    code = str(error).partition(" ")[0]
    return "fail" if isinstance(error, exceptions.ResponseError) and code in _DEFINITE else "info"


def open_connection(endpoint: dict[str, Any], password: str, timeout_s: float, user: str = "") -> Any:
    """A connection that is open and logged in. It never sends anything twice by itself.

    OSError, gevent.Timeout or redis.RedisError when it cannot be opened.
    """
    host, port = str(endpoint["host"]), int(endpoint["port"])
    with gevent.Timeout(timeout_s):
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
        connection: Any = Connection(  # type: ignore[no-untyped-call]
            host=str(address),
            port=port,
            username=user or None,
            password=password or None,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            protocol=2,
            driver_info=None,
        )
        connection.connect()
    return connection


def ask(connection: Any, *command: Any, timeout_s: float) -> Any:
    """Send one command and return its answer; redis.RedisError, OSError or gevent.Timeout."""
    with gevent.Timeout(timeout_s):
        connection.send_command(*command, check_health=False)
        return connection.read_response()


def named_by(endpoint: dict[str, Any], group: str = GROUP, password: str = "") -> str:
    """The pod that the sentinel at `endpoint` names as primary; "" when it does not answer or names none."""
    connection: Any = None
    try:
        connection = open_connection(endpoint, password, SENTINEL_TIMEOUT_S)
        said = ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", group, timeout_s=SENTINEL_TIMEOUT_S)
    except (OSError, gevent.Timeout, exceptions.RedisError):
        return ""
    finally:
        if connection is not None:
            connection.disconnect()
    return said[0].decode().partition(".")[0] if said else ""


class RedisClient:
    """One session: with `pod`, or with whom the sentinels name, the first of `sentinels` that answers."""

    def __init__(self, params: dict[str, Any], pod: str = "", first: int = 0) -> None:
        members = params["members"]
        self._members = {str(member["pod"]): member["direct"] for member in members}
        self._sentinels = [members[(first + n) % len(members)]["sentinel"] for n in range(len(members))]
        secrets = params["secrets"]
        self._user, self._password = str(secrets.get("user", "")), str(secrets["password"])
        self._group, self._sentinel_password = (
            str(params.get("group", GROUP)),
            str(secrets.get("sentinel_password", "")),
        )
        self._tag = f"{params.get('prefix', '')}{params['tag']}"
        self._pod, self._base_ms = pod, int(params.get("base_ms", 0))
        self._connection: Any = None
        self._opened = 0
        self.server = ""

    @property
    def generation(self) -> int:
        """Number of the connection the next op goes over, from 1."""
        return self._opened + (self._connection is None)

    def connect(self) -> Any:
        """The open connection; OSError, gevent.Timeout or redis.RedisError when it cannot be opened."""
        if self._connection is None:
            self.server = self._pod or next(filter(None, map(self._named_by, self._sentinels)), "")
            if self.server not in self._members:
                raise exceptions.ConnectionError(f"the sentinels name {self.server or 'nobody'}")
            endpoint = self._members[self.server]
            self._connection = open_connection(endpoint, self._password, OP_TIMEOUT_S, self._user)
            self._opened += 1
        return self._connection

    def _named_by(self, sentinel: dict[str, Any]) -> str:
        return named_by(sentinel, self._group, self._sentinel_password)

    def close(self) -> None:
        """Close the connection; the next op opens another."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def send(self, op: Op) -> Answer:
        """One op. No session is fail; sent and no verdict from the server is info, but fail for a read."""
        reads = op.f == "read-all"
        try:
            connection = self.connect()
        except (OSError, gevent.Timeout, exceptions.RedisError) as error:
            self.close()
            return Answer("fail", error=f"not sent: {describe_error(error)}")
        keys = (f"{self._tag}.{op.key}", f"{self._tag}.epoch")
        script = (READ_ALL, 2, *keys) if reads else (APPEND, 2, *keys, op.value, self._base_ms)
        try:
            said = ask(connection, "EVAL", *script, timeout_s=OP_TIMEOUT_S)
        except exceptions.ResponseError as error:
            if not self._pod:  # a replica, say: ask the sentinels again
                self.close()
            return Answer("fail" if reads else classify(error), error=describe_error(error))
        except (OSError, gevent.Timeout, exceptions.RedisError) as error:
            self.close()
            return Answer("fail" if reads else classify(error), error=describe_error(error))
        return decode(reads, said, self.server)


def decode(reads: bool, said: Any, server: str) -> Answer:
    """What a script's answer says. One that no Redis gives says nothing: info, but fail for a read."""
    try:
        values = [int(value) for value in said[0]] if reads else None
        return Answer("ok", values=values, server=server, epoch=int(said[1] if reads else said))
    except (TypeError, ValueError, IndexError):
        return Answer("fail" if reads else "info", error="an answer that the script does not give")


def describe_error(error: BaseException) -> str:
    """A short, stable text, so that the history's dictionary stays small: no address, port, script or line."""
    if isinstance(error, gevent.Timeout):
        return "no answer in time"
    text = re.sub(r"\S+:\d+\b", "the server", str(error).partition(" script: ")[0].partition("\n")[0])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class RedisUser(WorkloadUser):
    """The first users keep a session to one member each, the others follow the sentinels, each another one first."""

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """Epochs count from when the load began, by the clock that all its processes were told of."""
        params["base_ms"] = params["start_ms"]

    def open_session(self) -> None:
        members = Shared.params["members"]
        direct = self.index < len(members)
        pod = str(members[self.index]["pod"]) if direct else ""
        self.route, self.direct = f"direct:{pod}" if direct else "service:primary", direct
        self.client = RedisClient(Shared.params, pod, self.index % len(members))
        self.sent = 0
        if direct:  # before the first op, and so before any fault
            self.client.connect()

    def close_session(self) -> None:
        self.client.close()

    def draw(self) -> Op:
        self.sent += 1
        if not self.direct and self.sent % REDISCOVER_EVERY == 0:
            self.client.close()
        self.session = f"{self.route}#{self.client.generation}" if self.direct else self.route
        return Op("add", LISTS[0], Shared.recorder.next_value())

    def send(self, op: Op) -> Answer:
        return self.client.send(op)


def read_back(params: dict[str, Any], writer: HistoryWriter) -> None:
    """Read the list once more from the primary that the sentinels name; DeadlineError when none answers."""
    recorder = Recorder(writer)
    client = RedisClient(params)
    for name in LISTS:

        def read(name: str = name) -> Answer | None:
            answer, _ = recorder.run(0, "final", Op("read-all", name), client.send)
            return answer if answer.outcome == "ok" else None

        wait_for(
            read,
            what=f"final read of {name}",
            deadline_name="final_read_s",
            deadline_s=FINAL_READ_S,
            do="see whom the sentinels name: kubectl exec redis-0 -- sh /scripts/survey.sh",
        )
    client.close()
