-- Renames the table of tombstones, which has another name in older versions.
ALTER TABLE {schema}._graves RENAME TO _tombstones;
ALTER INDEX IF EXISTS {schema}._graves_pkey RENAME TO _tombstones_pkey;
