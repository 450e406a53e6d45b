"""What a stage relies on in its group: the one that reads Kafka and the scripted one keep the same promises."""

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
    made: Scripted | Real
    if request.param == "scripted":
        made = Scripted()
    else:
        made = Real(request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix"))
    made.member.open()
    yield made
    made.leave()
    made.member.close()


class Seen:
    """What a member was told and has read, followed as the loop does: what was revoked, then what was assigned."""

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

        def told() -> bool:
            self.turn()
            return self.owned == wanted

        eventually(told, f"to own {sorted(wanted)}", state=lambda: f"owns {sorted(self.owned)}")

    def until_one_is_gone(self) -> None:
        def told() -> bool:
            self.turn()
            return len(self.owned) == 1

        eventually(told, "one of two partitions to go")

    def until_read(self, *values: bytes) -> None:
        def read() -> bool:
            self.turn()
            return len(self.values) >= len(values)

        eventually(read, f"{len(values)} records")
        self.quiet()
        assert self.values == list(values)

    def quiet(self) -> None:
        """Look on for a while: what must not come would come now."""
        for _ in range(QUIET_TURNS):
            self.turn()


@pytest.fixture
def seen(bench: Bench) -> Seen:
    seen = Seen(bench)
    seen.until_owned(0, 1)
    return seen


def test_a_member_reads_nothing_of_what_it_was_given_before_it_begins(bench: Bench, seen: Seen) -> None:
    bench.append(0, b"1")
    seen.quiet()
    assert seen.values == []


def test_a_partition_is_read_from_where_it_is_begun_and_its_end_is_told(bench: Bench, seen: Seen) -> None:
    for value in (b"1", b"2", b"3"):
        bench.append(0, value)
    bench.append(1, b"of another")
    at = (bench.topic, 0)
    bench.member.read_from(at, 1)
    seen.until_read(b"2", b"3")
    assert seen.ends == {at: 3}
    assert bench.member.high_watermark(at) == 3


def test_the_end_of_an_empty_partition_is_told(bench: Bench, seen: Seen) -> None:
    at = (bench.topic, 1)
    bench.member.read_from(at, 0)

    def told() -> bool:
        seen.turn()
        return seen.ends == {at: 0}

    eventually(told, "the end")


def test_the_end_of_a_partition_that_is_not_read_can_be_asked_for(bench: Bench, seen: Seen) -> None:
    bench.append(0, b"1")
    assert (bench.member.end((bench.topic, 0)), bench.member.end((bench.topic, 1))) == (1, 0)


def test_what_is_held_is_not_read_and_then_from_where_it_is_begun_again(bench: Bench, seen: Seen) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.member.read_from(at, 0)
    seen.until_read(b"1")
    bench.member.pause(at)
    bench.append(0, b"2")
    seen.quiet()
    assert seen.values == [b"1"]
    bench.member.read_from(at, 0)
    seen.until_read(b"1", b"1", b"2")


def test_a_partition_that_is_read_may_be_begun_elsewhere(bench: Bench, seen: Seen) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.append(0, b"2")
    bench.member.read_from(at, 0)
    seen.until_read(b"1", b"2")
    bench.member.read_from(at, 1)
    seen.until_read(b"1", b"2", b"2")


def test_an_offset_beyond_the_end_costs_the_membership_and_who_joins_anew_begins_as_ever(
    bench: Bench, seen: Seen
) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.member.read_from(at, 999)

    def lost() -> bool:
        try:
            seen.turn()
        except ConsumerLost:
            return True
        return False

    eventually(lost, "the offset to be refused")
    bench.member.open()
    seen.until_owned(0, 1)
    bench.member.read_from(at, 0)
    seen.until_read(b"1")


def test_a_new_group_has_no_committed_offset_and_what_is_committed_outlives_the_membership(
    bench: Bench, seen: Seen
) -> None:
    here, there = (bench.topic, 0), (bench.topic, 1)
    bench.append(0, b"1")
    assert bench.member.committed(here) is None
    bench.member.commit({here: 1})
    assert bench.member.committed(here) == 1
    bench.member.open()
    seen.until_owned(0, 1)
    assert (bench.member.committed(here), bench.member.committed(there)) == (1, None)


def test_who_joins_anew_is_told_that_all_it_had_is_gone_and_reads_nothing_before_it_begins_again(
    bench: Bench, seen: Seen
) -> None:
    at = (bench.topic, 0)
    bench.append(0, b"1")
    bench.member.read_from(at, 0)
    seen.until_read(b"1")
    bench.member.open()
    seen.until_owned(0, 1)
    assert sorted(seen.revoked) == [(bench.topic, 0), (bench.topic, 1)]
    bench.append(0, b"2")
    seen.quiet()
    assert seen.values == [b"1"]


def test_a_partition_that_goes_to_another_member_is_not_read_any_more_and_comes_back_when_that_one_leaves(
    bench: Bench, seen: Seen
) -> None:
    both = [(bench.topic, 0), (bench.topic, 1)]
    for at in both:
        bench.member.read_from(at, 0)
    seen.quiet()
    bench.join()
    seen.until_one_is_gone()
    (kept,), (gone,) = seen.owned, set(both) - seen.owned
    assert gone in seen.revoked
    bench.append(gone[1], b"another's")
    bench.append(kept[1], b"ours")
    seen.until_read(b"ours")
    bench.leave()
    seen.until_owned(0, 1)
    bench.member.read_from(gone, 0)
    seen.until_read(b"ours", b"another's")
