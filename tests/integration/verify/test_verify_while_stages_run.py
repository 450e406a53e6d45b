"""verify while the real mapper, merger and sink run: with arriving records, after a rewind, and after a sweep."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluice.embedded import Servers
from sluice.kafka.groups import members_of, set_offsets
from sluice.local.stage_process import StageProcess
from sluice.position import Position
from sluice.raw.writing import sweep_markers
from sluice.verify import Report, verify
from support.handmade import Handmade
from support.servers import drop_database
from support.waiting import eventually

STAGES = ("mapper", "merger", "sink-postgres")


@pytest.fixture(scope="module")
def made(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handmade]:
    name = f"running_{uuid.uuid4().hex[:10]}"
    servers.postgres.create_database(name)
    dsn, folder = servers.postgres.dsn(name), Path(tmp_path_factory.mktemp("people"))
    yield Handmade(servers.kafka.bootstrap_servers, servers.registry.url, dsn, f"{name}.", folder)
    drop_database(servers, name)


@pytest.fixture(scope="module")
def stages(made: Handmade) -> Iterator[dict[str, StageProcess]]:
    folder = made.settings.pipeline.parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SLUICE_PIPELINE": str(made.settings.pipeline),
        "SLUICE_STATE_DIR": str(folder / "stages"),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": made.kafka.bootstrap_servers,
        "SLUICE_REGISTRY__URL": made.settings.registry.url,
    }
    running = {name: StageProcess(name, folder, environment) for name in STAGES}
    for stage in running.values():
        stage.start()
    yield running
    for stage in running.values():
        stage.stop()


@contextmanager
def arriving(made: Handmade) -> Iterator[None]:
    """Records and deletes keep coming meanwhile."""
    ended = threading.Event()

    def run() -> None:
        number = 0
        while not ended.wait(0.01):
            number += 1
            who = f"P{number % 40}"
            if number % 7 == 0:
                made.delete(who)
            elif number % 3 == 0:
                made.staff(who, str(number))
            elif number % 50 == 1:
                made.person(who, "Unmapped", email=["cannot", "be", "mapped"])
            else:
                made.person(who, f"Somebody {number}", city="Kiel" if number % 2 else None)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def checked(made: Handmade, wait_s: float = 60.0) -> Report:
    return verify(made.pipeline, made.settings, wait_s=wait_s)


def assert_right(report: Report) -> None:
    """Nothing is wrong, and everything was checked except the sources, which no process follows here."""
    assert report.to_json()["findings"] == {}
    assert not report.pending
    assert {one.what for one in report.not_looked_at} == {"source erp", "source crm, stream people"}


def test_a_working_pipeline_is_verified_up_to_the_ends_that_were_noted(
    made: Handmade, stages: dict[str, StageProcess]
) -> None:
    with arriving(made):
        eventually(lambda: sum(made.ends(made.canonical).values()) > 100, "golden records")
        during = checked(made)
    assert during.to_json()["findings"] == {}
    assert not during.pending
    after = checked(made)
    assert_right(after)
    assert after.checked["rows"] > 10


def test_a_rewind_leaves_nothing_to_find(made: Handmade, stages: dict[str, StageProcess]) -> None:
    rewind(made, stages["mapper"], made.names.group("mapper"), (made.crm, made.erp))
    rewind(made, stages["sink-postgres"], made.names.group("sink-postgres"), (made.canonical,))
    assert_right(checked(made))


def rewind(made: Handmade, stage: StageProcess, group: str, topics: tuple[str, ...]) -> None:
    """Move the group to the first offset, as an operator does: stop, move, start."""
    stage.stop()
    eventually(lambda: members_of(made.admin, group) == 0, f"{group} has left")
    for topic in topics:
        set_offsets(made.admin, group, {(topic, p): 0 for p in range(made.partitions)})
    stage.start()


def test_a_sweep_leaves_nothing_to_find(made: Handmade, stages: dict[str, StageProcess]) -> None:
    kept = made.person("P1", "Stays")
    position = Position.parse(kept.headers["sluice-position"])
    for marker in sweep_markers(made.crm, "people", position, made.partitions):
        assert marker.key is not None
        assert marker.partition is not None
        made.produce(marker.topic, marker.key, marker.value, marker.headers, marker.partition)
    assert_right(checked(made))
