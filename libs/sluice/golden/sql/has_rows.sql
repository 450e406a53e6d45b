-- Returns one row if the table has rows, else none.
SELECT FROM {table} LIMIT 1
