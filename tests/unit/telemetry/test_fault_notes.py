"""What of a process's faults is written next, and what of its predecessor's is over."""

from __future__ import annotations

from sluice.telemetry.fault_buffer import FaultBuffer
from sluice.telemetry.fault_record import FaultRecord, key_of, written
from sluice.telemetry.health import PROCESS, START, STARTING, ActiveFault, Health

ONE = ActiveFault("no such table", 1)
OTHER = ActiveFault("no such column", 1)


def test_of_each_fault_only_the_newest_state_waits() -> None:
    notes = FaultBuffer()
    for _ in range(1_000):
        notes.told("table", ONE)
        notes.told("table", None)
    notes.told("table", OTHER)
    assert notes.take() == {"table": OTHER}
    assert notes.take() == {}


def test_what_could_not_be_written_waits_again_behind_nothing_newer() -> None:
    notes = FaultBuffer()
    notes.told("a", ONE)
    notes.told("b", ONE)
    taken = notes.take()
    notes.told("a", None)
    notes.give_back(taken)
    assert notes.take() == {"a": None, "b": ONE}


def test_who_only_starts_tells_no_fault_and_yet_leaves_its_predecessors_standing() -> None:
    notes = FaultBuffer()
    notes.told("source erp", ActiveFault(STARTING, 1))
    notes.told(START, None)
    assert notes.started.is_set()
    notes.inherit(["source erp", "source crm"])
    assert notes.take() == {START: None, "source crm": None}


def test_how_the_last_process_ended_stands_until_this_one_has_lived_for_a_while() -> None:
    notes = FaultBuffer()
    notes.inherit([PROCESS, "table"])
    assert notes.take() == {"table": None}
    notes.told("other", ONE)
    notes.take()
    notes.repeat()
    assert notes.take() == {"other": ONE}
    notes.outlived()
    assert notes.take() == {PROCESS: None}
    notes.outlived()
    assert notes.take() == {}


def test_a_process_that_ends_as_the_last_one_did_leaves_its_fault_standing() -> None:
    notes = FaultBuffer()
    notes.inherit([PROCESS])
    notes.told(PROCESS, ONE)
    notes.outlived()
    assert notes.take() == {PROCESS: ONE}


def test_how_often_something_was_tried_is_written_with_the_next_repetition() -> None:
    notes = FaultBuffer()
    notes.told("stream", ONE._replace(attempts=3))
    assert notes.take() == {"stream": ONE._replace(attempts=3)}
    notes.told("stream", ONE._replace(attempts=4))
    assert notes.take() == {}
    notes.repeat()
    assert notes.take()["stream"] == ONE._replace(attempts=4)


def test_a_record_of_a_fault_is_read_as_it_was_written_and_nothing_else_is() -> None:
    record = FaultRecord("mapper", "0", "raw.hr/0", "moved forward", 5, 9, 7)
    value = written("mapper", "0", "raw.hr/0", ActiveFault("moved forward", 5, 7), 9)
    assert value is not None
    assert FaultRecord.from_json(value) == record
    assert key_of("mapper", "0", "raw.hr/0") == b"mapper/0/raw.hr/0"
    assert written("mapper", "0", "raw.hr/0", None, 9) is None
    for bad in (b"", b"[]", b'{"v":2}', value.replace(b'"why"', b'"wy"'), value.replace(b"5", b"null")):
        assert FaultRecord.from_json(bad) is None
    older = value.replace(b',"attempts":7', b"")
    assert FaultRecord.from_json(older) == record._replace(attempts=0)


def test_health_tells_each_fault_that_is_new_changed_or_over_and_no_other() -> None:
    heard: list[tuple[str, str | None]] = []
    health = Health(on_change=lambda about, one: heard.append((about, one and one.why)))
    health.fault("table", "gone")
    health.fault("table", "gone")
    since_us = health.active["table"].since_us
    health.fault("table", "still gone")
    assert health.active["table"].since_us == since_us, "it stands since it began"
    health.resolve("table")
    health.resolve("table")
    assert heard == [("table", "gone"), ("table", "still gone"), ("table", None)]
