"""The names of stages, topics, consumer groups and transactional ids. Only this module spells these names."""

from __future__ import annotations

import re
from dataclasses import dataclass

INGRESS_POLLER = "ingress-poller"
INGRESS_CDC = "ingress-cdc"
MAPPER = "mapper"
MERGER = "merger"
SINK_POSTGRES = "sink-postgres"
STAGES = (INGRESS_POLLER, INGRESS_CDC, MAPPER, MERGER, SINK_POSTGRES)
"""The names of all stages, in the order in which records flow through them."""


_NAME = re.compile(r"[a-z][a-z0-9_]*")
NAME_CHARACTERS_MAX = 63


def name_problem(name: object) -> str:
    """Why `name` cannot name a part of a pipeline, such as a source or a mapping; empty if it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "a name is spelled [a-z][a-z0-9_]* and cannot change later"
    if len(name) > NAME_CHARACTERS_MAX:
        return f"a name has at most {NAME_CHARACTERS_MAX} characters"
    return ""


@dataclass(frozen=True, slots=True)
class Names:
    """The Kafka names of one pipeline. Each starts with `prefix`, so that several pipelines can share a cluster."""

    prefix: str = ""

    def raw(self, source: str, stream: str) -> str:
        """The raw topic of a stream. For a source that is followed by CDC, `stream` is `schema.table`."""
        return f"{self.raw_prefix}{source}.{stream}"

    @property
    def raw_prefix(self) -> str:
        """The prefix that the names of all raw topics of the pipeline share."""
        return f"{self.prefix}raw."

    def messages(self, source: str) -> str:
        """The topic of the logical messages of a followed source, as Debezium names it."""
        return self.raw(source, "message")

    def transactions(self, source: str, name: str = "transaction") -> str:
        """The topic of the transactions of a followed source, as Debezium names it. `name`: its last part."""
        return self.raw(source, name)

    def heartbeats(self, source: str, first: str) -> str:
        """The topic of the heartbeats of a followed source, as Debezium names it. `first`: its first part."""
        return f"{first}.{self.raw_prefix}{source}"

    def responses(self, source: str) -> str:
        return f"{self.prefix}responses.{source}"

    def contributions(self, entity: str) -> str:
        return f"{self.prefix}contributions.{entity}"

    def canonical(self, entity: str) -> str:
        return f"{self.prefix}canonical.{entity}"

    def dlq(self, stage: str) -> str:
        return f"{self.prefix}dlq.{stage}"

    def state(self, stage: str, topic: str) -> str:
        return f"{self.prefix}state.{stage}.{self.bare(topic)}"

    @property
    def watermarks(self) -> str:
        return f"{self.prefix}sluice.watermarks"

    @property
    def shards(self) -> str:
        return f"{self.prefix}sluice.shards"

    @property
    def control(self) -> str:
        return f"{self.prefix}sluice.control"

    @property
    def ledger(self) -> str:
        return f"{self.prefix}sluice.ledger"

    @property
    def faults(self) -> str:
        return f"{self.prefix}sluice.faults"

    def group(self, stage: str) -> str:
        return f"{self.prefix}{stage}"

    def transactional_id(self, stage: str, instance: str | int) -> str:
        """The transactional id of a stage's process. It is the same after a restart, so that a new producer can fence.

        With another id, an open transaction of the old producer would block readers until it times out.
        """
        return f"{self.prefix}{stage}-{instance}"

    def bare(self, topic: str) -> str:
        """The name of a topic or group without the pipeline's prefix."""
        return topic.removeprefix(self.prefix)
