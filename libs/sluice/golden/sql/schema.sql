-- The sink's own tables in its schema. Every statement may be run again.

-- The topics this schema was filled from. Only `sluice sink rebuild` adds an epoch; a first start on an empty table
-- writes epoch 1.
CREATE TABLE IF NOT EXISTS {schema}._topics (
    topic    text NOT NULL,
    epoch    integer NOT NULL,
    topic_id text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, epoch)
);

-- One row per partition: the owner's number, which a new owner raises, and the next offset (processed).
-- pass_end: a pass from the first offset is in progress, and ends there. paused_at: when the owner stopped reading the
-- partition because of too many dead letters (Unix s).
CREATE TABLE IF NOT EXISTS {schema}._owner (
    topic     text NOT NULL,
    partition integer NOT NULL,
    owner_no  bigint NOT NULL,
    topic_id  text NOT NULL,
    processed bigint,
    pass_from bigint,
    pass_end  bigint,
    paused_at double precision,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

-- Deleted entities: a rewound or stalled writer cannot write their older rows again.
CREATE TABLE IF NOT EXISTS {schema}._tombstones (
    entity      text NOT NULL,
    entity_id   text NOT NULL,
    topic_epoch integer NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity, entity_id)
);

-- The entity ids that a pass read. The end of the pass deletes the rows of all other entities of the partition.
CREATE TABLE IF NOT EXISTS {schema}._seen (
    entity    text NOT NULL,
    partition integer NOT NULL,
    entity_id text NOT NULL,
    PRIMARY KEY (entity, partition, entity_id)
);

-- What each transaction read, with the outcomes of the records.
CREATE TABLE IF NOT EXISTS {schema}._ledger (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key  text NOT NULL,
    line jsonb NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);
