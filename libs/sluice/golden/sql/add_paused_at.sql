-- A column that databases of an older version lack.
ALTER TABLE {owner} ADD COLUMN IF NOT EXISTS paused_at double precision
