"""Lines that librdkafka repeats a hundred times a second are logged once in ten seconds."""

from __future__ import annotations

import logging

from sluice.kafka.clients import REPEATED_AFTER_S, OncePerKind


def line(text: str, at_s: float) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": text})
    record.created = at_s
    return record


def test_a_repeated_line_is_logged_once_and_again_after_a_while() -> None:
    once = OncePerKind()
    assert once.filter(line("FAIL [rdkafka#producer-1] refused", 100.0))
    assert not once.filter(line("FAIL [rdkafka#producer-1] refused", 100.1))
    assert not once.filter(line("FAIL [rdkafka#consumer-2] refused", 100.0 + REPEATED_AFTER_S - 0.1))
    assert once.filter(line("FAIL [rdkafka#producer-1] refused", 100.0 + REPEATED_AFTER_S))


def test_a_line_of_another_kind_is_logged_too() -> None:
    once = OncePerKind()
    assert once.filter(line("FAIL [rdkafka#producer-1] refused", 100.0))
    assert once.filter(line("TXNERR [rdkafka#producer-1] lost", 100.0))
