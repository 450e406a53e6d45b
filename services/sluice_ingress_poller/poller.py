"""The poller: a member of the group on `sluice.shards`, running one `Shard` for each partition it is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import structlog
from confluent_kafka import Consumer, TopicPartition

from sluice.errors import EnvironmentFault, Transient
from sluice.ingress.backpressure import LagBounds
from sluice.kafka import clients
from sluice.kafka.log import Partition
from sluice.kafka.topics import Topics
from sluice.names import INGRESS_POLLER
from sluice.pipeline import Pipeline
from sluice.settings.kafka import KafkaSettings
from sluice.stage.group import GroupReader
from sluice.stage.signals import Stop
from sluice.state import RocksStore
from sluice.telemetry import Health
from sluice.telemetry.metrics import THROTTLED
from sluice_ingress_poller.lag import BackPressure, DownstreamLag, downstream
from sluice_ingress_poller.polled import PolledStream, shard_of
from sluice_ingress_poller.settings import PollerSettings
from sluice_ingress_poller.shard import Shard, Surroundings

TAKE_TIMEOUT_S = 0.2
RETRY_S = 5.0
OPENING = "topics of ingress-poller"
MEMBERSHIP = "group of ingress-poller"
# A member is ready with its first shards, whose alarms it then shows; one that is given none is ready all the same.
ASSIGNED_WITHIN_S = 10.0
# Longer than the longest wait for an unreachable Kafka (fencing: 60 s), which is no reason to restart a process.
SHARD_STALLED_AFTER_S = 150.0
log = structlog.get_logger()


class Membership(GroupReader):
    """The group on `sluice.shards`. Unlike a reader of data it stops a shard's work *before* the shard is given up,
    so that two owners do not ask one source at once; that no position is given twice rests on the fence alone.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        instance: str,
        topics: Sequence[str],
        before_giving_up: Callable[[list[Partition]], None],
    ) -> None:
        super().__init__(settings, group, instance, dict.fromkeys(topics, ""))  # only a stage's loop needs their ids
        self._before_giving_up = before_giving_up

    def _on_revoke(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._before_giving_up([(p.topic, p.partition) for p in parts])
        super()._on_revoke(consumer, parts)


class Poller:
    """`run_until_signalled` is all a main calls."""

    def __init__(
        self, settings: PollerSettings, pipeline: Pipeline, streams: list[PolledStream], health: Health
    ) -> None:
        self._settings = settings
        self._names = pipeline.names
        self._streams = streams
        self._health = health
        self._shards: dict[int, Shard] = {}
        self._around: Surroundings | None = None
        self._started_by_s = 0.0
        self._shard_count = pipeline.shards
        self._partitions = pipeline.partitions
        part = settings.poller
        groups = downstream(pipeline, part.downstream_groups)
        bounds = LagBounds(part.lag_records_throttle, part.lag_records_pause)
        self._back_pressure = BackPressure(DownstreamLag(settings.kafka, groups), bounds, part.lag_interval_s, health)
        self._store = RocksStore(settings.state_dir / f"{INGRESS_POLLER}-{settings.instance}")
        self._member = Membership(
            settings.kafka,
            self._names.group(INGRESS_POLLER),
            settings.instance,
            [self._names.shards],
            self._stop_shards,
        )

    def __enter__(self) -> Poller:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop_shards([(self._names.shards, number) for number in self._shards])
        self._member.close()
        self._back_pressure.close()
        self._store.close()

    def run_until_signalled(self) -> int:
        return self.run(Stop.on_signals())

    def run(self, stop: Stop) -> int:
        """Poll until `stop`; returns the exit code. A shard's bug comes through."""
        self._back_pressure.start()
        while not stop.requested and not self._guarded(OPENING, self._open):
            stop.wait(RETRY_S)
        while not stop.requested:
            if not self._guarded(MEMBERSHIP, self._turn):
                stop.wait(1.0)
                self._guarded(OPENING, self._open)
        log.info("stopping")
        return 0

    def _guarded(self, about: str, act: Callable[[], Any]) -> bool:
        """Do `act`; what it could not do stands as a fault until the same can be done."""
        self._health.progress()
        try:
            act()
        except (EnvironmentFault, Transient) as error:
            self._health.fault(about, str(error))
            return False
        self._health.resolve(about)
        return True

    def _open(self) -> None:
        topics = {self._names.shards, self._names.watermarks, self._names.control}
        for polled in self._streams:
            topics |= {polled.names.raw_topic, polled.names.responses_topic, polled.names.dlq_topic}
        admin = clients.admin(self._settings.kafka)
        pinned = Topics(admin).pinned(sorted(topics))
        found = pinned[self._names.shards].partitions
        if found != self._shard_count:
            raise EnvironmentFault(
                f"topic {self._names.shards}",
                f"has {found} partitions where the pipeline declares {self._shard_count} shards, and shards are fixed",
                f"set `shards: {found}` in the pipeline file",
            )
        self._around = Surroundings(
            self._settings.kafka,
            self._names,
            self._settings.instance,
            self._store,
            admin,
            self._partitions,
            self._back_pressure,
            self._health,
            threading.Semaphore(self._settings.poller.pages_max),
        )
        self._member.open()
        self._started_by_s = time.monotonic() + ASSIGNED_WITHIN_S

    def _turn(self) -> None:
        self._member.take(100, TAKE_TIMEOUT_S)
        self._member.revoked = []
        assigned, self._member.assigned = self._member.assigned, []
        for _, number in assigned:
            self._start_shard(number)
        if assigned or time.monotonic() > self._started_by_s:
            self._health.started()
        self._look_after_shards()

    def _start_shard(self, number: int) -> None:
        streams = [s for s in self._streams if shard_of(s.key, self._shard_count) == number]
        if not streams or self._around is None or number in self._shards:
            return
        self._shards[number] = Shard(number, streams, self._around)
        self._shards[number].start()

    def _stop_shards(self, parts: list[Partition]) -> None:
        stopping = [self._shards.pop(number) for _, number in parts if number in self._shards]
        for shard in stopping:
            shard.ask_to_stop()
        give_up_s = time.monotonic() + self._settings.poller.stop_deadline_s
        for shard in stopping:
            shard.join(max(0.1, give_up_s - time.monotonic()))
            for about in (f"shard {shard.number}", f"loop of shard {shard.number}"):
                self._health.resolve(about)  # its next owner tells what is wrong with it

    def _hangs(self, shard: Shard, now_s: float) -> bool:
        """Whether it has made no progress for too long, which is a fault as long as it lasts."""
        about = f"loop of shard {shard.number}"
        if now_s - shard.beat_s < SHARD_STALLED_AFTER_S:
            self._health.resolve(about)
            return False
        told = f"no progress for {SHARD_STALLED_AFTER_S:.0f} s: its thread hangs. Next: start the stage again"
        self._health.fault(about, told)
        return True

    def _look_after_shards(self) -> None:
        now_s = time.monotonic()
        for shard in self._shards.values():
            if shard.bug is not None:
                raise shard.bug
        if not [shard for shard in self._shards.values() if self._hangs(shard, now_s)]:
            self._health.progress()
        for source in {polled.names.source for polled in self._streams}:
            THROTTLED.labels(INGRESS_POLLER, source).set(self._back_pressure.flow)
