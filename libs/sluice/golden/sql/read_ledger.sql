-- What each transaction of a sink read, in their order.
SELECT key, line FROM {ledger} ORDER BY id
