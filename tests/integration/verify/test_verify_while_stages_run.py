"""verify while the real mapper, merger and sink run: with arriving records, after a rewind, and after a sweep."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sluice.kafka.groups import members_of, set_offsets
from sluice.local.stage_process import StageProcess
from sluice.position import Position
from sluice.raw.writing import sweep_markers
from sluice.verify import Report, verify
from support.handmade import Handmade
from support.stage_processes import stage_processes
from support.waiting import eventually

STAGES = ("mapper", "merger", "sink-postgres")


@pytest.fixture(scope="module")
def stages(shared_handmade: Handmade) -> Iterator[dict[str, StageProcess]]:
    with stage_processes(shared_handmade.settings, STAGES) as running:
        yield running


@contextmanager
def arriving(handmade: Handmade) -> Iterator[None]:
    """Records and deletes keep coming meanwhile."""
    ended = threading.Event()

    def run() -> None:
        number = 0
        while not ended.wait(0.01):
            number += 1
            who = f"P{number % 40}"
            if number % 7 == 0:
                handmade.delete(who)
            elif number % 3 == 0:
                handmade.staff(who, str(number))
            elif number % 50 == 1:
                handmade.person(who, "Unmapped", email=["cannot", "be", "mapped"])
            else:
                handmade.person(who, f"Somebody {number}", city="Kiel" if number % 2 else None)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def checked(handmade: Handmade, wait_s: float = 60.0) -> Report:
    return verify(handmade.pipeline, handmade.settings, wait_s=wait_s)


def assert_right(report: Report) -> None:
    """Nothing is wrong, and everything was checked except the sources, which no process follows here."""
    assert report.to_json()["findings"] == {}
    assert not report.pending
    assert {one.what for one in report.not_checked} == {"source erp", "source crm, stream people"}


def test_a_working_pipeline_is_verified_up_to_the_ends_that_were_noted(
    shared_handmade: Handmade, stages: dict[str, StageProcess]
) -> None:
    with arriving(shared_handmade):
        eventually(lambda: sum(shared_handmade.ends(shared_handmade.canonical).values()) > 100, "golden records")
        during = checked(shared_handmade)
    assert during.to_json()["findings"] == {}
    assert not during.pending
    after = checked(shared_handmade)
    assert_right(after)
    assert after.checked["rows"] > 10


def test_a_rewind_leaves_nothing_to_find(shared_handmade: Handmade, stages: dict[str, StageProcess]) -> None:
    rewind(
        shared_handmade,
        stages["mapper"],
        shared_handmade.names.group("mapper"),
        (shared_handmade.crm, shared_handmade.erp),
    )
    rewind(
        shared_handmade,
        stages["sink-postgres"],
        shared_handmade.names.group("sink-postgres"),
        (shared_handmade.canonical,),
    )
    assert_right(checked(shared_handmade))


def rewind(handmade: Handmade, stage: StageProcess, group: str, topics: tuple[str, ...]) -> None:
    """Move the group to the first offset, as an operator does: stop, move, start."""
    stage.stop()
    eventually(lambda: members_of(handmade.admin, group) == 0, f"{group} has left")
    for topic in topics:
        set_offsets(handmade.admin, group, {(topic, p): 0 for p in range(handmade.partitions)})
    stage.start()


def test_a_sweep_leaves_nothing_to_find(shared_handmade: Handmade, stages: dict[str, StageProcess]) -> None:
    kept = shared_handmade.person("P1", "Stays")
    position = Position.parse(kept.headers["sluice-position"])
    for marker in sweep_markers(shared_handmade.crm, "people", position, shared_handmade.partitions):
        assert marker.key is not None
        assert marker.partition is not None
        shared_handmade.produce(marker.topic, marker.key, marker.value, marker.headers, marker.partition)
    assert_right(checked(shared_handmade))
