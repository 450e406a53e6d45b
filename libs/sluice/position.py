"""Position: a fact about the source, saying which of two states of one source record is newer.

Never confuse it with an offset (a place in a Kafka log) or with "newest in a compacted log" (the last write).
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
        """Read the decimal form `e:M:m`, each within 64 bits; raises ValueError on anything else, signs and blanks
        included."""
        raw = text.decode("ascii", "strict") if isinstance(text, bytes) else text
        parts = raw.split(":")
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
            raise ValueError("a position reads epoch:major:minor in decimal digits")
        made = cls(int(parts[0]), int(parts[1]), int(parts[2]))
        if max(made) > PART_MAX:
            raise ValueError("each part of a position fits 64 bits")
        return made


LOWEST = Position(0, 0, 0)
