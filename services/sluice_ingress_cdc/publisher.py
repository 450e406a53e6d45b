"""How a slot's records and watermark reach Kafka: in one transaction, behind the slot's fence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog

from sluice.cdc.slot_watermark import (
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
from sluice_ingress_cdc.tables import Marks

# How long a snapshot waits for Kafka before it is given up and begun anew: its source transaction is open meanwhile.
OUTAGE_MAX_S = 600.0
_RETRY_AFTER_S = 1.0

log = structlog.get_logger()


class SlotPublisher:
    """One per source. Its transactional id is the source's alone, whatever the process is called: so that each
    process that follows the source fences every other."""

    def __init__(self, source: str, kafka: KafkaSettings, names: Names) -> None:
        self._source = source
        self._dead_letters = names.dlq(INGRESS_CDC)
        self.producer = IngressProducer(kafka, names, names.transactional_id(INGRESS_CDC, source))

    def fence(self) -> SourceWatermarks:
        """Become the only publisher of this source, then read how far it is published."""
        self.producer.fence()
        return self._stored()

    def publish(self, records: Sequence[RawRecord], watermark: SlotWatermark, tables: Marks) -> None:
        """One Kafka transaction: the records, and what is true once they are durable. `tables`: those that changed.

        Raises Transient when it is not known to be committed: then `fence` tells.
        """
        marks = {
            watermark_key(self._source, name): None if mark is None else mark.to_json() for name, mark in tables.items()
        }
        with BATCH_SECONDS.labels(INGRESS_CDC).time():
            self.producer.publish(records, {watermark_key(self._source): watermark.to_json(), **marks})
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
        tables: Marks,
        going_on: Callable[[], None],
    ) -> None:
        """As `publish`, but an outage of Kafka is waited out; `before` is the watermark that stands now.

        After a lost transaction the fence tells which of the two stands: nothing is written twice, and hours of
        snapshot do not end with a broker's restart. `going_on` is called while waiting, and may raise. Raises Transient
        if somebody else published, or after `OUTAGE_MAX_S`.
        """
        give_up = time.monotonic() + OUTAGE_MAX_S
        while True:
            try:
                self.publish(records, watermark, tables)
                return
            except Transient as error:
                log.warning("kafka does not take the snapshot; waiting", source=self._source, why=str(error))
            stands = self._fenced_by(give_up, going_on)
            if stands == watermark:
                return
            if stands != before:
                raise Transient(f"source {self._source}: somebody else published meanwhile")

    def requests(self, tables: Iterable[str]) -> tuple[int, dict[str, int]]:
        """The epoch that an operator asked the whole source to be read again as, and the number of the newest request
        for each of `tables`; 0 if none."""
        keys = {name: control_key(self._source, name) for name in tables}
        found = self.producer.read_control([control_key(self._source), *keys.values()])
        return requested(found.get(control_key(self._source))), {n: requested(found.get(k)) for n, k in keys.items()}

    def close(self) -> None:
        self.producer.close()

    def _stored(self) -> SourceWatermarks:
        return source_watermarks(self._source, self.producer.read_watermarks(prefix=watermark_key(self._source, "")))

    def _fenced_by(self, give_up: float, going_on: Callable[[], None]) -> SlotWatermark | None:
        while True:
            going_on()
            try:
                return self.fence().slot
            except Transient:
                if time.monotonic() > give_up:
                    raise
            time.sleep(_RETRY_AFTER_S)
