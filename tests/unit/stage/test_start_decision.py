"""Where the owner of a partition starts to read, as a table. Each case that could lose records is a fault."""

from __future__ import annotations

import orjson
import pytest

from sluice.errors import EnvironmentFault
from sluice.names import MAPPER, MERGER, SINK_POSTGRES
from sluice.position import Position
from sluice.stage.partition_record import LogStart, PartitionRecord
from sluice.stage.start_decision import ABSENCE_MAX_S, Start, StartFacts, decide_start

AT = ("raw.erp.public.employee", 3)
NOW = 2_000_000_000.0
END = 100


def record(processed: int, *, topic_id: str = "id", age_s: float = 10.0) -> PartitionRecord:
    return PartitionRecord(topic_id, processed, at=NOW - age_s)


@pytest.mark.parametrize(
    ("committed", "known", "begin", "accepted", "expected"),
    [
        (None, None, 7, None, Start(7, pass_end=END)),  # a new group starts at the first offset
        (0, None, 0, None, Start(0, pass_end=END)),  # its state is lost, and the group was reset
        (7, None, 7, 7, Start(7, pass_end=END)),  # the same where the log was cut, and an operator accepted that
        (7, record(40, topic_id="other"), 7, None, Start(7, reset=True)),  # the same for a re-created topic
        (40, record(40), 7, None, Start(40)),
        (10, record(40), 7, None, Start(10, reset=True)),  # rewound: backwards is free
        (60, record(40), 7, 60, Start(60, reset=True)),  # moved forward, and an operator accepted it
        (40, record(40, age_s=ABSENCE_MAX_S + 1), 7, None, Start(7, reset=True)),  # tombstones may be compacted away
        (7, record(7, age_s=ABSENCE_MAX_S + 1), 7, None, Start(7)),
    ],
)
def test_the_start_follows_the_committed_offset_and_the_record(
    committed: int | None, known: PartitionRecord | None, begin: int, accepted: int | None, expected: Start
) -> None:
    assert decide_start(StartFacts(AT, "mapper", committed, "id", begin, END, accepted), known, NOW) == expected


@pytest.mark.parametrize(
    ("committed", "known", "begin", "accepted", "words"),
    [
        (40, record(40, topic_id="other"), 0, None, ["re-created", "other"]),
        (
            None,
            record(40),
            0,
            None,
            ["no committed offset", "--topic raw.erp.public.employee --reset", "--to-earliest"],
        ),
        (60, record(40), 0, None, ["40 to 59", "sluice skips accept mapper raw.erp.public.employee 3 --to 60"]),
        (60, record(40), 0, 50, ["40 to 59"]),  # another skip was accepted than this one
        (40, record(40), 55, None, ["40 to 54", "deleted from the log"]),
        (40, None, 55, None, ["40 to 54", "deleted from the log"]),
        (40, None, 0, None, ["read up to 40", "re-created or emptied", "--topic raw.erp.public.employee --reset"]),
        (None, record(40, topic_id="other"), 0, None, ["re-created", "--to-earliest --execute"]),
        (999, record(40), 0, 999, ["offset 999 is beyond the end of the log, 100", "--to-offset 40 --execute"]),
        (999, record(40, age_s=ABSENCE_MAX_S + 1), 0, 999, ["beyond the end"]),
        (999, record(500), 0, None, ["beyond the end", "--to-offset 100 --execute"]),  # the log was cut off
        (999, None, 7, None, ["beyond the end", "--to-offset 7 --execute"]),
    ],
)
def test_a_start_that_could_lose_records_is_refused_with_the_range_and_the_next_step(
    committed: int | None, known: PartitionRecord | None, begin: int, accepted: int | None, words: list[str]
) -> None:
    with pytest.raises(EnvironmentFault) as refused:
        decide_start(StartFacts(AT, "mapper", committed, "id", begin, END, accepted), known, NOW)
    assert "raw.erp.public.employee/3" in refused.value.where
    for word in words:
        assert word in str(refused.value)


def test_a_sink_that_ended_before_its_first_record_starts_and_one_that_read_records_does_not() -> None:
    def start(committed: int) -> Start:
        place = ("canonical.worker", 3)
        found = StartFacts(place, "sink-postgres", committed, "id", 0, END, None, SINK_POSTGRES)
        return decide_start(found, None, NOW)

    assert start(0) == Start(0, pass_end=END)
    with pytest.raises(EnvironmentFault, match="read up to 1, but Postgres has no record of a write"):
        start(1)


def test_one_command_resets_a_deleted_group_on_all_partitions_of_a_topic() -> None:
    messages = set()
    for partition in range(6):
        with pytest.raises(EnvironmentFault) as refused:
            decide_start(StartFacts((AT[0], partition), "mapper", None, "id", 0, END), record(40 + partition), NOW)
        messages.add((refused.value.why, refused.value.next_step))
    assert len(messages) == 1


def test_a_partition_record_survives_its_json() -> None:
    before = PartitionRecord("id", 17, {"worker": 3}, {"public.employee": Position(2, 500, 0)}, {"worker": "hash"})
    after = PartitionRecord.from_json(before.to_json())
    assert (after.processed, after.versions, after.sweeps, after.fingerprints) == (17, *before_parts(before))
    assert orjson.loads(before.to_json())["rules"] == {"worker": "hash"}  # the name on disk


def before_parts(record: PartitionRecord) -> tuple[object, object, object]:
    return record.versions, record.sweeps, record.fingerprints


# ── logs that the state depends on ────────────────────────────────────────────────────────────────────────────────

STATE = "state.mapper.raw.erp.public.employee/3"
OUTPUTS = "contributions.worker"
WHOLE = {STATE: LogStart("s", 0), OUTPUTS: LogStart("c", 0)}


def found(committed: int | None, stage: str = MAPPER, **logs: LogStart) -> StartFacts:
    now = WHOLE | {{"state": STATE, "outputs": OUTPUTS}[name]: start for name, start in logs.items()}
    return StartFacts(AT, stage, committed, "id", 0, END, None, stage, STATE, now)


def complete(processed: int, pass_end: int | None = None) -> PartitionRecord:
    return PartitionRecord("id", processed, at=NOW - 10, logs=dict(WHOLE), pass_end=pass_end)


RE_CREATED, EMPTIED = LogStart("other", 0), LogStart("s", 30)
LOST = [
    pytest.param(found(40, state=RE_CREATED), f"{STATE} was re-created", id="state re-created"),
    pytest.param(found(40, state=EMPTIED), f"records of {STATE} were deleted", id="state emptied"),
    pytest.param(found(40, outputs=RE_CREATED), f"{OUTPUTS} was re-created", id="contributions re-created"),
    pytest.param(found(40, outputs=LogStart("c", 9)), f"records of {OUTPUTS} were deleted", id="contributions emptied"),
]


@pytest.mark.parametrize(("lost", "why"), LOST)
def test_a_log_that_the_state_needs_and_that_lost_records_is_a_fault(lost: StartFacts, why: str) -> None:
    with pytest.raises(EnvironmentFault) as refused:
        decide_start(lost, complete(40), NOW)
    assert why in refused.value.why
    command = "--group mapper --topic raw.erp.public.employee --reset-offsets --to-earliest --execute"
    assert command in refused.value.next_step


@pytest.mark.parametrize(("lost", "why"), LOST)
def test_after_a_reset_of_its_group_the_stage_reads_everything_and_rebuilds_its_state(
    lost: StartFacts, why: str
) -> None:
    reset = StartFacts(AT, lost.group, 0, "id", 0, END, None, MAPPER, STATE, lost.logs)
    assert decide_start(reset, complete(40), NOW) == Start(0, reset=True, pass_end=END)


@pytest.mark.parametrize(
    ("committed", "pass_end", "expected"),
    [
        (40, 90, Start(40, pass_end=90)),  # it continues
        (10, 90, Start(10, reset=True, pass_end=90)),  # read again: no record is skipped
        (0, None, Start(0, reset=True)),  # a rewind of a stage that lost nothing is no pass
    ],
)
def test_a_pass_continues_after_restarts(committed: int, pass_end: int | None, expected: Start) -> None:
    assert decide_start(found(committed), complete(40, pass_end), NOW) == expected


def test_a_pass_that_skipped_records_starts_again() -> None:
    skipped = StartFacts(AT, MAPPER, 60, "id", 0, END, 60, MAPPER, STATE, WHOLE)
    assert decide_start(skipped, complete(40, pass_end=90), NOW) == Start(0, reset=True, pass_end=90)


@pytest.mark.parametrize("committed", [40, 0])
def test_a_sink_is_rebuilt_by_its_own_command(committed: int) -> None:
    re_created = StartFacts(("canonical.worker", 3), "sink-postgres", committed, "other", 0, END, None, SINK_POSTGRES)
    with pytest.raises(EnvironmentFault, match="sluice sink rebuild worker"):
        decide_start(re_created, complete(40), NOW)


@pytest.mark.parametrize("known", [None, complete(40)])
def test_a_log_that_was_cut_up_to_the_committed_offset_is_not_taken_for_a_reset(known: PartitionRecord | None) -> None:
    """Otherwise an emptied contributions topic would be merged as if no claim existed."""
    logs = WHOLE | {OUTPUTS: LogStart("c", 40)}
    cut = StartFacts(AT, MERGER, 40, "id", 40, END, None, MERGER, STATE, logs)
    with pytest.raises(EnvironmentFault, match=r"`sluice skips accept merger raw.erp.public.employee 3 --to 40`"):
        decide_start(cut, known, NOW)
    accepted = StartFacts(AT, MERGER, 40, "id", 40, END, 40, MERGER, STATE, logs)
    assert decide_start(accepted, known, NOW).pass_end == END


def test_the_mapper_recovers_before_the_merger() -> None:
    with pytest.raises(EnvironmentFault, match=r"have the mapper claim again.*; then stop the stage, kafka-consumer"):
        decide_start(found(40, MERGER, outputs=EMPTIED), complete(40), NOW)


def test_logs_and_a_pass_survive_their_json() -> None:
    before = complete(17, pass_end=90)
    after = PartitionRecord.from_json(before.to_json())
    assert (after.logs, after.pass_end) == (before.logs, before.pass_end)
