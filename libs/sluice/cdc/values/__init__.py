"""Writers of column values: each converts Postgres' text of a value to JSON. `sluice.cdc.column_json` chooses them."""
