"""What applications do to their tables: statements, by the promise that they are about."""

from __future__ import annotations

from support.differential import Step, Workload

LARGE = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n)"
"""About 10,000 characters: Postgres stores them out of line."""


def _transaction(*statements: str, session: str = "main") -> list[Step]:
    return [(session, statement) for statement in ("BEGIN", *statements, "COMMIT")]


def _people(table: str, identity: str = "DEFAULT") -> list[str]:
    return [
        f"CREATE TABLE {table} (id int PRIMARY KEY, name text NOT NULL, amount int, notes text)",
        f"CREATE UNIQUE INDEX {table}_name ON {table} (name)",
        f"ALTER TABLE {table} ALTER COLUMN notes SET STORAGE EXTERNAL",
        f"ALTER TABLE {table} REPLICA IDENTITY {identity}",
        f"INSERT INTO {table} VALUES (1, 'a', 1, 'x'), (2, 'b', NULL, NULL)",
    ]


def _changes(table: str) -> list[Step]:
    return [
        f"INSERT INTO {table} VALUES (3, 'c', 3, {LARGE})",
        f"UPDATE {table} SET amount = 4 WHERE id = 3",  # the large value is left out
        f"UPDATE {table} SET amount = 4 WHERE id = 3",  # nothing changes
        f"UPDATE {table} SET notes = 'small' WHERE id = 3",
        f"UPDATE {table} SET notes = NULL WHERE id = 3",
        f"UPDATE {table} SET name = 'd' WHERE id = 1",
        f"UPDATE {table} SET id = 10 WHERE id = 1",
        f"UPDATE {table} SET notes = {LARGE} WHERE id = 2",
        f"UPDATE {table} SET id = 20 WHERE id = 2",  # a new key, and the large value is left out
        f"UPDATE {table} SET id = 21, notes = 'new' WHERE id = 20",
        f"DELETE FROM {table} WHERE id = 3",
        *_transaction(
            f"INSERT INTO {table} VALUES (5, 'e')",
            f"UPDATE {table} SET amount = 6 WHERE id = 5",
            f"DELETE FROM {table} WHERE id = 5",
            f"INSERT INTO {table} VALUES (5, 'f')",
        ),
        f"UPDATE {table} SET amount = 7",
        f"DELETE FROM {table}",
    ]


def _identity(kind: str, identity: str) -> Workload:
    table = f"identity_{kind}"
    return Workload(table, [f"public.{table}"], _people(table, identity), _changes(table))


IDENTITIES = [_identity("default", "DEFAULT"), _identity("full", "FULL")]
INDEX_IDENTITY = _identity("index", "USING INDEX identity_index_name")

KEYS = [
    Workload(
        "composite_key",
        ["public.composite"],
        [
            "CREATE TABLE composite (v text, b int, a text, c date, PRIMARY KEY (a, b, c))",
            "INSERT INTO composite VALUES ('x', 1, 'k', '2024-01-31')",
        ],
        [
            "INSERT INTO composite VALUES ('y', 2, 'k', '2024-01-31')",
            "UPDATE composite SET v = 'z'",
            "UPDATE composite SET b = 3 WHERE b = 1",
            "DELETE FROM composite",
        ],
    ),
    Workload(
        "odd_keys",
        ["public.uuid_key", "public.number_key", "public.time_key", "public.bytes_key"],
        [
            "CREATE TABLE uuid_key (id uuid PRIMARY KEY)",
            "CREATE TABLE number_key (id numeric(10,2) PRIMARY KEY)",
            "CREATE TABLE time_key (id timestamptz, at timestamp, PRIMARY KEY (id, at))",
            "CREATE TABLE bytes_key (id bytea PRIMARY KEY)",
        ],
        [
            "INSERT INTO uuid_key VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')",
            "INSERT INTO number_key VALUES (1.5)",
            "INSERT INTO time_key VALUES ('2024-01-31 10:00Z', '2024-01-31 10:00')",
            "INSERT INTO bytes_key VALUES ('\\x00ff')",
            *(f"DELETE FROM {kind}_key" for kind in ("uuid", "number", "time", "bytes")),
        ],
    ),
    Workload(
        "swapped_keys",
        ["public.swapped"],
        ["CREATE TABLE swapped (id int PRIMARY KEY, v text)", "INSERT INTO swapped VALUES (1, 'a'), (2, 'b')"],
        _transaction(
            "UPDATE swapped SET id = 3 WHERE id = 1",
            "UPDATE swapped SET id = 1 WHERE id = 2",
            "UPDATE swapped SET id = 2 WHERE id = 3",
        ),
    ),
]

DEFINITIONS = [
    Workload(
        "columns_change",
        ["public.changing"],
        ["CREATE TABLE changing (id int PRIMARY KEY, a text, b int)", "INSERT INTO changing VALUES (1, 'x', 1)"],
        [
            "INSERT INTO changing VALUES (2, 'x', 2)",
            "ALTER TABLE changing ADD COLUMN c text DEFAULT 'new'",
            "UPDATE changing SET b = 3 WHERE id = 1",
            "ALTER TABLE changing DROP COLUMN a",
            "INSERT INTO changing VALUES (3, 3, 'c')",
            "ALTER TABLE changing RENAME COLUMN b TO bb",
            "UPDATE changing SET bb = 4",
            "ALTER TABLE changing ALTER COLUMN bb TYPE bigint",
            "INSERT INTO changing VALUES (4, 5000000000)",
            "ALTER TABLE changing ALTER COLUMN bb TYPE text",
            "INSERT INTO changing VALUES (5, 'text')",
            *_transaction(
                "INSERT INTO changing VALUES (6, '6')",
                "ALTER TABLE changing ADD COLUMN d int",
                "INSERT INTO changing VALUES (7, '7', 'c', 7)",
            ),
            "DELETE FROM changing",
        ],
    ),
    Workload(
        "defaults_and_nulls",
        ["public.defaulted"],
        [
            "CREATE TABLE defaulted (id int PRIMARY KEY, a text DEFAULT 'd', b int DEFAULT 7,"
            " c timestamptz DEFAULT now(), d int NOT NULL DEFAULT 3, e numeric(5,2) DEFAULT 1.5, f bool DEFAULT true,"
            " g date DEFAULT '2024-01-31')",
            "INSERT INTO defaulted (id) VALUES (1)",
            "INSERT INTO defaulted VALUES (2, NULL, NULL, NULL, 1, NULL, NULL, NULL)",
        ],
        [
            "INSERT INTO defaulted (id) VALUES (3)",
            "INSERT INTO defaulted VALUES (4, NULL, NULL, NULL, 1, NULL, NULL, NULL)",
            "UPDATE defaulted SET a = NULL, b = NULL WHERE id = 3",
            "DELETE FROM defaulted",
        ],
    ),
    Workload(
        "deletes_with_default_identity",
        ["public.not_null"],
        [
            "CREATE TABLE not_null (id int PRIMARY KEY, a int NOT NULL, b text NOT NULL, c boolean NOT NULL,"
            " d timestamptz NOT NULL, e numeric(5,2) NOT NULL, f int, g bigint NOT NULL, h float8 NOT NULL,"
            " i date NOT NULL, j time NOT NULL, k bytea NOT NULL, l uuid NOT NULL, m jsonb NOT NULL,"
            " n int[] NOT NULL, o numeric NOT NULL, p interval NOT NULL)",
            "INSERT INTO not_null VALUES (1, 1, 'x', true, '2024-01-31Z', 1.5, 1, 1, 1, '2024-01-31', '10:00', '\\x01',"
            " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{}', '{1}', 1, '1 day')",
        ],
        ["UPDATE not_null SET id = 2", "DELETE FROM not_null"],
    ),
    Workload(
        "generated_columns",
        ["public.generated"],
        [
            "CREATE TABLE generated (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)",
            "INSERT INTO generated VALUES (1, 1)",
        ],
        ["INSERT INTO generated VALUES (2, 2)", "UPDATE generated SET a = 3", "DELETE FROM generated"],
    ),
    Workload(
        "quoted_names",
        ["public.Mixed-Case"],
        [
            'CREATE TABLE "Mixed-Case" ("Id" int PRIMARY KEY, "a b" text, "c.d" int, "e""f" int, "ü%s" int)',
            "INSERT INTO \"Mixed-Case\" VALUES (1, 'x', 1, 1, 1)",
        ],
        [
            "INSERT INTO \"Mixed-Case\" VALUES (2, 'x', 1, 1, 1)",
            'UPDATE "Mixed-Case" SET "Id" = 3 WHERE "Id" = 1',
            'DELETE FROM "Mixed-Case"',
        ],
    ),
]

TRANSACTIONS = [
    Workload(
        "transactions",
        ["public.ledger", "public.other"],
        [
            "CREATE TABLE ledger (id int PRIMARY KEY, v text)",
            "CREATE TABLE other (id int PRIMARY KEY)",
            "CREATE TABLE not_followed (id int PRIMARY KEY)",
        ],
        [
            *_transaction(
                "INSERT INTO ledger SELECT n, 'x' FROM generate_series(1, 5) n", "INSERT INTO other VALUES (1)"
            ),
            "INSERT INTO not_followed VALUES (1)",
            *_transaction(
                "INSERT INTO ledger VALUES (10, 'kept')",
                "SAVEPOINT s",
                "INSERT INTO ledger VALUES (11, 'undone')",
                "ROLLBACK TO s",
                "INSERT INTO ledger VALUES (12, 'kept')",
                "SAVEPOINT t",
                "UPDATE ledger SET v = 'inner' WHERE id = 12",
                "RELEASE t",
            ),
            "BEGIN",
            "INSERT INTO ledger VALUES (13, 'aborted')",
            "ROLLBACK",
            ("one", "BEGIN"),
            ("two", "BEGIN"),
            ("one", "INSERT INTO ledger VALUES (20, 'one')"),
            ("two", "INSERT INTO ledger VALUES (30, 'two')"),
            ("one", "UPDATE ledger SET v = 'one again' WHERE id = 20"),
            ("two", "INSERT INTO other VALUES (2)"),
            ("two", "COMMIT"),
            ("one", "INSERT INTO ledger VALUES (21, 'late')"),
            ("one", "COMMIT"),
            *_transaction("INSERT INTO ledger SELECT n, 'large' FROM generate_series(1000, 3000) n"),
            *_transaction("DELETE FROM ledger WHERE id >= 1000"),
        ],
    ),
    Workload(
        "two_phase",
        ["public.prepared"],
        ["CREATE TABLE prepared (id int PRIMARY KEY)"],
        [
            ("one", "BEGIN"),
            ("one", "INSERT INTO prepared VALUES (1)"),
            ("one", "PREPARE TRANSACTION 'differential_1'"),
            "INSERT INTO prepared VALUES (2)",
            "COMMIT PREPARED 'differential_1'",
            ("one", "BEGIN"),
            ("one", "INSERT INTO prepared VALUES (3)"),
            ("one", "PREPARE TRANSACTION 'differential_2'"),
            "ROLLBACK PREPARED 'differential_2'",
        ],
    ),
    Workload(
        "truncates",
        ["public.emptied", "public.emptied_too"],
        [
            "CREATE TABLE emptied (id int PRIMARY KEY)",
            "CREATE TABLE emptied_too (id int PRIMARY KEY, other int REFERENCES emptied)",
            "INSERT INTO emptied VALUES (1)",
        ],
        [
            "INSERT INTO emptied VALUES (2)",
            "INSERT INTO emptied_too VALUES (1, 2)",
            "TRUNCATE emptied CASCADE",
            *_transaction(
                "INSERT INTO emptied VALUES (3)", "TRUNCATE emptied_too", "INSERT INTO emptied_too VALUES (4, 3)"
            ),
            "TRUNCATE emptied, emptied_too RESTART IDENTITY",
        ],
    ),
    Workload(
        "messages",
        ["public.around_messages"],
        ["CREATE TABLE around_messages (id int PRIMARY KEY)"],
        [
            "SELECT pg_logical_emit_message(true, 'p', 'inside')",
            "SELECT pg_logical_emit_message(false, 'p', 'outside')",
            *_transaction(
                "INSERT INTO around_messages VALUES (1)",
                "SELECT pg_logical_emit_message(true, 'q', '\\x00ff'::bytea)",
                "INSERT INTO around_messages VALUES (2)",
            ),
            "SELECT pg_logical_emit_message(true, '', '')",
        ],
        ["message"],
    ),
]

WORKLOADS = [*IDENTITIES, *KEYS, *DEFINITIONS, *TRANSACTIONS]
