"""What nobody works at is told, with what to start; what a process works at, or will in a moment, is not."""

from __future__ import annotations

import pytest

from sluice.cli.lag import members_unknown_lines, unattended_lines
from sluice.lag import Backlog
from sluice.lag.measure import StageLag
from sluice.lag.sources import SourceLag
from sluice.lag.unattended_work import unattended
from sluice.telemetry.fault_record import FaultRecord

NOW_S = 1_772_366_400.0
RAW = ("raw.hr.workers", 0)


def stream(name: str, age_s: float | None, freshness_s: float = 3.0) -> SourceLag:
    return SourceLag("hr", name, "poll", answer_age_s=age_s, seen_age_s=age_s, seen_every_s=freshness_s)


def followed(age_s: float | None, attended: bool | None) -> SourceLag:
    return SourceLag("erp", "*", "cdc", seen_age_s=age_s, seen_every_s=10.0, attended=attended)


def stage(members: int | None, records: int, age_s: float = 60.0, sink: str = "") -> StageLag:
    oldest_ms = int((NOW_S - age_s) * 1000) if records else None
    return StageLag("mapper", "mapper", {RAW: Backlog(records, oldest_ms=oldest_ms)}, True, {}, "", members, sink)


POLLS = "since 2026-03-01T11:59:10Z: ingress-poller: nobody polls hr.a"


@pytest.mark.parametrize(
    ("pollers", "sources", "told"),
    [
        (0, [stream("a", 50), stream("b", 2)], [f"FAULT {POLLS}:"]),
        (0, [stream("a", 50), stream("b", None)], [f"FAULT {POLLS}, hr.b:"]),
        (0, [stream("a", None)], ["FAULT: ingress-poller: nobody polls hr.a:"]),
        (0, [stream("a", 2), stream("b", None)], []),  # b was declared just now, and the poller starts again
        (0, [stream("a", 50, freshness_s=60)], []),  # still as fresh as is wanted
        (1, [stream("a", 50)], []),  # whoever runs tells by itself why it does not poll
        (None, [stream("a", 50)], []),
        (0, [followed(50, False)], ["FAULT since 2026-03-01T11:59:10Z: ingress-cdc: nobody follows source erp:"]),
        (0, [followed(None, False)], ["FAULT: ingress-cdc: nobody follows source erp:"]),
        (0, [followed(50, True)], []),
        (0, [followed(50, None)], []),  # the source does not answer us either
        (0, [followed(15, False)], []),  # its process starts again
    ],
)
def test_a_source_that_nobody_asks_is_told(pollers: int | None, sources: list[SourceLag], told: list[str]) -> None:
    lines = list(unattended_lines(unattended(pollers, sources, [], [], NOW_S)))
    assert [line[: len(start)] for line, start in zip(lines, told, strict=True)] == told
    assert all(". Next: start `sluice run ingress-" in line for line in lines)


@pytest.mark.parametrize(
    ("stage", "about", "age_s", "told"),
    [
        ("ingress-cdc", "source erp", 20.0, False),  # whoever says so runs, and is not let in
        ("ingress-cdc", "source erp", 50.0, True),
        ("ingress-cdc", "process", 20.0, True),  # its last words
        ("mapper", "raw.erp/0", 20.0, True),
    ],
)
def test_a_process_that_tells_why_it_does_not_follow_is_not_missed(
    stage: str, about: str, age_s: float, told: bool
) -> None:
    fault = FaultRecord(stage, "0", about, "refused. Next: let us in", 0, int((NOW_S - age_s) * 1e6))
    assert bool(unattended(0, [followed(50, False)], [], [fault], NOW_S)) == told


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (stage(0, 3), True),
        (stage(0, 0), False),
        (stage(1, 3), False),
        (stage(None, 3), False),
        (stage(0, 3, age_s=5.0), False),
    ],
)
def test_records_that_no_member_of_a_group_reads_are_told(one: StageLag, told: bool) -> None:
    assert list(unattended_lines(unattended(1, [], [one], [], NOW_S))) == told * [
        "FAULT since 2026-03-01T11:59:00Z: mapper: nobody reads raw.hr.workers, which records wait in: group mapper "
        "has no member. Next: start `sluice run mapper`; if its process is there, it hangs: end it first"
    ]


def test_of_several_sinks_it_is_said_which_one_to_start() -> None:
    (line,) = unattended_lines(unattended(1, [], [stage(0, 3, sink="warehouse")], [], NOW_S))
    assert "with SLUICE_SINK=warehouse" in line


def test_that_nobody_can_say_whether_a_process_reads_is_told_as_well() -> None:
    unasked = stage(None, 3)._replace(members_unknown="describing group mapper: refused. Next: grant DESCRIBE")
    assert not unattended(None, [stream("a", 50)], [unasked], [], NOW_S)
    assert list(members_unknown_lines([unasked, stage(1, 0)], "describing group poller: refused")) == [
        "whether a process polls is not known: describing group poller: refused",
        "whether a process reads for mapper is not known: describing group mapper: refused. Next: grant DESCRIBE",
    ]


@pytest.mark.parametrize(
    ("pollers", "age_s", "freshness_s", "faults", "told"),
    [
        (2, 130, 3.0, [], True),
        (2, 110, 3.0, [], False),
        (2, 500, 60.0, [], False),  # ten times as old as it may be is what is told
        (2, 700, 60.0, [], True),
        (None, 700, 3.0, [], False),
        (2, 700, 3.0, ["hr/a changes request"], False),  # told already
        (2, 700, 3.0, ["hr/b changes request"], True),
        (2, 700, 3.0, ["shard 3"], False),  # whichever streams are in it
    ],
)
def test_a_stream_that_the_running_pollers_do_not_ask_is_told(
    pollers: int | None, age_s: float, freshness_s: float, faults: list[str], told: bool
) -> None:
    standing = [FaultRecord("ingress-poller", "0", about, "x. Next: y", 0, int((NOW_S - 20) * 1e6)) for about in faults]
    lines = list(unattended_lines(unattended(pollers, [stream("a", age_s, freshness_s)], [], standing, NOW_S)))
    assert [line.split(": ", 2)[2][:18] for line in lines] == ["hr.a has no answer"] * told
