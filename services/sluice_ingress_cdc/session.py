"""One session follows a source from a start to the next error: fence, compare, stream, and read tables.

The order is that of KIP-618: fence the earlier owner, read the watermark topic to its end, then compare the source with
the watermarks. Tables that must be read as a whole are read while the stream goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import structlog
from confluent_kafka.admin import AdminClient

from sluice.cdc.connection import Connection, connect
from sluice.cdc.continuity import Continuity, HistoryDiffers
from sluice.cdc.debezium import EventSource
from sluice.cdc.eligibility import eligibility_fault
from sluice.cdc.publication import ensure_publication
from sluice.cdc.replication import ReplicationStream, stream_options
from sluice.cdc.slots import create_slot, drop_slot, in_recovery, slot_state
from sluice.cdc.watermarks import Mark, SlotWatermark, TableWatermark
from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import clients
from sluice.names import INGRESS_CDC
from sluice.raw.writing import RawRecord
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
from sluice_ingress_cdc.reader_thread import ReaderThread
from sluice_ingress_cdc.records import SlotTargets, TableTarget
from sluice_ingress_cdc.session_context import SessionContext
from sluice_ingress_cdc.source_queries import SourceQueries
from sluice_ingress_cdc.start import FullSnapshot, plan_start, read_source_at_start, refused, require_same_slot
from sluice_ingress_cdc.stream import Streaming
from sluice_ingress_cdc.table_changes import UnexplainedChange, first_found_at
from sluice_ingress_cdc.table_readings import TableReadings
from sluice_ingress_cdc.tables import FollowedTables, TableChanges

log = structlog.get_logger()


def run_session(context: SessionContext, stop: Stop) -> None:
    """Run one session until `stop`, or until the source must be read as a whole, which the next session begins.

    Raises EnvironmentFault if the source or Kafka needs an operator, and Transient if the session is to be tried again.
    """
    slot, publisher = context.slot, context.publisher
    _await_release(context)
    stored = publisher.fence()
    admin = clients.admin(context.settings.kafka)
    topics = raw_topics(slot, context.names, admin)
    source = read_source_at_start(slot, topics, context.settings.kafka, stored)
    requests = publisher.requests(slot.tables)
    reads_when_needed = slot.snapshot_mode == "when_needed"
    plan = plan_start(stored.slot, requests.epoch, source, reads_when_needed=reads_when_needed)
    if isinstance(plan, SlotWatermark) and stored.slot is not None and plan.epoch > stored.slot.epoch:
        plan, table_watermarks = _raise_epoch(context, plan, stored.tables)
        stored = stored._replace(tables=table_watermarks)
    tables = FollowedTables(slot, stored.tables, context.health)
    tables.apply_requests(requests.tables)
    session = _Session(context, admin, tables, stored.tables, topics, source.state.identity.database)
    if isinstance(plan, FullSnapshot):
        identity = source.state.identity
        unpublished = SlotWatermark(identity.system_id, identity.timeline, slot.slot, plan.epoch, 0, 0)
        watermark = session.create_slot(unpublished)
    else:
        watermark = plan
    # Whatever the mode is, an operator's request is carried out.
    reads_rows = slot.snapshot_mode != "no_data" or requests.epoch == watermark.epoch
    session.stream(watermark, stop, reads_rows=reads_rows)


def _raise_epoch(
    context: SessionContext, watermark: SlotWatermark, tables: Mapping[str, TableWatermark]
) -> tuple[SlotWatermark | FullSnapshot, Mapping[str, TableWatermark]]:
    """Make the epoch of `watermark` durable: the source has another timeline, and no published change is lost. Returns
    the plan, and the watermarks of `tables`.

    `tables` are the durable watermarks. A table that is being read by them starts again, because its sweep would
    retract the rows that were read in the epoch before. If an operator requested this very epoch meanwhile, the source
    is read again as the next epoch, now or at the next start.
    """
    again = {name: TableWatermark(request=table.request) for name, table in tables.items() if table.reading is not None}
    watermark = replace(watermark, at=now_us())
    context.publisher.publish([], watermark, again)
    log.warning(
        "followed on another timeline", source=context.slot.source, timeline=watermark.timeline, epoch=watermark.epoch
    )
    requested = context.publisher.requests(context.slot.tables).epoch
    if requested < watermark.epoch:
        return watermark, {**tables, **again}
    context.publisher.publish([], replace(watermark, epoch=requested + 1, lsn=0, ordinal=0, proof=None), {})
    return FullSnapshot(requested + 1), {**tables, **again}


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
        durable_tables: Mapping[str, TableWatermark],
        topics: Mapping[str, RawTopic],
        database: str,
    ) -> None:
        self._context = context
        self._admin = admin
        self._slot = context.slot
        self._publisher = context.publisher
        self._tables = tables
        self.durable_tables = dict(durable_tables)
        """The durable watermarks of the tables; those in `tables` are ahead by the batch that is being collected."""
        self._topics = dict(topics)
        self._database = database
        self._unexplained: dict[str, dict[UnexplainedChange, int]] = {}
        self._durable: SlotWatermark | None = None  # the watermark that the stream published last
        self._promoted = False

    def create_slot(self, watermark: SlotWatermark) -> SlotWatermark:
        """Create a new slot; every table is to be read. The new epoch is durable before its first record. Returns the
        durable watermark."""
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
            self._commit([], watermark, self._tables.take_changes())
            drop_slot(connection, slot.slot, where)
        with connect(slot.dsn.reveal(), where, replication=True) as replication:
            start = Mark(create_slot(replication, slot.slot, where, failover=slot.failover).consistent_point, 0)
        watermark = watermark.at_mark(start, max(now_us(), watermark.at + 1))
        self._publisher.publish([], watermark, {})
        log.info("slot created", source=slot.source, slot=slot.slot, epoch=watermark.epoch, tables=len(slot.tables))
        return watermark

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

    # ── the stream ────────────────────────────────────────────────────────────────────────────────────────────

    def stream(self, watermark: SlotWatermark, stop: Stop, *, reads_rows: bool) -> None:
        """Follow the slot until `stop`, or until the source must be read as a whole. Pending tables are read
        meanwhile. `reads_rows`: False if a table is followed without its rows unless an operator requested these."""
        slot, context = self._slot, self._context
        with connect(slot.dsn.reveal(), slot.where) as connection:
            standby = in_recovery(connection, slot.where)
            first_check = self._check(connection)
            self._apply_check(first_check, None)
        targets = self._targets(watermark.epoch)
        queries = SourceQueries(slot, self._tables, self._topics)
        tasks = PeriodicTasks(context, self._check, standby=standby)
        reader: ReaderThread | None = None
        from_lsn = watermark.lsn if watermark.proof is None else min(watermark.lsn, watermark.proof.final_lsn)
        stream = ReplicationStream.start(slot.dsn.reveal(), slot.where, slot.slot, slot.publication, from_lsn)
        try:
            confirmed_lsn = require_same_slot(slot, watermark, stream)
            tasks.start()
            assembler = Assembler(
                targets,
                watermark.mark,
                queries.decide_shape,
                queries.reread_row,
                self._tables.apply,
                self._tables.truncated,
                Continuity(watermark, confirmed_lsn, stream_options(slot.publication)),
                watermark.proof,
                tasks.check_soon,
                watermark.counts,
                watermark.commit_lsn,
            )
            log.info("streaming", source=slot.source, slot=slot.slot, epoch=watermark.epoch, lsn=watermark.lsn)
            context.streaming()
            publish = partial(self._publish, watermark)
            streaming = Streaming(context, stream, assembler, self._tables, publish)
            reader = ReaderThread(context, self._topics, targets, streaming.wake)
            readings = TableReadings(
                context, reader, assembler, targets, self._topics, self._tables, reads_rows=reads_rows
            )
            readings.checked(first_check)
            reader.start()

            def must_end() -> bool:
                ends = self._apply_results(tasks.take_results(), assembler, readings, watermark.epoch)
                readings.turn()
                return ends

            streaming.run(stop, must_end)
            if self._promoted:
                # The stream was not interrupted: everything that is published is in the log of this server.
                timeline = stream.end().timeline
                raised = replace(self._durable or watermark, timeline=timeline, epoch=watermark.epoch + 1)
                _raise_epoch(context, raised, self.durable_tables)
        except HistoryDiffers as error:
            raise refused(slot, len(slot.tables), str(error)) from None
        finally:
            if reader is not None:
                reader.close()
            tasks.close()
            stream.close()
            queries.close()
            context.health.resolve(context.publication_where)

    def _publish(self, start: SlotWatermark, batch: SlotBatch, tables: TableChanges) -> None:
        watermark = start.at_mark(batch.mark, now_us(), batch.counts, batch.commit_lsn)
        if batch.proof != start.proof:
            watermark = replace(watermark, proof=batch.proof, options=stream_options(self._slot.publication))
        self._commit(batch.records, watermark, tables)
        self._durable = watermark

    def _commit(self, records: Sequence[RawRecord], watermark: SlotWatermark, tables: TableChanges) -> None:
        self._publisher.publish(records, watermark, tables)
        for name, changed in tables.items():
            if changed is None:
                self.durable_tables.pop(name, None)
            else:
                self.durable_tables[name] = changed

    def _apply_results(self, results: WatchResults, assembler: Assembler, readings: TableReadings, epoch: int) -> bool:
        """Apply the newest check and the newest requests. True if the session must end: the source must be read as a
        whole now, it was promoted, or its slot is to be dropped."""
        catalogs, requests, self._promoted = results
        if self._promoted or self._context.slot_is_released():
            return True
        if catalogs is not None:
            self._apply_check(catalogs, assembler)
            readings.checked(catalogs)
        if requests is not None and self._tables.apply_requests(requests.tables):
            self._context.snapshot_backoffs.clear()
        for name in self._slot.tables:
            if not self._tables[name].is_streamed:
                assembler.drop(name)
        return requests is not None and requests.epoch > epoch

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
        self._topics.update(topics)  # a topic may have been created again
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
            form=self._slot.form,
            debezium=self._slot.debezium,
            register=self._context.register,
            other=self._slot.other,
            skipped=self._slot.skipped,
        )
