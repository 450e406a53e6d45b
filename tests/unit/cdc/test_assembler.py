"""The assembler gives every event its position, once, wherever the process crashes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.cdc.debezium import NoRow, TableEvents
from sluice.cdc.event_form import DEFAULT_FORM
from sluice.cdc.other_topics import OtherTopics
from sluice.cdc.pgoutput import UNCHANGED, Row
from sluice.cdc.watermarks import Mark
from sluice.headers import OP_HEADER
from sluice.raw.writing import RawRecord, sweep_key
from sluice_ingress_cdc.assembler import NotVisibleYet, SlotBatch
from sluice_ingress_cdc.table_changes import ROW_TOO_LARGE, TableOutcome, TableVerdict
from support import pgoutput_wire as wire
from support.slot_simulation import (
    EMPLOYEE,
    MOVE,
    TARGETS,
    Broker,
    Slot,
    Transaction,
    assembler,
    publish_everything,
)

from support import slot_simulation as sim  # isort: skip

TABLES = st.integers(min_value=1, max_value=3)
VALUES = st.integers(min_value=1, max_value=4).map(lambda i: b"%d" % i)


def _event(draw: st.DrawFn) -> bytes:
    oid, key, other = draw(TABLES), draw(VALUES), draw(VALUES)
    return draw(
        st.sampled_from(
            [
                wire.insert(oid, [key, b"a"]),
                wire.update(oid, [key, b"b"]),
                wire.update(oid, [key, b"b"], [other, None]),
                wire.delete(oid, [key, None]),
                wire.truncate(oid),
                wire.truncate(1, 2),
                wire.message("note", b"x"),
                wire.message("note", b"x", transactional=False),
            ]
        )
    )


@st.composite
def transactions(draw: st.DrawFn) -> list[Transaction]:
    count = draw(st.integers(min_value=1, max_value=5))
    return [
        Transaction(
            tuple(_event(draw) for _ in range(draw(st.integers(min_value=0, max_value=5)))),
            # 0: the commit record begins exactly where the one before ended.
            gap=draw(st.integers(min_value=0, max_value=2)) * 50,
            tail=draw(st.integers(min_value=1, max_value=40)),
        )
        for _ in range(count)
    ]


# Pairs of (messages that go by, what happens then), so that crashes do not all fall on the first messages.
STEPS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["publish", "publish", "confirm", "crash", "crash-between"])),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(transactions(), STEPS, st.booleans())
def test_every_event_is_published_exactly_once_whenever_it_crashes(
    work: list[Transaction], steps: list[tuple[int, str]], ask_from_mark: bool
) -> None:
    undisturbed, disturbed = Broker(), Broker()
    publish_everything(Slot(work), undisturbed, lambda: "go")
    script = iter([step for count, what in steps for step in (*["go"] * count, what)])
    slot = Slot(work)
    publish_everything(slot, disturbed, lambda: next(script, "go"), ask_from_mark=ask_from_mark)
    assert disturbed.published == undisturbed.published
    assert disturbed.mark.lsn >= slot.end
    assert slot.confirmed <= disturbed.mark.lsn


@given(transactions())
def test_positions_rise_and_no_two_events_of_one_key_share_one(work: list[Transaction]) -> None:
    broker = Broker()
    publish_everything(Slot(work), broker, lambda: "go")
    by_key: dict[tuple[str, bytes | None], list[tuple[int, ...]]] = {}
    for topic, key, tombstone, position in broker.published:
        if not tombstone:
            by_key.setdefault((topic, key), []).append(tuple(int(p) for p in position.split(b":")))
    for (_, key), positions in by_key.items():
        if key is not None and not key.startswith(b'{"$sweep"'):
            assert positions == sorted(set(positions))


def feed(
    *payloads: bytes, mark: Mark = sim.START, on_verdict: Callable[[str, TableVerdict], None] = sim.no_verdict
) -> list[RawRecord]:
    made = assembler(mark, on_verdict=on_verdict)
    for shape in sim.SHAPES:
        made.feed(shape, 0)
    for payload in payloads:
        made.feed(payload, 0)
    return made.take().records


def positions(records: list[RawRecord]) -> list[bytes]:
    return [dict(r.headers)["sluice-position"] for r in records]


def test_the_ordinal_counts_rows_of_tables_that_are_not_followed_and_transactional_messages() -> None:
    records = feed(
        wire.begin(500),
        wire.insert(3, [b"1", b"a"]),
        wire.message("note", b""),
        wire.message("note", b"", transactional=False),
        wire.insert(1, [b"1", b"a"]),
        wire.commit(500, 540),
    )
    assert positions(records) == [b"3:500:3"]


def test_a_truncate_is_a_sweep_marker_to_every_partition_at_its_own_ordinal() -> None:
    records = feed(
        wire.begin(500),
        wire.insert(1, [b"1", b"a"]),
        wire.truncate(1, 3),
        wire.insert(1, [b"1", b"a"]),
        wire.commit(500, 540),
    )
    markers = records[1:3]
    assert positions(records) == [b"3:500:1", b"3:500:2", b"3:500:2", b"3:500:3"]
    assert [(m.topic, m.key, m.value, m.partition) for m in markers] == [
        ("raw.erp.public.employee", sweep_key("public.employee"), b"", partition) for partition in (0, 1)
    ]
    assert all((OP_HEADER, b"s") in m.headers for m in markers)


def test_the_transaction_of_a_truncate_is_recorded_for_each_followed_table() -> None:
    truncated: list[tuple[str, int]] = []
    made = assembler(on_truncate=lambda stream, xid: truncated.append((stream, xid)))
    for payload in (*sim.SHAPES, wire.begin(500, xid=17), wire.truncate(1, 2, 3), wire.commit(500, 540)):
        made.feed(payload, 0)
    assert truncated == [("public.employee", 17), ("public.move", 17)]


def test_delete_and_tombstone_share_their_position() -> None:
    records = feed(wire.begin(500), wire.delete(1, [b"1", None]), wire.commit(500, 540))
    assert [r.value is None for r in records] == [False, True]
    assert positions(records) == [b"3:500:1", b"3:500:1"]


def test_a_transaction_that_starts_where_the_last_one_ended_is_not_mistaken_for_published() -> None:
    records = feed(wire.begin(540), wire.insert(1, [b"1", b"a"]), wire.commit(540, 580), mark=Mark(540, 0))
    assert positions(records) == [b"3:540:1"]


def test_a_keepalive_within_a_transaction_moves_nothing() -> None:
    made = assembler()
    made.feed(wire.begin(500), 0)
    made.idle(9_999)
    assert not made.moved
    made.feed(wire.commit(500, 540), 0)
    made.idle(600)
    assert made.take()[:3] == ([], Mark(600, 0), 600)


def test_half_of_a_transaction_has_the_mark_of_its_last_event() -> None:
    made = assembler()
    for payload in (*sim.SHAPES, wire.begin(500), wire.insert(1, [b"1", b"a"]), wire.insert(3, [b"1", b"a"])):
        made.feed(payload, 0)
    batch = made.take()
    assert (batch.mark, batch.complete_lsn) == (Mark(500, 2), 0)


def test_a_batch_that_ends_within_a_transaction_knows_the_commit_before() -> None:
    made = assembler()
    for payload in (*sim.SHAPES, wire.begin(500), wire.insert(1, [b"1", b"a"]), wire.commit(500, 540)):
        made.feed(payload, 0)
    for payload in (wire.begin(600), wire.insert(1, [b"1", b"a"])):
        made.feed(payload, 0)
    batch = made.take()
    assert (batch.mark, batch.complete_lsn) == (Mark(600, 1), 540)


def test_a_change_larger_than_the_topic_takes_becomes_a_dead_letter_and_a_placeholder() -> None:
    verdicts: list[tuple[str, TableVerdict]] = []
    dead, placeholder, alive = feed(
        wire.begin(500),
        wire.insert(1, [b"1", b"x" * 20_000]),
        wire.insert(1, [b"2", b"y"]),
        wire.commit(500, 540),
        on_verdict=lambda stream, verdict: verdicts.append((stream, verdict)),
    )
    assert verdicts == [("public.employee", ROW_TOO_LARGE)]
    assert (dead.topic, dead.key, alive.topic) == ("dlq.ingress-cdc", b'{"id":1}', "raw.erp.public.employee")
    assert (placeholder.topic, placeholder.key) == ("raw.erp.public.employee", b'{"id":1}')
    assert dict(placeholder.headers)["sluice-position"] == b"3:500:1"
    assert b"xxx" not in (placeholder.value or b"")
    headers = dict(dead.headers)
    assert headers["__connect.errors.topic"] == b"raw.erp.public.employee"
    assert headers["sluice-position"] == b"3:500:1"
    assert int(headers["sluice-truncated-bytes"]) > 20_000
    assert b"xxx" not in headers["__connect.errors.exception.message"]
    assert len(dead.value or b"") <= 64 * 1024


def test_the_old_row_is_left_out_if_both_rows_are_too_large() -> None:
    update = wire.update(1, [b"1", b"y" * 6_000], [b"1", b"x" * 6_000], "O")
    (record,) = feed(wire.begin(500), update, wire.commit(500, 540))
    body = json.loads(record.value or b"")
    assert body["before"] is None
    assert body["after"]["name"] == "y" * 6_000


def test_a_table_whose_events_lack_its_key_is_blocked_alone_from_there_on() -> None:
    verdicts: list[tuple[str, TableVerdict]] = []
    made = assembler(on_verdict=lambda stream, verdict: verdicts.append((stream, verdict)))
    for payload in (
        wire.relation(EMPLOYEE),
        wire.relation(MOVE),
        wire.begin(500),
        wire.insert(1, [b"1", b"a"]),
        wire.delete(1, [None, b"a"]),
        wire.insert(1, [b"2", b"b"]),
        wire.insert(2, [b"3", b"c"]),
        wire.commit(500, 540),
        wire.relation(EMPLOYEE),
        wire.begin(600),
        wire.insert(1, [b"4", b"d"]),
        wire.commit(600, 640),
    ):
        made.feed(payload, 0)
    batch = made.take()
    assert [(r.topic, r.key) for r in batch.records] == [
        ("raw.erp.public.employee", b'{"id":1}'),
        ("raw.erp.public.move", b'{"id":3}'),
    ]
    assert dict(batch.records[1].headers)["sluice-position"] == b"3:500:4", "what is not published still counts"
    assert batch.mark == Mark(640, 0)
    why = "a change came without a value of the primary key's column id"
    assert verdicts == [("public.employee", TableVerdict(TableOutcome.BLOCK, why))]


def test_what_a_tables_snapshot_contains_is_not_published_again_by_the_stream() -> None:
    later = TARGETS.by_oid[1]._replace(since_lsn=600)
    made = assembler(targets=replace(TARGETS, by_oid={1: later}))
    for payload in (
        wire.relation(EMPLOYEE),
        wire.begin(599),
        wire.insert(1, [b"1", b"a"]),
        wire.truncate(1),
        wire.delete(1, [b"1", None]),
        wire.commit(599, 600),
        wire.begin(600),
        wire.insert(1, [b"2", b"b"]),
        wire.commit(600, 640),
    ):
        made.feed(payload, 0)
    assert [r.key for r in made.take().records] == [b'{"id":2}']


def test_within_a_transaction_that_was_published_in_part_nothing_may_be_confirmed_before_its_end() -> None:
    made = assembler(Mark(500, 3))
    assert made.complete_lsn == 0
    for payload in (wire.begin(450), wire.commit(450, 460), wire.begin(500), wire.commit(500, 540)):
        made.feed(payload, 0)
    assert made.take().complete_lsn == 540
    for payload in (*sim.SHAPES, wire.begin(700), wire.insert(1, [b"1", b"a"])):
        made.feed(payload, 0)
    batch = made.take()
    assert (batch.complete_lsn, batch.mark) == (540, Mark(700, 1))


def test_records_carry_the_commit_time() -> None:
    (record,) = feed(wire.begin(500, 1_700_000_000_123_456), wire.insert(1, [b"1", b"a"]), wire.commit(500, 540))
    assert dict(record.headers)["sluice-origin-ms"] == b"1700000000123"
    assert TARGETS.record_bytes_max > record.size_bytes


def test_an_event_that_cannot_be_processed_yet_is_processed_at_its_own_ordinal_later() -> None:
    visible = [False]

    def reread_row(table: TableEvents, key: Sequence[bytes], xid: int) -> Row | NoRow:
        assert (list(key), xid) == ([b"1"], 17)
        if not visible[0]:
            raise NotVisibleYet
        return [b"1", b"large"]

    made = assembler(reread_row=reread_row, reread=frozenset({"name"}))
    for payload in (*sim.SHAPES, wire.begin(500, xid=17), wire.insert(1, [b"7", b"a"])):
        made.feed(payload, 0)
    update = wire.update(1, [b"1", UNCHANGED])
    with pytest.raises(NotVisibleYet):
        made.feed(update, 0)
    batch = made.take()
    assert (positions(batch.records), batch.mark) == ([b"3:500:1"], Mark(500, 1))
    visible[0] = True
    made.feed(update, 0)
    made.feed(wire.commit(500, 540), 0)
    (record,) = made.take().records
    assert positions([record]) == [b"3:500:2"]
    assert json.loads(record.value or b"")["after"] == {"id": 1, "name": "large"}


COUNTED = replace(
    TARGETS,
    other=OtherTopics(messages="raw.erp.message", transactions="raw.erp.transaction", not_prefixes=("noise.*",)),
    form=replace(DEFAULT_FORM, transactions=True),
)
TRANSACTION = (
    (wire.begin(500, xid=17), 410),
    (wire.insert(1, [b"1", b"a"]), 410),
    (wire.insert(3, [b"1", b"not followed"]), 420),
    (wire.update(1, [b"2", b"b"], [b"1", None]), 430),
    (wire.message("app", b"\x00hi"), 440),
    (wire.insert(2, [b"1", b"c"]), 450),
    (wire.delete(1, [b"2", None]), 460),
    (wire.commit(500, 540), 540),
)


def counted(parts: int) -> list[RawRecord]:
    """The records of `TRANSACTION` if the process ends after each `parts` messages and starts again at the mark."""
    records: list[RawRecord] = []
    batch = SlotBatch([], sim.START, 0)
    while batch.mark.lsn < 540:
        made = assembler(batch.mark, targets=COUNTED, counts=batch.counts)
        for shape in sim.SHAPES:
            made.feed(shape, 0)
        fed, before = 0, batch.mark
        for payload, lsn in TRANSACTION:
            made.feed(payload, lsn)
            fed += made.mark > before
            if fed == parts:
                break
        batch = made.take()
        records += batch.records
    return records


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_events_are_counted_in_their_transaction_whenever_the_process_is_killed(parts: int) -> None:
    records = counted(parts)
    begin, *events, end = [json.loads(r.value) for r in records if r.value]
    assert begin == {
        "status": "BEGIN",
        "id": "17:410",
        "event_count": None,
        "data_collections": None,
        "ts_ms": 946_684_800_000,
    }
    assert [(e["op"], *e["transaction"].values()) for e in events] == [
        ("c", "17:410", 1, 1),
        ("d", "17:430", 2, 2),
        ("c", "17:430", 3, 3),
        ("m", "17:440", 4, 1),
        ("c", "17:450", 5, 1),
        ("d", "17:460", 6, 4),
    ]
    assert (end["status"], end["id"], end["event_count"]) == ("END", "17:540", 6)
    assert end["data_collections"] == [
        {"data_collection": "public.employee", "event_count": 4},
        {"data_collection": "message", "event_count": 1},
        {"data_collection": "public.move", "event_count": 1},
    ]
    topics = [r.topic for r in records]
    assert topics.count("raw.erp.transaction") == 2
    assert {r.topic: r.key for r in records}["raw.erp.message"] == b'{"prefix":"app"}'


def test_a_transaction_without_published_events_is_not_announced() -> None:
    made = assembler(targets=COUNTED)
    heartbeat = wire.message("sluice.heartbeat", b"")
    noise = wire.message("noise.debug", b"")
    for payload in (
        *sim.SHAPES,
        wire.begin(500),
        wire.insert(3, [b"1", b"a"]),
        heartbeat,
        noise,
        wire.commit(500, 540),
    ):
        made.feed(payload, 0)
    assert made.take().records == []


def test_a_message_outside_of_transactions_is_published_once() -> None:
    message = wire.message("app", b"hi", transactional=False)
    made = assembler(targets=COUNTED)
    made.feed(message, 700)
    batch = made.take()
    (record,) = batch.records
    value = json.loads(record.value or b"")
    assert (value["message"], value["transaction"]) == ({"prefix": "app", "content": "aGk="}, None)
    assert (value["source"]["txId"], value["source"]["lsn"]) == (None, 700)
    again = assembler(batch.mark, targets=COUNTED)
    again.feed(message, 700)
    again.feed(wire.message("app", b"next", transactional=False), 720)
    assert [json.loads(r.value or b"")["source"]["lsn"] for r in again.take().records] == [720]


def test_messages_are_not_published_without_their_topic() -> None:
    made = assembler()
    for payload in (wire.begin(500), wire.message("app", b""), wire.commit(500, 540)):
        made.feed(payload, 0)
    made.feed(wire.message("app", b"", transactional=False), 700)
    assert made.take().records == []


@pytest.mark.parametrize(
    ("skipped", "operations"),
    [("", "cudct"), ("c", "ud"), ("u", "cdct"), ("d", "cuct"), ("t", "cudc"), ("cud", "t")],
)
def test_a_skipped_operation_is_not_published(skipped: str, operations: str) -> None:
    # An insert, an update, an update of the key (a delete and a create), a TRUNCATE.
    open_topic = {oid: target._replace(compacted=False) for oid, target in TARGETS.by_oid.items()}
    targets = replace(TARGETS, by_oid=open_topic, skipped=frozenset(op.encode() for op in skipped))
    made = assembler(targets=targets)
    for payload in (
        *sim.SHAPES,
        wire.begin(500),
        wire.insert(1, [b"1", b"a"]),
        wire.update(1, [b"1", b"b"]),
        wire.update(1, [b"2", b"b"], [b"1", None]),
        wire.truncate(1),
        wire.commit(500, 540),
    ):
        made.feed(payload, 0)
    published = [json.loads(r.value)["op"] for r in made.take().records if r.value]
    assert "".join(published) == ("udt" if skipped == "c" else operations)


def test_a_message_of_the_event_trigger_asks_for_a_check_of_the_catalogs() -> None:
    asked: list[str] = []
    made = assembler(targets=COUNTED, on_ddl=lambda: asked.append("check"))
    for payload in (wire.begin(500), wire.message("sluice.ddl", b"ALTER TABLE"), wire.commit(500, 540)):
        made.feed(payload, 0)
    assert (asked, made.take().records) == (["check"], [])
