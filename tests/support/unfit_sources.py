"""Settings with which a source cannot be followed: the cases of `tests/integration/cdc/test_cdc_check.py`, and rows of
`docs/reference/postgres-sources.md`. In SQL, `{p}` is the publication and `{role}` the role of the dsn."""

from __future__ import annotations

# A table with this change is in no publication, and Postgres would refuse the change of a published table.
UNPUBLISHED = ("SELECT", "ALTER TABLE employee SET UNLOGGED")
# What a user or an administrator did, and what the finding says of it.
UNFIT: dict[str, tuple[str, str]] = {
    "REPLICA IDENTITY NOTHING": ("ALTER TABLE employee REPLICA IDENTITY NOTHING", "NOTHING"),
    "an unlogged table": ("ALTER TABLE employee SET UNLOGGED", "unlogged"),
    "a replica identity without the primary key": (
        "ALTER TABLE employee ADD UNIQUE (version); ALTER TABLE employee REPLICA IDENTITY USING INDEX "
        "employee_version_key",
        "does not contain the primary key",
    ),
    "a publication that does not publish updates": (
        "CREATE PUBLICATION {p} FOR TABLE employee WITH (publish = 'insert')",
        "does not publish all of insert",
    ),
    "a row filter on a column outside of the replica identity": (
        "CREATE PUBLICATION {p} FOR TABLE employee WHERE (version > 1)",
        "row filter uses column version",
    ),
    "a publication without the table, owned by another role": ("CREATE PUBLICATION {p}", "it lacks public.employee"),
    "no publication, and a role that may not create it": ("SELECT", "it does not exist, and role"),
    "a role without SELECT": ("REVOKE SELECT ON employee FROM {role}", "may not read column id"),
    "a role without USAGE of the schema": ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "may not use its schema"),
    "a role without REPLICATION": ("ALTER ROLE {role} NOREPLICATION", "lacks REPLICATION"),
    "row security for the role": ("ALTER TABLE employee ENABLE ROW LEVEL SECURITY", "row security hides rows"),
    "a role that may not write messages to the log": (
        "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text, boolean) FROM PUBLIC",
        "may not write heartbeats",
    ),
}
