"""Topics on a real broker: created as declared, compared with existing ones, never repartitioned."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, clients
from sluice.kafka.topics import Topic, Topics, concrete, load_kinds
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities
from support.pace import within
from support.repository import ROOT
from support.waiting import eventually

PIPELINE = """\
pipeline: shop
partitions: 2
shards: 3
kafka: {{prefix: {prefix}}}
sources:
  crm: {{poll: sources.crm.connector:Crm, streams: {{customers: {{freshness: 60s}}}}}}
  erp: {{cdc: postgres, dsn: {{env: ERP_DSN}}, tables: [public.customer]}}
"""
ENTITIES = """\
from typing import Annotated

from sluice.entities import Entity, Identity


class Customer(Entity):
    number: Annotated[str, Identity()]
"""


@pytest.fixture
def admin(kafka: str) -> AdminClient:
    return clients.admin(KafkaSettings(bootstrap_servers=kafka))


@pytest.fixture
def pipeline(tmp_path: Path, topic_prefix: str) -> Pipeline:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(prefix=topic_prefix))
    (tmp_path / "entities.py").write_text(ENTITIES)
    return load_pipeline(tmp_path)


@pytest.fixture
def declared(pipeline: Pipeline) -> list[Topic]:
    return concrete(load_kinds(ROOT / "schemas" / "topics"), pipeline, list(load_entities(pipeline)))


def test_applied_topics_are_as_declared_and_are_not_changed_again(
    admin: AdminClient, declared: list[Topic], pipeline: Pipeline
) -> None:
    topics = Topics(admin)
    missing = topics.check(declared)
    assert sorted(missing) == sorted(f"{topic.name}: does not exist" for topic in declared)
    assert sorted(topics.apply(declared)) == sorted(f"created {topic.name}" for topic in declared)
    assert topics.check(declared) == []
    assert topics.apply(declared) == []
    names = pipeline.names
    pinned = topics.pinned([names.raw("crm", "customers"), names.canonical("customer"), names.shards, names.ledger])
    assert [about.partitions for about in pinned.values()] == [2, 2, 3, 1]
    assert len({about.topic_id for about in pinned.values()}) == 4


def test_every_leader_of_what_was_applied_answers_at_once(admin: AdminClient, declared: list[Topic]) -> None:
    """A broker names itself the leader before it is, and a group that is joined then waits for a later heartbeat."""
    Topics(admin).apply(declared)
    partitions = {TopicPartition(t.name, p): OffsetSpec.latest() for t in declared for p in range(t.partitions)}
    asked = admin.list_offsets(partitions)
    assert {future.result(within(30)).offset for future in asked.values()} == {0}


def test_configuration_that_differs_is_reported_and_altered(admin: AdminClient, declared: list[Topic]) -> None:
    topics = Topics(admin)
    topics.apply(declared)
    raw = next(topic for topic in declared if topic.name.endswith("raw.crm.customers"))
    longer = raw.__class__(raw.name, raw.partitions, {**raw.config, "min.compaction.lag.ms": "1209600000"})
    assert topics.check([longer]) == [f"{raw.name}: min.compaction.lag.ms should be 1209600000"]
    assert topics.apply([longer]) == [f"configured {raw.name}: min.compaction.lag.ms"]
    # The controller has it at once, the broker that is asked a moment later.
    eventually(lambda: topics.check([longer]) == [], "the broker to have it")


def test_partitions_are_never_changed(admin: AdminClient, declared: list[Topic]) -> None:
    topics = Topics(admin)
    topics.apply(declared)
    raw = next(topic for topic in declared if topic.name.endswith("raw.crm.customers"))
    more = raw.__class__(raw.name, 4, raw.config)
    (found,) = topics.check([more])
    assert found.startswith(f"{raw.name}: has 2 partitions where 4 are declared")
    with pytest.raises(EnvironmentFault) as refused:
        topics.apply([more])
    assert str(refused.value) == f"topic {found}", "both say the same, and what can be done"
    assert topics.pinned([raw.name])[raw.name].partitions == 2


def test_a_missing_topic_is_reported_with_the_command_that_creates_it(admin: AdminClient, topic_prefix: str) -> None:
    with pytest.raises(EnvironmentFault, match="does not exist") as fault:
        Topics(admin).pinned([f"{topic_prefix}raw.crm.customers"])
    assert "sluice topics apply" in fault.value.next_step
