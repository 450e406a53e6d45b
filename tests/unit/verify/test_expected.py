"""Which contributions must exist, computed from raw records alone."""

from __future__ import annotations

from typing import Any

import orjson

from sluice.cdc.debezium import UNAVAILABLE
from sluice.kafka.record import Record
from sluice.pipeline import SourceStream
from sluice.verify.expected import ExpectedClaim, StreamHistory
from support.mapping_bench import left_out
from support.people import crm_person, erp_staff

CRM = SourceStream("crm", "people", "poll")
ERP = SourceStream("erp", "public.staff", "cdc")
NOON = "2026-03-01T12:00:00Z"


class Log:
    """One partition of a raw topic; every record goes into a history at the position given."""

    def __init__(self, stream: SourceStream, *, fills: bool = False) -> None:
        self.history = StreamHistory(stream, [crm_person if stream is CRM else erp_staff], fills)
        self._offset = 0

    def add(self, key: Any, value: Any, position: int, **headers: bytes) -> Log:
        sent = {"sluice-position": f"1:{position}:0".encode(), **{k.replace("_", "-"): v for k, v in headers.items()}}
        body = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        record = Record("raw", 0, self._offset, orjson.dumps(key), body, sent, 0)
        self._offset += 1
        self.history.add(record)
        return self

    def person(self, number: str, name: Any, position: int) -> Log:
        return self.add({"id": number}, {"id": number, "name": name, "updated": NOON}, position)

    def deleted(self, number: str, position: int) -> Log:
        return self.add({"id": number}, None, position, sluice_op=b"d")

    def staff(self, number: int, notes: str, position: int) -> Log:
        row = {"id": number, "number": f"P{number}", "notes": notes, "pay": "1", "since": NOON}
        return self.add({"id": number}, {"op": "u", "source": {"ts_ms": 1}, "after": row}, position, **left_out(row))

    def sweep(self, position: int) -> Log:
        return self.add({"$sweep": "people"}, b"", position, sluice_op=b"s")

    @property
    def claims(self) -> dict[str, int]:
        """Position of the claim that must exist, by entity id."""
        return {orjson.loads(key)[0]: expected.position.major for key, expected in self.history.claims()}

    @property
    def parked(self) -> list[tuple[str, int]]:
        """Source key and position of each record that must be a dead letter."""
        return [(source_key, one.position.major) for source_key, _, one in self.history.parked()]

    def says(self) -> bytes:
        (found,) = (expected for _, expected in self.history.claims())
        assert isinstance(found, ExpectedClaim)
        return found.says


def test_the_newest_position_counts_and_not_the_last_record() -> None:
    assert Log(CRM).person("A", "new", 5).person("A", "old", 3).claims == {"A": 5}


def test_a_delete_removes_older_claims_and_no_newer_one() -> None:
    assert Log(CRM).person("A", "x", 1).deleted("A", 2).claims == {}
    assert Log(CRM).person("A", "x", 3).deleted("A", 2).claims == {"A": 3}


def test_a_record_older_than_a_delete_does_not_come_back() -> None:
    assert Log(CRM).deleted("A", 5).person("A", "x", 4).claims == {}
    assert Log(CRM).deleted("A", 5).person("A", "x", 6).claims == {"A": 6}


def test_a_filtered_record_removes_the_claim_before_it() -> None:
    assert Log(CRM).person("A", "x", 1).person("A", "Test", 2).claims == {}


def test_the_older_value_of_a_parked_record_stays() -> None:
    log = Log(CRM).person("A", "x", 1).person("A", ["no", "text"], 2)
    assert log.claims == {"A": 1}
    assert log.parked == [('{"id":"A"}', 2)]


def test_a_parked_record_with_a_newer_claim_need_not_be_a_dead_letter() -> None:
    assert Log(CRM).person("A", ["no", "text"], 2).person("A", "x", 3).parked == []
    assert Log(CRM).person("A", ["no", "text"], 2).deleted("A", 3).parked == []


def test_a_record_without_a_readable_key_or_position_must_be_a_dead_letter() -> None:
    log = Log(CRM).add([1], {"id": "A"}, 1)
    assert log.parked == [("", 0)]


def test_a_sweep_removes_every_key_that_was_last_read_below_it() -> None:
    assert Log(CRM).person("A", "x", 1).person("B", "y", 5).sweep(5).claims == {"B": 5}


def test_a_parked_record_counts_as_read_for_a_sweep() -> None:
    assert Log(CRM).person("A", "x", 1).person("A", ["no", "text"], 6).sweep(5).claims == {"A": 1}


def test_a_sweep_marker_of_another_stream_removes_nothing_and_must_be_a_dead_letter() -> None:
    log = Log(CRM).person("A", "x", 1).add({"$sweep": "payroll"}, b"", 5, sluice_op=b"s")
    assert log.claims == {"A": 1}
    assert log.parked == [("", 0)]


def test_a_reserved_key_must_be_a_dead_letter() -> None:
    assert Log(CRM).add({"$partition": 3}, {"id": "A"}, 1).parked == [("", 0)]


def test_a_change_whose_time_is_no_time_is_parked() -> None:
    log = Log(ERP).add({"id": 1}, {"op": "c", "source": {"ts_us": "abc"}, "after": {}}, 1)
    assert log.parked == [('{"id":1}', 1)]


def test_a_record_older_than_an_earlier_sweep_makes_no_claim() -> None:
    assert Log(CRM).sweep(5).person("A", "x", 4).claims == {}


def test_an_unchanged_column_has_its_last_value() -> None:
    filled = Log(ERP, fills=True).staff(1, "long", 1).staff(1, UNAVAILABLE, 2)
    assert filled.claims == {"P1": 2}
    assert filled.says() == Log(ERP).staff(1, "long", 2).says()


def test_the_columns_of_a_parked_record_are_kept() -> None:
    parked = {"id": 1, "number": "P1", "notes": "newer", "pay": "no number", "since": NOON}
    log = Log(ERP, fills=True).staff(1, "old", 1)
    log.add({"id": 1}, {"op": "u", "source": {"ts_ms": 1}, "after": parked}, 5).staff(1, UNAVAILABLE, 6)
    assert log.says() == Log(ERP).staff(1, "newer", 6).says()


def test_an_unchanged_column_that_was_never_seen_is_parked() -> None:
    assert Log(ERP, fills=True).staff(1, UNAVAILABLE, 1).parked == [('{"id":1}', 1)]


def test_after_a_record_that_cannot_be_read_no_column_is_known() -> None:
    log = Log(ERP, fills=True).staff(1, "long", 1)
    log.add({"id": 1}, b"no json", 2).staff(1, UNAVAILABLE, 3)
    assert log.claims == {"P1": 1}
    assert log.parked == [('{"id":1}', 3)]
