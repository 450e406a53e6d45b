"""Every code that a server can answer with has one policy; an unknown code is a bug, never a guess."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluice.error_policies import classify_http, classify_kafka, classify_sqlstate
from sluice.errors import (
    Bug,
    DeadRecord,
    EnvironmentFault,
    SluiceError,
    TransactionLost,
    Transient,
    UnknownCode,
    frames_of,
)
from sluice.kafka.faults import kafka_errors, steady, translate

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
        pytest.param("XX000", EnvironmentFault, id="the server's own bug"),
        pytest.param("P0001", EnvironmentFault, id="raised by somebody's function"),
        pytest.param("24000", None, id="a cursor that we used wrongly"),
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


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            KafkaError(KafkaError.INVALID_REQUIRED_ACKS),
            "INVALID_REQUIRED_ACKS (21, Broker: Invalid required acks value)",
        ),
        (KafkaError(KafkaError._INVALID_ARG, "sasl.password=hunter2"), "_INVALID_ARG (-186, Local: Invalid argument"),
        (KafkaError(1234), "ERR_1234? (1234, "),
    ],
    ids=["a stop of the table", "a text that may quote a setting", "newer than librdkafka"],
)
def test_an_unknown_code_of_kafka_is_a_stop_that_says_code_place_and_next_step(error: KafkaError, answer: str) -> None:
    def met() -> None:
        with kafka_errors("group mapper: reading raw.hr.workers/0 from 17 on"):
            raise KafkaException(error)

    with pytest.raises(UnknownCode) as stop:
        met()
    assert isinstance(stop.value, Bug), "nothing but the end of the process may catch it"
    line = frames_of(stop.value).splitlines()[0]  # what the log shows of it
    assert line.startswith("UnknownCode: group mapper: reading raw.hr.workers/0 from 17 on: Kafka says " + answer)
    assert "Next: " in line
    assert "hunter2" not in line


def test_what_librdkafka_calls_retriable_is_transient_whatever_its_code() -> None:
    error = KafkaError(1234, "made later", False, True)
    assert error.retriable()
    assert type(translate(KafkaException(error), "committing")) is Transient


def test_a_wrong_clock_is_reported_with_this_hosts_time_the_brokers_limits_and_how_to_set_it() -> None:
    ours = translate(KafkaException(KafkaError(KafkaError.INVALID_TIMESTAMP)), "writing a request to sluice.control")
    assert isinstance(ours, EnvironmentFault)
    assert "this host's clock says 20" in ours.why
    assert "message.timestamp.after.max.ms" in ours.why
    assert "message.timestamp.before.max.ms" in ours.why
    assert "NTP" in ours.next_step


@pytest.mark.parametrize(
    ("text", "steady_text"),
    [
        ("Failed to add: Broker: Unknown topic (after 15 ms)", "Failed to add: Broker: Unknown topic"),
        ("Connect failed: refused (after 0ms in state CONNECT)", "Connect failed: refused"),
        ("TxnCoordinator/1: Broker: Not coordinator (epoch 3)", "TxnCoordinator/1: Broker: Not coordinator (epoch 3)"),
    ],
)
def test_a_fault_keeps_its_text_however_long_an_attempt_took(text: str, steady_text: str) -> None:
    assert steady(text) == steady_text
