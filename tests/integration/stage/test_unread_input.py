"""An input that a stage does not read: its partition record says so, and its lag is measured."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from sluice.kafka import LogReader
from sluice.lag.not_read import newest_values
from sluice.stage import metrics as stage_metrics
from sluice.stage.partition_record import PartitionRecord, partition_key
from support.echo_stage import EchoBench, Running
from support.waiting import eventually


@pytest.fixture(autouse=True)
def frequent_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage measures its lag twice a second."""
    monkeypatch.setattr(stage_metrics, "ENDS_EVERY_S", 0.5)


def partition_record(bench: EchoBench) -> PartitionRecord | None:
    """The newest record in the state topic."""
    state = (bench.state, 0)
    with LogReader(bench.kafka) as reader:
        found = newest_values(reader, {state: partition_key(0)})
    return PartitionRecord.from_json(found[state]) if found else None


def lag_records(bench: EchoBench) -> float | None:
    labels = {"group": bench.group, "topic": bench.topic, "partition": "0"}
    return REGISTRY.get_sample_value("sluice_lag_records", labels)


def is_paused(bench: EchoBench) -> bool:
    record = partition_record(bench)
    return record is not None and record.paused_at > 0


def test_a_paused_input_stays_paused_until_the_stage_is_restarted_and_its_lag_rises(bench: EchoBench) -> None:
    bench.feed(*[b"die"] * 100, b"1")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: is_paused(bench))
        eventually(lambda: lag_records(bench) == 1)
        bench.feed(b"2", b"3")
        eventually(lambda: lag_records(bench) == 3)
    assert is_paused(bench), "the end of the stage does not resume it"
    again, _ = bench.stage()
    with Running(again):
        eventually(lambda: bench.visible(bench.out) == [b"1", b"2", b"3"])
        eventually(lambda: not is_paused(bench))
        eventually(lambda: lag_records(bench) == 0)
