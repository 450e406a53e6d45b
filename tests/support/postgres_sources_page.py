"""`docs/reference/postgres-sources.md`, written from the cases whose tests show what it says.

`python -m support.postgres_sources_page` (with `tests` on the path) writes it anew.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from support.postgres_deeds import DEEDS, Deed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "postgres-sources.md"

_HEAD = """# What is done to a followed table, and what Sluice does

Postgres' log tells row changes. Of much else that is done to a table it tells nothing. `ingress-cdc` compares each
table it follows with what the table's records were made from: at every start, whenever the log tells a changed shape,
and every 5 seconds (`SLUICE_WATCH_INTERVAL_S`). Each table ends in one of these states; the other tables of the source
go on.

| state | means |
|---|---|
| followed, nothing to do | every change is published, and the records amount to the table |
| followed, with a fault | every change is published and right; rows that changed without an event are stale |
| blocked | nothing of the table is published any more: what would be could be wrong |
| pending | the table is to be read whole, and is as soon as it can be |

A fault, a blocked and a pending table stand in `sluice lag` and `/readyz` with the reason and the command that makes the
table whole, until that is done (the metric `sluice_cdc_table` shows the state alone, and calls a blocked table `held`):

```sh
sluice cdc resnapshot SOURCE --table SCHEMA.TABLE
```

The table is read again from a snapshot of its own; what is as it was is not written again downstream, and what is gone
is retracted. While it is read the source's other tables wait.

**A column that is renamed, dropped or retyped concerns its mapping first.** Raw keeps records of before, under the old
name, and a replay reads them: let the mapping read both names, each with a default, under a higher version
([how](../how-to/change-a-mapping.md#a-column-gets-another-name)). Then read
the table again. In the other order the mapper parks the table's records, or pauses the table's topic.

**The application comes first.** Postgres refuses updates and deletes of a published table whose replica identity it
cannot use. A table is judged before it is published; where one becomes unfit later, it is taken out of the publication
that Sluice made, within the same 5 seconds, so that its application can write. (A publication that the pipeline file
names is yours: there the fault holds the statement to run.)

Each row below is a test: `tests/scenario/silence/test_tables.py`.
"""
_TAIL = """
## What is not noticed
Postgres tells of these neither in its log nor in what the catalogs say of the table. The rows stay as they were until
the table is read again; `sluice verify` finds them.

* **Names of other objects as values.** Values of the types `regclass`, `regproc`, `regprocedure`, `regoper`,
  `regoperator`, `regtype`, `regrole`, `regnamespace`, `regcollation`, `regconfig` and `regdictionary` are oids that
  read as a name. Where the object is renamed, moved to another schema or dropped, all rows that hold it read otherwise.
  Keep the number or the name: `ALTER TABLE t ALTER c TYPE oid USING c::oid`, or `TYPE text USING c::text`.
* **`TRUNCATE`, `SET UNLOGGED`, rows, `SET LOGGED`**, all between two looks, of a table of numbers and times alone that
  is published with its schema. (A table that can hold large values has a fault.)
* **Types that read otherwise after an update of their extension** (`ALTER EXTENSION … UPDATE`).
"""
_COLUMNS = "| done to a followed table | the table is | because | before it is read again |\n|---|---|---|---|\n"


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for group, deeds in groupby(DEEDS, key=lambda deed: deed.group):
        parts.append(f"\n## {group}\n{_COLUMNS}")
        parts += [_row(deed) for deed in deeds]
    return "".join([*parts, _TAIL])


def _row(deed: Deed) -> str:
    mend = ""
    if deed.mend:
        mend = "restore the table with its rows" if "CREATE" in deed.mend else f"`{_plain(deed.mend)}`"
    return f"| {deed.what} | {deed.outcome.value} | {deed.says.format(t='t')} | {mend} |\n"


def _plain(sql: str) -> str:
    return " ".join(sql.format(t="t", publication="p").split())


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE} written\n")
