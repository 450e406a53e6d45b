"""A table that is read in chunks during its stream is published as it is, whatever commits and dies meanwhile."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.position import Position
from sluice_ingress_cdc.windows import SourceSnapshot, StreamedKeys
from support.snapshot_simulation import (
    BLOCKS,
    COMMITTED,
    EPOCH,
    OPEN,
    TABLE,
    Durable,
    Published,
    ReadChunk,
    Reader,
    SimulatedSource,
    represented,
    require_order,
)

KEYS = "abcdefgh"
STEPS = [
    *["begin", "write", "write", "write", "delete", "change key", "savepoint", "roll back", "truncate"],
    *["commit record", "commit record", "commit record", "visible", "visible", "abort"],
    *["stream", "stream", "stream", "stream", "start", "start", "read", "read", "close", "close", "close"],
    *["publish", "publish", "kill"],
]
Step = tuple[str, int, int, int]


def run(steps: list[Step], kind: type[Reader] = Reader) -> None:
    """Run the steps, let everything end, and require that what is published is what the table contains."""
    source, durable = SimulatedSource(), Durable()
    filled = source.begin()
    for number, key in enumerate(KEYS[:6]):
        source.write(filled, key, number % 4)
    source.write_commit_record(filled)
    source.become_visible(filled)
    # Published before: outdated rows, and rows that the table does not have any more.
    durable.log = [Published(key, -1, Position(EPOCH, 1, 1)) for key in "aghz"]
    durable.mark = (source.lsn, 0)
    reader = kind(source, durable)
    for step in steps:
        reader = act(step, source, reader)
    for transaction in list(source.transactions.values()):
        if transaction.state == OPEN:
            source.write_commit_record(transaction)
        if transaction.state == COMMITTED:
            source.become_visible(transaction)
    for _ in range(400):
        reader.stream_event()
        reader.start_table()
        reader.read_chunk()
        reader.close_chunk()
    reader.publish()
    assert durable.progress.done
    rows = {key: value for block in range(BLOCKS) for key, value in source.rows(source.snapshot(), block)}
    assert represented(durable.log) == rows
    require_order(durable.log)


def act(step: Step, source: SimulatedSource, reader: Reader) -> Reader:
    name, first, second, third = step
    key, block = KEYS[first % len(KEYS)], second % BLOCKS
    live = [t for t in source.transactions.values() if t.state == OPEN]
    committed = [t for t in source.transactions.values() if t.state == COMMITTED]
    if name == "begin" and len(live) < 4:
        source.begin()
    elif name == "visible" and committed:
        source.become_visible(committed[first % len(committed)])
    elif name == "kill":
        return type(reader)(source, reader.durable)
    elif name == "stream":
        reader.stream_event()
    elif name == "start":
        reader.start_table()
    elif name == "read":
        reader.read_chunk()
    elif name == "close":
        reader.close_chunk()
    elif name == "publish":
        reader.publish()
    elif live:
        transaction = live[third % len(live)]
        match name:
            case "write":
                source.write(transaction, key, block)
            case "delete":
                source.delete(transaction, key)
            case "change key":
                source.change_key(transaction, key, KEYS[second % len(KEYS)], block)
            case "savepoint":
                source.savepoint(transaction)
            case "roll back":
                source.roll_back_to_savepoint(transaction)
            case "truncate":
                source.truncate(transaction)
            case "commit record":
                source.write_commit_record(transaction)
            case "abort":
                source.abort(transaction)
    return reader


def random_steps(seed: int) -> list[Step]:
    dice = random.Random(seed)
    numbers = range(1_000)
    return [
        (dice.choice(STEPS), dice.choice(numbers), dice.choice(numbers), dice.choice(numbers))
        for _ in range(dice.randrange(20, 160))
    ]


NUMBER = st.integers(0, 1_000)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), NUMBER, NUMBER, NUMBER), max_size=120))
def test_what_is_published_is_the_table_and_positions_rise_per_key(steps: list[Step]) -> None:
    run(steps)


def test_the_same_is_true_in_long_random_runs() -> None:
    for seed in range(1_500):
        run(random_steps(seed))


def test_the_same_is_true_when_there_are_too_many_changed_keys_to_remember() -> None:
    class Forgetful(Reader):
        keys_max = 2

    for seed in range(500):
        run(random_steps(seed), Forgetful)


class AtTheTablesStart(Reader):
    """Rows at the position where the table's events start: a newer event may be in the log before the row."""

    def position_of(self, chunk: ReadChunk) -> Position:
        return Position(EPOCH, self.progress.since_lsn, 0)

    def is_dropped(self, key: str, chunk: ReadChunk) -> bool:
        return False


class AtTheInsertLsn(Reader):
    """Rows at the log's insert LSN: a commit record below it may be invisible to the snapshot."""

    def position_of(self, chunk: ReadChunk) -> Position:
        return Position(EPOCH, chunk.wal_lsn, 0)

    def is_dropped(self, key: str, chunk: ReadChunk) -> bool:
        return False


class NothingIsDropped(Reader):
    """Rows at the mark of their publication, also those that a streamed transaction has changed."""

    def is_dropped(self, key: str, chunk: ReadChunk) -> bool:
        return False


class NotAwaited(Reader):
    """A chunk is published before the stream has reached the log's end of its snapshot: an event that the row contains
    comes after it, and is the older one if a further update is among what the row contains."""

    def is_complete(self, chunk: ReadChunk) -> bool:
        return True

    def position_of(self, chunk: ReadChunk) -> Position:
        return Position(EPOCH, chunk.wal_lsn, 0)


class BetweenMarksInTheLog(Reader):
    """Debezium's watermarks: a row is dropped if its key is in the stream between two places of the log, which are
    written before and after the chunk is read."""

    def read_chunk(self) -> None:
        self.keys.forget(SourceSnapshot(1 << 62, 1 << 62, frozenset())) if not self.chunks else None
        super().read_chunk()

    def is_dropped(self, key: str, chunk: ReadChunk) -> bool:
        return key.encode() in self.keys.unseen(TABLE, SourceSnapshot(1, 1, frozenset()))


class WithoutABarrier(Reader):
    """The first chunk is read although a transaction that was streamed before is not visible yet."""

    def may_read(self, snapshot: SourceSnapshot) -> bool:
        return True

    def is_complete(self, chunk: ReadChunk) -> bool:
        return self.mark[0] >= chunk.wal_lsn


class ForgottenAtOnce(Reader):
    """The keys of a transaction are dropped when a chunk is published, also if its snapshot does not see it."""

    def forget(self, chunk: ReadChunk) -> None:
        self.keys.forget(SourceSnapshot(1 << 62, 1 << 62, frozenset()))


class SweptAtTheEnd(Reader):
    """The sweep marker at the position of the last chunk: it deletes the rows of the first one."""

    def sweep_position(self, last: Position) -> Position:
        return last


class WithoutASweep(Reader):
    def sweep_position(self, last: Position) -> Position:
        return Position(0, 0, 0)


class By32Bits(Reader):
    """Ids compared without regard to their wraparound."""

    def is_dropped(self, key: str, chunk: ReadChunk) -> bool:
        snapshot = chunk.snapshot
        unseen = (
            keys
            for xid, keys in self.keys.streamed(TABLE)
            if xid >= snapshot.xmax % 2**32 or xid in {x % 2**32 for x in snapshot.xip}
        )
        return any(key.encode() in keys or b"" in keys for keys in unseen)


WRONG = [
    AtTheTablesStart,
    AtTheInsertLsn,
    NothingIsDropped,
    NotAwaited,
    BetweenMarksInTheLog,
    WithoutABarrier,
    ForgottenAtOnce,
    SweptAtTheEnd,
    WithoutASweep,
    By32Bits,
]


@pytest.mark.parametrize("kind", WRONG)
def test_each_other_rule_is_refuted_by_a_run(kind: type[Reader]) -> None:
    assert any(_refuted(kind, random_steps(seed)) for seed in range(20_000))


def _refuted(kind: type[Reader], steps: list[Step]) -> bool:
    try:
        run(steps, kind)
    except AssertionError:
        return True
    return False


def test_a_snapshot_sees_what_ended_before_it_whatever_the_upper_bits() -> None:
    snapshot = SourceSnapshot.parse(f"{2**33 - 5}:{2**33 + 3}:{2**33 - 5},{2**33 + 1}")
    assert [snapshot.sees(xid % 2**32) for xid in range(2**33 - 7, 2**33 + 5)] == [
        *[True, True, False, True, True, True, True, True, False, True],
        *[False, False],
    ]
    assert SourceSnapshot.parse("7:7:") == SourceSnapshot(7, 7, frozenset())


def test_only_keys_of_tables_that_are_read_are_kept() -> None:
    keys = StreamedKeys()
    keys.begin(5)
    keys.changed(TABLE, b"a")
    keys.end()
    keys.start(TABLE)
    keys.begin(6)
    keys.changed(TABLE, b"b")
    keys.changed("public.other", b"c")
    keys.end()
    nothing_seen = SourceSnapshot(1, 1, frozenset())
    assert keys.unseen(TABLE, nothing_seen).keys == {b"b"}
    assert not keys.unseen("public.other", nothing_seen)
    keys.stop(TABLE)
    assert not keys.unseen(TABLE, nothing_seen)
