"""Topics of a benchmark: creating, filling, watching and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

WAIT_S = 60.0
NO_GROUP_YET = ("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "GROUP_ID_NOT_FOUND")
Headers = list[tuple[str, bytes]]
Partition = tuple[str, int]


class Message(NamedTuple):
    """A record to produce, or one that was read. `partition`: -1 if murmur2 of the key decides."""

    key: bytes
    value: bytes | None
    headers: Headers
    partition: int = -1


class Topics:
    """The topics of one broker. Nothing else writes them while they are filled."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap_servers, "log_level": 1}
        self._admin = AdminClient(self._bootstrap)
        self._offsets_reader: tuple[str, Consumer] | None = None  # of one group, whose offsets it reads

    def create(self, names: Iterable[str], partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Create topics with one replica. Raises KafkaException if one exists."""
        # 16 MiB is the limit of Sluice's own topics.
        settings = {"max.message.bytes": str(16 * 2**20), **(config or {})}
        new = [NewTopic(name, partitions, 1, config=settings) for name in names]
        for created in self._admin.create_topics(new).values():
            created.result(WAIT_S)

    def delete(self, prefix: str) -> None:
        """Delete all topics whose names start with `prefix`."""
        names = [name for name in self._admin.list_topics(timeout=WAIT_S).topics if name.startswith(prefix)]
        for deleted in self._admin.delete_topics(names).values() if names else ():
            deleted.result(WAIT_S)

    def fill(self, topic: str, messages: Iterable[Message]) -> int:
        """Produce `messages`, which are durable when this returns. Returns their number. Raises RuntimeError if the
        broker refuses one."""
        failed: list[KafkaError] = []
        producer = Producer(
            {
                **self._bootstrap,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 50,
                "batch.size": 2**20,
                "message.max.bytes": 16 * 2**20,
                "queue.buffering.max.messages": 200_000,
                "delivery.report.only.error": True,
                "on_delivery": lambda error, _message: failed.append(error),
            }
        )
        count = 0
        for key, value, headers, partition in messages:
            while True:
                try:
                    producer.produce(topic, value, key, partition, headers=headers)  # type: ignore[arg-type]
                    break
                except BufferError:
                    producer.poll(0.05)
            count += 1
            if not count % 10_000:
                producer.poll(0)
        if producer.flush(WAIT_S) or failed:
            raise RuntimeError(f"{topic}: the broker refused records: {failed[:1]}")
        return count

    def ends(self, topics: Sequence[str], partitions: int, committed: bool = False) -> dict[Partition, int]:
        """The high watermark of each partition: records of open transactions and control records count. `committed`:
        the last stable offset instead, up to which every transaction has ended."""
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for topic in topics for p in range(partitions)}
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        answers = self._admin.list_offsets(asked, isolation_level=level)
        return {(at.topic, at.partition): answer.result(WAIT_S).offset for at, answer in answers.items()}

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The committed offsets of a group; empty if the broker does not know the group yet."""
        # AdminClient.list_consumer_group_offsets of librdkafka 2.16 crashes the process while the broker loads the
        # group. A consumer that never joins the group can read its offsets, too.
        if self._offsets_reader is None or self._offsets_reader[0] != group:
            self._offsets_reader = group, Consumer({**self._bootstrap, "group.id": group, "enable.auto.commit": False})
        try:
            found = self._offsets_reader[1].committed([TopicPartition(*at) for at in partitions], WAIT_S)
        except KafkaException as error:
            if error.args[0].name() in NO_GROUP_YET:
                return {}
            raise
        return {(at.topic, at.partition): at.offset for at in found if at.offset >= 0}

    def is_committed(self, group: str, ends: Mapping[Partition, int]) -> bool:
        """Whether a group has committed everything up to `ends`. An empty partition needs no committed offset."""
        found = self.committed(group, ends)
        return all(found.get(at, 0) >= end for at, end in ends.items())

    def read(
        self, topic: str, partitions: int, begin: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
    ) -> Iterator[Message]:
        """All committed records of a topic, from the offsets `begin` (0) to the offsets `end` (the current ends)."""
        until = end or {p: offset for (_, p), offset in self.ends([topic], partitions).items()}
        starts = {p: (begin or {}).get(p, 0) for p in range(partitions)}
        consumer = Consumer(
            {
                **self._bootstrap,
                "group.id": "bench-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )
        with closing(consumer):
            unread = {p for p, offset in until.items() if offset > starts[p]}
            consumer.assign([TopicPartition(topic, p, starts[p]) for p in unread])
            while unread:
                for message in consumer.consume(10_000, 5.0):
                    at = message.partition() or 0
                    error: Any = message.error()
                    if error is None:
                        if (message.offset() or 0) < until[at]:
                            yield _read(message, at)
                    elif error.name() != "_PARTITION_EOF":
                        raise RuntimeError(f"{topic}: {error}")
                    if (message.offset() or 0) >= until[at] - 1:
                        unread.discard(at)


def _read(message: Any, partition: int) -> Message:
    return Message(message.key() or b"", message.value(), message.headers() or [], partition)
