"""Checks whether Kafka answers, for a process that must wait for it. Kafka's silence is reported after 5 s, then every
30 s."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sluice.errors import SettingsError
from sluice.kafka import clients
from sluice.settings.kafka import KafkaSettings

REPORTED_AFTER_S = 5.0
REPEATED_AFTER_S = 30.0
ASKED_EVERY_S = 1.0
ANSWER_S = 2.0


class Silence:
    """Decides when to report that a server does not answer: after 5 s of silence, then every 30 s. All times are
    seconds of one monotonic clock."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._due_s = now_s + REPORTED_AFTER_S

    def answered(self, now_s: float) -> None:
        self._since_s, self._due_s = now_s, now_s + REPORTED_AFTER_S

    def unanswered(self, now_s: float) -> float | None:
        """Call this when a request to the server failed. Returns the seconds since its last answer if they must be
        reported now, else None."""
        if now_s < self._due_s:
            return None
        self._due_s = now_s + REPEATED_AFTER_S
        return now_s - self._since_s


class KafkaWatch:
    """Asks Kafka once a second for the metadata of one topic, on a thread of its own.

    The thread calls `answers` after each answer. It calls `silent` with the seconds since the last answer, after 5 s of
    silence, then every 30 s.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        silent: Callable[[float], None],
        answers: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._topic = settings, topic
        self._silent, self._answers = silent, answers
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(ANSWER_S + ASKED_EVERY_S)

    def _run(self) -> None:
        silence = Silence(time.monotonic())
        try:
            admin = clients.admin(self._settings)
        except SettingsError:
            return  # the next client of this process raises the same error
        while not self._stopped.wait(ASKED_EVERY_S):
            if self._answered(admin):
                silence.answered(time.monotonic())
                self._answers()
            elif (for_s := silence.unanswered(time.monotonic())) is not None:
                self._silent(for_s)

    def _answered(self, admin: AdminClient) -> bool:
        try:
            admin.list_topics(self._topic, ANSWER_S)
        except KafkaException:
            return False
        return True


def silence_text(settings: KafkaSettings) -> str:
    """The text of the fault that Kafka does not answer: the possible causes, and the next step."""
    return (
        f"Kafka at {settings.bootstrap_servers} does not answer, or refuses this client. Next: start Kafka (embedded: "
        "`sluice dev up`), or correct SLUICE_KAFKA__BOOTSTRAP_SERVERS and SLUICE_KAFKA__OPTIONS"
    )
