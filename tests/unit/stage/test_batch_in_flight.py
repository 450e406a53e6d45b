"""A delivery without Kafka's transactions: the next batch is handled while a thread writes this one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import KafkaSettings
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.settings.stage import StageSettings
from sluice.stage import commit, start
from sluice.stage.batch import Batch
from sluice.stage.commit import DirectDelivery
from sluice.stage.loop import Stage
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.signals import Stop
from sluice.telemetry import Health
from support.pace import within
from support.scripted_group import ScriptedGroup
from support.waiting import eventually

AT: Partition = ("in", 0)
OTHER: Partition = ("in", 1)


class Target(Process):
    """A process and its writer, as in the sink. `on_write` is called in the thread of the delivery, with the values of
    a batch. `durable`: the values of committed batches. `reported`: those of which the loop reported it. `counted`: the
    number of records of each batch.
    """

    def __init__(self) -> None:
        self.on_write: Callable[[list[bytes]], None] = lambda values: None
        self.handled: list[bytes] = []
        self.durable: list[bytes] = []
        self.reported: list[bytes] = []
        self.counted: list[int] = []
        self._open: list[bytes] = []
        self._in_flight: dict[Batch, list[bytes]] = {}
        self._written: list[bytes] = []

    def start(self, owned: Owned) -> Iterator[None]:
        yield

    def handle(self, record: Record, batch: Batch) -> Handled:
        self.handled.append(record.value or b"")
        self._open.append(record.value or b"")
        batch.count(record.at, "mapped")
        return Handled.DONE

    def complete(self, batch: Batch) -> None:
        self._in_flight[batch], self._open = self._open, []

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        self.reported += self._in_flight.pop(batch)

    def given_up(self) -> None:
        self._open = []
        self._in_flight.clear()

    def write(self, batch: Batch, owned: Iterable[Owned]) -> None:
        self.on_write(self._in_flight[batch])
        if batch.handled:
            self.counted.append(batch.handled)
        self._written = self._in_flight[batch]

    def commit(self) -> None:
        self.durable += self._written

    def rollback(self) -> None:
        self._written = []


def _run(
    target: Target,
    values: list[bytes],
    turns: int,
    each_turn: Callable[[int, ScriptedGroup], None] = lambda turn, group: None,
    batch_bytes_max: int = 1,
    health: Health | None = None,
) -> ScriptedGroup:
    """Run a stage for so many turns over the records `values` of each of two partitions. By default, each record is a
    batch."""
    stop = Stop()

    def at_turn(turn: int) -> None:
        each_turn(turn, group)
        if turn == turns:
            stop.request()

    logs = {at: [Record(*at, n, b"k", value, {}, 1_000) for n, value in enumerate(values)] for at in (AT, OTHER)}
    group = ScriptedGroup(logs, at_turn)
    group.assign([AT])
    Stage(
        name="scripted",
        settings=StageSettings(batch_bytes_max=batch_bytes_max),
        reader=group,
        process=target,
        delivery=DirectDelivery(KafkaSettings(), "dlq.scripted", target),
        health=health or Health(),
    ).run(stop)
    return group


def test_the_next_batch_is_handled_while_this_one_is_written() -> None:
    target, second = Target(), threading.Event()
    handle = target.handle

    def noticed(record: Record, batch: Batch) -> Handled:
        if record.value == b"2":
            second.set()
        return handle(record, batch)

    def wait_for_the_second(values: list[bytes]) -> None:
        assert second.wait(within(30)), "the second record is handled"

    target.handle, target.on_write = noticed, wait_for_the_second  # type: ignore[method-assign]
    group = _run(target, [b"1", b"2"], 3)
    assert target.durable == target.reported == [b"1", b"2"]
    assert group.committed(AT) == 2


def test_no_offset_is_committed_before_its_batch_is_durable() -> None:
    target = Target()
    seen: list[tuple[int, int]] = []

    def note(group: ScriptedGroup) -> None:
        commit = group.commit

        def noted(offsets: dict[Partition, int]) -> None:
            seen.append((offsets[AT], len(target.durable)))
            commit(offsets)

        group.commit = noted  # type: ignore[method-assign]

    _run(target, [b"1", b"2", b"3"], 3, lambda turn, group: note(group) if turn == 0 else None)
    assert [offset for offset, _ in seen] == [0, 1, 2, 3]
    assert all(offset <= durable for offset, durable in seen)


def test_while_a_batch_is_in_flight_the_records_of_several_turns_become_one_batch() -> None:
    target, turned = Target(), threading.Event()
    written: list[list[bytes]] = []

    def at_turn(turn: int, group: ScriptedGroup) -> None:
        if target.handled and len(target.handled) < 4:
            group.arrive(AT, b"%d" % (len(target.handled) + 1))
        elif target.handled:
            turned.set()

    def write(values: list[bytes]) -> None:
        written.append(values)
        if values == [b"1"]:
            _wait(turned)

    target.on_write = write
    group = _run(target, [b"1"], 12, at_turn, batch_bytes_max=1_000_000)
    assert [values for values in written if values] == [[b"1"], [b"2", b"3", b"4"]]
    assert (target.durable, group.committed(AT)) == ([b"1", b"2", b"3", b"4"], 4)


def test_an_error_gives_up_the_batch_that_takes_more_records() -> None:
    target, failed, arriving = Target(), threading.Event(), [b"2", b"3"]
    handle = target.handle

    def at_turn(turn: int, group: ScriptedGroup) -> None:
        if target.handled and arriving:
            group.arrive(AT, arriving.pop(0))

    def fail(record: Record, batch: Batch) -> Handled:
        if record.value == b"3" and not failed.is_set():
            failed.set()
            raise Transient("the registry is away")
        return handle(record, batch)

    target.handle = fail  # type: ignore[method-assign]
    target.on_write = lambda values: _wait(failed) if values == [b"1"] else None
    _run(target, [b"1"], 12, at_turn, batch_bytes_max=1_000_000)
    assert target.durable == [b"1", b"1", b"2", b"3"]
    assert target.counted == [1, 3]


def test_a_writer_that_hangs_is_waited_for_so_that_the_watchdog_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "BUSY_MAX_S", 0.0)
    target, stalled = Target(), []
    target.on_write = lambda values: time.sleep(0.3) if values else None

    def at_turn(turn: int, group: ScriptedGroup) -> None:
        stalled.append(time.monotonic())

    _run(target, [b"1"], 4, at_turn)
    assert max(later - earlier for earlier, later in pairwise(stalled)) > 0.25


def test_a_writer_without_an_end_is_a_fault_with_the_next_step_until_its_batch_is_written_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit, "WRITE_MAX_S", 0.05)
    monkeypatch.setattr(commit, "BUSY_MAX_S", 0.0)
    target, health = Target(), Health()
    reported: list[str] = []

    def write(values: list[bytes]) -> None:
        if values == [b"1"] and not reported:
            reported.append(eventually(lambda: health.faults.get("writing a batch"), "the fault"))

    target.on_write = write
    group = _run(target, [b"1"], 8, health=health)
    assert "1 records after 0 s" in reported[0]
    assert "Next: check that the database answers" in reported[0]
    assert target.durable == [b"1", b"1"]
    assert (target.reported, group.committed(AT), health.faults) == ([b"1"], 1, {})


def test_an_error_in_flight_gives_up_both_batches_and_both_are_read_again() -> None:
    target = Target()
    refusals = [Transient("Postgres is away")]

    def refuse(values: list[bytes]) -> None:
        if values == [b"2"] and refusals:
            raise refusals.pop()

    target.on_write = refuse
    group = _run(target, [b"1", b"2", b"3"], 6)
    assert target.handled == [b"1", b"2", b"3", b"2", b"3"]
    assert target.durable == target.reported == [b"1", b"2", b"3"]
    assert group.committed(AT) == 3


def test_an_error_in_flight_while_its_partition_is_revoked_reads_the_others_again() -> None:
    """The reader cannot seek in a partition that it has lost."""
    target, revoked = Target(), threading.Event()

    def at_turn(turn: int, group: ScriptedGroup) -> None:
        if turn == 0:
            group.assign([OTHER])
        if b"1" in target.handled and not revoked.is_set():
            group.revoke([AT])
            revoked.set()

    def write(values: list[bytes]) -> None:
        if b"1" in values and not target.durable:
            _wait(revoked)
            target.on_write = lambda values: None
            raise Transient("Postgres is away")

    target.on_write = write
    group = _run(target, [b"1"], 20, at_turn, batch_bytes_max=1_000_000)
    assert group.committed(OTHER) == 1
    assert target.reported == [b"1"]


def test_an_error_in_flight_does_not_skip_what_a_pass_reads_again() -> None:
    """A pass starts below the committed offset. What it does not read counts as deleted at its end."""
    target, refusals = Target(), [Transient("Postgres is away")]
    lines: list[dict[str, Any]] = []

    def start_pass(owned: Owned) -> Iterator[None]:
        owned.next_offset, owned.reset = 0, True
        yield

    def refuse(values: list[bytes]) -> None:
        if values and refusals:
            raise refusals.pop()

    write = target.write

    def noted(batch: Batch, owned: Iterable[Owned]) -> None:
        write(batch, owned)
        lines.extend(orjson.loads(one.ledger_line(batch)) for one in owned if one.must_be_written(batch))

    target.start, target.on_write, target.write = start_pass, refuse, noted  # type: ignore[method-assign]
    group = _run(target, [b"1", b"2", b"3"], 8, lambda turn, group: group.commit({AT: 2}) if turn == 0 else None)
    assert target.durable == [b"1", b"2", b"3"]
    assert group.committed(AT) == 3
    assert [(line["from"], line["to"]) for line in lines if line["visible"]] == [(0, 3)]


def test_a_start_that_is_tried_again_waits_until_no_batch_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink takes a lease in it, over the connection with which the thread writes."""
    monkeypatch.setattr(start, "RETRY_AFTER_S", 0.05)
    target, refusals, started = Target(), [EnvironmentFault("in/1", "cannot start", "wait")], threading.Event()
    writing: list[bool] = []
    overlapped: list[bool] = []

    def start_other(owned: Owned) -> Iterator[None]:
        if owned.at == OTHER:
            if refusals:
                raise refusals.pop()
            overlapped.append(bool(writing))
            started.set()
        yield

    def write(values: list[bytes]) -> None:
        if values == [b"1"]:
            writing.append(True)
            started.wait(1.0)
            writing.clear()

    target.start, target.on_write = start_other, write  # type: ignore[method-assign]
    _run(target, [b"1"], 40, lambda turn, group: group.assign([OTHER]) if turn == 0 else time.sleep(0.01))
    assert overlapped == [False]


def test_a_stop_finishes_the_batch_in_flight() -> None:
    target = Target()
    group = _run(target, [b"1"], 1)
    assert (target.handled, target.durable, group.committed(AT)) == ([b"1"], [b"1"], 1)


def test_an_error_of_the_next_batch_gives_up_the_batch_in_flight_too() -> None:
    """It becomes durable, and is written once more, which the writer's guard allows."""
    target = Target()
    handle, refusals = target.handle, [Transient("the registry is away")]

    def refuse(record: Record, batch: Batch) -> Handled:
        if record.value == b"2" and refusals:
            raise refusals.pop()
        return handle(record, batch)

    target.handle = refuse  # type: ignore[method-assign]
    group = _run(target, [b"1", b"2"], 6)
    assert target.durable == [b"1", b"1", b"2"]
    assert target.reported == [b"1", b"2"]
    assert group.committed(AT) == 2


def test_the_offsets_of_a_revoked_partition_are_not_committed_any_more() -> None:
    """Its next owner may have committed a higher offset. The batch in flight becomes durable nevertheless."""
    target, revoked = Target(), threading.Event()

    def at_turn(turn: int, group: ScriptedGroup) -> None:
        if b"1" in target.handled and not revoked.is_set():
            group.revoke([AT])
            group.assign([OTHER])
            revoked.set()

    target.on_write = lambda values: None if values != [b"1"] else _wait(revoked)
    group = _run(target, [b"1"], 8, at_turn)
    assert group.committed(AT) == 0
    assert group.committed(OTHER) == 1
    assert target.durable == [b"1", b"1"]


def _wait(event: threading.Event) -> None:
    assert event.wait(within(30))


def test_a_partition_record_that_must_be_written_is_written_after_an_error_too() -> None:
    target = Target()
    delivery = DirectDelivery(KafkaSettings(), "dlq.scripted", target)
    owned = Owned(AT, "id", 0, None, must_write=True)  # type: ignore[arg-type]
    batch = Batch("scripted", "dlq.scripted", 1, 60.0)
    target.complete(batch)
    delivery.deliver(batch, [owned], ScriptedGroup({}))
    assert not owned.must_write
    delivery.give_up()
    assert owned.must_write
