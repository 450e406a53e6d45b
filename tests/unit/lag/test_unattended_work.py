"""`sluice lag` shows work that no process does, and what to start; not work that a process does or will soon do."""

from __future__ import annotations

import pytest

from sluice.cli.lag_report import members_unknown_lines, unattended_lines
from sluice.lag import Backlog
from sluice.lag.measure import StageLag
from sluice.lag.sources import SourceLag
from sluice.lag.unattended_work import unattended_work
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


NOT_POLLED = "FAULT since 2026-03-01T11:59:10Z: ingress-poller: no process polls hr.a"


@pytest.mark.parametrize(
    ("pollers", "sources", "starts"),
    [
        (0, [stream("a", 50), stream("b", 2)], [f"{NOT_POLLED}:"]),
        (0, [stream("a", 50), stream("b", None)], [f"{NOT_POLLED}, hr.b:"]),
        (0, [stream("a", None)], ["FAULT: ingress-poller: no process polls hr.a:"]),
        (0, [stream("a", 2), stream("b", None)], []),  # b was just declared, and the poller restarts
        (0, [stream("a", 50, freshness_s=60)], []),  # still within its freshness
        (1, [stream("a", 50)], []),  # a poller that runs reports itself why it does not poll
        (None, [stream("a", 50)], []),
        (0, [followed(50, False)], ["FAULT since 2026-03-01T11:59:10Z: ingress-cdc: no process follows source erp:"]),
        (0, [followed(None, False)], ["FAULT: ingress-cdc: no process follows source erp:"]),
        (0, [followed(50, True)], []),
        (0, [followed(50, None)], []),  # the source does not answer this command either
        (0, [followed(15, False)], []),  # its process restarts
    ],
)
def test_a_source_without_a_process_is_shown(pollers: int | None, sources: list[SourceLag], starts: list[str]) -> None:
    lines = list(unattended_lines(unattended_work(pollers, sources, [], [], NOW_S)))
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    assert all(". Next: start `sluice run ingress-" in line for line in lines)


@pytest.mark.parametrize(
    ("stage", "about", "age_s", "shown"),
    [
        ("ingress-cdc", "source erp", 20.0, False),  # the process that reports it runs, and is refused
        ("ingress-cdc", "source erp", 50.0, True),
        ("ingress-cdc", "process", 20.0, True),  # reported at its end
        ("mapper", "raw.erp/0", 20.0, True),
    ],
)
def test_a_process_that_reports_why_it_does_not_follow_is_not_missed(
    stage: str, about: str, age_s: float, shown: bool
) -> None:
    fault = FaultRecord(stage, "0", about, "refused. Next: let us in", 0, int((NOW_S - age_s) * 1e6))
    assert bool(unattended_work(0, [followed(50, False)], [], [fault], NOW_S)) == shown


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (stage(0, 3), True),
        (stage(0, 0), False),
        (stage(1, 3), False),
        (stage(None, 3), False),
        (stage(0, 3, age_s=5.0), False),
    ],
)
def test_records_that_no_member_of_a_group_reads_are_shown(one: StageLag, shown: bool) -> None:
    assert list(unattended_lines(unattended_work(1, [], [one], [], NOW_S))) == shown * [
        "FAULT since 2026-03-01T11:59:00Z: mapper: no process reads raw.hr.workers, where records wait: group "
        "mapper has no member. Next: start `sluice run mapper`; if its process runs, it hangs: end it first"
    ]


def test_of_several_sinks_the_one_to_start_is_named() -> None:
    (line,) = unattended_lines(unattended_work(1, [], [stage(0, 3, sink="warehouse")], [], NOW_S))
    assert "with SLUICE_SINK=warehouse" in line


def test_it_is_shown_if_it_is_not_known_whether_a_process_reads() -> None:
    unasked = stage(None, 3)._replace(members_unknown="describing group mapper: refused. Next: grant DESCRIBE")
    assert not unattended_work(None, [stream("a", 50)], [unasked], [], NOW_S)
    assert list(members_unknown_lines([unasked, stage(1, 0)], "describing group poller: refused")) == [
        "whether a process polls is not known: describing group poller: refused",
        "whether a process reads for mapper is not known: describing group mapper: refused. Next: grant DESCRIBE",
    ]


@pytest.mark.parametrize(
    ("pollers", "age_s", "freshness_s", "faults", "shown"),
    [
        (2, 130, 3.0, [], True),
        (2, 110, 3.0, [], False),
        (2, 500, 60.0, [], False),  # shown from ten times its freshness on
        (2, 700, 60.0, [], True),
        (None, 700, 3.0, [], False),
        (2, 700, 3.0, ["hr/a changes request"], False),  # reported already
        (2, 700, 3.0, ["hr/b changes request"], True),
        (2, 700, 3.0, ["shard 3"], False),  # any stream may be in that shard
    ],
)
def test_a_stream_that_the_running_pollers_do_not_poll_is_shown(
    pollers: int | None, age_s: float, freshness_s: float, faults: list[str], shown: bool
) -> None:
    active = [FaultRecord("ingress-poller", "0", about, "x. Next: y", 0, int((NOW_S - 20) * 1e6)) for about in faults]
    lines = list(unattended_lines(unattended_work(pollers, [stream("a", age_s, freshness_s)], [], active, NOW_S)))
    assert [line.split(": ", 2)[2][:18] for line in lines] == ["hr.a has no answer"] * shown
