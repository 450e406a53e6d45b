"""Dead letters are shown by cause, with the place of the newest, and never with their content."""

from __future__ import annotations

import pytest

from sluice.cli.lag_report import dead_letter_lines
from sluice.errors import DeadRecord
from sluice.kafka.record import Record
from sluice.lag.dead_letter_counts import StageDeadLetters, causes_of
from sluice.stage.dead_letters import dead_letter

WRONG_TYPE = DeadRecord("wrong-type", "hr.workers: pay: decimal_type (mapping worker)")
NO_KEY = DeadRecord("unreadable-key", "no member id")


def dead_letter_at(offset: int, error: DeadRecord, of: int) -> Record:
    original = Record("raw.hr.workers", 2, of, b"{}", b'{"pay":"s3cret"}', {}, 0)
    made = dead_letter("mapper", original, error, 1)
    return Record("dlq.mapper", 1, offset, made.key, made.body, dict(made.headers), offset)


def test_dead_letters_are_grouped_by_cause_the_most_frequent_first_with_the_place_of_the_newest() -> None:
    found = causes_of(
        [dead_letter_at(0, WRONG_TYPE, 7), dead_letter_at(1, NO_KEY, 8), dead_letter_at(2, WRONG_TYPE, 9)]
    )
    assert [(one.dead_letters, one.newest, one.of) for one in found] == [
        (2, "dlq.mapper/1@2", "raw.hr.workers/2@9"),
        (1, "dlq.mapper/1@1", "raw.hr.workers/2@8"),
    ]
    assert found[0].why == "wrong-type: hr.workers: pay: decimal_type (mapping worker)"


def test_each_cause_has_a_line_and_the_number_of_scanned_dead_letters_is_shown() -> None:
    causes = causes_of([dead_letter_at(5, WRONG_TYPE, 7)])
    head, line = dead_letter_lines([StageDeadLetters("mapper", 4_000, causes)])
    assert head == "dead letters of mapper: no more than 4,000 are kept; the causes of the newest 1:"
    assert line.startswith("    1 × wrong-type: hr.workers: pay: decimal_type (mapping worker); the newest 2")
    assert line.endswith(": dlq.mapper/1@5, of raw.hr.workers/2@7")
    assert "s3cret" not in line


def test_a_foreign_dead_letter_is_counted_and_cannot_move_the_cursor() -> None:
    foreign = Record("dlq.mapper", 0, 3, None, None, {"__connect.errors.exception.message": b"\x1b[2J\xff"}, 12)
    (cause,) = causes_of([foreign])
    assert "\x1b" not in cause.why
    assert (cause.dead_letters, cause.parked_ms) == (1, 12)


@pytest.mark.parametrize("at", [{}, {"partition": b"-1", "offset": b"-1"}])
def test_a_record_that_reached_no_topic_is_shown_with_the_topic_alone(at: dict[str, bytes]) -> None:
    headers = {"topic": b"raw.hr.workers", "exception.message": b"no-key: no member id", **at}
    letter = Record(
        "dlq.ingress-poller", 0, 3, None, b"{}", {f"__connect.errors.{k}": v for k, v in headers.items()}, 0
    )
    (cause,) = causes_of([letter])
    assert cause.of == "raw.hr.workers"
