"""The topics that a merger reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sluice.entities import EntityContract
from sluice.schemas.encoder import Encode


@dataclass(frozen=True, slots=True)
class EntityInput:
    """One contributions topic (id: `topic_id`): contract and encoder of its entity, canonical and state topic."""

    contract: EntityContract
    encode: Encode
    topic_id: str
    canonical_topic: str
    canonical_topic_id: str
    state_topic: str
    state_topic_id: str


class MergerTopics(NamedTuple):
    """`by_topic`: the inputs by contributions topic."""

    by_topic: dict[str, EntityInput]

    @property
    def read_ids(self) -> dict[str, str]:
        """Ids of the topics that the merger reads."""
        return {topic: one.topic_id for topic, one in self.by_topic.items()}

    @property
    def written_ids(self) -> dict[str, str]:
        """Ids of the topics that the merger writes: canonical records and state."""
        states = {one.state_topic: one.state_topic_id for one in self.by_topic.values()}
        return states | {one.canonical_topic: one.canonical_topic_id for one in self.by_topic.values()}

    @property
    def canonical(self) -> list[str]:
        return [one.canonical_topic for one in self.by_topic.values()]
