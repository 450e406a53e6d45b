"""Debezium's settings of the connection, the slot, the publication, the tables and the snapshot."""

from __future__ import annotations

from sluice.debezium_settings.setting import Setting, ignored, refused, supported

_OWN_QUERY = "Sluice reads a table with statements of its own"
_JDBC = "it belongs to the JDBC driver, which Sluice does not use"

CONNECTION: tuple[Setting, ...] = (
    supported("database.hostname", "The host of the source database."),
    supported("database.port", "The port of the source database.", 5432),
    supported("database.user", "The user of the source database."),
    supported(
        "database.password",
        "The password. In the pipeline file it is a reference: `${env:NAME}`, `${file:/path:key}`, "
        "`${dir:/path:file}`, or a secret of the pipeline file.",
    ),
    supported("database.dbname", "The name of the source database."),
    supported(
        "database.sslmode",
        "As libpq's `sslmode`.",
        "prefer",
        *("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    supported("database.sslcert", "The file of the client's certificate."),
    supported("database.sslkey", "The file of the client's key, as PEM or DER."),
    supported("database.sslpassword", "The password of the client's key, as `database.password`."),
    supported("database.sslrootcert", "The file of the root certificate."),
    refused("database.sslfactory", f"leave it out: {_JDBC}"),
    supported("database.tcpKeepAlive", "Whether the connection sends TCP keepalives.", True),
    ignored("database.query.timeout.ms", "every statement of Sluice has a deadline of its own", 600000),
    refused("database.initial.statements", "set the user's defaults with ALTER ROLE … SET"),
    refused("driver.*", f"leave it out: {_JDBC}"),
    ignored("connection.validation.timeout.ms", "a connection is tried for at most 10 s", 60000),
)

REPLICATION: tuple[Setting, ...] = (
    supported(
        "plugin.name",
        "The output plugin. If it is not set, it is `pgoutput`.",
        "decoderbufs",
        *("decoderbufs", "pgoutput"),
        refused_values={"decoderbufs": "set plugin.name to pgoutput, which every PostgreSQL server has"},
    ),
    supported(
        "slot.name",
        "The replication slot. If it is not set, the slot has Sluice's own name, so that the slot of a connector that "
        "still runs is not taken.",
        "debezium",
    ),
    ignored("slot.drop.on.stop", "a slot without a reader is what makes a restart lose nothing", False),
    supported("slot.failover", "Whether the slot is synchronised to standbys (PostgreSQL 17 and newer).", False),
    refused("slot.stream.params", "leave it out: Sluice chooses the parameters of pgoutput"),
    ignored("slot.max.retries", "Sluice tries again until the slot can be read", 6),
    ignored("slot.retry.delay.ms", "Sluice waits 1 s, and longer after each failure", 10000),
    supported(
        "publication.name",
        "The publication. If it is not set, it has Sluice's own name.",
        "dbz_publication",
    ),
    supported(
        "publication.autocreate.mode",
        "`filtered`: Sluice creates the publication and adds the followed tables to it. `disabled`: you do. With "
        "`all_tables`, or if it is not set, Sluice does the same as with `filtered`: other tables are not published.",
        "all_tables",
        *("all_tables", "disabled", "filtered", "no_tables"),
        refused_values={"no_tables": "create the publication, add the tables to it, and set disabled"},
    ),
    ignored(
        "publish.via.partition.root",
        "changes of a partitioned table are always published under its own name",
        False,
    ),
    refused("replica.identity.autoset.values", "run ALTER TABLE … REPLICA IDENTITY as the tables' owner"),
    ignored("status.update.interval.ms", "see `SLUICE_FEEDBACK_INTERVAL_S`", 10000),
    ignored("lsn.flush.timeout.ms", "confirming an LSN does not wait for an answer", 30000),
    ignored("lsn.flush.timeout.action", "confirming an LSN does not wait for an answer", "fail"),
    supported(
        "lsn.flush.mode",
        "`connector` and `connector_and_driver` are the same here: the source may discard its log below everything "
        "that is durable in Kafka, also while the followed tables are idle.",
        None,
        *("connector", "connector_and_driver", "manual"),
        refused_values={"manual": "let Sluice confirm: it confirms nothing that is not durable in Kafka"},
    ),
    refused("flush.lsn.source", "leave it out: Sluice confirms what is durable in Kafka", True),
    ignored(
        "offset.mismatch.strategy",
        "a slot that does not fit the watermark is always refused, with the command that repairs it",
        "no_validation",
    ),
    ignored("xmin.fetch.interval.ms", "`source.xmin` is always null", 0),
    refused("read.only", "leave it out: Sluice's heartbeat writes a message into the log", False),
    supported("heartbeat.interval.ms", "The interval of records in the heartbeat topic; 0 for none.", 0),
    ignored("heartbeat.action.query", "the pipeline file's `heartbeat` moves the slot of a quiet database"),
    ignored("internal.slot.seek.to.known.offset.on.start", "see `offset.mismatch.strategy`", False),
    ignored("internal.create.slot.command.timeout", "creating a slot has a deadline of its own", 90),
)

_LIST = "Regular expressions, separated by commas. "
TABLES: tuple[Setting, ...] = (
    supported(
        "table.include.list",
        f"{_LIST}Plain names (`public.offer`) are the followed tables. Patterns choose among the pipeline file's "
        "`tables`, because the tables must be known when the pipeline is loaded.",
        kind="list",
    ),
    supported("table.exclude.list", f"{_LIST}The pipeline file's `tables` must not contain a match.", kind="list"),
    supported("schema.include.list", f"{_LIST}The schemas of all followed tables must match.", kind="list"),
    supported("schema.exclude.list", f"{_LIST}The schemas of the followed tables must not match.", kind="list"),
    refused("database.include.list", "leave it out: a source is one database, which database.dbname names"),
    refused("database.exclude.list", "leave it out: a source is one database, which database.dbname names"),
    ignored("table.ignore.builtin", "tables of PostgreSQL itself cannot be followed", True),
    ignored("guardrail.collections.max", "the tables are listed in the pipeline", 0),
    ignored("guardrail.collections.limit.action", "the tables are listed in the pipeline", "warn"),
)

_NO_SIGNALS = "leave it out, and run `sluice cdc resnapshot SOURCE --table SCHEMA.TABLE`"

SNAPSHOT: tuple[Setting, ...] = (
    supported(
        "snapshot.mode",
        "`initial`, `no_data` and `when_needed` as in Debezium. With `no_data` an operator can still request rows.",
        "initial",
        *("always", "initial", "initial_only", "no_data", "never", "when_needed", "configuration_based", "custom"),
        refused_values={
            "always": "set initial, and run `sluice cdc resnapshot` when a table is to be read again",
            "configuration_based": "set initial, no_data or when_needed",
            "custom": "set initial, no_data or when_needed",
            "initial_only": "set initial, and stop the stage when `sluice lag` shows no pending table",
        },
    ),
    ignored(
        "snapshot.max.threads", "one connection reads a table, and the next block is read while one is published", 1
    ),
    ignored("snapshot.max.threads.multiplier", "one connection reads a table, whatever its size", 1),
    ignored("legacy.snapshot.max.threads", "one connection reads a table, whatever its size", False),
    ignored("internal.legacy.snapshot.max.threads", "one connection reads a table, whatever its size", False),
    ignored("snapshot.fetch.size", "the rows of a snapshot are bounded in bytes"),
    ignored("query.fetch.size", "the rows of a snapshot are bounded in bytes", 0),
    ignored("snapshot.delay.ms", "the stage starts when it is started", 0),
    ignored("streaming.delay.ms", "the stage starts when it is started", 0),
    refused("snapshot.include.collection.list", "leave it out: every followed table is read once"),
    refused("snapshot.select.statement.overrides", "leave it out, and filter in the mapping"),
    refused("snapshot.select.statement.overrides.*", "leave it out, and filter in the mapping"),
    ignored("snapshot.isolation.mode", "each chunk is one repeatable-read view", "serializable"),
    ignored("snapshot.locking.mode", "a snapshot locks no rows", "none"),
    ignored("snapshot.lock.timeout.ms", "a snapshot locks no rows", 10000),
    refused("snapshot.locking.mode.custom.name", f"leave it out: {_OWN_QUERY}"),
    refused("snapshot.query.mode", f"leave it out: {_OWN_QUERY}", "select_all"),
    refused("snapshot.query.mode.custom.name", f"leave it out: {_OWN_QUERY}"),
    refused("snapshot.mode.custom.name", "set snapshot.mode to initial, no_data or when_needed"),
    ignored("snapshot.mode.configuration.based.*", "it belongs to snapshot.mode=configuration_based", False),
    ignored("snapshot.tables.order.by.row.count", "the order of the tables does not matter", "disabled"),
    ignored("internal.snapshot.scan.all.columns.force", "the columns are read from the catalogs", False),
    ignored("incremental.snapshot.chunk.size", "a chunk is bounded in bytes", 1024),
    ignored(
        "incremental.snapshot.watermarking.strategy",
        "chunks are compared with the stream by transaction ids, not by rows that Sluice writes",
        "INSERT_INSERT",
    ),
    ignored("incremental.snapshot.allow.schema.changes", "a changed table starts its ad-hoc snapshot again", False),
    refused("signal.data.collection", _NO_SIGNALS),
    refused("signal.enabled.channels", _NO_SIGNALS, "source"),
    refused("signal.kafka.topic", _NO_SIGNALS),
    ignored("signal.kafka.bootstrap.servers", "it belongs to signals, which are refused"),
    ignored("signal.kafka.groupId", "it belongs to signals, which are refused", "kafka-signal"),
    ignored("signal.kafka.poll.timeout.ms", "it belongs to signals, which are refused", 100),
    ignored("signal.consumer.*", "it belongs to signals, which are refused"),
    refused("signal.file", _NO_SIGNALS),
    ignored("signal.poll.interval.ms", "it belongs to signals, which are refused", 5000),
    ignored("signal.emit.failure.max.retries", "it belongs to signals, which are refused", 0),
    ignored("signal.emit.failure.backoff.ms", "it belongs to signals, which are refused", 10000),
    ignored("internal.signal.*", "it belongs to signals, which are refused"),
)
