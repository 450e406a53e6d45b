"""The contract of a stage's group reader: the one on Kafka and the scripted one keep the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest
from confluent_kafka.admin import AdminClient

from sluice.kafka import KafkaSettings, clients
from sluice.kafka.log import Partition
from sluice.kafka.record import End, Record
from sluice.stage.group import ConsumerLost, GroupReader
from support.pace import within
from support.scripted_group import ScriptedGroup
from support.topics import make_topics
from support.waiting import eventually

QUIET_TURNS = 5


class Bench(Protocol):
    """A member of a group over a topic of two partitions; `join` makes another member of the group, `leave` ends it."""

    topic: str
    member: GroupReader

    def append(self, partition: int, value: bytes) -> None: ...
    def take(self) -> list[Record | End]: ...
    def join(self) -> None: ...
    def leave(self) -> None: ...


class Scripted:
    topic = "in"

    def __init__(self) -> None:
        self._logs: dict[Partition, list[Record]] = {("in", 0): [], ("in", 1): []}
        self.group = ScriptedGroup(self._logs)
        self.group.assign(self._logs)
        self.member: GroupReader = self.group

    def append(self, partition: int, value: bytes) -> None:
        log = self._logs["in", partition]
        log.append(Record("in", partition, len(log), b"k", value, {}, 1_000))

    def take(self) -> list[Record | End]:
        return self.member.take(100, 0.1)

    def join(self) -> None:
        self.group.revoke([("in", 1)])

    def leave(self) -> None:
        self.group.assign([("in", 1)])


class Real:
    def __init__(self, kafka: str, prefix: str) -> None:
        self._settings = KafkaSettings(bootstrap_servers=kafka)
        self.topic = f"{prefix}in"
        admin = AdminClient({"bootstrap.servers": kafka})
        make_topics(admin, {self.topic: 2})
        self._producer = clients.producer(self._settings)
        self._group = f"{prefix}group"
        self.member = GroupReader(self._settings, self._group, "0", {self.topic: "id"})
        self._other = GroupReader(self._settings, self._group, "1", {self.topic: "id"})
        self._is_shared = False

    def append(self, partition: int, value: bytes) -> None:
        self._producer.produce(self.topic, value, b"k", partition)
        assert self._producer.flush(within(30)) == 0

    def take(self) -> list[Record | End]:
        if self._is_shared:
            self._other.take(100, 0.05)
        return self.member.take(100, 0.1)

    def join(self) -> None:
        self._other.open()
        self._is_shared = True

    def leave(self) -> None:
        self._is_shared = False
        self._other.close()


@pytest.fixture(params=["scripted", "kafka"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench: Scripted | Real
    if request.param == "scripted":
        bench = Scripted()
    else:
        bench = Real(request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix"))
    bench.member.open()
    yield bench
    bench.leave()
    bench.member.close()


class Loop:
    """Takes records and applies rebalances as a stage's loop does: first the revoked partitions, then the assigned."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.owned: set[Partition] = set()
        self.revoked: list[Partition] = []
        self.values: list[bytes | None] = []
        self.ends: dict[Partition, int] = {}

    def turn(self) -> None:
        for item in self._bench.take():
            if isinstance(item, Record):
                self.values.append(item.value)
            else:
                self.ends[item.at] = item.offset
        member = self._bench.member
        revoked, member.revoked = member.revoked, []
        assigned, member.assigned = member.assigned, []
        self.revoked += revoked
        self.owned = self.owned - set(revoked) | set(assigned)

    def until_owned(self, *numbers: int) -> None:
        wanted = {(self._bench.topic, number) for number in numbers}

        def done() -> bool:
            self.turn()
            return self.owned == wanted

        eventually(done, f"to own {sorted(wanted)}", state=lambda: f"owns {sorted(self.owned)}")

    def until_one_is_revoked(self) -> None:
        def done() -> bool:
            self.turn()
            return len(self.owned) == 1

        eventually(done, "one of two partitions to be revoked")

    def until_read(self, *values: bytes) -> None:
        def read() -> bool:
            self.turn()
            return len(self.values) >= len(values)

        eventually(read, f"{len(values)} records")
        self.quiet()
        assert self.values == list(values)

    def quiet(self) -> None:
        """Take some more turns, in which no record may come."""
        for _ in range(QUIET_TURNS):
            self.turn()


@pytest.fixture
def loop(bench: Bench) -> Loop:
    loop = Loop(bench)
    loop.until_owned(0, 1)
    return loop


def test_a_member_does_not_read_an_assigned_partition_before_read_from(bench: Bench, loop: Loop) -> None:
    bench.append(0, b"1")
    loop.quiet()
    assert loop.values == []


def test_a_partition_is_read_from_an_offset_to_its_end(bench: Bench, loop: Loop) -> None:
    for value in (b"1", b"2", b"3"):
        bench.append(0, value)
    bench.append(1, b"of another partition")
    at = (bench.topic, 0)
    bench.member.read_from(at, 1)
    loop.until_read(b"2", b"3")
    assert loop.ends == {at: 3}
    assert bench.member.high_watermark(at) == 3


def test_the_end_of_an_empty_partition_is_reported(bench: Bench, loop: Loop) -> None:
    at = (bench.topic, 1)
    bench.member.read_from(at, 0)

    def done() -> bool:
        loop.turn()
        return loop.ends == {at: 0}

    eventually(done, "the end")


def test_the_end_of_a_partition_that_is_not_read_can_be_asked_for(bench: Bench, loop: Loop) -> None:
    bench.append(0, b"1")
    assert (bench.member.end((bench.topic, 0)), bench.member.end((bench.topic, 1))) == (1, 0)


def test_a_paused_partition_is_not_read_until_read_from(bench: Bench, loop: Loop) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.member.read_from(at, 0)
    loop.until_read(b"1")
    bench.member.pause(at)
    bench.append(0, b"2")
    loop.quiet()
    assert loop.values == [b"1"]
    bench.member.read_from(at, 0)
    loop.until_read(b"1", b"1", b"2")


def test_a_partition_that_is_read_can_be_read_from_another_offset(bench: Bench, loop: Loop) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.append(0, b"2")
    bench.member.read_from(at, 0)
    loop.until_read(b"1", b"2")
    bench.member.read_from(at, 1)
    loop.until_read(b"1", b"2", b"2")


def test_an_offset_beyond_the_end_loses_the_membership_and_a_new_one_starts_as_usual(bench: Bench, loop: Loop) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.member.read_from(at, 999)

    def lost() -> bool:
        try:
            loop.turn()
        except ConsumerLost:
            return True
        return False

    eventually(lost, "the offset to be refused")
    bench.member.open()
    loop.until_owned(0, 1)
    bench.member.read_from(at, 0)
    loop.until_read(b"1")


def test_a_new_group_has_no_committed_offset_and_a_committed_one_outlives_the_membership(
    bench: Bench, loop: Loop
) -> None:
    here, there = (bench.topic, 0), (bench.topic, 1)
    bench.append(0, b"1")
    assert bench.member.committed(here) is None
    bench.member.commit({here: 1})
    assert bench.member.committed(here) == 1
    bench.member.open()
    loop.until_owned(0, 1)
    assert (bench.member.committed(here), bench.member.committed(there)) == (1, None)


def test_a_member_that_joins_again_lost_all_partitions_and_reads_nothing_before_read_from(
    bench: Bench, loop: Loop
) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.member.read_from(at, 0)
    loop.until_read(b"1")
    bench.member.open()
    loop.until_owned(0, 1)
    assert sorted(loop.revoked) == [(bench.topic, 0), (bench.topic, 1)]
    bench.append(0, b"2")
    loop.quiet()
    assert loop.values == [b"1"]


def test_a_partition_of_another_member_is_not_read_and_is_assigned_again_when_that_member_leaves(
    bench: Bench, loop: Loop
) -> None:
    both = [(bench.topic, 0), (bench.topic, 1)]
    for at in both:
        bench.member.read_from(at, 0)
    loop.quiet()
    bench.join()
    loop.until_one_is_revoked()
    (kept,), (revoked,) = loop.owned, set(both) - loop.owned
    assert revoked in loop.revoked
    bench.append(revoked[1], b"another's")
    bench.append(kept[1], b"ours")
    loop.until_read(b"ours")
    bench.leave()
    loop.until_owned(0, 1)
    bench.member.read_from(revoked, 0)
    loop.until_read(b"ours", b"another's")
