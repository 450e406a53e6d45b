"""How a slot's records and watermark reach Kafka: in one transaction, behind the slot's fence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from sluice.cdc.watermarks import (
    SlotWatermark,
    SourceWatermarks,
    control_key,
    requested,
    source_watermarks,
    watermark_key,
)
from sluice.errors import Transient
from sluice.headers import CAUSE_HEADER
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings
from sluice.names import INGRESS_CDC, Names
from sluice.raw.record import RawRecord
from sluice.telemetry.metrics import BATCH_SECONDS, DEAD_LETTERS, RECORDS
from sluice_ingress_cdc.tables import TableChanges

# How long a snapshot waits for Kafka before it fails and starts again: its source transaction is open meanwhile.
OUTAGE_MAX_S = 600.0
_RETRY_AFTER_S = 1.0

log = structlog.get_logger()


class SnapshotRequests(NamedTuple):
    """Operators' requests: the epoch that the whole source is to be read again as, and the number of the newest request
    for each table; 0 if none."""

    epoch: int
    tables: Mapping[str, int]


class SlotPublisher:
    """One per source. Its transactional id depends on the source alone, not on the process: each process that follows
    the source fences every other."""

    def __init__(self, source: str, kafka: KafkaSettings, names: Names) -> None:
        self._source = source
        self._dead_letters = names.dlq(INGRESS_CDC)
        self.producer = IngressProducer(kafka, names, names.transactional_id(INGRESS_CDC, source))

    def fence(self) -> SourceWatermarks:
        """Become the only publisher of this source, then read the durable watermarks."""
        self.producer.fence()
        return source_watermarks(self._source, self.producer.read_watermarks(prefix=watermark_key(self._source, "")))

    def publish(self, records: Sequence[RawRecord], watermark: SlotWatermark, tables: TableChanges) -> None:
        """Commit the records, the slot's watermark and the changed watermarks of `tables` in one Kafka transaction.

        Raises Transient if it is not known to be committed: then `fence` returns what is durable.
        """
        changes = {
            watermark_key(self._source, name): None if changed is None else changed.to_json()
            for name, changed in tables.items()
        }
        with BATCH_SECONDS.labels(INGRESS_CDC).time():
            self.producer.publish(records, {watermark_key(self._source): watermark.to_json(), **changes})
        for topic, count in Counter(record.topic for record in records).items():
            RECORDS.labels(INGRESS_CDC, topic, "dead" if topic == self._dead_letters else "published").inc(count)
        for record in records:
            if record.topic == self._dead_letters:
                DEAD_LETTERS.labels(INGRESS_CDC, dict(record.headers)[CAUSE_HEADER].decode()).inc()

    def publish_surely(
        self,
        records: Sequence[RawRecord],
        watermark: SlotWatermark,
        before: SlotWatermark,
        tables: TableChanges,
        report_progress: Callable[[], None],
    ) -> None:
        """As `publish`, but waits while Kafka is down. `before`: the durable watermark.

        After a lost transaction the fence shows which of the two watermarks is durable. So no record is written twice,
        and a broker's restart does not end a snapshot of hours. `report_progress` is called while waiting, and may
        raise. Raises Transient if another process published, or after `OUTAGE_MAX_S`.
        """
        give_up = time.monotonic() + OUTAGE_MAX_S
        while True:
            try:
                self.publish(records, watermark, tables)
                return
            except Transient as error:
                log.warning("kafka does not take the snapshot; waiting", source=self._source, why=str(error))
            durable = self._durable_slot(give_up, report_progress)
            if durable == watermark:
                return
            if durable != before:
                raise Transient(f"source {self._source}: another process published meanwhile")

    def requests(self, tables: Sequence[str]) -> SnapshotRequests:
        source_key = control_key(self._source)
        keys = {name: control_key(self._source, name) for name in tables}
        found = self.producer.read_control([source_key, *keys.values()])
        return SnapshotRequests(
            requested(found.get(source_key)), {name: requested(found.get(key)) for name, key in keys.items()}
        )

    def close(self) -> None:
        self.producer.close()

    def _durable_slot(self, give_up: float, report_progress: Callable[[], None]) -> SlotWatermark | None:
        """The slot's watermark behind a fence; waits while Kafka is down."""
        while True:
            report_progress()
            try:
                return self.fence().slot
            except Transient:
                if time.monotonic() > give_up:
                    raise
            time.sleep(_RETRY_AFTER_S)
