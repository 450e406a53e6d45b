"""Dead letters keep the original bytes, say why without quoting them, and stop a bad deployment."""

from __future__ import annotations

import itertools

import pytest

from sluice.errors import DeadRecord
from sluice.kafka.record import Record
from sluice.stage.dead_letters import TRUNCATED_BODY_BYTES, DeadLetterGuard, cause_of, dead_letter

ERROR = DeadRecord("wrong-type", "hr.workers: pay: int_parsing")
OFFSETS = itertools.count()


def add(guard: DeadLetterGuard, dead: bool) -> bool:
    return guard.add(0, next(OFFSETS), dead)


def record(value: bytes | None = b'{"name":"Ada"}', headers: dict[str, bytes] | None = None) -> Record:
    return Record("raw.hr.workers", 2, 17, b'{"id":1}', value, headers or {"sluice-position": b"1:2:3"}, 1_000)


def test_a_dead_letter_has_the_original_bytes_and_headers_and_the_place_of_its_record() -> None:
    _, body, pairs = dead_letter("mapper", record(), ERROR, 3)
    headers = dict(pairs)
    assert body == b'{"name":"Ada"}'
    assert headers["sluice-position"] == b"1:2:3"
    assert headers["__connect.errors.topic"] == b"raw.hr.workers"
    assert (headers["__connect.errors.partition"], headers["__connect.errors.offset"]) == (b"2", b"17")
    assert headers["sluice-mapping-version"] == b"3"
    assert (headers["sluice-kind"], headers["sluice-attempt"]) == (b"wrong-type", b"1")


def test_no_header_of_a_dead_letter_quotes_the_record() -> None:
    _, _, headers = dead_letter("mapper", record(), ERROR, None)
    assert all(b"Ada" not in value for _, value in headers)


def test_dead_letters_of_one_cause_have_the_same_fingerprint() -> None:
    assert cause_of("mapper", ERROR) == cause_of("mapper", DeadRecord("wrong-type", "hr.workers: pay: int_parsing"))
    assert cause_of("mapper", ERROR) != cause_of("sink-postgres", ERROR)
    assert len(cause_of("mapper", ERROR)) == 12


def test_a_second_attempt_is_counted_and_replaces_the_headers_of_the_first() -> None:
    _, _, first = dead_letter("mapper", record(), ERROR, None)
    _, _, second = dead_letter("mapper", record(headers=dict(first)), ERROR, None)
    names = [name for name, _ in second]
    assert dict(second)["__connect.errors.offset"] == b"17"
    assert names.count("__connect.errors.offset") == 1


def test_a_body_too_large_for_the_topic_is_cut_with_its_size_and_hash() -> None:
    _, body, headers = dead_letter("mapper", record(b"x" * 9_000_000), ERROR, None)
    assert body is not None
    assert len(body) == TRUNCATED_BODY_BYTES
    assert dict(headers)["sluice-truncated-bytes"] == b"9000000"
    assert len(dict(headers)["sluice-sha256"]) == 64


def test_a_dead_letter_fits_its_topic_with_any_key_and_headers() -> None:
    headers = {"small": b"1", **{f"large-{number}": b"h" * 400_000 for number in range(50)}}
    original = record(b"x" * 8_000_000, headers)._replace(key=b"k" * 9_000_000)
    key, body, written = dead_letter("mapper", original, ERROR, None)
    assert (len(key or b""), len(body or b"")) == (TRUNCATED_BODY_BYTES, 8_000_000)
    assert dict(written)["sluice-key-truncated-bytes"] == b"9000000"
    assert dict(written)["small"] == b"1"
    assert dict(written)["sluice-headers-left-out"] == b"48"
    assert sum(len(name) + len(value) for name, value in written) < 1_100_000


def test_a_hundred_in_a_row_pause_the_topic() -> None:
    guard = DeadLetterGuard()
    assert not any(add(guard, True) for _ in range(99))
    assert add(guard, True)


def test_more_than_a_fifth_of_the_last_thousand_pause_the_topic() -> None:
    guard = DeadLetterGuard()
    assert not any(add(guard, n % 5 == 0) for n in range(1_000))
    assert any(add(guard, n % 2 == 0) for n in range(300))


def test_more_than_half_of_a_small_input_pause_the_topic_after_two_hundred_records() -> None:
    guard = DeadLetterGuard()
    assert not any(add(guard, n % 5 < 3) for n in range(199))
    assert add(guard, True)


def test_half_of_a_small_input_pauses_nothing() -> None:
    guard = DeadLetterGuard()
    assert not any(add(guard, n % 2 == 1) for n in range(800))


def test_a_few_bad_records_among_many_pause_nothing() -> None:
    guard = DeadLetterGuard()
    assert not any(add(guard, n % 50 == 0) for n in range(10_000))


@pytest.mark.parametrize("attempt", [b"", b"abc", b"-1", b"9" * 400, b"\xff"])
def test_an_attempt_header_that_no_stage_wrote_counts_as_no_attempt(attempt: bytes) -> None:
    letter = dead_letter("mapper", record(headers={"sluice-attempt": attempt}), ERROR, 3)
    assert dict(letter.headers)["sluice-attempt"] == b"1"


def test_a_record_that_is_read_again_during_an_outage_counts_once() -> None:
    guard = DeadLetterGuard()
    assert not any(guard.add(0, 7, True) for _ in range(1_000))
    assert not any(guard.add(0, offset, False) for offset in range(8, 300))


def test_records_that_are_rejected_when_their_batch_is_written_pause_the_topic_too() -> None:
    guard = DeadLetterGuard()
    assert not any(add(guard, False) for _ in range(99))
    assert not guard.add_late(99)
    assert not add(guard, False)
    assert guard.add_late(1), "a hundred in a row"
    healthy = DeadLetterGuard()
    assert not any(add(healthy, False) for _ in range(1_000))
    assert not healthy.add_late(99)
    assert healthy.add_late(150)


def test_the_dead_letter_of_a_record_that_reached_no_topic_has_no_partition_and_no_offset() -> None:
    letter = dead_letter("ingress-poller", record()._replace(partition=-1, offset=-1), ERROR, None)
    headers = dict(letter.headers)
    assert headers["__connect.errors.topic"] == b"raw.hr.workers"
    assert not {f"__connect.errors.{name}" for name in ("partition", "offset", "task.id")} & headers.keys()


@pytest.mark.parametrize(
    ("stage", "connect_stage"),
    [
        ("ingress-poller", b"TASK_POLL"),
        ("ingress-cdc", b"TASK_POLL"),
        ("mapper", b"TRANSFORMATION"),
        ("merger", b"TRANSFORMATION"),
        ("sink-postgres", b"TASK_PUT"),
    ],
)
def test_a_dead_letter_names_the_step_of_kafka_connect_that_the_stage_is(stage: str, connect_stage: bytes) -> None:
    assert dict(dead_letter(stage, record(), ERROR, None).headers)["__connect.errors.stage"] == connect_stage
