-- Creates the temporary table for the deletes of a batch.
CREATE TEMP TABLE IF NOT EXISTS {deleted} (
    entity_id   text,
    topic_epoch integer,
    partition   integer,
    "offset"    bigint
) ON COMMIT DELETE ROWS
