-- Writes the ledger lines of partitions, in the transaction of their rows and in their order.
INSERT INTO {ledger} (key, line)
SELECT n.key, n.line::jsonb
FROM unnest(%(keys)s::text[], %(lines)s::text[]) WITH ORDINALITY AS n(key, line, number)
ORDER BY n.number
