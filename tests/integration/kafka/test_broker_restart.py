"""The errors of a broker that is killed and restarted: each error code has a policy, and measurements continue."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

from sluice.embedded import Servers
from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.stage.group import GroupReader
from support.servers import kill
from support.topics import make_topics
from support.waiting import eventually

PARTITIONS = 6
ASKERS = 5
RESTARTS = 2
TOPIC = "asked"


class Asking:
    """Calls `question` repeatedly on a thread. Counts the outcomes by kind, and keeps the errors without a policy."""

    def __init__(self, question: Callable[[], object]) -> None:
        self._question = question
        self.answers: Counter[str] = Counter()
        self.without_policy: list[str] = []
        self.last = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            try:
                self._question()
                self.answers["answered"] += 1
            except (Transient, EnvironmentFault) as error:
                self.answers[type(error).__name__] += 1
                self.last = str(error)
            except BaseException as error:
                self.without_policy.append(f"{type(error).__name__}: {error}")

    def end(self) -> None:
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def as_a_stage(reader: GroupReader, places: list[Partition]) -> None:
    reader.take(100, 0.0)
    for at in places:
        reader.end(at)
        reader.committed(at)


def test_each_answer_about_ends_and_offsets_has_a_policy_while_a_broker_dies_and_returns(own_broker: Servers) -> None:
    settings = KafkaSettings(bootstrap_servers=own_broker.kafka.bootstrap_servers)
    admin = clients.admin(settings)
    make_topics(admin, {TOPIC: PARTITIONS})
    places = [(TOPIC, partition) for partition in range(PARTITIONS)]
    readers = [GroupReader(settings, f"asker-{number}", "0", {TOPIC: "id"}) for number in range(ASKERS)]
    for reader in readers:
        reader.open()
    log = LogReader(settings, leader_deadline_s=1.0)
    asking = [Asking(partial(as_a_stage, reader, places)) for reader in readers]
    asking.append(Asking(lambda: log.ends(places)))

    def answered() -> bool:
        return all(one.answers["answered"] > before[one] for one in asking)

    def state() -> str:
        return "\n".join(f"{dict(one.answers)} {one.last}" for one in asking)

    for _ in range(RESTARTS):
        before = {one: one.answers["answered"] for one in asking}
        eventually(answered, "everybody is answered", 120, state)
        kill(own_broker, "kafka")
        own_broker.restart("kafka")
        before = {one: one.answers["answered"] for one in asking}
        eventually(answered, "everybody is answered again", 120, state)
    for one in asking:
        one.end()
    for reader in readers:
        reader.close()
    log.close()
    assert sum((one.answers for one in asking), Counter())["Transient"], "the restarts were met"
    assert {error for one in asking for error in one.without_policy} == set()
