-- Empties a table of a batch, for its other half.
TRUNCATE {into}
