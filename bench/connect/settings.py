"""The settings of connectors and converters that were found best on two cores."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from bench.connect.worker import AVRO_CONVERTER
from bench.contestant import Job

Format = Literal["avro", "json"]
Settings = dict[str, Any]
STRING_CONVERTER = "org.apache.kafka.connect.storage.StringConverter"


def converter(which: Literal["key", "value"], form: Format, registry_url: str) -> Settings:
    """A converter that reads and writes JSON with schemas, or Confluent's wire format of Avro."""
    name = f"{which}.converter"
    if form == "json":
        return {name: "org.apache.kafka.connect.json.JsonConverter", f"{name}.schemas.enable": "true"}
    at = urlsplit(registry_url)
    return {
        name: AVRO_CONVERTER,
        # Apicurio's client has no call of the Confluent API. Both APIs show the same schemas and ids.
        f"{name}.apicurio.registry.url": f"{at.scheme}://{at.netloc}/apis/registry/v2",
        f"{name}.apicurio.registry.id-handler": "io.apicurio.registry.serde.Legacy4ByteIdHandler",
        f"{name}.apicurio.registry.use-id": "contentId",
        f"{name}.apicurio.registry.headers.enabled": "false",
        f"{name}.apicurio.registry.auto-register": "true",
        f"{name}.apicurio.registry.find-latest": "true",
    }


def plain_json(which: Literal["key", "value"]) -> Settings:
    """A converter that writes JSON without schemas."""
    return {
        f"{which}.converter": "org.apache.kafka.connect.json.JsonConverter",
        f"{which}.converter.schemas.enable": "false",
    }


def jdbc_sink(job: Job, topic: str) -> Settings:
    """Debezium's JDBC sink from a topic to `job.table`, without converters and key. It upserts, and creates no
    table."""
    at = conninfo_to_dict(job.dsn)
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "topics": topic,
        "connection.url": f"jdbc:postgresql://{at['host']}:{at['port']}/{at['dbname']}?reWriteBatchedInserts=true",
        "connection.username": at["user"],
        "connection.password": at["password"],
        "collection.name.format": job.table,
        "insert.mode": "upsert",
        "schema.evolution": "none",
        "consumer.override.group.id": job.group,
        "consumer.override.auto.offset.reset": "earliest",
    }


# Three tasks are faster than one by 10 to 40 %. Batches of 5,000 rows cost the worker 40 % more processor time than
# batches of 2,000; batches of 500 cost the same, and JDBC's binary transfer does.
TUNED_JDBC_SINK: Settings = {
    "tasks.max": 3,
    "batch.size": 2_000,
    "use.reduction.buffer": "true",
    "consumer.override.max.poll.records": 2_000,
    "consumer.override.max.partition.fetch.bytes": 2**24,
    "consumer.override.fetch.max.bytes": 2**26,
}
# For a backlog: the consumer waits up to 50 ms for a full fetch.
FULL_FETCHES: Settings = {"consumer.override.fetch.min.bytes": 2**20, "consumer.override.fetch.max.wait.ms": 50}


def postgres_source(job: Job) -> Settings:
    """Debezium's PostgreSQL source for `job.source_table`, without converters. Its slot and its publication have the
    job's name."""
    at = conninfo_to_dict(job.source_dsn)
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": 1,
        "database.hostname": at["host"],
        "database.port": at["port"],
        "database.user": at["user"],
        "database.password": at["password"],
        "database.dbname": at["dbname"],
        "topic.prefix": job.prefix.rstrip("."),
        "table.include.list": job.source_table,
        "plugin.name": "pgoutput",
        "slot.name": job.name,
        "publication.name": job.name,
        "publication.autocreate.mode": "filtered",
    }


TUNED_POSTGRES_SOURCE: Settings = {
    "max.batch.size": 8_192,
    "max.queue.size": 65_536,
    "poll.interval.ms": 1,
    "extended.headers.enabled": "false",
    "producer.override.batch.size": 524_288,
    "producer.override.linger.ms": 0,
    "producer.override.compression.type": "lz4",
}
"""The settings found best for latency."""


def tuned_postgres_source(*, for_latency: bool) -> Settings:
    """The settings that were found best for latency, or for a backlog: the connector then collects larger batches."""
    for_backlog: Settings = {} if for_latency else {"poll.interval.ms": 50, "producer.override.linger.ms": 20}
    return {**TUNED_POSTGRES_SOURCE, **for_backlog}
