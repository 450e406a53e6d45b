"""A batch takes its records in slices, until no more have arrived or it has enough records."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sluice.kafka.log import Partition
from sluice.settings.stage import StageSettings
from sluice.stage import loop
from sluice.stage.batch import Batch
from sluice.stage.commit import Delivered
from sluice.stage.group import GroupReader
from sluice.stage.process import Owned
from support.scripted_group import ScriptedStage

AT: Partition = ("in", 0)
OTHER: Partition = ("in", 1)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLICE_RECORDS", 3)
    monkeypatch.setattr(loop, "FIRST_BATCH_RECORDS", 1_000)


def _sizes(stage: ScriptedStage) -> list[int]:
    """The number of records of each batch that is delivered."""
    sizes: list[int] = []
    deliver = stage.outputs.deliver

    def noted(batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> Delivered | None:
        delivered = deliver(batch, owned, reader)
        if batch.handled:
            sizes.append(batch.handled)
        return delivered

    stage.outputs.deliver = noted  # type: ignore[method-assign]
    return sizes


def _values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_records_that_have_arrived_become_one_batch_though_they_are_taken_in_slices() -> None:
    stage = ScriptedStage({AT: _values(10)})
    sizes = _sizes(stage)
    stage.run(8, lambda turn, it: it.group.assign([AT]) if turn == 0 else None)
    assert sizes == [10]
    assert stage.written("out") == _values(10)


def test_a_batch_with_enough_records_is_delivered_though_more_have_arrived() -> None:
    stage = ScriptedStage({AT: _values(10)}, settings=StageSettings(batch_records_max=5))
    sizes = _sizes(stage)
    stage.run(12, lambda turn, it: it.group.assign([AT]) if turn == 0 else None)
    assert sizes == [6, 4]


def test_the_first_batch_is_small_and_each_may_be_twice_as_large_as_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "FIRST_BATCH_RECORDS", 2)
    stage = ScriptedStage({AT: _values(40)}, settings=StageSettings(batch_records_max=12))
    sizes = _sizes(stage)
    stage.run(30, lambda turn, it: it.group.assign([AT]) if turn == 0 else None)
    assert sizes == [2, 6, 9, 12, 11]


def test_an_open_batch_is_given_up_when_a_partition_is_revoked_and_the_others_are_read_again() -> None:
    """The next owner of the partition may read its records before this process would commit their offsets."""
    stage = ScriptedStage({AT: _values(8), OTHER: [b"other"]})
    sizes = _sizes(stage)

    def at_turn(turn: int, it: ScriptedStage) -> None:
        if turn == 0:
            it.group.assign([OTHER, AT])
        if turn == 3:
            assert not it.outputs.delivered
            it.group.revoke([AT])

    stage.run(8, at_turn)
    assert sizes == [1]
    assert stage.written("out") == [b"other"]
