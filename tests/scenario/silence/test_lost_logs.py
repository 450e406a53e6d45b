"""Topics and states that are lost while every stage exists. Each time a fault names the topic and the next step. After
that step the golden records equal the sources, and a later delete arrives.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sluice.embedded import Servers
from sluice.embedded.tools import CONSUMER_GROUPS, kafka_tool
from sluice.names import INGRESS_CDC, INGRESS_POLLER, MAPPER, MERGER
from support.one_entity import COMMAND, OneEntity, one_entity, spelled
from support.replay import Replay
from support.scripted_source import ScriptedSource, scripted_source
from support.stream_deeds import PAGED, Listing, connector, people
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EARLIEST = "--to-earliest --execute"
MOVE = re.compile(r"kafka-consumer-groups(?:\.sh)? ([^`;,]*--to-earliest --execute)")


@pytest.fixture(scope="module")
def listing() -> Listing:
    return Listing(people(30))


@pytest.fixture(scope="module")
def source(listing: Listing) -> Iterator[ScriptedSource]:
    with scripted_source(listing) as running:
        yield running


@pytest.fixture(scope="module")
def pipeline(servers: Servers, source: ScriptedSource, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneEntity]:
    def fill(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE staff (id int PRIMARY KEY, pay int)")
            connection.execute("INSERT INTO staff SELECT g, g FROM generate_series(1, 30) g")

    directory: Path = tmp_path_factory.mktemp("lost")
    with one_entity(
        servers,
        directory,
        ["staff"],
        fill,
        streams={"people": "freshness: 1s, enumerate_every: 3s"},
        connector=connector({"people": PAGED}),
        url=source.url,
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def equal_before_and_after(pipeline: OneEntity, listing: Listing) -> Iterator[None]:
    """Before and after: equal and without a fault, after the next steps of the faults alone; then a delete of each
    source arrives."""
    await_equal(pipeline, listing)
    yield
    await_equal(pipeline, listing)
    pipeline.source.sql("DELETE FROM staff WHERE id = (SELECT min(id) FROM staff)")
    del listing.rows[0]
    await_equal(pipeline, listing)


def await_equal(pipeline: OneEntity, listing: Listing) -> None:
    obeyed: set[tuple[str, str]] = set()

    def equal() -> bool:
        pipeline.run.watch()
        for stage in pipeline.run.stages:
            for about, why in pipeline.faults(stage).items():
                if (stage, about + why) not in obeyed and obey(pipeline, stage, why):
                    obeyed.add((stage, about + why))
                    break
        golden = pipeline.golden()
        same = golden.get("staff", {}) == pipeline.stored("staff") and golden.get("people", {}) == spelled(listing.rows)
        return same and not any(pipeline.faults(stage) for stage in pipeline.run.stages)

    def state() -> str:
        return f"{pipeline.scenario.states()}\n{sorted(obeyed)}\n{pipeline.golden()}"

    eventually(equal, "golden equals the sources", 90.0, state)


def obey(pipeline: OneEntity, stage: str, why: str) -> bool:
    """Do the next step of a fault of this stage, as an operator does; False if the fault names none."""
    moves = [move for move in MOVE.findall(why) if f".{stage} " in move]
    named = COMMAND.search(why) is not None and not moves
    restarts = bool(moves) or "restart the stage" in why or "stop the sink" in why
    if restarts:
        pipeline.run.stop(stage)
    for move in moves:
        done = kafka_tool(CONSUMER_GROUPS, *shlex.split(os.path.expandvars(move)))
        assert done.returncode == 0, done.stdout + done.stderr
    if named:
        pipeline.follow_advice(why)
    if restarts:
        pipeline.run.start(stage)
    return restarts or named


def test_a_mapper_without_state_and_disk(pipeline: OneEntity, listing: Listing) -> None:
    names = pipeline.run.pipeline.names
    raw = names.raw("crm", "people")
    pipeline.run.stop(MAPPER)
    Replay(pipeline.scenario).lose_state(MAPPER)
    pipeline.make_topics_again(names.state(MAPPER, raw))
    del listing.rows[0]
    pipeline.run.start(MAPPER)
    pipeline.scenario.await_fault(MAPPER, names.state(MAPPER, raw), EARLIEST)


def test_contributions_created_again(pipeline: OneEntity) -> None:
    contributions = pipeline.run.pipeline.names.contributions("row")
    pipeline.run.stop(MAPPER, MERGER)
    pipeline.make_topics_again(contributions)
    pipeline.run.start(MAPPER, MERGER)
    pipeline.scenario.await_fault(MERGER, contributions, "have the mapper claim again", EARLIEST)
    pipeline.scenario.await_fault(MAPPER, contributions, EARLIEST)


def test_a_canonical_topic_created_again_under_running_stages(pipeline: OneEntity) -> None:
    canonical = pipeline.run.pipeline.names.canonical("row")
    pipeline.make_topics_again(canonical)
    pipeline.scenario.await_fault(MERGER, canonical, "restart the stage")


def test_the_raw_topic_of_a_followed_table_created_again(pipeline: OneEntity) -> None:
    pipeline.make_topics_again(pipeline.run.pipeline.names.raw("erp", "public.staff"))
    pipeline.source.sql("DELETE FROM staff WHERE id = (SELECT max(id) FROM staff)")
    pipeline.scenario.await_fault(INGRESS_CDC, "table public.staff is blocked", "raw topic")


def test_the_raw_topic_of_a_polled_stream_created_again_while_a_record_is_deleted(
    pipeline: OneEntity, listing: Listing
) -> None:
    """The source does not list the deleted record any more, and raw does not contain it."""
    pipeline.run.stop(INGRESS_POLLER)
    pipeline.make_topics_again(pipeline.run.pipeline.names.raw("crm", "people"))
    del listing.rows[-1]
    pipeline.run.start(INGRESS_POLLER)
