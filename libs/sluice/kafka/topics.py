"""The topics of a pipeline. Each kind of topic is declared in a YAML file of `schemas/topics/`. The pipeline file says
which topics of each kind exist, and `sluice topics apply` creates them in Kafka.

The number of partitions of a topic never changes: `apply` creates topics and alters their configuration only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice.debezium_settings.topics import heartbeats_name, transactions_name
from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka.faults import ANSWER_GRACE_S, admin_answer, kafka_error, topic_missing, translate
from sluice.pipeline import Pipeline
from sluice.pipeline.yaml_file import read_yaml

TIMEOUT_S = 30.0
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class TopicKind(BaseModel):
    """The declaration of one kind of topic: a file of `schemas/topics/`. A file with an unknown member is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    producers: list[str] = Field(min_length=1)
    consumers: list[str] = Field(min_length=1)
    key: str
    value: str
    schema_: str = Field(alias="schema")
    partitions: Literal["pipeline", "shards"] | int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Pinned:
    """The id and the number of partitions of a topic that exists in Kafka."""

    topic_id: str
    partitions: int


def other_count(topic: str, found: int, declared: int) -> EnvironmentFault:
    """The fault for a topic that has another number of partitions (`found`) than the pipeline file declares: then
    readers expect keys in other partitions than those that contain them."""
    return EnvironmentFault(
        f"topic {topic}",
        f"has {found} partitions where {declared} are declared; Kafka removes no partition, and moves no record to a "
        "new one",
        "if `partitions` of the pipeline file was changed, set it back. If the topic was changed: stop all stages, "
        f"delete {topic} and, where there is one, the topic state.<stage>.{topic} (kafka-topics --delete), run "
        "`sluice topics apply`, start ingress (a followed source also needs `sluice cdc resnapshot`), wait until "
        "`sluice lag` shows what it published again, and start the other stages, which report what else to do",
    )


def require_partitions(pinned: dict[str, Pinned], partitions: int) -> None:
    """Raises EnvironmentFault for the first topic whose number of partitions is not `partitions`, because readers would
    expect its keys in other partitions. `pinned`: topic → what Kafka says about it."""
    for topic, about in pinned.items():
        if about.partitions != partitions:
            raise other_count(topic, about.partitions, partitions)


def load_kinds(folder: Path) -> list[TopicKind]:
    """All kinds of topics that the YAML files of `folder` declare. Raises SettingsError if there is no file, or a file
    is wrong; the error names the file and its wrong member."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise SettingsError(f"{folder}: no topic declarations; set SLUICE_SCHEMAS_DIR to the project's schemas folder")
    kinds = []
    for file in files:
        try:
            kinds.append(TopicKind.model_validate(read_yaml(file).value))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{file}: {problems}") from None
    return kinds


def concrete(kinds: list[TopicKind], pipeline: Pipeline, entities: list[str]) -> list[Topic]:
    """All topics of `pipeline`. A kind of topic becomes one topic for each source, stream, entity or stage, if its name
    has a placeholder for that, else one topic. The name begins with the pipeline's prefix, unless it has a placeholder
    for it."""
    counts = {"pipeline": pipeline.partitions, "shards": pipeline.shards}
    topics = []
    for kind in kinds:
        count = kind.partitions if isinstance(kind.partitions, int) else counts[kind.partitions]
        prefix = "" if "{prefix}" in kind.name else pipeline.kafka.prefix
        for name in _expand(kind, pipeline, entities):
            topics.append(Topic(prefix + name, count, kind.config))
    return topics


def _expand(kind: TopicKind, pipeline: Pipeline, entities: list[str]) -> Iterator[str]:
    """The names of the topics of one kind. The placeholders in the kind's name must be exactly those of one key of
    `values`."""
    values: dict[tuple[str, ...], Iterable[tuple[str, ...]]] = {
        (): [()],
        ("source", "stream"): ((s.source, s.stream) for s in pipeline.streams()),
        ("source",): ((source,) for source in pipeline.poll_sources()),
        ("entity",): ((entity,) for entity in entities),
        ("stage",): ((stage,) for stage in kind.producers),
        **_of_debezium(pipeline),
    }
    names = tuple(sorted(set(_PLACEHOLDER.findall(kind.name))))
    if names not in values:
        raise SettingsError(f"schemas/topics: {kind.name}: no such placeholders")
    for several in values[names]:
        yield kind.name.format(**dict(zip(names, several, strict=True)))


def _of_debezium(pipeline: Pipeline) -> dict[tuple[str, ...], Iterable[tuple[str, ...]]]:
    """The values of the placeholders of topics that Debezium's settings of a source require."""
    sources = {name: s.debezium for name, s in pipeline.cdc_sources().items() if s.debezium is not None}
    heartbeats = {name: first for name, s in sources.items() if (first := heartbeats_name(s)) is not None}
    transactions = {name: last for name, s in sources.items() if (last := transactions_name(s)) is not None}
    return {
        ("messages_of",): ((name,) for name in sources),
        ("transaction", "transactions_of"): ((last, name) for name, last in transactions.items()),
        ("heartbeat", "heartbeats_of", "prefix"): (
            (first, name, pipeline.kafka.prefix) for name, first in heartbeats.items()
        ),
    }


def _led_partitions(future: Future[Any], timeout_s: float) -> int:
    """The number of partitions in Kafka's answer about a topic; 0 while one of the partitions has no leader."""
    partitions = []
    with admin_answer("describing a new topic", "UNKNOWN_TOPIC_OR_PART", "LEADER_NOT_AVAILABLE"):
        partitions = future.result(timeout_s).partitions
    return len(partitions) if all(p.leader is not None for p in partitions) else 0


class Topics:
    """Reads and changes the topics of the Kafka cluster through the admin API."""

    def __init__(
        self, client: AdminClient, timeout_s: float = TIMEOUT_S, answer_timeout_s: float | None = None
    ) -> None:
        self._admin = client
        self._timeout_s = timeout_s
        self._answer_timeout_s = timeout_s + ANSWER_GRACE_S if answer_timeout_s is None else answer_timeout_s

    def pinned(self, names: list[str]) -> dict[str, Pinned]:
        """The id and the number of partitions of each topic of `names`. Raises EnvironmentFault if one of them does not
        exist."""
        found = self._described(names)
        missing = [n for n in names if n not in found]
        if missing:
            raise topic_missing(missing[0])
        return found

    def apply(self, topics: list[Topic]) -> list[str]:
        """Create the topics that are missing, and alter the configuration of topics where it differs from `topics`.
        Returns one line of text for each change.

        Raises EnvironmentFault if a topic has another number of partitions, or if Kafka refuses or does not answer.
        """
        done = []
        existing = self._described([t.name for t in topics])
        new = [t for t in topics if t.name not in existing]
        if new:
            created = self._admin.create_topics(
                [NewTopic(t.name, t.partitions, -1, config=t.config) for t in new], request_timeout=self._timeout_s
            )
            for name, future in created.items():
                with admin_answer(f"creating {name}", "TOPIC_ALREADY_EXISTS"):
                    future.result(self._answer_timeout_s)
                    done.append(f"created {name}")
        self.await_leaders([t.name for t in new])
        old = [t for t in topics if t.name in existing]
        for topic in old:
            if existing[topic.name].partitions != topic.partitions:
                raise other_count(topic.name, existing[topic.name].partitions, topic.partitions)
        differing = self._differing(old)
        if differing:
            self._alter(differing)
            done += [f"configured {name}: {', '.join(sorted(config))}" for name, config in differing.items()]
        return done

    def check(self, topics: list[Topic]) -> list[str]:
        """One line of text for each difference between the declared `topics` and those in Kafka. Changes nothing."""
        existing = self._described([t.name for t in topics])
        findings = [f"{t.name}: does not exist" for t in topics if t.name not in existing]
        old = [t for t in topics if t.name in existing]
        findings += [
            str(other_count(t.name, existing[t.name].partitions, t.partitions)).removeprefix("topic ")
            for t in old
            if existing[t.name].partitions != t.partitions
        ]
        for name, config in self._differing(old).items():
            findings += [f"{name}: {key} should be {value}" for key, value in config.items()]
        return findings

    def await_leaders(self, names: list[str]) -> None:
        """Wait until the leader of each partition of the new topics `names` answers. Raises EnvironmentFault if one
        does not answer in time.

        A broker names itself the leader of a partition a moment before it serves the partition. If a consumer joins its
        group in that moment, the group assigns it no partition before its next heartbeat, by default 5 s later (Kafka
        4.1, KIP-848).
        """
        give_up = time.monotonic() + self._timeout_s
        while names and (without := self._leaderless(names)):
            if time.monotonic() > give_up:
                raise EnvironmentFault(
                    f"topic {without[0]}",
                    f"has no leader that answers, {self._timeout_s:.0f} s after it was created",
                    "read the brokers' logs",
                )
            time.sleep(0.05)

    def _leaderless(self, names: list[str]) -> list[str]:
        about = self._admin.describe_topics(TopicCollection(names), request_timeout=self._timeout_s)
        partitions = {n: _led_partitions(future, self._answer_timeout_s) for n, future in about.items()}
        return [n for n, led in partitions.items() if not led] or self._silent(partitions)

    def _silent(self, partitions: Mapping[str, int]) -> list[str]:
        """The topics of which a partition leader does not answer. `partitions`: topic → number of its partitions."""
        asked = {
            TopicPartition(name, p): OffsetSpec.latest() for name, count in partitions.items() for p in range(count)
        }
        return [
            str(at.topic)
            for at, future in self._admin.list_offsets(asked, request_timeout=self._timeout_s).items()
            if not self._answered(at, future)
        ]

    def _answered(self, at: TopicPartition, future: Future[Any]) -> bool:
        """Whether the leader of the partition `at` answered. Raises an error that does not pass by itself, such as a
        refused permission."""
        try:
            future.result(self._answer_timeout_s)
        except TimeoutError:
            return False
        except KafkaException as error:
            ours = translate(error, f"asking the leader of {at.topic}/{at.partition}")
            if isinstance(ours, Transient) or kafka_error(error).name() == "UNKNOWN_TOPIC_OR_PART":
                return False
            raise ours from None
        return True

    def _described(self, names: list[str]) -> dict[str, Pinned]:
        found: dict[str, Pinned] = {}
        if not names:
            return found
        for name, future in self._admin.describe_topics(
            TopicCollection(names), request_timeout=self._timeout_s
        ).items():
            with admin_answer(f"describing {name}", "UNKNOWN_TOPIC_OR_PART"):
                about = future.result(self._answer_timeout_s)
                found[name] = Pinned(str(about.topic_id), len(about.partitions))
        return found

    def configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        """The present configuration of each topic of `names`. Raises EnvironmentFault or Transient."""
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, str]] = {}
        for resource, future in self._admin.describe_configs(resources, request_timeout=self._timeout_s).items():
            with admin_answer(f"reading the configuration of {resource.name}"):
                entries = future.result(self._answer_timeout_s)
            found[resource.name] = {key: entry.value for key, entry in entries.items()}
        return found

    def _differing(self, topics: list[Topic]) -> dict[str, dict[str, str]]:
        now = self.configs([topic.name for topic in topics])
        off = {t.name: {k: v for k, v in t.config.items() if now[t.name].get(k) != v} for t in topics}
        return {name: config for name, config in off.items() if config}

    def _alter(self, differing: dict[str, dict[str, str]]) -> None:
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                name,
                incremental_configs=[
                    ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in config.items()
                ],
            )
            for name, config in differing.items()
        ]
        for resource, future in self._admin.incremental_alter_configs(
            resources, request_timeout=self._timeout_s
        ).items():
            with admin_answer(f"configuring {resource.name}"):
                future.result(self._answer_timeout_s)
