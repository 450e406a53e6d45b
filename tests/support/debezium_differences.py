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


KNOWN: tuple[Known, ...] = ()

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
    return [d for d in found if not any(re.fullmatch(case.places, d.path) for case in known)]


def unseen(workload: str, found: Sequence[Difference]) -> list[str]:
    """The cases of the page that this run of their workload did not show."""
    known = [case for case in KNOWN if case.workload == workload]
    return [case.case for case in known if not any(re.fullmatch(case.places, d.path) for d in found)]


def page() -> str:
    rows = [f"| {case.case} | {case.debezium} | {case.sluice} | `{case.workload}` |\n" for case in KNOWN]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE} is written\n")
