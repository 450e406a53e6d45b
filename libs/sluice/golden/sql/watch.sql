-- The notes of writes to golden tables by others. Every statement may be run again.

-- One row per statement by others, or per other change of a table by others. It contains no data of the table. The
-- oldest row of each kind and user is kept until `sluice sink rebuild`. The sink deletes the other rows when it reads
-- them. While the sink does not run, at most a thousand rows per table are kept.
CREATE TABLE IF NOT EXISTS {schema}._foreign_writes (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity  text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    db_user text NOT NULL,
    kind    text NOT NULL
);

-- Each golden table as the sink left it: its oid (made), when its watch fires (as in pg_trigger.tgenabled), and name
-- and type of its columns by number. beside: the oid of this table of notes. If beside differs from the current oid,
-- the whole schema was restored from a dump, and every oid is new.
CREATE TABLE IF NOT EXISTS {schema}._made (
    entity  text PRIMARY KEY,
    made    bigint NOT NULL,
    beside  bigint NOT NULL,
    watch   text NOT NULL,
    columns jsonb NOT NULL
);

-- Runs with the rights of its owner, because a user who may write to a golden table may lack the right to write notes.
CREATE OR REPLACE FUNCTION {schema}._note_foreign_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}._foreign_writes (entity, db_user, kind)
    SELECT TG_ARGV[0], session_user, TG_OP
    WHERE (
        SELECT count(*) < 1000
        FROM (SELECT FROM {schema}._foreign_writes AS w WHERE w.entity = TG_ARGV[0] LIMIT 1000) AS several
    );
    RETURN NULL;
END
$$;
