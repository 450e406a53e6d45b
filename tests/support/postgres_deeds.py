"""Actions of Postgres users on followed tables, and the outcome of each: the cases of
`tests/scenario/silence/test_tables.py`, and the rows of `docs/reference/postgres-sources.md`.

In SQL, `{t}` is the table of the case. A case without `setup` has the table `PLAIN`. A check of the source may happen
between any two transactions: statements whose outcome would then differ are in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# The texts are stored out of line, so that an update of another column leaves them out.
PLAIN = """
CREATE TABLE {t} (id int PRIMARY KEY, notes text, other text, n int NOT NULL DEFAULT 0);
ALTER TABLE {t} ALTER notes SET STORAGE EXTERNAL, ALTER other SET STORAGE EXTERNAL;
INSERT INTO {t} SELECT g, repeat('n' || g, 4000), repeat('o' || g, 4000), g FROM generate_series(1, 4) g
"""
CODED = """
CREATE TABLE {t} (id int PRIMARY KEY, code int NOT NULL UNIQUE, n int NOT NULL DEFAULT 0);
INSERT INTO {t} SELECT g, g * 10, g FROM generate_series(1, 4) g
"""
PARTED = """
CREATE TABLE {t} (id int PRIMARY KEY, n int NOT NULL DEFAULT 0) PARTITION BY RANGE (id);
CREATE TABLE {t}_a PARTITION OF {t} FOR VALUES FROM (0) TO (100);
CREATE TABLE {t}_b PARTITION OF {t} FOR VALUES FROM (100) TO (200);
INSERT INTO {t} SELECT g, g FROM generate_series(1, 4) g;
INSERT INTO {t} SELECT g, g FROM generate_series(101, 104) g
"""
KINDS = """
CREATE TYPE {t}_kind AS ENUM ('a', 'b');
CREATE TABLE {t} (id int PRIMARY KEY, kind {t}_kind, n int NOT NULL DEFAULT 0);
INSERT INTO {t} SELECT g, 'a', g FROM generate_series(1, 4) g
"""
WITHIN_KINDS = """
CREATE TYPE {t}_kind AS ENUM ('a', 'b');
CREATE DOMAIN {t}_kinds AS {t}_kind[];
CREATE TYPE {t}_span AS RANGE (subtype = {t}_kind);
CREATE TYPE {t}_pair AS (kinds {t}_kinds, spans {t}_span[]);
CREATE TABLE {t} (id int PRIMARY KEY, pairs {t}_pair[], n int NOT NULL DEFAULT 0);
INSERT INTO {t} SELECT g, ARRAY[ROW(ARRAY['a'], ARRAY['[a,b]'])::{t}_pair], g FROM generate_series(1, 4) g
"""
PAIRS = """
CREATE TYPE {t}_pair AS (x int, y text);
CREATE TABLE {t} (id int PRIMARY KEY, pair {t}_pair, n int NOT NULL DEFAULT 0);
INSERT INTO {t} SELECT g, ROW(g, 'y')::{t}_pair, g FROM generate_series(1, 4) g
"""
SWAP = "ALTER TABLE {t} RENAME notes TO x; ALTER TABLE {t} RENAME other TO notes; ALTER TABLE {t} RENAME x TO other"
AGAIN = "ALTER PUBLICATION {publication} DROP TABLE {t}; ALTER PUBLICATION {publication} ADD TABLE {t}"
UPDATE = "UPDATE {t} SET n = n + 100 WHERE id = 1"
NO_WRITES = "SELECT"


class Outcome(Enum):
    EQUAL = "followed, nothing to do"
    FAULT = "followed, with a fault"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Deed:
    """`sql` is run on a followed table, then `writes` as its application; both must succeed.

    Then either the records equal the table (EQUAL), or a fault contains `says` and names the command that reads the
    table again; after `fix` that command makes them equal.
    """

    group: str
    what: str
    sql: str
    outcome: Outcome
    says: str = ""
    setup: str = PLAIN
    writes: str = UPDATE
    fix: str = ""


EQUAL, FAULT, BLOCKED = Outcome.EQUAL, Outcome.FAULT, Outcome.BLOCKED

_COLUMNS = "Columns"
_TYPES = "Types of columns"
_KEYS = "Keys and replica identities"
_TABLES = "Tables and their names"
_PUBLICATION = "Membership in the publication"
_PARTITIONS = "Partitions"
_UPKEEP = "Maintenance"
_VALUES = "Values"
_WRITES = "Writes and transactions"

DEEDS = [
    # ── columns ───────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(_COLUMNS, "a column is added without a default", "ALTER TABLE {t} ADD c int", EQUAL),
    Deed(
        _COLUMNS,
        "a column is added, then filled by an update",
        "ALTER TABLE {t} ADD c text; UPDATE {t} SET c = repeat('c', 9000)",
        EQUAL,
    ),
    Deed(_COLUMNS, "a column is added with a default", "ALTER TABLE {t} ADD c int DEFAULT 7", FAULT, "c was added"),
    Deed(
        _COLUMNS,
        "a column is added with a default that differs from row to row",
        "ALTER TABLE {t} ADD c float DEFAULT random()",
        FAULT,
        "c was added",
    ),
    Deed(
        _COLUMNS,
        "a column is added with a default that is dropped at once",
        "ALTER TABLE {t} ADD c int DEFAULT 7; ALTER TABLE {t} ALTER c DROP DEFAULT",
        FAULT,
        "c was added",
    ),
    Deed(
        _COLUMNS,
        "a column is added with a default that is dropped at once, and each row has another value",
        "ALTER TABLE {t} ADD c float DEFAULT random(); ALTER TABLE {t} ALTER c DROP DEFAULT",
        FAULT,
        "c was added",
    ),
    Deed(
        _COLUMNS,
        "an identity column is added",
        "ALTER TABLE {t} ADD c int GENERATED ALWAYS AS IDENTITY",
        FAULT,
        "c was added",
    ),
    Deed(
        _COLUMNS,
        "a stored generated column is added",
        "ALTER TABLE {t} ADD c int GENERATED ALWAYS AS (n * 2) STORED",
        EQUAL,
    ),
    Deed(_COLUMNS, "a column is dropped", "ALTER TABLE {t} DROP notes", FAULT, "notes was dropped"),
    Deed(_COLUMNS, "a column is renamed", "ALTER TABLE {t} RENAME notes TO remarks", FAULT, "called remarks now"),
    Deed(
        _COLUMNS,
        "two columns swap their names",
        f"BEGIN; {SWAP}; COMMIT",
        FAULT,
        "called other now",
    ),
    Deed(
        _COLUMNS,
        "two columns swap their names, are written, and swap them back, in one transaction",
        f"BEGIN; {SWAP}; UPDATE {{t}} SET notes = repeat('new', 3000) WHERE id = 1; {SWAP}; COMMIT",
        FAULT,
        "renamed",
    ),
    Deed(
        _COLUMNS,
        "a column is replaced: dropped, and another takes its name, in one transaction",
        "ALTER TABLE {t} ADD notes_new text; UPDATE {t} SET notes_new = repeat('new' || id, 3000); "
        "BEGIN; ALTER TABLE {t} DROP notes; ALTER TABLE {t} RENAME notes_new TO notes; COMMIT",
        FAULT,
        "notes was dropped",
    ),
    Deed(
        _COLUMNS,
        "a column is dropped and added again under its name",
        "ALTER TABLE {t} DROP notes; ALTER TABLE {t} ADD notes text",
        FAULT,
        "notes was dropped",
    ),
    Deed(
        _COLUMNS,
        "a varchar is made wider",
        "ALTER TABLE {t} ALTER c TYPE varchar(80)",
        EQUAL,
        setup=PLAIN + "; ALTER TABLE {t} ADD c varchar(20) DEFAULT 'c'",
    ),
    Deed(
        _COLUMNS,
        "a varchar becomes text",
        "ALTER TABLE {t} ALTER c TYPE text",
        EQUAL,
        setup=PLAIN + "; ALTER TABLE {t} ADD c varchar(20) DEFAULT 'c'",
    ),
    Deed(_COLUMNS, "an int becomes a bigint", "ALTER TABLE {t} ALTER n TYPE bigint", FAULT, "n changed its type"),
    Deed(
        _COLUMNS,
        "a text becomes jsonb",
        "ALTER TABLE {t} ALTER notes TYPE jsonb USING to_jsonb(notes)",
        FAULT,
        "notes changed its type",
    ),
    Deed(
        _COLUMNS,
        "a timestamp becomes a timestamptz, without a rewrite",
        "SET timezone = 'UTC'; ALTER TABLE {t} ALTER c TYPE timestamptz",
        FAULT,
        "c changed its type",
        setup=PLAIN + "; ALTER TABLE {t} ADD c timestamp DEFAULT '2026-01-01'",
    ),
    Deed(
        _COLUMNS,
        "values are rewritten by ALTER TYPE … USING under the same type",
        "ALTER TABLE {t} ALTER n TYPE int USING n * 2",
        FAULT,
        "n was altered",
    ),
    Deed(
        _COLUMNS,
        "NOT NULL, statistics, storage, compression of a column change",
        "ALTER TABLE {t} ALTER notes SET NOT NULL, ALTER n SET STATISTICS 50, ALTER other SET STORAGE EXTENDED",
        EQUAL,
    ),
    Deed(
        _COLUMNS,
        "a default is set and dropped on an existing column",
        "ALTER TABLE {t} ALTER notes SET DEFAULT 'x'; INSERT INTO {t} (id) VALUES (9); "
        "ALTER TABLE {t} ALTER notes DROP DEFAULT",
        EQUAL,
    ),
    # ── types ─────────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _TYPES,
        "a value of an enum is renamed",
        "ALTER TYPE {t}_kind RENAME VALUE 'a' TO 'x'",
        FAULT,
        "type of column kind",
        setup=KINDS,
    ),
    Deed(
        _TYPES,
        "a value of an enum is renamed, written, and renamed back, in one transaction",
        "BEGIN; ALTER TYPE {t}_kind RENAME VALUE 'b' TO 'x'; UPDATE {t} SET kind = 'x' WHERE id = 2; "
        "ALTER TYPE {t}_kind RENAME VALUE 'x' TO 'b'; COMMIT",
        FAULT,
        "type of column kind",
        setup=KINDS,
    ),
    Deed(
        _TYPES,
        "a value of an enum within arrays, domains, ranges and composites is renamed",
        "ALTER TYPE {t}_kind RENAME VALUE 'a' TO 'x'",
        FAULT,
        "type of column pairs",
        setup=WITHIN_KINDS,
    ),
    Deed(
        _TYPES,
        "a value of an enum in the primary key is renamed",
        "ALTER TYPE {t}_kind RENAME VALUE 'a' TO 'x'; UPDATE {t} SET n = 7 WHERE id = 'x'",
        BLOCKED,
        "type of its primary key column id",
        setup="CREATE TYPE {t}_kind AS ENUM ('a', 'b'); CREATE TABLE {t} (id {t}_kind PRIMARY KEY, n int); "
        "INSERT INTO {t} VALUES ('a', 1), ('b', 2)",
        writes="UPDATE {t} SET n = n + 100",
    ),
    Deed(
        _TYPES,
        "values are added to an enum, and it is commented and renamed",
        "ALTER TYPE {t}_kind ADD VALUE 'c'; ALTER TYPE {t}_kind ADD VALUE 'aa' BEFORE 'b'; "
        "COMMENT ON TYPE {t}_kind IS 'c'; ALTER TYPE {t}_kind RENAME TO {t}_sort; INSERT INTO {t} VALUES (9, 'c')",
        EQUAL,
        setup=KINDS,
    ),
    Deed(
        _TYPES,
        "an attribute of a composite type is dropped",
        "ALTER TYPE {t}_pair DROP ATTRIBUTE y",
        FAULT,
        "type of column pair",
        setup=PAIRS,
    ),
    Deed(
        _TYPES,
        "an attribute is added to a composite type",
        "ALTER TYPE {t}_pair ADD ATTRIBUTE z int",
        FAULT,
        "type of column pair",
        setup=PAIRS,
    ),
    Deed(
        _TYPES,
        "an attribute of a composite type is renamed: its values are spelled the same",
        "ALTER TYPE {t}_pair RENAME ATTRIBUTE y TO z",
        EQUAL,
        setup=PAIRS,
    ),
    # ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _KEYS,
        "another column becomes the primary key",
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ADD PRIMARY KEY (code)",
        BLOCKED,
        "primary key",
        setup=CODED,
    ),
    Deed(
        _KEYS,
        "the primary key gets a second column",
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ADD PRIMARY KEY (id, code)",
        BLOCKED,
        "primary key",
        setup=CODED,
    ),
    Deed(
        _KEYS,
        "the primary key's column is renamed",
        "ALTER TABLE {t} RENAME id TO ident",
        BLOCKED,
        "primary key",
        writes="UPDATE {t} SET n = 5 WHERE ident = 1",
    ),
    Deed(
        _KEYS,
        "the primary key is dropped",
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey",
        BLOCKED,
        "no primary key",
        fix="ALTER TABLE {t} ADD PRIMARY KEY (id)",
    ),
    Deed(
        _KEYS,
        "the primary key is made deferrable",
        "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
        BLOCKED,
        "DEFERRABLE",
        fix="ALTER TABLE {t} REPLICA IDENTITY FULL",
    ),
    Deed(_KEYS, "REPLICA IDENTITY FULL", "ALTER TABLE {t} REPLICA IDENTITY FULL", EQUAL),
    Deed(
        _KEYS,
        "REPLICA IDENTITY NOTHING",
        "ALTER TABLE {t} REPLICA IDENTITY NOTHING",
        BLOCKED,
        "NOTHING",
        fix="ALTER TABLE {t} REPLICA IDENTITY DEFAULT",
    ),
    Deed(
        _KEYS,
        "REPLICA IDENTITY USING INDEX of another column",
        "ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_code_key",
        BLOCKED,
        "REPLICA IDENTITY",
        setup=CODED,
        fix="ALTER TABLE {t} REPLICA IDENTITY DEFAULT",
    ),
    Deed(
        _KEYS,
        "REPLICA IDENTITY USING INDEX that contains the primary key",
        "CREATE UNIQUE INDEX {t}_both ON {t} (code, id); ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_both",
        EQUAL,
        setup=CODED,
    ),
    Deed(
        _KEYS,
        "the index of the REPLICA IDENTITY is dropped",
        "DROP INDEX {t}_both",
        BLOCKED,
        "index of its REPLICA IDENTITY was dropped",
        setup=CODED
        + "; CREATE UNIQUE INDEX {t}_both ON {t} (code, id); ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_both",
        fix="ALTER TABLE {t} REPLICA IDENTITY DEFAULT",
    ),
    Deed(
        _KEYS,
        "REPLICA IDENTITY FULL with a generated column",
        "ALTER TABLE {t} REPLICA IDENTITY FULL",
        BLOCKED,
        "c, which is not published",
        setup=PLAIN + "; ALTER TABLE {t} ADD c int GENERATED ALWAYS AS (n * 2) STORED",
        fix="ALTER TABLE {t} REPLICA IDENTITY DEFAULT",
    ),
    Deed(_KEYS, "a row's key changes", "UPDATE {t} SET id = id + 10 WHERE id <= 2", EQUAL, writes=NO_WRITES),
    Deed(
        _KEYS,
        "a row's key changes many times in a short time",
        "; ".join(f"UPDATE {{t}} SET id = {n + 1} WHERE id = {n}" for n in range(100, 120)),
        EQUAL,
        setup=PLAIN + "; UPDATE {t} SET id = 100 WHERE id = 1",
        writes=NO_WRITES,
    ),
    Deed(
        _KEYS,
        "two rows swap their keys in one transaction",
        "BEGIN; UPDATE {t} SET id = 0 WHERE id = 1; UPDATE {t} SET id = 1 WHERE id = 2; "
        "UPDATE {t} SET id = 2 WHERE id = 0; COMMIT",
        EQUAL,
        writes=NO_WRITES,
    ),
    # ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _TABLES,
        "the table is renamed",
        "ALTER TABLE {t} RENAME TO {t}_old",
        BLOCKED,
        "called public.{t}_old now",
        writes="UPDATE {t}_old SET n = 7 WHERE id = 1",
        fix="ALTER TABLE {t}_old RENAME TO {t}",
    ),
    Deed(
        _TABLES,
        "the table is swapped by rename",
        "CREATE TABLE {t}_new (LIKE {t} INCLUDING ALL); INSERT INTO {t}_new SELECT * FROM {t} WHERE id > 1; "
        "BEGIN; ALTER TABLE {t} RENAME TO {t}_old; ALTER TABLE {t}_new RENAME TO {t}; COMMIT",
        BLOCKED,
        "another table has its name now",
    ),
    Deed(
        _TABLES,
        "the table is dropped and created again",
        f"BEGIN; DROP TABLE {{t}}; {PLAIN}; COMMIT",
        BLOCKED,
        "another table has its name now",
    ),
    Deed(
        _TABLES,
        "the table is dropped, created again and added to the publication",
        f"BEGIN; DROP TABLE {{t}}; {PLAIN}; ALTER PUBLICATION {{publication}} ADD TABLE {{t}}; COMMIT",
        BLOCKED,
        "another table has its name now",
    ),
    Deed(
        _TABLES,
        "the table is dropped",
        "DROP TABLE {t}",
        BLOCKED,
        "does not exist any more",
        writes=NO_WRITES,
        fix=PLAIN,
    ),
    Deed(
        _TABLES,
        "the table moves to another schema",
        "CREATE SCHEMA {t}_s; ALTER TABLE {t} SET SCHEMA {t}_s",
        BLOCKED,
        "called {t}_s.{t} now",
        writes="UPDATE {t}_s.{t} SET n = 7 WHERE id = 1",
        fix="ALTER TABLE {t}_s.{t} SET SCHEMA public",
    ),
    Deed(
        _TABLES,
        "a child by inheritance is created and filled: its rows are not the table's own",
        "CREATE TABLE {t}_child () INHERITS ({t}); INSERT INTO {t}_child VALUES (50, 'x', 'y', 1)",
        EQUAL,
    ),
    Deed(
        _TABLES,
        "indexes, constraints, comments, grants are created and dropped",
        "CREATE INDEX ON {t} (n); ALTER TABLE {t} ADD CHECK (n < 100000); COMMENT ON TABLE {t} IS 'c'; "
        "GRANT SELECT ON {t} TO public; DROP INDEX {t}_n_idx",
        EQUAL,
    ),
    # ── publication ───────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _PUBLICATION,
        "the table is removed from the publication",
        "ALTER PUBLICATION {publication} DROP TABLE {t}",
        BLOCKED,
        "publication lacks it",
    ),
    Deed(
        _PUBLICATION,
        "the table is removed, changed, and added again",
        "BEGIN; ALTER PUBLICATION {publication} DROP TABLE {t}; DELETE FROM {t} WHERE id = 2; "
        "ALTER PUBLICATION {publication} ADD TABLE {t}; COMMIT",
        FAULT,
        "put back",
    ),
    Deed(
        _PUBLICATION,
        "a row filter is added to the table in the publication",
        f"BEGIN; {AGAIN} WHERE (id > 1); COMMIT",
        FAULT,
        "filter",
    ),
    Deed(
        _PUBLICATION,
        "a column list is added to the table in the publication",
        f"BEGIN; {AGAIN} (id, n); COMMIT",
        FAULT,
        "put back",
    ),
    Deed(
        _PUBLICATION,
        "a row filter on a column outside of the replica identity is added",
        f"BEGIN; {AGAIN} WHERE (n > 1); COMMIT",
        BLOCKED,
        "row filter uses column n",
    ),
    Deed(
        _PUBLICATION,
        "the table becomes a partition of another published table",
        "CREATE TABLE {t}_root (LIKE {t} INCLUDING ALL) PARTITION BY RANGE (id); "
        "ALTER TABLE {t}_root ATTACH PARTITION {t} FOR VALUES FROM (0) TO (1000); "
        "ALTER PUBLICATION {publication} ADD TABLE {t}_root",
        BLOCKED,
        "is a partition of public.{t}_root",
        fix="ALTER PUBLICATION {publication} DROP TABLE {t}_root",
    ),
    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _PARTITIONS,
        "a partition is added and filled",
        "CREATE TABLE {t}_c PARTITION OF {t} FOR VALUES FROM (200) TO (300); INSERT INTO {t} VALUES (201, 1)",
        EQUAL,
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a table with rows is attached",
        "CREATE TABLE {t}_c (LIKE {t} INCLUDING ALL); INSERT INTO {t}_c VALUES (201, 1); "
        "ALTER TABLE {t} ATTACH PARTITION {t}_c FOR VALUES FROM (200) TO (300)",
        FAULT,
        "attached with rows",
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a table is created, filled and attached in one transaction",
        "BEGIN; CREATE TABLE {t}_c (LIKE {t} INCLUDING ALL); INSERT INTO {t}_c VALUES (201, 1); "
        "ALTER TABLE {t} ATTACH PARTITION {t}_c FOR VALUES FROM (200) TO (300); COMMIT",
        FAULT,
        "attached with rows",
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "an empty table is attached",
        "CREATE TABLE {t}_c (LIKE {t} INCLUDING ALL); "
        "ALTER TABLE {t} ATTACH PARTITION {t}_c FOR VALUES FROM (200) TO (300); INSERT INTO {t} VALUES (201, 1)",
        EQUAL,
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a partition is detached",
        "ALTER TABLE {t} DETACH PARTITION {t}_b",
        FAULT,
        "1 partition was detached or dropped",
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a partition is detached concurrently",
        "ALTER TABLE {t} DETACH PARTITION {t}_b CONCURRENTLY",
        FAULT,
        "1 partition was detached or dropped",
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a partition is dropped",
        "DROP TABLE {t}_b",
        FAULT,
        "1 partition was detached or dropped",
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a partition is detached, changed and attached again, in one transaction",
        "BEGIN; ALTER TABLE {t} DETACH PARTITION {t}_b; UPDATE {t}_b SET n = 7; "
        "ALTER TABLE {t} ATTACH PARTITION {t}_b FOR VALUES FROM (100) TO (200); COMMIT",
        FAULT,
        "{t}_b was detached and attached again",
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "one partition is truncated",
        "TRUNCATE {t}_b",
        FAULT,
        "{t}_b was truncated",
        setup=PARTED,
    ),
    Deed(_PARTITIONS, "the table is truncated", "TRUNCATE {t}; INSERT INTO {t} VALUES (1, 1)", EQUAL, setup=PARTED),
    Deed(_PARTITIONS, "VACUUM FULL of a partition", "VACUUM FULL {t}_b", EQUAL, setup=PARTED),
    Deed(
        _PARTITIONS,
        "a row moves to another partition",
        "UPDATE {t} SET id = 150 WHERE id = 2",
        EQUAL,
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "rows are written to a partition itself",
        "INSERT INTO {t}_b VALUES (150, 1); DELETE FROM {t}_b WHERE id = 101",
        EQUAL,
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "REPLICA IDENTITY NOTHING on one partition",
        "ALTER TABLE {t}_a REPLICA IDENTITY NOTHING",
        BLOCKED,
        "{t}_a is published",
        setup=PARTED,
        fix="ALTER TABLE {t}_a REPLICA IDENTITY DEFAULT",
    ),
    Deed(
        _PARTITIONS,
        "REPLICA IDENTITY FULL on one partition",
        "ALTER TABLE {t}_a REPLICA IDENTITY FULL; DELETE FROM {t} WHERE id = 2",
        EQUAL,
        setup=PARTED,
    ),
    Deed(
        _PARTITIONS,
        "a column with a default is added to the table and its partitions",
        "ALTER TABLE {t} ADD c int DEFAULT 7",
        FAULT,
        "c was added",
        setup=PARTED,
    ),
    # ── maintenance ───────────────────────────────────────────────────────────────────────────────────────────────
    Deed(_UPKEEP, "VACUUM FULL", "VACUUM FULL {t}", EQUAL),
    Deed(_UPKEEP, "CLUSTER", "CLUSTER {t} USING {t}_pkey", EQUAL),
    Deed(_UPKEEP, "REINDEX CONCURRENTLY", "REINDEX TABLE CONCURRENTLY {t}", EQUAL),
    Deed(_UPKEEP, "ANALYZE, and settings of the table", "ANALYZE {t}; ALTER TABLE {t} SET (fillfactor = 70)", EQUAL),
    Deed(_UPKEEP, "TRUNCATE", "TRUNCATE {t}; INSERT INTO {t} VALUES (1, 'a', 'b', 1)", EQUAL),
    Deed(
        _UPKEEP,
        "the table is truncated and loaded again in one transaction, with COPY FREEZE's effects",
        "BEGIN; TRUNCATE {t}; INSERT INTO {t} SELECT g, 'n', 'o', g FROM generate_series(1, 3) g; COMMIT",
        EQUAL,
    ),
    # ── values ────────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _VALUES,
        "a text equals the placeholder of an unavailable value",
        "UPDATE {t} SET notes = '__debezium_unavailable_value' WHERE id = 2",
        EQUAL,
    ),
    Deed(
        _VALUES,
        "int2vector and oidvector, arrays by category without braces in their text",
        "INSERT INTO {t} VALUES (5, '1 2 3', '4 5', 0); UPDATE {t} SET v = '7 8' WHERE id = 1",
        EQUAL,
        setup="CREATE TABLE {t} (id int PRIMARY KEY, v int2vector, o oidvector, n int);"
        " INSERT INTO {t} VALUES (1, '1 2', '3 4', 1)",
    ),
    Deed(
        _VALUES,
        "NaN, infinities, dates before Christ and far years",
        "INSERT INTO {t} VALUES (1, 'NaN', 'Infinity', '-infinity', '0044-03-15 BC', '99999-01-01', 0)",
        EQUAL,
        setup="CREATE TABLE {t} (id int PRIMARY KEY, a numeric, b float, c timestamptz, d date, e timestamp, n int)",
    ),
    Deed(
        _VALUES,
        "money, bit strings, ranges, intervals, tsvector, geometry, network addresses",
        "INSERT INTO {t} VALUES (1, 12.5, B'101', '{{[1,5)}}', '1 mon', 'a b', '(1,2),(0,0)', '::1', 0)",
        EQUAL,
        setup="CREATE TABLE {t} (id int PRIMARY KEY, a money, b bit(3), c int4multirange, d interval,"
        " f tsvector, g box, h inet, n int)",
    ),
    Deed(
        _VALUES,
        "arrays of boxes, of domains, of composites, with bounds and dimensions",
        "INSERT INTO {t} VALUES (1, ARRAY[box '(1,2),(0,0)'], '[0:1]={{a,NULL}}', '{{{{1}},{{2}}}}', 0)",
        EQUAL,
        setup="CREATE TABLE {t} (id int PRIMARY KEY, a box[], b text[], c int[][], n int)",
    ),
    Deed(
        _VALUES,
        "a row becomes larger than 8 MB",
        "UPDATE {t} SET notes = repeat('x', 9000000) WHERE id = 1",
        FAULT,
        "a row is larger than a raw topic takes",
        fix="UPDATE {t} SET notes = 'small again' WHERE id = 1",
    ),
    Deed(
        _VALUES,
        "a row of 5 MB is updated under REPLICA IDENTITY FULL",
        "UPDATE {t} SET notes = repeat('x', 5000000) WHERE id = 1; UPDATE {t} SET n = 5 WHERE id = 1",
        EQUAL,
        setup=PLAIN + "; ALTER TABLE {t} REPLICA IDENTITY FULL",
    ),
    # ── writes ────────────────────────────────────────────────────────────────────────────────────────────────────
    Deed(
        _WRITES,
        "a transaction and a savepoint are rolled back",
        "BEGIN; INSERT INTO {t} VALUES (10); ROLLBACK; BEGIN; INSERT INTO {t} VALUES (11); SAVEPOINT s; "
        "INSERT INTO {t} VALUES (12); ROLLBACK TO s; COMMIT",
        EQUAL,
    ),
    Deed(
        _WRITES,
        "INSERT … ON CONFLICT and MERGE",
        "INSERT INTO {t} VALUES (1, 'x', 'y', 3) ON CONFLICT (id) DO UPDATE SET n = 77; "
        "MERGE INTO {t} USING (VALUES (2), (20)) AS v(id) ON {t}.id = v.id WHEN MATCHED THEN DELETE "
        "WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm', 'm', 0)",
        EQUAL,
    ),
    Deed(
        _WRITES,
        "a row is inserted, changed and deleted in one transaction",
        "BEGIN; INSERT INTO {t} VALUES (10, 'a', 'b', 1); UPDATE {t} SET n = 2 WHERE id = 10; "
        "DELETE FROM {t} WHERE id = 10; COMMIT",
        EQUAL,
    ),
    Deed(
        _WRITES,
        "rows are written with session_replication_role = replica",
        "SET session_replication_role = replica; INSERT INTO {t} VALUES (30, 'r', 'r', 1); "
        "RESET session_replication_role",
        EQUAL,
    ),
    Deed(
        _WRITES,
        "a trigger changes what is written",
        "UPDATE {t} SET n = 1 WHERE id = 2",
        EQUAL,
        setup=PLAIN + "; CREATE FUNCTION {t}_f() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.n := NEW.n * 3; RETURN NEW; END $$; "
        "CREATE TRIGGER {t}_g BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION {t}_f()",
    ),
    Deed(
        _WRITES,
        "the application writes logical messages of its own",
        "SELECT pg_logical_emit_message(true, 'app', 'x'); SELECT pg_logical_emit_message(false, 'app', 'x')",
        EQUAL,
    ),
    Deed(
        _WRITES,
        "a row with an unchanged large value moves to another key and back",
        "UPDATE {t} SET id = 90 WHERE id = 1; UPDATE {t} SET id = 1 WHERE id = 90",
        EQUAL,
    ),
]


def table_of(number: int) -> str:
    """The name of the table of the case with that number."""
    return f"t{number:02}"
