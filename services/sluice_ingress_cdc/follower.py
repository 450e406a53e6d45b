"""One source followed through one slot, for as long as the stage runs: start check, snapshot, stream, and again.

The order of a start is KIP-618's: fence the earlier owner, read the watermark to the end of its log, then look at the
source. Every error but a bug leads back here.
"""

from __future__ import annotations

import random
import time
from functools import partial
from importlib.metadata import version

import psycopg
import structlog

from sluice.errors import EnvironmentFault, Transient
from sluice.names import INGRESS_CDC, Names
from sluice.postgres.debezium import Source
from sluice.postgres.replication import ReplicationStream
from sluice.postgres.slot_watermark import PENDING, SlotWatermark
from sluice.postgres.slots import drop_slot
from sluice.postgres.source_connection import connect
from sluice.postgres.source_faults import translate
from sluice.postgres.source_tables import ensure_publication
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health
from sluice_ingress_cdc.assembler import Assembler, Batch, Followed, Target
from sluice_ingress_cdc.confirmation import Confirmation
from sluice_ingress_cdc.lookups import SourceLookups
from sluice_ingress_cdc.observation import View, observe
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings
from sluice_ingress_cdc.snapshot import Snapshot
from sluice_ingress_cdc.start import Begin, decide
from sluice_ingress_cdc.stream import Streaming
from sluice_ingress_cdc.upkeep import Upkeep

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0

log = structlog.get_logger()


class Stopped(Exception):
    """The stage is to stop in the midst of a snapshot, which will be begun anew."""


class Follower:
    """`run` it on a thread of its own. `turned_at` (monotonic seconds): when it last showed progress."""

    def __init__(self, slot: SlotSettings, names: Names, settings: CdcSettings, health: Health) -> None:
        self._slot = slot
        self._names = names
        self._settings = settings
        self._health = health
        self.publisher = SlotPublisher(slot.source, settings.kafka, names, settings.instance)
        self._backoff_s = BACKOFF_FIRST_S
        self._told = ""
        self._stop = Stop()
        self.turned_at = time.monotonic()

    def run(self, stop: Stop) -> None:
        """Until stopped. Only a bug gets out."""
        self._stop = stop
        self._health.fault(self._slot.where, "starting")
        try:
            while not stop.requested:
                self._turned()
                try:
                    self._follow(stop)
                except Stopped:
                    return
                except EnvironmentFault as fault:
                    self._not_ready(fault, stop, self._settings.recheck_interval_s)
                except Transient as error:
                    self._not_ready(error, stop, self._next_backoff(error))
                except psycopg.Error as error:
                    ours = translate(error, self._slot.where)
                    if not isinstance(ours, EnvironmentFault | Transient):
                        raise
                    self._not_ready(ours, stop, self._settings.recheck_interval_s)
        finally:
            self.publisher.close()

    # ── from a start to the next error ────────────────────────────────────────────────────────────────────────

    def _follow(self, stop: Stop) -> None:
        stored = self.publisher.fence()
        view = observe(self._slot, self._names, self._settings.kafka, first_start=stored is None)
        plan = decide(stored, self.publisher.requested_epoch(), view.seen)
        watermark = self._begin_anew(plan.epoch, view) if isinstance(plan, Begin) else plan.watermark
        self._stream(watermark, self._followed(watermark.epoch, view), stop)

    def _begin_anew(self, epoch: int, view: View) -> SlotWatermark:
        """A new slot and a full snapshot. The epoch is durable before the first record of it can be."""
        slot, where, seen, tables = self._slot, self._slot.where, view.seen, view.tables
        with connect(slot.dsn.reveal(), where) as connection:
            # Before the slot: a slot sees the publication as it was at each change.
            ensure_publication(connection, slot.publication, tables, where)
            watermark = SlotWatermark(
                system_id=seen.identity.system_id,
                timeline=seen.identity.timeline,
                slot=slot.slot,
                epoch=epoch,
                lsn=0,
                ordinal=0,
                config=seen.config,
                snapshot={t.name: PENDING for t in tables},
                at=time.time_ns() // 1_000,
            )
            self.publisher.publish([], watermark)
            log.info("snapshot begins", source=slot.source, slot=slot.slot, epoch=epoch, tables=len(tables))
            drop_slot(connection, slot.slot, where)
        followed = self._followed(epoch, view)
        publish = partial(self.publisher.publish_surely, going_on=self._going_on)
        snapshot = Snapshot(slot, followed, publish, self._settings.batch_bytes_max, self._going_on)
        watermark = snapshot.take(watermark, tables)
        log.info("snapshot done", source=slot.source, slot=slot.slot, epoch=epoch, lsn=watermark.lsn)
        return watermark

    def _stream(self, watermark: SlotWatermark, followed: Followed, stop: Stop) -> None:
        slot = self._slot
        lookups = SourceLookups(slot)
        upkeep = Upkeep(slot, self.publisher.requested_epoch, watermark.epoch)
        stream = ReplicationStream.start(slot.dsn.reveal(), slot.where, slot.slot, slot.publication, watermark.lsn)
        try:
            upkeep.start()
            assembler = Assembler(followed, watermark.mark, lookups.types_of, lookups.read_again)
            log.info("streaming", source=slot.source, slot=slot.slot, epoch=watermark.epoch, lsn=watermark.lsn)
            self._health.mend(slot.where)
            self._told, self._backoff_s = "", BACKOFF_FIRST_S
            Streaming(
                stream,
                assembler,
                Confirmation(watermark.mark),
                lambda batch: self._publish(batch, watermark),
                self._settings,
                self._turned,
            ).run(stop, lambda: upkeep.resnapshot_requested)
        finally:
            upkeep.close()
            stream.close()
            lookups.close()

    # ── parts of it ───────────────────────────────────────────────────────────────────────────────────────────

    def _publish(self, batch: Batch, watermark: SlotWatermark) -> None:
        self.publisher.publish(batch.records, watermark.at_mark(batch.mark, time.time_ns() // 1_000))

    def _followed(self, epoch: int, view: View) -> Followed:
        return Followed(
            source=Source(
                version("sluice"), self._names.raw(self._slot.source, "").rstrip("."), view.seen.identity.database
            ),
            epoch=epoch,
            targets={
                (table.schema, table.table): Target(
                    table.name,
                    topic := self._names.raw(self._slot.source, table.name),
                    view.partitions[topic],
                    table.primary_key,
                )
                for table in view.tables
            },
            dead_letter_topic=self._names.dlq(INGRESS_CDC),
            record_bytes_max=self._settings.record_bytes_max,
        )

    def _turned(self, waits_s: float = 0.0) -> None:
        """Progress; or a wait begins that ends within `waits_s`."""
        self.turned_at = time.monotonic() + waits_s

    def _going_on(self, waits_s: float = 0.0) -> None:
        """As `_turned`; raises Stopped if the stage is to stop."""
        self._turned(waits_s)
        if self._stop.requested:
            raise Stopped

    def _next_backoff(self, error: Transient) -> float:
        wait_s = error.retry_after_s or self._backoff_s
        self._backoff_s = min(BACKOFF_MAX_S, self._backoff_s * 2)
        return wait_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, guards nothing

    def _not_ready(self, error: EnvironmentFault | Transient, stop: Stop, wait_s: float) -> None:
        """Say it (once, while it stays the same), be not ready, wait."""
        self._health.fault(self._slot.where, str(error))
        if str(error) != self._told:
            self._told = str(error)
            if isinstance(error, EnvironmentFault):
                log.error("environment", where=error.where, why=error.why, next=error.next_step)
            else:
                log.warning("not now", source=self._slot.source, why=str(error))
        self._turned()
        stop.wait(wait_s)
