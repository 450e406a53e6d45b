-- Fills a table of a batch.
COPY {into} ({columns}) FROM STDIN
