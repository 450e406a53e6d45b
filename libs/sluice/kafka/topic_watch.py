"""Checks that the topics that a process works with keep their topic ids. A topic that is deleted and created again
under the same name has a new id, and its records are lost."""

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
RESTART = "restart the stage: it writes the missing records again, or reports how to continue"


class TopicWatch:
    """Asks Kafka every few seconds for the ids of topics, without blocking the caller.

    `next_step`: the text for the operator if a topic was re-created.
    """

    def __init__(self, admin: AdminClient, next_step: str = RESTART, every_s: float = CHECK_EVERY_S) -> None:
        self._admin = admin
        self._next_step = next_step
        self._every_s = every_s
        self._due = time.monotonic() + every_s
        self._asked: dict[str, Future[Any]] = {}

    def check(self, topic_ids: Mapping[str, str]) -> None:
        """Compare the last answer of Kafka with `topic_ids` (topic → id), and send the next request if it is due. Does
        not block.

        Raises EnvironmentFault if a topic now has another id than in `topic_ids`; later calls raise it again.
        """
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
            return  # Kafka does not answer, or the topic is missing: readers and writers report that
        if now != topic_id:
            raise EnvironmentFault(
                f"topic {topic}",
                f"was re-created while this process ran (its id was {topic_id}, is {now}): its records are lost",
                self._next_step,
            )
