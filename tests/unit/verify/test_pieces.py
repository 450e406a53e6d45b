"""Canonical records in sequence, rows, the target of a provenance, rounds, the report."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.golden.rows import StoredRow
from sluice.schemas.decoder import DecodedCanonical
from sluice.verify import Report
from sluice.verify.entity_logs import NewestCanonical, repetition
from sluice.verify.offsets import RawIndex, rounds
from sluice.verify.report import CHECKS, FIRST_MAX, NotDone
from sluice.verify.row_check import deleted_findings, row_findings
from support.repository import ROOT

AT = ("raw.crm.people", 0)


def golden(content: str | None, revision: int | None, value: bytes | None = b"v") -> NewestCanonical:
    return NewestCanonical(0, value, content, revision)


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        (golden("a", 1), golden("b", 2), ""),
        (golden("a", 1), golden("a", 2), "repeats the content"),
        (golden("a", 1), golden("a", 3), ""),
        (golden("a", None), golden("a", None), "repeats the content"),
        (golden("a", 2), golden("b", 2), "revision 2 follows revision 2"),
        (golden(None, 1, None), golden(None, 2, None), "repeats the content"),
        (golden("a", 1), golden(None, 2, None), ""),
        (golden(None, None), golden(None, None), ""),
    ],
)
def test_a_version_takes_effect_once(before: NewestCanonical, after: NewestCanonical, wrong: str) -> None:
    found = repetition(before, after)
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)


def test_the_target_of_a_provenance_is_resolved() -> None:
    index = RawIndex({AT: 10})
    for offset, key in ((1, "a"), (3, "b"), (7, "a")):
        index.add_keyed(AT, offset, key)
    assert index.resolve(AT, 1, "a") == "exact"
    assert index.resolve(AT, 1, "b") == "other-key"
    assert index.resolve(AT, 5, "a") == "compacted"
    assert index.resolve(AT, 5, "b") == "missing"
    assert index.resolve(AT, 10, "a") == "beyond"
    assert index.resolve(("raw.other", 0), 1, "a") == "missing"


SLUICE: dict[str, Any] = {"revision": 3, "updated_at": 77, "contributors": [{"source": "crm"}], "winners": []}
DECODED = DecodedCanonical({"number": "P1", "name": "Ada"}, SLUICE)


def row(**other: Any) -> StoredRow:
    provenance = {"contributors": SLUICE["contributors"], "winners": []}
    return StoredRow("P1", {"number": "P1", "name": "Ada"}, 3, 77, 1, 0, 9, provenance)._replace(**other)


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (row(), []),
        (row(fields={"number": "P1", "name": "Eve"}), ["canonical-table"]),
        (row(fields={"number": "P1", "name": "Ada", "later": None}), []),
        (row(offset=8), ["I4"]),
        (row(epoch=2), ["I4"]),
        (row(revision=2), ["canonical-table"]),
        (row(provenance={"contributors": [], "winners": []}), ["canonical-table"]),
    ],
)
def test_a_row_is_its_golden_record(stored: StoredRow, found: list[str]) -> None:
    assert [check for check, _ in row_findings(stored, 9, 1, DECODED)] == found


def test_a_deleted_entity_has_no_row_and_a_tombstone() -> None:
    assert list(deleted_findings(None, (1, 9), 9, 1)) == []
    assert list(deleted_findings(None, (2, 0), 9, 1)) == []
    assert [check for check, _ in deleted_findings(row(), None, 9, 1)] == ["canonical-table", "I4"]
    assert [check for check, _ in deleted_findings(None, (1, 8), 9, 1)] == ["I4"]


def test_a_round_has_as_many_partitions_as_fit() -> None:
    assert list(rounds({0: 5, 1: 5, 2: 1, 3: 20, 4: 0}, 10)) == [[0, 1], [2], [3], [4]]


def test_the_first_ten_findings_are_named_and_all_are_counted() -> None:
    report = Report()
    for number in range(FIRST_MAX + 5):
        report.found("I4", "contributions.person/0@1", str(number), "is wrong")
    assert report.counts["I4"] == FIRST_MAX + 5
    assert len(report.first["I4"]) == FIRST_MAX
    assert not report.clean
    assert "FAIL  I4" in "\n".join(report.lines())


def test_pending_records_are_no_finding_and_not_verified() -> None:
    report = Report(pending=[NotDone("mapper", "raw.crm.people", 0, 3, 9)])
    assert report.clean
    assert not report.verified
    assert "not done yet: mapper is at raw.crm.people/0@3, the end is 9" in report.lines()


def test_the_text_and_the_json_explain_every_check() -> None:
    report = Report()
    report.found("I4", "contributions.person/0@1", "key", "is wrong")
    lines, checks = report.lines(), report.to_json()["checks"]
    assert checks.keys() == CHECKS.keys()
    assert (checks["I4"]["count"], checks["I2"]["count"]) == (1, 0)
    for check, about in checks.items():
        assert len(about["means"].split()) > 4
        assert any(check in line and about["means"] in line for line in lines)


def test_the_architecture_page_names_every_check() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    assert [check for check in CHECKS if f"`{check}`" not in text] == []
