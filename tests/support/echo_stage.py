"""The smallest stage: it repeats each record of one topic in another. It runs the real loop on real Kafka."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.errors import DeadRecord, Transient
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.faults import translate
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.kafka.topics import Topics
from sluice.names import Names
from sluice.settings.stage import StageSettings
from sluice.stage.batch import Batch
from sluice.stage.commit import KafkaDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.signals import Stop
from sluice.stage.start import StageIdentity, restore_record
from sluice.state import View
from sluice.telemetry import Health
from sluice.telemetry.health import STALLED_AFTER_S, ActiveFault
from support.memory_store import MemoryStore
from support.pace import within
from support.topics import make_topics


class Echo(Process):
    """Repeats a record's value. The value `die` is a dead letter, `later` fails once with a transient error, `hang`
    waits for `released`."""

    def __init__(self, names: Names, out: str, state: str, state_id: str, reader: LogReader) -> None:
        self._names, self._out, self._state, self._state_id = names, out, state, state_id
        self._reader = reader
        self._store = MemoryStore()
        self._owned: dict[Partition, Owned] = {}
        self.failed_once = False
        self.released = threading.Event()
        self.handled: list[int] = []

    def start(self, owned: Owned) -> Iterator[None]:
        view = View(self._store, self._state, owned.at[1], self._state_id)
        yield from restore_record(
            owned, view, self._reader, StageIdentity("echo", self._names.group("echo"), self._names.control)
        )
        owned.record.pass_end = None  # it has no state that could be lost
        self._owned[owned.at] = owned

    def stop(self, at: Partition) -> None:
        self._owned.pop(at, None)

    def handle(self, record: Record, batch: Batch) -> Handled:
        self.handled.append(record.offset)
        if record.value == b"die":
            raise DeadRecord("requested", "the record says so")
        if record.value == b"hang":
            assert self.released.wait(within(60))
        if record.value == b"later" and not self.failed_once:
            self.failed_once = True
            raise Transient("not now")
        batch.add_checked(self._out, record.key, record.value, (), 0)
        batch.count(record.at, "mapped")
        return Handled.DONE

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        for owned in self._owned.values():
            owned.view.advance(offsets_after.get((owned.view.topic, owned.view.partition)))

    def given_up(self) -> None:
        for owned in self._owned.values():
            owned.view.rollback()


class EchoBench:
    """The topics of one test, and stages that run on them in threads."""

    def __init__(self, kafka: str, prefix: str, state_dir: Path) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=kafka)
        self.names = Names(prefix)
        self.topic, self.out, self.state = f"{prefix}in", f"{prefix}out", f"{prefix}state.echo.in"
        self._settings = StageSettings(kafka=self.kafka, state_dir=state_dir)
        self.admin = AdminClient({"bootstrap.servers": kafka})
        topics = [self.topic, self.out, self.state, self.names.dlq("echo"), self.names.ledger, self.names.control]
        make_topics(self.admin, dict.fromkeys(topics, 1))
        self.producer = clients.producer(self.kafka)
        self.healths: list[Health] = []
        self.reported: list[tuple[str, str]] = []

    @property
    def group(self) -> str:
        return self.names.group("echo")

    def feed(self, *values: bytes) -> None:
        for value in values:
            self.producer.produce(self.topic, value, b"k", 0)
        assert self.producer.flush(within(30)) == 0

    def stage(self, instance: str = "0", stalled_after_s: float = STALLED_AFTER_S) -> tuple[Stage, Echo]:
        pinned = Topics(clients.admin(self.kafka)).pinned([self.topic, self.state])
        echo = Echo(self.names, self.out, self.state, pinned[self.state].topic_id, LogReader(self.kafka))
        self.healths.append(Health(stalled_after_s, on_change=self._note))
        stage = Stage(
            name="echo",
            settings=self._settings,
            reader=GroupReader(self.kafka, self.group, instance, {self.topic: pinned[self.topic].topic_id}),
            process=echo,
            delivery=KafkaDelivery(self.kafka, self.names, "echo", instance),
            health=self.healths[-1],
        )
        return stage, echo

    def _note(self, about: str, fault: ActiveFault | None) -> None:
        if fault is not None and fault.is_failure:
            self.reported.append((about, fault.why))

    def create(self, topic: str) -> None:
        make_topics(self.admin, {topic: 1})

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(within(30))

    def visible(self, topic: str) -> list[bytes | None]:
        """Values readable at read_committed now."""
        with LogReader(self.kafka) as reader:
            end = reader.ends([(topic, 0)], committed=True)[topic, 0]
            return [m.value() for m in reader.read({(topic, 0): (0, end)})]

    def committed(self) -> int | None:
        consumer = clients.group_consumer(self.kafka, self.group, "reader")
        try:
            found = consumer.committed([TopicPartition(self.topic, 0)], within(30))[0].offset
        except KafkaException as error:  # a broker that has just started creates its offsets topic first
            raise translate(error, f"group {self.group}") from None
        finally:
            consumer.close()
        return int(found) if found >= 0 else None


class NoWriter:
    """A writer for a stage without an effect outside Kafka. No batch of it may be committed."""

    def write(self, batch: Batch, owned: object) -> None: ...
    def commit(self) -> None:
        raise AssertionError("nothing may be committed before the dead letter is durable")

    def rollback(self) -> None: ...


class Running:
    """A stage that runs in a thread while the block runs."""

    def __init__(self, stage: Stage) -> None:
        self._stop = Stop()
        self.error: BaseException | None = None

        def run() -> None:
            try:
                stage.run(self._stop)
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.request()
        self._thread.join(within(30))
        assert not self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
