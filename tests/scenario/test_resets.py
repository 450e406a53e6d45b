"""Kafka's own tool moves each group: afterwards nothing is lost, doubled, deleted or written again.

The sources do not change meanwhile. `support.replay.Picture` is what the tests compare.
"""

from __future__ import annotations

import psycopg
import pytest

from support.arrivals import arrivals, note_arrivals
from support.replay import Replay
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORKFORCE = {"workers": 300, "ledger_entries": 800}
READERS = ("mapper", "merger", "sink-postgres")
# Of twenty entries that can be mapped: one of the ledger is not a number, and parked.
SKIPPED = """
UPDATE public.ledger_entry SET text = 'skipped'
WHERE id IN (SELECT id FROM public.ledger_entry WHERE amount <> 'NaN' ORDER BY id LIMIT 20)
"""
EARLIEST = ("--to-earliest",)
SOME_BACK = ("--shift-by", "-200")


@pytest.mark.parametrize("to", [EARLIEST, SOME_BACK], ids=" ".join)
@pytest.mark.parametrize("stage", READERS)
def test_a_rewound_group_changes_no_row_and_writes_no_canonical_record(
    replay: Replay, stage: str, to: tuple[str, ...]
) -> None:
    before, stood = replay.picture(), replay.committed(stage)
    replay.run.stop(stage)
    replay.move(stage, *to)
    moved = replay.committed(stage)
    assert all(moved[at] < stood[at] for at in stood if stood[at]), "the tool moved nothing"
    replay.run.start(stage)
    replay.settle()
    assert replay.picture() == before
    assert replay.resets_in_ledger(stage), "the ledger does not show the rewind"


@pytest.mark.parametrize("to", [EARLIEST, SOME_BACK], ids=" ".join)
@pytest.mark.parametrize("stage", READERS)
def test_a_rewound_stage_that_lost_its_disk_as_well_ends_in_the_same_place(
    replay: Replay, stage: str, to: tuple[str, ...]
) -> None:
    before = replay.picture()
    replay.run.stop(stage)
    replay.lose_state(stage)
    replay.move(stage, *to)
    replay.run.start(stage)
    replay.settle()
    assert replay.picture() == before


@pytest.mark.parametrize("loses_state", [False, True], ids=["keeps its state", "loses its state"])
def test_a_poller_moved_back_in_its_shards_deletes_and_repeats_nothing(replay: Replay, loses_state: bool) -> None:
    before = replay.picture()
    replay.run.stop("ingress-poller")
    replay.move("ingress-poller", *EARLIEST, topic=replay.names.shards)
    if loses_state:
        replay.lose_state("ingress-poller")
    replay.run.start("ingress-poller")
    replay.await_enumeration()
    replay.settle()
    assert replay.picture() == before


def test_a_deleted_row_stays_deleted_when_the_sink_reads_everything_again(replay: Replay) -> None:
    assert replay.finance("DELETE FROM public.cost_centre WHERE code = (SELECT min(code) FROM public.cost_centre)") == 1
    replay.scenario.await_truth()
    replay.settle()
    before = replay.picture()
    with psycopg.connect(replay.run.sink_dsn) as connection:
        gone = [row[0] for row in connection.execute("SELECT entity_id FROM golden._tombstones")]
    assert len(gone) == 1
    note_arrivals(replay.run.sink_dsn, ["cost_centre"])
    replay.run.stop("sink-postgres")
    replay.move("sink-postgres", *EARLIEST)
    # In batches so small that the row's last value and its tombstone never meet in one.
    replay.scenario.start_with("sink-postgres", {"SLUICE_BATCH_RECORDS_MAX": "20"})
    replay.settle()
    assert replay.picture() == before
    assert not [one for one in arrivals(replay.run.sink_dsn) if one.entity_id in gone], "the row rose for a while"


def test_a_group_moved_forward_waits_until_somebody_accepts_what_is_skipped(replay: Replay) -> None:
    scenario, sink = replay.scenario, "sink-postgres"
    replay.run.stop(sink)
    ends = replay.run.canonical_ends()["ledger_entry"]
    assert replay.finance(SKIPPED) == 20
    eventually(lambda: replay.visible_beyond("ledger_entry", ends) == 20, "20 records", 60.0, scenario.states)
    stood = replay.committed(sink)
    replay.move(sink, "--to-latest")
    skipped = {at: (stood[at], to) for at, to in replay.committed(sink).items() if to > stood[at]}
    assert skipped
    replay.run.start(sink)
    for (topic, partition), (first, to) in skipped.items():
        fault = scenario.await_fault(sink, f"{topic}/{partition}", "moved forward")
        assert f"offsets {first} to {to - 1} would be skipped unread" in fault
        assert f"sluice skips accept {replay.group_of(sink)} {topic} {partition} --to {to}" in fault
    assert _rows_with_text(replay, "skipped") == 0
    for (topic, partition), (_, to) in skipped.items():
        done = scenario.command("skips", "accept", replay.group_of(sink), topic, str(partition), "--to", str(to))
        assert done.returncode == 0, done.stdout + done.stderr
    scenario.await_ready(sink)
    assert _rows_with_text(replay, "skipped") == 0
    expected = {(to, 0) for _, to in skipped.values()}
    eventually(
        lambda: expected <= {(line["from"], line["visible"]) for line in replay.resets_in_ledger(sink)},
        "a line in the ledger for each skip",
        30.0,
        scenario.states,
    )

    replay.run.stop(sink)
    replay.move(sink, *EARLIEST)
    replay.run.start(sink)
    scenario.await_truth()
    assert _rows_with_text(replay, "skipped") == 20


def _rows_with_text(replay: Replay, text: str) -> int:
    with psycopg.connect(replay.run.sink_dsn) as connection:
        return len(connection.execute("SELECT FROM golden.ledger_entry WHERE text = %s", [text]).fetchall())


def test_after_all_that_verify_and_lag_find_nothing(replay: Replay) -> None:
    replay.settle()
    for command in (("verify", "--wait", "30"), ("lag",)):
        done = replay.scenario.command(*command)
        assert done.returncode == 0, done.stdout + done.stderr
