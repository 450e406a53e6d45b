"""A round of one entity: some partitions of its contributions and of its canonical records, read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.entities import EntityContract
from sluice.kafka.log import Partition
from sluice.verify.canonical_log import NewestCanonical
from sluice.verify.contribution_log import ContributionLog


class EntityTopics(NamedTuple):
    """An entity's contract and its two co-partitioned topics."""

    contract: EntityContract
    contributions: str
    canonical: str


class ProcessedOffsets(NamedTuple):
    """The offsets up to which the merger (contributions), and each sink by its name (canonical), may be judged."""

    merger: Mapping[Partition, int]
    sinks: Mapping[str, Mapping[Partition, int]]


@dataclass(slots=True)
class EntityRound:
    """What a round keeps in memory. `canonical`: the newest record by partition and id. `unmerged`: ids with
    contributions that the merger has not processed. `unstored`: by sink, ids with canonical records that it has not."""

    contributions: ContributionLog = field(default_factory=ContributionLog)
    canonical: dict[Partition, dict[str, NewestCanonical]] = field(default_factory=dict)
    unmerged: set[str] = field(default_factory=set)
    unstored: dict[str, set[str]] = field(default_factory=dict)
