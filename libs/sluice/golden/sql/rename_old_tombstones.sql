-- The name of this table in older versions.
ALTER TABLE {schema}._graves RENAME TO _tombstones;
ALTER INDEX IF EXISTS {schema}._graves_pkey RENAME TO _tombstones_pkey;
