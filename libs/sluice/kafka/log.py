"""Reads Kafka partitions without a consumer group: their first offsets, their end offsets, and all records up to the
end.

The end of a partition is its high watermark. Records are read at read_committed until the high watermark is reached.
The last stable offset is not used as the end: it lies before the open transaction of a dead process, and another
process may have committed records after that transaction began.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import clients
from sluice.kafka.faults import kafka_errors, translate
from sluice.kafka.topics import Pinned, Topics
from sluice.settings.kafka import KafkaSettings

REQUEST_TIMEOUT_S = 10.0
LEADER_DEADLINE_S = 5.0
# A reader waits this long for an open transaction to end: three times the default transaction timeout, because the
# transaction of a dead owner stays open for one timeout.
READ_DEADLINE_S = 30.0
Partition = tuple[str, int]
"""A topic and the number of one of its partitions."""


class LogReader:
    """Reads Kafka partitions from offsets that the caller gives, with one consumer and one admin client.

    `leader_deadline_s`: how long a request for offsets is repeated while a partition has no leader.
    """

    def __init__(self, settings: KafkaSettings, leader_deadline_s: float = LEADER_DEADLINE_S) -> None:
        self._settings = settings
        self._leader_deadline_s = leader_deadline_s
        self._admin = clients.admin(settings)
        self._is_connected = False
        self._consumer: Consumer | None = None
        self._topics_known: set[str] = set()

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._topics_known = set()

    def ends(self, partitions: list[Partition], *, committed: bool = False) -> dict[Partition, int]:
        """The end offset of each partition: its high watermark, or its last stable offset if `committed` is true."""
        return self._offsets(partitions, OffsetSpec.latest(), committed)

    def beginnings(self, partitions: list[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, OffsetSpec.earliest(), False)

    def spans(self, partitions: list[Partition], *, committed: bool = False) -> dict[Partition, tuple[int, int]]:
        """The first offset and the end offset of each partition, in the form that `read` expects. With `committed`, the
        end is the last stable offset, else the high watermark."""
        ends, firsts = self.ends(partitions, committed=committed), self.beginnings(partitions)
        return {at: (firsts[at], max(firsts[at], ends[at])) for at in partitions}

    def at_time(self, partitions: list[Partition], timestamp_ms: int) -> dict[Partition, int]:
        """The offset of the first record of each partition whose timestamp is `timestamp_ms` (Unix ms) or later; -1 if
        the partition has no such record."""
        return self._offsets(partitions, OffsetSpec.for_timestamp(timestamp_ms), False)

    def topics(self) -> set[str]:
        """The names of all topics of the cluster. Raises EnvironmentFault or Transient if Kafka refuses or does not
        answer."""
        with kafka_errors("listing topics"):
            return set(self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics)

    def pinned(self, topics: list[str]) -> dict[str, Pinned]:
        """The id and the number of partitions of each of `topics`. Raises EnvironmentFault if one of them does not
        exist."""
        return Topics(self._admin).pinned(topics)

    def read(
        self, spans: Mapping[Partition, tuple[int, int]], *, deadline_s: float = READ_DEADLINE_S
    ) -> Iterator[Message]:
        """All messages with offsets in `[start, end)` of each partition that are readable at read_committed.

        Ends when every partition is read to its end offset. Raises Transient if no message is readable for
        `deadline_s`: then a transaction stays open for longer than its time-out.
        """
        open_ends = {at: end for at, (start, end) in spans.items() if start < end}
        if not open_ends:
            return
        consumer = self._consumer or clients.log_consumer(self._settings)
        self._consumer = consumer
        self._learn_leaders(consumer, {topic for topic, _ in open_ends})
        consumer.assign([TopicPartition(t, p, spans[t, p][0]) for t, p in open_ends])
        give_up = time.monotonic() + deadline_s
        try:
            while open_ends:
                with kafka_errors(f"reading {_list(open_ends)}"):
                    first = consumer.poll(0.2)
                    messages = [] if first is None else [first, *consumer.consume(1_000, 0)]
                if not messages and time.monotonic() > give_up:
                    raise Transient(_stuck(open_ends, deadline_s))
                for message in messages:
                    yield from self._readable(message, open_ends)
                if messages:
                    # Start the deadline again here, because the caller may have spent a long time on the messages that
                    # it got.
                    give_up = time.monotonic() + deadline_s
        finally:
            consumer.unassign()

    def _learn_leaders(self, consumer: Consumer, topics: set[str]) -> None:
        """Request the partition leaders of topics that the consumer has not read yet. Without this request, librdkafka
        2.16 asks for leaders only once a second after an assignment: the first read of a topic took 0.9 s instead of
        0.02 s."""
        for topic in topics - self._topics_known:
            with kafka_errors(f"asking for the leaders of {topic}"):
                consumer.list_topics(topic, REQUEST_TIMEOUT_S)
        self._topics_known |= topics

    @staticmethod
    def _readable(message: Message, open_ends: dict[Partition, int]) -> Iterator[Message]:
        at = (str(message.topic()), int(message.partition() or 0))
        error = message.error()
        offset = message.offset()
        if error is not None and error.name() != "_PARTITION_EOF":
            raise translate(KafkaException(error), f"reading {at[0]}/{at[1]}")
        end = open_ends.get(at)
        if end is None or offset is None:
            return
        if error is None and offset < end:
            yield message
            offset += 1
        # The offset of an end-of-partition event is the next offset of the partition, after the control records at its
        # end.
        if offset >= end:
            del open_ends[at]

    def _offsets(self, partitions: list[Partition], spec: OffsetSpec, committed: bool) -> dict[Partition, int]:
        """The requested offset of each partition. A failed request is repeated until the deadline, because a leader may
        be moving, or a broker has just started and does not know its topics yet."""
        give_up = time.monotonic() + self._leader_deadline_s
        while True:
            try:
                return self._asked(partitions, spec, committed)
            except (Transient, EnvironmentFault):
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
                # After a restart of the leader, an admin client that knew it sends the old leader epoch in every
                # request and is refused (FENCED_LEADER_EPOCH; librdkafka 2.16). Only a new client learns the new epoch.
                self._admin, self._is_connected = clients.admin(self._settings), False

    def _asked(self, partitions: list[Partition], spec: OffsetSpec, committed: bool) -> dict[Partition, int]:
        if not partitions:
            return {}
        self._connect()
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {TopicPartition(t, p): spec for t, p in partitions}
        found: dict[Partition, int] = {}
        futures = self._admin.list_offsets(asked, isolation_level=level, request_timeout=REQUEST_TIMEOUT_S)
        for tp, future in futures.items():
            try:
                with kafka_errors(f"asking offsets of {tp.topic}/{tp.partition}"):
                    found[tp.topic, tp.partition] = future.result(REQUEST_TIMEOUT_S + 1).offset
            except TimeoutError:
                raise Transient(f"no broker answered for the offsets of {tp.topic}/{tp.partition}") from None
        return found

    def _connect(self) -> None:
        """Connect to a broker before the first request that needs a partition leader. Without a connection, librdkafka
        2.16 found no leader in one case of five and asked again only after 3 s. This request takes 3 ms."""
        if self._is_connected:
            return
        try:
            with kafka_errors("connecting to Kafka"):
                self._admin.describe_cluster(request_timeout=REQUEST_TIMEOUT_S).result(REQUEST_TIMEOUT_S + 1)
        except TimeoutError:
            raise Transient("no broker answered") from None
        self._is_connected = True


def newest_by_key(reader: LogReader, topic: str) -> dict[bytes, bytes]:
    """The newest value of every key of `topic`, which has one partition. A key whose newest record is a tombstone is
    left out.

    Raises Transient or EnvironmentFault if the topic cannot be read.
    """
    newest: dict[bytes, bytes] = {}
    for message in reader.read(reader.spans([(topic, 0)])):
        key, value = message.key() or b"", message.value()
        if value:
            newest[key] = value
        else:
            newest.pop(key, None)
    return newest


def _list(partitions: Iterable[Partition]) -> str:
    return ", ".join(f"{topic}/{partition}" for topic, partition in partitions)


def _stuck(open_ends: Mapping[Partition, int], deadline_s: float) -> str:
    (topic, partition), end = next(iter(open_ends.items()))
    return (
        f"{topic}/{partition}: nothing is readable below offset {end} for {deadline_s:.0f} s: a transaction stays "
        "open; if it does not end by itself, `kafka-transactions find-hanging` names it"
    )


def read_to_end(
    settings: KafkaSettings, topic: str, starts: Mapping[int, int], *, deadline_s: float = READ_DEADLINE_S
) -> Iterator[Message]:
    """The messages of `topic` from `starts` (partition → first offset to read) to the high watermarks at the time of
    the call."""
    with LogReader(settings) as reader:
        spans = reader.spans([(topic, p) for p in starts])
        wanted = {at: (max(starts[at[1]], first), end) for at, (first, end) in spans.items()}
        yield from reader.read(wanted, deadline_s=deadline_s)
