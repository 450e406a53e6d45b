"""Tryton end to end: its API is polled, its tables are followed, and both are merged into rows. Edits by Tryton's own
client arrive."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import psycopg
import pytest

from sluice.embedded import Servers
from support.arrivals import Arrival, arrivals, note_arrivals
from support.example_pipeline import example_pipeline
from support.pace import within
from support.scenario import Scenario
from support.tryton import EXAMPLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EDITS = 220
RATE_PER_S = 10.0
EMPLOYED = "SELECT party, id FROM company_employee"


class Expected(NamedTuple):
    """What an edit must lead to: a row of an entity with `field` = `value`. If `field` is None, the row is deleted."""

    path: str
    entity: str
    entity_id: str
    field: str | None
    value: Any


@pytest.fixture(scope="module")
def tryton(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    with example_pipeline(EXAMPLE, servers, tmp_path_factory.mktemp("tryton-pipeline")) as running:
        yield running


def expectation(edit: Mapping[str, Any], codes: Mapping[int, str], employed: Mapping[int, int]) -> list[Expected]:
    """The row to which one logged change must lead. None if the record has been deleted since."""
    model, number, field, value = edit["model"], edit["id"], edit["field"], edit["value"]
    match model, field:
        case "party.party", "name" if number in codes:
            found = [Expected("tables", "party", codes[number], "name", value)]
            if number in employed:
                found.append(Expected("api", "worker", f"E-{employed[number]}", "full_name", value))
            return found
        case "party.party", "active" if number in codes:
            return [Expected("tables", "party", codes[number], "active", value)]
        case "company.employee", "id":
            return [Expected("tables", "worker", f"E-{number}", None, None)]
        case "company.employee", "start_date" | "end_date":
            column = {"start_date": "started_on", "end_date": "left_on"}[field]
            return [Expected("tables", "worker", f"E-{number}", column, value)]
        case "company.employee", "supervisor":
            return [Expected("tables", "worker", f"E-{number}", "supervisor", f"E-{value}")]
        case "account.move.line", "debit":
            return [Expected("tables", "ledger_entry", f"L-{number}", "debit", float(value))]
    return []


def newest_edits(log: Path) -> list[dict[str, Any]]:
    """The last change of each field, because a reader may rightly miss an earlier change. Records deleted since are
    left out."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    newest = {(line["model"], line["id"], line["field"]): line for line in lines}
    gone = {(model, number) for model, number, field in newest if field == "id"}
    return [line for (model, number, field), line in newest.items() if field == "id" or (model, number) not in gone]


def shows(arrival: Arrival | None, wanted: Expected) -> bool:
    """Whether this version of the row has the expected value."""
    if wanted.field is None:
        return arrival is None or arrival.row is None
    return arrival is not None and arrival.row is not None and arrival.row[wanted.field] == wanted.value


def latency_ms(edit: Mapping[str, Any], wanted: Expected, seen: list[Arrival]) -> float | None:
    """The time from before the request was sent (so it is never too small) to the arrival of the first row with the
    value. None if the row had the value before, because people also set a field to its current value. Fails if no row
    ever has the value."""
    sent_at = int(edit["sent_at"])
    versions = [arrival for arrival in seen if (arrival.entity, arrival.entity_id) == (wanted.entity, wanted.entity_id)]
    before = [arrival for arrival in versions if arrival.at_us < sent_at]
    if shows(before[-1] if before else None, wanted):
        return None
    for arrival in versions[len(before) :]:
        if shows(arrival, wanted):
            return (arrival.at_us - sent_at) / 1000
    pytest.fail(f"never seen: {wanted.entity} {wanted.entity_id}.{wanted.field}")


def pairs(tryton: Scenario, query: LiteralString) -> dict[Any, Any]:
    with psycopg.connect(tryton.run.env["ERP_DSN"]) as connection:
        return dict(connection.execute(query).fetchall())


def test_edits_through_trytons_client_arrive_in_golden_rows(tryton: Scenario) -> None:
    employed = pairs(tryton, EMPLOYED)
    note_arrivals(tryton.run.sink_dsn, ("worker", "party", "ledger_entry"))
    edits = tryton.run.live(RATE_PER_S, EDITS, seed=4)
    assert edits.wait(within(240)) >= 200
    tryton.await_truth(deadline_s=120)

    seen = arrivals(tryton.run.sink_dsn)
    codes = pairs(tryton, "SELECT id, code FROM party_party")
    stayed = {party: employee for party, employee in pairs(tryton, EMPLOYED).items() if employed.get(party) == employee}
    taken: dict[str, list[float]] = {"tables": [], "api": []}
    for edit in newest_edits(edits.log):
        for wanted in expectation(edit, codes, stayed):
            if (latency := latency_ms(edit, wanted, seen)) is not None:
                taken[wanted.path].append(latency)
    for path, values in taken.items():
        middle, late = statistics.median(values), statistics.quantiles(values, n=100)[98]
        print(f"{path}: {len(values)} edits, commit to row: median {middle:.0f} ms, p99 {late:.0f} ms")  # noqa: T201
    assert len(taken["tables"]) > 50
    assert len(taken["api"]) > 20


def test_every_employee_is_a_worker_with_fields_won_by_both_paths(tryton: Scenario) -> None:
    tryton.await_truth()
    with psycopg.connect(tryton.run.sink_dsn) as connection:
        won = connection.execute(
            "SELECT entity_id, array_agg(DISTINCT source ORDER BY source) FROM golden.worker_provenance GROUP BY 1"
        ).fetchall()
    assert {worker for worker, _ in won} == tryton.run.driver.truth(tryton.run.running)["worker"].keys()
    assert {tuple(sources) for _, sources in won} == {("erp_api", "erp_db")}


def test_nothing_is_lost_and_nothing_parked(tryton: Scenario) -> None:
    tryton.await_truth()
    done = tryton.command("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in tryton.run.stages.values():
        stage.watch()
        assert stage.counts.dead_letters == 0
        assert stage.restarts == 0
