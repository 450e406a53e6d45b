"""One session follows a source from a start to the next error: fence, compare, snapshot, stream.

The order is that of KIP-618: fence the earlier owner, read the watermark topic to its end, then compare the source with
the watermarks. Tables that must be read as a whole are read before the stream continues. The slot keeps the changes of
that time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import structlog
from confluent_kafka.admin import AdminClient

from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import EventSource
from sluice.cdc.eligibility import eligibility_fault
from sluice.cdc.publication import ensure_publication
from sluice.cdc.replication import ReplicationStream
from sluice.cdc.slots import drop_slot, slot_state
from sluice.cdc.watermarks import FOLLOWED, PENDING, SlotWatermark
from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import clients
from sluice.names import INGRESS_CDC
from sluice.stage.signals import Stop
from sluice.times import now_us
from sluice_ingress_cdc.assembler import Assembler, SlotBatch
from sluice_ingress_cdc.catalog_check import (
    CatalogCheck,
    RawTopic,
    check_catalogs,
    drop_failing,
    raw_topics,
    read_catalogs,
)
from sluice_ingress_cdc.periodic_tasks import PeriodicTasks, WatchResults
from sluice_ingress_cdc.records import SlotTargets, TableTarget
from sluice_ingress_cdc.session_context import SNAPSHOT_RETRY_AFTER_MAX_S, SessionContext
from sluice_ingress_cdc.snapshot import SnapshotRun, read_source, read_tables
from sluice_ingress_cdc.source_queries import SourceQueries
from sluice_ingress_cdc.start import FullSnapshot, plan_start, read_source_at_start, require_same_slot
from sluice_ingress_cdc.stream import Streaming
from sluice_ingress_cdc.table_changes import UnexplainedChange, first_found_at
from sluice_ingress_cdc.tables import FollowedTables, TableChanges

log = structlog.get_logger()


def run_session(context: SessionContext, stop: Stop) -> None:
    """Run one session until `stop`, or until a table or the source must be read as a whole; the next session reads it.

    Raises EnvironmentFault if the source or Kafka needs an operator, Transient if the session is to be tried again, and
    FollowerStopped if the stage is to stop during a snapshot.
    """
    slot, publisher = context.slot, context.publisher
    _await_release(context)
    stored = publisher.fence()
    admin = clients.admin(context.settings.kafka)
    topics = raw_topics(slot, context.names, admin)
    source = read_source_at_start(slot, topics, context.settings.kafka, first_start=stored.slot is None)
    requests = publisher.requests(slot.tables)
    plan = plan_start(stored.slot, requests.epoch, source)
    tables = FollowedTables(slot, stored.tables, context.health)
    tables.apply_requests(requests.tables)
    session = _Session(context, admin, tables, topics, source.state.identity.database)
    if isinstance(plan, FullSnapshot):
        identity = source.state.identity
        unpublished = SlotWatermark(identity.system_id, identity.timeline, slot.slot, plan.epoch, 0, 0)
        watermark = session.read_all(unpublished)
    else:
        watermark = session.read_pending(plan)
    session.stream(watermark, stop)


def _await_release(context: SessionContext) -> None:
    """Raise Transient while another process reads the slot: a slot has one reader, which must not be fenced."""
    slot = context.slot
    with connect(slot.dsn.reveal(), slot.where) as connection:
        state = slot_state(connection, slot.slot, slot.where)
    if state is not None and state.active_pid is not None:
        raise Transient(
            f"{slot.where}: slot {slot.slot} is in use by server process {state.active_pid}: another process follows "
            "this source, or the server has not noticed yet that it ended; this one takes over when the slot is free"
        )


class _Session:
    def __init__(
        self,
        context: SessionContext,
        admin: AdminClient,
        tables: FollowedTables,
        topics: Mapping[str, RawTopic],
        database: str,
    ) -> None:
        self._context = context
        self._admin = admin
        self._slot = context.slot
        self._publisher = context.publisher
        self._tables = tables
        self._topics = topics
        self._database = database
        self._unexplained: dict[str, dict[UnexplainedChange, int]] = {}

    # ── snapshots ─────────────────────────────────────────────────────────────────────────────────────────────

    def read_all(self, watermark: SlotWatermark) -> SlotWatermark:
        """Create a new slot and publish a snapshot of every eligible table. The new epoch is durable before its first
        record. Returns the durable watermark."""
        slot, where = self._slot, self._slot.where
        with connect(slot.dsn.reveal(), where) as connection:
            catalogs = self._check(connection)
            for name in slot.tables:
                self._tables.set_pending(name)
            names = self._eligible(catalogs, slot.tables)
            if not names:
                first = self._tables[slot.tables[0]]
                raise EnvironmentFault(f"{where}, table {slot.tables[0]}", first.why, first.next_step)
            # Before the slot is created: the slot decodes each change with the publication as it was at that change.
            self._add_to_publication(connection, catalogs, names)
            watermark = replace(watermark, at=now_us())
            self._publisher.publish([], watermark, self._tables.take_changes())
            log.info(
                "snapshot starts", source=slot.source, slot=slot.slot, epoch=watermark.epoch, tables=len(slot.tables)
            )
            drop_slot(connection, slot.slot, where)
        run = self._snapshot_run(watermark)
        read_source(run, names)
        log.info("snapshot done", source=slot.source, slot=slot.slot, epoch=watermark.epoch, lsn=run.watermark.lsn)
        return run.watermark

    def read_pending(self, watermark: SlotWatermark) -> SlotWatermark:
        """Read the eligible pending tables through a temporary slot. If reading fails, these tables stay pending and
        the other tables are followed. Returns the durable watermark."""
        pending = self._tables.in_state(PENDING)
        backoff = self._context.snapshot_backoff
        if not pending or time.monotonic() < backoff.retry_at:
            return watermark
        backoff.tried(time.monotonic())
        run = self._snapshot_run(watermark)
        names: Sequence[str] = pending
        try:
            with connect(self._slot.dsn.reveal(), self._slot.where) as connection:
                catalogs = self._check(connection)
                names = self._eligible(catalogs, pending)
                self._add_to_publication(connection, catalogs, names)
            if names:
                read_tables(run, names)
        except (EnvironmentFault, Transient) as error:
            if run.publish_attempted:
                raise  # a transaction may be lost: only a new fence shows whether it is durable
            for name in names:
                self._tables.cannot_read(name, _not_yet(error, f"{self._slot.where}, table {name}"))
        if not self._tables.in_state(PENDING):
            backoff.reset()
        return run.watermark

    def _eligible(self, catalogs: CatalogCheck, names: Iterable[str]) -> list[str]:
        """The tables of `names` that can be read now. Each other table gets a fault."""
        eligible = []
        for name in names:
            where = f"{self._slot.where}, table {name}"
            fault = eligibility_fault(catalogs.facts.get(name), where)
            if fault is None:
                eligible.append(name)
            else:
                self._tables.cannot_read(name, fault)
        return eligible

    def _add_to_publication(self, connection: Connection, catalogs: CatalogCheck, names: Iterable[str]) -> None:
        if catalogs.publication_fault is not None:
            raise catalogs.publication_fault
        missing = [catalogs.facts[name] for name in names if catalogs.facts[name].published is None]
        exists = catalogs.publication is not None
        ensure_publication(connection, self._slot.publication, exists, missing, self._slot.where)

    def _snapshot_run(self, watermark: SlotWatermark) -> SnapshotRun:
        return SnapshotRun(self._context, self._targets(watermark.epoch), self._topics, self._tables, watermark)

    # ── the stream ────────────────────────────────────────────────────────────────────────────────────────────

    def stream(self, watermark: SlotWatermark, stop: Stop) -> None:
        """Follow the slot until `stop`, or until a table or the source must be read as a whole."""
        slot, context = self._slot, self._context
        with connect(slot.dsn.reveal(), slot.where) as connection:
            self._apply_check(self._check(connection), None)
        targets = self._targets(watermark.epoch)
        queries = SourceQueries(slot, self._tables, self._topics)
        tasks = PeriodicTasks(context, self._check)
        stream = ReplicationStream.start(slot.dsn.reveal(), slot.where, slot.slot, slot.publication, watermark.lsn)
        try:
            require_same_slot(slot, watermark, stream)
            tasks.start()
            assembler = Assembler(
                targets,
                watermark.mark,
                queries.decide_shape,
                queries.reread_row,
                self._tables.apply,
                self._tables.truncated,
            )
            log.info("streaming", source=slot.source, slot=slot.slot, epoch=watermark.epoch, lsn=watermark.lsn)
            context.streaming()
            publish = partial(self._publish, watermark)
            streaming = Streaming(context, stream, assembler, self._tables, publish)
            streaming.run(stop, lambda: self._apply_results(tasks.take_results(), assembler, watermark.epoch))
        finally:
            tasks.close()
            stream.close()
            queries.close()
            context.health.resolve(context.publication_where)

    def _publish(self, start: SlotWatermark, batch: SlotBatch, tables: TableChanges) -> None:
        self._publisher.publish(batch.records, start.at_mark(batch.mark, now_us()), tables)

    def _apply_results(self, results: WatchResults, assembler: Assembler, epoch: int) -> bool:
        """Apply the newest check and the newest requests. True if a table or the source must be read as a whole now."""
        catalogs, requests = results
        if catalogs is not None:
            self._apply_check(catalogs, assembler)
        if requests is not None and self._tables.apply_requests(requests.tables):
            self._context.snapshot_backoff.reset()
        for name in self._slot.tables:
            if self._tables[name].state != FOLLOWED:
                assembler.drop(name)
        if requests is not None and requests.epoch > epoch:
            return True
        if catalogs is None or time.monotonic() < self._context.snapshot_backoff.retry_at:
            return False
        return any(catalogs.is_eligible(name) for name in self._tables.in_state(PENDING))

    def _apply_check(self, catalogs: CatalogCheck, assembler: Assembler | None) -> None:
        """Apply the check `catalogs` to the followed tables. `assembler`: None before the stream starts."""
        where = self._context.publication_where
        if catalogs.publication is None:
            raise EnvironmentFault(
                where,
                "it does not exist any more: changes are not sent",
                f"run `sluice cdc resnapshot {self._slot.source}`",
            )
        if catalogs.publication_fault is not None:
            raise catalogs.publication_fault
        if catalogs.write_faults:
            self._context.health.fault(where, "; ".join(map(str, catalogs.write_faults)))
        else:
            self._context.health.resolve(where)
        for name, check in catalogs.checks.items():
            found_at = first_found_at(check.unexplained, self._unexplained.get(name, {}), catalogs.wal_lsn)
            caught_up = assembler is not None and all(lsn <= assembler.mark.lsn for lsn in found_at.values())
            self._unexplained[name] = {} if caught_up else found_at
            self._tables.apply_check(name, check, caught_up=caught_up)

    # ── for both ──────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, connection: Connection) -> CatalogCheck:
        """Check the source, and drop from our publication each table whose writes fail because it is published."""
        slot = self._slot
        topics = raw_topics(slot, self._context.names, self._admin)
        catalogs = read_catalogs(connection, slot, slot.tables)
        # Before the comparison: it reads rows and may time out, and the writes of the source must not fail meanwhile.
        write_faults = drop_failing(connection, slot, catalogs)
        check = check_catalogs(connection, slot, catalogs, self._tables.bounds, topics)
        return check._replace(write_faults=write_faults)

    def _targets(self, epoch: int) -> SlotTargets:
        prefix = self._context.names.raw(self._slot.source, "").rstrip(".")
        by_oid = {}
        for name, bound in self._tables.bounds.items():
            topic, since_lsn = self._topics[name], self._tables[name].since_lsn
            by_oid[bound.oid] = TableTarget(name, topic.name, topic.partitions, bound.key, since_lsn)
        return SlotTargets(
            source=EventSource(version("sluice"), prefix, self._database),
            epoch=epoch,
            by_oid=by_oid,
            dead_letter_topic=self._context.names.dlq(INGRESS_CDC),
            record_bytes_max=self._context.settings.record_bytes_max,
        )


def _not_yet(error: EnvironmentFault | Transient, where: str) -> EnvironmentFault:
    if isinstance(error, EnvironmentFault):
        return error
    return EnvironmentFault(
        where,
        f"it could not be read yet: {error}",
        f"wait: it is tried again within {SNAPSHOT_RETRY_AFTER_MAX_S / 60:.0f} minutes",
    )
