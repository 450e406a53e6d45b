-- The triggers and rules that can drop a row of a statement: BEFORE triggers FOR EACH ROW, and all rules.
SELECT 'trigger ' || quote_ident(t.tgname) || ' (function ' || t.tgfoid::regproc || ')'
FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = {table}::regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND t.tgtype & 3 = 3 AND t.tgtype & %(events)s <> 0
UNION ALL
SELECT 'rule ' || quote_ident(r.rulename) FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = {table}::regclass
