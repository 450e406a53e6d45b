-- What a batch read of a partition, in the transaction that wrote it.
INSERT INTO {ledger} (key, line) VALUES (%(key)s, %(line)s)
