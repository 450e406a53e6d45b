"""Position: a fact of the source that says which of two states of one source record is newer.

It is neither an offset (a place in a Kafka log) nor the order of writes (what compaction keeps).
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta

PART_MAX = 2**63 - 1
Part = Annotated[int, Meta(ge=-PART_MAX - 1, le=PART_MAX)]


class Position(NamedTuple):
    """`(epoch, major, minor)`, compared as integers, and only within one (source, stream, source key).

    CDC: `(epoch, commit LSN, ordinal in the transaction)`; snapshot rows `(epoch, consistent point, 0)`.
    Polled: `(epoch, incarnation of the shard's owner, sequence)`.
    """

    epoch: Part
    major: Part
    minor: Part

    def __str__(self) -> str:
        return f"{self.epoch}:{self.major}:{self.minor}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """Read `e:M:m`, decimal digits of at most 64 bits each. Raises ValueError for anything else, such as signs."""
        raw = text.decode("ascii", "strict") if isinstance(text, bytes) else text
        parts = raw.split(":")
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
            raise ValueError("a position is epoch:major:minor in decimal digits")
        position = cls(int(parts[0]), int(parts[1]), int(parts[2]))
        if max(position) > PART_MAX:
            raise ValueError("each part of a position must fit 64 bits")
        return position


LOWEST = Position(0, 0, 0)
