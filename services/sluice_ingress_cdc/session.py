"""A source followed from one start to the next error: fence, look, snapshot, stream.

The order is KIP-618's: fence the earlier owner, read the watermarks to the end of their log, then look at the source.
Tables that are to be read whole are read before the stream goes on; the stream rests meanwhile, and the slot keeps what
comes for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version

import structlog
from confluent_kafka.admin import AdminClient

from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import Source
from sluice.cdc.publication import ensure_publication
from sluice.cdc.replication import ReplicationStream
from sluice.cdc.slot_watermark import FOLLOWED, PENDING, SlotWatermark
from sluice.cdc.slots import drop_slot, slot_state
from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import clients
from sluice.names import INGRESS_CDC, Names
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health
from sluice.times import now_us
from sluice_ingress_cdc.assembler import Assembler, Batch, Followed, Target
from sluice_ingress_cdc.confirmation import Confirmation
from sluice_ingress_cdc.fitness import unfit
from sluice_ingress_cdc.judgement import Suspicion, first_seen
from sluice_ingress_cdc.lookups import SourceLookups
from sluice_ingress_cdc.observation import Look, RawTopic, look_at, observe, raw_topics
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings
from sluice_ingress_cdc.snapshot import Reading, read_source, read_tables
from sluice_ingress_cdc.start import Begin, decide
from sluice_ingress_cdc.stream import Streaming
from sluice_ingress_cdc.tables import Marks, Tables
from sluice_ingress_cdc.upkeep import Upkeep

# How long the other tables are followed before a snapshot of some that failed is tried again: at first, and at most.
READ_AGAIN_AFTER_S = 30.0
READ_AGAIN_AFTER_MAX_S = 300.0

log = structlog.get_logger()


class Stopped(Exception):
    """The stage is to stop in the midst of a snapshot; what is not read stays pending."""


@dataclass
class ReadAgain:
    """When tables that could not be read are tried again: after twice the time each time, since the source's stream
    rests meanwhile. `at`: monotonic seconds."""

    at: float = 0.0
    after_s: float = READ_AGAIN_AFTER_S

    def tried(self, now: float) -> None:
        self.at = now + self.after_s
        self.after_s = min(2 * self.after_s, READ_AGAIN_AFTER_MAX_S)

    def at_once(self) -> None:
        """An operator asked, or nothing is left to read."""
        self.at, self.after_s = 0.0, READ_AGAIN_AFTER_S


@dataclass
class Around:
    """What all sessions of a source share.

    `turned` tells of progress; `going_on` too, before each wait with its longest time in seconds, and raises Stopped;
    `streaming` tells that the slot is followed.
    """

    slot: SlotSettings
    names: Names
    settings: CdcSettings
    health: Health
    publisher: SlotPublisher
    turned: Callable[[], None]
    going_on: Callable[[float], None]
    streaming: Callable[[], None]
    read_again: ReadAgain = field(default_factory=ReadAgain)

    @property
    def harm(self) -> str:
        """What a fault of our publication is about."""
        return f"{self.slot.where}, publication {self.slot.publication}"


def run_session(around: Around, stop: Stop) -> None:
    """Until `stop`, or until a table or the source is to be read whole: then the next session does that. Raises
    EnvironmentFault, Transient and Stopped."""
    slot, publisher = around.slot, around.publisher
    _await_release(slot)
    stored = publisher.fence()
    admin = clients.admin(around.settings.kafka)
    topics = raw_topics(slot, around.names, admin)
    seen = observe(slot, topics, around.settings.kafka, first_start=stored.slot is None)
    epoch, requests = publisher.requests(slot.tables)
    plan = decide(stored.slot, epoch, seen)
    tables = Tables(slot, stored.tables, around.health)
    tables.asked(requests)
    session = _Session(around, admin, tables, topics, seen.identity.database)
    if isinstance(plan, Begin):
        identity = seen.identity
        blank = SlotWatermark(identity.system_id, identity.timeline, slot.slot, plan.epoch, 0, 0)
        watermark = session.begin_anew(blank)
    else:
        watermark = session.read_pending(plan.watermark)
    session.stream(watermark, stop)


def _await_release(slot: SlotSettings) -> None:
    """Another process may follow the source: the slot has one reader, and only its end lets us take over."""
    with connect(slot.dsn.reveal(), slot.where) as connection:
        state = slot_state(connection, slot.slot, slot.where)
    if state is not None and state.active_pid is not None:
        raise Transient(
            f"{slot.where}: slot {slot.slot} is in use by server process {state.active_pid}: another process follows "
            "this source, or the server has not noticed yet that one is gone; this one takes over when it is free"
        )


class _Session:
    def __init__(
        self, around: Around, admin: AdminClient, tables: Tables, topics: Mapping[str, RawTopic], database: str
    ) -> None:
        self._around = around
        self._admin = admin
        self._slot = around.slot
        self._publisher = around.publisher
        self._tables = tables
        self._topics = topics
        self._database = database
        self._suspicions: dict[str, dict[Suspicion, int]] = {}

    # ── reading tables whole ──────────────────────────────────────────────────────────────────────────────────

    def begin_anew(self, watermark: SlotWatermark) -> SlotWatermark:
        """A new slot and a snapshot of every table that is fit. The epoch is durable before the first record of it."""
        slot, where = self._slot, self._slot.where
        with connect(slot.dsn.reveal(), where) as connection:
            look = self._look(connection)
            for name in slot.tables:
                self._tables.pend(name)
            names = self._fit(look, slot.tables)
            if not names:
                first = self._tables[slot.tables[0]]
                raise EnvironmentFault(f"{where}, table {slot.tables[0]}", first.why, first.next_step)
            # Before the slot: a slot sees the publication as it was at each change.
            self._publish_through(connection, look, names)
            watermark = replace(watermark, at=now_us())
            self._publisher.publish([], watermark, self._tables.take_changes())
            log.info(
                "snapshot begins", source=slot.source, slot=slot.slot, epoch=watermark.epoch, tables=len(slot.tables)
            )
            drop_slot(connection, slot.slot, where)
        watermark = read_source(self._reading(watermark), names)
        log.info("snapshot done", source=slot.source, slot=slot.slot, epoch=watermark.epoch, lsn=watermark.lsn)
        return watermark

    def read_pending(self, watermark: SlotWatermark) -> SlotWatermark:
        """Read the pending tables that are fit, through a temporary slot. Where that cannot be done now, they wait and
        the others are followed."""
        pending = self._tables.in_state(PENDING)
        again = self._around.read_again
        if not pending or time.monotonic() < again.at:
            return watermark
        again.tried(time.monotonic())
        reading = self._reading(watermark)
        names: Sequence[str] = pending
        try:
            with connect(self._slot.dsn.reveal(), self._slot.where) as connection:
                look = self._look(connection)
                names = self._fit(look, pending)
                self._publish_through(connection, look, names)
            if names:
                read_tables(reading, names)
        except (EnvironmentFault, Transient) as error:
            if reading.began:
                raise  # a transaction may have been lost: only the fence tells what is durable
            for name in names:
                self._tables.waits(name, _not_yet(error, f"{self._slot.where}, table {name}"))
        if not self._tables.in_state(PENDING):
            again.at_once()
        return reading.stands

    def _fit(self, look: Look, names: Iterable[str]) -> list[str]:
        """Of `names`, the tables that can be read now; of the others it is told why they wait."""
        fit = []
        for name in names:
            where = f"{self._slot.where}, table {name}"
            facts = look.facts.get(name)
            wrong = None if facts is None else unfit(facts, look.server_version)
            if facts is None:
                missing = EnvironmentFault(where, "it does not exist", "create it, or correct the pipeline file")
                self._tables.waits(name, missing)
            elif wrong is not None:
                self._tables.waits(name, EnvironmentFault(where, wrong.why, wrong.next_step))
            else:
                fit.append(name)
        return fit

    def _publish_through(self, connection: Connection, look: Look, names: Iterable[str]) -> None:
        if look.refusal is not None:
            raise look.refusal
        missing = [look.facts[name] for name in names if look.facts[name].published is None]
        exists = look.publication is not None
        ensure_publication(connection, self._slot.publication, exists, missing, self._slot.where)

    def _reading(self, watermark: SlotWatermark) -> Reading:
        return Reading(
            self._slot,
            self._followed(watermark.epoch),
            self._topics,
            self._tables,
            partial(self._publisher.publish_surely, going_on=partial(self._around.going_on, 0.0)),
            self._around.settings.batch_bytes_max,
            self._around.going_on,
            watermark,
        )

    # ── the stream ────────────────────────────────────────────────────────────────────────────────────────────

    def stream(self, watermark: SlotWatermark, stop: Stop) -> None:
        """Follow the slot until `stop`, or until something is to be read whole."""
        slot, around = self._slot, self._around
        with connect(slot.dsn.reveal(), slot.where) as connection:
            self._judge(self._look(connection), None)
        followed = self._followed(watermark.epoch)
        topic_ids = {name: topic.topic_id for name, topic in self._topics.items()}
        lookups = SourceLookups(slot, self._tables, topic_ids)
        requests = partial(self._publisher.requests, slot.tables)
        upkeep = Upkeep(slot, around.settings.watch_interval_s, self._look, requests, around.health)
        stream = ReplicationStream.start(slot.dsn.reveal(), slot.where, slot.slot, slot.publication, watermark.lsn)
        try:
            upkeep.start()
            judged, truncated = self._tables.judged, self._tables.truncated
            assembler = Assembler(followed, watermark.mark, lookups.shape_of, lookups.read_again, judged, truncated)
            log.info("streaming", source=slot.source, slot=slot.slot, epoch=watermark.epoch, lsn=watermark.lsn)
            around.streaming()
            Streaming(
                stream,
                assembler,
                Confirmation(watermark.mark),
                lambda batch, marks: self._publish(batch, watermark, marks),
                self._tables,
                around.settings,
                around.turned,
            ).run(stop, lambda: self._interrupted(upkeep, assembler, watermark.epoch))
        finally:
            upkeep.close()
            stream.close()
            lookups.close()
            around.health.resolve(around.harm)

    def _publish(self, batch: Batch, watermark: SlotWatermark, tables: Marks) -> None:
        self._publisher.publish(batch.records, watermark.at_mark(batch.mark, now_us()), tables)

    def _interrupted(self, upkeep: Upkeep, assembler: Assembler, epoch: int) -> bool:
        """Follow what the newest look and the newest requests say; True if something is to be read whole."""
        look, upkeep.look = upkeep.look, None
        if look is not None:
            self._judge(look, assembler)
        asked, upkeep.requests = upkeep.requests, None
        if asked is not None and self._tables.asked(asked[1]):
            self._around.read_again.at_once()
        for name in self._slot.tables:
            if self._tables[name].state != FOLLOWED:
                assembler.drop(name)
        if asked is not None and asked[0] > epoch:
            return True
        pending = self._tables.in_state(PENDING)
        if look is None or time.monotonic() < self._around.read_again.at:
            return False
        return any(look.fit(name) for name in pending)

    def _judge(self, look: Look, assembler: Assembler | None) -> None:
        """Follow a look. `assembler`: of the stream, once there is one."""
        if look.publication is None:
            raise EnvironmentFault(
                f"{self._slot.where}, publication {self._slot.publication}",
                "it does not exist any more: changes are not sent",
                f"run `sluice cdc resnapshot {self._slot.source}`",
            )
        if look.refusal is not None:
            raise look.refusal
        if look.harms:
            self._around.health.fault(self._around.harm, "; ".join(map(str, look.harms)))
        else:
            self._around.health.resolve(self._around.harm)
        for name, seen in look.seen.items():
            seen_lsn = first_seen(seen.suspicions, self._suspicions.get(name, {}), look.wal_lsn)
            settled = assembler is not None and all(lsn <= assembler.mark.lsn for lsn in seen_lsn.values())
            self._suspicions[name] = {} if settled else seen_lsn
            self._tables.seen(name, seen, caught_up=settled)

    # ── parts of both ─────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, connection: Connection) -> Look:
        topics = raw_topics(self._slot, self._around.names, self._admin)
        topic_ids = {name: topic.topic_id for name, topic in topics.items()}
        followed = ((name, self._tables[name].bound) for name in self._tables.in_state(FOLLOWED))
        bounds = {name: bound for name, bound in followed if bound is not None}
        return look_at(connection, self._slot, self._slot.tables, bounds, topic_ids)

    def _followed(self, epoch: int) -> Followed:
        return Followed(
            source=Source(version("sluice"), self._around.names.raw(self._slot.source, "").rstrip("."), self._database),
            epoch=epoch,
            targets=dict(self._targets()),
            dead_letter_topic=self._around.names.dlq(INGRESS_CDC),
            record_bytes_max=self._around.settings.record_bytes_max,
        )

    def _targets(self) -> Iterator[tuple[int, Target]]:
        for name in self._tables.in_state(FOLLOWED):
            mark, topic = self._tables[name], self._topics[name]
            if mark.bound is not None:
                yield mark.bound.oid, Target(name, topic.name, topic.partitions, mark.bound.key, mark.since_lsn)


def _not_yet(error: EnvironmentFault | Transient, where: str) -> EnvironmentFault:
    if isinstance(error, EnvironmentFault):
        return error
    return EnvironmentFault(
        where,
        f"it could not be read yet: {error}",
        f"it is tried again by itself, within {READ_AGAIN_AFTER_MAX_S / 60:.0f} minutes",
    )
