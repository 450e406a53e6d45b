"""The metrics, a closed list: a name stands here or it does not exist."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("sluice_records_total", "Records by what became of them.", ["stage", "topic", "outcome"])
LAG_RECORDS = Gauge("sluice_lag_records", "Records not done yet.", ["group", "topic", "partition"])
LAG_SECONDS = Gauge("sluice_lag_seconds", "Age of the oldest record not done yet.", ["group", "topic", "partition"])
DEAD_LETTERS = Counter("sluice_dead_letters_total", "Records parked, by cause.", ["stage", "cause"])
BATCH_SECONDS = Histogram(
    "sluice_batch_seconds",
    "From a batch's first record to its commit.",
    ["stage"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
FRESHNESS = Histogram(
    "sluice_freshness_seconds",
    "From the source's commit or change to the row.",
    ["entity"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
SOURCE_ERRORS = Counter(
    "sluice_source_errors_total",
    "Requests to a polled source that failed, by its answer: a status, refused-page or no-answer.",
    ["source", "stream", "answer"],
)
PAUSED = Gauge("sluice_input_paused", "1 while an input topic is paused, by why.", ["stage", "topic", "reason"])
CDC_TABLES = Gauge("sluice_cdc_table", "1 for the state a table of a source is in.", ["source", "table", "state"])
RETAINED_WAL_BYTES = Gauge("sluice_cdc_retained_wal_bytes", "WAL a slot holds back on its source.", ["source"])
FAULT = Gauge("sluice_fault", "1 while a fault stands, by what it is about.", ["stage", "about"])
THROTTLED = Gauge("sluice_ingress_backpressure", "0 flowing, 1 throttled, 2 paused.", ["stage", "source"])
