"""`docs/reference/postgres-sources.md`, generated from the cases that `tests/scenario/silence/test_tables.py` runs.

`PYTHONPATH=tests python -m support.postgres_sources_page` writes the page.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from support.postgres_deeds import DEEDS, Deed
from support.unfit_sources import UNFIT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "postgres-sources.md"

_HEAD = """# What users do to followed tables, and what Sluice does

The log of Postgres contains changes of rows. It does not contain many other changes of a table. Therefore `ingress-cdc`
compares the catalogs with the facts that each table's records were made from. It does so at every start, whenever the
log shows a changed shape, and every 5 seconds (`SLUICE_WATCH_INTERVAL_S`). Each table is then in one of these states. A
change of one table does not affect the other tables of the source.

| state | means |
|---|---|
| followed, nothing to do | every change is published, and the records equal the table |
| followed, with a fault | every change is published and right. Rows that changed without an event are stale |
| blocked | no change of the table is published, because the records could be wrong |
| pending | the table is read completely as soon as possible, and its changes are published from then on |

`sluice lag` and `/readyz` show each table that is blocked, pending or has a fault, with the reason and the command that
repairs it. The metric `sluice_cdc_table` shows only the state.

```sh
sluice cdc resnapshot SOURCE --table SCHEMA.TABLE
```

The command reads the table again, [while the changes of all tables are published](snapshots.md). Later stages do not
write an unchanged row again, and they retract a deleted row.

**A column that is renamed, dropped or retyped concerns its mapping first.** Raw keeps the older records with the old
name, and a replay reads them. Change the mapping so that it reads both names, each with a default. Raise its version
([how](../how-to/change-a-mapping.md#a-column-gets-another-name)). Then read the table again. If you read the table
first, the mapper parks its records, or pauses its topic.

**The application comes first.** Postgres refuses updates and deletes of a published table whose replica identity it
cannot use. A table is checked before it is published. If a table becomes ineligible later, Sluice drops it from its own
publication within the same 5 seconds, so that the application can write. Sluice does not change a publication that the
pipeline file names. In that case the fault contains the statement to run.

Each row below is a test in `tests/scenario/silence/test_tables.py`. If a statement is named, run it first.
"""
_TAIL = """
## What is not noticed
Neither the log of Postgres nor the catalogs show these changes. The rows stay stale until the table is read again.
`sluice verify` finds them.

* **Names of other objects as values.** Values of the types `regclass`, `regproc`, `regprocedure`, `regoper`,
  `regoperator`, `regtype`, `regrole`, `regnamespace`, `regcollation`, `regconfig` and `regdictionary` are oids that
  Postgres prints as names. If the object is renamed, moved to another schema or dropped, the printed value of all rows
  with its oid changes. Store the number or the name instead: `ALTER TABLE t ALTER c TYPE oid USING c::oid`, or
  `TYPE text USING c::text`.
* **`TRUNCATE`, `SET UNLOGGED`, new rows and `SET LOGGED`**, all between two checks, of a table that has only numbers
  and times and is published with its schema. A table with a column of large values gets a fault.
* **Types whose values Postgres prints differently after an update of their extension** (`ALTER EXTENSION … UPDATE`).
"""
_COLUMNS = "| change | the table is | the fault contains | statement before it is read again |\n|---|---|---|---|\n"

_SETTINGS = """
## Settings
`sluice cdc check` finds these before a table is followed. Each finding has the SQL that repairs it, and
`tests/integration/cdc/test_cdc_check.py` runs that SQL ([how](../how-to/follow-a-database.md)).

| setting | the finding contains |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for group, deeds in groupby(DEEDS, key=lambda deed: deed.group):
        parts.append(f"\n## {group}\n{_COLUMNS}")
        parts += [_row(deed) for deed in deeds]
    parts.append(_SETTINGS)
    parts += [f"| {what} | {says} |\n" for what, (_, says) in UNFIT.items()]
    return "".join([*parts, _TAIL])


def _row(deed: Deed) -> str:
    fix = ""
    if deed.fix:
        fix = "restore the table with its rows" if "CREATE" in deed.fix else f"`{_plain(deed.fix)}`"
    return f"| {deed.what} | {deed.outcome.value} | {deed.says.format(t='t')} | {fix} |\n"


def _plain(sql: str) -> str:
    return " ".join(sql.format(t="t", publication="p").split())


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE} written\n")
