"""Logs and tables with one thing wrong with each person: verify names it, and no other person."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers
from sluice.provenance import Contribution
from sluice.stage.batch import ledger_key
from sluice.verify import Report, verify
from sluice.verify.report import Check
from support.handmade import Handmade
from support.servers import drop_database


def people_in_order(made: Handmade) -> None:
    """Two people in both sources, one deleted, one whose newest state cannot be mapped, one who is filtered."""
    for number, name in (("P1", "Ada"), ("P2", "Grace")):
        made.mapped(made.person(number, name, city="Kiel"))
        made.merged(number)
        made.mapped(made.staff(number, "12.5", notes="a long story"))
        made.merged(number)
    left = made.mapped(made.person("P3", "Alan"))
    made.merged("P3")
    made.retract(left, made.delete("P3"))
    made.merged("P3")
    person(made, "P4")
    made.dead_letter("mapper", made.person("P4", "Edsger", email=["no", "text"]))
    made.person("P5", "Test")


def person(made: Handmade, number: str) -> Contribution:
    """A person with nothing wrong; returns the claim."""
    claim = made.mapped(made.person(number, "Somebody"))
    made.merged(number)
    return claim


def errors_in_contributions(made: Handmade) -> None:
    made.person("MISSING", "Missing")
    raw = made.person("OTHER-CONTENT", "Somebody")
    made.mapped(raw, fields={"number": "OTHER-CONTENT", "name": "Somebody Else"})
    made.merged("OTHER-CONTENT")
    person(made, "NOT-RETRACTED")
    made.delete("NOT-RETRACTED")
    person(made, "OUTDATED")
    made.person("OUTDATED", "Somebody New")
    made.person("LOST", "Somebody", email=["no", "text"])
    moved = person(made, "MOVED")
    made.contribute(moved.replace(entity_id="MOVED-AWAY", fields={**moved.fields, "number": "MOVED-AWAY"}).sealed())
    made.merged("MOVED-AWAY")
    older, newer = made.person("OLDER-LAST", "Somebody"), made.person("OLDER-LAST", "Somebody New")
    made.mapped(newer)
    made.merged("OLDER-LAST")
    made.mapped(older)
    made.contribute(person(made, "REPEATED"))


def errors_in_canonical(made: Handmade) -> None:
    person(made, "NOT-MERGED")
    made.mapped(made.person("NOT-MERGED", "Somebody New"))
    made.mapped(made.person("NOT-GOLDEN", "Somebody"))
    person(made, "TWICE")
    golden = made.records(made.canonical)
    twice = next(record for record in golden if record.key == b"TWICE")
    headers = {**twice.headers, "sluice-revision": b"2"}
    made.golden("TWICE", twice.value, list(headers.items()))
    wrong = made.person("WRONG-PLACE", "Somebody")
    there = person(made, "RIGHT-PLACE").raw
    made.contribute(made.claims(wrong)[0].replace(raw=there))
    made.merged("WRONG-PLACE")


def errors_in_tables(made: Handmade) -> None:
    made.sql("UPDATE golden.person SET name = 'Mallory' WHERE entity_id = 'CHANGED-ROW'")
    made.sql("DELETE FROM golden.person WHERE entity_id = 'NO-ROW'")
    made.sql("UPDATE golden.person SET _offset = _offset - 1 WHERE entity_id = 'OLD-ROW'")
    made.sql(
        "UPDATE golden.person SET _provenance = jsonb_set(_provenance, '{contributors,0,offset}', '9999') "
        "WHERE entity_id = 'FORGED-PROVENANCE'"
    )
    made.sql("UPDATE golden.person SET entity_id = 'UNKNOWN' WHERE entity_id = 'RENAMED'")
    made.sql("UPDATE golden.person SET _partition = 77 WHERE entity_id = 'STRAY'")
    made.sql("DELETE FROM golden._tombstones WHERE entity_id = 'NO-TOMBSTONE'")


def errors_in_the_ledger(made: Handmade) -> None:
    def write(group: str, topic: str, partition: int, line: bytes) -> None:
        made.produce(made.names.ledger, ledger_key(made.names.group(group), topic, partition), line, [], 0)

    crm, end = made.crm, made.ends(made.crm)
    visible = [sum(record.partition == p for record in made.records(crm)) for p in range(2)]
    write("mapper", crm, 0, made.line(0, end[0], visible[0] + 1, reset=True))
    write("mapper", crm, 1, made.line(0, end[1], visible[1]))
    merged = made.ends(made.contributions)
    write("merger", made.contributions, 0, made.line(merged[0] + 3, merged[0] + 5, 0))
    write("merger", made.contributions, 1, made.line(merged[1], merged[1], 1).replace(b'"visible":1', b'"visible":2'))


@pytest.fixture(scope="module")
def made(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handmade]:
    name = f"verify_{uuid.uuid4().hex[:10]}"
    servers.postgres.create_database(name)
    dsn, folder = servers.postgres.dsn(name), Path(tmp_path_factory.mktemp("people"))
    yield Handmade(servers.kafka.bootstrap_servers, servers.registry.url, dsn, f"{name}.", folder)
    drop_database(servers, name)


@pytest.fixture(scope="module")
def clean(made: Handmade) -> Report:
    people_in_order(made)
    for number in ("CHANGED-ROW", "NO-ROW", "OLD-ROW", "FORGED-PROVENANCE", "RENAMED", "STRAY"):
        person(made, number)
    left = made.mapped(made.person("NO-TOMBSTONE", "Alan"))
    made.merged("NO-TOMBSTONE")
    made.retract(left, made.delete("NO-TOMBSTONE"))
    made.merged("NO-TOMBSTONE")
    made.finish()
    return verify(made.pipeline, made.settings, wait_s=5.0)


@pytest.fixture(scope="module")
def report(made: Handmade, clean: Report) -> Report:
    assert clean.clean
    errors_in_contributions(made)
    errors_in_canonical(made)
    made.finish()
    errors_in_tables(made)
    errors_in_the_ledger(made)
    return verify(made.pipeline, made.settings, wait_s=5.0)


def findings_of(report: Report, check: Check, who: str) -> list[str]:
    """What a check finds about one person."""
    assert report.counts[check] == len(report.first.get(check, [])), "some are not named"
    named = (who, f'{{"id":"{who}"}}')
    return [one.what for one in report.first.get(check, []) if one.key in named or one.key.startswith(f'["{who}",')]


def test_a_pipeline_in_order_with_unknown_sources_is_clean_and_not_verified(clean: Report) -> None:
    assert clean.to_json()["findings"] == {}
    assert not clean.pending
    assert clean.verdict == "nothing wrong in what was checked"
    assert {one.what for one in clean.not_looked_at} == {"source erp", "source crm, stream people"}
    assert not clean.passed
    assert clean.checked["rows"] == 9
    assert clean.checked["parked raw records"] == 1


ERRORS: list[tuple[Check, str, str]] = [
    ("raw-contributions", "MISSING", "no contribution exists"),
    ("raw-contributions", "OTHER-CONTENT", "is not what raw record"),
    ("raw-contributions", "NOT-RETRACTED", "no source record claims it any more"),
    ("raw-contributions", "OUTDATED", "is newer"),
    ("raw-contributions", "LOST", "no dead letter"),
    ("raw-contributions", "MOVED-AWAY", "no source record claims it any more"),
    ("contributions-canonical", "NOT-MERGED", "is not the merge of its contributions"),
    ("contributions-canonical", "NOT-GOLDEN", "has no canonical record"),
    ("canonical-table", "CHANGED-ROW", "has another name"),
    ("canonical-table", "NO-ROW", "has no row"),
    ("canonical-table", "FORGED-PROVENANCE", "has another provenance"),
    ("canonical-table", "UNKNOWN", "no canonical record does"),
    ("canonical-table", "RENAMED", "has no row"),
    ("canonical-table", "STRAY", "is of partition 77, which"),
    ("canonical-table", "STRAY", "has no row"),
    ("I2", "TWICE", "repeats the content of offset"),
    ("I2", "REPEATED", "1 times the same claim again"),
    ("I4", "OLDER-LAST", "is not the highest claim of its key"),
    ("I4", "OLD-ROW", "the newest is of epoch 1"),
    ("I4", "NO-TOMBSTONE", "has no tombstone"),
    ("I6", "WRONG-PLACE", "which is of another source key"),
    ("I6", "FORGED-PROVENANCE", "beyond the end of its log"),
]


@pytest.mark.parametrize(("check", "who", "what"), ERRORS, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_named(report: Report, check: Check, who: str, what: str) -> None:
    found = findings_of(report, check, who)
    assert [what in one for one in found].count(True) == 1
    assert len(found) == [(c, w) for c, w, _ in ERRORS].count((check, who))


def test_no_other_person_is_named(report: Report) -> None:
    named = {(check, one.key) for check in report.first if check != "I5" for one in report.first[check]}
    wrong = {(check, who) for check, who, _ in ERRORS}
    assert {(check, _who(key)) for check, key in named} == wrong


def _who(key: str) -> str:
    if key.startswith("["):
        return key.split('"')[1]
    return key.removeprefix('{"id":"').removesuffix('"}')


def test_a_ledger_is_checked_for_gaps_sums_and_against_the_log(made: Handmade, report: Report) -> None:
    found = [(one.where.removeprefix(made.names.prefix), one.what) for one in report.first["I5"]]
    for where, what in (
        (f"merger/{made.contributions}/0", "leaves out offsets"),
        (f"merger/{made.contributions}/1", "had 2 visible records, but outcomes of 1"),
        (f"merger/{made.contributions}/1", "has 2 visible records, but the log has 0"),
        (f"mapper/{made.crm}/0", "but the log has"),
        (f"mapper/{made.crm}/1", "but is no reset"),
    ):
        assert [what in one for place, one in found if place == where].count(True) == 1
    assert len(found) == 5


def test_records_that_a_stage_has_not_processed_are_pending_and_no_finding(made: Handmade, report: Report) -> None:
    made.person("PENDING", "Somebody")
    later = verify(made.pipeline, made.settings, wait_s=0.0)
    (pending,) = later.pending
    assert (pending.group, pending.topic) == (made.names.group("mapper"), made.crm)
    assert not later.verified
    assert later.counts == report.counts
