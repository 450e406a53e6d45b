"""Publishes the records and the watermarks of a slot to Kafka in one transaction, as the only publisher of the
source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from sluice.cdc.watermarks import (
    SlotWatermark,
    SourceWatermarks,
    control_key,
    requested,
    source_watermarks,
    watermark_key,
)
from sluice.headers import CAUSE_HEADER
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings
from sluice.names import INGRESS_CDC, Names
from sluice.raw.connector_record import epochs_key, epochs_of
from sluice.raw.writing import RawRecord
from sluice.telemetry.metrics import BATCH_SECONDS, DEAD_LETTERS, RECORDS
from sluice_ingress_cdc.tables import TableChanges


class SnapshotRequests(NamedTuple):
    """Operators' requests to read data again. `epoch`: the epoch requested for the whole source. `tables`: the number
    of the newest request for each table. 0 means no request."""

    epoch: int
    tables: Mapping[str, int]


class SlotPublisher:
    """Publishes for one source. The transactional id depends on the source alone, not on the process. A process that
    starts to follow the source therefore fences every earlier process."""

    def __init__(self, source: str, kafka: KafkaSettings, names: Names) -> None:
        self._source = source
        self._dead_letters = names.dlq(INGRESS_CDC)
        self.producer = IngressProducer(kafka, names, names.transactional_id(INGRESS_CDC, source))

    def fence(self) -> SourceWatermarks:
        """Fence every earlier publisher of this source, then read the durable watermarks.

        Raises Transient if Kafka does not answer.
        """
        self.producer.fence()
        return source_watermarks(self._source, self.producer.read_watermarks(prefix=watermark_key(self._source, "")))

    def publish(self, records: Sequence[RawRecord], watermark: SlotWatermark, tables: TableChanges) -> None:
        """Commit the records, the slot's watermark and the changed watermarks of `tables` in one Kafka transaction.

        Raises Transient if the transaction may not be committed; `fence` then returns the durable watermarks.
        """
        changes = {
            watermark_key(self._source, name): None if changed is None else changed.to_json()
            for name, changed in tables.items()
        }
        with BATCH_SECONDS.labels(INGRESS_CDC).time():
            self.producer.publish(records, {watermark_key(self._source): watermark.to_json(), **changes})
        counts = Counter(map(itemgetter(0), records))  # a record's first member is its topic
        for topic, count in counts.items():
            RECORDS.labels(INGRESS_CDC, topic, "dead" if topic == self._dead_letters else "published").inc(count)
        if self._dead_letters in counts:
            for record in records:
                if record.topic == self._dead_letters:
                    DEAD_LETTERS.labels(INGRESS_CDC, dict(record.headers)[CAUSE_HEADER].decode()).inc()

    def requests(self, tables: Sequence[str]) -> SnapshotRequests:
        source_key, connector_key = control_key(self._source), epochs_key(self._source)
        keys = {name: control_key(self._source, name) for name in tables}
        found = self.producer.read_control([source_key, connector_key, *keys.values()])
        # A connector filled the topics meanwhile: only a new epoch is above its records.
        after_connector = 1 + max((e.number for e in epochs_of(found.get(connector_key))), default=-1)
        return SnapshotRequests(
            max(requested(found.get(source_key)), after_connector),
            {name: requested(found.get(key)) for name, key in keys.items()},
        )

    def close(self) -> None:
        self.producer.close()
