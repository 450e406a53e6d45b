"""Every code that a server can answer with has one policy; a code that nobody thought about is a bug, never a guess."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluice.errors import (
    DeadRecord,
    EnvironmentFault,
    SluiceError,
    TransactionLost,
    Transient,
    classify_http,
    classify_kafka,
    classify_sqlstate,
)
from sluice.kafka.faults import translate

Policy = type[SluiceError] | None


@pytest.mark.parametrize(
    ("sqlstate", "policy"),
    [
        pytest.param("22003", DeadRecord, id="number out of range"),
        pytest.param("22021", DeadRecord, id="not the encoding's characters"),
        pytest.param("23502", DeadRecord, id="not null"),
        pytest.param("40P01", Transient, id="deadlock"),
        pytest.param("40001", Transient, id="serialization"),
        pytest.param("55P03", Transient, id="lock not available, though its class is environment"),
        pytest.param("57P01", Transient, id="shutdown"),
        pytest.param(None, Transient, id="the connection broke"),
        pytest.param("42P01", EnvironmentFault, id="no such table"),
        pytest.param("42501", EnvironmentFault, id="no privilege"),
        pytest.param("28P01", EnvironmentFault, id="wrong password"),
        pytest.param("XX000", None, id="the server's own bug"),
        pytest.param("P0001", None, id="raised by somebody's function"),
    ],
)
def test_a_sqlstate_says_what_to_do_next(sqlstate: str | None, policy: Policy) -> None:
    assert classify_sqlstate(sqlstate) is policy


@pytest.mark.parametrize(
    ("status", "policy"),
    [
        (200, None),
        (204, None),
        (301, EnvironmentFault),
        (400, EnvironmentFault),
        (401, EnvironmentFault),
        (404, EnvironmentFault),
        (408, Transient),
        (429, Transient),
        (500, Transient),
        (503, Transient),
    ],
)
def test_an_http_status_says_what_to_do_next(status: int, policy: Policy) -> None:
    assert classify_http(status) is policy


@pytest.mark.parametrize(
    ("code", "policy"),
    [
        (KafkaError._TRANSPORT, Transient),
        (KafkaError._TIMED_OUT, Transient),
        (KafkaError.REBALANCE_IN_PROGRESS, Transient),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, EnvironmentFault),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, EnvironmentFault),
        (KafkaError.INVALID_PRODUCER_EPOCH, TransactionLost),
        (KafkaError._FENCED, TransactionLost),
        (KafkaError._STATE, TransactionLost),
    ],
)
def test_an_error_of_kafka_says_what_to_do_next(code: int, policy: type[SluiceError]) -> None:
    assert classify_kafka(KafkaError(code).name()) is policy
    ours = translate(KafkaException(KafkaError(code)), "reading raw.hr.workers/0")
    assert type(ours) is policy
    assert "reading raw.hr.workers/0" in str(ours)


def test_a_transaction_that_the_broker_does_not_know_is_lost_and_fenced_again() -> None:
    """A delayed end of one transaction may end a later one: the producer then meets INVALID_TXN_STATE as fatal."""
    for fatal in (False, True):
        error = KafkaError(KafkaError.INVALID_TXN_STATE, "reason", fatal)
        assert type(translate(KafkaException(error), "committing")) is TransactionLost


def test_a_producer_after_a_fatal_error_is_known_by_its_code() -> None:
    """produce() raises `_FATAL`, whose own `fatal()` is False."""
    error = KafkaError(KafkaError._FATAL)
    assert not error.fatal()
    assert type(translate(KafkaException(error), "producing")) is TransactionLost


def test_an_unknown_error_of_kafka_stays_what_it_is_a_bug() -> None:
    unknown = KafkaException(KafkaError(KafkaError.INVALID_REQUIRED_ACKS))
    assert translate(unknown, "producing") is unknown
