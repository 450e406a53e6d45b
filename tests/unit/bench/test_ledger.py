"""The raw records of the benchmarks are like those of `ingress-poller`, and all contestants map them to the same."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from bench import ledger, mapper, peers, sink
from bench.contestant import Job
from bench.contributions import contributions
from bench.ledger import EntryRange
from bench.sampling import percentile
from bench.sluice_stage import NO_STRUCTS, Rewrites, rewrites_for, write_pipeline
from bench.topics import Message
from sluice.connector import Request, Response
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings
from sluice.position import Position
from sluice.provenance import Contribution
from sluice.settings.stage import default_schemas_dir
from sluice_ingress_poller.page import Item
from sluice_ingress_poller.records import RecordBuilder, StoredResponse, StreamNames

SCRIPTS = Path(mapper.__file__).parent / "peers" / "scripts"


def job(folder: Path) -> Job:
    return Job("one", folder, "", "", "", "one.", "one.mapper", (), "", 6, 100, source_table="public.ledger_entry")


@cache
def peers_mapping() -> Any:
    """The module with the mapping that the peers' scripts import."""
    spec = importlib.util.spec_from_file_location("ledger_mapping", SCRIPTS / "ledger_mapping.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["ledger_mapping"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peers_fields(message: Message, source: str) -> Any:
    """The fields to which the peers map a raw record."""
    mapping = peers_mapping()
    decoded = mapping.decoder(ledger.TOPICS[source])(message.value)
    return orjson.loads(mapping.encode(mapping.fields(decoded)))


def raw(records: int = 50, size: int = 0, version: int = 0, source: str = "erp") -> list[Message]:
    return list(ledger.raw_messages(EntryRange(source, 0, records, version), size))


def test_a_raw_record_has_about_300_bytes() -> None:
    sizes = [len(message.value or b"") for message in raw(200)]
    assert 250 < sum(sizes) / len(sizes) < 350


@pytest.mark.parametrize("size", [400, 1_000, 100_000])
def test_a_raw_record_has_the_size_that_is_asked_for(size: int) -> None:
    assert {len(message.value or b"") for message in raw(20, size)} == {size}


def test_the_headers_are_those_of_the_poller() -> None:
    names = StreamNames("ledger", "erp", "entries", "raw", "responses", "dlq")
    stored = StoredResponse.now(Response(Request("GET", "http://erp/entries"), 200, {}, b"[]"), 1_782_907_200_000)
    [message] = raw(1)
    item = Item(message.key, message.value or b"", None, None)
    published = RecordBuilder(names, 1, 0, list).upsert(item, stored)
    expected, found = dict(published.headers), dict(message.headers)
    assert [name for name, _ in message.headers] == [name for name, _ in published.headers]
    for name in set(expected) - {"sluice-response"}:
        assert found[name] == expected[name], name


def test_an_entry_changes_with_its_version_and_with_nothing_else() -> None:
    assert raw(20) == raw(20)
    for first, second in zip(raw(20, version=1), raw(20, version=2), strict=True):
        assert first.key == second.key
        assert orjson.loads(first.value or b"")["quantity"] != orjson.loads(second.value or b"")["quantity"]


@pytest.mark.parametrize("rewrites", [(), NO_STRUCTS], ids=["structs", "pydantic"])
@pytest.mark.parametrize("source", ["erp", "bank", "books"])
def test_sluice_and_the_peers_map_a_raw_record_to_the_same_fields(
    source: str, rewrites: Rewrites, tmp_path: Path
) -> None:
    write_pipeline(job(tmp_path), [source], rewrites)
    [mapping] = load_mappings(load_pipeline(tmp_path / "pipeline"))
    for message in raw(200, source=source):
        decoded = orjson.loads(message.value or b"")
        [claim] = mapping.apply(decoded["after"] if source == "books" else decoded)
        assert peers_fields(message, source) == dict(claim.fields)


def test_a_change_event_is_a_debezium_envelope() -> None:
    schema = json.loads((default_schemas_dir() / "debezium" / "envelope.schema.json").read_text())
    for message in raw(3, source="books"):
        jsonschema.validate(orjson.loads(message.value or b""), schema)
        assert [name for name, _ in message.headers] == ["sluice-position", "sluice-origin-ms", "content-type"]


@pytest.mark.parametrize("source", ["erp", "books"])
def test_positions_rise(source: str) -> None:
    positions = [
        Position.parse(dict(message.headers)["sluice-position"].decode()) for message in raw(300, source=source)
    ]
    assert positions == sorted(set(positions))


def test_the_expected_totals_are_those_of_the_mapped_records() -> None:
    entries, found = EntryRange("erp", 3, 200, 2, step=5), ledger.NOTHING
    for message in ledger.raw_messages(entries, 0):
        fields = peers_fields(message, "erp")
        found = ledger.plus(found, fields["quantity"], Decimal(fields["amount"]["amount"]), fields["text"])
    assert found == ledger.expected(entries, 0)


@pytest.mark.parametrize("source", ["erp", "bank"])
def test_written_contributions_claim_the_fields_of_the_raw_records(source: str) -> None:
    entries = EntryRange(source, 3, 40, 2, step=5)
    written = list(contributions(entries, 0, "one.", 6, 100))
    claims = [Contribution.from_json(message.value or b"") for message in written]
    assert [claim.fields for claim in claims] == [peers_fields(raw, source) for raw in ledger.raw_messages(entries, 0)]
    assert [claim.key for claim in claims] == [message.key for message in written]
    assert [claim.sealed().to_json() for claim in claims] == [message.value for message in written]
    assert {claim.position.minor for claim in claims} == set(range(101, 141))
    assert {message.partition for message in written} == set(range(6))


def test_all_sources_of_the_bench_pipeline_load(tmp_path: Path) -> None:
    write_pipeline(job(tmp_path), ["erp", "bank", "books"], [])
    mappings = load_mappings(load_pipeline(tmp_path / "pipeline"))
    assert {mapping.name for mapping in mappings} == {"erp_entry", "bank_entry", "booked_row"}


def test_an_older_commit_gets_imports_without_packages(tmp_path: Path) -> None:
    write_pipeline(job(tmp_path), ["erp"], rewrites_for(tmp_path))
    text = "".join(file.read_text() for file in (tmp_path / "pipeline").rglob("*.py"))
    assert "from entities import LedgerEntry" in text
    assert "from sources.erp.mapping import ErpEntry" in text
    assert not re.search(r"^from \.", text, re.MULTILINE)
    assert "msgspec" not in text


def test_keys_are_repeated_in_their_next_version_until_there_are_enough_records() -> None:
    assert mapper.ranges("erp", 10, 4) == [
        EntryRange("erp", 0, 4, 0),
        EntryRange("erp", 0, 4, 1),
        EntryRange("erp", 0, 2, 2),
    ]
    assert mapper.expected_totals(10, 4, 0).records == 10


def test_the_marks_of_a_sink_cover_every_record_of_every_partition() -> None:
    keys = [[f"E-{number}" for number in range(first, 100, 3)] for first in range(3)]
    marks = sink.marks_of(keys, lambda key: int(key[2:]), 8)
    assert sum(mark.records for partition in marks for mark in partition) == 100
    assert [partition[-1] for partition in marks] == [
        sink.Mark("E-99", 99, 5),
        sink.Mark("E-97", 97, 5),
        sink.Mark("E-98", 98, 5),
    ]


def test_a_mark_waits_for_the_state_that_its_run_writes() -> None:
    changes, new = sink.timed_entries(600, 1_000, 4, 600)
    changed, added = changes.numbers()[7], new.numbers()[7]
    assert sink.quantity_in([changes, new], f"E-{changed:010d}") == ledger.entry(changed, 4, 0).quantity
    assert sink.quantity_in([changes, new], f"E-{added:010d}") == ledger.entry(added, 0, 0).quantity


def test_new_rows_of_a_sink_are_new_in_every_run() -> None:
    used = set(range(1_000))
    for version in (2, 3, 4, 5):
        changes, new = sink.timed_entries(600, 1_000, version, 600)
        assert set(changes.numbers()) <= set(range(1_000))
        assert len(set(changes.numbers())) == 300
        assert not used & set(new.numbers())
        used |= set(new.numbers())


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50, 99, 100)
    assert percentile([7.0], 0.99) == 7


def test_each_peer_is_named_as_its_ratio() -> None:
    for table in peers.PEERS.values():
        for name, create in table.items():
            assert create().name == name
    assert set(peers.PEERS["mapper"]) == {"quix", "bytewax", "bare"}
    assert "upsert" in peers.PEERS["sink"]
