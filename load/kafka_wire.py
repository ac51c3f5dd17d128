"""One connection to one Kafka broker, made of kafka-python's protocol: one request at a time, nothing done unseen.

A KafkaProducer retries, batches and changes brokers by itself; a history needs to know what was sent to whom, once.
The library is imported when it is needed: it reads hundreds of schemas, and everybody who lists stacks imports this.
"""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

TOPICS = "steadyset"  # a topic of ours is called this, or begins with this and a dash
LATEST = -1
NO_ERROR, TOPIC_EXISTS = 0, 36
# Versions that every broker since 2.4 speaks, without topic ids and server-side tagged fields we have no use for.
_METADATA, _CREATE, _DELETE, _PRODUCE, _LIST, _FETCH = 8, 4, 3, 7, 4, 11
_CHUNK_BYTES = 65536
_FETCH_BYTES = 1 << 20
_BATCH_BYTES = 1024
_CREATE_MS = 10_000


class WireError(OSError):
    """The connection ended, or what came over it is no answer."""


class Leader(NamedTuple):
    """Who leads a partition, as some broker knows it: broker, leader epoch, replicas, those in sync."""

    broker: int
    epoch: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class View(NamedTuple):
    """A broker's view of the cluster: the brokers it knows, and who leads each (topic, partition)."""

    brokers: tuple[int, ...]
    leaders: dict[tuple[str, int], Leader]


class Record(NamedTuple):
    """One record of a log."""

    offset: int
    value: bytes
    epoch: int  # the leader's when it was appended


class Broker:
    """An open connection. Every call raises OSError when the connection fails; answers carry Kafka's error codes."""

    def __init__(self, connection: Any) -> None:
        from kafka.protocol.parser import KafkaProtocol

        self._connection = connection
        self._protocol: Any = KafkaProtocol(client_id="steadyset")

    @classmethod
    def connect(cls, host: str, port: int, timeout_s: float) -> Broker:
        """Connect; OSError when that fails. `timeout_s` bounds each later wait for bytes, too."""
        return cls(socket.create_connection((host, port), timeout_s))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, request: Any) -> Any:
        """Send a request and return its decoded answer."""
        from kafka.errors import KafkaError

        self._protocol.send_request(request)
        self._connection.sendall(self._protocol.send_bytes())
        while True:
            data = self._connection.recv(_CHUNK_BYTES)
            if not data:
                raise WireError("the broker closed the connection")
            try:
                answers = self._protocol.receive_bytes(data)
            except KafkaError as error:
                raise WireError(f"no Kafka answer: {error}") from None
            if answers:
                return answers[0][1]

    def view(self, *topics: str) -> View:
        """The broker's view of these topics, or of all; a topic that does not exist is left out."""
        from kafka.protocol.metadata import MetadataRequest

        asked = [{"name": name} for name in topics] or None
        kind: Any = MetadataRequest
        wanted = [kind.MetadataRequestTopic(version=_METADATA, **topic) for topic in asked] if asked else None
        answer = self.ask(kind[_METADATA](topics=wanted, allow_auto_topic_creation=False))
        leaders = {
            (topic.name, part.partition_index): Leader(
                part.leader_id, part.leader_epoch, tuple(part.replica_nodes), tuple(part.isr_nodes)
            )
            for topic in answer.topics
            if topic.error_code == NO_ERROR
            for part in topic.partitions
        }
        return View(tuple(sorted(broker.node_id for broker in answer.brokers)), leaders)

    def create(self, topic: str, assignments: list[list[int]]) -> int:
        """Create a topic whose partition n lies on the brokers `assignments[n]`, the first being preferred."""
        from kafka.protocol.admin import CreateTopicsRequest

        kind: Any = CreateTopicsRequest
        made = [
            kind.CreatableTopic.CreatableReplicaAssignment(partition_index=n, broker_ids=brokers, version=_CREATE)
            for n, brokers in enumerate(assignments)
        ]
        topics = [
            kind.CreatableTopic(
                name=topic, num_partitions=-1, replication_factor=-1, assignments=made, configs=[], version=_CREATE
            )
        ]
        answer = self.ask(kind[_CREATE](topics=topics, timeout_ms=_CREATE_MS, validate_only=False))
        return int(answer.topics[0].error_code)

    def delete(self, topics: list[str]) -> list[int]:
        """Delete topics; an error code for each."""
        from kafka.protocol.admin import DeleteTopicsRequest

        kind: Any = DeleteTopicsRequest
        answer = self.ask(kind[_DELETE](topic_names=topics, timeout_ms=_CREATE_MS))
        return [int(response.error_code) for response in answer.responses]

    def produce(self, topic: str, partition: int, value: bytes, acks: int, timeout_ms: int) -> tuple[int, int]:
        """Append one record; (error code, offset)."""
        from kafka.protocol.producer import ProduceRequest
        from kafka.record.memory_records import MemoryRecordsBuilder

        builder: Any = MemoryRecordsBuilder(2, 0, _BATCH_BYTES)
        builder.append(int(time.time() * 1000), None, value)
        builder.close()
        kind: Any = ProduceRequest
        part = kind.TopicProduceData.PartitionProduceData(index=partition, records=builder.buffer(), version=_PRODUCE)
        data = kind.TopicProduceData(name=topic, partition_data=[part], version=_PRODUCE)
        request = kind[_PRODUCE](transactional_id=None, acks=acks, timeout_ms=timeout_ms, topic_data=[data])
        found = self.ask(request).responses[0].partition_responses[0]
        return int(found.error_code), int(found.base_offset)

    def end(self, topic: str, partition: int) -> tuple[int, int, int]:
        """(error code, high watermark, leader epoch), as the leader says itself."""
        from kafka.protocol.consumer import ListOffsetsRequest

        kind: Any = ListOffsetsRequest
        part = kind.ListOffsetsTopic.ListOffsetsPartition(
            partition_index=partition, current_leader_epoch=-1, timestamp=LATEST, version=_LIST
        )
        data = kind.ListOffsetsTopic(name=topic, partitions=[part], version=_LIST)
        answer = self.ask(kind[_LIST](replica_id=-1, isolation_level=0, topics=[data]))
        found = answer.topics[0].partitions[0]
        return int(found.error_code), int(found.offset), int(found.leader_epoch)

    def fetch(self, topic: str, partition: int, offset: int) -> tuple[int, int, list[Record]]:
        """(error code, high watermark, records from `offset` on); at most a megabyte of them."""
        from kafka.protocol.consumer import FetchRequest
        from kafka.record.memory_records import MemoryRecords

        kind: Any = FetchRequest
        part = kind.FetchTopic.FetchPartition(
            partition=partition,
            current_leader_epoch=-1,
            fetch_offset=offset,
            log_start_offset=-1,
            partition_max_bytes=_FETCH_BYTES,
            version=_FETCH,
        )
        data = kind.FetchTopic(topic=topic, partitions=[part], version=_FETCH)
        request = kind[_FETCH](
            replica_id=-1,
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=_FETCH_BYTES,
            isolation_level=0,
            session_id=0,
            session_epoch=-1,
            topics=[data],
            forgotten_topics_data=[],
            rack_id="",
        )
        found = self.ask(request).responses[0].partitions[0]
        records = [
            Record(record.offset, bytes(record.value), batch.leader_epoch)
            for batch in (MemoryRecords(bytes(found.records)) if found.records else ())
            if not batch.is_control_batch
            for record in batch
            if record.offset >= offset
        ]
        return int(found.error_code), int(found.high_watermark), records


def is_ours(topic: str) -> bool:
    """Whether a topic was made by us."""
    return topic == TOPICS or topic.startswith(f"{TOPICS}-")
