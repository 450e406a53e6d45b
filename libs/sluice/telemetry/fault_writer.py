"""Writes the faults of this process to the compacted topic `sluice.faults`, where `sluice lag` finds them.

It only ever tries: a thread of its own, which blocks no stage and ends none. While Kafka is away, the newest state of
each fault waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.kafka import KafkaSettings, clients, read_to_end
from sluice.kafka.faults import translate
from sluice.telemetry.fault_buffer import FaultBuffer
from sluice.telemetry.fault_record import REPEATED_EVERY_S, key_of, prefix_of, written
from sluice.telemetry.health import ActiveFault, Health
from sluice.times import now_us

RETRY_S = 5.0
ANSWER_S = 5.0
CLOSE_S = 3.0
# A process that is started again and again ends sooner, most often before it is started at all.
OUTLIVED_AFTER_S = 10.0
ABSENT = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC")

log = structlog.get_logger()


class FaultWriter:
    """`stage` and `instance` name the process. That the topic cannot be written is a fault too, told by `health`."""

    def __init__(self, settings: KafkaSettings, topic: str, stage: str, instance: str) -> None:
        self.notes = FaultBuffer()
        self._settings, self._topic = settings, topic
        self._stage, self._instance = stage, instance
        self._stopped = threading.Event()
        self._producer: Producer | None = None
        self._found = self._inherited = False

    def start(self, health: Health) -> None:
        self._thread = threading.Thread(target=self._run, args=[health], name="faults", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, within a few seconds. What stands goes on active: that we stop mends nothing."""
        self._stopped.set()
        self._thread.join(CLOSE_S)

    def _run(self, health: Health) -> None:
        repeat_at_s = time.monotonic() + REPEATED_EVERY_S
        outlived_at_s = math.inf
        while not self._stopped.wait(0.2):
            health.watch()
            if self.notes.started.is_set():
                outlived_at_s = min(outlived_at_s, time.monotonic() + OUTLIVED_AFTER_S)
            if time.monotonic() >= outlived_at_s:
                self.notes.outlived()
            if time.monotonic() >= repeat_at_s:
                repeat_at_s = time.monotonic() + REPEATED_EVERY_S
                self.notes.repeat()
            if not self._write(health):
                self._stopped.wait(RETRY_S)
        self._write(health)

    def _write(self, health: Health) -> bool:
        """Write what waits; whether that was possible."""
        taken: dict[str, ActiveFault | None] = {}
        try:
            self._find()
            self._inherit()
            taken = self.notes.take()
            self._send(taken)
        except EnvironmentFault as error:
            self.notes.give_back(taken)
            self._found = False
            health.fault(self._topic, f"alarms cannot be kept for `sluice lag`: {error}")
            return False
        except SluiceError:  # Kafka is away, and the stage says so
            self.notes.give_back(taken)
            return False
        except Exception as error:
            # Of no use to anybody if it ended the thread; the next try may do.
            self.notes.give_back(taken)
            log.warning("faults not written", why=type(error).__name__)
            return False
        health.resolve(self._topic)
        return True

    def _find(self) -> None:
        """Raises EnvironmentFault where the topic does not exist: pipelines may be older than it."""
        if self._found:
            return
        try:
            about = clients.admin(self._settings).list_topics(self._topic, ANSWER_S).topics[self._topic]
        except KafkaException as error:
            raise translate(error, f"looking for {self._topic}") from None
        if about.error is not None and about.error.name() in ABSENT:
            raise EnvironmentFault(f"topic {self._topic}", "does not exist", "run `sluice topics apply`")
        if about.error is not None:
            raise translate(KafkaException(about.error), f"topic {self._topic}")
        self._found = True

    def _inherit(self) -> None:
        """Once we are started, what an earlier process of our name told, and we did not, is over."""
        if self._inherited or not self.notes.started.is_set():
            return
        ours, left = prefix_of(self._stage, self._instance), set[str]()
        for message in read_to_end(self._settings, self._topic, {0: 0}, deadline_s=ANSWER_S):
            key = (message.key() or b"").decode(errors="replace")
            if key.startswith(ours):
                (left.add if message.value() else left.discard)(key.removeprefix(ours))
        self.notes.inherit(left)
        self._inherited = True

    def _send(self, states: Mapping[str, ActiveFault | None]) -> None:
        if not states:
            return
        refused: list[KafkaError] = []

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                refused.append(error)

        producer = self._producer or clients.producer(self._settings)
        self._producer = producer
        at_us = now_us()
        try:
            for about, active in states.items():
                value = written(self._stage, self._instance, about, active, at_us)
                key = key_of(self._stage, self._instance, about)
                producer.produce(self._topic, value, key, 0, on_delivery=report)
            unanswered = producer.flush(ANSWER_S)
        except KafkaException as error:
            refused.append(error.args[0])
            unanswered = 0
        if refused or unanswered:
            # A new client the next time: what this one still holds would be written behind newer states.
            producer.purge()
            self._producer = None
            doing = f"writing {self._topic}"
            raise translate(KafkaException(refused[0]), doing) if refused else Transient(f"{doing}: no answer")
