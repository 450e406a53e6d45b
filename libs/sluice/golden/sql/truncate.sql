-- Empties the temporary table of a batch, before the other half of the batch is copied.
TRUNCATE {into}
