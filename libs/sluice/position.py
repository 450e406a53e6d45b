"""Positions: facts about a source that say which of two states of one source record is newer.

A position is not an offset, which is a place in a Kafka log. It is also not the order of writes to Kafka, by which
compaction decides what it keeps.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta, MsgspecError, json

PART_MAX = 2**63 - 1
Part = Annotated[int, Meta(ge=-PART_MAX - 1, le=PART_MAX)]


class Position(NamedTuple):
    """The position of a state of a source record: `(epoch, major, minor)`, compared as integers.

    Only positions of the same source, stream and source key are compared. A change that CDC read has `(epoch, commit
    LSN, number of the change in its transaction)`. A row of a CDC snapshot has `(epoch, consistent point, 0)`. A polled
    record has `(epoch, incarnation of the shard's owner, sequence number)`.
    """

    epoch: Part
    major: Part
    minor: Part

    def __str__(self) -> str:
        return f"{self.epoch}:{self.major}:{self.minor}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """The position in a text `epoch:major:minor`, as `str` writes it.

        Raises ValueError unless each part consists of decimal digits and is at most `PART_MAX`. A sign is refused.
        """
        if type(text) is bytes and text.translate(None, b"0123456789") == b"::":
            try:
                return POSITION_ARRAY.decode(b"[%b]" % text.replace(b":", b","))  # 0.3 µs; the lines below take 1.5
            except MsgspecError:
                pass  # an empty part, a leading zero, or a part that is too large
        raw = text.decode("ascii", "strict") if isinstance(text, bytes) else text
        parts = raw.split(":")
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
            raise ValueError("a position is epoch:major:minor in decimal digits")
        position = cls(int(parts[0]), int(parts[1]), int(parts[2]))
        if max(position) > PART_MAX:
            raise ValueError("each part of a position must fit 64 bits")
        return position


POSITION_ARRAY = json.Decoder(Position)
"""Reads a position from the JSON array `[epoch, major, minor]`."""
LOWEST = Position(0, 0, 0)
