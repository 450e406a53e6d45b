"""Which faults of a process are written next, and which of the process before it are resolved."""

from __future__ import annotations

from sluice.telemetry.fault_buffer import FaultBuffer
from sluice.telemetry.fault_record import FaultRecord, fault_key, fault_value
from sluice.telemetry.health import PROCESS, START, STARTING, ActiveFault, Health

ONE = ActiveFault("no such table", 1)
OTHER = ActiveFault("no such column", 1)


def test_only_the_newest_state_of_each_fault_waits() -> None:
    buffer = FaultBuffer()
    for _ in range(1_000):
        buffer.changed("table", ONE)
        buffer.changed("table", None)
    buffer.changed("table", OTHER)
    assert buffer.take() == {"table": OTHER}
    assert buffer.take() == {}


def test_a_state_that_could_not_be_written_waits_unless_a_newer_one_exists() -> None:
    buffer = FaultBuffer()
    buffer.changed("a", ONE)
    buffer.changed("b", ONE)
    taken = buffer.take()
    buffer.changed("a", None)
    buffer.give_back(taken)
    assert buffer.take() == {"a": None, "b": ONE}


def test_a_subject_that_only_starts_is_no_fault_and_keeps_the_fault_of_the_process_before() -> None:
    buffer = FaultBuffer()
    buffer.changed("source erp", ActiveFault(STARTING, 1))
    buffer.changed(START, None)
    assert buffer.started.is_set()
    buffer.inherit(["source erp", "source crm"])
    assert buffer.take() == {START: None, "source crm": None}


def test_the_end_of_the_last_process_is_a_fault_until_this_one_has_run_for_a_while() -> None:
    buffer = FaultBuffer()
    buffer.inherit([PROCESS, "table"])
    assert buffer.take() == {"table": None}
    buffer.changed("other", ONE)
    buffer.take()
    buffer.repeat()
    assert buffer.take() == {"other": ONE}
    buffer.outlived()
    assert buffer.take() == {PROCESS: None}
    buffer.outlived()
    assert buffer.take() == {}


def test_a_process_that_ends_like_the_last_one_keeps_the_fault_active() -> None:
    buffer = FaultBuffer()
    buffer.inherit([PROCESS])
    buffer.changed(PROCESS, ONE)
    buffer.outlived()
    assert buffer.take() == {PROCESS: ONE}


def test_the_number_of_attempts_is_written_with_the_next_repetition() -> None:
    buffer = FaultBuffer()
    buffer.changed("stream", ONE._replace(attempts=3))
    assert buffer.take() == {"stream": ONE._replace(attempts=3)}
    buffer.changed("stream", ONE._replace(attempts=4))
    assert buffer.take() == {}
    buffer.repeat()
    assert buffer.take()["stream"] == ONE._replace(attempts=4)


def test_only_a_complete_fault_record_is_read() -> None:
    record = FaultRecord("mapper", "0", "raw.hr/0", "moved forward", 5, 9, 7)
    value = fault_value("mapper", "0", "raw.hr/0", ActiveFault("moved forward", 5, 7), 9)
    assert value is not None
    assert FaultRecord.from_json(value) == record
    assert fault_key("mapper", "0", "raw.hr/0") == b"mapper/0/raw.hr/0"
    assert fault_value("mapper", "0", "raw.hr/0", None, 9) is None
    for bad in (b"", b"[]", b'{"v":2}', value.replace(b'"why"', b'"wy"'), value.replace(b"5", b"null")):
        assert FaultRecord.from_json(bad) is None
    older = value.replace(b',"attempts":7', b"")
    assert FaultRecord.from_json(older) == record._replace(attempts=0)


def test_health_reports_each_new_changed_or_resolved_fault_once() -> None:
    reported: list[tuple[str, str | None]] = []
    health = Health(on_change=lambda about, one: reported.append((about, one and one.why)))
    health.fault("table", "missing")
    health.fault("table", "missing")
    since_us = health.active["table"].since_us
    health.fault("table", "still missing")
    assert health.active["table"].since_us == since_us, "the start of the fault does not change"
    health.resolve("table")
    health.resolve("table")
    assert reported == [("table", "missing"), ("table", "still missing"), ("table", None)]
