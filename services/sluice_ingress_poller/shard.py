"""A shard: the streams of one partition of `sluice.shards`, polled and published by one owner at a time.

Taking a shard over is KIP-618's order: fence the earlier owner, write a lease (its offset is the incarnation of all
positions to come), read the watermarks to their end, catch up with the raw topics; only then ask the sources. Losing
a transaction means doing all of that again. All decisions and publishing of a shard happen in its one thread; only
requests run beside it, in lanes.
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

from sluice.connector.fetch import failure
from sluice.errors import Bug, EnvironmentFault, SluiceError, Transient
from sluice.ingress.backpressure import Flow
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.topic_watch import TopicWatch
from sluice.kafka.topics import Pinned, Topics, require_partitions
from sluice.names import INGRESS_POLLER, Names
from sluice.position import Position
from sluice.raw.record import sweep_markers
from sluice.state import Store
from sluice.telemetry import Health
from sluice.times import now_ms, now_us
from sluice_ingress_poller.acceptance import Acceptances
from sluice_ingress_poller.faults import StreamFaults
from sluice_ingress_poller.known_keys import RawTopicKeys
from sluice_ingress_poller.lag import BackPressure
from sluice_ingress_poller.lane import Lane, Outcome
from sluice_ingress_poller.outcomes import count_failure
from sluice_ingress_poller.page import author_fault
from sluice_ingress_poller.passes import Decision
from sluice_ingress_poller.polled import PolledStream
from sluice_ingress_poller.polling import Polling
from sluice_ingress_poller.records import Fetched, RecordMaker
from sluice_ingress_poller.schedule import retry_delay_s
from sluice_ingress_poller.stream_poll import StreamPoll
from sluice_ingress_poller.watermark import taken_over

WAIT_S_MAX = 0.5
TAKE_OVER_RETRY_S_MAX = 30.0
DELETES_PER_TRANSACTION = 5_000
TAKEN_AGAIN = "wait: the streams are listed and published again by themselves"
log = structlog.get_logger()


@dataclass(frozen=True)
class Surroundings:
    """What all shards of a process share; `slots` bounds the pages in memory, `partitions` is what a raw topic has."""

    kafka: KafkaSettings
    names: Names
    instance: str
    store: Store
    admin: AdminClient
    partitions: int
    back_pressure: BackPressure
    health: Health
    slots: threading.Semaphore


class Shard:
    """Runs in a thread from `start` to `stop`. `beat_s` is when it last came around, `bug` what ended it early."""

    def __init__(self, number: int, streams: list[PolledStream], around: Surroundings) -> None:
        self.number = number
        self.beat_s = time.monotonic()
        self.bug: BaseException | None = None
        self._streams = streams
        self._around = around
        self._stopped = threading.Event()
        self._producer = IngressProducer(
            around.kafka, around.names, around.names.transactional_id(INGRESS_POLLER, number)
        )
        self._polling: dict[str, Polling] = {}
        self._pinned: dict[str, Pinned] = {}
        self._watch = TopicWatch(around.admin, TAKEN_AGAIN)
        self._faults = {polled.key: StreamFaults(polled.key, around.health) for polled in streams}
        self._where = f"shard {number}"
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._attempts = 0
        self._thread = threading.Thread(target=self._run, name=f"shard {number}", daemon=True)

    def start(self) -> None:
        # Not ready before the alarms that stand in the watermarks are shown.
        self._around.health.starting(self._where)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begin no more work; what is being published is finished."""
        self._stopped.set()

    def join(self, deadline_s: float) -> None:
        """Wait until it has stopped. One that is late is harmless: the next owner fences it."""
        self._thread.join(deadline_s)
        if self._thread.is_alive():
            log.warning("shard still busy; its next owner fences it", shard=self.number)

    # ── the thread ────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        structlog.contextvars.bind_contextvars(shard=self.number)
        try:
            while not self._stopped.is_set():
                self._guarded()
        except BaseException as error:
            # Handed to the main thread, which ends the process with it.
            self.bug = error
        finally:
            self._drop()
            for faults in self._faults.values():
                faults.clear()
            self._around.health.resolve(self._where)
            self._producer.close()
            log.info("shard given up")

    def _guarded(self) -> None:
        """Take the shard over and serve it, until asked to stop or something takes the ground away."""
        try:
            self._take_over()
            self._around.health.resolve(self._where)
            self._serve()
        except (EnvironmentFault, Transient) as error:
            self._around.health.fault(self._where, str(error))
            self._wait(error)

    def _wait(self, error: SluiceError) -> None:
        self._drop()
        self._attempts += 1
        asked_for_s = error.retry_after_s if isinstance(error, Transient) else None
        delay_s = min(retry_delay_s(self._attempts, asked_for_s, random.random()), TAKE_OVER_RETRY_S_MAX)  # noqa: S311
        until_s = time.monotonic() + delay_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopped.wait(min(left_s, WAIT_S_MAX)):
            self._beat()

    def _beat(self) -> None:
        self.beat_s = time.monotonic()

    # ── taking over ───────────────────────────────────────────────────────────────────────────────────────────

    def _take_over(self) -> None:
        around = self._around
        # Each time, so that a topic that was made again is taken for what it is: empty.
        self._pinned = Topics(around.admin).pinned(sorted({s.names.raw_topic for s in self._streams}))
        require_partitions(self._pinned, around.partitions)
        self._watch = TopicWatch(around.admin, TAKEN_AGAIN)
        self._producer.fence()
        self._beat()
        lease = {"v": 1, "instance": around.instance, "at": now_us()}
        incarnation = self._producer.write_lease(around.names.shards, self.number, b"%d" % self.number, lease)
        stored = self._producer.read_watermarks([s.key for s in self._streams])
        with LogReader(around.kafka) as reader:
            for polled in self._streams:
                if self._stopped.is_set():
                    return
                self._begin(polled, incarnation, stored.get(polled.key), reader)
        log.info("shard taken over", incarnation=incarnation, streams=[s.key for s in self._streams])

    def _begin(
        self, polled: PolledStream, incarnation: int, stored: Mapping[str, object] | None, reader: LogReader
    ) -> None:
        watermark = taken_over(stored, incarnation, f"watermark {polled.key}")
        known = self._restored(polled, stored is None, reader)
        if stored is not None and watermark.raw_anew is None and next(known.keys(), None) is None:
            watermark = replace(watermark, raw_anew=Position(watermark.epoch, incarnation, 0))
        poll = StreamPoll(polled.stream, polled.plan, watermark, known, time.monotonic(), now_us())
        maker = RecordMaker(polled.names, watermark.epoch, incarnation, polled.secrets)
        lane = Lane(polled.key, polled.fetcher, self._around.slots, self._outcomes)
        faults, names = self._faults[polled.key], polled.names
        faults.alarms(watermark)
        acceptances = Acceptances(names.source, names.stream, faults)
        self._polling[polled.key] = Polling(polled, poll, maker, lane, faults, acceptances)

    def _restored(self, polled: PolledStream, no_watermark: bool, reader: LogReader) -> RawTopicKeys:
        topic = polled.names.raw_topic
        known = RawTopicKeys(self._around.store, topic, self._pinned[topic])
        for _ in known.restore_all(reader) if no_watermark else known.restore(reader):
            self._beat()
        if no_watermark and known.records_read:
            raise EnvironmentFault(
                f"watermark {polled.key}",
                f"there is none in {self._around.names.watermarks}, yet {topic} holds records: a fresh start would "
                "give old positions to new contents",
                f"restore {self._around.names.watermarks} from its backup; or delete both {topic} and what was made "
                "from it, and run `sluice topics apply`",
            )
        return known

    def _drop(self) -> None:
        """Forget the streams of this lease. Answers that are still under way are dropped."""
        for polling in self._polling.values():
            polling.lane.close()
        self._polling = {}
        self._outcomes = queue.SimpleQueue()

    # ── serving ───────────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        ids = {topic: about.topic_id for topic, about in self._pinned.items()}
        while not self._stopped.is_set():
            self._beat()
            self._watch.look(ids)
            now_s = time.monotonic()
            for polling in self._polling.values():
                polling.look_for_requests(self._producer, now_s)
                polling.tell_wait(now_s)
            if self._around.back_pressure.flow is not Flow.PAUSED:
                for polling in self._polling.values():
                    if not polling.lane.busy and polling.due_s <= now_s:
                        self._ask(polling, now_s)
            try:
                outcome = self._outcomes.get(timeout=self._until_due_s(now_s))
            except queue.Empty:
                continue
            polling = self._polling[outcome.key]
            polling.faults.came_back()
            try:
                self._handle(polling, outcome)
            finally:
                polling.lane.consumed()

    def _until_due_s(self, now_s: float) -> float:
        dues = [p.due_s for p in self._polling.values() if not p.lane.busy]
        return min(max(min(dues, default=now_s + WAIT_S_MAX) - now_s, 0.01), WAIT_S_MAX)

    def _ask(self, polling: Polling, now_s: float) -> None:
        try:
            request = polling.poll.request(now_s)
        except SluiceError as error:
            polling.failed(error)
            return
        polling.lane.send(request)

    def _handle(self, polling: Polling, outcome: Outcome) -> None:
        """Publish what an outcome leads to. A failure of the source is the stream's own; one of Kafka the shard's."""
        answer = outcome.answer
        if isinstance(answer, BaseException):
            count_failure(polling.polled.names, None)
            polling.failed(answer if isinstance(answer, SluiceError) else author_fault(answer, outcome.key))
            return
        fetched = Fetched.now(answer, now_ms())
        refused = failure(polling.polled.names.source, answer, polling.polled.secrets())
        decision: Decision | None = None
        if refused is None:
            try:
                decision = polling.poll.decide(answer, now_us())
            except SluiceError as error:
                refused = error
        if decision is None:
            count_failure(polling.polled.names, answer.status)
            self._producer.publish([polling.maker.response(fetched)], {})
            polling.failed(refused or Bug("no decision and no reason"), fetched.response_id)
            return
        self._publish(polling, decision, fetched)
        self._attempts = 0
        polling.committed(decision, self._around.back_pressure.flow)

    def _publish(self, polling: Polling, decision: Decision, fetched: Fetched) -> None:
        """One transaction for the page and its watermark. Very many deletes go before it, in slices of their own: a
        crash among them leaves the rest known, and the next enumeration finds them again."""
        deletes = list(decision.deletes)
        while len(deletes) > DELETES_PER_TRANSACTION:
            part, deletes = deletes[:DELETES_PER_TRANSACTION], deletes[DELETES_PER_TRANSACTION:]
            self._producer.publish(list(polling.maker.deletes(part, fetched)), {})
            self._beat()
        records = polling.maker.page(decision, fetched)
        records += polling.maker.deletes(deletes, fetched)
        if decision.sweep is not None:
            topic = polling.polled.names.raw_topic
            partitions = self._pinned[topic].partitions
            records += sweep_markers(topic, polling.polled.names.stream, decision.sweep, partitions)
        self._producer.publish(records, {polling.polled.key: decision.watermark.dump(now_us())})
