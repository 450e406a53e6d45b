"""A broker that does not answer is a fault of the environment with a next step, never a bug."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, clients, groups
from sluice.kafka.topics import Topic, Topics

TIMEOUT_S = 0.5


@pytest.fixture
def settings() -> Iterator[KafkaSettings]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield KafkaSettings(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}")


def test_topics_without_an_answer_are_a_fault_with_a_next_step(settings: KafkaSettings) -> None:
    with pytest.raises(EnvironmentFault, match="does not answer") as fault:
        Topics(clients.admin(settings), TIMEOUT_S).pinned(["raw.hr.workers"])
    assert "SLUICE_KAFKA__BOOTSTRAP_SERVERS" in fault.value.next_step
    assert "raw.hr.workers" in fault.value.where


def test_topics_cannot_be_applied_in_silence(settings: KafkaSettings) -> None:
    with pytest.raises(EnvironmentFault, match="does not answer"):
        Topics(clients.admin(settings), TIMEOUT_S).apply([Topic("raw.hr.workers", 6, {})])


def test_a_group_without_an_answer_is_not_taken_for_empty(settings: KafkaSettings) -> None:
    with pytest.raises(EnvironmentFault, match="does not answer"):
        groups.members_of(clients.admin(settings), "mapper", TIMEOUT_S)


def test_a_wait_that_ends_before_librdkafka_speaks_is_the_same_fault(settings: KafkaSettings) -> None:
    with pytest.raises(EnvironmentFault, match="no answer in time"):
        Topics(clients.admin(settings), answer_timeout_s=0.2).pinned(["raw.hr.workers"])
