-- Where the rows of a batch arrive.
CREATE TEMP TABLE IF NOT EXISTS {incoming} ({columns}) ON COMMIT DELETE ROWS
