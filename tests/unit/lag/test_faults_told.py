"""How standing faults are said to an operator."""

from __future__ import annotations

from sluice.cli.lag import fault_lines
from sluice.lag.faults import StandingFaults, read_faults
from sluice.telemetry.fault_record import FaultRecord

NOON_US = 1_772_366_400_000_000
NOON_S = NOON_US / 1e6


def fault(stage: str, about: str = "table t", instance: str = "0", since_us: int = NOON_US) -> FaultRecord:
    return FaultRecord(stage, instance, about, f"{about}: is gone. Next: make it", since_us, NOON_US)


def test_a_fault_is_one_line_with_stage_thing_time_cause_and_next_step() -> None:
    found = StandingFaults((fault("mapper"), fault("sink-postgres", instance="warehouse.0")))
    assert list(fault_lines(found, NOON_S + 5)) == [
        "FAULT since 2026-03-01T12:00:00Z: mapper: table t: is gone. Next: make it",
        "FAULT since 2026-03-01T12:00:00Z: sink-postgres (warehouse.0): table t: is gone. Next: make it",
    ]


def test_a_fault_that_nobody_repeats_says_so() -> None:
    (line,) = fault_lines(StandingFaults((fault("mapper"),)), NOON_S + 600)
    assert line.endswith("(not repeated for 10 min: is the process gone?)")


def test_that_faults_are_not_known_is_said() -> None:
    assert list(fault_lines(StandingFaults(unknown="topic sluice.faults: does not exist"), NOON_S)) == [
        "whether faults stand is not known: topic sluice.faults: does not exist"
    ]


def test_faults_stand_in_the_order_of_the_flow_and_the_oldest_of_a_stage_first() -> None:
    late, early = fault("mapper", "b"), fault("mapper", "c", since_us=NOON_US - 1)
    poller, other = fault("ingress-poller"), fault("of another version")
    found = read_faults(one.to_json() for one in (other, late, early, poller))
    assert found == StandingFaults((poller, early, late, other))


def test_a_fault_in_a_form_that_is_not_read_is_counted() -> None:
    found = read_faults([fault("mapper").to_json(), b'{"v":2}'])
    assert found.faults == (fault("mapper"),)
    assert "1 in a form that this version does not read" in list(fault_lines(found, NOON_S))[-1]
