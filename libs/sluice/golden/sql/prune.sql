-- Deletes tombstones older than 120 days, since no older change can arrive any more, and ledger lines older than 30.
WITH tombstones AS (
    DELETE FROM {tombstones} WHERE at < now() - interval '120 days'
)
DELETE FROM {ledger} WHERE at < now() - interval '30 days'
