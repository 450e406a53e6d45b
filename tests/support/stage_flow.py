"""Mapper and merger of a pipeline whose raw topics a test writes, in threads on real servers. And what an operator or
an accident does to their topics, groups and disks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException, TopicCollection, TopicPartition

from sluice.kafka import LogReader
from sluice.kafka.control import write_request
from sluice.kafka.faults import kafka_error
from sluice.kafka.groups import members_of, set_offsets
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.kafka.topic_watch import TopicWatch
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.lag import committed_offsets
from sluice.names import MAPPER, MERGER
from sluice.provenance import Contribution
from sluice.schemas import Registry, make_decoder
from sluice.stage.commit import KafkaDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.stage.process import Process
from sluice.stage.start import skip_key
from sluice.state import Expiry, RocksStore, StateBackend
from sluice.telemetry import Health
from sluice_mapper.mapper import Mapper
from sluice_mapper.wiring import mapper_topics
from sluice_merger.merger import Merger
from sluice_merger.wiring import merger_topics
from support.echo_stage import Running
from support.handmade import Handmade
from support.topics import set_config
from support.waiting import eventually

DEADLINE_S = 30.0


class StageFlow:
    """`handmade` is the pipeline and its raw records."""

    def __init__(self, handmade: Handmade) -> None:
        self.handmade = handmade
        self._healths = {MAPPER: Health(), MERGER: Health()}
        self._running: dict[str, Running] = {}
        self._inputs = {MAPPER: (handmade.crm, handmade.erp), MERGER: (handmade.contributions,)}

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Run the stage on the current disk and topics while the block runs."""
        self._healths[name] = Health()
        store = RocksStore(self.handmade.settings.state_dir / f"{name}-0")
        try:
            with Running(self._stage(name, store)) as running:
                self._running[name] = running
                yield
                assert running.error is None, running.error
        finally:
            store.close()

    def run_to_end(self, *names: str) -> None:
        """Run one stage after the other until it has processed all records."""
        for name in names:
            with self.running(name):
                self.await_end(name)

    def await_end(self, name: str) -> None:
        eventually(lambda: self._done(name), f"{name} to be at the end", DEADLINE_S, lambda: str(self.faults(name)))

    def fault(self, name: str, *words: str) -> str:
        """Run the stage until one of its faults contains all `words`; returns the fault's text."""
        with self.running(name):
            return self.await_fault(name, *words)

    def await_fault(self, name: str, *words: str) -> str:
        def fault() -> str:
            return next((why for why in self.faults(name).values() if all(w in why for w in words)), "")

        return eventually(fault, f"{name} to report {words}", DEADLINE_S, lambda: str(self.faults(name)))

    def faults(self, name: str) -> dict[str, str]:
        error = self._running[name].error if name in self._running else None
        assert error is None, f"{name} died: {error!r}"
        return self._healths[name].faults

    def _stage(self, name: str, store: RocksStore) -> Stage:
        handmade, settings, group = self.handmade, self.handmade.settings, self.handmade.names.group(name)
        watch = TopicWatch(handmade.admin, every_s=0.5)
        state_backend = StateBackend(store, LogReader(settings.kafka), Expiry(LogReader(settings.kafka)), watch)
        process: Process
        reported_topics: list[str] = []
        if name == MAPPER:
            topics = mapper_topics(handmade.pipeline, settings)
            topic_ids = topics.read_ids
            process = Mapper(handmade.names, handmade.partitions, topics, state_backend)
        else:
            merged = merger_topics(handmade.pipeline, settings)
            topic_ids, reported_topics = merged.read_ids, merged.canonical
            process = Merger(handmade.names, handmade.pipeline.source_order, merged, state_backend)
        return Stage(
            name=name,
            settings=settings,
            reader=GroupReader(settings.kafka, group, "0", topic_ids),
            process=process,
            delivery=KafkaDelivery(settings.kafka, handmade.names, name, "0", reported_topics),
            health=self._healths[name],
        )

    def _done(self, name: str) -> bool:
        """Whether the group has committed the ends, and no fault is active: a partition with a fault is not done."""
        with LogReader(self.handmade.kafka) as reader:
            ends = reader.ends(self._partitions(name))
        committed = committed_offsets(self.handmade.kafka, self.handmade.names.group(name), ends)
        return committed == ends and not self.faults(name)

    def _partitions(self, name: str) -> list[Partition]:
        return [(topic, p) for topic in self._inputs[name] for p in range(self.handmade.partitions)]

    # ── changes of topics, groups and disks ───────────────────────────────────────────────────────────────────

    def lose_disk(self, name: str) -> None:
        shutil.rmtree(self.handmade.settings.state_dir / f"{name}-0")

    def recreate(self, *topics: str) -> None:
        """Delete topics, and re-create them as `sluice topics apply` does."""
        admin = self.handmade.admin
        for future in admin.delete_topics(list(topics), request_timeout=30).values():
            future.result(30)
        eventually(lambda: not any(self._exists(topic) for topic in topics), "the topics are deleted")
        kinds = load_kinds(self.handmade.settings.schemas_dir / "topics")
        Topics(admin).apply(concrete(kinds, self.handmade.pipeline, ["person"]))

    def _exists(self, topic: str) -> bool:
        try:
            self.handmade.admin.describe_topics(TopicCollection([topic]))[topic].result(10)
        except Exception:
            return False
        return True

    def empty(self, topic: str) -> None:
        """Delete all records of a topic, as `kafka-delete-records` does; a compacted topic allows it while its policy
        says `delete` as well."""
        ends = {(topic, partition): end for partition, end in self.handmade.ends(topic).items()}
        set_config(self.handmade.admin, topic, "cleanup.policy", "compact,delete")
        eventually(
            lambda: self._deleted([TopicPartition(*at, end) for at, end in ends.items()]), "the policy is in force"
        )
        set_config(self.handmade.admin, topic, "cleanup.policy", "compact")
        with LogReader(self.handmade.kafka) as reader:
            eventually(lambda: reader.beginnings(list(ends)) == ends, "the records are deleted")

    def _deleted(self, before: list[TopicPartition]) -> bool:
        """Whether the broker deletes the records; it refuses until it knows the topic's new policy."""
        try:
            for future in self.handmade.admin.delete_records(before).values():
                future.result(30)
        except KafkaException as error:
            if kafka_error(error).name() != "POLICY_VIOLATION":
                raise
            return False
        return True

    def reset_to_earliest(self, name: str, *topics: str) -> None:
        """The same as `kafka-consumer-groups --reset-offsets --to-earliest --execute` with a stopped group."""
        group = self.handmade.names.group(name)
        eventually(lambda: members_of(self.handmade.admin, group) == 0, "the group is empty")
        partitions = [at for at in self._partitions(name) if not topics or at[0] in topics]
        with LogReader(self.handmade.kafka) as reader:
            set_offsets(self.handmade.admin, group, reader.beginnings(partitions))

    def accept(self, name: str, at: Partition, to: int) -> None:
        """The same as `sluice skips accept`."""
        handmade = self.handmade
        write_request(handmade.kafka, handmade.names.control, skip_key(handmade.names.group(name), at), {"to": to})

    def reread(self, name: str) -> None:
        """The steps that a stage with lost state names: move its group, and accept the skip where a log was cut."""
        self.reset_to_earliest(name)
        for topic in self._inputs[name]:
            for partition, first in self.firsts(topic).items():
                if first:
                    self.accept(name, (topic, partition), first)
        self.run_to_end(name)

    # ── what exists ───────────────────────────────────────────────────────────────────────────────────────────

    def claimed(self) -> dict[str, str]:
        """Current claims in the topic: their position by mapping and entity id."""
        newest = {claim.key: claim for claim in self.contributions()}
        return {f"{c.mapping}/{c.entity_id}": str(c.position) for c in newest.values() if not c.retracted}

    def contributions(self) -> list[Contribution]:
        """All records of the topic, in order per key."""
        return [Contribution.from_json(r.value) for r in self.handmade.records(self.handmade.contributions) if r.value]

    def firsts(self, topic: str) -> dict[int, int]:
        """The first offset of each partition."""
        with LogReader(self.handmade.kafka) as reader:
            found = reader.beginnings([(topic, partition) for partition in range(self.handmade.partitions)])
        return {partition: first for (_, partition), first in found.items()}

    def golden(self) -> dict[str, dict[str, object]]:
        """Current golden records in the topic by entity id."""
        registry = Registry(self.handmade.settings.registry.url, self.handmade.settings.state_dir / "schemas")
        decode = make_decoder(registry.by_id)
        newest = {r.key: r.value for r in self._canonical()}
        return {(key or b"").decode(): dict(decode(value).fields) for key, value in newest.items() if value}

    def await_golden(self, expected: dict[str, dict[str, object]]) -> None:
        eventually(lambda: self.golden() == expected, "the golden records", DEADLINE_S, lambda: str(self.golden()))

    def canonical_count(self) -> int:
        return len(self._canonical())

    def _canonical(self) -> list[Record]:
        return self.handmade.records(self.handmade.canonical)
