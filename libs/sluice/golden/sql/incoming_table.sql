-- Creates the temporary table for the rows of a batch.
CREATE TEMP TABLE IF NOT EXISTS {incoming} ({columns}) ON COMMIT DELETE ROWS
