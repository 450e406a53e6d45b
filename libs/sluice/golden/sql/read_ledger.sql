-- The ledger of a sink, in order.
SELECT key, line FROM {ledger} ORDER BY id
