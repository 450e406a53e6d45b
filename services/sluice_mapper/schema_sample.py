"""A sample of raw records, compared with their JSON Schema while they are mapped."""

from __future__ import annotations

import json
import time

import structlog

from sluice.headers import TRUNCATED_HEADER
from sluice.json_schema import JsonSchema
from sluice.kafka.record import Record
from sluice.telemetry import metrics

SAMPLED_EVERY = 1_000
CHECKED_BYTES_MAX = 64 * 1024
WARNED_EVERY_S = 60.0

log = structlog.get_logger()


class SchemaSample:
    """Checks the first record of a raw topic that this process reads, and each whose offset is a multiple of 1,000.

    Records that break the schema are counted, and logged at most once a minute. Nothing is raised: only the mapping
    decides whether a record is parked. A check must not stop the mapping: deletes and records of more than 64 KiB are
    not checked, and regular expressions are not applied, because their time has no limit.
    """

    def __init__(self, schema: JsonSchema) -> None:
        self._schema = schema
        self._started = False
        self._warn_at = 0.0
        self._unreported = 0

    def is_due(self, record: Record) -> bool:
        """Whether `check` does anything with the record."""
        return not (self._started and record.offset % SAMPLED_EVERY)

    def check(self, record: Record) -> None:
        if not self.is_due(record):
            return
        if not record.value or len(record.value) > CHECKED_BYTES_MAX or TRUNCATED_HEADER in record.headers:
            return
        self._started = True
        try:
            value = json.loads(record.value)
        except (ValueError, RecursionError):
            return  # not checked: the mapper parks a record that is not JSON
        if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
            value = value["payload"]
        if broken := self._schema.violations(value, patterns=False):
            self._report(record, broken)

    def _report(self, record: Record, broken: list[str]) -> None:
        metrics.SCHEMA_VIOLATIONS.labels(record.topic).inc()
        self._unreported += 1
        if (now_s := time.monotonic()) < self._warn_at:
            return
        self._warn_at = now_s + WARNED_EVERY_S
        schema = self._schema.file.name
        log.warning("schema violated", record=record.place, schema=schema, rules=broken, records=self._unreported)
        self._unreported = 0
