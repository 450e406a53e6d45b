"""The lag that a stage reports: never too young, not a night old after a quiet night, and updated in an outage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import REGISTRY

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka.faults import translate
from sluice.kafka.log import Partition
from sluice.stage import metrics as stage_metrics
from sluice.stage.metrics import StageMetrics, oldest_age_s
from support.scripted_group import ScriptedStage

NIGHT_S = 8 * 3_600.0
NOW_S = 1_000_000.0


@pytest.mark.parametrize(
    ("records", "newest_done_s", "no_lag_at_s", "age_s"),
    [
        pytest.param(0, NOW_S - 60, None, 0.0, id="no lag"),
        pytest.param(5, NOW_S - 60, None, 60.0, id="behind: as old as the newest record that is done"),
        pytest.param(1, NOW_S - NIGHT_S, NOW_S - 0.5, 0.5, id="the first record after a quiet night"),
        pytest.param(5, NOW_S - 60, NOW_S - NIGHT_S, 60.0, id="never caught up since"),
        pytest.param(5, None, None, None, id="nothing done yet"),
        pytest.param(5, NOW_S + 3, None, 0.0, id="a producer's clock is ahead"),
    ],
)
def test_the_age_of_the_oldest_record_not_done(
    records: int, newest_done_s: float | None, no_lag_at_s: float | None, age_s: float | None
) -> None:
    newest_done_ms = None if newest_done_s is None else int(newest_done_s * 1_000)
    assert oldest_age_s(records, NOW_S, newest_done_ms, no_lag_at_s) == age_s


def test_lag_is_measured_while_nothing_can_be_delivered() -> None:
    at = ("input_of_an_outage", 0)
    stage = ScriptedStage({at: [b"1", b"2", b"3"]})
    stage.outputs.fault = EnvironmentFault("the sink", "its table is missing", "make it")
    stage.run(6, lambda turn, it: it.group.assign([at] if turn < 0 else []))
    records = REGISTRY.get_sample_value(
        "sluice_lag_records", {"group": "scripted", "topic": "input_of_an_outage", "partition": "0"}
    )
    assert records == 3


def lag_records(at: Partition) -> float | None:
    labels = {"group": "scripted", "topic": at[0], "partition": str(at[1])}
    return REGISTRY.get_sample_value("sluice_lag_records", labels)


@pytest.fixture
def at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_metrics, "LAG_EVERY_S", 0.0)
    monkeypatch.setattr(stage_metrics, "ENDS_EVERY_S", 0.0)


@pytest.mark.usefixtures("at_every_turn")
def test_the_lag_of_a_paused_input_rises() -> None:
    at = ("input_that_is_paused", 0)
    stage = ScriptedStage({at: [b"die"] * 150})

    def turn(number: int, it: ScriptedStage) -> None:
        if number < 0:
            it.group.assign([at])
        if number == 10:
            it.arrive(at, [b"1"] * 30)

    stage.run(20, turn)
    assert lag_records(at) == 150 - 100 + 30


@pytest.mark.usefixtures("at_every_turn")
def test_a_partition_that_cannot_start_has_a_lag() -> None:
    at = ("input_that_cannot_start", 0)
    stage = ScriptedStage({at: [b"1", b"2"]})
    stage.refused = {at: EnvironmentFault("input/0", "moved forward", "move it back")}

    def join(turn: int, it: ScriptedStage) -> None:
        if turn < 0:
            it.group.commit({at: 0})
            it.group.assign([at])

    stage.run(6, join)
    assert lag_records(at) == 2


@pytest.mark.usefixtures("at_every_turn")
def test_a_broker_that_does_not_answer_for_an_end_does_not_stop_the_stage() -> None:
    paused, read = ("input_without_end", 0), ("input_that_is_read", 0)
    stage = ScriptedStage({paused: [b"die"] * 150, read: [b"1"]})

    def turn(number: int, it: ScriptedStage) -> None:
        if number < 0:
            it.group.assign([paused, read])
            it.group.away = Transient("no answer")
        if number == 10:
            it.arrive(read, [b"2"])

    stage.run(20, turn)
    assert stage.written("out") == [b"1", b"2"]
    assert lag_records(paused) == 50, "as of the last fetch"


class Refusing:
    """A reader to which the broker refuses each request for a measurement, with one error code after the other."""

    def __init__(self) -> None:
        self.error = KafkaError(KafkaError.NO_ERROR)
        self.asked = 0

    def _refuse(self, at: Partition) -> int:
        self.asked += 1
        raise translate(KafkaException(self.error), f"asking for the end of {at[0]}/{at[1]}")

    end = _refuse
    high_watermark = _refuse


class RefusingForTheEnd(Refusing):
    def high_watermark(self, at: Partition) -> int:
        return 10


@pytest.mark.usefixtures("at_every_turn")
@pytest.mark.parametrize("reader", [Refusing(), RefusingForTheEnd()], ids=["everything", "the end"])
def test_no_answer_of_kafka_to_a_measurement_stops_a_stage(reader: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_metrics, "LOG_EVERY_S", 0.0)
    at = ("input_without_answers", 0)
    owned = cast(Any, SimpleNamespace(owned={at: SimpleNamespace(next_offset=5)}, unread=dict))
    measured = StageMetrics("echo", "scripted")
    for code in {code for name, code in vars(KafkaError).items() if isinstance(code, int) and name.isupper()}:
        reader.error, reader.asked = KafkaError(code), 0
        with structlog.testing.capture_logs() as lines:
            measured.lag(owned, cast(Any, reader))
        assert reader.asked, "nothing was measured"
        (line,) = lines
        assert line["event"] == "lag not measured; the metric keeps its last value"
        assert reader.error.name() in line["why"]


def test_a_partition_of_which_nothing_was_fetched_is_not_called_done() -> None:
    at = ("input_not_fetched", 0)
    stage = ScriptedStage({at: [b"1"]}, end_known=False)
    stage.run(3, lambda turn, it: it.group.assign([at] if turn < 0 else []))
    labels = {"group": "scripted", "topic": "input_not_fetched", "partition": "0"}
    assert REGISTRY.get_sample_value("sluice_lag_records", labels) == 1, "the broker was asked for its end"


class FarBehind:
    """A reader whose queue is full: its last fetch reported ten records, the broker has five hundred."""

    def high_watermark(self, at: Partition) -> int:
        return 10

    def end(self, at: Partition) -> int:
        return 500


@pytest.mark.usefixtures("at_every_turn")
def test_the_broker_is_asked_for_the_end_of_a_partition_that_is_far_behind() -> None:
    at = ("input_far_behind", 0)
    owned = SimpleNamespace(owned={at: SimpleNamespace(next_offset=5)}, unread=dict)
    StageMetrics("echo", "scripted").lag(cast(Any, owned), cast(Any, FarBehind()))
    assert lag_records(at) == 495


class SlowToAnswer(FarBehind):
    """Each answer takes 0.4 s of a clock that only it moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.asked: list[Partition] = []

    def end(self, at: Partition) -> int:
        self.asked.append(at)
        self.now_s += 0.4
        return 500


def test_slow_answers_about_ends_take_turns_and_stop_the_loop_for_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = SlowToAnswer()
    clock = SimpleNamespace(monotonic=lambda: reader.now_s, time=lambda: 0.0)
    monkeypatch.setattr(stage_metrics, "time", clock)
    parts = [("input_slow_to_answer", number) for number in range(6)]
    owned = cast(Any, SimpleNamespace(owned={at: SimpleNamespace(next_offset=5) for at in parts}, unread=dict))
    measured = StageMetrics("echo", "scripted")
    for _ in range(3):
        began = reader.now_s
        measured.lag(owned, cast(Any, reader))
        assert reader.now_s - began < 1.0
        measured.lag(owned, cast(Any, reader))
        assert reader.now_s - began < 1.0, "the broker was asked again at once"
        reader.now_s += stage_metrics.ENDS_EVERY_S
    assert reader.asked == parts, "each partition in its turn"
    assert [lag_records(at) for at in parts] == [495] * 6
