"""The transactional producer. It has one transaction at a time, and reports a transaction as lost if its end is not
known.

librdkafka's transactions alone do not guarantee effects exactly once: without KIP-890, a delayed commit or abort
request of one transaction may end a later transaction. So if the outcome of a call is not known, the producer is
discarded, and its caller reads from Kafka what is durable before it goes on. A record that is then written twice has no
second effect, because its readers compare positions or offsets.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
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

# Another producer has the same transactional id.
_FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
# A transaction also fails with one of these codes if one of its topics was deleted, because no broker accepts records
# of that topic.
_TIMED_OUT = {"_TIMED_OUT", "_MSG_TIMED_OUT"}
# A call of librdkafka may return this many seconds after the time-out that it was given.
GRACE_S = 5.0
TOPIC_CHECK_TIMEOUT_S = 2.0
CONNECTED_WITHIN_S = 2.0
NO_TOPIC = "sluice.no-such-topic"


class TransactionalProducer:
    """The producer of one transactional id. Call `fence` first, then for each transaction, in a block of
    `transaction`, `produce` for each record and `commit`."""

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        self._settings = settings
        self.transactional_id = transactional_id
        self._producer: Producer | None = None
        self._open = False
        self._largest_bytes: dict[str, int] = {}  # by topic: the size of the largest record of this transaction
        self._timeout_s = settings.transaction_timeout_ms / 1000

    def fence(self) -> None:
        """Create a new Kafka client and fence every earlier producer of this transactional id. Kafka then aborts the
        transaction that an earlier producer left open."""
        self.discard()
        self._producer = clients.producer(self._settings, self.transactional_id)
        # Without a connection, librdkafka 2.16 asks for the transaction coordinator only every half second. In tests
        # with 50 producers, 12 needed 0.5 s or more to fence if they made no request before, 14 after a request for an
        # existing topic, none after a request for a missing topic.
        with contextlib.suppress(KafkaException):  # `init_transactions` reports the same error
            self._producer.list_topics(NO_TOPIC, CONNECTED_WITHIN_S)
        self._retrying("fencing", lambda p, left: p.init_transactions(left), deadline_s=60.0)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Start a transaction. The block commits it; an error that ends the block aborts it, if it is still open."""
        self.begin()
        try:
            yield
        except BaseException:
            self._try_abort()
            raise

    def begin(self) -> None:
        """Start a transaction. Outside of a block of `transaction`, no error aborts it."""
        if self._open:
            raise Bug(f"{self.transactional_id}: a transaction is open already")
        try:
            self._live().begin_transaction()
        except KafkaException as error:
            raise self._discard_after("beginning", error) from None
        self._open = True
        self._largest_bytes = {}

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
        """Add one record to the open transaction. Blocks while librdkafka's queue is full; no record is dropped.

        Raises EnvironmentFault if the record is larger than the client's message.max.bytes. Callers keep to the size
        limits of Sluice's topics, so this means that an operator's setting lowers message.max.bytes. Raises
        TransactionLost if the queue stays full for a transaction timeout.
        """
        producer = self._producer
        if producer is None:
            producer = self._live()
        size = (0 if key is None else len(key)) + (0 if value is None else len(value))
        if size > self._largest_bytes.get(topic, 0):
            self._largest_bytes[topic] = size
        give_up = 0.0
        while True:
            try:
                producer.produce(
                    topic, value, key, partition, on_delivery=on_delivery, timestamp=timestamp_ms, headers=list(headers)
                )
                return
            except BufferError:
                give_up = give_up or time.monotonic() + self._timeout_s
                if time.monotonic() > give_up:
                    raise self._discard_after("waiting for room in the queue", None) from None
                producer.poll(0.05)
            except KafkaException as error:
                raise self._refused(topic, size, error) from None

    def commit(self, offsets: Sequence[TopicPartition] = (), group: Any = None) -> None:
        """Commit the open transaction, together with the `offsets` of a consumer group. `group`: the consumer's group
        metadata.

        Raises Transient if the transaction was certainly aborted, TransactionLost if it is not known how it ended.
        """
        if offsets:
            self._retrying("sending offsets", lambda p, left: p.send_offsets_to_transaction(list(offsets), group, left))
        self._retrying("committing", lambda p, left: p.commit_transaction(left))
        self._open = False

    def discard(self) -> None:
        """Drop the Kafka client without waiting. The next `fence` makes Kafka abort the transaction that this client
        left open."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
        self._open = False

    def _live(self) -> Producer:
        if self._producer is None:
            raise TransactionLost(f"{self.transactional_id}: its client was given up, or not fenced yet")
        return self._producer

    def _refused(self, topic: str, size: int, error: KafkaException) -> Exception:
        """The error to raise if librdkafka refuses a record of `size` bytes."""
        doing = f"producing to {topic}"
        if kafka_error(error).name() != TOO_LARGE:
            return self._discard_after(doing, error)
        return EnvironmentFault(
            f"{self.transactional_id}: {doing}",
            f"a record of {size} bytes and its headers are larger than this client's message.max.bytes",
            f"remove message.max.bytes from SLUICE_KAFKA__OPTIONS; without it the limit is {clients.SENT_BYTES_MAX}",
        )

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
                # The call that hangs still uses the client, so the client is only forgotten. The next `fence` makes
                # Kafka abort its transaction.
                self._producer, self._open = None, False
                raise TransactionLost(
                    f"{self.transactional_id}: {doing}: the call did not return, not even with a time-out"
                ) from None
            except KafkaException as exception:
                error = kafka_error(exception)
                if error.retriable() and not error.fatal() and left > 0:
                    producer.poll(0.05)
                    continue
                if error.txn_requires_abort() and not error.fatal() and doing != "aborting":
                    raise self._abort_after(doing, exception) from None
                raise self._discard_after(doing, exception) from None

    def _try_abort(self) -> TransactionLost | None:
        """Abort the open transaction, if there is one. Returns the error if the abort failed, else None: an error of
        Kafka's that is raised here would hide the error for which the caller aborts.

        If the abort fails, the client is discarded. The next `begin` then raises TransactionLost, and the next `fence`
        makes Kafka abort the transaction. An abort can fail although the broker is healthy: while the broker still
        writes the markers of the previous transaction, librdkafka repeats its request to add partitions to the new one.
        The abort overtakes that request. The broker knows of no open transaction and answers INVALID_TXN_STATE
        (librdkafka #4849).
        """
        if self._open and self._producer is not None:
            try:
                self._retrying("aborting", lambda p, left: p.abort_transaction(left))
            except TransactionLost as lost:
                return lost
            except (SluiceError, Bug) as error:
                return TransactionLost(str(error))
            self._open = False
        return None

    def _abort_after(self, doing: str, exception: KafkaException) -> Exception:
        """Abort the transaction after an error that requires an abort, and return the error to raise. librdkafka's text
        is part of it, because it may name the topic and partition."""
        error = self._first_error(kafka_error(exception))
        missing = self._find_missing_topic(error)
        lost = self._try_abort()
        where = f"{self.transactional_id}: {doing}"
        if error.name() == TOO_LARGE:
            return too_large(where, self._largest_bytes)
        if missing is not None:
            return missing
        ours = translate(KafkaException(error), f"{where}: {steady(error.str())}")
        if not isinstance(ours, Transient):
            return ours
        return lost or Transient(f"{where}: {error.name()}; aborted")

    def _first_error(self, error: KafkaError) -> KafkaError:
        """The error with which the transaction failed. `error` comes from the call that noticed the failure and may be
        only `_STATE`. The next call to librdkafka is refused with the original error, so this calls
        `begin_transaction`, which sends nothing to the broker."""
        if error.name() == "_STATE":
            try:
                self._live().begin_transaction()
            except KafkaException as refused:
                return kafka_error(refused)
        return error

    def _find_missing_topic(self, error: KafkaError) -> EnvironmentFault | None:
        """A fault that names the first topic of the transaction that does not exist, or None. Kafka's `error` alone
        does not name the topic, so each topic is requested from Kafka."""
        if error.name() not in TOPIC_MISSING | _TIMED_OUT or self._producer is None:
            return None
        with contextlib.suppress(KafkaException):  # if no broker answers, the caller reports its own error
            for topic in sorted(self._largest_bytes):
                about = self._producer.list_topics(topic, TOPIC_CHECK_TIMEOUT_S).topics[topic].error
                if about is not None and about.name() in TOPIC_MISSING:
                    return topic_missing(topic)
        return None

    def _discard_after(self, doing: str, exception: KafkaException | None) -> Exception:
        """Discard the client, and return the error to raise. `exception` is None if librdkafka's queue stayed full."""
        missing = None if exception is None else self._find_missing_topic(kafka_error(exception))
        self.discard()
        if missing is not None:
            return missing
        where = f"{self.transactional_id}: {doing}"
        if exception is None:
            return TransactionLost(f"{where}: no room")
        name = kafka_error(exception).name()
        if name in _FENCED:
            return Fenced(f"{where}: {name}", self.transactional_id)
        ours = translate(exception, where)
        return TransactionLost(f"{where}: {name}") if isinstance(ours, Transient) else ours
