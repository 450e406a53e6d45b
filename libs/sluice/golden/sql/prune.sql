-- Tombstones and ledger lines older than anything that could still contradict them.
WITH tombstones AS (
    DELETE FROM {tombstones} WHERE at < now() - interval '120 days'
)
DELETE FROM {ledger} WHERE at < now() - interval '30 days'
