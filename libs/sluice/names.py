"""The names of topics, consumer groups and transactional ids. No other module spells them."""

from __future__ import annotations

from dataclasses import dataclass

INGRESS_POLLER = "ingress-poller"
INGRESS_CDC = "ingress-cdc"
MAPPER = "mapper"
MERGER = "merger"
SINK_POSTGRES = "sink-postgres"
STAGES = (INGRESS_POLLER, INGRESS_CDC, MAPPER, MERGER, SINK_POSTGRES)
"""A stage's one name, in the order of the flow."""


@dataclass(frozen=True, slots=True)
class Names:
    """All names of one pipeline. `prefix` lets several pipelines share a cluster."""

    prefix: str = ""

    def raw(self, source: str, stream: str) -> str:
        """For CDC, `stream` is `schema.table`."""
        return f"{self.raw_prefix}{source}.{stream}"

    @property
    def raw_prefix(self) -> str:
        """The beginning of every raw topic's name."""
        return f"{self.prefix}raw."

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
        """Stable over restarts: a producer that comes back under another id blocks readers until it times out."""
        return f"{self.prefix}{stage}-{instance}"

    def bare(self, topic: str) -> str:
        """A topic's name without the prefix."""
        return topic.removeprefix(self.prefix)
