"""What an operator reads about active faults."""

from __future__ import annotations

import pytest

from sluice.cli.lag_report import LagReport, fault_lines, source_lines
from sluice.lag.backlog import Backlog
from sluice.lag.faults import ActiveFaults, read_faults
from sluice.lag.measure import StageLag
from sluice.lag.not_read import NotRead
from sluice.lag.sources import SourceLag
from sluice.lag.unattended_work import UnattendedWork
from sluice.telemetry.fault_record import FaultRecord

NOON_US = 1_772_366_400_000_000
NOON_S = NOON_US / 1e6


def fault(stage: str, about: str = "table t", instance: str = "0", since_us: int = NOON_US) -> FaultRecord:
    return FaultRecord(stage, instance, about, f"{about}: is missing. Next: create it", since_us, NOON_US)


def test_a_fault_is_one_line_with_stage_subject_time_cause_and_next_step() -> None:
    found = ActiveFaults((fault("mapper"), fault("sink-postgres", instance="warehouse.0")))
    assert list(fault_lines(found, NOON_S + 5)) == [
        "FAULT since 2026-03-01T12:00:00Z: mapper: table t: is missing. Next: create it",
        "FAULT since 2026-03-01T12:00:00Z: sink-postgres (warehouse.0): table t: is missing. Next: create it",
    ]


def test_the_number_of_failed_attempts_is_shown() -> None:
    (line,) = fault_lines(ActiveFaults((fault("ingress-poller")._replace(attempts=14),)), NOON_S)
    assert line.startswith("FAULT since 2026-03-01T12:00:00Z, failed 14 times in a row: ingress-poller: ")


def test_a_fault_that_is_not_repeated_is_marked() -> None:
    (line,) = fault_lines(ActiveFaults((fault("mapper"),)), NOON_S + 600)
    assert line.endswith("(not repeated for 10 min: does the process still run?)")


BLOCKED = NotRead("blocked", "moved forward", "accept it")
STAGE = StageLag("mapper", "mapper", {("raw.hr.workers", 0): Backlog(7, False, None)}, True, {})
QUIET = LagReport(ActiveFaults(), [STAGE], [SourceLag("hr", "workers", "poll", answer_age_s=9.0)], [], [])


@pytest.mark.parametrize(
    "wrong",
    [
        QUIET._replace(faults=ActiveFaults((fault("mapper"),))),
        QUIET._replace(faults=ActiveFaults(unknown="topic sluice.faults: does not exist")),
        QUIET._replace(stages=[STAGE._replace(not_read={("raw.hr.workers", 0): BLOCKED})]),
        QUIET._replace(stages=[STAGE._replace(not_read_unknown="no answer")]),
        QUIET._replace(stages=[STAGE._replace(members_unknown="no answer")]),
        QUIET._replace(sources=[SourceLag("erp", "", "cdc", why="cannot be reached. Next: start it")]),
        QUIET._replace(sources=[SourceLag("erp", "", "cdc", tables={"public.t": "missing: Next: create it"})]),
        QUIET._replace(unattended=[UnattendedWork("mapper", "no process", "start one", None)]),
        QUIET._replace(pollers_unknown="no answer"),
    ],
)
def test_a_report_is_not_clean_if_something_is_wrong_or_not_known_and_lag_alone_is_clean(wrong: LagReport) -> None:
    assert QUIET.is_clean
    assert not wrong.is_clean


def test_it_is_shown_if_the_faults_are_not_known() -> None:
    assert list(fault_lines(ActiveFaults(unknown="topic sluice.faults: does not exist"), NOON_S)) == [
        "whether faults are active is not known: topic sluice.faults: does not exist"
    ]


def test_faults_are_in_the_order_of_the_flow_and_the_oldest_of_a_stage_is_first() -> None:
    late, early = fault("mapper", "b"), fault("mapper", "c", since_us=NOON_US - 1)
    poller, other = fault("ingress-poller"), fault("of another version")
    found = read_faults(one.to_json() for one in (other, late, early, poller))
    assert found == ActiveFaults((poller, early, late, other))


def test_a_fault_in_a_form_that_is_not_read_is_counted() -> None:
    found = read_faults([fault("mapper").to_json(), b'{"v":2}'])
    assert found.faults == (fault("mapper"),)
    assert "1 in a form that this version does not read" in list(fault_lines(found, NOON_S))[-1]


def test_partitions_of_a_topic_that_share_a_fault_are_one_line() -> None:
    several = [fault("mapper", f"raw.hr.workers/{number}", since_us=NOON_US + number) for number in (0, 1, 10)]
    other = FaultRecord(
        "mapper", "0", "raw.hr.workers/2", "raw.hr.workers/2: is paused. Next: fix it", NOON_US, NOON_US
    )
    assert list(fault_lines(ActiveFaults((*several, other)), NOON_S + 5)) == [
        "FAULT since 2026-03-01T12:00:00Z: mapper: raw.hr.workers/0,1,10: is missing. Next: create it",
        "FAULT since 2026-03-01T12:00:00Z: mapper: raw.hr.workers/2: is paused. Next: fix it",
    ]


def test_a_fault_whose_text_begins_with_its_subject_does_not_name_it_twice() -> None:
    about = "source erp, table public.t"
    one = FaultRecord("ingress-cdc", "0", about, f"{about} is blocked: x. Next: y", NOON_US, NOON_US)
    (line,) = fault_lines(ActiveFaults((one,)), NOON_S + 5)
    assert line == f"FAULT since 2026-03-01T12:00:00Z: ingress-cdc: {about} is blocked: x. Next: y"


def test_a_faulty_table_without_a_process_is_shown_from_its_watermark() -> None:
    tables = {
        "public.a": "blocked: its column is missing. Next: restore it",
        "public.b": "blocked: x. Next: y",
        "public.c": "pending: waits",
    }
    erp = SourceLag("erp", "*", "cdc", why="source erp: no answer. Next: start it", tables=tables)
    assert list(source_lines([erp], {"source erp, table public.b"})) == [
        "source erp: no answer. Next: start it",
        "source erp, table public.a is blocked: its column is missing. Next: restore it",
    ]
