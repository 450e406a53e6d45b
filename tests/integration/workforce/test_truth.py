"""The example's mappings and rules make of both sources what its independent truth says, before and after edits.

No Kafka in here: this is about the data logic alone. Each source record goes through its mapping as the mapper would
apply it, and the claims through the merger's own function.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from examples.workforce import source
from examples.workforce.truth import listed
from sluice.entities import Claim, Mapping
from sluice.errors import DeadRecord
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.position import Position
from sluice.provenance.contribution import Contribution, RawRef
from sluice.provenance.merge import Merged, merge
from sluice.testing.example import ExampleContext, Running
from support.pace import within
from support.workforce import FOLDER, HrClient


@pytest.fixture
def context(postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExampleContext:
    """A small company: what it shows does not depend on size."""
    monkeypatch.setattr(source, "WORKERS", 400)
    monkeypatch.setattr(source, "LEDGER_ENTRIES", 300)
    return ExampleContext(postgres_dsn, tmp_path, tmp_path, lambda line: None)


@pytest.fixture
def running(context: ExampleContext) -> Iterator[Running]:
    started = source.start(context)
    yield started
    started.stop()


def as_change_event(value: Any) -> Any:
    """A column's value as Debezium's default modes write it, decimals as strings."""
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return (value - date(1970, 1, 1)).days
    return value


def raw_records(running: Running) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for record in listed(running.env["HR_URL"], running.env["HR_CLIENT_SECRET"]):
        yield "hr.workers", record["id"], record
    with psycopg.connect(running.env["FINANCE_DSN"], row_factory=dict_row) as connection:
        for table in ("cost_centre", "payroll", "ledger_entry"):
            query = psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(table))
            for row in connection.execute(query):
                key = str(next(iter(row.values())))
                yield f"finance.public.{table}", key, {name: as_change_event(value) for name, value in row.items()}


def contribution(mapping: Mapping, key: str, claim: Claim) -> Contribution:
    return Contribution(
        entity_id=claim.entity_id,
        source=mapping.source,
        stream=mapping.stream,
        source_key=key,
        mapping=mapping.name,
        mapping_version=mapping.version,
        output=claim.output,
        position=Position(1, 1, 1),
        raw=RawRef("raw", 0, 0),
        observed_at=0,
        effective_at=claim.effective_at,
        contract=mapping.entity.version,
        fields=claim.fields,
        retracted=False,
    )


def golden_by_sluice(running: Running) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What mappings and rules make of the sources; and the codes of the records that they refuse."""
    pipeline = load_pipeline(FOLDER)
    contracts = load_entities(pipeline)
    mappings = {f"{mapping.source}.{mapping.stream}": mapping for mapping in load_mappings(pipeline)}
    claims: dict[tuple[str, str], list[Contribution]] = defaultdict(list)
    dead = []
    for stream, key, raw in raw_records(running):
        try:
            for claim in mappings[stream].apply(raw):
                claims[claim.entity, claim.entity_id].append(contribution(mappings[stream], key, claim))
        except DeadRecord as refused:
            dead.append(refused.code)
    golden: dict[str, dict[str, Any]] = {name: {} for name in contracts}
    for (entity, entity_id), found in claims.items():
        merged = merge(contracts[entity], found, pipeline.source_order)
        assert isinstance(merged, Merged)
        golden[entity][entity_id] = merged.fields
    return golden, dead


def test_mappings_and_rules_make_what_the_truth_says_before_and_after_edits(
    context: ExampleContext, running: Running
) -> None:
    golden, dead = golden_by_sluice(running)
    assert golden == source.truth(running)
    assert sorted(dead) == ["mapping-failed", "missing-member", "nul-character", "wrong-type"]
    before = golden

    live = source.live(context, running, rate_per_s=0, edits=800, seed=3)
    assert live.wait(timeout_s=within(60)) == 800

    golden, dead = golden_by_sluice(running)
    assert golden != before
    assert golden == source.truth(running)
    assert len(dead) == 4


UNREADABLE = [
    {"$remove": ["employeeNumber"]},
    {"name": "Nul\0Byte"},
    {"employeeNumber": None},
    {"employeeNumber": ["E-00001"]},
    {"jobTitle": 7},
    {"jobTitle": "Nul\0Byte"},
    {"email": {"home": "a@b.c"}},
    {"country": "Atlantis"},
    {"height": "tall"},
    {"height": 12_000},
    {"startDate": "soon"},
    {"pay": "n/a"},
    {"pay": {"amount": "much", "currency": "EUR"}},
    {"pay": 1.5},
]


@pytest.mark.parametrize("spoilt", UNREADABLE, ids=str)
def test_a_record_that_cannot_be_mapped_leaves_the_older_value_standing(
    running: Running, spoilt: dict[str, Any]
) -> None:
    hr = HrClient(running.env["HR_URL"])
    hr.admin("workers/W-7", jobTitle="Nurse")
    before = source.truth(running)
    assert before == golden_by_sluice(running)[0]
    for _ in range(2):  # the second leaves an older one standing that is no longer the one before
        spoilt_record = hr.admin("workers/W-7", **spoilt)
    mapping = next(m for m in load_mappings(load_pipeline(FOLDER)) if m.source == "hr")
    with pytest.raises(DeadRecord):
        list(mapping.apply(spoilt_record))
    assert source.truth(running) == before


def test_a_worker_who_was_never_readable_is_no_worker_and_one_who_left_neither(running: Running) -> None:
    hr = HrClient(running.env["HR_URL"])
    before = source.truth(running)
    hr.hire("W-900", jobTitle="Nurse")
    assert source.truth(running) == before
    hr.admin("workers/W-900", employeeNumber="E-00900")
    hr.admin("workers/W-900", employeeNumber=None)
    assert source.truth(running)["worker"]["E00900"]["job_title"] == "Nurse"
    hr.http.delete("/_admin/workers/W-900").raise_for_status()
    assert source.truth(running) == before


def test_both_sources_win_fields_of_one_worker(running: Running) -> None:
    workers = source.truth(running)["worker"].values()
    both = [worker for worker in workers if worker["hr_updated_at"] and worker["payroll_updated_at"]]
    assert len(both) > 300
    assert all(worker["full_name"] and worker["base_pay"] for worker in both)


def test_the_log_of_the_edits_has_the_values_that_the_golden_records_get(
    context: ExampleContext, running: Running
) -> None:
    live = source.live(context, running, rate_per_s=0, edits=400, seed=5)
    live.wait(timeout_s=within(60))
    lines = [json.loads(line) for line in live.log.read_text().splitlines()]
    assert all(line["sent_at"] <= line["at"] for line in lines)
    golden = source.truth(running)
    last = {(line["model"], line["id"], line["field"]): line["value"] for line in lines}
    texts = {key[:2] for key in last if key[2] == "entry_number" and last[key] is None}
    for (model, entity_id, field), value in last.items():
        if field != "text" or (model, entity_id) not in texts:
            assert golden[model].get(entity_id, {}).get(field) == value, (model, field)


def test_a_second_start_finds_the_sources_as_the_first_left_them(context: ExampleContext) -> None:
    first = source.start(context)
    source.live(context, first, rate_per_s=0, edits=50).wait(timeout_s=within(60))
    left = source.truth(first)
    first.stop()
    second = source.start(context)
    try:
        assert source.truth(second) == left
    finally:
        second.stop()
