"""Where Debezium misstates a row, so that Sluice's events differ from its: `docs/reference/debezium-differences.md`.

The differential tests accept these differences and no others, and each must be seen. With `debezium_exact` they accept
none. `PYTHONPATH=tests:. python -m support.debezium_differences` writes the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.event_comparison import Difference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "debezium-differences.md"


class Known(NamedTuple):
    """A difference. `workload`: the parameter of the test that shows it. `places`: a pattern of the members that
    differ. `case`, `debezium`, `sluice`: the row of the page."""

    workload: str
    places: str
    case: str
    debezium: str
    sluice: str


KNOWN = (
    Known(
        "defaults_and_nulls",
        r"value\.(after|before)\.[abcdefg]",
        "NULL in a column with a default, and a column that the log does not contain",
        "the default; for `now()` the time 1970-01-01",
        "`null`",
    ),
    Known(
        "deletes_with_default_identity",
        r"value\.before\.[a-p]",
        "`before` of a delete: a column that is NOT NULL and not in the replica identity",
        "zero, `false`, an empty text or array, the time 1970-01-01",
        "`null`: the log does not contain the value",
    ),
    Known("identity_default", r"value\.before\.name", "the same, of a change of the key", '`""`', "`null`"),
    Known("columns_change", r"value\.before\.c", "the same, of a column with a default", "the default", "`null`"),
    Known(
        "identity_index",
        "record",
        "a table whose replica identity is an index without the primary key",
        'deletes of the key `{"id":0}`, and changes of the key that did not happen',
        "nothing: the table is blocked, with the reason",
    ),
    Known(
        "generated_columns",
        r"value\.after\.twice",
        "a stored generated column",
        "in rows of snapshots, not in changes",
        "nowhere",
    ),
    Known("special_numerics", r"value\.after\.free", "`numeric`: NaN and infinities", "`null`", "`NaN`, `Infinity`"),
    Known("special_declared", r"value\.after\.amount", "`numeric(10,2)`: NaN", "`null`", "`NaN`"),
    Known(
        "numbers",
        r"value\.after\.negative_scale",
        "`numeric(3,-2)`",
        "the digits of a number with the scale 2046",
        "the digits of the number with the scale -2",
    ),
    Known(
        "times",
        r"value\.after\.old_day",
        "`date` before the year 1 in a snapshot",
        "another day",
        "the day, as in changes",
    ),
    Known("arrays", r"value\.after\.days", "`date[]`: a day before the year 1", "another day", "the day"),
    Known(
        "times", r"value\.after\.late_at", "`timestamp` after the year 294246", "a negative number", "the time in µs"
    ),
    Known(
        "times",
        r"value\.after\.(clock_zone|midnight_zone|clock_zone_ms)",
        "`timetz`",
        "the time in UTC, without the offset; `null` if the offset has seconds",
        "the time with its offset",
    ),
    Known("arrays", r"value\.after\.clocks_zone", "`timetz[]`", "times in UTC", "times with their offsets"),
    Known(
        "times",
        r"value\.after\.long_during",
        "`interval` of more µs than 64 bits have",
        "the largest or the smallest number",
        "the text of Postgres",
    ),
    Known(
        "infinite_days",
        r"value\.after\.day",
        "`date`: infinity and -infinity",
        "days in the years 5,877,000 and -5,877,000; others in a snapshot",
        "the largest and the smallest 32-bit number",
    ),
    Known(
        "infinite_times",
        r"value\.after\.at",
        "`timestamp`: infinity and -infinity",
        "the largest and the smallest 64-bit number, but `9223372036825200000` for `timestamp(3)`",
        "the numbers of `timestamp(3)` for both",
    ),
    Known(
        "infinite_intervals",
        r"value\.after\.during",
        "`interval`: infinity and -infinity",
        "`0`",
        "the largest and the smallest 64-bit number",
    ),
    Known(
        "nested_arrays",
        r"value\.after\.(grid|words)",
        "an array of more than one dimension",
        "`null` for each inner array, or a text with its address in the memory of Java",
        "nested arrays",
    ),
    Known("arrays", r"value\.after\.bits", "`bit(3)[]`", "`null`", "an array"),
    Known("own_types", r"value\.after\.moods", "an array of an enum", "`null`", "an array"),
    Known("texts", r"value\.after\.system", "`name`", "`null` in changes, the text in snapshots", "the text"),
    Known("places", r"value\.after\.(oids|int2s)", "`oidvector`, `int2vector`", "`[]`", "the text of Postgres"),
    Known(
        "places",
        r"value\.after\.(log_place|snapshot|old_snapshot|transaction|old_transaction|command|row_place|class|type)",
        "`pg_lsn`, `pg_snapshot`, `xid`, `cid`, `tid`, `regclass` and the like",
        "no column",
        "the text of Postgres",
    ),
    Known(
        "texts", r"value\.after\.(search|path_in_json)", "`tsquery`, `jsonpath`", "no column", "the text of Postgres"
    ),
    Known("ranges", r"value\.after\.(wholes|numbers|moments)", "multiranges", "no column", "the text of Postgres"),
    Known(
        "own_types",
        r"value\.after\.(percents|place|places|span)",
        "composite types, own range types, arrays of domains and of composite types",
        "no column",
        "the text of Postgres, or an array",
    ),
    Known(
        "arrays",
        r"value\.after\.(cash|durings|points)",
        "`money[]`, `interval[]`, `point[]`",
        "no column",
        "an array",
    ),
)

# Not written yet; each is removed when it is.
_PENDING = (
    ("", r"headers\.__debezium\.context\..*"),
    ("", r"value\.(payload\.)?source\.(snapshot|txId)"),
    ("messages", r"record|value\.(payload\.)?source\.sequence"),
    ("generated_columns", r"value\.(payload\.)?after\.twice"),
    ("nested_arrays", r"value\.(payload\.)?after\.words"),
)


def without_pending(workload: str, found: Sequence[Difference]) -> list[Difference]:
    """The differences that are not among those which are known to be missing in Sluice."""
    places = [place for name, place in _PENDING if name in ("", workload)]
    return [d for d in found if not any(re.fullmatch(place, d.path) for place in places)]


_HEAD = """# Where Sluice's events differ from Debezium's

A source with `debezium: {}` publishes the events of a Debezium PostgreSQL connector 3.7 with the same settings. A test
runs both on one database and compares every record. They differ only where Debezium's event misstates the row. With
`debezium_exact: true` there is no difference: Sluice repeats the errors. Two things are no part of the comparison: wall
clock times, and the version of the connector.

Each row of the table is a case that `tests/differential` shows, under the name in the last column.

| case | Debezium publishes | Sluice publishes | test |
|---|---|---|---|
"""


def unexpected(workload: str, found: Sequence[Difference]) -> list[Difference]:
    """The differences of a workload that the page does not name."""
    known = [case for case in KNOWN if case.workload == workload]
    left = without_pending(workload, found)
    return [d for d in left if not any(re.fullmatch(case.places, _without_payload(d.path)) for case in known)]


def unseen(workload: str, found: Sequence[Difference]) -> list[str]:
    """The cases of the page that this run of their workload did not show."""
    known = [case for case in KNOWN if case.workload == workload]
    return [case.case for case in known if not any(re.fullmatch(case.places, _without_payload(d.path)) for d in found)]


def _without_payload(path: str) -> str:
    """The path of a member in an event without its schema."""
    return path.replace("value.payload.", "value.")


def page() -> str:
    rows = [f"| {case.case} | {case.debezium} | {case.sluice} | `{case.workload}` |\n" for case in KNOWN]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE} is written\n")
