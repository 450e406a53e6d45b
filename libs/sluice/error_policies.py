"""The policy for every error code of Kafka, Postgres and HTTP: the error class that says what Sluice does next.

| policy             | which codes have it                                                                        |
|--------------------|--------------------------------------------------------------------------------------------|
| `Transient`        | the error passes by itself, so the request is repeated: all that Kafka calls retriable     |
| `TransactionLost`  | the producer or its transaction is lost, and a new producer continues                      |
| `EnvironmentFault` | an operator must repair something outside of Sluice; the next step says what               |
| `DeadRecord`       | the error concerns one record only                                                         |
| none               | codes that never occur, with the reason, and unknown codes: the stage stops. To guess a    |
|                    | policy could lose data without notice                                                      |

Tests compare these tables with every code that the installed libraries know.
"""

from __future__ import annotations

from sluice.errors import DeadRecord, EnvironmentFault, SluiceError, TransactionLost, Transient


def _codes(words: str) -> frozenset[str]:
    return frozenset(words.split())


# ── Kafka ────────────────────────────────────────────────────────────────────────────────────────────────────────

_KAFKA_TRANSIENT = _codes(
    # Codes that the Kafka protocol calls retriable.
    "INVALID_MSG LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT REPLICA_NOT_AVAILABLE "
    "NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR NOT_ENOUGH_REPLICAS "
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND NOT_CONTROLLER CONCURRENT_TRANSACTIONS KAFKA_STORAGE_ERROR "
    "FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND FENCED_LEADER_EPOCH "
    "UNKNOWN_LEADER_EPOCH OFFSET_NOT_AVAILABLE PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE "
    "UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED "
    # Codes that the protocol does not call retriable, but whose cause ends soon: a broker restarts, a member joins its
    # group again.
    "BROKER_NOT_AVAILABLE STALE_BROKER_EPOCH REBOOTSTRAP_REQUIRED OPERATION_NOT_ATTEMPTED MEMBER_ID_REQUIRED "
    "REBALANCE_IN_PROGRESS ILLEGAL_GENERATION UNKNOWN_MEMBER_ID FENCED_MEMBER_EPOCH STALE_MEMBER_EPOCH "
    "UNRELEASED_INSTANCE_ID "
    # librdkafka's own codes. `_DESTROY_BROKER`: a broker that has just started does not name any brokers yet. So
    # librdkafka forgets the broker that it knew, and ends all open requests to it.
    "_TRANSPORT _ALL_BROKERS_DOWN _TIMED_OUT _TIMED_OUT_QUEUE _MSG_TIMED_OUT _RESOLVE _WAIT_COORD _WAIT_CACHE "
    "_DESTROY_BROKER _UNKNOWN_BROKER _FAIL _INTR _RETRY _IN_PROGRESS _PARTIAL _QUEUE_FULL _ISR_INSUFF _NO_OFFSET "
    "_PURGE_QUEUE _PURGE_INFLIGHT _ASSIGNMENT_LOST _MAX_POLL_EXCEEDED _OUTDATED"
)

_KAFKA_TRANSACTION_LOST = _codes(
    "_FATAL _FENCED _STATE _CONFLICT _PREV_IN_PROGRESS _GAPLESS_GUARANTEE _INCONSISTENT PRODUCER_FENCED "
    "INVALID_PRODUCER_EPOCH INVALID_TXN_STATE INVALID_PRODUCER_ID_MAPPING TRANSACTION_ABORTABLE "
    "TRANSACTION_COORDINATOR_FENCED OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER UNKNOWN_PRODUCER_ID"
)

_TOPICS = "run `sluice topics check`, then `sluice topics apply`"
_BROKER_LOG = "read the brokers' logs; it goes on by itself when they work again"
# Kafka's codes with the policy EnvironmentFault, by the next step that the error text names to the operator.
_KAFKA_ENVIRONMENT = {
    "check the credentials and ACLs of this client (SLUICE_KAFKA__OPTIONS)": (
        "TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED "
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED SASL_AUTHENTICATION_FAILED "
        "ILLEGAL_SASL_STATE UNSUPPORTED_SASL_MECHANISM SECURITY_DISABLED PRINCIPAL_DESERIALIZATION_FAILURE "
        "INVALID_PRINCIPAL_TYPE DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND "
        "DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_EXPIRED "
        "_AUTHENTICATION _SSL"
    ),
    _TOPICS: (
        # `_NOENT`: no partition has a leader, so the topic does not exist, or was created a moment ago.
        "UNKNOWN_TOPIC_OR_PART UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID _UNKNOWN_TOPIC _UNKNOWN_PARTITION _NOENT "
        "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE "
        "TOPIC_ALREADY_EXISTS"
    ),
    # Kafka refuses a record without a key in a compacted topic. Sluice's topics with such records are not compacted.
    f"{_TOPICS}: the topic takes no such record, for example because somebody made it compacted": (
        "INVALID_RECORD _INVALID_DIFFERENT_RECORD"
    ),
    "compare `schemas/topics` with what the cluster allows (create.topic.policy, default.replication.factor)": (
        "INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG POLICY_VIOLATION "
        "TOPIC_DELETION_DISABLED"
    ),
    "correct kafka.prefix in the pipeline's file: Kafka takes no such name": "TOPIC_EXCEPTION INVALID_GROUP_ID",
    "stop every member of the group, then start those of one version with one SLUICE_KAFKA__GROUP_PROTOCOL": (
        "INCONSISTENT_GROUP_PROTOCOL FENCED_INSTANCE_ID NON_EMPTY_GROUP GROUP_SUBSCRIBED_TO_TOPIC"
    ),
    "start the stage once, so that its group exists": "GROUP_ID_NOT_FOUND _UNKNOWN_GROUP",
    "raise the broker's group.max.size, or run fewer processes of this stage": "GROUP_MAX_SIZE_REACHED",
    "let the broker's group.min.session.timeout.ms be 6000 or less": "INVALID_SESSION_TIMEOUT",
    "lower SLUICE_KAFKA__TRANSACTION_TIMEOUT_MS to the broker's transaction.max.timeout.ms": (
        "INVALID_TRANSACTION_TIMEOUT"
    ),
    "use Kafka 4.0 or newer, or set SLUICE_KAFKA__GROUP_PROTOCOL=classic": (
        "UNSUPPORTED_VERSION UNSUPPORTED_ASSIGNOR _UNSUPPORTED_FEATURE"
    ),
    "correct SLUICE_KAFKA__BOOTSTRAP_SERVERS: it must name brokers, not controllers": (
        "MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE"
    ),
    "compare `date -u` here and on the brokers and set the clock that is wrong (NTP); nothing is lost, and it goes on "
    "by itself. Where both are right, the topic's limits are too narrow: take message.timestamp.after.max.ms and "
    "message.timestamp.before.max.ms off with `kafka-configs --alter --entity-type topics --entity-name TOPIC "
    "--delete-config message.timestamp.after.max.ms,message.timestamp.before.max.ms`": "INVALID_TIMESTAMP",
    "find what shortened the topic (retention, kafka-delete-records, an unclean leader election, a topic that was "
    "re-created), then run `sluice verify`": "OFFSET_OUT_OF_RANGE _AUTO_OFFSET_RESET _LOG_TRUNCATION",
    "check the brokers' disks and logs, and read the partition with `kafka-dump-log`: its bytes are damaged": (
        "_BAD_MSG _BAD_COMPRESSION _UNDERFLOW"
    ),
    _BROKER_LOG: "UNKNOWN",
    "give this process more memory, threads or open files, and see that it can write its files": (
        "_CRIT_SYS_RESOURCE _FS"
    ),
}
_KAFKA_NEXT_STEP = {name: step for step, names in _KAFKA_ENVIRONMENT.items() for name in names.split()}

# Kafka's codes without a policy, by the reason. Such a code stops the stage if data depends on the answer.
_KAFKA_STOP = {
    "is not an error": "NO_ERROR",
    "says that we called librdkafka wrongly": (
        "_INVALID_ARG _INVALID_TYPE _READ_ONLY _EXISTING_SUBSCRIPTION _NOT_IMPLEMENTED _NOT_CONFIGURED _NOOP "
        "_APPLICATION _UNKNOWN_PROTOCOL"
    ),
    "says that we used a client that we had closed": "_DESTROY",
    "is an event that librdkafka sends to itself or to a callback": (
        "_ASSIGN_PARTITIONS _REVOKE_PARTITIONS _PARTITION_EOF _NODE_UPDATE"
    ),
    "comes from serializers, which we do not use": (
        "_KEY_SERIALIZATION _KEY_DESERIALIZATION _VALUE_SERIALIZATION _VALUE_DESERIALIZATION"
    ),
    "answers a request that we must never send in that form": (
        "INVALID_REQUEST INVALID_MSG_SIZE INVALID_REQUIRED_ACKS INVALID_COMMIT_OFFSET_SIZE OFFSET_METADATA_TOO_LARGE "
        "INVALID_REGULAR_EXPRESSION"
    ),
    "answers administration that we do not do": (
        "ELECTION_NOT_NEEDED REASSIGNMENT_IN_PROGRESS NO_REASSIGNMENT_IN_PROGRESS LOG_DIR_NOT_FOUND "
        "RESOURCE_NOT_FOUND DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL FEATURE_UPDATE_FAILED INVALID_UPDATE_VERSION "
        "TELEMETRY_TOO_LARGE UNKNOWN_SUBSCRIPTION_ID"
    ),
    "is for brokers and controllers among themselves": (
        "STALE_CTRL_EPOCH INCONSISTENT_VOTER_SET INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND "
        "UNKNOWN_CONTROLLER_ID INVALID_REGISTRATION"
    ),
    "is for share groups or Kafka Streams, which we do not use": (
        "FENCED_STATE_EPOCH INVALID_RECORD_STATE SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH "
        "SHARE_SESSION_LIMIT_REACHED STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED"
    ),
}
KAFKA_STOPS = {name: reason for reason, names in _KAFKA_STOP.items() for name in names.split()}


def classify_kafka(name: str) -> type[SluiceError] | None:
    """The policy for a Kafka error code. `name`: as `KafkaError.name()` returns it. None means that the stage stops."""
    if name in _KAFKA_TRANSACTION_LOST:
        return TransactionLost
    if name in _KAFKA_TRANSIENT:
        return Transient
    return EnvironmentFault if name in _KAFKA_NEXT_STEP else None


def kafka_next_step(name: str) -> str:
    """The next step for an operator after a Kafka error whose policy is EnvironmentFault."""
    return _KAFKA_NEXT_STEP.get(name, _BROKER_LOG)


# ── Postgres: PostgreSQL's manual, appendix A ────────────────────────────────────────────────────────────────────

# An entry of five characters is one SQLSTATE, an entry of two is a class; the SQLSTATE wins over its class. Classes P0,
# 09, 2F, 38 and 39 come from functions and triggers of users. A function that refuses a single record raises an ERRCODE
# of class 22 or 23 (decision 0028).
_SQLSTATE_TRANSIENT = _codes("08 40 53 57 72 25P02 25P03 25P04 55006 55P03")
_SQLSTATE_DEAD = _codes("22 23 44")
_SQLSTATE_ENVIRONMENT = _codes(
    "09 0A 0L 0P 20 21 25006 26 27 28 2B 2F 38 39 3D 3F 42 53100 53400 54 55 57P04 58 F0 HV P0 XX"
)
_SQLSTATE_STOP = {
    "is no error": "00 01 02 03",
    "says that we ended, began or named a transaction, cursor or savepoint wrongly": "0B 24 25 2D 34 3B",
    "answers SQL that we do not write": "0F 0Z 10",
}
SQLSTATE_STOPS = {state: reason for reason, states in _SQLSTATE_STOP.items() for state in states.split()}


def classify_sqlstate(sqlstate: str | None) -> type[SluiceError] | None:
    """The policy for a Postgres error by its SQLSTATE. None means that the stage stops.

    An error without a SQLSTATE is a broken connection.
    """
    if sqlstate is None:
        return Transient
    for part in (sqlstate, sqlstate[:2]):
        if part in _SQLSTATE_TRANSIENT:
            return Transient
        if part in _SQLSTATE_DEAD:
            return DeadRecord
        if part in _SQLSTATE_ENVIRONMENT:
            return EnvironmentFault
    return None


# ── HTTP: RFC 9110 and the codes that sources are known to use ───────────────────────────────────────────────────

# The statuses of a complete answer. 202 only promises an answer, and 206 and 207 contain a part of one; a part must not
# be taken for the whole.
_HTTP_DONE = frozenset({200, 201, 203, 204})
# Statuses with which a vendor says "slow down", or reports a state of the source that passes. Some vendors use 500 for
# this.
_HTTP_PASSES = frozenset({202, 408, 409, 420, 421, 423, 425, 429, 430})
_HTTP_NEVER_PASSES = frozenset({501, 505, 506, 508, 510, 511})


def classify_http(status: int) -> type[SluiceError] | None:
    """The policy for an HTTP status of a source's API; None for success. 401 and 403 are EnvironmentFault."""
    if status in _HTTP_DONE:
        return None
    if status in _HTTP_PASSES or (status >= 500 and status not in _HTTP_NEVER_PASSES):
        return Transient
    return EnvironmentFault
