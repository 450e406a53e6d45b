"""Writes the faults of this process to the compacted topic `sluice.faults`. `sluice lag` reads them there.

A thread of its own does this, so that a stage is neither blocked nor ended by an error of writing. While Kafka does not
answer, the newest state of each fault stays in a buffer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping

import structlog
from confluent_kafka import KafkaException, Producer

from sluice.errors import EnvironmentFault, SluiceError
from sluice.kafka import KafkaSettings, clients, read_to_end
from sluice.kafka.faults import TOPIC_MISSING, topic_missing, translate
from sluice.kafka.writing import write_all
from sluice.telemetry.fault_buffer import FaultBuffer
from sluice.telemetry.fault_record import REPEATED_EVERY_S, fault_key, fault_value, key_prefix
from sluice.telemetry.health import ActiveFault, Health

RETRY_S = 5.0
ANSWER_S = 5.0
CLOSE_S = 3.0
# After a process has run for this long since its start, the fault that ended the earlier process is resolved. In a
# restart loop, a process ends sooner.
OUTLIVED_AFTER_S = 10.0

log = structlog.get_logger()


class FaultWriter:
    """Writes the faults in `buffer` to `topic`. `stage` and `instance` name this process. If the topic cannot be
    written, that is reported as a fault to the `health` of `start`."""

    def __init__(self, settings: KafkaSettings, topic: str, stage: str, instance: str) -> None:
        self.buffer = FaultBuffer()
        self._settings, self._topic = settings, topic
        self._process = stage, instance
        self._stopped = threading.Event()
        self._producer: Producer | None = None
        self._found = self._inherited = False

    def start(self, health: Health) -> None:
        self._thread = threading.Thread(target=self._run, args=[health], name="faults", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the fault states that are still in the buffer, for at most CLOSE_S seconds. Active faults stay active,
        because the end of a process resolves no fault."""
        self._stopped.set()
        self._thread.join(CLOSE_S)

    def _run(self, health: Health) -> None:
        repeat_at_s = time.monotonic() + REPEATED_EVERY_S
        outlived_at_s = math.inf
        while not self._stopped.wait(0.2):
            health.watch()
            if self.buffer.started.is_set():
                outlived_at_s = min(outlived_at_s, time.monotonic() + OUTLIVED_AFTER_S)
            if time.monotonic() >= outlived_at_s:
                self.buffer.outlived()
            if time.monotonic() >= repeat_at_s:
                repeat_at_s = time.monotonic() + REPEATED_EVERY_S
                self.buffer.repeat()
            if not self._write(health):
                self._stopped.wait(RETRY_S)
        self._write(health)

    def _write(self, health: Health) -> bool:
        """Write the fault states that are in the buffer to Kafka. Returns whether all were written."""
        taken: dict[str, ActiveFault | None] = {}
        try:
            self._require_topic()
            self._inherit()
            taken = self.buffer.take()
            self._send(taken)
        except Exception as error:
            self.buffer.give_back(taken)
            if isinstance(error, EnvironmentFault):
                self._found = False
                health.fault(self._topic, f"faults cannot be written for `sluice lag`: {error}")
            elif not isinstance(error, SluiceError):
                # An error must not end the thread, because the next attempt may succeed. If Kafka does not answer,
                # another thread of the process reports this as a fault.
                log.warning("faults not written", why=type(error).__name__)
            return False
        health.resolve(self._topic)
        return True

    def _require_topic(self) -> None:
        """Raises EnvironmentFault if the topic of faults does not exist. This happens if the pipeline's topics were
        created by a version of Sluice that had no such topic."""
        if self._found:
            return
        try:
            error = clients.admin(self._settings).list_topics(self._topic, ANSWER_S).topics[self._topic].error
        except KafkaException as exception:
            raise translate(exception, f"looking for {self._topic}") from None
        if error is not None and error.name() in TOPIC_MISSING:
            raise topic_missing(self._topic)
        if error is not None:
            raise translate(KafkaException(error), f"topic {self._topic}")
        self._found = True

    def _inherit(self) -> None:
        """When the stage has started, resolve the faults that an earlier process with the same stage and instance name
        left active, and that this process has not reported."""
        if self._inherited or not self.buffer.started.is_set():
            return
        prefix, abouts = key_prefix(*self._process), set[str]()
        for message in read_to_end(self._settings, self._topic, {0: 0}, deadline_s=ANSWER_S):
            key = (message.key() or b"").decode(errors="replace")
            if key.startswith(prefix):
                (abouts.add if message.value() else abouts.discard)(key.removeprefix(prefix))
        self.buffer.inherit(abouts)
        self._inherited = True

    def _send(self, states: Mapping[str, ActiveFault | None]) -> None:
        if not states:
            return
        now_us = time.time_ns() // 1_000
        records = [
            (self._topic, fault_key(*self._process, about), fault_value(*self._process, about, fault, now_us), (), 0)
            for about, fault in states.items()
        ]
        # After an error use a new client. The old client may still send a record, which would then arrive after the
        # record of a newer state.
        producer, self._producer = self._producer or clients.producer(self._settings), None
        write_all(producer, records, f"writing {self._topic}", ANSWER_S)
        self._producer = producer
