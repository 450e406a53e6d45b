"""A fault is active until what it is about succeeds; success elsewhere does not hide it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import pytest

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka.log import Partition
from sluice.stage.faults import LOST_AFTER_S, TRANSIENT_MAX_S, AssignmentState, ResolvedBy, StageFaults
from sluice.stage.recovery import STANDSTILL
from sluice.telemetry import Health
from support.scripted_group import ScriptedStage

AT, OTHER = ("input", 0), ("input", 1)
MISSING = EnvironmentFault("table golden.worker", "does not exist", "run `sluice sink rebuild worker`")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.stage.recovery.WAIT_MAX_S", 0.01)


def test_a_fault_of_a_delivery_is_active_in_every_turn_while_other_partitions_deliver() -> None:
    stage = ScriptedStage({AT: [b"1", b"poison"], OTHER: [b"a"]})
    stage.fetches_slowly = True
    stage.outputs.refused = {b"poison": MISSING}
    active: list[bool] = []

    def each(turn: int, it: ScriptedStage) -> None:
        it.group.assign([AT, OTHER] if turn < 0 else [])
        if MISSING.where in it.health.faults or active:
            active.append(MISSING.where in it.health.faults)
        if turn > 4:
            it.arrive(OTHER, [b"more"])
        if turn == 14:
            it.outputs.refused = {}

    stage.run(24, each)
    resolved = active.index(False)
    assert resolved > 6
    assert not any(active[resolved:]), f"the fault came and went: {active}"
    assert b"poison" in stage.written("out")


def test_two_faults_are_active_at_once_until_each_is_resolved() -> None:
    full = EnvironmentFault("table golden.unit", "is full", "make room")
    stage = ScriptedStage({AT: [b"x"], OTHER: []})
    stage.outputs.refused = {b"x": MISSING, b"y": full}
    reported: list[set[str]] = []

    def each(turn: int, it: ScriptedStage) -> None:
        it.group.assign({-1: [AT], 6: [OTHER]}.get(turn, []))
        reported.append(set(it.health.faults))
        if turn == 6:
            it.outputs.refused = {b"y": full}
            it.arrive(AT, [b"y"])
        if turn == 14:
            it.outputs.refused = {}

    stage.run(24, each)
    assert {MISSING.where, full.where} in reported
    assert reported[-1] == set()


def failed_twice(reported_between: bool) -> tuple[Health, StageFaults, AssignmentState]:
    """A transient fault, then one that is not. `reported_between`: the first was reported before the second came."""
    health = Health()
    health.started()
    faults, resolved_by = StageFaults(health), ResolvedBy(offsets={AT: 2})
    state = AssignmentState(frozenset([AT]), {AT: 1}, frozenset())
    faults.failed(STANDSTILL, "lost", resolved_by, 0.0, transient=True)
    if reported_between:
        faults.review(state, TRANSIENT_MAX_S)
    faults.failed("topic out", "missing", resolved_by, TRANSIENT_MAX_S)
    faults.review(state, 3 * TRANSIENT_MAX_S)
    return health, faults, state


def test_a_transient_fault_that_is_not_reported_yet_is_dropped_when_another_fault_comes() -> None:
    health, _, _ = failed_twice(reported_between=False)
    assert set(health.faults) == {"topic out"}


def test_a_transient_fault_that_was_reported_is_active_until_its_work_is_done() -> None:
    health, faults, state = failed_twice(reported_between=True)
    assert set(health.faults) == {"topic out", STANDSTILL}
    faults.review(state._replace(committed={AT: 2}), 4 * TRANSIENT_MAX_S)
    assert not health.faults


def test_a_fault_without_records_is_resolved_by_a_delivery_that_needs_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.stage.loop.IDLE_COMMIT_AFTER_S", 0.0)
    stage = ScriptedStage({AT: []})
    reported: list[bool] = []

    def each(turn: int, it: ScriptedStage) -> None:
        it.group.assign([AT] if turn < 0 else [])
        reported.append(MISSING.where in it.health.faults)
        it.outputs.fault = MISSING if turn < 5 else None

    stage.run(8, each)
    assert [active for active, _ in groupby(reported)] == [False, True, False]
    assert stage.outputs.noted[AT] == 1


def faults() -> tuple[StageFaults, Health]:
    health = Health()
    health.started()
    return StageFaults(health), health


def state(
    committed: dict[Partition, int], starting: Iterable[Partition] = (), blocked: Iterable[Partition] = ()
) -> AssignmentState:
    return AssignmentState(frozenset([*committed, *starting]), committed, frozenset(blocked))


@pytest.mark.parametrize(
    ("resolved_by", "not_yet", "done"),
    [
        pytest.param(ResolvedBy(offsets={AT: 7}), state({AT: 6, OTHER: 99}), state({AT: 7}), id="its records"),
        pytest.param(ResolvedBy(work={AT}), state({AT: 1}, blocked=[AT]), state({AT: 1}), id="background work"),
        pytest.param(ResolvedBy(work={AT}), state({}, starting=[AT]), state({AT: 1}), id="work, started again"),
        pytest.param(
            ResolvedBy(offsets={AT: 7}), state({}, starting=[AT]), state({AT: 9}), id="records, started again"
        ),
    ],
)
def test_a_fault_is_resolved_when_the_work_that_was_under_way_is_done(
    resolved_by: ResolvedBy, not_yet: AssignmentState, done: AssignmentState
) -> None:
    reports, health = faults()
    reports.failed("it", "failed", resolved_by, 0.0)
    reports.delivered()
    for now_s in range(100):
        reports.review(not_yet, float(now_s))
        assert health.faults == {"it": "failed"}
    reports.review(done, 100.0)
    assert not health.faults


def test_a_fault_that_comes_again_at_later_offsets_is_resolved_by_these_too() -> None:
    reports, health = faults()
    reports.failed("it", "failed", ResolvedBy(offsets={AT: 7}), 0.0)
    reports.failed("it", "failed", ResolvedBy(offsets={AT: 5, OTHER: 3}), 1.0)
    reports.review(state({AT: 6, OTHER: 3}), 2.0)
    reports.review(state({AT: 7, OTHER: 2}), 3.0)
    assert not health.faults, "both offsets were committed"


def test_a_fault_of_a_start_is_resolved_when_the_partition_starts_or_is_revoked_for_long() -> None:
    reports, health = faults()
    reports.failed("input/0", "moved forward", ResolvedBy(started={AT}), 0.0)
    reports.review(state({OTHER: 1}, starting=[AT]), 1_000.0)
    assert health.faults
    reports.review(state({OTHER: 1}), 1_000.0 + LOST_AFTER_S - 1)
    assert health.faults, "after a rebalance it may be assigned again"
    reports.review(state({OTHER: 1}), 1_001.0 + LOST_AFTER_S)
    assert not health.faults
    reports.failed("input/0", "moved forward", ResolvedBy(started={AT}), 2_000.0)
    reports.started(OTHER)
    reports.review(state({OTHER: 1}, starting=[AT]), 2_001.0)
    assert health.faults
    reports.started(AT)
    reports.review(state({OTHER: 1, AT: 0}), 2_002.0)
    assert not health.faults


def test_joining_again_resolves_only_a_fault_about_joining() -> None:
    reports, health = faults()
    reports.failed("it", "failed", ResolvedBy(offsets={AT: 7}), 0.0)
    reports.failed("topic dlq", "no right to it", ResolvedBy(joined=True), 1.0)
    reports.not_joined(900.0)
    reports.joined(900.0)
    reports.review(state({}), 901.0)
    assert list(health.faults) == ["it"]


def test_a_transient_error_is_a_fault_only_if_it_lasts() -> None:
    reports, health = faults()
    assert reports.failed(STANDSTILL, "no answer", ResolvedBy(offsets={AT: 7}), 0.0, transient=True)
    assert not reports.failed(STANDSTILL, "no answer", ResolvedBy(offsets={AT: 7}), 1.0, transient=True), (
        "the cause is not new"
    )
    reports.review(state({AT: 3}), TRANSIENT_MAX_S - 0.1)
    assert not health.faults
    reports.review(state({}), TRANSIENT_MAX_S + 0.1)
    assert not health.faults, "it was revoked: the next owner reports it"
    reports.review(state({AT: 3}), TRANSIENT_MAX_S + 0.2)
    assert list(health.faults) == [STANDSTILL]
    reports.review(state({AT: 7}), TRANSIENT_MAX_S + 0.3)
    assert not health.faults


def test_a_server_that_does_not_answer_makes_the_stage_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.stage.faults.TRANSIENT_MAX_S", 0.0)
    stage = ScriptedStage({AT: [b"1"]})
    stage.outputs.fault = Transient("sink warehouse: connection refused")
    stage.run(4, lambda turn, it: it.group.assign([AT] if turn < 0 else []))
    assert "sink warehouse: connection refused" in stage.health.faults[STANDSTILL]
