-- The notes of writes to golden tables by others. Every statement may be run again.

-- A statement that was not the sink's, or a change of a table without one; no data. The oldest of each kind and user
-- is kept until `sluice sink rebuild`. The sink deletes the others when it reads them; while it does not run, no more
-- than a thousand of a table are kept.
CREATE TABLE IF NOT EXISTS {schema}._foreign_writes (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity  text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    db_user text NOT NULL,
    kind    text NOT NULL
);

-- Each golden table as the sink left it: its oid (made), when its watch fires (as in pg_trigger.tgenabled), and name
-- and type of its columns by number. beside: the oid of this table itself; another one means that the whole schema was
-- restored from a dump, so that every oid is new.
CREATE TABLE IF NOT EXISTS {schema}._made (
    entity  text PRIMARY KEY,
    made    bigint NOT NULL,
    beside  bigint NOT NULL,
    watch   text NOT NULL,
    columns jsonb NOT NULL
);

-- With its owner's rights: a user who may write to the golden table may not be allowed to write here.
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
