"""Records on Kafka: by sessions kept to each broker, and to whoever leads by the cluster's own account; and consumers.

A key is a partition. An acknowledgement carries its offset, the broker, and the leader epoch that this broker has for
the partition right after it: asked from the broker that acknowledged, since the answer itself does not say.
"""

from __future__ import annotations

import time
from typing import Any

import gevent

from steadyset.errors import InstrumentError
from steadyset.history import HistoryWriter
from steadyset.load.kafka_wire import NO_ERROR, TOPIC_EXISTS, TOPICS, Broker
from steadyset.load.recorder import Answer, Op, Recorder
from steadyset.load.user import Shared, WorkloadUser
from steadyset.wait import wait_for

OP_TIMEOUT_S = 4.0
PRODUCE_MS = 2000  # what the leader waits for its followers
PREPARE_S = 30.0  # until the topic is there and led
FINAL_READ_S = 90.0
LOOK_UP_EVERY = 20  # records after which a user asks anew who leads
ALL = -1

NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, AFTER_APPEND, OUT_OF_RANGE = 6, 7, 19, 20, 1
NAMES = {
    NOT_LEADER: "not the leader",
    TIMED_OUT: "followers did not answer in time",
    NOT_ENOUGH_REPLICAS: "not enough replicas in sync",
    AFTER_APPEND: "not enough replicas in sync, after the append",
}
# Said before anything is appended: corrupt, no such topic, too large, bad topic, too few in sync, bad acks, forbidden,
# bad record.
_DEFINITE = frozenset((2, 3, 10, 17, NOT_ENOUGH_REPLICAS, 21, 29, 87))


def topic_of(params: dict[str, Any]) -> str:
    """The topic of this load."""
    return f"{params.get('topics', TOPICS)}-{params['tag']}"


def partition_of(key: str) -> int:
    """The number of the partition that a key names."""
    return int(key.removeprefix("p"))


def classify(code: int, acks: int) -> str:
    """The outcome of a record that was sent, by the broker's error code.

    A leader that loses its place while it waits for its followers says "not the leader" of a record that it has
    appended: with acks=all that is info. With fewer it does not wait, so it was none to begin with.
    """
    if code == NO_ERROR:
        return "ok"
    if code in _DEFINITE or (code == NOT_LEADER and acks != ALL):
        return "fail"
    return "info"


def describe_code(code: int) -> str:
    """A broker's error code in words."""
    return NAMES.get(code, f"error {code}")


class KafkaClient:
    """One user's connections. `direct` is the member it stays with; without one it goes to whoever leads."""

    def __init__(self, params: dict[str, Any], direct: dict[str, Any] | None = None) -> None:
        self._members = {int(member["id"]): member for member in params["members"]}
        self._service, self._direct = params["primary"], direct
        self._topic, self._acks = topic_of(params), int(params["acks"])
        self._open: dict[int, Broker] = {}
        self._leaders: dict[int, int] = {}
        self._doubted = False  # the direct member said that it does not lead
        self._sent = 0
        self.opened = 0
        self.resets = 0
        self.position = 0

    @property
    def generation(self) -> int:
        """Number of the direct connection the next op goes over, from 1."""
        return self.opened + (not self._open)

    def close(self) -> None:
        """Close every connection; the next op opens what it needs."""
        for broker in self._open.values():
            broker.close()
        self._open.clear()
        self._leaders.clear()

    def connect(self, member: dict[str, Any]) -> Broker:
        """The connection to a member, opened unless it is open; OSError when that fails."""
        number = int(member["id"])
        if number not in self._open:
            endpoint = member["direct"]
            self._open[number] = Broker.connect(str(endpoint["host"]), int(endpoint["port"]), OP_TIMEOUT_S)
            self.opened += 1
        return self._open[number]

    def _member_for(self, partition: int) -> dict[str, Any]:
        """The member to send to: OSError when nobody says who leads."""
        if self._direct is not None:
            return self._direct
        if partition not in self._leaders:
            asked = Broker.connect(str(self._service["host"]), int(self._service["port"]), OP_TIMEOUT_S)
            try:
                found = asked.view(self._topic).leaders
            finally:
                asked.close()
            self._leaders = {number: leader.broker for (_, number), leader in found.items()}
        member: dict[str, Any] | None = self._members.get(self._leaders.get(partition, -1))
        if member is None:
            self._leaders.clear()
            raise OSError(f"nobody leads p{partition}")
        return member

    def send(self, op: Op) -> Answer:
        """One record or one poll. Nothing sent is fail; sent and no verdict is info, but fail for a poll."""
        partition = partition_of(op.key)
        self._sent += 1
        if self._sent % LOOK_UP_EVERY == 0:
            self._leaders.clear()
        try:
            with gevent.Timeout(OP_TIMEOUT_S):
                member = self._member_for(partition)
                broker = self.connect(member)
                if self._doubted:
                    code, _, _ = broker.end(self._topic, partition)
                    if code != NO_ERROR:
                        return Answer("fail", error=f"not sent: {describe_code(code)}")
                    self._doubted = False
        except (OSError, gevent.Timeout) as error:
            self.close()
            return Answer("fail", error=f"not sent: {describe_error(error)}")
        try:
            with gevent.Timeout(OP_TIMEOUT_S):
                return self._poll(broker, member, op) if op.f == "poll" else self._produce(broker, member, op)
        except (OSError, gevent.Timeout) as error:
            self.close()
            return Answer("fail" if op.f == "poll" else "info", error=describe_error(error))

    def _produce(self, broker: Broker, member: dict[str, Any], op: Op) -> Answer:
        partition = partition_of(op.key)
        value = str(op.value).encode()
        code, offset = broker.produce(self._topic, partition, value, self._acks, PRODUCE_MS)
        outcome = classify(code, self._acks)
        if outcome != "ok":
            self._leaders.clear()
            self._doubted = self._direct is not None and code == NOT_LEADER
            return Answer(outcome, error=describe_code(code))
        try:
            code, _, epoch = broker.end(self._topic, partition)
        except OSError:
            self.close()  # acknowledged all the same; by which epoch is not known
            code, epoch = NOT_LEADER, -1
        return Answer("ok", offset, server=str(member["pod"]), epoch=epoch if code == NO_ERROR else -1)

    def _poll(self, broker: Broker, member: dict[str, Any], op: Op) -> Answer:
        code, _, records = broker.fetch(self._topic, partition_of(op.key), self.position)
        if code == OUT_OF_RANGE:  # the log is shorter than it was: begin again, as another session
            self.position, self.resets = 0, self.resets + 1
        if code != NO_ERROR:
            self._leaders.clear()
            return Answer("fail", error=describe_code(code))
        values = [number for record in records for number in (record.offset, int(record.value))]
        if records:
            self.position = records[-1].offset + 1
        return Answer("ok", values=values, server=str(member["pod"]))


def describe_error(error: BaseException) -> str:
    """A short, stable text."""
    if isinstance(error, gevent.Timeout):
        return f"no answer within {OP_TIMEOUT_S:g} s"
    return f"{type(error).__name__}: {error}"


class KafkaUser(WorkloadUser):
    """The first users keep a session to one broker each and write to the partition that it leads at first; all others
    go to whoever leads, with writes to any partition and polls of one."""

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """Make the topic, led by each broker in turn, and wait until every partition has all its replicas."""
        last = "nobody answers"

        def made() -> bool:
            nonlocal last
            try:
                asked = Broker.connect(params["primary"]["host"], int(params["primary"]["port"]), OP_TIMEOUT_S)
                try:
                    code = asked.create(topic_of(params), assignments([int(m["id"]) for m in params["members"]]))
                    leaders = asked.view(topic_of(params)).leaders
                finally:
                    asked.close()
            except OSError as error:
                last = describe_error(error)
                return False
            last = f"error {code}; {leaders}"
            whole = [p for p in leaders.values() if p.broker >= 0 and set(p.in_sync) == set(p.replicas)]
            return code in (NO_ERROR, TOPIC_EXISTS) and len(whole) == len(params["members"])

        wait_for(
            made,
            what="topic made and led",
            deadline_name="prepare_s",
            deadline_s=PREPARE_S,
            describe=lambda: last,
            do="see whether the stack is in steady state",
        )

    def open_session(self) -> None:
        members = Shared.params["members"]
        self.direct = members[self.index] if self.index < len(members) else None
        self.route = f"direct:{self.direct['pod']}" if self.direct else "service:primary"
        self.client = KafkaClient(Shared.params, self.direct)
        self.keys = [f"p{member['id']}" for member in members]
        if self.direct:  # before the first op, and so before any fault
            self.client.connect(self.direct)

    def close_session(self) -> None:
        self.client.close()

    def draw(self) -> Op:
        if self.direct:
            self.session = f"{self.route}#{self.client.generation}"
            return Op("enqueue", f"p{self.direct['id']}", Shared.recorder.next_value())
        if self.random.random() < 0.3:
            self.session = f"{self.route}#{self.client.resets}"
            return Op("poll", self.keys[self.index % len(self.keys)])
        self.session = self.route
        return Op("enqueue", self.random.choice(self.keys), Shared.recorder.next_value())

    def send(self, op: Op) -> Answer:
        return self.client.send(op)


def assignments(brokers: list[int]) -> list[list[int]]:
    """Replicas of each partition: all brokers, each of them first once."""
    return [brokers[n:] + brokers[:n] for n in range(len(brokers))]


def read_back(params: dict[str, Any], writer: HistoryWriter) -> None:
    """Read every partition from its beginning to its leader's end, from each of its replicas.

    An empty last poll of the leader proves that nothing more comes. DeadlineError when a replica does not get there.
    """
    recorder, topic = Recorder(writer), topic_of(params)
    deadline = time.monotonic() + FINAL_READ_S
    members = {int(member["id"]): member for member in params["members"]}
    for partition in range(len(members)):
        key = f"p{partition}"
        leader, end = _settled(params, topic, partition, deadline)
        for number, member in members.items():
            client = KafkaClient(params, member)

            def caught_up(client: KafkaClient = client, end: int = end, key: str = key, n: int = number) -> bool:
                recorder.run(n, "final", Op("poll", key), client.send)
                return client.position >= end

            if end:
                wait_for(
                    caught_up,
                    what=f"{key} read from {member['pod']} up to offset {end}",
                    deadline_name="final_read_s",
                    deadline_s=max(0.0, deadline - time.monotonic()),
                    do="see whether all brokers are in sync",
                )
            if number == leader:
                answer, _ = recorder.run(number, "final", Op("poll", key), client.send)
                if answer.outcome != "ok":
                    raise InstrumentError(f"the last poll of {key} failed", seen=answer.error, do="read back again")
            client.close()


def _settled(params: dict[str, Any], topic: str, partition: int, deadline: float) -> tuple[int, int]:
    """(leader, end) of a partition once its leader answers and all its replicas are in sync."""
    last = "nobody answers"

    def settled() -> tuple[int, int] | None:
        nonlocal last
        for member in params["members"]:
            try:
                broker = Broker.connect(str(member["direct"]["host"]), int(member["direct"]["port"]), OP_TIMEOUT_S)
                try:
                    known = broker.view(topic).leaders.get((topic, partition))
                    code, end, _ = broker.end(topic, partition)
                finally:
                    broker.close()
            except OSError as error:
                last = f"{member['pod']}: {describe_error(error)}"
                continue
            last = f"{known}"
            leads = known is not None and known.broker == int(member["id"]) and code == NO_ERROR
            if known is not None and leads and set(known.in_sync) == set(known.replicas):
                return known.broker, end
        return None

    return wait_for(
        settled,
        what=f"p{partition} led and in sync",
        deadline_name="final_read_s",
        deadline_s=max(0.0, deadline - time.monotonic()),
        describe=lambda: last,
        do="see whether all brokers are in sync",
    )
