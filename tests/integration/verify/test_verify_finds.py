"""Logs and tables in which one thing is wrong with each person: verify names that person, and no other person."""

from __future__ import annotations

import pytest

from sluice.provenance import Contribution
from sluice.stage.ledger import ledger_key
from sluice.verify import Report, verify
from sluice.verify.report import Check
from support.handmade import Handmade


def people_in_order(handmade: Handmade) -> None:
    """Two people in both sources, one deleted, one whose newest state cannot be mapped, one who is filtered."""
    for number, name in (("P1", "Ada"), ("P2", "Grace")):
        handmade.mapped(handmade.person(number, name, city="Kiel"))
        handmade.merged(number)
        handmade.mapped(handmade.staff(number, "12.5", notes="a long story"))
        handmade.merged(number)
    left = handmade.mapped(handmade.person("P3", "Alan"))
    handmade.merged("P3")
    handmade.retract(left, handmade.delete("P3"))
    handmade.merged("P3")
    person(handmade, "P4")
    handmade.dead_letter("mapper", handmade.person("P4", "Edsger", email=["no", "text"]))
    handmade.person("P5", "Test")


def person(handmade: Handmade, number: str) -> Contribution:
    """A person with nothing wrong; returns the claim."""
    claim = handmade.mapped(handmade.person(number, "Somebody"))
    handmade.merged(number)
    return claim


def errors_in_contributions(handmade: Handmade) -> None:
    handmade.person("MISSING", "Missing")
    raw = handmade.person("OTHER-CONTENT", "Somebody")
    handmade.mapped(raw, fields={"number": "OTHER-CONTENT", "name": "Somebody Else"})
    handmade.merged("OTHER-CONTENT")
    person(handmade, "NOT-RETRACTED")
    handmade.delete("NOT-RETRACTED")
    person(handmade, "OUTDATED")
    handmade.person("OUTDATED", "Somebody New")
    handmade.person("LOST", "Somebody", email=["no", "text"])
    moved = person(handmade, "MOVED")
    handmade.contribute(moved.replace(entity_id="MOVED-AWAY", fields={**moved.fields, "number": "MOVED-AWAY"}).sealed())
    handmade.merged("MOVED-AWAY")
    older, newer = handmade.person("OLDER-LAST", "Somebody"), handmade.person("OLDER-LAST", "Somebody New")
    handmade.mapped(newer)
    handmade.merged("OLDER-LAST")
    handmade.mapped(older)
    handmade.contribute(person(handmade, "REPEATED"))


def errors_in_canonical(handmade: Handmade) -> None:
    person(handmade, "NOT-MERGED")
    handmade.mapped(handmade.person("NOT-MERGED", "Somebody New"))
    handmade.mapped(handmade.person("NOT-GOLDEN", "Somebody"))
    person(handmade, "TWICE")
    golden = handmade.records(handmade.canonical)
    twice = next(record for record in golden if record.key == b"TWICE")
    headers = {**twice.headers, "sluice-revision": b"2"}
    handmade.golden("TWICE", twice.value, list(headers.items()))
    wrong = handmade.person("WRONG-PLACE", "Somebody")
    there = person(handmade, "RIGHT-PLACE").raw
    handmade.contribute(handmade.claims(wrong)[0].replace(raw=there))
    handmade.merged("WRONG-PLACE")


def errors_in_tables(handmade: Handmade) -> None:
    handmade.sql("UPDATE golden.person SET name = 'Mallory' WHERE entity_id = 'CHANGED-ROW'")
    handmade.sql("DELETE FROM golden.person WHERE entity_id = 'NO-ROW'")
    handmade.sql("UPDATE golden.person SET _offset = _offset - 1 WHERE entity_id = 'OLD-ROW'")
    handmade.sql(
        "UPDATE golden.person SET _provenance = jsonb_set(_provenance, '{contributors,0,offset}', '9999') "
        "WHERE entity_id = 'FORGED-PROVENANCE'"
    )
    handmade.sql("UPDATE golden.person SET entity_id = 'UNKNOWN' WHERE entity_id = 'RENAMED'")
    handmade.sql("UPDATE golden.person SET _partition = 77 WHERE entity_id = 'STRAY'")
    handmade.sql("DELETE FROM golden._tombstones WHERE entity_id = 'NO-TOMBSTONE'")


def errors_in_the_ledger(handmade: Handmade) -> None:
    def write(group: str, topic: str, partition: int, line: bytes) -> None:
        handmade.produce(handmade.names.ledger, ledger_key(handmade.names.group(group), topic, partition), line, [], 0)

    crm, end = handmade.crm, handmade.ends(handmade.crm)
    visible = [sum(record.partition == p for record in handmade.records(crm)) for p in range(2)]
    write("mapper", crm, 0, handmade.line(0, end[0], visible[0] + 1, reset=True))
    write("mapper", crm, 1, handmade.line(0, end[1], visible[1]))
    merged = handmade.ends(handmade.contributions)
    write("merger", handmade.contributions, 0, handmade.line(merged[0] + 3, merged[0] + 5, 0))
    write(
        "merger",
        handmade.contributions,
        1,
        handmade.line(merged[1], merged[1], 1).replace(b'"visible":1', b'"visible":2'),
    )


@pytest.fixture(scope="module")
def clean(shared_handmade: Handmade) -> Report:
    people_in_order(shared_handmade)
    for number in ("CHANGED-ROW", "NO-ROW", "OLD-ROW", "FORGED-PROVENANCE", "RENAMED", "STRAY"):
        person(shared_handmade, number)
    left = shared_handmade.mapped(shared_handmade.person("NO-TOMBSTONE", "Alan"))
    shared_handmade.merged("NO-TOMBSTONE")
    shared_handmade.retract(left, shared_handmade.delete("NO-TOMBSTONE"))
    shared_handmade.merged("NO-TOMBSTONE")
    shared_handmade.finish()
    return verify(shared_handmade.pipeline, shared_handmade.settings, wait_s=5.0)


@pytest.fixture(scope="module")
def report(shared_handmade: Handmade, clean: Report) -> Report:
    assert clean.clean
    errors_in_contributions(shared_handmade)
    errors_in_canonical(shared_handmade)
    shared_handmade.finish()
    errors_in_tables(shared_handmade)
    errors_in_the_ledger(shared_handmade)
    return verify(shared_handmade.pipeline, shared_handmade.settings, wait_s=5.0)


def findings_of(report: Report, check: Check, who: str) -> list[str]:
    """What a check finds about one person."""
    assert report.counts[check] == len(report.first.get(check, [])), "some are not named"
    named = (who, f'{{"id":"{who}"}}')
    return [one.what for one in report.first.get(check, []) if one.key in named or one.key.startswith(f'["{who}",')]


def test_a_pipeline_in_order_with_unknown_sources_is_clean_and_not_verified(clean: Report) -> None:
    assert clean.to_json()["findings"] == {}
    assert not clean.pending
    assert clean.verdict == "nothing wrong in what was checked"
    assert {one.what for one in clean.not_checked} == {"source erp", "source crm, stream people"}
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


def test_a_ledger_is_checked_for_gaps_sums_and_against_the_log(shared_handmade: Handmade, report: Report) -> None:
    found = [(one.where.removeprefix(shared_handmade.names.prefix), one.what) for one in report.first["I5"]]
    for where, what in (
        (f"merger/{shared_handmade.contributions}/0", "leaves out offsets"),
        (f"merger/{shared_handmade.contributions}/1", "had 2 visible records, but outcomes of 1"),
        (f"merger/{shared_handmade.contributions}/1", "has 2 visible records, but the log has 0"),
        (f"mapper/{shared_handmade.crm}/0", "but the log has"),
        (f"mapper/{shared_handmade.crm}/1", "but is no reset"),
    ):
        assert [what in one for place, one in found if place == where].count(True) == 1
    assert len(found) == 5


def test_records_that_a_stage_has_not_processed_are_pending_and_no_finding(
    shared_handmade: Handmade, report: Report
) -> None:
    shared_handmade.person("PENDING", "Somebody")
    later = verify(shared_handmade.pipeline, shared_handmade.settings, wait_s=0.0)
    (pending,) = later.pending
    assert (pending.group, pending.topic) == (shared_handmade.names.group("mapper"), shared_handmade.crm)
    assert not later.verified
    assert later.counts == report.counts
