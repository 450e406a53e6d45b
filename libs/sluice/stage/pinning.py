"""Topics pinned at start: a stage works only with the partition counts that its pipeline declares."""

from __future__ import annotations

from sluice.errors import EnvironmentFault
from sluice.kafka.topics import Pinned


def require_partitions(pinned: dict[str, Pinned], partitions: int) -> None:
    """EnvironmentFault for the first topic that has another count: its keys would lie elsewhere."""
    for topic, about in pinned.items():
        if about.partitions != partitions:
            raise EnvironmentFault(
                f"topic {topic}",
                f"has {about.partitions} partitions, the pipeline declares {partitions}",
                "run `sluice topics check`; partitions are fixed for the life of a topic",
            )
