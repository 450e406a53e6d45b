"""The transactional producer: one transaction at a time, each ended for certain or given up as lost.

librdkafka's transactions do not carry the guarantee of exactly-once effects alone (a delayed end of one transaction
may end a later one: KIP-890 is not spoken). So whenever the outcome of a call is not known, the producer is thrown
away and the owner reads back what is durable before it goes on; positions and guards make repeats harmless.
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
# What is left of a transaction with a topic that went away: no broker takes its records.
_LATE = {"_TIMED_OUT", "_MSG_TIMED_OUT"}
# Beyond its own time-out a call is not waited for longer than this.
GRACE_S = 5.0
LOOK_TIMEOUT_S = 2.0
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
        """Become the only producer of this id: aborts what an earlier one left open. A new client each time."""
        self.discard()
        self._producer = clients.producer(self._settings, self.transactional_id)
        # Until it has a connection, librdkafka 2.16 looks for the coordinator every half second only. Of 50 producers
        # that were fenced, 12 took 0.5 s or more without a request before, 14 after they had asked for a topic that
        # exists, none after they had asked for one that does not.
        with contextlib.suppress(KafkaException):  # what is wrong, fencing tells
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
        """Add one record. A full queue waits: nothing is ever dropped.

        Raises EnvironmentFault for a record larger than this client may send: whoever made it knows what our topics
        take, so that it is the settings that are wrong.
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

        Raises Transient when the transaction was surely aborted, TransactionLost when that is not known.
        """
        if offsets:
            self._retrying("sending offsets", lambda p, left: p.send_offsets_to_transaction(list(offsets), group, left))
        self._retrying("committing", lambda p, left: p.commit_transaction(left))
        self._open = False

    def abort(self) -> None:
        """Give the open transaction up, if there is one. Raises nothing of Kafka's, so that why it is given up is told.

        A client that cannot abort is thrown away: then the next `begin` raises TransactionLost, and `fence` aborts.
        That happens without any fault: the broker still writes the markers of the transaction before, librdkafka asks
        it again and again to add partitions to this one, sends the abort meanwhile, and the broker, which knows of no
        transaction yet, says INVALID_TXN_STATE (librdkafka #4849).
        """
        self._given_up()

    def discard(self) -> None:
        """Throw the client away without waiting; what it had open is aborted by the next `fence`."""
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
                # The hung call holds the client; whoever fences next ends its transaction.
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
        """Abort; what took the client away instead, if something did."""
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
        """Abort, as librdkafka asks for, and say what the code means. Its text may name topic and partition."""
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
        """What the transaction failed of. A call that is under way when it fails may only say `_STATE`; the next one
        is refused with the first error, and a `begin_transaction` asks nothing of the broker."""
        if error.name() == "_STATE":
            try:
                self._live().begin_transaction()
            except KafkaException as refused:
                return kafka_error(refused)
        return error

    def _missing(self, error: KafkaError) -> EnvironmentFault | None:
        """The first topic of the transaction that is not there, if `error` may be about that: Kafka names none."""
        if error.name() not in TOPIC_MISSING | _LATE or self._producer is None:
            return None
        with contextlib.suppress(KafkaException):  # no broker answers, which is told anyway
            for topic in sorted(self._largest):
                about = self._producer.list_topics(topic, LOOK_TIMEOUT_S).topics[topic].error
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
