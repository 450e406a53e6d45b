"""A shard: the streams of one partition of `sluice.shards`, polled and published by one owner at a time.

An owner takes a shard over in the order of KIP-618. It fences the previous owner and writes a lease; the offset of the
lease is the incarnation in all positions that this owner gives. It reads the watermarks and the raw topics to their
ends, and only then sends requests to sources. After a lost transaction the owner takes the shard over again. One thread
makes all decisions of a shard and publishes them. The requests run in other threads, one for each stream.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog
from confluent_kafka.admin import AdminClient

from sluice.connector import Response
from sluice.connector.fetch import failure
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.ingress.backpressure import Flow
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.topic_watch import TopicWatch
from sluice.kafka.topics import Pinned, Topics, require_partitions
from sluice.names import INGRESS_POLLER, Names
from sluice.position import Position
from sluice.raw.writing import sweep_markers
from sluice.state import Store
from sluice.telemetry import Health
from sluice.times import now_ms, now_us
from sluice_ingress_poller.faults import StreamFaults
from sluice_ingress_poller.fetch_thread import FetchResult, FetchThread
from sluice_ingress_poller.known_keys import RawTopicKeys
from sluice_ingress_poller.lag import BackPressure
from sluice_ingress_poller.leased_stream import LeasedStream
from sluice_ingress_poller.listing import Decision
from sluice_ingress_poller.metrics import count_failure
from sluice_ingress_poller.page import author_fault
from sluice_ingress_poller.polled_stream import PolledStream
from sluice_ingress_poller.records import RecordBuilder, StoredResponse
from sluice_ingress_poller.schedule import retry_delay_s
from sluice_ingress_poller.stream_poll import StreamPoll
from sluice_ingress_poller.watermark import taken_over

WAIT_MAX_S = 0.5
TAKE_OVER_RETRY_MAX_S = 30.0
DELETES_PER_TRANSACTION = 5_000
TAKEN_AGAIN = "wait: Sluice lists and publishes the streams of the shard again by itself"
log = structlog.get_logger()


@dataclass(frozen=True)
class ShardContext:
    """The settings and clients that all shards of a process share.

    `partitions`: how many partitions each raw topic has. `page_permits`: the semaphore that bounds the pages in memory.
    """

    kafka: KafkaSettings
    names: Names
    instance: str
    store: Store
    admin: AdminClient
    partitions: int
    back_pressure: BackPressure
    health: Health
    page_permits: threading.Semaphore


class Shard:
    """The owner of one shard, in a thread that `start` starts.

    `beat_s`: when the thread last made progress (monotonic). `bug`: the unexpected error that ended the thread, if any.
    """

    def __init__(self, number: int, streams: list[PolledStream], context: ShardContext) -> None:
        self.number = number
        self.beat_s = time.monotonic()
        self.bug: BaseException | None = None
        self._streams = streams
        self._context = context
        self._stopped = threading.Event()
        self._producer = IngressProducer(
            context.kafka, context.names, context.names.transactional_id(INGRESS_POLLER, number)
        )
        self._leased: dict[str, LeasedStream] = {}
        self._pinned: dict[str, Pinned] = {}
        self._faults = {polled.key: StreamFaults(polled.key, context.health, polled.secrets) for polled in streams}
        self._where = f"shard {number}"
        self._results: queue.SimpleQueue[FetchResult] = queue.SimpleQueue()
        self._attempts = 0
        self._thread = threading.Thread(target=self._run, name=self._where, daemon=True)

    def start(self) -> None:
        # The process is not ready until this shard has reported the active faults that its watermarks contain.
        self._context.health.starting(self._where)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Request the thread to end. It finishes a publication that has started, and starts no further work."""
        self._stopped.set()

    def join(self, deadline_s: float) -> None:
        """Wait until the thread of this shard has ended, at most `deadline_s` seconds.

        A thread that ends later is safe: the next owner of the shard fences its transactions.
        """
        self._thread.join(deadline_s)
        if self._thread.is_alive():
            log.warning("shard still busy; its next owner fences it", shard=self.number)

    # ── the thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        structlog.contextvars.bind_contextvars(shard=self.number)
        try:
            while not self._stopped.is_set():
                self._own()
        except BaseException as error:
            # The main thread reads `bug`, and ends the process with this error.
            self.bug = error
        finally:
            self._drop()
            for faults in self._faults.values():
                faults.clear()
            self._context.health.resolve(self._where)
            self._producer.close()
            log.info("shard given up")

    def _own(self) -> None:
        """Take the shard over and poll its streams, until a stop is requested or an error ends the ownership."""
        try:
            self._take_over()
            self._context.health.resolve(self._where)
            self._poll()
        except (EnvironmentFault, Transient) as error:
            self._context.health.fault(self._where, str(error))
            self._wait(error)

    def _wait(self, error: SluiceError) -> None:
        self._drop()
        self._attempts += 1
        requested_s = error.retry_after_s if isinstance(error, Transient) else None
        delay_s = min(retry_delay_s(self._attempts, requested_s, random.random()), TAKE_OVER_RETRY_MAX_S)  # noqa: S311
        until_s = time.monotonic() + delay_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopped.wait(min(left_s, WAIT_MAX_S)):
            self._beat()

    def _beat(self) -> None:
        self.beat_s = time.monotonic()

    # ── taking over ───────────────────────────────────────────────────────────────────────────────────────────

    def _take_over(self) -> None:
        context = self._context
        # The topic ids are read at every take-over: the known keys of a topic that was re-created are no longer used.
        self._pinned = Topics(context.admin).pinned(sorted({s.names.raw_topic for s in self._streams}))
        require_partitions(self._pinned, context.partitions)
        self._producer.fence()
        self._beat()
        lease = {"v": 1, "instance": context.instance, "at": now_us()}
        incarnation = self._producer.write_lease(context.names.shards, self.number, b"%d" % self.number, lease)
        stored = self._producer.read_watermarks([s.key for s in self._streams])
        with LogReader(context.kafka) as reader:
            for polled in self._streams:
                if self._stopped.is_set():
                    return
                self._leased[polled.key] = self._start(polled, incarnation, stored.get(polled.key), reader)
        log.info("shard taken over", incarnation=incarnation, streams=[s.key for s in self._streams])

    def _start(
        self, polled: PolledStream, incarnation: int, stored: Mapping[str, object] | None, reader: LogReader
    ) -> LeasedStream:
        watermark = taken_over(stored, incarnation, f"watermark {polled.key}")
        known = self._restored(polled, stored is None, reader)
        if stored is not None and watermark.raw_reset is None and next(known.keys(), None) is None:
            watermark = replace(watermark, raw_reset=Position(watermark.epoch, incarnation, 0))
        faults = self._faults[polled.key]
        faults.report_stored(watermark)
        return LeasedStream(
            polled,
            StreamPoll(polled.stream, polled.plan, watermark, known, time.monotonic(), now_us()),
            RecordBuilder(polled.names, watermark.epoch, incarnation, polled.secrets),
            FetchThread(polled.key, polled.fetcher, self._context.page_permits, self._results),
            faults,
        )

    def _restored(self, polled: PolledStream, no_watermark: bool, reader: LogReader) -> RawTopicKeys:
        topic = polled.names.raw_topic
        known = RawTopicKeys(self._context.store, topic, self._pinned[topic])
        for _ in known.restore_all(reader) if no_watermark else known.restore(reader):
            self._beat()
        if no_watermark and known.records_read:
            raise EnvironmentFault(
                f"watermark {polled.key}",
                f"there is none in {self._context.names.watermarks}, but {topic} contains records: without the "
                "watermark, new records would get positions that older records have",
                f"restore {self._context.names.watermarks} from its backup; or delete {topic} and the contributions "
                "and golden records that were built from it, and run `sluice topics apply`",
            )
        return known

    def _drop(self) -> None:
        """Stop the requests of this lease's streams and forget the streams. Answers that arrive later are dropped."""
        for leased in self._leased.values():
            leased.fetch_thread.close()
        self._leased = {}
        self._results = queue.SimpleQueue()

    # ── polling ───────────────────────────────────────────────────────────────────────────────────────────────

    def _poll(self) -> None:
        watch = TopicWatch(self._context.admin, TAKEN_AGAIN)
        ids = {topic: pinned.topic_id for topic, pinned in self._pinned.items()}
        while not self._stopped.is_set():
            self._beat()
            watch.check(ids)
            now_s = time.monotonic()
            for leased in self._leased.values():
                leased.read_acceptance(self._producer, now_s)
                leased.report_waits(now_s)
            if self._context.back_pressure.flow is not Flow.PAUSED:
                for leased in self._leased.values():
                    if not leased.fetch_thread.busy and leased.due_s <= now_s:
                        self._send(leased, now_s)
            try:
                result = self._results.get(timeout=self._until_due_s(now_s))
            except queue.Empty:
                continue
            leased = self._leased[result.key]
            leased.faults.request_ended()
            try:
                self._handle(leased, result)
            finally:
                leased.fetch_thread.consumed()

    def _until_due_s(self, now_s: float) -> float:
        dues = [leased.due_s for leased in self._leased.values() if not leased.fetch_thread.busy]
        return min(max(min(dues, default=now_s + WAIT_MAX_S) - now_s, 0.01), WAIT_MAX_S)

    def _send(self, leased: LeasedStream, now_s: float) -> None:
        try:
            request = leased.poll.request(now_s)
        except SluiceError as error:
            leased.failed(error)
            return
        leased.fetch_thread.send(request)

    def _handle(self, leased: LeasedStream, result: FetchResult) -> None:
        """Publish the records of a response, or plan a retry after a failure of the source.

        A failure of the source affects only this stream. A failure of Kafka is raised and ends the lease of the shard.
        """
        answer, names = result.answer, leased.polled.names
        if isinstance(answer, BaseException):
            count_failure(names, None)
            leased.failed(answer if isinstance(answer, SluiceError) else author_fault(answer, result.key))
            return
        stored = StoredResponse.now(answer, now_ms())
        try:
            decision = self._decision(leased, answer)
        except SluiceError as refusal:
            count_failure(names, answer.status)
            self._producer.publish([leased.builder.response(stored)], {})
            leased.failed(refusal, stored.response_id)
            return
        self._publish(leased, decision, stored)
        self._attempts = 0
        leased.committed(decision, self._context.back_pressure.flow)

    def _decision(self, leased: LeasedStream, answer: Response) -> Decision:
        """What to publish for `answer`. Raises Transient or EnvironmentFault if its status or its page is refused."""
        refusal = failure(leased.polled.names.source, answer, leased.polled.secrets())
        if refusal is not None:
            raise refusal
        return leased.poll.decide(answer, now_us())

    def _publish(self, leased: LeasedStream, decision: Decision, stored: StoredResponse) -> None:
        """Publish the records, deletes and watermark of a page in one transaction.

        Of more than 5,000 deletes, the first are published in earlier transactions. After a crash between these
        transactions, the next enumeration finds the remaining deletes again.
        """
        deletes = list(decision.deletes)
        while len(deletes) > DELETES_PER_TRANSACTION:
            part, deletes = deletes[:DELETES_PER_TRANSACTION], deletes[DELETES_PER_TRANSACTION:]
            self._producer.publish(list(leased.builder.deletes(part, stored)), {})
            self._beat()
        records = leased.builder.page(decision, stored)
        records += leased.builder.deletes(deletes, stored)
        if decision.sweep is not None:
            names = leased.polled.names
            partitions = self._pinned[names.raw_topic].partitions
            records += sweep_markers(names.raw_topic, names.stream, decision.sweep, partitions)
        self._producer.publish(records, {leased.polled.key: decision.watermark.dump(now_us())})
