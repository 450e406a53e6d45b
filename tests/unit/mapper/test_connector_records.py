"""Records that a real Debezium connector wrote are mapped in the order of the source, epoch by epoch."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sluice.errors import DeadRecord, TopicFault
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.raw.connector_record import (
    UNAVAILABLE,
    Epoch,
    connector_position,
    epoch_at,
    epochs_of,
    epochs_record,
)
from support.mapping_bench import TOPIC, MapperBench
from support.memory_log import MemoryLogs
from unit.mapper.test_mapper_semantics import person, row

CONTROL = "sluice.control"


def event(row: dict[str, Any] | None, sequence: list[str | None], snapshot: str = "false", op: str = "u") -> bytes:
    source = {"ts_ms": 1_000, "ts_us": 1_000_000, "lsn": int(sequence[1] or 0), "snapshot": snapshot}
    body = {"before": None, "after": row, "op": "d" if row is None else op}
    return orjson.dumps({**body, "source": {**source, "sequence": orjson.dumps(sequence).decode()}})


class Connector:
    """A mapper whose topic a connector fills, and the epochs of its source."""

    def __init__(self) -> None:
        self.bench = MapperBench(person())
        self.logs = MemoryLogs()
        self.epochs: list[Epoch] = []
        self.started()

    def started(self) -> None:
        self.bench.read_epochs_from(self.logs, CONTROL)

    def writes(self, key: int, value: bytes | None, *, with_schema: bool = False) -> None:
        key_bytes = orjson.dumps({"id": key})
        if with_schema:
            key_bytes = orjson.dumps({"schema": {}, "payload": {"id": key}})
        self.bench.append(key_bytes, value, "0:0:0")
        self.bench.log[-1] = self.bench.log[-1]._replace(headers={})
        self.logs.append(TOPIC, 0, key_bytes, value, [])

    def streams(self, key: int, name: str | None, *sequence: str | None) -> None:
        self.writes(key, event(None if name is None else row(key, name=name), [*sequence]))

    def reads(self, key: int, name: str, lsn: str, snapshot: str = "true") -> None:
        self.writes(key, event(row(key, name=name), [None, lsn], snapshot, "r"))

    def begins_epoch(self, number: int) -> None:
        self.epochs.append(Epoch(number, {TOPIC: [len(self.bench.log)]}))
        self.logs.append(CONTROL, 0, b"epochs/erp", orjson.dumps(epochs_record(self.epochs)), [])

    def names(self) -> dict[str, Any]:
        self.bench.run()
        return {entity: fields["name"] for entity, fields in self.bench.live().items()}


@pytest.fixture
def connector() -> Connector:
    return Connector()


PERSON = "E1/person/main"


def test_a_snapshot_and_its_changes_are_mapped(connector: Connector) -> None:
    connector.reads(1, "Ada", "900")
    connector.streams(1, "Bea", None, "1000")
    assert connector.names() == {PERSON: "Bea"}
    connector.streams(1, None, "1000", "1100")
    connector.writes(1, None)
    assert connector.names() == {}
    assert connector.bench.outcomes == ["mapped", "mapped", "mapped", "unchanged"]


def test_the_order_is_that_of_commits_and_not_of_event_lsns(connector: Connector) -> None:
    connector.streams(1, "written first, committed last", "2000", "1500")
    connector.streams(1, "committed first", "1000", "1600")
    assert connector.names() == {PERSON: "written first, committed last"}


def test_a_snapshot_that_was_interrupted_and_read_again_replaces_its_rows(connector: Connector) -> None:
    connector.reads(1, "first try", "900")
    connector.reads(1, "second try", "950")
    assert connector.names() == {PERSON: "second try"}


def test_rows_of_an_incremental_snapshot_are_in_the_order_of_the_stream(connector: Connector) -> None:
    connector.streams(1, "old", "1000", "1100")
    connector.reads(1, "old", "900")  # would stop the mapper, if it were a row of an initial snapshot
    connector.bench.log[-1] = connector.bench.log[-1]._replace(
        value=event(row(1, name="chunk"), ["1200", "1300"], "incremental", "r")
    )
    assert connector.names() == {PERSON: "chunk"}


def test_a_new_epoch_that_begins_while_the_mapper_runs_is_above_all_before(connector: Connector) -> None:
    connector.streams(1, "old server", "9000", "9100")
    assert connector.names() == {PERSON: "old server"}
    connector.begins_epoch(2)
    connector.reads(1, "new server", "100")
    connector.streams(2, "new server", "100", "110")
    assert connector.names()[PERSON] == "new server"


def test_a_second_snapshot_without_a_new_epoch_stops_the_mapper_and_names_the_command(connector: Connector) -> None:
    connector.streams(1, "Ada", "1000", "1100")
    assert connector.names() == {PERSON: "Ada"}
    connector.reads(1, "Bea", "1200")
    with pytest.raises(TopicFault, match="sluice cdc epoch erp"):
        connector.bench.step()
    connector.begins_epoch(2)
    connector.reads(1, "Cem", "1300")
    connector.bench.crash(connector.bench.next_offset)
    connector.started()
    assert connector.names() == {PERSON: "Cem"}


def test_a_replay_of_the_whole_topic_changes_nothing(connector: Connector) -> None:
    connector.reads(1, "Ada", "900")
    connector.streams(1, "Bea", "1000", "1100")
    connector.begins_epoch(2)
    connector.reads(1, "Cem", "100")
    connector.streams(1, "Dov", None, "120")
    assert connector.names() == {PERSON: "Dov"}
    connector.bench.rewind(0)
    connector.started()
    assert connector.names() == {PERSON: "Dov"}


def test_a_connector_after_ingress_cdc_needs_a_new_epoch(connector: Connector) -> None:
    connector.bench.change(1, "3:100:1", row(1))
    connector.logs.append(TOPIC, 0, b"", b"", [])
    connector.reads(1, "Bea", "900")
    connector.bench.step()
    with pytest.raises(TopicFault, match="sluice cdc epoch erp"):
        connector.bench.step()
    connector.begins_epoch(4)
    connector.reads(1, "Cem", "900")
    connector.bench.crash(1)
    connector.started()
    assert connector.names() == {PERSON: "Cem"}


def test_ingress_cdc_after_a_connector_is_above_it(connector: Connector) -> None:
    connector.streams(1, "connector", "1000", "1100")
    connector.bench.change(1, "2:5:0", row(1, name="ingress-cdc"), op="r")
    assert connector.names() == {PERSON: "ingress-cdc"}


def test_keys_that_get_a_schema_stop_the_topic(connector: Connector) -> None:
    connector.streams(1, "Ada", "1000", "1100")
    connector.writes(1, event(row(1), ["1200", "1300"]), with_schema=True)
    connector.bench.step()
    with pytest.raises(TopicFault, match="of the connector to false"):
        connector.bench.step()


def test_the_placeholder_of_a_connector_is_filled_with_the_value_that_was_stated_before(connector: Connector) -> None:
    connector.reads(1, "Ada", "900")
    connector.writes(1, event(row(1, name="Bea", notes=UNAVAILABLE), ["1000", "1100"]))
    assert connector.names() == {PERSON: "Bea"}
    assert connector.bench.live()[PERSON]["notes"] == "some longer notes"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b'{"op":"t","source":{"sequence":"[\\"1\\",\\"2\\"]"}}', "truncate-event"),
        (b'{"op":"u","source":{"lsn":5}}', "no-position"),
        (b'{"op":"u","source":{"sequence":"[\\"x\\",\\"2\\"]"}}', "no-position"),
        (b'{"op":"u","source":{"sequence":"[\\"99999999999999999999\\",\\"2\\"]"}}', "no-position"),
        (b"[]", "no-position"),
        (b"no json", "no-position"),
    ],
)
def test_a_record_that_states_no_position_is_parked(value: bytes, code: str) -> None:
    with pytest.raises(DeadRecord, match=code):
        connector_position(Record(TOPIC, 0, 0, b"{}", value, {}, 0), 1)


def test_epochs_are_read_as_they_were_written() -> None:
    epochs = [Epoch(2, {TOPIC: [10, 4]}), Epoch(5, {TOPIC: [20, 9]})]
    stored = orjson.loads(orjson.dumps(epochs_record(epochs)))
    read = epochs_of(stored)
    at = [(0, 9), (0, 10), (0, 20), (1, 3), (1, 9)]
    records = [Record(TOPIC, partition, offset, b"{}", b"", {}, 0) for partition, offset in at]
    assert [epoch_at(read, record) for record in records] == [1, 2, 5, 1, 5]
    assert epoch_at([], records[0]) == 1


def test_a_first_change_without_an_earlier_commit_is_above_the_snapshot() -> None:
    record = Record(TOPIC, 0, 0, b"{}", event({}, [None, "7"]), {}, 0)
    found = connector_position(record, 3)
    assert found is not None
    assert found.position == Position(3, 1, 7)
