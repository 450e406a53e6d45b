"""Watches the ids of topics that a process works with: a topic that is re-created under its name is another topic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from sluice.errors import EnvironmentFault

CHECK_EVERY_S = 5.0
TIMEOUT_S = 10.0
RESTART = "restart the stage, which then says how to go on, or writes again what is missing"


class TopicWatch:
    """Asks Kafka every few seconds for the ids of topics, and never waits for the answer.

    `next_step`: what an operator does about a topic that was re-created.
    """

    def __init__(self, admin: AdminClient, next_step: str = RESTART, every_s: float = CHECK_EVERY_S) -> None:
        self._admin = admin
        self._next_step = next_step
        self._every_s = every_s
        self._due = time.monotonic() + every_s
        self._asked: dict[str, Future[Any]] = {}

    def check(self, topic_ids: Mapping[str, str]) -> None:
        """Raises EnvironmentFault if a topic has another id than in `topic_ids`, at every later call, too."""
        now = time.monotonic()
        if all(future.done() for future in self._asked.values()):
            for topic, future in self._asked.items():
                self._require(topic, topic_ids.get(topic, ""), future)
            self._asked = {}
        if not self._asked and now >= self._due:
            self._due = now + self._every_s
            self._asked = self._admin.describe_topics(TopicCollection(list(topic_ids)), request_timeout=TIMEOUT_S)

    def _require(self, topic: str, topic_id: str, answer: Future[Any]) -> None:
        try:
            now = str(answer.result(0).topic_id)
        except KafkaException:
            return  # no answer, or no topic: its readers and writers report that
        if now != topic_id:
            raise EnvironmentFault(
                f"topic {topic}",
                f"was re-created while this process ran (its id was {topic_id}, is {now}): its records are lost",
                self._next_step,
            )
