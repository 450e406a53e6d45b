"""The table of codes against everything that the installed libraries know: each code has one policy, or is a stop with
a reason, and the table contains no other code."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from confluent_kafka import KafkaError

from sluice.error_policies import (
    KAFKA_STOPS,
    SQLSTATE_STOPS,
    classify_http,
    classify_kafka,
    classify_sqlstate,
    kafka_next_step,
)
from sluice.errors import DeadRecord, EnvironmentFault, SluiceError, Transient

KAFKA_CODES = sorted(
    KafkaError(code).name() for name, code in vars(KafkaError).items() if isinstance(code, int) and name.isupper()
)
# `retriable` in the protocol's table of errors (https://kafka.apache.org/protocol, "Error Codes"), as librdkafka spells
# them.
RETRIABLE = [
    "INVALID_MSG",
    "UNKNOWN_TOPIC_OR_PART",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "REQUEST_TIMED_OUT",
    "REPLICA_NOT_AVAILABLE",
    "NETWORK_EXCEPTION",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "NOT_CONTROLLER",
    "CONCURRENT_TRANSACTIONS",
    "KAFKA_STORAGE_ERROR",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "LISTENER_NOT_FOUND",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "UNSTABLE_OFFSET_COMMIT",
    "THROTTLING_QUOTA_EXCEEDED",
    "UNKNOWN_TOPIC_ID",
    "INCONSISTENT_TOPIC_ID",
    "SHARE_SESSION_NOT_FOUND",
    "INVALID_SHARE_SESSION_EPOCH",
]
RETRIABLE_BUT = {
    "UNKNOWN_TOPIC_OR_PART": "an operator makes a topic that is missing; a stage goes on once it is there",
    "UNKNOWN_TOPIC_ID": "as a topic that is missing",
    "INCONSISTENT_TOPIC_ID": "as a missing topic: it was re-created",
    "SHARE_SESSION_NOT_FOUND": "we use no share groups",
    "INVALID_SHARE_SESSION_EPOCH": "we use no share groups",
}


def test_librdkafka_lists_its_codes() -> None:
    assert len(KAFKA_CODES) > 150
    assert {"_DESTROY_BROKER", "INVALID_TIMESTAMP", "NO_ERROR"} < set(KAFKA_CODES)


@pytest.mark.parametrize("name", KAFKA_CODES)
def test_each_code_of_librdkafka_has_a_policy_or_is_a_stop_with_a_reason(name: str) -> None:
    policy = classify_kafka(name)
    assert (policy is None) == (name in KAFKA_STOPS), f"{name}: policy {policy}, reason {KAFKA_STOPS.get(name)}"
    if policy is EnvironmentFault:
        assert kafka_next_step(name)


def test_the_table_has_no_code_of_kafka_that_librdkafka_does_not_know() -> None:
    assert set(KAFKA_STOPS) <= set(KAFKA_CODES)


@pytest.mark.parametrize("name", sorted(RETRIABLE))
def test_what_kafka_calls_retriable_is_transient_unless_there_is_a_reason(name: str) -> None:
    assert name in KAFKA_CODES
    policy = classify_kafka(name)
    assert (policy is Transient) != (name in RETRIABLE_BUT), f"{name}: {policy}"


# ── Postgres ─────────────────────────────────────────────────────────────────────────────────────────────────────


def sqlstates() -> Iterator[str]:
    """Appendix A of PostgreSQL's manual, as psycopg knows it."""
    for name in dir(psycopg.errors):
        one = getattr(psycopg.errors, name)
        if isinstance(one, type) and issubclass(one, psycopg.Error) and one.sqlstate:
            yield one.sqlstate


SQLSTATES = sorted(set(sqlstates()))


def test_psycopg_lists_postgres_codes() -> None:
    assert len(SQLSTATES) > 200


@pytest.mark.parametrize("state", SQLSTATES)
def test_each_sqlstate_has_a_policy_or_is_a_stop_with_a_reason(state: str) -> None:
    policy = classify_sqlstate(state)
    reason = SQLSTATE_STOPS.get(state[:2])
    assert policy is not None or reason, f"{state}: it has no policy and no reason"


# Class by class, as decided: the codes with another policy than the rest of their class follow it.
BY_CLASS: dict[str, tuple[type[SluiceError] | None, dict[str, type[SluiceError] | None]]] = {
    "02": (None, {}),  # no data
    "03": (None, {}),  # SQL statement not yet complete
    "08": (Transient, {}),  # connection
    "09": (EnvironmentFault, {}),  # triggered action
    "0A": (EnvironmentFault, {}),  # feature not supported
    "0B": (None, {}),  # invalid transaction initiation
    "0F": (None, {}),  # locator
    "0L": (EnvironmentFault, {}),  # invalid grantor
    "0P": (EnvironmentFault, {}),  # invalid role
    "0Z": (None, {}),  # diagnostics
    "10": (None, {}),  # XQuery
    "20": (EnvironmentFault, {}),  # CASE not found: PL/pgSQL's
    "21": (EnvironmentFault, {}),  # cardinality: a function's query
    "22": (DeadRecord, {}),  # data
    "23": (DeadRecord, {}),  # integrity constraint
    "24": (None, {}),  # invalid cursor state
    "25": (None, {"25006": EnvironmentFault, "25P02": Transient, "25P03": Transient, "25P04": Transient}),
    "26": (EnvironmentFault, {}),  # a statement that a pooler forgot
    "27": (EnvironmentFault, {}),  # triggered data change
    "28": (EnvironmentFault, {}),  # authorization
    "2B": (EnvironmentFault, {}),  # dependent objects
    "2D": (None, {}),  # invalid transaction termination
    "2F": (EnvironmentFault, {}),  # SQL routine
    "34": (None, {}),  # invalid cursor name
    "38": (EnvironmentFault, {}),  # external routine
    "39": (EnvironmentFault, {}),  # external routine invocation
    "3B": (None, {}),  # savepoint
    "3D": (EnvironmentFault, {}),  # no such database
    "3F": (EnvironmentFault, {}),  # no such schema
    "40": (Transient, {}),  # transaction rollback
    "42": (EnvironmentFault, {}),  # syntax, access rule
    "44": (DeadRecord, {}),  # WITH CHECK OPTION
    "53": (Transient, {"53100": EnvironmentFault, "53400": EnvironmentFault}),  # resources; disk full, a limit set
    "54": (EnvironmentFault, {}),  # program limits
    "55": (EnvironmentFault, {"55006": Transient, "55P03": Transient}),  # prerequisite state; in use, locked
    "57": (Transient, {"57P04": EnvironmentFault}),  # operator intervention; the database was dropped
    "58": (EnvironmentFault, {}),  # system: disk and files of the server
    "72": (Transient, {}),  # snapshot too old
    "F0": (EnvironmentFault, {}),  # configuration file
    "HV": (EnvironmentFault, {}),  # foreign data wrapper
    "P0": (EnvironmentFault, {}),  # PL/pgSQL: somebody's function
    "XX": (EnvironmentFault, {}),  # the server failed, or its data is damaged
}


def test_every_class_of_appendix_a_is_decided() -> None:
    assert {state[:2] for state in SQLSTATES} == set(BY_CLASS)


@pytest.mark.parametrize("state", SQLSTATES)
def test_a_sqlstate_has_the_policy_that_was_decided_for_it(state: str) -> None:
    usual, others = BY_CLASS[state[:2]]
    assert classify_sqlstate(state) is others.get(state, usual)


def test_an_invented_sqlstate_is_a_stop() -> None:
    for state in ("U0042", "ZZ999", "99000"):
        assert classify_sqlstate(state) is None


# ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────

DONE = {200, 201, 203, 204}
PASSES = {202, 408, 409, 420, 421, 423, 425, 429, 430}
NEVER_PASSES = {501, 505, 506, 508, 510, 511}


@pytest.mark.parametrize("hundred", range(10))
def test_each_status_of_http_is_a_success_passes_or_is_for_an_operator(hundred: int) -> None:
    for status in range(hundred * 100, hundred * 100 + 100):
        policy = classify_http(status)
        if status in DONE:
            assert policy is None, status
        elif status in PASSES or (status >= 500 and status not in NEVER_PASSES):
            assert policy is Transient, status
        else:
            assert policy is EnvironmentFault, status


def test_an_answer_with_a_part_of_the_data_is_no_success() -> None:
    """A part taken for the whole deletes the rest: 202 promises an answer, 206 and 207 contain a part."""
    assert None not in {classify_http(status) for status in (202, 205, 206, 207, 208, 226)}
