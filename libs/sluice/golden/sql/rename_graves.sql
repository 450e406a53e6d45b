-- The name that this table had at first.
ALTER TABLE {schema}._graves RENAME TO _tombstones;
ALTER INDEX IF EXISTS {schema}._graves_pkey RENAME TO _tombstones_pkey;
