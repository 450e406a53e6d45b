-- Adds the column paused_at, which databases of an older version lack.
ALTER TABLE {owner} ADD COLUMN IF NOT EXISTS paused_at double precision
