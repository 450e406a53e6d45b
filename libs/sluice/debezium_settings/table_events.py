"""Debezium's settings of topics, records, values and converters."""

from __future__ import annotations

from sluice.debezium_settings.setting import Setting, ignored, refused, supported

TOPICS: tuple[Setting, ...] = (
    supported(
        "topic.prefix",
        "It must be `<kafka.prefix>raw.<source>`, because topics are named so. It may be left out.",
    ),
    refused("topic.naming.strategy", "leave it out", "io.debezium.schema.SchemaTopicNamingStrategy"),
    refused("topic.delimiter", "leave it out: Sluice finds a table by its topic", "."),
    ignored("topic.cache.size", "names of topics are made once for each table", 10000),
    supported(
        "topic.heartbeat.prefix",
        "The heartbeat topic is `<this>.<topic.prefix>`.",
        "__debezium-heartbeat",
    ),
    supported("heartbeat.topics.prefix", "The older name of `topic.heartbeat.prefix`.", "__debezium-heartbeat"),
    refused("topic.heartbeat.name", "set topic.heartbeat.prefix"),
    supported("topic.transaction", "The transaction topic is `<topic.prefix>.<this>`.", "transaction"),
    ignored("topic.creation.*", "`sluice topics apply` creates topics with their settings"),
)

EVENTS: tuple[Setting, ...] = (
    supported("tombstones.on.delete", "Whether a delete is followed by a record without a value.", True),
    supported(
        "provide.transaction.metadata",
        "Whether events have a `transaction` block, and the transaction topic is written.",
        False,
    ),
    supported(
        "skipped.operations",
        "The operations that are not published: `c`, `u`, `d`, `t`, or `none`. If it is not set, a TRUNCATE still "
        "deletes the rows downstream: its sweep markers are no Debezium events. A skipped TRUNCATE writes none.",
        "t",
        kind="list",
    ),
    refused("skip.messages.without.change", "leave it out: the mapper publishes no claim that changes nothing", False),
    supported(
        "message.key.columns",
        "The columns of the record's key, as `schema.table:column,column;…`, for tables that the patterns match.",
    ),
    supported("message.prefix.include.list", "The prefixes of logical messages that are published.", kind="list"),
    supported("message.prefix.exclude.list", "The prefixes of logical messages that are not published.", kind="list"),
    supported("column.include.list", "Regular expressions for the published columns.", kind="list"),
    supported("column.exclude.list", "Regular expressions for columns that no event contains.", kind="list"),
    supported(
        "column.mask.with.<length>.chars", "The text columns whose values become that many asterisks.", kind="list"
    ),
    supported("column.truncate.to.<length>.chars", "The text columns that are cut to that length.", kind="list"),
    supported(
        "column.mask.hash.v2.<algorithm>.with.salt.<salt>",
        "The text columns whose values become a hash of the salt and the value.",
        kind="list",
    ),
    refused(
        "column.mask.hash.<algorithm>.with.salt.<salt>",
        "use column.mask.hash.v2…: the first version hashes Java's serialisation of a value",
    ),
    refused("column.propagate.source.type", "leave it out: read the types from the source's catalogs"),
    refused("datatype.propagate.source.type", "leave it out: read the types from the source's catalogs"),
    ignored("extended.headers.enabled", "the headers name Debezium's connector and task", True),
    ignored("event.converting.failure.handling.mode", "a value that cannot be converted is published as text", "warn"),
    ignored("event.processing.failure.handling.mode", "a change that cannot be published is a dead letter", "fail"),
    refused("converters", "map the values in the mapping"),
    refused("post.processors", "change the records in the mapping"),
    refused("transforms", "change the records in the mapping", ""),
    refused("transforms.*", "change the records in the mapping"),
    refused("predicates", "change the records in the mapping", ""),
    refused("predicates.*", "change the records in the mapping"),
    refused(
        "transaction.metadata.factory",
        "leave it out",
        "io.debezium.pipeline.txmetadata.DefaultTransactionMetadataFactory",
    ),
    refused(
        "sourceinfo.struct.maker", "leave it out", "io.debezium.connector.postgresql.PostgresSourceInfoStructMaker"
    ),
)

VALUES: tuple[Setting, ...] = (
    supported("decimal.handling.mode", "As in Debezium.", "precise", "precise", "double", "string"),
    supported(
        "time.precision.mode",
        "As in Debezium.",
        "adaptive",
        *("adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"),
        *("structured",),
        refused_values={"structured": "set isostring, which keeps time zones too"},
    ),
    supported("interval.handling.mode", "As in Debezium.", "numeric", "numeric", "string"),
    supported("binary.handling.mode", "As in Debezium.", "bytes", "bytes", "base64", "base64-url-safe", "hex"),
    supported("hstore.handling.mode", "As in Debezium.", "json", "json", "map"),
    supported("money.fraction.digits", "The number of fraction digits of `money`.", 2),
    supported(
        "unavailable.value.placeholder",
        "The text for a large value that an update left out.",
        "__debezium_unavailable_value",
    ),
    ignored(
        "include.unknown.datatypes",
        "columns of all types are published; `debezium_exact` leaves out those that Debezium does not know",
        False,
    ),
    ignored("schema.refresh.mode", "the shape of a table is read from the log", "columns_diff"),
    refused("include.schema.comments", "leave it out: comments are in the source's catalogs", False),
)

_ADJUSTMENT = ("none", "avro", "avro_unicode")
_UNICODE = {"avro_unicode": "set avro"}
_REGISTRY = "Sluice registers schemas in the registry of `SLUICE_REGISTRY__URL`"
_JSON = "org.apache.kafka.connect.json.JsonConverter"


def _converter(side: str) -> tuple[Setting, ...]:
    name = f"{side}.converter"
    return (
        supported(
            name,
            f"The format of {side}s: Kafka Connect's `JsonConverter`, or the `AvroConverter` of Confluent or Apicurio. "
            "If it is not set, it is JSON without schemas. It applies to records of tables. Topics of transactions, "
            "heartbeats and logical messages have JSON without schemas.",
            None,
        ),
        supported(
            f"{name}.schemas.enable",
            f"Whether JSON {side}s repeat their schema. If it is not set, they do if `{name}` names the JsonConverter, "
            "as in Kafka Connect.",
            True,
        ),
        ignored(f"{name}.schema.registry.url", _REGISTRY),
        ignored(f"{name}.basic.auth.*", _REGISTRY),
        ignored(f"{name}.schema.registry.*", _REGISTRY),
        ignored(f"{name}.auto.register.schemas", "schemas are always registered", True),
        refused(f"{name}.enhanced.avro.schema.support", "leave it out", False),
        refused(f"{name}.connect.meta.data", "leave it out: schemas name Kafka Connect's types", True),
        ignored(f"{name}.schemas.cache.*", "the schemas of all tables are kept"),
        supported(
            f"{name}.apicurio.registry.id-handler",
            "Confluent's wire format: `io.apicurio.registry.serde.Legacy4ByteIdHandler`, or "
            "`apicurio.registry.as-confluent`.",
        ),
        supported(f"{name}.apicurio.registry.as-confluent", "Confluent's wire format.", False),
        refused(f"{name}.apicurio.registry.headers.enabled", "set it to false: the id is in the value", False),
        ignored(f"{name}.apicurio.*", _REGISTRY),
        refused(f"{name}.decimal.format", "leave it out, or set decimal.handling.mode to string or double", "BASE64"),
        ignored(f"{name}.replace.null.with.default", "see docs/reference/debezium-differences.md"),
        ignored(f"{name}.plugin.version", "Sluice contains its converters"),
        refused(f"{name}.*", "leave it out"),
    )


CONVERTERS: tuple[Setting, ...] = (
    supported("schema.name.adjustment.mode", "As in Debezium.", "none", *_ADJUSTMENT, refused_values=_UNICODE),
    supported(
        "field.name.adjustment.mode",
        "Names of columns are always adjusted in Avro, and never in JSON, where `avro` is refused.",
        "none",
        *_ADJUSTMENT,
        refused_values=_UNICODE,
    ),
    *_converter("key"),
    *_converter("value"),
    ignored("header.converter", "headers are texts"),
    ignored("header.converter.*", "headers are texts"),
)

_CONNECT = "it belongs to Kafka Connect, which Sluice does not use"
_QUEUE = "batches and queues are bounded in bytes"
_METRICS = "Sluice has metrics of its own"

RUNNING: tuple[Setting, ...] = (
    ignored("name", "the source's name in the pipeline file is used"),
    supported(
        "connector.class",
        "It must be `io.debezium.connector.postgresql.PostgresConnector`, if it is set.",
    ),
    ignored("connector.plugin.version", _CONNECT),
    ignored("tasks.max", "a slot has one reader", 1),
    ignored("tasks.max.enforce", "a slot has one reader", True),
    ignored("config.action.reload", _CONNECT, "restart"),
    ignored("errors.*", "errors are faults and dead letters: see docs/reference/exit-codes.md"),
    ignored("exactly.once.support", "records and watermark are always one Kafka transaction", "requested"),
    ignored("transaction.boundary", "records and watermark are always one Kafka transaction", "poll"),
    ignored("transaction.boundary.interval.ms", "records and watermark are always one Kafka transaction"),
    ignored("offsets.storage.topic", "the watermark is in `sluice.watermarks`"),
    ignored("producer.override.*", "Sluice's producer has settings of its own"),
    ignored("admin.override.*", "Sluice's Kafka settings apply"),
    ignored("consumer.override.*", "Sluice's Kafka settings apply"),
    ignored("retriable.restart.connector.wait.ms", "Sluice waits 1 s, and longer after each failure", 10000),
    ignored("max.queue.size", _QUEUE, 8192),
    ignored("max.queue.size.in.bytes", _QUEUE, 0),
    ignored("max.batch.size", _QUEUE, 2048),
    ignored("poll.interval.ms", "see `SLUICE_LINGER_S`", 500),
    ignored("poll.dispatch.interval.ms", "see `SLUICE_LINGER_S`"),
    ignored("queue.provider.type", _QUEUE),
    ignored("executor.shutdown.timeout.ms", "a stage stops within its own deadline", 4000),
    ignored("memory.management.*", _QUEUE),
    ignored("custom.metric.tags", _METRICS),
    ignored("statistics.metrics.enabled", _METRICS, True),
    ignored("internal.advanced.metrics.enable", _METRICS, False),
    ignored("internal.log.position.check.enable", "the position is always checked", True),
    ignored("internal.offset.activity.monitor.interval.ms", "a watchdog follows the progress of the LSN", 600000),
    ignored("custom.sanitize.pattern", "Sluice never logs a setting's value"),
    refused("custom.retriable.exception", "leave it out: it names classes of Java"),
    refused("openlineage.integration.enabled", "leave it out", False),
    ignored("openlineage.integration.*", "it belongs to openlineage.integration.enabled"),
    refused("notification.enabled.channels", "watch Sluice's metrics and `sluice cdc status`"),
    ignored("notification.*", "it belongs to notification.enabled.channels"),
)
