"""The poller: a member of the group on `sluice.shards` that runs one `Shard` for each assigned partition."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import structlog

from sluice.errors import EnvironmentFault, Transient
from sluice.ingress.backpressure import LagBounds
from sluice.kafka import clients
from sluice.kafka.log import Partition
from sluice.kafka.topics import Topics
from sluice.names import INGRESS_POLLER
from sluice.pipeline import Pipeline
from sluice.stage.group import GroupReader
from sluice.stage.signals import Stop
from sluice.state import RocksStore
from sluice.telemetry import Health
from sluice.telemetry.metrics import BACKPRESSURE
from sluice_ingress_poller.lag import BackPressure, DownstreamLag, downstream
from sluice_ingress_poller.polled_stream import PolledStream, shard_of
from sluice_ingress_poller.settings import PollerSettings
from sluice_ingress_poller.shard import Shard, ShardContext

TAKE_TIMEOUT_S = 0.2
RETRY_S = 5.0
OPENING = "topics of ingress-poller"
MEMBERSHIP = "group of ingress-poller"
# A process is ready when its first shards have reported their faults. A process to which no shard is assigned is ready
# after this time.
ASSIGNED_WITHIN_S = 10.0
# A shard without progress for this time hangs. The time is longer than the longest wait for an unreachable Kafka
# (fencing: 60 s), because a restart does not help against that.
SHARD_STALLED_AFTER_S = 150.0
log = structlog.get_logger()


class Poller:
    """Runs the shards of this process. A main calls `run_until_signalled` and nothing else."""

    def __init__(
        self, settings: PollerSettings, pipeline: Pipeline, streams: list[PolledStream], health: Health
    ) -> None:
        part, names = settings.poller, pipeline.names
        lag = DownstreamLag(settings.kafka, downstream(pipeline, part.downstream_groups))
        bounds = LagBounds(part.lag_records_throttle, part.lag_records_pause)
        self._context = ShardContext(
            settings.kafka,
            names,
            settings.instance,
            RocksStore(settings.state_dir / f"{INGRESS_POLLER}-{settings.instance}", settings.state_memory_bytes),
            clients.admin(settings.kafka),
            pipeline.partitions,
            BackPressure(lag, bounds, part.lag_interval_s, health),
            health,
            threading.Semaphore(part.pages_max),
        )
        self._streams = streams
        self._shard_count = pipeline.shards
        self._stop_deadline_s = part.stop_deadline_s
        self._shards: dict[int, Shard] = {}
        self._started_by_s = 0.0
        group = names.group(INGRESS_POLLER)
        # The topic id is empty, because the poller uses only the assignment of partitions, and not the records.
        # A shard is stopped *before* it is revoked, so that two owners do not send requests to one source at the same
        # time. Only the fence ensures that two owners never use one position.
        self._member = GroupReader(settings.kafka, group, settings.instance, {names.shards: ""}, self._stop_shards)

    def __enter__(self) -> Poller:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop_shards([(self._context.names.shards, number) for number in self._shards])
        self._member.close()
        self._context.back_pressure.close()
        self._context.store.close()

    def run_until_signalled(self) -> int:
        return self.run(Stop.on_signals())

    def run(self, stop: Stop) -> int:
        """Poll until `stop` is requested; return the exit code. Raises the bug that ended the thread of a shard."""
        self._context.back_pressure.start()
        while not stop.requested and not self._guarded(OPENING, self._open):
            stop.wait(RETRY_S)
        while not stop.requested:
            if not self._guarded(MEMBERSHIP, self._turn):
                stop.wait(1.0)
                self._guarded(OPENING, self._open)
        log.info("stopping")
        return 0

    def _guarded(self, about: str, act: Callable[[], Any]) -> bool:
        """Call `act` and return whether it succeeded. An EnvironmentFault or Transient that it raises becomes the fault
        `about`, which the next success under the same name resolves."""
        self._context.health.progress()
        try:
            act()
        except (EnvironmentFault, Transient) as error:
            self._context.health.fault(about, str(error))
            return False
        self._context.health.resolve(about)
        return True

    def _open(self) -> None:
        names = self._context.names
        topics = {names.shards, names.watermarks, names.control}
        for polled in self._streams:
            topics |= {polled.names.raw_topic, polled.names.responses_topic, polled.names.dlq_topic}
        pinned = Topics(self._context.admin).pinned(sorted(topics))
        found = pinned[names.shards].partitions
        if found != self._shard_count:
            raise EnvironmentFault(
                f"topic {names.shards}",
                f"has {found} partitions, but the pipeline declares {self._shard_count} shards, and shards are fixed",
                f"set `shards: {found}` in the pipeline file",
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
            self._context.health.started()
        self._check_shards()

    def _start_shard(self, number: int) -> None:
        streams = [s for s in self._streams if shard_of(s.key, self._shard_count) == number]
        if not streams or number in self._shards:
            return
        self._shards[number] = Shard(number, streams, self._context)
        self._shards[number].start()

    def _stop_shards(self, parts: list[Partition]) -> None:
        stopping = [self._shards.pop(number) for _, number in parts if number in self._shards]
        for shard in stopping:
            shard.ask_to_stop()
        give_up_s = time.monotonic() + self._stop_deadline_s
        for shard in stopping:
            shard.join(max(0.1, give_up_s - time.monotonic()))
            for about in (f"shard {shard.number}", f"loop of shard {shard.number}"):
                self._context.health.resolve(about)  # the next owner of the shard reports its faults

    def _hangs(self, shard: Shard, now_s: float) -> bool:
        """Whether `shard` has made no progress for SHARD_STALLED_AFTER_S. This is a fault until it makes progress."""
        about = f"loop of shard {shard.number}"
        if now_s - shard.beat_s < SHARD_STALLED_AFTER_S:
            self._context.health.resolve(about)
            return False
        why = f"no progress for {SHARD_STALLED_AFTER_S:.0f} s: its thread hangs. Next: start the stage again"
        self._context.health.fault(about, why)
        return True

    def _check_shards(self) -> None:
        now_s = time.monotonic()
        for shard in self._shards.values():
            if shard.bug is not None:
                raise shard.bug
        if not [shard for shard in self._shards.values() if self._hangs(shard, now_s)]:
            self._context.health.progress()
        for source in {polled.names.source for polled in self._streams}:
            BACKPRESSURE.labels(INGRESS_POLLER, source).set(self._context.back_pressure.flow)
