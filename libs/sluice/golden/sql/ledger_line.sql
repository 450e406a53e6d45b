-- Writes the ledger line of a partition, in the transaction of its rows.
INSERT INTO {ledger} (key, line) VALUES (%(key)s, %(line)s)
