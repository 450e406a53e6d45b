"""The states of a raw log at a snapshot, differences from a table's rows, and whether a source is followed."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.cdc.followed_source import FollowedSource, SourceState
from sluice.cdc.slots import SlotState, SourceIdentity
from sluice.cdc.watermarks import BLOCKED, SlotWatermark, TableWatermark
from sluice.errors import EnvironmentFault
from sluice.kafka.record import Record
from sluice.pipeline import Pipeline, Secret
from sluice.position import LOWEST, Position
from sluice.verify.raw_states import Doubled, Entry, EntryKind, RawLog, SourceSnapshot, newest
from sluice.verify.report import Check, NotChecked, NotDone, Report
from sluice.verify.row_codes import LEFT_OUT, UNKNOWN, Columns
from sluice.verify.sources import (
    marks_of,
    polled_streams,
    why_not_followed,
    why_not_read,
)
from sluice.verify.spill import BUCKETS, Spill

MARK, LOST = "left out", "left out, and in no record"
CODES = {MARK: LEFT_OUT, LOST: UNKNOWN}
SHOWN = SourceSnapshot(epoch=2, upper_lsn=1_000, xmax=2**32 + 50, in_progress=frozenset({2**32 + 40, 2**32 - 3}))


@pytest.mark.parametrize(
    ("position", "xid", "sees"),
    [
        (Position(2, 999, 1), 39, True),
        (Position(2, 999, 1), 40, False),  # in progress: in the log, and not visible yet
        (Position(2, 10, 1), 40, False),
        (Position(2, 999, 1), 50, False),  # started after the snapshot
        (Position(2, 999, 1), 2**32 - 4, True),  # before the numbers wrapped around
        (Position(2, 999, 1), 2**32 - 3, False),
        (Position(2, 1_000, 1), 39, False),
        (Position(2, 999, 0), None, True),  # a row of a snapshot, a tombstone, a sweep
        (Position(2, 1_000, 0), None, False),
        (Position(1, 5_000, 1), 60, True),  # another slot's log
        (Position(3, 1, 1), 1, False),
    ],
)
def test_a_snapshot_shows_what_its_transactions_committed(position: Position, xid: int | None, sees: bool) -> None:
    assert SHOWN.sees(position, xid) is sees


def test_a_transaction_number_is_not_taken_for_a_later_one_of_the_same_32_bits() -> None:
    late = SHOWN._replace(upper_lsn=2**40)
    assert late.sees(Position(2, 1_000, 1), 40)
    assert late.sees(Position(2, 1_000, 1), 60)


def entry(major: int, kind: EntryKind = EntryKind.ROW, codes: tuple[int, ...] = (), shown: bool = True) -> Entry:
    position = Position(1, major, 1) if major else LOWEST
    return Entry(position, 0, 0, kind, shown, 0, array("q", codes))


ROW, DELETE, TOMBSTONE, UNREADABLE = EntryKind.ROW, EntryKind.DELETE, EntryKind.TOMBSTONE, EntryKind.UNREADABLE


@pytest.mark.parametrize(
    ("entries", "swept", "there", "moves"),
    [
        ([], 0, False, False),
        ([entry(5)], 0, True, False),
        ([entry(5), entry(6, DELETE), entry(6, TOMBSTONE)], 0, False, False),
        ([entry(6, DELETE), entry(6, TOMBSTONE), entry(5)], 0, False, False),  # an older one that arrives late
        ([entry(6, TOMBSTONE), entry(7)], 0, True, False),
        ([entry(5)], 6, False, False),
        ([entry(5)], 5, True, False),
        ([entry(5), entry(6, DELETE, shown=False), entry(6, TOMBSTONE)], 0, True, True),
        ([entry(5), entry(6, shown=False)], 0, True, True),
        ([entry(6, shown=False)], 0, False, True),
        ([entry(5), entry(0, TOMBSTONE)], 0, False, False),  # compaction removes what is before a null
        ([entry(5), entry(0, TOMBSTONE), entry(6)], 0, True, False),
        ([entry(0)], 0, False, False),  # it has no position
        ([entry(5), entry(6, UNREADABLE)], 0, True, False),
        ([entry(5), entry(6, DELETE), entry(7, UNREADABLE)], 0, False, False),
        ([entry(6, UNREADABLE)], 0, False, False),
        ([entry(6, UNREADABLE), entry(7)], 0, True, False),
    ],
)
def test_the_newest_state_of_a_key(entries: list[Entry], swept: int, there: bool, moves: bool) -> None:
    state = newest(entries, {0: Position(1, swept, 1)} if swept else {})
    assert (state.is_there, state.moves) == (there, moves)


def test_a_record_that_its_source_cannot_have_written_is_marked() -> None:
    entries = [entry(5), entry(90, shown=False), entry(6, shown=False)]
    state = newest(entries, {}, reach=Position(1, 80, 9))
    assert (state.beyond, state.moves) == (entries[1], True)
    assert newest(entries, {}, reach=Position(1, 90, 9)).beyond is None
    assert newest([entry(5)], {}, reach=Position(0, 80, 9)).beyond is not None


def fold(*rows: tuple[EntryKind, dict[str, Any]]) -> tuple[Columns, Entry]:
    """The newest state of a key; values that are MARK or LOST are left out of a record."""
    columns, entries = Columns(), []
    for number, (kind, row) in enumerate(rows, 1):
        left_out = {name: CODES[value] for name, value in row.items() if value in CODES}
        entries.append(entry(number, kind)._replace(codes=columns.codes(row, left_out)))
    state = newest(entries, {})
    assert state.entry is not None
    return columns, state.entry


@pytest.mark.parametrize(
    ("records", "row", "differing"),
    [
        ([(ROW, {"a": 1, "b": "x"})], {"a": 1, "b": "x"}, []),
        ([(ROW, {"a": 1, "b": "x"})], {"a": "1", "b": "x"}, ["a"]),
        ([(ROW, {"a": 1})], {"a": True}, ["a"]),
        ([(ROW, {"a": -1})], {"a": -2}, ["a"]),
        ([(ROW, {"a": None})], {"a": ""}, ["a"]),
        ([(ROW, {"a": 1, "b": "x"}), (ROW, {"a": 2, "b": MARK})], {"a": 2, "b": "x"}, []),
        ([(ROW, {"a": 1, "b": "x"}), (ROW, {"a": 2, "b": MARK})], {"a": 2, "b": "y"}, ["b"]),
        ([(ROW, {"b": "x"}), (ROW, {"b": MARK}), (ROW, {"b": MARK})], {"b": "y"}, ["b"]),
        ([(ROW, {"b": MARK})], {"b": "y"}, []),  # in no record: it cannot be judged
        ([(ROW, {"b": "x"}), (EntryKind.OPAQUE, {}), (ROW, {"b": MARK})], {"b": "y"}, []),
        ([(ROW, {"b": "x"}), (DELETE, {}), (ROW, {"b": MARK})], {"b": "y"}, []),
        ([(ROW, {"a": 1})], {"a": 1, "later": None}, []),
        ([(ROW, {"a": 1})], {"a": 1, "later": 0}, ["later"]),
        ([(ROW, {"a": 1, "dropped": 5})], {"a": 1}, []),
        ([(ROW, {"b": "x"}), (ROW, {"b": LOST})], {"b": "y"}, []),  # in no later record
        ([(ROW, {"b": "x"}), (ROW, {"b": LOST}), (ROW, {"b": MARK})], {"b": "y"}, []),
        ([(ROW, {"a": "__debezium_unavailable_value"})], {"a": "x"}, ["a"]),  # a text like any other
    ],
)
def test_which_columns_differ(
    records: list[tuple[EntryKind, dict[str, Any]]], row: dict[str, Any], differing: list[str]
) -> None:
    columns, current = fold(*records)
    assert list(columns.differing(columns.codes(row), current.codes)) == differing


def test_spilled_entries_are_returned_by_key_and_in_order(tmp_path: Path) -> None:
    spill = Spill(tmp_path, "raw")
    given = [(b"key %d" % (n % 3_000), b"%d:" % n + bytes(n % 700)) for n in range(60_000)]
    for key, one in given:
        spill.add(key, one)
    assert any(tmp_path.iterdir()), "everything is still in memory"
    taken: dict[bytes, list[bytes]] = {}
    buckets: dict[bytes, int] = {}
    for bucket in range(BUCKETS):
        for key, one in spill.take(bucket):
            taken.setdefault(key, []).append(one)
            assert buckets.setdefault(key, bucket) == bucket
    wanted: dict[bytes, list[bytes]] = {}
    for key, one in given:
        wanted.setdefault(key, []).append(one)
    assert taken == wanted
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "nowhere", "raw")
    with pytest.raises(EnvironmentFault, match="TMPDIR"):
        spill.add(b"key", bytes(1_000_000))


SOURCE = FollowedSource("erp", Secret(env="DSN"), "sluice_erp", "sluice_erp")
WATERMARK = SlotWatermark("7", 1, "sluice_erp", 1, 100, 0)
IDENTITY, STATE = SourceIdentity("7", 1, "erp"), SlotState(100, 90, None, lost=False)


@pytest.mark.parametrize(
    ("watermark", "identity", "state", "why"),
    [
        (WATERMARK, IDENTITY, STATE, ""),
        (None, IDENTITY, STATE, "nothing of it was published yet"),
        (WATERMARK, IDENTITY._replace(system_id="8"), STATE, "the watermark is of system 7, timeline 1"),
        (WATERMARK, IDENTITY._replace(timeline=2), STATE, "the watermark is of system 7, timeline 1"),
        (WATERMARK, IDENTITY, None, "slot sluice_erp does not exist any more"),
        (WATERMARK, IDENTITY, STATE._replace(lost=True), "has removed log"),
        (
            WATERMARK,
            IDENTITY,
            STATE._replace(confirmed_flush_lsn=101),
            "starts at 0/65, and everything up to 0/64 is published",
        ),
    ],
)
def test_a_source_is_followed_or_there_is_a_reason(
    watermark: SlotWatermark | None, identity: SourceIdentity, state: SlotState | None, why: str
) -> None:
    found = why_not_followed(SOURCE, watermark, SourceState(identity, state, 500))
    assert why in found
    assert bool(why) == bool(found)


def test_a_slot_of_another_name_is_not_the_one_that_was_followed() -> None:
    found = why_not_followed(replace(SOURCE, slot="other"), WATERMARK, SourceState(IDENTITY, STATE, 500))
    assert found == "the watermark is of slot sluice_erp, not of slot other"


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        (TableWatermark("followed"), ""),
        (TableWatermark("followed", why="a partition was dropped"), ""),
        (TableWatermark("pending"), "it is not read yet"),
        (TableWatermark("pending", why="it has no primary key"), "it is not read yet: it has no primary key"),
        (TableWatermark(BLOCKED, why="it was re-created"), "it is blocked: it was re-created"),
        (None, "it was added to the pipeline, and is not followed yet"),
    ],
)
def test_a_table_is_read_or_there_is_a_reason(mark: TableWatermark | None, why: str) -> None:
    assert why_not_read(mark) == why


def test_a_watermark_of_another_form_is_an_error() -> None:
    for stored in ({"v": 9}, {"v": 1, "what": "else"}):
        with pytest.raises(EnvironmentFault, match="not known to this version"):
            marks_of({"erp/*": stored}, "erp")
    with pytest.raises(EnvironmentFault, match="not known to this version"):
        marks_of({"erp/public.staff": {"v": 1}}, "erp")


@pytest.mark.parametrize(
    ("mark", "kind", "because"),
    [
        (None, "unable", "nothing of it was published yet"),
        ({}, "unable", "no version of Sluice wrote this form of watermark"),
        ({"at": 40_000_000, "enumerated_at": 9_000_000}, "unable", "its last answer is 16 min old"),
        ({"at": 999_000_000, "enumerated_at": None}, "unable", "never listed as a whole"),
        ({"at": 999_000_000, "enumerated_at": 970_000_000}, "by design", "listed as a whole 30.0 s ago"),
    ],
)
def test_why_a_polled_stream_is_not_compared(mark: dict[str, Any] | None, kind: str, because: str) -> None:
    stream = {"people": {"freshness": "5s"}}
    pipeline = Pipeline.model_validate({"pipeline": "p", "sources": {"crm": {"poll": "a.b:C", "streams": stream}}})
    (found,) = polled_streams(pipeline, {} if mark is None else {"crm/people": mark}, now_s=1_000.0)
    assert (found.what, found.kind) == ("source crm, stream people", kind)
    assert because in found.because


NOT_DONE = NotDone("mapper", "raw.crm.people", 0, 3, 9)
UNABLE = NotChecked("source erp", "no process reads its slot", "start ingress-cdc")
UNREAD, BY_DESIGN = UNABLE._replace(kind="left out"), UNABLE._replace(kind="by design")


@pytest.mark.parametrize(
    ("report", "found", "verdict", "passed"),
    [
        (Report(), "", "verified", True),
        (Report(not_checked=[BY_DESIGN]), "", "verified", True),
        (Report(not_checked=[UNREAD, BY_DESIGN]), "", "nothing wrong in what was checked", True),
        (Report(not_checked=[UNABLE]), "", "nothing wrong in what was checked", False),
        (Report(pending=[NOT_DONE]), "", "nothing wrong in what was checked", False),
        (Report(doubled=3), "", "verified", True),
        (Report(not_checked=[UNABLE]), "source-raw", "findings", False),
        (Report(), "I2", "findings", False),
    ],
)
def test_a_report_is_verified_only_if_everything_was_checked(
    report: Report, found: Check, verdict: str, passed: bool
) -> None:
    if found:
        report.found(found, "where", "key", "is wrong")
    assert (report.verdict, report.passed, report.verified) == (verdict, passed, verdict == "verified")
    last = report.lines()[-1]
    assert last.startswith("findings: 1" if found else verdict)
    assert report.to_json()["verdict"] == verdict


def test_a_copy_is_alike_even_after_new_columns(tmp_path: Path) -> None:
    def event(offset: int, position: int, row: dict[str, Any]) -> Record:
        event = {"op": "c", "source": {"txId": 1}, "after": row, "ts_ms": offset}
        headers = {"sluice-position": b"1:%d:1" % position}
        return Record("raw.erp.public.staff", 0, offset, b'{"id":1}', orjson.dumps(event), headers, 0)

    log = RawLog("raw.erp.public.staff", True, Spill(tmp_path, "raw"))
    for one in (event(0, 5, {"id": 1}), event(1, 6, {"id": 1, "later": 2}), event(2, 5, {"id": 1})):
        log.add(one)
    log.add(event(3, 6, {"id": 1, "later": 3}))
    doubled: list[Doubled] = []
    assert [state.is_there for states in log.buckets(doubled.append) for state in states.values()] == [True]
    assert [(one.first.offset, one.second.offset, one.alike) for one in doubled] == [(0, 2, True), (1, 3, False)]
