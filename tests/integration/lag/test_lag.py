"""The records that a group has not processed, counted in real logs that contain transaction markers."""

from __future__ import annotations

import time

import orjson
import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.groups import set_offsets
from sluice.kafka.topics import Topic, Topics
from sluice.lag import Backlog, backlogs, committed_offsets
from sluice.stage.partition_record import PartitionRecord, partition_key
from support.handmade import Handmade
from support.stage_processes import environment_of
from support.topics import make_topics
from support.waiting import eventually


@pytest.fixture
def topic(kafka: str, topic_prefix: str) -> str:
    settings = KafkaSettings(bootstrap_servers=kafka)
    Topics(clients.admin(settings)).apply([Topic(f"{topic_prefix}log", 1, {})])
    return f"{topic_prefix}log"


def transactions(settings: KafkaSettings, topic: str, *, committed: int, aborted: int = 0) -> None:
    """One record a transaction. Each record is flushed first, so aborted records are in the log too."""
    producer = clients.producer(settings, f"{topic}-producer")
    producer.init_transactions(30)
    for number in range(committed + aborted):
        producer.begin_transaction()
        producer.produce(topic, b"value", b"key", 0, timestamp=1_700_000_000_000 + number)
        assert producer.flush(10) == 0
        if number < committed:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)


def backlog(settings: KafkaSettings, topic: str, start: int, counted_max: int = 10_000) -> Backlog:
    at = (topic, 0)
    with LogReader(settings) as reader:
        return backlogs(reader, {at: (start, reader.ends([at], committed=True)[at])}, counted_max)[at]


def test_markers_and_aborted_records_are_no_lag(kafka: str, topic: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka)
    transactions(settings, topic, committed=3, aborted=2)
    with LogReader(settings) as reader:
        eventually(lambda: reader.ends([(topic, 0)]) == {(topic, 0): 2 * (3 + 2)}, "a record and a marker for each")
    assert backlog(settings, topic, 0).records == 3
    assert backlog(settings, topic, 5).records == 0, "its marker and aborted records follow the last record"


def test_the_age_is_that_of_the_oldest_record_that_is_not_processed(kafka: str, topic: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka)
    transactions(settings, topic, committed=3)
    found = backlog(settings, topic, 2)
    assert found.oldest_ms == 1_700_000_000_001
    assert found.age_s(1_700_000_010.001) == 10.0


def test_a_large_backlog_is_an_upper_bound(kafka: str, topic: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka)
    transactions(settings, topic, committed=5)
    found = backlog(settings, topic, 0, counted_max=4)
    assert (found.records, str(found)) == (2 + 6, "≤ 8")
    assert found.oldest_ms == 1_700_000_000_000


def test_a_group_that_does_not_exist_has_committed_nothing(kafka: str, topic: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka)
    admin = clients.admin(settings)
    assert committed_offsets(settings, f"{topic}-absent", [(topic, 0)]) == {}
    set_offsets(admin, f"{topic}-present", {(topic, 0): 0})
    assert committed_offsets(settings, f"{topic}-present", [(topic, 0)]) == {(topic, 0): 0}


def test_the_command_counts_what_each_stage_has_not_processed(
    handmade: Handmade,
) -> None:
    handmade.mapped(handmade.person("P1", "Ada"))
    handmade.merged("P1")
    handmade.finish()
    raw = handmade.person("P2", "Grace")
    mark = {"v": 1, "cursor": None, "at": (time.time() - 30) * 1e6}
    handmade.produce(handmade.names.watermarks, b"crm/people", orjson.dumps(mark), [], 0)
    environment = environment_of(handmade.settings, NOT_SET_FOR_TESTS=handmade.dsn)
    done = CliRunner().invoke(app, ["lag", "--json"], env=environment)
    assert done.exit_code == 1, done.output  # no process polls, which is a finding
    report = orjson.loads(done.stdout.splitlines()[-1])
    mapper, merger = report["stages"][handmade.names.group("mapper")], report["stages"][handmade.names.group("merger")]
    assert mapper["records"] == 1
    assert [(one["topic"], one["partition"]) for one in mapper["partitions"]] == [(handmade.crm, raw.partition)]
    assert mapper["seconds"] > 0
    assert (merger["records"], merger["started"]) == (0, True)
    people, erp = report["sources"]
    assert 30 <= people["answer_age_s"] < 300
    assert erp["why"] == "nothing was published yet"
    unattended = {one["stage"]: one["why"] for one in report["unattended"]}
    assert unattended["ingress-cdc"].startswith("no process follows source erp")
    assert mapper["members"] == 0
    mark["at"] = (time.time() - 90) * 1e6  # beyond its freshness
    handmade.produce(handmade.names.watermarks, b"crm/people", orjson.dumps(mark), [], 0)
    table = CliRunner().invoke(app, ["lag", "--partitions"], env={**environment, "COLUMNS": "200"})
    assert f"{handmade.crm}/{raw.partition}" in table.stdout
    assert "ingress-poller: no process polls crm.people" in table.stdout
    assert "`sluice run ingress-poller`" in table.stdout


def test_what_a_removed_source_and_a_foreign_writer_leave_is_shown(
    handmade: Handmade,
) -> None:
    left = handmade.names.raw("old", "things")
    make_topics(clients.admin(handmade.settings.kafka), {left: 1})
    for key in (b"crm/people", b"erp/*", b"garbage"):
        handmade.produce(handmade.names.watermarks, key, b"garbage", [], 0)
    environment = environment_of(handmade.settings, NOT_SET_FOR_TESTS=handmade.dsn)
    done = CliRunner().invoke(app, ["lag"], env={**environment, "COLUMNS": "80"})
    assert done.exit_code == 1, done.output  # no process polls, which is a finding
    assert f"no source of this pipeline writes {left} any more" in done.stdout
    for begins in ("source crm: crm/people in ", "source erp in "):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(begins)]
        assert "no version of Sluice wrote this form of watermark. Next: find what else writes" in line


def test_the_command_shows_what_is_not_read_why_and_how_to_let_it_continue(
    handmade: Handmade,
) -> None:
    raw = handmade.person("P1", "Ada")
    handmade.mapped(raw)
    handmade.merged("P1")
    handmade.finish()
    topic_ids = {
        name: about.topic_id for name, about in Topics(handmade.admin).pinned([handmade.crm, handmade.erp]).items()
    }
    left = PartitionRecord(topic_ids[handmade.crm], raw.offset)
    paused = PartitionRecord(topic_ids[handmade.erp], 0, paused_at=1_772_366_400.0)
    for at, record in {raw.at: left, (handmade.erp, 1): paused}.items():
        state = handmade.names.state("mapper", at[0])
        handmade.produce(state, partition_key(at[1]), record.to_json(), [], at[1])
    handmade.sql("UPDATE golden._owner SET paused_at = 1772366400 WHERE partition = 1")
    environment = environment_of(handmade.settings, COLUMNS="500")

    def not_read() -> dict[tuple[str, str, int], str]:
        done = CliRunner().invoke(app, ["lag", "--json"], env=environment)
        assert done.exit_code == 1, done.output  # no process polls, which is a finding
        stages = orjson.loads(done.stdout.splitlines()[-1])["stages"].values()
        return {
            (stage["stage"], at["topic"], at["partition"]): at["not_read"]["kind"]
            for stage in stages
            for at in stage["partitions"]
            if at["not_read"] is not None
        }

    expected = {("mapper", handmade.erp, 1): "paused", ("sink-postgres", handmade.canonical, 1): "paused"}
    assert not_read() == {**expected, ("mapper", handmade.crm, raw.partition): "blocked"}
    output = CliRunner().invoke(app, ["lag"], env=environment).stdout
    accept = (
        f"sluice skips accept {handmade.names.group('mapper')} {handmade.crm} {raw.partition} --to {raw.offset + 1}"
    )
    assert accept in output
    assert "too many dead letters" in output
    assert "stop sink-postgres, kafka-consumer-groups --bootstrap-server" in output
    assert f"--group {handmade.names.group('sink-postgres')} --topic" in output
    other = CliRunner().invoke(app, [*accept.split()[1:-1], "999"], env=environment)
    assert (other.exit_code, "accepted" in other.stdout) == (2, False)
    accepted = CliRunner().invoke(app, accept.split()[1:], env=environment)
    assert accepted.exit_code == 0, accepted.output
    assert not_read() == expected
