"""Publishes with confirms to a RabbitMQ queue and takes from it with manual acknowledgements, over every member.

A message is `<tag> <value>`; what another load left behind is acknowledged and passed over. A message that was
delivered and not acknowledged goes back to the queue by itself when its consumer's connection ends, so taking one
has no effect until then.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

import gevent
import pika  # type: ignore[import-untyped]
from pika import exceptions

from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op, Recorder
from steadyset.load.user import Shared, WorkloadUser
from steadyset.wait import wait_for

OP_TIMEOUT_S = 2.0
HEARTBEAT_S = 3
FINAL_READ_S = 90.0  # until the queue is empty
# The queue is proven empty by answers that go on for longer than a dead consumer may hold messages back.
QUIET_S = 3.0 * HEARTBEAT_S
QUIET_POLL_S = 0.5
RECONNECT_EVERY = 20  # ops through the Service before a fresh connection shows where it leads now
PREPARE_S = 20.0
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def classify(error: BaseException) -> str:
    """The outcome of a publish that had been sent when `error` came: fail if it surely is void, else info.

    Only a message that was returned as unroutable is in no queue. A broker that says no (nack) or ends the channel may
    have written it all the same.
    """
    return "fail" if isinstance(error, exceptions.UnroutableError) else "info"


class QueueClient:
    """One connection with one channel in confirm mode, opened when needed."""

    def __init__(self, endpoint: dict[str, Any], params: dict[str, Any], server: str = "") -> None:
        self._endpoint, self._secrets = endpoint, params["secrets"]
        self._tag, self._queue, self._server = str(params["tag"]), str(params["queue"]), server
        self._vhost = str(params.get("vhost", "/"))
        self._connection: Any = None
        self._channel: Any = None
        self._opened = 0

    @property
    def generation(self) -> int:
        """Number of the connection the next op goes over, from 1."""
        return self._opened + (self._connection is None)

    def connect(self) -> Any:
        """The open channel; OSError, pika's AMQPError or gevent.Timeout when it cannot be opened."""
        if self._channel is None:
            with gevent.Timeout(OP_TIMEOUT_S):
                host, port = str(self._endpoint["host"]), int(self._endpoint["port"])
                address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
                self._connection = pika.BlockingConnection(
                    pika.ConnectionParameters(
                        host=str(address),
                        port=port,
                        virtual_host=self._vhost,
                        credentials=pika.PlainCredentials(self._secrets["user"], self._secrets["password"]),
                        heartbeat=HEARTBEAT_S,
                        connection_attempts=1,
                        socket_timeout=OP_TIMEOUT_S,
                        stack_timeout=OP_TIMEOUT_S,
                        blocked_connection_timeout=OP_TIMEOUT_S,
                    )
                )
                channel = self._connection.channel()
                channel.confirm_delivery()
                self._channel = channel
            self._opened += 1
        return self._channel

    def close(self) -> None:
        """End the connection without a word: the broker gives back what was not acknowledged over it."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            # BlockingConnection.close() would wait for an answer that a broker cut off never gives.
            transport = getattr(getattr(connection, "_impl", None), "_transport", None)
            ours = getattr(transport, "_sock", None)
            if ours is not None:
                ours.close()

    def send(self, op: Op) -> Answer:
        """One op. No channel is fail; published and no confirm is info; nothing delivered is fail."""
        try:
            channel = self.connect()
        except (OSError, gevent.Timeout, exceptions.AMQPError) as error:
            self.close()
            return Answer("fail", error=f"not sent: {describe_error(error)}")
        try:
            with gevent.Timeout(OP_TIMEOUT_S):
                return self._publish(channel, op) if op.f == "enqueue" else self._take(channel)
        except (OSError, gevent.Timeout, exceptions.AMQPError) as error:
            if not isinstance(error, (exceptions.UnroutableError, exceptions.NackError)):
                self.close()
            return Answer(classify(error) if op.f == "enqueue" else "fail", error=describe_error(error))

    def _publish(self, channel: Any, op: Op) -> Answer:
        body = f"{self._tag} {op.value}".encode()
        channel.basic_publish("", self._queue, body, PERSISTENT, mandatory=True)
        return Answer("ok", server=self._server)

    def _take(self, channel: Any) -> Answer:
        """The next message of this load, flagged when the broker says that it was delivered before; none when empty."""
        while True:
            method, _, body = channel.basic_get(self._queue, auto_ack=False)
            if method is None:
                return Answer("ok", server=self._server)
            tag, _, value = body.decode().partition(" ")
            with suppress(OSError, exceptions.AMQPError):
                # Whether the acknowledgement arrives shows by what comes again: the message was delivered in any case.
                channel.basic_ack(method.delivery_tag)
            if tag == self._tag:
                flag = "redelivered" if method.redelivered else ""
                return Answer("ok", value=int(value), server=self._server, session=flag)


def describe_error(error: BaseException) -> str:
    """A short, stable text, so that the history's dictionary stays small."""
    if isinstance(error, gevent.Timeout):
        return f"no answer within {OP_TIMEOUT_S:g} s"
    if isinstance(error, (exceptions.ChannelClosedByBroker, exceptions.ConnectionClosedByBroker)):
        return f"{type(error).__name__}: {error.reply_code} {str(error.reply_text).partition(' - ')[0]}"
    return type(error).__name__


class QueueUser(WorkloadUser):
    """The first users keep a connection to one member each, the others come through the Service."""

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """See that the queue is there."""
        client = QueueClient(params["primary"], params)
        last = ""

        def there() -> bool:
            nonlocal last
            try:
                client.connect().queue_declare(params["queue"], passive=True)
            except (OSError, gevent.Timeout, exceptions.AMQPError) as error:
                last = describe_error(error)
                client.close()
                return False
            return True

        wait_for(
            there,
            what=f"queue {params['queue']}",
            deadline_name="prepare_s",
            deadline_s=PREPARE_S,
            describe=lambda: last,
            do="see whether the stack is in steady state",
        )
        client.close()

    def open_session(self) -> None:
        members = Shared.params["members"]
        self.direct = self.index < len(members)
        pod = str(members[self.index]["pod"]) if self.direct else ""
        self.route = f"direct:{pod}" if self.direct else "service:rabbitmq-any"
        endpoint = members[self.index]["direct"] if self.direct else Shared.params["primary"]
        self.client = QueueClient(endpoint, Shared.params, pod)
        self.sent = 0
        if self.direct:  # before the first op, and so before any fault
            self.client.connect()

    def close_session(self) -> None:
        self.client.close()

    def draw(self) -> Op:
        self.sent += 1
        if not self.direct and self.sent % RECONNECT_EVERY == 0:
            self.client.close()
        self.session = f"{self.route}#{self.client.generation}" if self.direct else self.route
        if self.random.random() < 0.5:
            return Op("enqueue", Shared.params["queue"], Shared.recorder.next_value())
        return Op("dequeue", Shared.params["queue"])

    def send(self, op: Op) -> Answer:
        answer = self.client.send(op)
        return answer._replace(session=f"{self.session} {answer.session}") if answer.session else answer


def read_back(params: dict[str, Any], writer: HistoryWriter) -> None:
    """Take until the queue has been empty for QUIET_S; DeadlineError when it is not within FINAL_READ_S."""
    recorder = Recorder(writer)
    client = QueueClient(params["primary"], params)
    quiet_since = 0.0

    def send(op: Op) -> Answer:
        answer = client.send(op)
        return answer._replace(session=f"final {answer.session}") if answer.session else answer

    def drained() -> bool:
        nonlocal quiet_since
        while True:
            answer, _ = recorder.run(0, "final", Op("dequeue", params["queue"]), send)
            if answer.outcome != "ok":
                quiet_since = 0.0
                return False
            if answer.value is None:
                break
            quiet_since = 0.0
        now = time.monotonic()
        quiet_since = quiet_since or now
        return now - quiet_since >= QUIET_S

    wait_for(
        drained,
        what=f"queue {params['queue']} empty for {QUIET_S:g} s",
        deadline_name="final_read_s",
        deadline_s=FINAL_READ_S,
        poll_s=QUIET_POLL_S,
        do="see whether the queue has a leader",
    )
    client.close()
