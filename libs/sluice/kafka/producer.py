"""The transactional producer: one transaction at a time. Either its end is known, or the transaction is reported lost.

librdkafka's transactions alone do not guarantee effects exactly once: without KIP-890 a delayed end of one transaction
may end a later one. So if the outcome of a call is not known, the producer is discarded, and its owner reads back what
is durable before it goes on. A repeated record has no effect, because positions and guards reject it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from sluice.errors import Bug, EnvironmentFault, Fenced, SluiceError, TransactionLost, Transient
from sluice.kafka import clients
from sluice.kafka.bounded import within
from sluice.kafka.faults import TOO_LARGE, TOPIC_MISSING, kafka_error, steady, too_large, topic_missing, translate
from sluice.settings.kafka import KafkaSettings

Headers = Sequence[tuple[str, bytes]]
OnDelivery = Callable[[KafkaError | None, Message], None]

_TAKEN_OVER = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
# The codes with which a transaction fails if one of its topics was deleted: no broker accepts records of that topic.
_LATE = {"_TIMED_OUT", "_MSG_TIMED_OUT"}
# A call of librdkafka may return this much later than its own time-out.
GRACE_S = 5.0
TOPIC_CHECK_TIMEOUT_S = 2.0
CONNECTED_WITHIN_S = 2.0
NO_TOPIC = "sluice.no-such-topic"


class TransactionalProducer:
    """One per transactional id. `fence()` first; then `begin`, `produce`…, `commit` or `abort`."""

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        self._settings = settings
        self.transactional_id = transactional_id
        self._producer: Producer | None = None
        self._open = False
        self._largest: dict[str, int] = {}
        self._timeout_s = settings.transaction_timeout_ms / 1000

    def fence(self) -> None:
        """Create a new client and become the only producer of this transactional id. Kafka aborts the open transaction
        of an earlier producer of the id."""
        self.discard()
        self._producer = clients.producer(self._settings, self.transactional_id)
        # Without a connection librdkafka 2.16 asks for the coordinator only every half second. Of 50 producers that
        # were fenced, 12 took 0.5 s or more without an earlier request, 14 after a request for a topic that exists,
        # none after a request for a topic that does not exist.
        with contextlib.suppress(KafkaException):  # fencing reports what is wrong
            self._producer.list_topics(NO_TOPIC, CONNECTED_WITHIN_S)
        self._retrying("fencing", lambda p, left: p.init_transactions(left), deadline_s=60.0)

    def begin(self) -> None:
        if self._open:
            raise Bug(f"{self.transactional_id}: a transaction is open already")
        try:
            self._live().begin_transaction()
        except KafkaException as error:
            raise self._lost("beginning", error) from None
        self._open = True
        self._largest = {}

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int = -1,
        timestamp_ms: int = 0,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Add one record. Blocks while the queue is full; no record is dropped.

        Raises EnvironmentFault for a record that is larger than this client may send. Callers keep to the limits of our
        topics, so the settings are wrong.
        """
        producer = self._live()
        size = len(key or b"") + len(value or b"")
        if size > self._largest.get(topic, 0):
            self._largest[topic] = size
        more: dict[str, Any] = {"on_delivery": on_delivery} if on_delivery else {}
        give_up = time.monotonic() + self._timeout_s
        while True:
            try:
                producer.produce(topic, value, key, partition, headers=list(headers), timestamp=timestamp_ms, **more)
                return
            except BufferError:
                if time.monotonic() > give_up:
                    raise self._lost("waiting for room in the queue", None) from None
                producer.poll(0.05)
            except KafkaException as error:
                if kafka_error(error).name() == TOO_LARGE:
                    raise EnvironmentFault(
                        f"{self.transactional_id}: producing to {topic}",
                        f"a record of {size} bytes, and headers, is more than this client's message.max.bytes",
                        "take message.max.bytes out of SLUICE_KAFKA__OPTIONS; "
                        f"without that it is {clients.SENT_BYTES_MAX}",
                    ) from None
                raise self._lost(f"producing to {topic}", error) from None

    def commit(self, offsets: Sequence[TopicPartition] = (), group: Any = None) -> None:
        """End the transaction, with `offsets` of the consumer `group` (its metadata) in it.

        Raises Transient if the transaction was certainly aborted, TransactionLost if its end is not known.
        """
        if offsets:
            self._retrying("sending offsets", lambda p, left: p.send_offsets_to_transaction(list(offsets), group, left))
        self._retrying("committing", lambda p, left: p.commit_transaction(left))
        self._open = False

    def abort(self) -> None:
        """Abort the open transaction, if there is one. Raises no error of Kafka's, which would hide the caller's error.

        A client that cannot abort is discarded: then the next `begin` raises TransactionLost, and `fence` aborts. This
        happens on a healthy broker, too: it still writes the markers of the last transaction while librdkafka asks it
        to add partitions to this one. The abort overtakes these requests, and the broker, which knows of no open
        transaction, answers INVALID_TXN_STATE (librdkafka #4849).
        """
        self._given_up()

    def discard(self) -> None:
        """Drop the client without waiting. The next `fence` aborts its open transaction."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
        self._open = False

    def _live(self) -> Producer:
        if self._producer is None:
            raise TransactionLost(f"{self.transactional_id}: its client was given up, or not fenced yet")
        return self._producer

    def _retrying(self, doing: str, call: Callable[[Producer, float], None], deadline_s: float | None = None) -> None:
        producer = self._live()
        give_up = time.monotonic() + (deadline_s or self._timeout_s)
        while True:
            left = give_up - time.monotonic()
            timeout_s = max(left, 0.1)
            try:
                within(timeout_s + GRACE_S, partial(call, producer, timeout_s))
                return
            except TimeoutError:
                # The hung call still uses the client. The next fence ends its transaction.
                self._producer, self._open = None, False
                raise TransactionLost(f"{self.transactional_id}: {doing}: no answer, not even a time-out") from None
            except KafkaException as exception:
                error = kafka_error(exception)
                if error.retriable() and not error.fatal() and left > 0:
                    producer.poll(0.05)
                    continue
                if error.txn_requires_abort() and not error.fatal() and doing != "aborting":
                    raise self._aborted(doing, exception) from None
                raise self._lost(doing, exception) from None

    def _given_up(self) -> TransactionLost | None:
        """Abort the open transaction. Returns the error if it could not be aborted, else None."""
        if self._open and self._producer is not None:
            try:
                self._retrying("aborting", lambda p, left: p.abort_transaction(left))
            except TransactionLost as lost:
                return lost
            except (SluiceError, Bug) as error:
                return TransactionLost(str(error))
            self._open = False
        return None

    def _aborted(self, doing: str, exception: KafkaException) -> Exception:
        """Abort, as librdkafka demands, and translate the code. Its text may name topic and partition."""
        error = self._first(kafka_error(exception))
        missing = self._missing(error)
        lost = self._given_up()
        where = f"{self.transactional_id}: {doing}"
        if error.name() == TOO_LARGE:
            return too_large(where, self._largest)
        if missing is not None:
            return missing
        ours = translate(KafkaException(error), f"{where}: {steady(error.str())}")
        if not isinstance(ours, Transient):
            return ours
        return lost or Transient(f"{where}: {error.name()}; aborted")

    def _first(self, error: KafkaError) -> KafkaError:
        """The error that the transaction failed with. The call during which it failed may report only `_STATE`; the
        next call is refused with the first error. `begin_transaction` sends nothing to the broker."""
        if error.name() == "_STATE":
            try:
                self._live().begin_transaction()
            except KafkaException as refused:
                return kafka_error(refused)
        return error

    def _missing(self, error: KafkaError) -> EnvironmentFault | None:
        """A fault that names the transaction's first missing topic, if `error` may mean one. Kafka names no topic."""
        if error.name() not in TOPIC_MISSING | _LATE or self._producer is None:
            return None
        with contextlib.suppress(KafkaException):  # no broker answers: the caller reports that
            for topic in sorted(self._largest):
                about = self._producer.list_topics(topic, TOPIC_CHECK_TIMEOUT_S).topics[topic].error
                if about is not None and about.name() in TOPIC_MISSING:
                    return topic_missing(topic)
        return None

    def _lost(self, doing: str, exception: KafkaException | None) -> Exception:
        missing = None if exception is None else self._missing(kafka_error(exception))
        self.discard()
        if missing is not None:
            return missing
        where = f"{self.transactional_id}: {doing}"
        if exception is None:
            return TransactionLost(f"{where}: no room")
        name = kafka_error(exception).name()
        if name in _TAKEN_OVER:
            return Fenced(f"{where}: {name}", self.transactional_id)
        ours = translate(exception, where)
        return TransactionLost(f"{where}: {name}") if isinstance(ours, Transient) else ours
