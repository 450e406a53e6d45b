-- Copies the changes of a batch into a temporary table.
COPY {into} ({columns}) FROM STDIN (FORMAT BINARY)
