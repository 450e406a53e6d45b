"""Raw records in Avro, as the plain JSON that the mapper reads.

Most pipelines have none. So the registry's client and the reader of Avro are imported at the first of them.
"""

from __future__ import annotations

from collections.abc import Callable

from sluice.kafka.record import Record
from sluice.settings.stage import StageSettings

_AVRO = b"\0"  # JSON never starts with a zero byte


class AvroRecords:
    """Reads the records of raw topics that ingress-cdc or a real Debezium wrote in Avro."""

    def __init__(self, settings: StageSettings) -> None:
        self._settings = settings
        self._read: Callable[[Record], Record] | None = None

    def plain(self, record: Record) -> Record:
        """The record in plain JSON; the record itself if it is not Avro.

        Raises DeadRecord if it does not fit its schema, and EnvironmentFault if the registry does not answer and the
        schema was never read.
        """
        key, value = record.key, record.value
        if (value is None or value[:1] != _AVRO) and (key is None or key[:1] != _AVRO):
            return record
        if self._read is None:
            self._read = self._reader()
        return self._read(record)

    def _reader(self) -> Callable[[Record], Record]:
        from sluice.schemas import Registry
        from sluice.schemas.connect_json import PlainJson

        registry = Registry(self._settings.registry.url, self._settings.state_dir / "schemas")
        return PlainJson(registry.by_id).record
