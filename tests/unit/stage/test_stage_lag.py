"""What a stage says of its own lag: never younger than it is, not a night old after a quiet night, and moving in an
outage."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from sluice.errors import EnvironmentFault
from sluice.stage.metrics_of import oldest_age_s
from support.scripted_group import ScriptedStage

NIGHT_S = 8 * 3_600.0
NOW_S = 1_000_000.0


@pytest.mark.parametrize(
    ("records", "newest_done_s", "nothing_left_s", "age_s"),
    [
        pytest.param(0, NOW_S - 60, None, 0.0, id="nothing left"),
        pytest.param(5, NOW_S - 60, None, 60.0, id="behind: as old as the newest that is done"),
        pytest.param(1, NOW_S - NIGHT_S, NOW_S - 0.5, 0.5, id="the first record after a quiet night"),
        pytest.param(5, NOW_S - 60, NOW_S - NIGHT_S, 60.0, id="never caught up since"),
        pytest.param(5, None, None, None, id="nothing done yet"),
        pytest.param(5, NOW_S + 3, None, 0.0, id="a producer's clock is ahead"),
    ],
)
def test_the_age_of_the_oldest_record_not_done(
    records: int, newest_done_s: float | None, nothing_left_s: float | None, age_s: float | None
) -> None:
    newest_done_ms = None if newest_done_s is None else int(newest_done_s * 1_000)
    assert oldest_age_s(records, NOW_S, newest_done_ms, nothing_left_s) == age_s


def test_lag_is_told_while_nothing_can_be_delivered() -> None:
    at = ("input_of_an_outage", 0)
    stage = ScriptedStage({at: [b"1", b"2", b"3"]})
    stage.outputs.fault = EnvironmentFault("the sink", "its table is missing", "make it")
    stage.run(6, lambda turn, it: it.group.assigned.extend([at] if turn < 0 else []))
    told = REGISTRY.get_sample_value(
        "sluice_lag_records", {"group": "scripted", "topic": "input_of_an_outage", "partition": "0"}
    )
    assert told == 3


def test_a_partition_of_which_nothing_was_fetched_is_not_called_done() -> None:
    at = ("input_not_fetched", 0)
    stage = ScriptedStage({at: [b"1"]}, end_known=False)
    stage.run(3, lambda turn, it: it.group.assigned.extend([at] if turn < 0 else []))
    labels = {"group": "scripted", "topic": "input_not_fetched", "partition": "0"}
    assert REGISTRY.get_sample_value("sluice_lag_records", labels) is None
