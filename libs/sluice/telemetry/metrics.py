"""The metrics, a closed list: a name stands here or it does not exist."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter(
    "sluice_records_total",
    "Records by what became of them: mapped, unchanged, superseded, filtered, dead, skipped; of ingress published, "
    "unchanged, conflicting, deleted, dead.",
    ["stage", "topic", "outcome"],
)
LAG_RECORDS = Gauge("sluice_lag_records", "Records that the group has not done yet.", ["group", "topic", "partition"])
LAG_SECONDS = Gauge(
    "sluice_lag_seconds", "Age of the oldest record that the group has not done yet.", ["group", "topic", "partition"]
)
DEAD_LETTERS = Counter(
    "sluice_dead_letters_total",
    "Dead letters, by their header `sluice-cause`, a hash; `sluice lag` tells causes in words.",
    ["stage", "cause"],
)
BATCH_SECONDS = Histogram(
    "sluice_batch_seconds",
    "Time from a batch's first record to its commit.",
    ["stage"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
FRESHNESS = Histogram(
    "sluice_freshness_seconds",
    "Time from the change in the source to the committed golden row: from the commit, or from the time that a polled "
    "record names, else from when it was fetched.",
    ["entity"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
SOURCE_ERRORS = Counter(
    "sluice_source_errors_total",
    "Requests to a polled source that failed, by its answer: a status, refused-page or no-answer.",
    ["source", "stream", "answer"],
)
SCHEMA_VIOLATIONS = Counter(
    "sluice_schema_violations_total",
    "Raw records that break their JSON Schema, of those that the mapper compares: the first of a topic, then one in "
    "1,000.",
    ["topic"],
)
PAUSED = Gauge(
    "sluice_input_paused",
    "1 while the stage reads no more of the topic, by the reason: dead-letters.",
    ["stage", "topic", "reason"],
)
CDC_TABLES = Gauge(
    "sluice_cdc_table",
    "1 for the state that a followed table is in: pending, followed or held; 0 for the others.",
    ["source", "table", "state"],
)
RETAINED_WAL_BYTES = Gauge(
    "sluice_cdc_retained_wal_bytes", "Log that the source's server must keep for the slot.", ["source"]
)
FAULT = Gauge(
    "sluice_fault",
    "1 while a fault stands, by what it is about; the text is in `sluice lag` and `/readyz`.",
    ["stage", "about"],
)
THROTTLED = Gauge(
    "sluice_ingress_backpressure",
    "How freely the source is asked, by the lag of the stages behind: 0 flowing, 1 throttled, 2 paused.",
    ["stage", "source"],
)
