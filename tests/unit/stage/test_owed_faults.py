"""A fault stands until what it is about succeeds; what succeeds beside it does not hide it."""

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

AT, BESIDE = ("input", 0), ("input", 1)
GONE = EnvironmentFault("table golden.worker", "does not exist", "run `sluice sink rebuild worker`")


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.stage.recovery.WAIT_MAX_S", 0.01)


def test_what_cannot_be_delivered_stands_in_every_turn_however_much_is_delivered_beside_it() -> None:
    stage = ScriptedStage({AT: [b"1", b"poison"], BESIDE: [b"a"]})
    stage.fetches_slowly = True
    stage.outputs.refused = {b"poison": GONE}
    stood: list[bool] = []

    def each(turn: int, it: ScriptedStage) -> None:
        it.group.assign([AT, BESIDE] if turn < 0 else [])
        if GONE.where in it.health.faults or stood:
            stood.append(GONE.where in it.health.faults)
        if turn > 4:
            it.arrive(BESIDE, [b"more"])
        if turn == 14:
            it.outputs.refused = {}

    stage.run(24, each)
    over = stood.index(False)
    assert over > 6
    assert not any(stood[over:]), f"the fault came and went: {stood}"
    assert b"poison" in stage.written("out")


def test_two_things_that_fail_stand_beside_each_other_until_each_succeeds() -> None:
    full = EnvironmentFault("table golden.unit", "is full", "make room")
    stage = ScriptedStage({AT: [b"x"], BESIDE: []})
    stage.outputs.refused = {b"x": GONE, b"y": full}
    told: list[set[str]] = []

    def each(turn: int, it: ScriptedStage) -> None:
        it.group.assign({-1: [AT], 6: [BESIDE]}.get(turn, []))
        told.append(set(it.health.faults))
        if turn == 6:
            it.outputs.refused = {b"y": full}
            it.arrive(AT, [b"y"])
        if turn == 14:
            it.outputs.refused = {}

    stage.run(24, each)
    assert {GONE.where, full.where} in told
    assert told[-1] == set()


def failed_twice(told_between: bool) -> tuple[Health, StageFaults, AssignmentState]:
    """A cause that is expected to pass, then another one that is not; `told_between`: the first was told by then."""
    health = Health()
    health.started()
    faults, debt = StageFaults(health), ResolvedBy(offsets={AT: 2})
    places = AssignmentState(frozenset([AT]), {AT: 1}, frozenset())
    faults.failed(STANDSTILL, "lost", debt, 0.0, passing=True)
    if told_between:
        faults.review(places, TRANSIENT_MAX_S)
    faults.failed("topic out", "gone", debt, TRANSIENT_MAX_S)
    faults.review(places, 3 * TRANSIENT_MAX_S)
    return health, faults, places


def test_a_passing_cause_that_is_not_told_yet_is_dropped_when_another_one_stands_in_the_way() -> None:
    health, _, _ = failed_twice(told_between=False)
    assert set(health.faults) == {"topic out"}


def test_a_passing_cause_that_was_told_stands_until_what_it_owes_is_done() -> None:
    health, faults, places = failed_twice(told_between=True)
    assert set(health.faults) == {"topic out", STANDSTILL}
    faults.review(places._replace(committed={AT: 2}), 4 * TRANSIENT_MAX_S)
    assert not health.faults


def test_a_fault_that_owes_no_record_is_over_once_something_is_delivered_though_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.stage.loop.IDLE_COMMIT_AFTER_S", 0.0)
    stage = ScriptedStage({AT: []})
    told: list[bool] = []

    def each(turn: int, it: ScriptedStage) -> None:
        it.group.assign([AT] if turn < 0 else [])
        told.append(GONE.where in it.health.faults)
        it.outputs.fault = GONE if turn < 5 else None

    stage.run(8, each)
    assert [standing for standing, _ in groupby(told)] == [False, True, False]
    assert stage.outputs.noted[AT] == 1


def faults() -> tuple[StageFaults, Health]:
    health = Health()
    health.started()
    return StageFaults(health), health


def places(
    committed: dict[Partition, int], beginning: Iterable[Partition] = (), waiting: Iterable[Partition] = ()
) -> AssignmentState:
    return AssignmentState(frozenset([*committed, *beginning]), committed, frozenset(waiting))


@pytest.mark.parametrize(
    ("debt", "not_yet", "done"),
    [
        pytest.param(ResolvedBy(offsets={AT: 7}), places({AT: 6, BESIDE: 99}), places({AT: 7}), id="its records"),
        pytest.param(
            ResolvedBy(work=frozenset([AT])), places({AT: 1}, waiting=[AT]), places({AT: 1}), id="work that comes first"
        ),
        pytest.param(
            ResolvedBy(work=frozenset([AT])), places({}, beginning=[AT]), places({AT: 1}), id="work, begun anew"
        ),
        pytest.param(
            ResolvedBy(offsets={AT: 7}), places({}, beginning=[AT]), places({AT: 9}), id="records, begun anew"
        ),
    ],
)
def test_a_fault_is_over_when_what_was_under_way_is_done(
    debt: ResolvedBy, not_yet: AssignmentState, done: AssignmentState
) -> None:
    owed, health = faults()
    owed.failed("it", "failed", debt, 0.0)
    owed.delivered()
    for now_s in range(100):
        owed.review(not_yet, float(now_s))
        assert health.faults == {"it": "failed"}
    owed.review(done, 100.0)
    assert not health.faults


def test_what_fails_again_further_on_owes_that_as_well() -> None:
    owed, health = faults()
    owed.failed("it", "failed", ResolvedBy(offsets={AT: 7}), 0.0)
    owed.failed("it", "failed", ResolvedBy(offsets={AT: 5, BESIDE: 3}), 1.0)
    owed.review(places({AT: 6, BESIDE: 3}), 2.0)
    owed.review(places({AT: 7, BESIDE: 2}), 3.0)
    assert not health.faults, "each was seen done"


def test_a_partition_is_begun_or_another_s_before_its_fault_is_over() -> None:
    owed, health = faults()
    owed.failed("input/0", "moved forward", ResolvedBy(begun=frozenset([AT])), 0.0)
    owed.review(places({BESIDE: 1}, beginning=[AT]), 1_000.0)
    assert health.faults
    owed.review(places({BESIDE: 1}), 1_000.0 + LOST_AFTER_S - 1)
    assert health.faults, "a rebalance, perhaps: it may come back"
    owed.review(places({BESIDE: 1}), 1_001.0 + LOST_AFTER_S)
    assert not health.faults
    owed.failed("input/0", "moved forward", ResolvedBy(begun=frozenset([AT])), 2_000.0)
    owed.began(BESIDE)
    owed.review(places({BESIDE: 1}, beginning=[AT]), 2_001.0)
    assert health.faults
    owed.began(AT)
    owed.review(places({BESIDE: 1, AT: 0}), 2_002.0)
    assert not health.faults


def test_joining_anew_ends_nothing_but_what_was_about_joining() -> None:
    owed, health = faults()
    owed.failed("it", "failed", ResolvedBy(offsets={AT: 7}), 0.0)
    owed.failed("topic dlq", "no right to it", ResolvedBy(joining=True), 1.0)
    owed.waiting_to_join(900.0)
    owed.joined(900.0)
    owed.review(places({}), 901.0)
    assert list(health.faults) == ["it"]


def test_what_passes_soon_is_no_fault_and_what_does_not_is_one() -> None:
    owed, health = faults()
    assert owed.failed(STANDSTILL, "no answer", ResolvedBy(offsets={AT: 7}), 0.0, passing=True)
    assert not owed.failed(STANDSTILL, "no answer", ResolvedBy(offsets={AT: 7}), 1.0, passing=True), "not news"
    owed.review(places({AT: 3}), TRANSIENT_MAX_S - 0.1)
    assert not health.faults
    owed.review(places({}), TRANSIENT_MAX_S + 0.1)
    assert not health.faults, "it moved: whoever has it now will tell"
    owed.review(places({AT: 3}), TRANSIENT_MAX_S + 0.2)
    assert list(health.faults) == [STANDSTILL]
    owed.review(places({AT: 7}), TRANSIENT_MAX_S + 0.3)
    assert not health.faults


def test_a_server_that_stays_away_makes_the_stage_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.stage.faults.TRANSIENT_MAX_S", 0.0)
    stage = ScriptedStage({AT: [b"1"]})
    stage.outputs.fault = Transient("sink warehouse: connection refused")
    stage.run(4, lambda turn, it: it.group.assign([AT] if turn < 0 else []))
    assert "sink warehouse: connection refused" in stage.health.faults[STANDSTILL]
